"""What the zoo's contract finds out of a network, once for all of its checks."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from flyweight.build import build, feature_maps, skeleton
from flyweight.errors import SpecError, TransformError
from flyweight.profile import Profile, profile_module
from flyweight.spec import ArchSpec
from flyweight.trace import trace
from flyweight.transforms.scale_depth import ScaleDepth
from flyweight.transforms.scale_width import ScaleWidth

LEAST_PIXELS = 32
HIDDEN_CHANNELS = 512


@dataclass(frozen=True)
class Counted:
    """A network built on the meta device at its spec's own input, and counted.

    Attributes:
        params: elements of its parameters.
        shapes: of each stage's output, without the batch, by the stage's name.
        real_bytes: bytes of tensors with a storage that building made.
    """

    profile: Profile
    params: int
    shapes: dict[str, tuple[int, ...]]
    real_bytes: int


@dataclass(frozen=True)
class SmallRun:
    """A network with weights, run at a small input on a batch of two, forward and backward.

    Attributes:
        spec: at that input.
        shapes: of each stage's output, without the batch, by the stage's name.
        output_shape, finite: of the output in eval mode.
        without_gradient: parameters that got none, or one that isn't finite, in training mode.
    """

    spec: ArchSpec
    shapes: dict[str, tuple[int, ...]]
    output_shape: tuple[int, ...]
    finite: bool
    without_gradient: tuple[str, ...]


@lru_cache(maxsize=1)  # of the network at hand: large ones are not kept
def counted(spec: ArchSpec) -> Counted:
    """Build on the meta device, trace and count."""
    with _RealStorage() as made:
        network, example = skeleton(spec)
    shapes = _watched(network)
    found = profile_module(network, example)
    return Counted(found, sum(p.numel() for p in network.parameters()), shapes, made.bytes)


def traced_shapes(spec: ArchSpec) -> dict[str, tuple[int, ...]]:
    """Return the shape of each stage's output, without the batch; the network has no weights."""
    network, example = skeleton(spec)
    shapes = _watched(network)
    trace(network, example)
    return shapes


@lru_cache(maxsize=1)
def small_run(spec: ArchSpec) -> SmallRun:
    """Build with weights at the smallest working input, run it in eval mode, then in training mode and backwards."""
    small, network = _smallest(spec)
    shapes, inputs = _watched(network), images(small)
    with torch.no_grad():
        out: Tensor = network(inputs)
    network.train()(inputs).square().mean().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    return SmallRun(small, shapes, tuple(out.shape), bool(torch.isfinite(out).all()), tuple(without))


def expected_shapes(spec: ArchSpec) -> dict[str, tuple[int, ...]]:
    """Return what ``feature_maps`` says of every stage."""
    return {name: (m.channels, m.height, m.width) for name, m in feature_maps(spec).items()}


def enough_pixels(spec: ArchSpec, least: int = LEAST_PIXELS) -> int:
    """Return the smallest of ``least``, and 64, 96, 128 … pixels at which the network can be built; at most its own."""
    with torch.device("meta"):
        return _smallest(spec, least)[0].input.height


def _smallest(spec: ArchSpec, least: int = LEAST_PIXELS) -> tuple[ArchSpec, nn.Module]:
    most = min(spec.input.height, spec.input.width)
    for pixels in (least, *range(max(64, least + 1), most, 32)):
        with suppress(SpecError):
            small = sized(spec, min(pixels, most))
            return small, build(small)
    small = sized(spec, most)
    return small, build(small)


def sized(spec: ArchSpec, height: int, width: int = 0) -> ArchSpec:
    """Return the spec at an input of ``height`` by ``width`` (0: square); a classifier's hidden layers have at most 512
    channels.

    VGG's have more than a hundred million weights: two gigabytes and half a minute for nothing that 512 don't show.
    """
    most = HIDDEN_CHANNELS if spec.task == "classify" else max(spec.head.widths, default=0)
    widths = tuple(min(channels, most) for channels in spec.head.widths)
    size = replace(spec.input, height=height, width=width or height)
    return spec.replace(input=size, head=spec.head.replace(widths=widths))


def slim(spec: ArchSpec) -> ArchSpec:
    """Return the spec at a quarter of its width, with one block of every run: all its kinds of blocks, and its head."""
    with suppress(TransformError):  # it has no runs of blocks
        spec = ScaleDepth(0.01).edit(spec)
    return ScaleWidth((), 0.25).edit(spec)


def images(spec: ArchSpec) -> Tensor:
    """Return a batch of two noise images of the spec's size."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, spec.input.channels, spec.input.height, spec.input.width, generator=generator)


def _watched(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return a dict that fills with the shape of each stage's output as the network runs."""
    shapes: dict[str, tuple[int, ...]] = {}

    def watch(name: str) -> Any:
        return lambda module, given, out: shapes.__setitem__(name, tuple(out.shape[1:]))

    encoder = network.get_submodule("encoder")
    for name, stage in encoder.named_children():
        stage.register_forward_hook(watch(name))
    return shapes


class _RealStorage(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of tensors that operators make and that are not of the meta device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor) and tensor.device.type != "meta":
                self.bytes += tensor.nbytes
        return out
