"""What the heads that read several encoder maps have in common."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from flyweight.blocks._layers import FeatureMap
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec


def chosen_map(name: str, setting: str, maps: Mapping[str, FeatureMap], spec: ArchSpec) -> str:
    """Return the stage that a head's setting names, the last one for ''.

    Raises:
        SpecError: there is no such stage.
    """
    if not name:
        return list(maps)[-1]
    if name not in maps:
        raise SpecError(
            f"spec '{spec.name}': head {spec.head.kind} has {setting} '{name}', but the stages are: {', '.join(maps)}."
        )
    return name


def resized(x: Tensor, feature: FeatureMap) -> Tensor:
    """Resize ``(n, C, h, w)`` bilinearly to a map's height and width; left alone where it has them."""
    size = (feature.height, feature.width)
    return x if tuple(x.shape[2:]) == size else F.interpolate(x, size=size, mode="bilinear", align_corners=False)
