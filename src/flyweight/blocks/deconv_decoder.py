"""Segmentation head: a chain of transposed convolutions, with skips from the encoder through 1×1 convolutions.

Source: Long et al. 2015, Fully Convolutional Networks (arXiv 1411.4038), sections 3.3 and 4.2: learned up-sampling
from a
bilinear start, and skips joined by addition; concatenation follows Ronneberger et al. 2015 (arXiv 1505.04597).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from flyweight.blocks._layers import FeatureMap, HeadBuilder, conv_norm, norm
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec


class UpStage(nn.Module):
    """One ×2 step: transposed convolution and norm, cropped to ``size``; then the skip, if any; then ReLU.

    Addition joins before the ReLU, concatenation behind it.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        size: tuple[int, int],
        skip: FeatureMap | None,
        join: str,
        spec: ArchSpec,
        where: str,
    ) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, width, 4, stride=2, padding=1, bias=False)
        self.norm = norm(width, spec)
        self.act = nn.ReLU()
        self.join = join if skip else "none"
        self.size = size
        self.skip = conv_norm(skip, width, spec, where=where, kernel=1, act="none") if skip else None
        self.out_channels = width * (2 if self.join == "concat" else 1)

    def forward(self, x: Tensor, source: Tensor | None) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, out_channels, *size)``."""
        x = self.norm(self.conv(x))
        if tuple(x.shape[2:]) != self.size:  # an odd encoder map was rounded up on the way down
            x = x[:, :, : self.size[0], : self.size[1]]
        if self.skip is None or source is None:
            out: Tensor = self.act(x)
        elif self.join == "add":
            out = self.act(x + self.skip(source))
        else:
            out = torch.cat((self.act(x), self.act(self.skip(source))), dim=1)
        return out


class DeconvDecoder(nn.Module):
    """A transposed convolution per width, then a 1×1 convolution to the classes."""

    def __init__(self, head: HeadSpec, maps: Mapping[str, FeatureMap], spec: ArchSpec) -> None:
        super().__init__()
        if not head.widths:
            raise SpecError(f"spec '{spec.name}': head deconv_decoder needs at least one width, e.g. [16, 8, 4, 2].")
        self.last = list(maps)[-1]
        sizes = up_sizes(maps, spec, len(head.widths))
        sources = {skip.target: skip.source for skip in head.skips}
        self.sources = [sources.get(index) for index in range(len(head.widths))]
        channels = maps[self.last].channels
        for index, width in enumerate(head.widths):
            source = self.sources[index]
            skip = maps[source] if source else None
            where = f"decoder stage {index} of spec '{spec.name}'"
            if skip and (skip.height, skip.width) != sizes[index]:
                raise SpecError(
                    f"{where}: the skip from '{source}' is {skip.height}x{skip.width}, but the stage works at "
                    f"{sizes[index][0]}x{sizes[index][1]}. Choose an encoder stage of that size."
                )
            stage = UpStage(channels, width, sizes[index], skip, head.skip_join, spec, where)
            self.add_module(f"up{index}", stage)
            channels = stage.out_channels
        self.classify = nn.Conv2d(channels, spec.classes, 1)

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        """Map the encoder's maps to logits ``(n, classes, h, w)``; a mask's size is reached by bilinear resizing
        outside.
        """
        x = maps[self.last]
        for index, source in enumerate(self.sources):
            x = self.get_submodule(f"up{index}")(x, maps[source] if source else None)
        out: Tensor = self.classify(x)
        return out


def up_sizes(maps: Mapping[str, FeatureMap], spec: ArchSpec, count: int) -> list[tuple[int, int]]:
    """Return the size behind each ×2 step: that of the encoder's map one scale up while there is one, else doubled."""
    down = [(spec.input.height, spec.input.width)]
    for feature in maps.values():
        if (feature.height, feature.width) != down[-1]:
            down.append((feature.height, feature.width))
    size = down.pop()
    sizes = []
    for _ in range(count):
        doubled = (2 * size[0], 2 * size[1])
        above = down.pop() if down else doubled
        size = above if all(d - 1 <= a <= d for a, d in zip(above, doubled, strict=True)) else doubled
        sizes.append(size)
    return sizes


def bilinear_start(conv: nn.ConvTranspose2d) -> None:
    """Fill a ×2 transposed convolution so that every filter begins as a bilinear one, scaled by a random weight."""
    side = torch.tensor([0.25, 0.75, 0.75, 0.25])
    kernel = torch.outer(side, side)
    with torch.no_grad():
        mix = torch.empty(conv.weight.shape[:2])
        nn.init.kaiming_normal_(mix, nonlinearity="relu", mode="fan_in")
        conv.weight.copy_(mix[:, :, None, None] * kernel)


MEMBERS = {"deconv_decoder": HeadBuilder(DeconvDecoder)}
