"""What is known of every channel without running the network: whether it is the same for all inputs, and its value.

Constants are sent forward through the graph, channel by channel (compilers call it constant propagation): a zero filter
gives its bias, a batch norm of scale 0 its shift, an activation of a constant another one, zero times anything zero.
Values are computed by PyTorch's own operators, in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from flyweight import labels as lb
from flyweight._channels import reduced_dims
from flyweight.graph import Graph, Node
from flyweight.operators import ELEMENTWISE_OPS

NEGLIGIBLE = 1e-9  # of the layer's largest: a hundredth of float32's rounding, so that it can't be told from zero
Values: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]

_NOT_COMPUTED = """
    dropout alpha_dropout feature_dropout feature_alpha_dropout rrelu batch_norm prelu glu upsample_bilinear
    upsample_bicubic grid_sample where masked_fill bitwise_and bitwise_or bitwise_not bitwise_xor bitwise_left_shift
    bitwise_right_shift
"""
_OWN_ATTRS = frozenset({"aten", "operands", "alias_of", "inplace", "weight", "kernel_size"})
_KEPT_BY = "max_pool adaptive_avg_pool adaptive_max_pool upsample_nearest upsample_bilinear upsample_bicubic"


@dataclass(frozen=True)
class Facts:
    """Of one tensor; both arrays broadcast to its shape, as ``flyweight.labels`` has it.

    Attributes:
        dead: whether it is the same for all inputs.
        value: the constant that it is at every pixel; NaN where it is alive, or differs from pixel to pixel.
    """

    dead: Flags
    value: Values

    @classmethod
    def alive(cls, rank: int) -> Facts:
        """Return that nothing is known."""
        return cls(lb.plain(rank, False), lb.plain(rank, np.nan))

    @classmethod
    def constant(cls, values: Values) -> Facts:
        """Return that these are the values."""
        return cls(np.ones(values.shape, bool), values)

    def or_seen(self, seen: Facts) -> Facts:
        """Return this with what was seen on images besides."""
        return Facts(self.dead | seen.dead, np.where(np.isnan(self.value), seen.value, self.value))


class Weights:
    """The values of a module's parameters and buffers, by their qualified names."""

    def __init__(self, module: nn.Module) -> None:
        named = (*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False))
        self._tensors = dict(named)
        self.matrices: dict[str, Matrix | None] = {}  # by the node's name

    def __contains__(self, name: str) -> bool:
        """Whether the module has it."""
        return name in self._tensors

    def __getitem__(self, name: str) -> Values:
        """Return one tensor's values as float64."""
        return self.stored(name).astype(np.float64)

    def stored(self, name: str) -> Values:
        """Return one tensor's values as float32, or float64 if it is that: a fully connected layer may be large."""
        tensor = self._tensors[name].detach().cpu()
        values: Values = (tensor if tensor.dtype == torch.float64 else tensor.float()).numpy()
        return values


@dataclass(frozen=True)
class Matrix:
    """A convolution or fully connected layer as what it makes of which channel, its kernel's taps summed.

    Attributes:
        groups: each of as many filters, which read as many channels of their own.
        size: ``(K, C/groups)``, the sum of its absolute weights; 0 where it is negligible, infinite where one is NaN.
        gain: ``(K, C/groups)``, the sum of its weights: what a constant 1 in the input adds to the output.
        bias: ``(K,)``.
        border: whether zeros around the input are read too (or, transposed, pixels get unequally many taps).
    """

    groups: int
    size: Values
    gain: Values
    bias: Values
    border: bool

    def of_inputs(self, values: NDArray[np.bool_]) -> Flags:
        """Return ``(K or 1, C/groups)``: what is said of the input ``(C,)`` that each entry multiplies."""
        blocks = values.reshape(self.groups, -1)
        return blocks if self.groups == 1 else blocks.repeat(len(self.size) // self.groups, axis=0)

    def inputs_of(self, flags: Flags) -> Flags:
        """Return ``(C,)``: which inputs one of the flagged entries ``(K, C/groups)`` multiplies."""
        found: Flags = flags.reshape(self.groups, -1, flags.shape[1]).any(1).reshape(-1)
        return found

    def sums(self, values: Values) -> Values:
        """Return ``(K,)``: what constants in the input ``(C,)`` add to the outputs."""
        per_group = self.gain.shape[1]
        made = np.zeros(len(self.gain))
        rows = made.reshape(self.groups, -1)
        for block, own in enumerate(values.reshape(self.groups, per_group)):
            there = np.flatnonzero(own)
            gain = self.gain.reshape(self.groups, -1, per_group)[block][:, there]
            rows[block] = gain.astype(np.float64) @ own[there]
        return made


def matrix(node: Node, weights: Weights) -> Matrix | None:
    """Return the matrix of a ``conv``, ``conv_transpose`` or ``linear`` node; None where its weight is computed."""
    if node.name not in weights.matrices:
        known = all(operand in weights for operand in node.operands[1:])
        weights.matrices[node.name] = _matrix(node, weights) if known else None
    return weights.matrices[node.name]


def _matrix(node: Node, weights: Weights) -> Matrix:
    weight = weights.stored(node.operands[1])
    groups = int(str(node.attr("groups", 1)))
    if node.op == "conv_transpose":  # (C, K/groups, …) -> (K, C/groups, …)
        blocks = weight.reshape(groups, -1, *weight.shape[1:])
        weight = blocks.swapaxes(1, 2).reshape(-1, blocks.shape[1], *weight.shape[2:])
    taps = tuple(range(2, weight.ndim))
    size, gain = (np.abs(weight).sum(taps), weight.sum(taps)) if taps else (np.abs(weight), weight)
    size[np.isnan(size)] = np.inf
    size[negligible(size)] = 0
    bias = weights[node.operands[2]] if len(node.operands) > 2 else np.zeros(len(size))
    return Matrix(groups, size, gain, bias, _border(node))


def negligible(sizes: Values, of: Values | None = None) -> Flags:
    """Return which sizes are next to nothing beside the largest finite one ``of`` these, or of themselves."""
    others = sizes if of is None else of
    found: Flags = sizes <= NEGLIGIBLE * others.max(initial=0, where=np.isfinite(others))
    return found


def _border(node: Node) -> bool:
    kernel, padding = node.attr("kernel_size", ()), node.attr("padding", ())
    sizes = kernel if isinstance(kernel, tuple) else (kernel,)
    if node.op == "conv_transpose":
        return any(k != 1 for k in sizes) or any(s != 1 for s in np.atleast_1d(np.array(node.attr("stride", 1), int)))
    return node.op == "conv" and any(p != 0 for p in (padding if isinstance(padding, tuple) else (padding,)))


def channel_dim(node: Node, graph: Graph) -> int:
    """Return the dimension of a layer's input and output that its channels lie along."""
    if node.op == "linear":
        return len(graph.info(node.operands[0]).shape) - 1
    spatial = len(graph.info(node.operands[1]).shape) - 2
    return len(graph.info(node.operands[0]).shape) - spatial - 1


def facts(graph: Graph, weights: Weights, seen: Mapping[str, Facts] | None = None) -> Mapping[str, Facts]:
    """Return what is known of every activation.

    Args:
        graph: the network.
        weights: its weights.
        seen: what was seen of activations on images, by their names; taken for true where it is given.
    """
    known: dict[str, Facts] = {name: Facts.alive(len(graph.tensors[name].shape)) for name in graph.inputs}
    for node in graph.nodes:
        step = _Step(node, graph, weights, known)
        rule = _RULES.get(node.op, _anything)
        made = _moved(step) or rule(step)
        for name, found in zip(node.outputs, made, strict=True):
            found = found.or_seen(seen[name]) if seen and name in seen else found
            known[name] = Facts(lb.compressed(found.dead), lb.compressed(found.value))
    return MappingProxyType(known)


@dataclass(frozen=True)
class _Step:
    node: Node
    graph: Graph
    weights: Weights
    known: Mapping[str, Facts]

    def of(self, name: str) -> Facts:
        if name in self.known:
            return self.known[name]
        if name in self.weights:
            return Facts.constant(self.weights[name])
        return Facts(lb.plain(self.rank(name), True), lb.plain(self.rank(name), np.nan))

    def rank(self, name: str) -> int:
        return len(self.graph.info(name).shape)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.graph.info(name).shape


def _moved(step: _Step) -> list[Facts] | None:
    node = step.node
    shapes, made = [step.shape(n) for n in node.operands], [step.shape(n) for n in node.outputs]
    own = [step.of(n) for n in node.operands]
    dead = lb.moved(node, [f.dead for f in own], shapes, made)
    value = lb.moved(node, [f.value for f in own], shapes, made)
    return None if dead is None or value is None else [Facts(d, v) for d, v in zip(dead, value, strict=True)]


def _anything(step: _Step) -> list[Facts]:
    """Of an operator about which nothing is known: what it makes of constants alone is constant."""
    dead = all(bool(step.of(name).dead.all()) for name in step.node.operands)
    return [Facts(lb.plain(step.rank(n), dead), lb.plain(step.rank(n), np.nan)) for n in step.node.outputs]


def foldable(value: Values, border: bool) -> Flags:
    """Return which constants that a layer reads it can have in its bias instead; NaN is none."""
    found: Flags = (value == 0) | (~np.isnan(value) & (not border))
    return found


def _layer(step: _Step) -> list[Facts]:
    """A filter is dead where it multiplies nothing but constants, or by nothing but zeros."""
    node, source = step.node, step.node.operands[0]
    layer, dim = matrix(node, step.weights), channel_dim(node, step.graph)
    known = step.of(source)
    dead, value = (lb.along(a, step.shape(source), dim) for a in (known.dead, known.value))
    if layer is None or dead is None or value is None:
        return _anything(step)
    whole = layer.size.sum(1, dtype=np.float64)
    alive = np.where(layer.of_inputs(dead), 0, layer.size).sum(1, dtype=np.float64) if dead.any() else whole
    constant, uneven = negligible(alive, whole), dead & ~foldable(value, layer.border)
    if uneven.any():  # a constant that is another number beside the zeros around it makes no constant
        made = np.where(((layer.size > 0) & layer.of_inputs(uneven)).any(1), np.nan, layer.bias)
    else:
        made = layer.bias
    made = np.where(constant, made + layer.sums(np.nan_to_num(value)), np.nan)
    rank = step.rank(node.outputs[0])
    return [Facts(lb.spread(constant, rank, dim), lb.spread(_float32(made), rank, dim))]


@dataclass(frozen=True)
class Norm:
    """A batch norm in eval mode: ``(x - mean) * scale + shift``, each ``(C,)``; ``var`` is the running variance."""

    mean: Values
    var: Values
    scale: Values
    shift: Values

    @property
    def flat(self) -> Flags:
        """Where the scale is negligible, so that the output is the shift."""
        return negligible(np.abs(self.scale))


def batch_norm(node: Node, weights: Weights) -> Norm | None:
    """Return what a ``batch_norm`` node computes, None where it has no stored statistics."""
    formals = [n for n in ("weight", "bias", "running_mean", "running_var") if n not in dict(node.attrs)]
    given = dict(zip(formals, node.operands[1:], strict=False))
    if not {"running_mean", "running_var"} <= set(given) or any(name not in weights for name in given.values()):
        return None
    own = {formal: weights[name] for formal, name in given.items()}
    mean, var = own["running_mean"], own["running_var"]
    scale = own.get("weight", np.ones_like(mean)) / np.sqrt(var + float(str(node.attr("eps", 1e-5))))
    return Norm(mean, var, scale, own.get("bias", np.zeros_like(mean)))


def _batch_norm(step: _Step) -> list[Facts]:
    node, source = step.node, step.node.operands[0]
    norm, known = batch_norm(node, step.weights), step.of(source)
    dead, value = (lb.along(a, step.shape(source), 1) for a in (known.dead, known.value))
    if norm is None or dead is None or value is None:
        return _anything(step)
    made = np.where(norm.flat, norm.shift, (value - norm.mean) * norm.scale + norm.shift)
    rank = step.rank(node.outputs[0])
    first = Facts(lb.spread(dead | norm.flat, rank, 1), lb.spread(_float32(made), rank, 1))
    return [first, *_anything(step)[1:]]


def _float32(values: Values) -> Values:
    return values.astype(np.float32).astype(np.float64)


def _prelu(step: _Step) -> list[Facts]:
    source, slope = step.node.operands[:2]
    known = step.of(source)
    value = lb.along(known.value, step.shape(source), 1) if step.rank(source) > 1 else None
    if value is None or slope not in step.weights:
        return _anything(step)
    made = np.where(value >= 0, value, value * step.weights[slope].reshape(-1))
    return [Facts(known.dead, lb.spread(_float32(made), step.rank(source), 1))]


def _elementwise(step: _Step) -> list[Facts]:
    own = [step.of(name) for name in step.node.operands]
    rank = step.rank(step.node.outputs[0])
    dead = _all([_ranked(f.dead, rank) for f in own])
    value = np.where(dead, _computed(step.node, [f.value for f in own], rank), np.nan)
    if step.node.op == "mul":
        zero = _any([_ranked(f.value == 0, rank) for f in own])
        dead, value = dead | zero, np.where(zero, 0.0, value)
    return [Facts(dead, value), *_anything(step)[1:]]


def _ranked(array: NDArray[np.bool_], rank: int) -> Flags:
    return array.reshape((1,) * (rank - array.ndim) + array.shape)


def _all(arrays: list[Flags]) -> Flags:
    found: Flags = np.logical_and.reduce(np.broadcast_arrays(*arrays))
    return found


def _any(arrays: list[Flags]) -> Flags:
    found: Flags = np.logical_or.reduce(np.broadcast_arrays(*arrays))
    return found


def _computed(node: Node, values: list[Values], rank: int) -> Values:
    """Return what the node's operator makes of constants, NaN where one of them is unknown or it can't be told."""
    packet = getattr(torch.ops.aten, str(node.attr("aten")), None)
    settings = {name: value for name, value in node.attrs if name not in _OWN_ATTRS}
    for overload in packet.overloads() if packet is not None else ():
        func = getattr(packet, overload)
        names = [argument.name for argument in func._schema.arguments]
        operands = [name for name in names if name not in settings]
        if set(settings) <= set(names) and len(operands) == len(values) and not func._schema.is_mutable:
            given = {n: torch.from_numpy(v.astype(np.float32)) for n, v in zip(operands, values, strict=True)}
            with torch.no_grad():
                out = func(**{**settings, **given})
            unknown = _any([_ranked(np.isnan(v), rank) for v in values])
            return np.where(unknown, np.nan, out.double().numpy().reshape((1,) * (rank - out.dim()) + out.shape))
    return lb.plain(rank, np.nan)


def _same(step: _Step) -> list[Facts]:
    """Pooling and upsampling of a constant give the constant."""
    known = step.of(step.node.operands[0])
    rank = step.rank(step.node.outputs[0])
    if known.dead.ndim != rank or any(size > 1 for size in known.dead.shape[2:]):
        return _anything(step)
    return [known, *_anything(step)[1:]]


def _average(step: _Step) -> list[Facts]:
    """Zeros at the border are averaged in, unless the operator leaves them out."""
    made = _same(step)
    padded = step.node.attr("count_include_pad", True) and any(np.atleast_1d(np.array(step.node.attr("padding", 0))))
    return [_except_zero(made[0]), *made[1:]] if padded else made


def _except_zero(known: Facts) -> Facts:
    return Facts(known.dead, np.where(known.value == 0, 0.0, np.nan))


def _pad(step: _Step) -> list[Facts]:
    node, source = step.node, step.node.operands[0]
    known, pads = step.of(source), node.attr("pad", node.attr("padding"))
    channels_too = isinstance(pads, tuple) and len(pads) > 2 * (step.rank(source) - 2) and any(pads[-4:])
    if channels_too or any(size > 1 for size in known.dead.shape[2:]):
        return _anything(step)
    if node.attr("aten") != "constant_pad_nd":
        return [known]
    fill = float(str(node.attr("value") or 0))
    return [Facts(known.dead, np.where(known.value == fill, known.value, np.nan))]


def _mean(step: _Step) -> list[Facts]:
    node, known = step.node, step.of(step.node.operands[0])
    dims, keep = reduced_dims(node, known.dead.ndim), bool(node.attr("keepdim"))
    if len(node.outputs) > 1:
        return _anything(step)
    dead, value = np.asarray(known.dead.all(dims, keepdims=keep)), np.asarray(known.value.mean(dims, keepdims=keep))
    return [Facts(dead, value)]


_Rule: TypeAlias = Callable[[_Step], "list[Facts]"]
_RULES: Mapping[str, _Rule] = MappingProxyType(
    {
        **dict.fromkeys(sorted(set(ELEMENTWISE_OPS) - set(_NOT_COMPUTED.split())), _elementwise),
        **dict.fromkeys(_KEPT_BY.split(), _same),
        **dict.fromkeys(("conv", "conv_transpose", "linear"), _layer),
        "batch_norm": _batch_norm,
        "prelu": _prelu,
        "avg_pool": _average,
        "pad": _pad,
        "mean": _mean,
    }
)
