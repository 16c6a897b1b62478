"""Small networks to test members on: real architectures, narrow, with statistics as after training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flyweight.build import build
from flyweight.contracts import Candidate, Env, Preprocessing, Quantization, Transform
from flyweight.errors import TransformError
from flyweight.spec import ArchSpec
from flyweight.testing._planted import planted
from flyweight.zoo import ZOO

NARROWER = 8
PIXELS = 64
NO_ENV = Env()
LEAST_VARIANCE = 1e-3  # a channel that few pixels of noise leave dead would amplify rounding 300-fold
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def narrow(spec: ArchSpec, pixels: int = PIXELS) -> ArchSpec:
    """Return a spec with an eighth of the channels, and an input of ``pixels`` squared."""
    stages = tuple(stage.replace(out_channels=max(8, stage.out_channels // NARROWER)) for stage in spec.stages)
    head = spec.head.replace(widths=tuple(max(4, width // NARROWER) for width in spec.head.widths))
    return spec.replace(stages=stages, head=head, input=replace(spec.input, height=pixels, width=pixels))


def segmenter(seed: int = 0) -> Candidate:
    """Return the slimming ladder's v0, narrow, with a mean and standard deviation of its own."""
    return seasoned(narrow(ZOO.get("mobilenet_v1_deconv").spec), seed)


def inverted(seed: int = 0) -> Candidate:
    """Return a narrow MobileNetV2, with a mean and standard deviation of its own."""
    return seasoned(narrow(ZOO.get("mobilenet_v2_1.0").spec), seed)


def branched(seed: int = 0) -> Candidate:
    """Return a narrow RepVGG, as trained, with a mean and standard deviation of its own."""
    return seasoned(narrow(ZOO.get("repvgg_a0").spec), seed)


def gated(seed: int = 0) -> Candidate:
    """Return a narrow MobileNetV3-Small, with squeeze-and-excitation and a mean and standard deviation of its own."""
    return seasoned(narrow(ZOO.get("mobilenet_v3_small_1.0").spec), seed)


def withered(seed: int = 0) -> Candidate:
    """Return the narrow MobileNetV2 with filters and norms that are zero, and weights that read a filter's output."""
    return planted(inverted(seed), seed=seed)[0]


def fitting(transform: Transform) -> Candidate:
    """Return the first of the candidates here that a transform takes; the first one where it takes none."""
    hashable: Any = transform  # a frozen dataclass
    return _maker_for(hashable)()


@cache
def _maker_for(transform: Transform) -> Callable[[], Candidate]:
    for make in (segmenter, inverted, branched, gated, withered):
        with suppress(TransformError):
            transform.requires(make())
            return make
    return segmenter


def seasoned(spec: ArchSpec, seed: int = 0) -> Candidate:
    """Build a spec whose norms hold statistics and scales as after training, so that folding them is no formality."""
    module = build(spec, seed)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(8, spec.input.channels, spec.input.height, spec.input.width, generator=generator)
    norms = [layer for layer in module.modules() if isinstance(layer, NORMS)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.copy_(0.5 + torch.rand(norm.weight.shape, generator=generator))
            norm.bias.copy_(0.4 * torch.rand(norm.bias.shape, generator=generator) - 0.1)
            norm.momentum = 1.0
        module.train()(noise)
        for norm in norms:
            norm.momentum = spec.norm_momentum
            assert norm.running_var is not None  # every norm that build() makes has statistics
            norm.running_var.clamp_(min=LEAST_VARIANCE)
    shape = Preprocessing(spec.input.height, spec.input.width, (0.21, 0.24, 0.36), (0.22, 0.2, 0.19), ("a", "b", "c"))
    return Candidate(module.eval(), shape, spec)


class Raising(nn.Module):
    """A network that no exporter can export: running it raises."""

    def forward(self, x: Tensor) -> Tensor:
        """Raise ValueError."""
        raise ValueError("this network can't be run")


def bare() -> Candidate:
    """Return a quantized module without spec and without norms: no edit fits it."""
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 2)).eval()
    calibration: NDArray[np.float32] = np.zeros((1, 3, 8, 8), np.float32)
    return Candidate(module, Preprocessing(8, 8), quantization=Quantization(calibration))


def synthetic_images(count: int, pixels: int, seed: int = 0) -> tuple[NDArray[np.uint8], ...]:
    """Return RGB images ``(pixels, pixels, 3)`` of smooth noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return tuple(image.repeat(pixels // 8, 0).repeat(pixels // 8, 1) for image in coarse)


@dataclass(frozen=True)
class Snapshot:
    """All of a candidate that an edit or an export might touch."""

    tensors: str
    rest: tuple[object, ...]


def snapshot(candidate: Candidate) -> Snapshot:
    """Take down a candidate's weights (as a digest), flags, spec, preprocessing and history."""
    module = candidate.module
    flags = tuple((name, part.training, type(part)) for name, part in module.named_modules())
    gradients = tuple((name, p.requires_grad, p.grad is None) for name, p in module.named_parameters())
    rest = (flags, gradients, candidate.spec, candidate.preprocessing, candidate.history, candidate.precision)
    return Snapshot(weights_digest(module), rest)


def weights_digest(module: nn.Module) -> str:
    """Return a digest of names, shapes and bytes of a module's state."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def inputs(candidate: Candidate, count: int = 2, seed: int = 1) -> Tensor:
    """Return random inputs of a candidate's shape."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *candidate.input_shape[1:], generator=generator)


def outputs(candidate: Candidate, x: Tensor) -> Tensor:
    """Return what a candidate's module computes."""
    with torch.no_grad():
        out: Tensor = candidate.module(x)
    return out


def stacked(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return images as one array ``(n, H, W, 3)``."""
    return np.stack(list(images))
