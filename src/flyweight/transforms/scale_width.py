"""Another width for some stages, or for all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from flyweight.build import stage_builder
from flyweight.spec import ArchSpec, StageSpec, Value, round_channels
from flyweight.transforms._edit import SpecEdit


@dataclass(frozen=True)
class ScaleWidth(SpecEdit):
    """Multiply the channels of stages by ``factor``, rounded as the architecture's source rounds.

    ``stages``: which; none for all. ``divisor``: round to its multiples; 0 takes the spec's. Channel counts in a
    stage's settings (a squeeze, a branch) are scaled with it.

    Source: the width multiplier of MobileNets (arXiv 1704.04861, section 3.3), per stage. Inherited channels are the
    first.
    """

    stages: tuple[str, ...]
    factor: float
    divisor: int = 0
    name: ClassVar[str] = "scale_width"

    def edit(self, spec: ArchSpec) -> ArchSpec:
        """Return the spec with the new widths."""
        names = self.layers(spec)
        for name in names:
            spec.stage(name)
        divisor = self.divisor or spec.divisor
        return spec.replace(
            stages=tuple(
                _scaled(stage, self.factor, divisor) if stage.name in names else stage for stage in spec.stages
            )
        )

    def layers(self, spec: ArchSpec) -> tuple[str, ...]:
        """The stages that get another width."""
        return self.stages or tuple(stage.name for stage in spec.stages)

    @classmethod
    def example(cls) -> ScaleWidth:
        """Return an instance for MobileNetV1: its run of equal blocks at half width."""
        return cls(stages=tuple(f"conv5_{i}" for i in range(1, 6)), factor=0.5)


def _scaled(stage: StageSpec, factor: float, divisor: int) -> StageSpec:
    builder = stage_builder(stage)
    multiple = math.lcm(divisor, builder.multiple(stage))
    inner = {name: _numbers(value, factor, divisor) for name, value in stage.settings if name in builder.widths}
    return stage.with_settings(**inner).replace(out_channels=_number(stage.out_channels, factor, multiple))


def _numbers(value: Value, factor: float, divisor: int) -> Value:
    """Scale a number of channels, or every one of a list; 0 stays 0 (there is none)."""
    if isinstance(value, tuple):
        return tuple(_numbers(item, factor, divisor) for item in value)
    return _number(int(value), factor, divisor) if value else value


def _number(channels: int, factor: float, divisor: int) -> int:
    if divisor == 1:
        return max(8, int(channels * factor))  # MobileNetV1's rule
    return round_channels(channels * factor, divisor, divisor)


MEMBERS = {ScaleWidth.name: ScaleWidth}
