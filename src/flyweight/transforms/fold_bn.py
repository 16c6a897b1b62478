"""Batch norm folded into the convolution before it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from flyweight.contracts import Candidate, Change, Env
from flyweight.errors import TransformError
from flyweight.graph import Graph
from flyweight.trace import trace

_FOLDABLE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
Foldable = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d | nn.Linear
Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


@dataclass(frozen=True)
class FoldBatchNorm:
    """Fold every batch norm whose only input is a convolution or fully connected layer that nothing else reads.

    Works on any module: the pairs are found in the traced graph, not by the order of attributes.
    Source: Jacob et al. 2018 (arXiv 1712.05877), section 3.2.
    """

    name: ClassVar[str] = "fold_bn"
    exact: ClassVar[bool] = True
    tolerance: ClassVar[float] = 1e-4

    def requires(self, candidate: Candidate) -> None:
        """Raise TransformError where no batch norm can be folded."""
        if not self.pairs(candidate):
            raise TransformError("transform 'fold_bn': no batch norm follows a convolution here. Was it folded before?")

    def apply(self, candidate: Candidate, env: Env) -> Candidate:
        """Return a copy with the norms folded and replaced by identities."""
        self.requires(candidate)
        pairs = self.pairs(candidate)
        module = copy.deepcopy(candidate.module)
        for conv_path, norm_path in pairs:
            conv, norm = module.get_submodule(conv_path), module.get_submodule(norm_path)
            assert isinstance(conv, _FOLDABLE) and isinstance(norm, _NORMS)  # pairs() has checked it
            _set(module, conv_path, folded(conv, norm))
            _set(module, norm_path, nn.Identity())
        change = Change(
            transform=self.name,
            settings={},
            layers=tuple(norm_path for _, norm_path in pairs),
            before=f"{len(pairs)} batch norms",
            after="folded into the layers before them",
        )
        return candidate.having(change, module=module.eval())

    def pairs(self, candidate: Candidate) -> list[tuple[str, str]]:
        """Return the module paths of every layer and norm that can be folded together."""
        graph = trace(candidate.module, torch.zeros(candidate.input_shape))
        return [pair for pair in _norm_pairs(graph) if _fits(candidate.module, *pair)]

    @classmethod
    def example(cls) -> FoldBatchNorm:
        """Return the only instance there is."""
        return cls()


def _norm_pairs(graph: Graph) -> list[tuple[str, str]]:
    """Return module paths of (layer, norm) where the norm alone reads the layer's output; each module is called
    once.
    """
    calls: dict[str, int] = {}
    for node in graph.nodes:
        if node.op in ("conv", "conv_transpose", "linear", "batch_norm"):
            calls[node.module] = calls.get(node.module, 0) + 1
    pairs = []
    for node in graph.nodes:
        if node.op != "batch_norm" or node.inputs[0] not in graph.producers or node.inputs[0] in graph.outputs:
            continue
        before = graph.producers[node.inputs[0]]
        alone = graph.consumers[node.inputs[0]] == (node,)
        if (
            before.op in ("conv", "conv_transpose", "linear")
            and alone
            and calls[before.module] == calls[node.module] == 1
        ):
            pairs.append((before.module, node.module))
    return pairs


def _fits(module: nn.Module, conv_path: str, norm_path: str) -> bool:
    conv, norm = module.get_submodule(conv_path), module.get_submodule(norm_path)
    return isinstance(conv, _FOLDABLE) and isinstance(norm, _NORMS) and norm.running_mean is not None


def folded(conv: Foldable, norm: Norm) -> nn.Module:
    """Return one layer that computes ``norm(conv(x))`` in eval mode; neither input is changed.

    Args:
        conv: convolution weight ``(K, C/groups, ...)``, transposed ``(C, K/groups, ...)``, or linear ``(K, C)``.
        norm: ``K`` channels, running statistics filled.

    Returns:
        A new layer with a bias; equal within 1e-5 in float32 (computed in float64).

    Raises:
        TransformError: ``norm`` tracks no statistics.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise TransformError(
            "a batch norm without running statistics can't be folded. Train it with track_running_stats=True."
        )
    mean, var = norm.running_mean.double(), norm.running_var.double()
    gamma = norm.weight.detach().double() if norm.affine else torch.ones_like(mean)
    beta = norm.bias.detach().double() if norm.affine else torch.zeros_like(mean)
    scale = gamma / torch.sqrt(var + norm.eps)
    bias = conv.bias.detach().double() if conv.bias is not None else torch.zeros_like(mean)
    new = copy.deepcopy(conv)
    with torch.no_grad():
        new.weight.copy_(conv.weight.detach().double() * _per_filter(conv, scale))
        new.bias = nn.Parameter(((bias - mean) * scale + beta).to(conv.weight.dtype))
    return new


def _per_filter(conv: Foldable, scale: torch.Tensor) -> torch.Tensor:
    """Return ``scale`` (K,) shaped so that it multiplies each output channel's weights."""
    if not isinstance(conv, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return scale.reshape(-1, *[1] * (conv.weight.dim() - 1))
    ones = [1] * (conv.weight.dim() - 2)  # weight (C, K/groups, ...): input channel c belongs to group c // (C/groups)
    groups, inputs = conv.groups, conv.weight.shape[0]
    return scale.reshape(groups, 1, -1).expand(groups, inputs // groups, -1).reshape(inputs, -1, *ones)


def _set(root: nn.Module, path: str, new: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(root.get_submodule(parent), name, new)


MEMBERS = {FoldBatchNorm.name: FoldBatchNorm}
