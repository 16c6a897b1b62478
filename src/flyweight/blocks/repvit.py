"""RepViT's block: a re-parameterizable depthwise convolution mixes pixels, an inverted pair of 1×1 mixes channels.

Source: Wang et al. 2023, RepViT (arXiv 2307.09283), section 3; THU-MIG/RepViT and timm repvit.py. Their
head has two classifiers, one of which learned from a teacher; what counts is their mean.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from flyweight.blocks._inverted import expanded_width, expansion_filters
from flyweight.blocks._layers import FeatureMap, HeadBuilder, StageBuilder, activation, conv_norm
from flyweight.blocks._reparam import AveragedLinear, ParallelConv
from flyweight.blocks._squeeze_excite import SE_SETTINGS, squeeze_excite
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, StageSpec, Value


class RepVit(nn.Module):
    """Depthwise k×k, squeeze-and-excitation; then x + 1×1(activation(1×1(x))), ``expand`` times as wide inside.

    With equal shapes the depthwise layer is k×k, 1×1 and identity, added up; otherwise it is k×k alone, with the
    stride, and a 1×1 convolution to the stage's width follows the squeeze-and-excitation. Everything but the one
    activation is linear. ``deploy``: no norms, a bias in every convolution.
    """

    def __init__(self, stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> None:
        super().__init__()
        where, act, channels = f"stage '{stage.name}'", stage.setting("activation", "gelu"), inputs.channels
        keeps = stage.stride == 1 and channels == stage.out_channels
        self.depthwise = _linear(
            stage, inputs, channels, spec, kernel=stage.setting("kernel", 3), stride=stage.stride, groups=channels,
            beside=keeps,
        )  # fmt: skip
        self.se = squeeze_excite(stage, channels, of=channels) or nn.Identity()
        narrowed = inputs.strided(channels, stage.stride)
        self.pointwise = nn.Identity() if keeps else _linear(stage, narrowed, stage.out_channels, spec)
        mixed = inputs.strided(stage.out_channels, stage.stride)
        wide = mixed.strided(expanded_width(stage, stage.out_channels, spec), 1)
        self.expand = _linear(stage, mixed, expansion_filters(wide.channels, act, where), spec)
        self.act = activation(act, where)
        self.project = _linear(stage, wide, stage.out_channels, spec)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, out_channels, ⌈h/stride⌉, ⌈w/stride⌉)``."""
        mixed: Tensor = self.pointwise(self.se(self.depthwise(x)))
        out: Tensor = mixed + self.project(self.act(self.expand(mixed)))
        return out


def _linear(
    stage: StageSpec,
    inputs: FeatureMap,
    width: int,
    spec: ArchSpec,
    *,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    beside: bool = False,
) -> nn.Module:
    """Return a convolution with its norm, and the branches beside it; deployed, one convolution with a bias."""
    where = f"stage '{stage.name}'"
    if stage.setting("deploy", False):
        return conv_norm(
            inputs, width, spec, where=where, kernel=kernel, stride=stride, groups=groups, act="none", normed=False
        )
    return ParallelConv(
        inputs, width, spec, where=where, kernel=kernel, stride=stride, groups=groups, beside=beside, norm_last=beside
    )


class DistilledClassifier(nn.Module):
    """Global average pooling, dropout, the mean of ``classifiers`` fully connected layers, each behind a norm.

    ``deploy``: one fully connected layer.
    """

    def __init__(self, head: HeadSpec, maps: Mapping[str, FeatureMap], spec: ArchSpec) -> None:
        super().__init__()
        share, classifiers = head.setting("dropout", 0.0), head.setting("classifiers", 2)
        if not 0 <= share < 1:
            raise SpecError(
                f"head '{head.kind}': dropout is {share!r}; allowed are shares from 0 to below 1, e.g. 0.2."
            )
        if not 1 <= classifiers <= 8:
            raise SpecError(f"head '{head.kind}': classifiers is {classifiers}; allowed are 1 to 8. The paper's is 2.")
        self.last = list(maps)[-1]
        channels = maps[self.last].channels
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(share)
        self.classify: nn.Module
        if head.setting("deploy", False):
            self.classify = nn.Linear(channels, spec.classes)
        else:
            self.classify = AveragedLinear(channels, spec.classes, spec, branches=classifiers)

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        """Map the last feature map ``(n, C, h, w)`` to logits ``(n, classes)``."""
        out: Tensor = self.classify(self.dropout(self.pool(maps[self.last]).flatten(1)))
        return out


_SETTINGS: Mapping[str, Value] = {"activation": "gelu", "deploy": False, "expand": 6.0, "kernel": 3, **SE_SETTINGS}

MEMBERS = {
    "repvit": StageBuilder(RepVit, _SETTINGS),
    "distilled_classifier": HeadBuilder(DistilledClassifier, {"classifiers": 2, "deploy": False, "dropout": 0.0}),
}
