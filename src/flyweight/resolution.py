"""Input sizes that fit a network: k · 2ⁿ pixels for a last map of k × k.

Where a size is no multiple of the network's total stride, the last map is rounded up, and what lies over the border is
padding that costs as much as image. Effective pixels of the last map are those of its area that are image: input over
stride, both axes multiplied. From 3 to 9 of them along an axis is what classifiers use: 7 at 224 with a stride of 32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flyweight.errors import GraphError, UsageError
from flyweight.field import receptive_fields
from flyweight.graph import Graph

if TYPE_CHECKING:
    from torch import nn

SIDES = tuple(range(3, 10))  # of the last map


@dataclass(frozen=True, slots=True)
class Resolution:
    """A square input size, and what it makes of the network.

    Attributes:
        input_px: height and width of the input.
        map_px: height and width of the last map, the one with the largest stride.
        stride_px: pixels of the input from one of its positions to the next; 2ⁿ after n halvings.
        effective: its pixels that are image, not padding: (input / stride)².
        macs: counted, at this size.
    """

    input_px: int
    map_px: tuple[int, int]
    stride_px: int
    effective: float
    macs: int

    @property
    def fits(self) -> bool:
        """Whether the input is a multiple of the stride, so that no part of the last map is padding."""
        return self.input_px % self.stride_px == 0


def last_map(graph: Graph) -> tuple[tuple[int, int], int]:
    """Return height and width of the map with the largest stride, the last of them, and that stride in pixels.

    Raises:
        UsageError: no activation has a height and a width with a whole stride.
    """
    found: tuple[tuple[int, int], int] | None = None
    for name, field in receptive_fields(graph).items():
        shape = graph.tensors[name].shape
        if name in graph.inputs or field is None or len(shape) != 4 or len(field.stride_px) != 2:
            continue
        stride = max(field.stride_px)
        if stride.denominator == 1 and stride >= (found[1] if found else 1):
            found = (shape[2], shape[3]), int(stride)
    if found is None:
        raise UsageError("the network makes no map of its input: no layer's output has a height, a width and a stride.")
    return found


def resolution(module: nn.Module, shape: Sequence[int], input_px: int) -> Resolution:
    """Return what a square input of this size makes of a network; ``shape`` is ``(n, channels, height, width)``.

    Raises:
        GraphError: the network doesn't run at this size.
        UsageError: it makes no map.
    """
    import torch

    from flyweight.profile import profile_module

    found = profile_module(module, torch.zeros(1, shape[1], input_px, input_px))
    map_px, stride = last_map(found.graph)
    return Resolution(input_px, map_px, stride, (input_px / stride) ** 2, found.macs)


def resolutions(module: nn.Module, shape: Sequence[int], sides: Sequence[int] = SIDES) -> list[Resolution]:
    """Return, smallest first, the sizes k · stride for last maps of ``sides``, and the present one if it is square.

    Sizes at which the network doesn't run are left out: a fully connected layer fixes the size of its map.

    Raises:
        GraphError: the network doesn't run at any of them.
        UsageError: it makes no map, or its input is no image.
    """
    if len(shape) != 4:
        raise UsageError(f"the input has the shape {tuple(shape)}; sizes are planned for images: (n, channels, h, w).")
    import torch

    from flyweight.trace import trace

    _, stride = last_map(trace(module, torch.zeros(1, *shape[1:])))
    wanted = {k * stride for k in sides} | ({shape[2]} if shape[2] == shape[3] else set())
    found, refused = [], None
    for input_px in sorted(wanted):
        try:
            found.append(resolution(module, shape, input_px))
        except GraphError as error:
            refused = error
    if not found and refused:
        raise refused
    return found
