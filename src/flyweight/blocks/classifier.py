"""Heads that classify the whole image."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from flyweight.blocks._layers import FeatureMap, HeadBuilder
from flyweight.spec import ArchSpec, HeadSpec


class PoolClassifier(nn.Module):
    """Global average pooling, dropout, fully connected layer with bias."""

    def __init__(self, head: HeadSpec, maps: Mapping[str, FeatureMap], spec: ArchSpec) -> None:
        super().__init__()
        self.last = list(maps)[-1]
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(head.setting("dropout", 0.0))
        self.classify = nn.Linear(maps[self.last].channels, spec.classes)

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        """Map the last feature map ``(n, C, h, w)`` to logits ``(n, classes)``."""
        out: Tensor = self.classify(self.dropout(self.pool(maps[self.last]).flatten(1)))
        return out


MEMBERS = {"pool_classifier": HeadBuilder(PoolClassifier, {"dropout": 0.0})}
