"""Head that classifies the whole image from the mean of every channel.

Source: Lin et al. 2013, Network in Network (arXiv 1312.4400), section 3.2: global average pooling. The hidden layer
behind it: Howard et al. 2019, MobileNetV3 (arXiv 1905.02244), section 5.1 and figure 5.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from flyweight.blocks._layers import FeatureMap, HeadBuilder, activation, norm
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, Value


class PoolClassifier(nn.Module):
    """Global average pooling, a hidden layer per width of the head, dropout, fully connected layer.

    A hidden layer is a 1×1 convolution on the pooled map, with a bias (``hidden_bias``) or none, a norm
    (``hidden_norm``) or none, and an activation. ``bias`` is the last layer's.
    """

    def __init__(self, head: HeadSpec, maps: Mapping[str, FeatureMap], spec: ArchSpec) -> None:
        super().__init__()
        self.last = list(maps)[-1]
        self.pool = nn.AdaptiveAvgPool2d(1)
        channels = maps[self.last].channels
        self.hidden = nn.Sequential()
        for index, width in enumerate(head.widths):
            self.hidden.add_module(str(index), _hidden_layer(head, channels, width, spec))
            channels = width
        self.dropout = nn.Dropout(_dropout(head))
        self.classify = nn.Linear(channels, spec.classes, bias=head.setting("bias", True))

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        """Map the last feature map ``(n, C, h, w)`` to logits ``(n, classes)``."""
        x = self.hidden(self.pool(maps[self.last]))
        out: Tensor = self.classify(self.dropout(x.flatten(1)))
        return out


def _hidden_layer(head: HeadSpec, channels: int, width: int, spec: ArchSpec) -> nn.Sequential:
    where = f"head '{head.kind}'"
    act = head.setting("activation", "relu")
    if act == "crelu":
        raise SpecError(f"{where}: CReLU doubles channels, but widths are those behind the activation. Use relu.")
    layer = nn.Sequential()
    layer.add_module("conv", nn.Conv2d(channels, width, 1, bias=head.setting("hidden_bias", True)))
    if head.setting("hidden_norm", False):
        layer.add_module("norm", norm(width, spec))
    layer.add_module("act", activation(act, where))
    return layer


def _dropout(head: HeadSpec) -> float:
    share = head.setting("dropout", 0.0)
    if not 0 <= share < 1:
        raise SpecError(f"head '{head.kind}': dropout is {share!r}; allowed are shares from 0 to below 1, e.g. 0.2.")
    return share


_SETTINGS: Mapping[str, Value] = {
    "activation": "relu", "bias": True, "dropout": 0.0, "hidden_bias": True, "hidden_norm": False,
}  # fmt: skip

MEMBERS = {"pool_classifier": HeadBuilder(PoolClassifier, _SETTINGS)}
