"""What heads that detect have in common: from a map's channels to a row per anchor, and the coarser map made finer."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor

from flyweight.blocks._layers import FeatureMap
from flyweight.blocks._maps import chosen_map
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, Value


def sources_of(head: HeadSpec, maps: Mapping[str, FeatureMap], spec: ArchSpec) -> tuple[str, ...]:
    """Return the stages whose maps the head reads: its setting ``sources``, the finest first; else the last stage.

    Raises:
        SpecError: one is no stage.
    """
    given: tuple[Value, ...] = head.setting("sources", ())
    return tuple(chosen_map(str(name), "sources", maps, spec) for name in given or ("",))


def rows(x: Tensor, columns: int) -> Tensor:
    """Map ``(n, anchors · columns, h, w)`` to ``(n, h · w · anchors, columns)``: row by row, cell by cell."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, columns)


def enlarged(x: Tensor, feature: FeatureMap) -> Tensor:
    """Bring ``(n, C, h, w)`` to a finer map's height and width by repeating pixels: exactly doubled where that fits."""
    return F.interpolate(x, size=(feature.height, feature.width), mode="nearest")


def finer_first(features: Sequence[FeatureMap], head: HeadSpec) -> None:
    """Check that the maps get coarser one by one.

    Raises:
        SpecError: one is finer than the one before it.
    """
    for before, after in itertools.pairwise(features):
        if after.height > before.height or after.width > before.width:
            raise SpecError(
                f"head '{head.kind}': a map of {after.height}x{after.width} comes behind one of "
                f"{before.height}x{before.width}. Name the stages from the finest map to the coarsest."
            )
