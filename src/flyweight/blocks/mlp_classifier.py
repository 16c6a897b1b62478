"""Head of the networks that classify by several fully connected layers: AlexNet's and VGG's.

Source: Krizhevsky et al. 2012, section 3.5; Simonyan and Zisserman 2014 (arXiv 1409.1556), section 2.1; pooling to a
fixed size in front of them, so that the input may have any size, and where the dropouts stand: torchvision.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from flyweight.blocks._layers import FeatureMap, HeadBuilder, activation
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec


class MlpClassifier(nn.Module):
    """Average pooling to ``pool`` × ``pool``, then a hidden layer per width of the head, then the classes.

    Every hidden layer has an activation and a dropout: behind the activation, or in front of the layer where
    ``dropout_first``.
    """

    def __init__(self, head: HeadSpec, maps: Mapping[str, FeatureMap], spec: ArchSpec) -> None:
        super().__init__()
        where = f"head '{head.kind}'"
        side = head.setting("pool", 7)
        if side < 1:
            raise SpecError(f"{where}: pool is {side}, the side to which maps are averaged. Use at least 1.")
        act = head.setting("activation", "relu")
        if act == "crelu":
            raise SpecError(f"{where}: CReLU doubles the channels of maps; behind fully connected layers use relu.")
        self.last = list(maps)[-1]
        self.pool = nn.AdaptiveAvgPool2d(side)
        features = maps[self.last].channels * side * side
        self.hidden = nn.ModuleList()
        for width in head.widths:
            layer = [nn.Linear(features, width), activation(act, where)]
            dropout = nn.Dropout(head.setting("dropout", 0.5))
            self.hidden.append(
                nn.Sequential(*(dropout, *layer) if head.setting("dropout_first", False) else (*layer, dropout))
            )
            features = width
        self.classify = nn.Linear(features, spec.classes)

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        """Map the last feature map ``(n, C, h, w)`` to logits ``(n, classes)``."""
        x = self.pool(maps[self.last]).flatten(1)
        for layer in self.hidden:
            x = layer(x)
        out: Tensor = self.classify(x)
        return out


MEMBERS = {
    "mlp_classifier": HeadBuilder(
        MlpClassifier, {"activation": "relu", "dropout": 0.5, "dropout_first": False, "pool": 7}
    )
}
