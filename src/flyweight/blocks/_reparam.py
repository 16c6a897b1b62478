"""Linear maps that are trained as a sum of several and run as one: what re-parameterization merges.

Source: Ding et al. 2021, RepVGG (arXiv 2101.03697), section 3.3 and figure 4: a convolution with its norm is a
convolution with a bias; a smaller kernel is a larger one with zeros around it; the identity is a 1×1 kernel of a unit
matrix; kernels and biases of the same shape add up.
"""

from __future__ import annotations

import abc
import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from flyweight.blocks._layers import ConvNorm, FeatureMap, conv_norm, norm
from flyweight.spec import ArchSpec


class Mergeable(nn.Module, abc.ABC):
    """A module that some simpler one computes as well, in eval mode."""

    @abc.abstractmethod
    def merged(self) -> nn.Module:
        """Return that simpler module, in eval mode; nothing here is changed. Computed in float64."""


class ParallelConv(Mergeable):
    """``branches`` k×k convolutions, a 1×1 convolution and the identity, added up.

    Each of them has its norm (MobileOne, RepVGG), or with ``norm_last`` only the k×k ones have, and the sum has one
    (RepViT). There is no 1×1 convolution beside 1×1 ones, and the identity only where it has the shape of the output.
    """

    def __init__(
        self,
        inputs: FeatureMap,
        width: int,
        spec: ArchSpec,
        *,
        where: str,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        branches: int = 1,
        beside: bool = True,
        norm_last: bool = False,
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            conv_norm(inputs, width, spec, where=where, kernel=kernel, stride=stride, groups=groups, act="none")
            for _ in range(branches)
        )
        self.pointwise: nn.Module | None = None
        if beside and kernel > 1:
            self.pointwise = conv_norm(
                inputs, width, spec, where=where, kernel=1, stride=stride, groups=groups, act="none",
                normed=not norm_last,
            )  # fmt: skip
        self.identity: nn.Module | None = None
        if beside and stride == 1 and inputs.channels == width:
            self.identity = nn.Identity() if norm_last else norm(width, spec)
        self.norm = norm(width, spec) if norm_last else None

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, width, ⌈h/stride⌉, ⌈w/stride⌉)``."""
        first, *others = self._branches()
        out: Tensor = first(x)
        for branch in others:
            out = out + branch(x)
        return out if self.norm is None else self.norm(out)

    def merged(self) -> nn.Module:
        """Return one k×k convolution with a bias, behind a padding layer where the branches have one."""
        first = next(iter(self.convs))
        assert isinstance(first, ConvNorm)
        conv, corner = _conv_of(first), _centre(first)
        weight = torch.zeros_like(conv.weight, dtype=torch.float64)
        bias = torch.zeros_like(weight[:, 0, 0, 0])
        for branch in self._branches():
            kernel, shift = _as_convolution(branch, conv)
            top, left = corner if kernel.shape[2:] == (1, 1) else (0, 0)
            weight[:, :, top : top + kernel.shape[2], left : left + kernel.shape[3]] += kernel
            bias += shift
        if self.norm is not None:
            scale, shift = _scale_and_shift(self.norm)
            weight, bias = weight * scale.reshape(-1, 1, 1, 1), bias * scale + shift
        return _replaced(first, conv, weight, bias)

    def _branches(self) -> Iterable[nn.Module]:
        return (*self.convs, *(branch for branch in (self.pointwise, self.identity) if branch is not None))


class AveragedLinear(Mergeable):
    """The mean of several fully connected layers, each behind a norm of its own."""

    def __init__(self, channels: int, width: int, spec: ArchSpec, *, branches: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(channels, eps=spec.norm_eps, momentum=spec.norm_momentum) for _ in range(branches)
        )
        self.linears = nn.ModuleList(nn.Linear(channels, width) for _ in range(branches))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C)`` to ``(n, width)``."""
        first, *others = (linear(norm(x)) for norm, linear in zip(self.norms, self.linears, strict=True))
        out: Tensor = first
        for other in others:
            out = out + other
        return out / len(self.linears)

    def merged(self) -> nn.Module:
        """Return one fully connected layer."""
        first = self.linears[0]
        assert isinstance(first, nn.Linear)
        weight, bias = torch.zeros_like(first.weight, dtype=torch.float64), torch.zeros_like(first.bias).double()
        for norm_, linear in zip(self.norms, self.linears, strict=True):
            assert isinstance(linear, nn.Linear) and isinstance(norm_, nn.BatchNorm1d)
            scale, shift = _scale_and_shift(norm_)
            own = linear.weight.detach().double()
            weight += own * scale
            bias += own @ shift + linear.bias.detach().double()
        return _filled(first, weight / len(self.linears), bias / len(self.linears))


def _conv_of(layers: ConvNorm) -> nn.Conv2d:
    conv = layers.get_submodule("conv")
    assert isinstance(conv, nn.Conv2d)
    return conv


def _centre(layers: ConvNorm) -> tuple[int, int]:
    """Return which tap (row, column) reads the pixel that a 1×1 convolution of the same stride reads.

    It is the padding before: with TensorFlow's, a stride of 2 on an even size pads nothing there, and it is the first.
    """
    pad = next((layer for layer in layers if isinstance(layer, nn.ZeroPad2d)), None)
    if pad is not None:
        return pad.padding[2], pad.padding[0]
    padding = _conv_of(layers).padding
    assert isinstance(padding, tuple)
    return padding[0], padding[1]


def _as_convolution(branch: nn.Module, like: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Return kernel ``(K, C/groups, k, k)`` and bias ``(K,)`` of a branch, in float64."""
    if isinstance(branch, ConvNorm):
        conv = _conv_of(branch)
        kernel = conv.weight.detach().double()
        bias = torch.zeros_like(kernel[:, 0, 0, 0]) if conv.bias is None else conv.bias.detach().double()
        norms = [layer for layer in branch if isinstance(layer, nn.BatchNorm2d)]
    else:
        rows, columns = like.out_channels, like.weight.shape[1]
        kernel = torch.zeros(rows, columns, 1, 1, dtype=torch.float64, device=like.weight.device)
        kernel[torch.arange(rows), torch.arange(rows) % columns] = 1.0
        bias = torch.zeros_like(kernel[:, 0, 0, 0])
        norms = [branch] if isinstance(branch, nn.BatchNorm2d) else []
    for layer in norms:
        scale, shift = _scale_and_shift(layer)
        kernel, bias = kernel * scale.reshape(-1, 1, 1, 1), bias * scale + shift
    return kernel, bias


def _scale_and_shift(layer: nn.BatchNorm2d | nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Return what a norm multiplies by and what it adds in eval mode, in float64."""
    assert layer.running_mean is not None and layer.running_var is not None
    scale = layer.weight.detach().double() / torch.sqrt(layer.running_var.double() + layer.eps)
    return scale, layer.bias.detach().double() - layer.running_mean.double() * scale


def _replaced(layers: ConvNorm, conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> ConvNorm:
    """Return padding layer (where there is one) and convolution, with these weights."""
    new = ConvNorm()
    for name, layer in layers.named_children():
        if isinstance(layer, nn.ZeroPad2d):
            new.add_module(name, nn.ZeroPad2d(layer.padding))
    new.add_module("conv", _filled(conv, weight, bias))
    return new.eval()


def _filled(layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor) -> nn.Module:
    """Return a copy of a layer with other weights, and with a bias."""
    new = copy.deepcopy(layer)
    new.weight = nn.Parameter(weight.to(layer.weight.dtype))
    new.bias = nn.Parameter(bias.to(layer.weight.dtype))
    return new.eval()
