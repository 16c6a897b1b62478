"""A segmentation decoder that puts every value back where max pooling had found it."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from flyweight.blocks._layers import FeatureMap, HeadBuilder, conv_norm
from flyweight.blocks._maps import chosen_map
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec


class UnpoolDecoder(nn.Module):
    """Per width: a 1×1 convolution to the source's channels, max-unpooling to its size, a 3×3 convolution.

    Setting ``sources``: the stages before each 2×2 max pooling of the encoder, from coarse to fine, one per width.
    Where the largest value of each 2×2 window lay is found again from the source's output, so that the encoder needs
    no second output. Source: Badrinarayanan et al. 2017, SegNet (arXiv 1511.00561), section 3.
    """

    def __init__(self, head: HeadSpec, maps: Mapping[str, FeatureMap], spec: ArchSpec) -> None:
        super().__init__()
        sources: tuple[str, ...] = head.setting("sources", ())
        names = [str(name) for name in sources]
        if not names or len(names) != len(head.widths):
            raise SpecError(
                f"spec '{spec.name}': head unpool_decoder has {len(names)} sources and {len(head.widths)} widths. "
                "Name one stage per width."
            )
        self.last = chosen_map("", "source", maps, spec)
        self.sources = [chosen_map(name, "source", maps, spec) for name in names]
        self.narrow, self.smooth = nn.ModuleList(), nn.ModuleList()
        below = maps[self.last]
        for name, width in zip(self.sources, head.widths, strict=True):
            source = maps[name]
            if (source.height // 2, source.width // 2) != (below.height, below.width):
                raise SpecError(
                    f"spec '{spec.name}': head unpool_decoder puts {below.height}x{below.width} pixels back into "
                    f"'{name}', which has {source.height}x{source.width}. Name a stage of twice the size."
                )
            where = f"head unpool_decoder, source '{name}'"
            self.narrow.append(conv_norm(below, source.channels, spec, where=where, kernel=1))
            self.smooth.append(conv_norm(source, width, spec, where=where))
            below = FeatureMap(width, source.height, source.width)
        self.classify = nn.Conv2d(below.channels, spec.classes, 1)

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        """Map the encoder's maps to logits ``(n, classes, h, w)`` of the finest source's size."""
        x = maps[self.last]
        for name, narrow, smooth in zip(self.sources, self.narrow, self.smooth, strict=True):
            source = maps[name]
            _, places = F.max_pool2d(source, 2, return_indices=True)
            x = smooth(F.max_unpool2d(narrow(x), places, [2, 2], output_size=list(source.shape[2:])))
        out: Tensor = self.classify(x)
        return out


MEMBERS = {"unpool_decoder": HeadBuilder(UnpoolDecoder, {"sources": ()})}
