"""Convolution, norm and activation, as every block uses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from flyweight.boxes import BoxCode
from flyweight.errors import SpecError, unknown_name
from flyweight.spec import ArchSpec, HeadSpec, StageSpec, Value

AS_SPEC = -1  # padding: what the spec's rule gives


@dataclass(frozen=True)
class FeatureMap:
    """Shape of a feature map without its batch: what a builder knows of its input."""

    channels: int
    height: int
    width: int

    def strided(self, channels: int, stride: int) -> FeatureMap:
        """Return the map behind a padded layer: sizes divided by ``stride``, rounded up."""
        return FeatureMap(channels, -(-self.height // stride), -(-self.width // stride))

    def windowed(
        self, channels: int, kernel: int | tuple[int, int], stride: int, padding: int, *, where: str
    ) -> FeatureMap:
        """Return the map behind a layer whose windows of ``kernel`` stay inside ``padding`` pixels on every side.

        Raises:
            SpecError: not one window fits; names the stage.
        """
        high, wide = sides(kernel)
        height, width = self.height + 2 * padding, self.width + 2 * padding
        if height < high or width < wide:
            raise SpecError(
                f"{where}: its input is {self.height}x{self.width}, but a {high}x{wide} window with {padding} pixels "
                f"of padding needs at least {max(high - 2 * padding, 1)}x{max(wide - 2 * padding, 1)}. "
                "Use a larger input, or take a stride out before it."
            )
        return FeatureMap(channels, (height - high) // stride + 1, (width - wide) // stride + 1)


def sides(kernel: int | tuple[int, int]) -> tuple[int, int]:
    """Return a kernel's height and width."""
    return (kernel, kernel) if isinstance(kernel, int) else kernel


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

    ``settings`` as for a stage block. ``boxes`` gets the same as ``build``; a head that detects says by it what its
    outputs mean.
    """

    build: Callable[[HeadSpec, Mapping[str, FeatureMap], ArchSpec], nn.Module]
    settings: Mapping[str, Value] = field(default_factory=dict)
    boxes: Callable[[HeadSpec, Mapping[str, FeatureMap], ArchSpec], BoxCode] | None = None


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
    "gelu": nn.GELU,
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
    """Padding (where the convolution can't do it itself), convolution, batch norm, activation.

    The convolution has a bias where the norm is left out, or where the builder is told so.
    """


def conv_norm(
    inputs: FeatureMap,
    out_channels: int,
    spec: ArchSpec,
    *,
    where: str,
    kernel: int | tuple[int, int] = 3,
    stride: int = 1,
    groups: int = 1,
    act: str = "relu",
    padding: int = AS_SPEC,
    normed: bool = True,
    bias: bool | None = None,
    dilation: int = 1,
) -> ConvNorm:
    """Return convolution, batch norm and activation; ``padding`` on every side, or the spec's.

    ``bias``: whether the convolution has one; None: only where the norm is left out.
    ``dilation``: distance of neighbouring taps in pixels (Yu & Koltun 2016, arXiv 1511.07122, section 2).

    Raises:
        SpecError: an even kernel under the spec's padding, or groups that don't divide the channels; names the stage.
    """
    if inputs.channels % groups or out_channels % groups:
        raise SpecError(
            f"{where}: {groups} groups don't divide {inputs.channels} input and {out_channels} output channels."
        )
    layers = ConvNorm()
    if dilation < 1:
        raise SpecError(f"{where}: dilation is {dilation}; allowed are 1, 2, 3 …")
    high, wide = sides(kernel)
    covered = (dilation * (high - 1) + 1, dilation * (wide - 1) + 1)
    outside, own = _padding(inputs, covered, stride, padding, spec, where)
    if outside:
        layers.add_module("pad", nn.ZeroPad2d(outside))
    conv = nn.Conv2d(
        inputs.channels,
        out_channels,
        kernel,
        stride,
        own,
        dilation=dilation,
        groups=groups,
        bias=not normed if bias is None else bias,
    )
    layers.add_module("conv", conv)
    if normed:
        layers.add_module("norm", norm(out_channels, spec))
    if act != "none":
        layers.add_module("act", activation(act, where))
    return layers


def _padding(
    inputs: FeatureMap, kernel: tuple[int, int], stride: int, padding: int, spec: ArchSpec, where: str
) -> tuple[tuple[int, int, int, int] | None, tuple[int, int]]:
    """Return (left, right, top, bottom) of a padding layer where one is needed, and the convolution's own padding."""
    if padding != AS_SPEC:
        if padding < 0:
            raise SpecError(f"{where}: padding is {padding}; allowed are -1 (as the spec says), 0, 1, 2 …")
        inputs.windowed(1, kernel, stride, padding, where=where)
        return None, (padding, padding)
    for side in kernel:
        if side % 2 == 0 or side < 1:
            raise SpecError(
                f"{where}: kernel is {side}, but padding that keeps the size needs an odd kernel. Use 1, 3 or 5."
            )
    own = (kernel[0] // 2, kernel[1] // 2)
    if spec.padding == "same":
        top, bottom = same_padding(inputs.height, kernel[0], stride)
        left, right = same_padding(inputs.width, kernel[1], stride)
        if (top, left) != (bottom, right) or (top, left) != own:
            return (left, right, top, bottom), (0, 0)
    return None, own


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
