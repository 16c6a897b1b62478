"""Convolution, norm and activation, as every block uses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from flyweight.errors import SpecError, unknown_name
from flyweight.spec import ArchSpec, HeadSpec, StageSpec, Value


@dataclass(frozen=True)
class FeatureMap:
    """Shape of a feature map without its batch: what a builder knows of its input."""

    channels: int
    height: int
    width: int

    def strided(self, channels: int, stride: int) -> FeatureMap:
        """Return the map behind a padded layer: sizes divided by ``stride``, rounded up."""
        return FeatureMap(channels, -(-self.height // stride), -(-self.width // stride))


def strided(stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> FeatureMap:
    """Return the shape behind a stage that keeps the size up to its stride: the rule of most blocks."""
    return inputs.strided(stage.out_channels, stage.stride)


def any_width(stage: StageSpec) -> int:
    """Return 1: a stage's width may be any number."""
    return 1


@dataclass(frozen=True)
class StageBuilder:
    """A stage block.

    Attributes:
        build: makes the module from the stage, the shape of what comes in, and the spec; and from the shapes of what
            ``reads`` names, as further arguments.
        settings: the settings that it understands, with their defaults. Blocks that have them call them ``kernel``,
            ``expand`` (expanded over input channels), ``activation``, ``se`` (squeeze ratio, 0 for none).
        widths: those of them that are numbers of channels (or lists of such), which a width edit scales too.
        shape: the shape of the output.
        multiple: what the stage's width must be a multiple of.
        reads: settings that name an earlier stage whose output the module gets too, as further arguments of its
            ``forward``, in this order; '' is the network's input.
    """

    build: Callable[..., nn.Module]
    settings: Mapping[str, Value] = field(default_factory=dict)
    widths: tuple[str, ...] = ()
    shape: Callable[[StageSpec, FeatureMap, ArchSpec], FeatureMap] = strided
    multiple: Callable[[StageSpec], int] = any_width
    reads: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeadBuilder:
    """A head: ``build(head, feature maps by stage name, in order, spec)``. It gets all maps as a dict when called.

    ``settings`` as for a stage block.
    """

    build: Callable[[HeadSpec, Mapping[str, FeatureMap], ArchSpec], nn.Module]
    settings: Mapping[str, Value] = field(default_factory=dict)


class CReLU(nn.Module):
    """Concatenated ReLU: ``concat(relu(x), relu(-x))`` along channels, which doubles them.

    Source: Shang et al. 2016 (arXiv 1603.05201), definition 2.1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, 2C, h, w)``."""
        from torch import cat

        return cat((self.relu(x), self.relu(-x)), dim=1)


ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "crelu": CReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.1),
    "sigmoid": nn.Sigmoid,
    "swish": nn.SiLU,
    "hard_sigmoid": nn.Hardsigmoid,
    "hard_swish": nn.Hardswish,
    "none": nn.Identity,
}


def activation(name: str, where: str) -> nn.Module:
    """Return a new activation module.

    Raises:
        SpecError: no activation has that name.
    """
    if name not in ACTIVATIONS:
        raise SpecError(f"{where}: {unknown_name('activation', name, ACTIVATIONS)}")
    return ACTIVATIONS[name]()


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return TensorFlow's SAME padding (before, after) of one dimension: the output has ⌈size / stride⌉ entries."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class ConvNorm(nn.Sequential):
    """Padding (where the convolution can't do it itself), convolution without bias, batch norm, activation."""


def conv_norm(
    inputs: FeatureMap,
    out_channels: int,
    spec: ArchSpec,
    *,
    where: str,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    act: str = "relu",
) -> ConvNorm:
    """Return convolution, batch norm and activation with the spec's padding.

    Raises:
        SpecError: an even kernel, or groups that don't divide the channels; names the stage.
    """
    if kernel % 2 == 0 or kernel < 1:
        raise SpecError(
            f"{where}: kernel is {kernel}, but padding that keeps the size needs an odd kernel. Use 1, 3 or 5."
        )
    if inputs.channels % groups or out_channels % groups:
        raise SpecError(
            f"{where}: {groups} groups don't divide {inputs.channels} input and {out_channels} output channels."
        )
    layers = ConvNorm()
    padding = kernel // 2
    if spec.padding == "same":
        top, bottom = same_padding(inputs.height, kernel, stride)
        left, right = same_padding(inputs.width, kernel, stride)
        if (top, left) != (bottom, right) or (top, left) != (padding, padding):
            layers.add_module("pad", nn.ZeroPad2d((left, right, top, bottom)))
            padding = 0
    conv = nn.Conv2d(inputs.channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
    layers.add_module("conv", conv)
    layers.add_module("norm", norm(out_channels, spec))
    if act != "none":
        layers.add_module("act", activation(act, where))
    return layers


def norm(channels: int, spec: ArchSpec) -> nn.BatchNorm2d:
    """Return a batch norm with the spec's epsilon and momentum."""
    return nn.BatchNorm2d(channels, eps=spec.norm_eps, momentum=spec.norm_momentum)


def conv_width(stage: StageSpec, act: str) -> int:
    """Return how many filters give ``stage.out_channels`` behind the activation: half of them for CReLU.

    Raises:
        SpecError: an odd width with CReLU.
    """
    if act != "crelu":
        return stage.out_channels
    if stage.out_channels % 2:
        raise SpecError(
            f"stage '{stage.name}': {stage.out_channels} channels with CReLU. It doubles them: use an even number."
        )
    return stage.out_channels // 2
