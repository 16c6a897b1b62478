"""Segmentation by scores of several encoder maps, summed from coarse to fine."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from flyweight.blocks._layers import FeatureMap, HeadBuilder, conv_norm
from flyweight.blocks._maps import chosen_map, resized
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec


class Fcn(nn.Module):
    """Class scores of each source by a 1×1 convolution; the coarser is resized to the finer and added.

    Settings: ``sources``: stages from coarse to fine (none: the last stage alone, FCN-32s; with the stages at strides
    16 and 8 behind it, FCN-8s). ``hidden``: channels of a 3×3 convolution before the coarsest scores; 0 is none.
    ``dropout`` before them.

    Source: Long et al. 2015 (arXiv 1411.4038), section 4.2 and figure 3; resized bilinearly, with fixed weights.
    """

    def __init__(self, head: HeadSpec, maps: Mapping[str, FeatureMap], spec: ArchSpec) -> None:
        super().__init__()
        sources: tuple[str, ...] = head.setting("sources", ())
        names = sources or ("",)
        self.sources = [chosen_map(str(name), "source", maps, spec) for name in names]
        self.maps = [maps[name] for name in self.sources]
        for coarse, fine in zip(self.maps, self.maps[1:], strict=False):
            if fine.height < coarse.height or fine.width < coarse.width:
                raise SpecError(
                    f"spec '{spec.name}': head fcn has a source of {fine.height}x{fine.width} behind one of "
                    f"{coarse.height}x{coarse.width}. Name them from coarse to fine."
                )
        hidden = head.setting("hidden", 0)
        first = self.maps[0]
        self.hidden = conv_norm(first, hidden, spec, where="head fcn") if hidden else nn.Identity()
        self.dropout = nn.Dropout(head.setting("dropout", 0.0))
        channels = [hidden or first.channels, *(feature.channels for feature in self.maps[1:])]
        self.scores = nn.ModuleList(nn.Conv2d(count, spec.classes, 1) for count in channels)

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        """Map the encoder's maps to logits ``(n, classes, h, w)`` of the finest source's size."""
        coarsest = self.dropout(self.hidden(maps[self.sources[0]]))
        out: Tensor = self.scores[0](coarsest)
        for index, source in enumerate(self.sources[1:], 1):
            out = resized(out, self.maps[index]) + self.scores[index](maps[source])
        return out


MEMBERS = {"fcn": HeadBuilder(Fcn, {"sources": (), "hidden": 0, "dropout": 0.0})}
