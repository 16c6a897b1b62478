"""Max and average pooling as stages of their own.

A pooling stage has no width: it passes on its input's channels, whatever ``out_channels`` says, so that an edit of the
widths around it needs no edit of the pooling.

Source: Krizhevsky et al. 2012, section 3.4 (windows that overlap). Rounding up: Caffe's pooling layer, which counts a
last window that begins inside its input and ends outside.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from flyweight.blocks._layers import AS_SPEC, FeatureMap, StageBuilder
from flyweight.blocks._pool import pool
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, StageSpec


def pooling(kind: str, stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> nn.Module:
    """Return a pooling layer: windows of ``kernel`` pixels, ``padding`` on every side or the spec's, ``ceil`` or not.

    Padding never is a maximum; in an average it counts as zeros with symmetric padding. A last window of ``ceil`` that
    ends outside averages over what is inside it.

    Raises:
        SpecError: no window fits, or padding is more than half of one; names the stage.
    """
    shape(stage, inputs, spec)
    kernel, padding, ceil = _settings(stage)
    where = f"stage '{stage.name}'"
    if padding == AS_SPEC:
        return pool(kind, inputs, spec, where=where, kernel=kernel, stride=stage.stride)
    if kind == "max":
        return nn.MaxPool2d(kernel, stage.stride, padding, ceil_mode=ceil)
    counts = spec.padding == "symmetric"
    return nn.AvgPool2d(kernel, stage.stride, padding, ceil_mode=ceil, count_include_pad=counts)


def shape(stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> FeatureMap:
    """Return the shape behind a pooling: its input's channels; sizes as the windows give them."""
    kernel, padding, ceil = _settings(stage)
    if padding == AS_SPEC:
        return inputs.strided(inputs.channels, stage.stride)
    if not ceil:
        return inputs.windowed(inputs.channels, kernel, stage.stride, padding, where=f"stage '{stage.name}'")
    height, width = (_ceiled(size, kernel, stage.stride, padding) for size in (inputs.height, inputs.width))
    return FeatureMap(inputs.channels, height, width)


def _ceiled(size: int, kernel: int, stride: int, padding: int) -> int:
    """Return how many windows there are if the last may end outside, but must begin inside or in the padding before."""
    windows = max(-(-(size + 2 * padding - kernel) // stride), 0) + 1
    return windows - 1 if (windows - 1) * stride >= size + padding else windows


def _settings(stage: StageSpec) -> tuple[int, int, bool]:
    """Return kernel, padding and whether sizes are rounded up."""
    kernel, padding = stage.setting("kernel", 3), stage.setting("padding", AS_SPEC)
    where, ceil = f"stage '{stage.name}'", stage.setting("ceil", False)
    if kernel < 1:
        raise SpecError(f"{where}: kernel is {kernel}; allowed are 1, 2, 3 …")
    if not AS_SPEC <= padding <= kernel // 2:
        raise SpecError(
            f"{where}: padding is {padding}; allowed for windows of {kernel} are -1 (as the spec says) and "
            f"0 to {kernel // 2}."
        )
    if ceil and padding == AS_SPEC:
        raise SpecError(f"{where}: ceil needs a padding of its own; the spec's keeps all pixels anyway. Set padding 0.")
    return kernel, padding, ceil


_SETTINGS = {"ceil": False, "kernel": 3, "padding": AS_SPEC}

MEMBERS = {
    "avg_pool": StageBuilder(partial(pooling, "avg"), _SETTINGS, shape=shape),
    "max_pool": StageBuilder(partial(pooling, "max"), _SETTINGS, shape=shape),
}
