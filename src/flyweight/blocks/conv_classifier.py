"""Head that classifies every position of the last map, then averages.

Source: Lin et al. 2013, Network in Network (arXiv 1312.4400), section 3.2: one map per class, averaged, and no fully
connected layer. Iandola et al. 2016, SqueezeNet (arXiv 1602.07360), section 3.3: with an activation before the average.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from flyweight.blocks._layers import FeatureMap, HeadBuilder, activation
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec


class ConvClassifier(nn.Module):
    """Dropout, 1×1 convolution with a bias to the classes, activation, global average pooling."""

    def __init__(self, head: HeadSpec, maps: Mapping[str, FeatureMap], spec: ArchSpec) -> None:
        super().__init__()
        where = f"head '{head.kind}'"
        share, act = head.setting("dropout", 0.0), head.setting("activation", "relu")
        if not 0 <= share < 1:
            raise SpecError(f"{where}: dropout is {share!r}; allowed are shares from 0 to below 1, e.g. 0.5.")
        if act == "crelu":
            raise SpecError(f"{where}: CReLU doubles channels, but the maps here are one per class. Use relu.")
        self.last = list(maps)[-1]
        self.dropout = nn.Dropout(share)
        self.classify = nn.Conv2d(maps[self.last].channels, spec.classes, 1)
        self.act = activation(act, where)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def initialize_weights(self) -> None:
        """Begin with small logits, as the source does."""
        nn.init.normal_(self.classify.weight, std=0.01)

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        """Map the last feature map ``(n, C, h, w)`` to logits ``(n, classes)``."""
        out: Tensor = self.pool(self.act(self.classify(self.dropout(maps[self.last])))).flatten(1)
        return out


MEMBERS = {"conv_classifier": HeadBuilder(ConvClassifier, {"activation": "relu", "dropout": 0.0})}
