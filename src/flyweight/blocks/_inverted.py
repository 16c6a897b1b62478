"""What every block with a wide inside decides in the same way: how wide, and whether its input is added."""

from __future__ import annotations

import math

from flyweight.blocks._layers import FeatureMap
from flyweight.errors import SpecError
from flyweight.spec import MAX_CHANNELS, ArchSpec, StageSpec, round_channels


def expanded_width(stage: StageSpec, channels: int, spec: ArchSpec) -> int:
    """Return the width inside: ``expand`` times the input's, rounded as the spec's ``divisor`` says; at 1 the input's.

    Raises:
        SpecError: no ratio above 0, or too many channels; names the stage.
    """
    ratio = stage.setting("expand", 6.0)
    if ratio == 1:
        return channels
    if not (math.isfinite(ratio) and 0 < channels * ratio <= MAX_CHANNELS):
        raise SpecError(
            f"stage '{stage.name}': expand is {ratio!r} of {channels} channels; allowed are ratios above 0 that give "
            f"at most {MAX_CHANNELS} channels. Most networks have 3 to 6."
        )
    if spec.divisor == 1:
        return max(8, int(channels * ratio))
    return round_channels(channels * ratio, spec.divisor, spec.divisor)


def adds_input(stage: StageSpec, inputs: FeatureMap) -> bool:
    """Return whether the block adds its input to its output."""
    fits = stage.stride == 1 and stage.out_channels == inputs.channels
    return stage.setting("residual", True) and fits


def expansion_filters(wide: int, act: str, where: str) -> int:
    """Return how many filters give the expanded width behind the activation: half of them for CReLU.

    Raises:
        SpecError: an odd width with CReLU.
    """
    if act != "crelu":
        return wide
    if wide % 2:
        raise SpecError(f"{where}: {wide} expanded channels with CReLU. It doubles them: use an even number.")
    return wide // 2
