"""Segmentation heads that look at the whole image beside each place, made small for phones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from flyweight.blocks._layers import FeatureMap, HeadBuilder, conv_norm
from flyweight.blocks._maps import chosen_map, resized
from flyweight.spec import ArchSpec, HeadSpec

WIDTH_RASPP, WIDTH_LRASPP = 256, 128


class Raspp(nn.Module):
    """R-ASPP: a 1×1 branch and a global-pooling branch, concatenated, 1×1 again, then the classes.

    Setting ``width``: channels of each branch. Source: Howard et al. 2019, MobileNetV3 (arXiv 1905.02244), section
    6.4, after DeepLabV3's ASPP (arXiv 1706.05587) without its 3×3 branches.
    """

    def __init__(self, head: HeadSpec, maps: Mapping[str, FeatureMap], spec: ArchSpec) -> None:
        super().__init__()
        width = head.setting("width", WIDTH_RASPP)
        self.high = chosen_map("", "high", maps, spec)
        self.feature = maps[self.high]
        channels = self.feature.channels
        self.place = conv_norm(self.feature, width, spec, where="head raspp", kernel=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.whole = conv_norm(FeatureMap(channels, 1, 1), width, spec, where="head raspp", kernel=1)
        joined = FeatureMap(2 * width, self.feature.height, self.feature.width)
        self.join = conv_norm(joined, width, spec, where="head raspp", kernel=1)
        self.classify = nn.Conv2d(width, spec.classes, 1)

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        """Map the encoder's last map to logits ``(n, classes, h, w)`` of its size."""
        x = maps[self.high]
        whole = self.whole(self.pool(x)).expand(-1, -1, self.feature.height, self.feature.width)
        out: Tensor = self.classify(self.join(torch.cat((self.place(x), whole), dim=1)))
        return out


class LiteRaspp(nn.Module):
    """Lite R-ASPP: a gate from the pooled map over a 1×1 branch, resized to a finer map whose scores are added.

    Settings: ``low``: the finer stage (1/8 of the input in the paper). ``width``: channels of the 1×1 branch.
    Source: Howard et al. 2019 (arXiv 1905.02244), section 6.4, figure 10; the pooling is global, as torchvision has it
    (the paper: a window of 49×49 with stride 16×20).
    """

    def __init__(self, head: HeadSpec, maps: Mapping[str, FeatureMap], spec: ArchSpec) -> None:
        super().__init__()
        width = head.setting("width", WIDTH_LRASPP)
        self.low = chosen_map(head.setting("low", ""), "low", maps, spec)
        self.high = chosen_map("", "high", maps, spec)
        self.low_map, high = maps[self.low], maps[self.high]
        self.place = conv_norm(high, width, spec, where="head lraspp", kernel=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Conv2d(high.channels, width, 1, bias=False)
        self.sigmoid = nn.Sigmoid()
        self.low_scores = nn.Conv2d(self.low_map.channels, spec.classes, 1)
        self.high_scores = nn.Conv2d(width, spec.classes, 1)

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        """Map the encoder's maps to logits ``(n, classes, h, w)`` of the finer map's size."""
        x = maps[self.high]
        gated = self.place(x) * self.sigmoid(self.gate(self.pool(x)))
        out: Tensor = self.high_scores(resized(gated, self.low_map)) + self.low_scores(maps[self.low])
        return out


MEMBERS = {
    "raspp": HeadBuilder(Raspp, {"width": WIDTH_RASPP}),
    "lraspp": HeadBuilder(LiteRaspp, {"low": "", "width": WIDTH_LRASPP}),
}
