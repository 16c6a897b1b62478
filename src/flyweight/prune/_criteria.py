"""How important channels are, by one of several criteria: small values go first."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flyweight._channels import depthwise
from flyweight.coupling import Coupling, ParamAxis
from flyweight.errors import UsageError
from flyweight.graph import Node

__all__ = ["CRITERIA", "Criterion", "Evidence", "Floats", "group_scores"]

Floats: TypeAlias = "NDArray[np.float64]"
Batch: TypeAlias = "tuple[Any, Any]"  # inputs as the module takes them, targets as the loss takes them


@dataclass(frozen=True)
class Evidence:
    """What criteria judge by, besides weights.

    Attributes:
        batches: inputs (a tensor or array, or a tuple of them) and targets (a tensor or array).
        loss: of outputs and targets, a scalar.
        seed: of random choices.
    """

    batches: Sequence[Batch] = ()
    loss: Callable[[Any, Any], Tensor] | None = None
    seed: int = 0


@dataclass(frozen=True)
class Criterion:
    """One way to judge channels.

    Attributes:
        what: in a line, for help texts. source: the paper.
        score: ``(groups,)`` of a coupling; infinite where it says nothing.
        needs_data: whether it needs batches and a loss.
    """

    name: str
    what: str
    source: str
    score: Callable[[nn.Module, Coupling, Evidence], Floats]
    needs_data: bool = False


def group_scores(criterion: str, module: nn.Module, coupling: Coupling, evidence: Evidence) -> Floats:
    """Return ``(groups,)``: how important each group of tied channels is; infinite where nothing is said of it.

    Raises:
        UsageError: no such criterion, or it needs batches and a loss.
    """
    if criterion not in CRITERIA:
        raise UsageError(f"no criterion '{criterion}'. There are: {', '.join(CRITERIA)}.")
    found = CRITERIA[criterion]
    if found.needs_data and (not evidence.batches or evidence.loss is None):
        raise UsageError(f"criterion '{criterion}' needs images and their targets. Give data, or take l1.")
    with torch.no_grad():
        return found.score(module, coupling, evidence)


def _made_by(coupling: Coupling) -> Iterator[tuple[Node, ParamAxis]]:
    """Yield the layers that make channels, and the axis of the weight that these run along."""
    for node in coupling.graph.nodes:
        if node.op in _LAYERS:
            made = 1 if node.op == "conv_transpose" and not depthwise(node, coupling.graph) else 0
            yield from ((node, axis) for axis in coupling.params.get(node.operands[1], ()) if axis.dim == made)


def _filters(module: nn.Module, coupling: Coupling) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Yield the channels' numbers and ``(channels, entries)`` of every layer's weight."""
    params = dict(module.named_parameters(remove_duplicate=False))
    for _, axis in _made_by(coupling):
        if axis.param in params:
            yield axis.ids.reshape(-1), _by_channel(params[axis.param].detach().float(), axis)


def _by_channel(values: Tensor, axis: ParamAxis) -> Tensor:
    """Return ``(channels, entries)``; with blocks the first dimension is divided among them."""
    parts = values.chunk(len(axis.ids), dim=0) if len(axis.ids) > 1 else (values,)
    return torch.cat([part.movedim(axis.dim, 0).reshape(part.shape[axis.dim], -1) for part in parts])


def _relative(found: Iterator[tuple[NDArray[np.int64], Tensor]], coupling: Coupling) -> Floats:
    """Return ``(groups,)``: the mean of the channels' values, each over the mean of its layer, so that layers compare.

    Args:
        found: channels' numbers and ``(channels,)``, of every layer.
    """
    sums, counts = np.zeros(len(coupling.groups)), np.zeros(len(coupling.groups))
    for ids, values in found:
        mean = float(values.mean())
        np.add.at(sums, coupling.group_of[ids], (values / mean if mean else values).double().numpy())
        np.add.at(counts, coupling.group_of[ids], 1.0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)


def _l1(module: nn.Module, coupling: Coupling, evidence: Evidence) -> Floats:
    return _relative(((ids, rows.abs().sum(1)) for ids, rows in _filters(module, coupling)), coupling)


def _geometric_median(module: nn.Module, coupling: Coupling, evidence: Evidence) -> Floats:
    """The sum of a filter's distances to its layer's others: those near the middle can be stood in for."""
    return _relative(((ids, torch.cdist(rows, rows).sum(1)) for ids, rows in _filters(module, coupling)), coupling)


def _norms(coupling: Coupling) -> Iterator[tuple[list[str], NDArray[np.int64]]]:
    """Yield the learned parameters of every batch norm, scale then shift, and the numbers of its channels."""
    for node in coupling.graph.nodes:
        names = [p.name for p in node.params if p.kind == "parameter"] if node.op == "batch_norm" else []
        if names and names[0] in coupling.params:
            yield names, coupling.params[names[0]][0].ids[0]


def _bn_scale(module: nn.Module, coupling: Coupling, evidence: Evidence) -> Floats:
    """As published, norms are compared as they are: training with a penalty on the scales makes them comparable."""
    params = dict(module.named_parameters(remove_duplicate=False))
    sums, counts = np.zeros(len(coupling.groups)), np.zeros(len(coupling.groups))
    for names, ids in _norms(coupling):
        real = ids >= 0
        np.add.at(sums, coupling.group_of[ids[real]], params[names[0]].detach().abs().double().numpy()[real])
        np.add.at(counts, coupling.group_of[ids[real]], 1.0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)


def _random(module: nn.Module, coupling: Coupling, evidence: Evidence) -> Floats:
    return np.random.default_rng(evidence.seed).random(len(coupling.groups))


def _taylor(module: nn.Module, coupling: Coupling, evidence: Evidence) -> Floats:
    """The square of what the loss would change by, to first order, when a group is scaled to zero; mean over batches.

    That is the gradient times the value, summed over the parameters that scale a channel: its norm's scale and shift,
    or without a norm its filter and bias.
    """
    own = copy.deepcopy(module).eval()
    params = dict(own.named_parameters(remove_duplicate=False))
    for param in params.values():
        param.requires_grad_(True)
    gates = list(_gates(coupling))
    total = np.zeros(len(coupling.groups))
    for inputs, targets in evidence.batches:
        arguments = tuple(map(torch.as_tensor, inputs if isinstance(inputs, tuple) else (inputs,)))
        with torch.enable_grad():
            assert evidence.loss is not None  # group_scores has looked
            loss = evidence.loss(own(*arguments), torch.as_tensor(targets))
            gradients = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
        slopes = dict(zip(params, gradients, strict=True))
        change = np.zeros(len(coupling.groups))
        for axis in gates:
            slope = slopes.get(axis.param)
            if slope is not None:
                rows = _by_channel(slope * params[axis.param], axis).sum(1).double().numpy()
                ids = axis.ids.reshape(-1)
                np.add.at(change, coupling.group_of[ids[ids >= 0]], rows[ids >= 0])
        total += change**2
    judged = np.zeros(len(coupling.groups), bool)
    for axis in gates:
        judged[coupling.group_of[axis.ids[axis.ids >= 0]]] = True
    return np.where(judged, total / max(len(evidence.batches), 1), np.inf)


def _gates(coupling: Coupling) -> Iterator[ParamAxis]:
    """Yield the axes of the parameters that scale channels: norms', and of layers without a norm filters and biases."""
    normed = np.zeros(len(coupling.group_of), bool)
    for names, ids in _norms(coupling):
        normed[ids[ids >= 0]] = True
        yield from (coupling.params[name][0] for name in names if name in coupling.params)
    for node, axis in _made_by(coupling):
        ids = axis.ids.reshape(-1)
        if not normed[ids[ids >= 0]].any():
            yield axis
            yield from (found for name in node.operands[2:] for found in coupling.params.get(name, ())[:1])


_LAYERS = ("conv", "conv_transpose", "linear")
CRITERIA: Mapping[str, Criterion] = MappingProxyType(
    {
        found.name: found
        for found in (
            Criterion("l1", "sum of a filter's absolute weights", "Li et al. 2017, section 3.1", _l1),
            Criterion("bn_scale", "scale of the batch norm behind a channel", "Liu et al. 2017, section 3", _bn_scale),
            Criterion(
                "taylor", "first-order change of the loss without a channel", "Molchanov et al. 2019, section 3",
                _taylor, needs_data=True,
            ),
            Criterion(
                "geometric_median", "distance of a filter from its layer's others", "He et al. 2019, section 3",
                _geometric_median,
            ),
            Criterion("random", "a random number: the control", "", _random),
        )
    }
)  # fmt: skip
