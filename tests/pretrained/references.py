"""Networks under other projects' names, each with a forward pass of its own: what imported weights must compute.

Written from the papers' tables and the published names; nothing of ``flyweight`` is used. Weights are random, with norm
statistics wide enough that another epsilon shows, and inputs have even sizes, so that another padding does.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# expansion, kernel, stride, channels, repeats
V2 = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 3, 2, 32, 3), (6, 3, 2, 64, 4), (6, 3, 1, 96, 3),
    (6, 3, 2, 160, 3), (6, 3, 1, 320, 1),
)  # fmt: skip
B0 = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
)  # fmt: skip
MNASNET_B1 = (
    (1, 3, 1, 16, 1), (3, 3, 2, 24, 3), (3, 5, 2, 40, 3), (6, 5, 2, 80, 3), (6, 3, 1, 96, 2),
    (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
)  # fmt: skip
# kernel, expanded, channels, squeeze-and-excitation, hard swish, stride
V3_LARGE = (
    (3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1), (5, 72, 40, 1, 0, 2), (5, 120, 40, 1, 0, 1),
    (5, 120, 40, 1, 0, 1), (3, 240, 80, 0, 1, 2), (3, 200, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1),
    (3, 480, 112, 1, 1, 1), (3, 672, 112, 1, 1, 1), (5, 672, 160, 1, 1, 2), (5, 960, 160, 1, 1, 1),
    (5, 960, 160, 1, 1, 1),
)  # fmt: skip
V3_SMALL = (
    (3, 16, 16, 1, 0, 2), (3, 72, 24, 0, 0, 2), (3, 88, 24, 0, 0, 1), (5, 96, 40, 1, 1, 2), (5, 240, 40, 1, 1, 1),
    (5, 240, 40, 1, 1, 1), (5, 120, 48, 1, 1, 1), (5, 144, 48, 1, 1, 1), (5, 288, 96, 1, 1, 2), (5, 576, 96, 1, 1, 1),
    (5, 576, 96, 1, 1, 1),
)  # fmt: skip


def eights(width: float) -> int:
    n = max(8, int(width + 4) // 8 * 8)
    return n + 8 if n < 0.9 * width else n


class SameConv(nn.Conv2d):
    """TensorFlow's SAME: what is lacking for ceil(size / stride) outputs, the odd pixel at bottom and right."""

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            lacking = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            pads += [lacking // 2, lacking - lacking // 2]
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, self.stride, 0, 1, self.groups)


class Style:
    """What the networks of one origin share: padding and epsilon."""

    def __init__(self, eps: float = 1e-5, same: bool = False) -> None:
        self.eps, self.same = eps, same

    def conv(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
        if self.same:
            return SameConv(inputs, outputs, kernel, stride, groups=groups, bias=False)
        return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)

    def norm(self, channels: int) -> nn.BatchNorm2d:
        return nn.BatchNorm2d(channels, eps=self.eps)

    def unit(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int, act: nn.Module) -> nn.Sequential:
        return nn.Sequential(self.conv(inputs, outputs, kernel, stride, groups), self.norm(outputs), act)


class Around(nn.Module):
    """A sequence under a name of its own, with its input added or not."""

    def __init__(self, name: str, layers: Sequence[nn.Module], adds: bool) -> None:
        super().__init__()
        self.add_module(name, nn.Sequential(*layers))
        self.name, self.adds = name, adds

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = getattr(self, self.name)(x)
        return x + out if self.adds else out


class Squeeze(nn.Module):
    def __init__(self, channels: int, squeezed: int, names: tuple[str, str], act: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.add_module(names[0], nn.Conv2d(channels, squeezed, 1))
        self.add_module(names[1], nn.Conv2d(squeezed, channels, 1))
        self.names, self.inner, self.gate = names, act, gate

    def forward(self, x: Tensor) -> Tensor:
        narrow = self.inner(getattr(self, self.names[0])(x.mean((2, 3), keepdim=True)))
        return x * self.gate(getattr(self, self.names[1])(narrow))


class Classifier(nn.Module):
    """``trunk`` under a name, mean of every channel, ``classifier``."""

    def __init__(self, name: str, trunk: nn.Module, last: str, classifier: nn.Module) -> None:
        super().__init__()
        self.add_module(name, trunk)
        self.add_module(last, classifier)
        self.trunk, self.last = name, last

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = getattr(self, self.last)(getattr(self, self.trunk)(x).mean((2, 3)))
        return out


# ---- torchvision ------------------------------------------------------------------------------------------------


def torchvision_mobilenet_v2(width: float) -> nn.Module:
    style, before = Style(), eights(32 * width)
    layers: list[nn.Module] = [style.unit(3, before, 3, 2, 1, nn.ReLU6())]
    for expand, kernel, stride, channels, repeats in V2:
        for number in range(repeats):
            wide, after, step = before * expand, eights(channels * width), stride if number == 0 else 1
            inner: list[nn.Module] = [style.unit(before, wide, 1, 1, 1, nn.ReLU6())] if expand > 1 else []
            inner += [
                style.unit(wide, wide, kernel, step, wide, nn.ReLU6()),
                style.conv(wide, after),
                style.norm(after),
            ]
            layers.append(Around("conv", inner, step == 1 and before == after))
            before = after
    last = eights(1280 * max(1.0, width))
    layers.append(style.unit(before, last, 1, 1, 1, nn.ReLU6()))
    return Classifier(
        "features", nn.Sequential(*layers), "classifier", nn.Sequential(nn.Dropout(), nn.Linear(last, 1000))
    )


def torchvision_mobilenet_v3(rows: Sequence[tuple[int, ...]], last: int, hidden: int, width: float) -> nn.Module:
    style, before = Style(eps=1e-3), eights(16 * width)
    layers: list[nn.Module] = [style.unit(3, before, 3, 2, 1, nn.Hardswish())]
    for kernel, expanded, channels, se, swish, stride in rows:
        act = nn.Hardswish() if swish else nn.ReLU()
        wide, after = eights(expanded * width), eights(channels * width)
        inner: list[nn.Module] = [style.unit(before, wide, 1, 1, 1, act)] if wide != before else []
        inner.append(style.unit(wide, wide, kernel, stride, wide, act))
        if se:
            inner.append(Squeeze(wide, eights(wide // 4), ("fc1", "fc2"), nn.ReLU(), nn.Hardsigmoid()))
        inner.append(style.unit(wide, after, 1, 1, 1, nn.Identity()))
        layers.append(Around("block", inner, stride == 1 and before == after))
        before = after
    final, hidden = eights(last * width), eights(hidden * width)
    layers.append(style.unit(before, final, 1, 1, 1, nn.Hardswish()))
    head = nn.Sequential(nn.Linear(final, hidden), nn.Hardswish(), nn.Dropout(), nn.Linear(hidden, 1000))
    return Classifier("features", nn.Sequential(*layers), "classifier", head)


def torchvision_efficientnet(width: float, depth: float) -> nn.Module:
    style, before = Style(), eights(32 * width)
    groups: list[nn.Module] = [style.unit(3, before, 3, 2, 1, nn.SiLU())]
    for expand, kernel, stride, channels, repeats in B0:
        group: list[nn.Module] = []
        for number in range(math.ceil(repeats * depth)):
            wide, after, step = before * expand, eights(channels * width), stride if number == 0 else 1
            inner: list[nn.Module] = [style.unit(before, wide, 1, 1, 1, nn.SiLU())] if expand > 1 else []
            inner += [
                style.unit(wide, wide, kernel, step, wide, nn.SiLU()),
                Squeeze(wide, max(1, before // 4), ("fc1", "fc2"), nn.SiLU(), nn.Sigmoid()),
                style.unit(wide, after, 1, 1, 1, nn.Identity()),
            ]
            group.append(Around("block", inner, step == 1 and before == after))
            before = after
        groups.append(nn.Sequential(*group))
    groups.append(style.unit(before, 4 * before, 1, 1, 1, nn.SiLU()))
    head = nn.Sequential(nn.Dropout(), nn.Linear(4 * before, 1000))
    return Classifier("features", nn.Sequential(*groups), "classifier", head)


def torchvision_mnasnet(width: float) -> nn.Module:
    style, stem, before = Style(), eights(32 * width), eights(16 * width)
    layers: list[nn.Module] = [
        *style.unit(3, stem, 3, 2, 1, nn.ReLU()), *style.unit(stem, stem, 3, 1, stem, nn.ReLU()),
        style.conv(stem, before), style.norm(before),
    ]  # fmt: skip
    for expand, kernel, stride, channels, repeats in MNASNET_B1[1:]:
        stack: list[nn.Module] = []
        for number in range(repeats):
            wide, after, step = before * expand, eights(channels * width), stride if number == 0 else 1
            inner = [
                *style.unit(before, wide, 1, 1, 1, nn.ReLU()), *style.unit(wide, wide, kernel, step, wide, nn.ReLU()),
                style.conv(wide, after), style.norm(after),
            ]  # fmt: skip
            stack.append(Around("layers", inner, step == 1 and before == after))
            before = after
        layers.append(nn.Sequential(*stack))
    layers += [*style.unit(before, 1280, 1, 1, 1, nn.ReLU())]
    head = nn.Sequential(nn.Dropout(), nn.Linear(1280, 1000))
    return Classifier("layers", nn.Sequential(*layers), "classifier", head)


class ResNetBlock(nn.Module):
    def __init__(self, before: int, planes: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        style, after = Style(), planes * 4 if bottleneck else planes
        shapes = (
            ((1, 1, planes), (3, stride, planes), (1, 1, after))
            if bottleneck
            else ((3, stride, planes), (3, 1, planes))
        )
        width, self.count = before, len(shapes)
        for index, (kernel, step, out) in enumerate(shapes, start=1):
            self.add_module(f"conv{index}", style.conv(width, out, kernel, step))
            self.add_module(f"bn{index}", style.norm(out))
            width = out
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(style.conv(before, after, 1, stride), style.norm(after))

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for index in range(1, self.count + 1):
            out = getattr(self, f"bn{index}")(getattr(self, f"conv{index}")(out))
            out = F.relu(out) if index < self.count else out
        return F.relu(out + self.downsample(x))


class ResNet(nn.Module):
    def __init__(self, counts: Sequence[int], bottleneck: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        before = 64
        for group, count in enumerate(counts):
            blocks = []
            for number in range(count):
                stride = 2 if group and number == 0 else 1
                blocks.append(ResNetBlock(before, 64 * 2**group, stride, bottleneck))
                before = 64 * 2**group * (4 if bottleneck else 1)
            self.add_module(f"layer{group + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(before, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for group in range(1, 5):
            x = getattr(self, f"layer{group}")(x)
        out: Tensor = self.fc(x.mean((2, 3)))
        return out


class ShuffleUnit(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        style, half = Style(), after // 2
        taken = before if stride > 1 else half
        self.branch1 = nn.Sequential()
        if stride > 1:
            self.branch1 = nn.Sequential(
                style.conv(before, before, 3, stride, before), style.norm(before), style.conv(before, half),
                style.norm(half), nn.ReLU(),
            )  # fmt: skip
        self.branch2 = nn.Sequential(
            style.conv(taken, half), style.norm(half), nn.ReLU(), style.conv(half, half, 3, stride, half),
            style.norm(half), style.conv(half, half), style.norm(half), nn.ReLU(),
        )  # fmt: skip
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        left, right = (self.branch1(x), x) if self.stride > 1 else x.chunk(2, 1)
        return F.channel_shuffle(torch.cat((left, self.branch2(right)), 1), 2)


class ShuffleNetV2(nn.Module):
    def __init__(self, widths: Sequence[int], last: int) -> None:
        super().__init__()
        self.conv1 = Style().unit(3, 24, 3, 2, 1, nn.ReLU())
        before = 24
        for index, (repeats, width) in enumerate(zip((4, 8, 4), widths, strict=True), start=2):
            units = [ShuffleUnit(before if n == 0 else width, width, 2 if n == 0 else 1) for n in range(repeats)]
            self.add_module(f"stage{index}", nn.Sequential(*units))
            before = width
        self.conv5, self.fc = Style().unit(before, last, 1, 1, 1, nn.ReLU()), nn.Linear(last, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.conv1(x), 3, 2, 1)
        x = self.conv5(self.stage4(self.stage3(self.stage2(x))))
        out: Tensor = self.fc(x.mean((2, 3)))
        return out


class FireModule(nn.Module):
    def __init__(self, before: int, squeezed: int, wide: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(before, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, wide, 1)
        self.expand3x3 = nn.Conv2d(squeezed, wide, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat((F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))), 1)


class SqueezeNet(nn.Module):
    def __init__(self, version: str) -> None:
        super().__init__()
        sizes = (16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)
        pooled = {"1.0": (2, 6), "1.1": (1, 3)}[version]  # fires behind which it pools
        before, kernel = {"1.0": (96, 7), "1.1": (64, 3)}[version]
        layers: list[nn.Module] = [nn.Conv2d(3, before, kernel, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)]
        for index, (squeezed, wide) in enumerate(sizes):
            layers.append(FireModule(before, squeezed, wide))
            before = 2 * wide
            if index in pooled:
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(512, 1000, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x)).flatten(1)


# ---- timm -------------------------------------------------------------------------------------------------------


class TimmBlock(nn.Module):
    """A depthwise separable block where nothing is expanded, an inverted residual otherwise."""

    def __init__(
        self,
        style: Style,
        before: int,
        wide: int,
        after: int,
        kernel: int,
        stride: int,
        act: nn.Module,
        se: nn.Module | None,
    ) -> None:
        super().__init__()
        self.expands, self.act, self.adds = wide != before, act, stride == 1 and before == after
        depthwise = style.conv(wide, wide, kernel, stride, wide)
        if self.expands:
            self.conv_pw, self.bn1 = style.conv(before, wide), style.norm(wide)
            self.conv_dw, self.bn2 = depthwise, style.norm(wide)
        else:
            self.conv_dw, self.bn1 = depthwise, style.norm(wide)
        self.se = se or nn.Identity()
        if self.expands:
            self.conv_pwl, self.bn3 = style.conv(wide, after), style.norm(after)
        else:
            self.conv_pw, self.bn2 = style.conv(wide, after), style.norm(after)

    def forward(self, x: Tensor) -> Tensor:
        if self.expands:
            out = self.act(self.bn1(self.conv_pw(x)))
            out = self.se(self.act(self.bn2(self.conv_dw(out))))
            out = self.bn3(self.conv_pwl(out))
        else:
            out = self.se(self.act(self.bn1(self.conv_dw(x))))
            out = self.bn2(self.conv_pw(out))
        return x + out if self.adds else out


class TimmNet(nn.Module):
    """Stem, groups of blocks, head convolution with a norm before pooling, classifier."""

    def __init__(
        self, style: Style, rows: Sequence[tuple[int, ...]], width: float, act: nn.Module, se: bool = False,
        fixed: bool = False, head: int = 1280,
    ) -> None:  # fmt: skip
        super().__init__()
        before, self.act = 32 if fixed else eights(32 * width), act
        self.conv_stem, self.bn1 = style.conv(3, before, 3, 2), style.norm(before)
        groups = []
        for expand, kernel, stride, channels, repeats in rows:
            group = []
            for number in range(repeats):
                wide, after, step = before * expand, eights(channels * width), stride if number == 0 else 1
                names = ("conv_reduce", "conv_expand")
                excite = Squeeze(wide, round(before * 0.25), names, act, nn.Sigmoid()) if se else None
                group.append(TimmBlock(style, before, wide, after, kernel, step, act, excite))
                before = after
            groups.append(nn.Sequential(*group))
        self.blocks = nn.Sequential(*groups)
        self.conv_head, self.bn2 = style.conv(before, head), style.norm(head)
        self.classifier = nn.Linear(head, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.act(self.bn1(self.conv_stem(x))))
        out: Tensor = self.classifier(self.act(self.bn2(self.conv_head(x))).mean((2, 3)))
        return out


class TimmMobileNetV3(nn.Module):
    def __init__(
        self, style: Style, rows: Sequence[tuple[int, ...]], groups: Sequence[int], last: int, hidden: int
    ) -> None:
        super().__init__()
        before, left = 16, list(rows)
        self.conv_stem, self.bn1 = style.conv(3, before, 3, 2), style.norm(before)
        stages: list[nn.Module] = []
        for count in groups:
            stage = []
            for _ in range(count):
                kernel, wide, after, se, swish, stride = left.pop(0)
                act = nn.Hardswish() if swish else nn.ReLU()
                names = ("conv_reduce", "conv_expand")
                excite = Squeeze(wide, eights(wide * 0.25), names, nn.ReLU(), nn.Hardsigmoid()) if se else None
                stage.append(TimmBlock(style, before, wide, after, kernel, stride, act, excite))
                before = after
            stages.append(nn.Sequential(*stage))
        named = OrderedDict(conv=style.conv(before, last), bn1=style.norm(last), act=nn.Hardswish())
        stages.append(nn.Sequential(nn.Sequential(named)))
        self.blocks = nn.Sequential(*stages)
        self.conv_head, self.classifier = nn.Conv2d(last, hidden, 1), nn.Linear(hidden, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.hardswish(self.bn1(self.conv_stem(x)))).mean((2, 3), keepdim=True)
        out: Tensor = self.classifier(F.hardswish(self.conv_head(x)).flatten(1))
        return out


# ---- efficientnet_pytorch ---------------------------------------------------------------------------------------


class EfficientNetBlock(nn.Module):
    def __init__(
        self, before: int, expand: int, after: int, kernel: int, stride: int, act: nn.Module, se: bool
    ) -> None:
        super().__init__()
        style, wide = Style(1e-3, same=True), before * expand
        self.act, self.adds, self.expands, self.excites = act, stride == 1 and before == after, expand > 1, se
        if self.expands:
            self._expand_conv, self._bn0 = style.conv(before, wide), style.norm(wide)
        self._depthwise_conv, self._bn1 = style.conv(wide, wide, kernel, stride, wide), style.norm(wide)
        if se:
            squeezed = max(1, int(before * 0.25))
            self._se_reduce, self._se_expand = nn.Conv2d(wide, squeezed, 1), nn.Conv2d(squeezed, wide, 1)
        self._project_conv, self._bn2 = style.conv(wide, after), style.norm(after)

    def forward(self, x: Tensor) -> Tensor:
        out = self.act(self._bn0(self._expand_conv(x))) if self.expands else x
        out = self.act(self._bn1(self._depthwise_conv(out)))
        if self.excites:
            gate = self._se_expand(self.act(self._se_reduce(F.adaptive_avg_pool2d(out, 1))))
            out = torch.sigmoid(gate) * out
        out = self._bn2(self._project_conv(out))
        return out + x if self.adds else out


class EfficientNetPyTorch(nn.Module):
    def __init__(self, act: nn.Module, se: bool) -> None:
        super().__init__()
        style, before, self.act = Style(1e-3, same=True), 32, act
        self._conv_stem, self._bn0 = style.conv(3, before, 3, 2), style.norm(before)
        self._blocks = nn.ModuleList()
        for expand, kernel, stride, channels, repeats in B0:
            for number in range(repeats):
                step = stride if number == 0 else 1
                self._blocks.append(EfficientNetBlock(before, expand, channels, kernel, step, act, se))
                before = channels
        self._conv_head, self._bn1 = style.conv(before, 1280), style.norm(1280)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        out: Tensor = self._fc(self.act(self._bn1(self._conv_head(x))).mean((2, 3)))
        return out


def seasoned(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every norm statistics, scale and shift of its own, with small variances among them."""
    generator = torch.Generator().manual_seed(seed)

    def between(low: float, high: float, like: Tensor) -> Tensor:
        return low + (high - low) * torch.rand(like.shape, generator=generator)

    with torch.no_grad():
        for parameter in module.parameters():
            bound = 1.7 / math.sqrt(max(parameter[0].numel(), 1))
            parameter.copy_(between(-bound, bound, parameter) if parameter.dim() > 1 else between(-0.1, 0.1, parameter))
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.copy_(between(0.3, 1.0, layer.weight))
                layer.running_mean.copy_(between(-0.2, 0.2, layer.running_mean))
                layer.running_var.copy_(between(0.02, 1.0, layer.running_var))
    return module.eval()
