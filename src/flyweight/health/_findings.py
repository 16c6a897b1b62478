"""One finding per layer and kind, from the weights alone: dead, unread, near zero, not finite, variance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from flyweight import labels as lb
from flyweight.coupling import NONE, Coupling
from flyweight.graph import Graph, Node
from flyweight.health._facts import Facts, Flags, Values, Weights, batch_norm, channel_dim, matrix
from flyweight.health._images import Seen
from flyweight.health._removal import Reader

Kind: TypeAlias = Literal["dead", "unread", "near_zero", "saturated", "not_finite", "variance"]
LAYERS = ("conv", "conv_transpose", "linear")
NEAR_ZERO = 1e-3  # of the layer's median kernel
FEWEST_TAPS = 4  # a kernel of fewer may be small by chance
VARIANCE_RATIO = 1e6  # float16 spans no more from its smallest to its largest of full precision
FEWEST_VALUES = 16  # per channel, that must have been seen before it is called dead
SATURATED = 0.95
_ACTIVATIONS = """
    relu relu6 hardtanh clamp threshold leaky_relu prelu hardswish hardsigmoid sigmoid tanh silu gelu elu selu celu mish
    softplus
"""
_SPOTTED = frozenset((*LAYERS, "batch_norm", *_ACTIVATIONS.split()))


@dataclass(frozen=True)
class Finding:
    """What is wrong with some channels of one layer.

    Attributes:
        layer: path of the module. op: its operator.
        kind: ``dead`` (the same for all inputs), ``unread`` (no later layer multiplies it by anything but zero),
            ``near_zero`` (a depthwise kernel that training drove to zero), ``saturated`` (an activation at its limit),
            ``not_finite`` (NaN or infinity among the weights), ``variance`` (a running variance far from the others').
        channels: indices of its output channels. of: how many it has.
        what: in words.
        images: how many images it was seen on; 0: it follows from the weights.
        removable: those of ``channels`` that can be removed with outputs equal (on those images, if images is not 0).
        left_whole: why the other dead or unread ones can't; '' where there are none.
    """

    layer: str
    op: str
    kind: Kind
    channels: tuple[int, ...]
    of: int
    what: str
    images: int = 0
    removable: tuple[int, ...] = ()
    left_whole: str = ""

    @property
    def evidence(self) -> str:
        """``weights``, or how many images it was seen on."""
        return f"{self.images} images" if self.images else "weights"


@dataclass(frozen=True)
class Spotted:
    """A finding on its way: at which activation, and which channels."""

    node: Node
    kind: Kind
    flags: Flags
    what: str
    images: int = 0


def dead_by_weights(graph: Graph, weights: Weights, facts: Mapping[str, Facts]) -> Iterator[Spotted]:
    """Yield channels that are constant, each where it becomes so; what follows from it downstream is left out."""
    for node in graph.nodes:
        made, names = facts[node.outputs[0]], [name for name in node.inputs if name in facts]
        if node.attr("weight") or not made.dead.any() or made.dead.ndim < 2:
            continue
        if node.op in LAYERS:
            flags, what = _zero_filters(node, graph, weights, facts), "filter is zero"
        elif node.op == "batch_norm" and (norm := batch_norm(node, weights)) is not None:
            before = lb.along(facts[names[0]].dead, graph.info(names[0]).shape, 1)
            flags, what = norm.flat & (~before if before is not None else True), "norm's scale is zero"
        elif node.op == "mul":
            flags, what = (
                _flat(made.dead & ~_dead_before(made, [facts[n] for n in names]), graph, node),
                "factor is zero",
            )
        else:
            continue
        if flags is not None and flags.any():
            yield Spotted(node, "dead", flags, what)


def _zero_filters(node: Node, graph: Graph, weights: Weights, facts: Mapping[str, Facts]) -> Flags | None:
    layer, source = matrix(node, weights), node.operands[0]
    dead = lb.along(facts[source].dead, graph.info(source).shape, channel_dim(node, graph)) if source in facts else None
    if layer is None:
        return None
    zero: Flags = layer.size.sum(1) == 0
    return zero if dead is None else zero & ~layer.of_inputs(dead).all(1)


def _dead_before(made: Facts, read: list[Facts]) -> Flags:
    """Return where one of the activations that were read was dead already."""
    rank = made.dead.ndim
    dead = [found.dead.reshape((1,) * (rank - found.dead.ndim) + found.dead.shape) for found in read]
    found: Flags = np.logical_or.reduce(np.broadcast_arrays(*dead))
    return found


def _flat(flags: Flags, graph: Graph, node: Node) -> Flags | None:
    return lb.along(flags, graph.tensors[node.outputs[0]].shape, 1)


def dead_by_images(
    graph: Graph, seen: Mapping[str, Seen], known: Mapping[str, Facts], facts: Mapping[str, Facts], images: int
) -> Iterator[Spotted]:
    """Yield channels that were constant on all images, each where it became so.

    ``known`` is what follows from the weights, ``facts`` what follows with what was seen.
    """
    for node in graph.nodes:
        name = node.outputs[0]
        if node.attr("weight") or name not in seen or node.op not in _SPOTTED:
            continue
        shape = graph.tensors[name].shape
        if images * np.prod(shape[2:]) * shape[0] < FEWEST_VALUES:
            continue
        flags = (seen[name].low == seen[name].high) & ~_known_dead(known[name], shape)
        for other in (other for other in node.inputs if facts[other].dead.ndim > 1):
            dead = _known_dead(facts[other], graph.tensors[other].shape)
            flags = flags & ~_reached(dead, len(flags), node)
        if flags.any():
            value = "zero" if (seen[name].low[flags] == 0).all() else "constant"
            yield Spotted(node, "dead", flags, f"output is {value} on every image", images)


def _known_dead(facts: Facts, shape: tuple[int, ...]) -> Flags:
    dead = lb.along(facts.dead, shape, 1)
    return np.zeros(shape[1], bool) if dead is None else dead


def _reached(dead: Flags, made: int, node: Node) -> Flags:
    """Return which of a node's ``made`` channels see nothing but dead ones: their own one, or all of a layer's."""
    if node.op in LAYERS and node.attr("groups", 1) != dead.size:
        return np.full(made, bool(dead.all()))
    return np.repeat(dead, made // dead.size) if made % dead.size == 0 else np.zeros(made, bool)


def unread(coupling: Coupling, readers: Iterable[Reader], facts: Mapping[str, Facts]) -> Iterator[Spotted]:
    """Yield filters whose output every later layer multiplies by zero; dead ones are left out."""
    count = len(coupling.groups)
    met, used, idle = np.zeros(count, bool), np.zeros(count, bool), np.zeros(count, bool)
    for reader in readers:
        entries = reader.layer.inputs_of(reader.layer.size > 0)
        groups = np.where(reader.ids == NONE, count, coupling.group_of[reader.ids])
        met |= np.isin(np.arange(count), groups)
        used |= np.isin(np.arange(count), groups[entries])
        idle |= np.isin(np.arange(count), groups[reader.dead])
    found = met & ~used & ~idle
    found[list(coupling.fixed)] = False
    nodes = {node.name: node for node in coupling.graph.nodes}
    taken = np.zeros(count, bool)
    for source in coupling.sources:
        if source.node in nodes:
            groups = coupling.group_of[source.ids.start : source.ids.stop]
            flags = found[groups] & ~taken[groups]
            taken[groups[flags]] = True
            if flags.any():
                yield Spotted(nodes[source.node], "unread", flags, "all weights that read it are zero")


def near_zero(graph: Graph, weights: Weights, facts: Mapping[str, Facts]) -> Iterator[Spotted]:
    """Yield depthwise kernels that are next to nothing beside the others, the norm behind them multiplied in."""
    for node in graph.nodes:
        layer = matrix(node, weights) if node.op == "conv" and node.operands[1] in weights else None
        if layer is None or layer.size.shape[1] != 1 or len(layer.size) < 2 or _taps(node) < FEWEST_TAPS:
            continue
        size = layer.size[:, 0] * _norm_behind(node, graph, weights)
        small = size < NEAR_ZERO * np.median(size)
        dead = lb.along(facts[node.outputs[0]].dead, graph.tensors[node.outputs[0]].shape, channel_dim(node, graph))
        small = small & (layer.size[:, 0] > 0) & (~dead if dead is not None else True)
        if small.any():
            yield Spotted(node, "near_zero", small, f"depthwise kernel is under {NEAR_ZERO:g} of the layer's median")


def _taps(node: Node) -> int:
    kernel = node.attr("kernel_size", ())
    return int(np.prod([int(str(k)) for k in kernel])) if isinstance(kernel, tuple) else 1


def _norm_behind(node: Node, graph: Graph, weights: Weights) -> Values:
    """Return the absolute scale of the batch norm that alone reads a layer, 1 where there is none."""
    following = graph.consumers[node.outputs[0]]
    norm = batch_norm(following[0], weights) if len(following) == 1 and following[0].op == "batch_norm" else None
    scale: Values = np.ones(1) if norm is None else np.abs(norm.scale)
    return scale


def variance(graph: Graph, weights: Weights, facts: Mapping[str, Facts]) -> Iterator[Spotted]:
    """Yield norms with running variances that are out of all proportion; channels that are constant are left out."""
    for node in graph.nodes:
        norm = batch_norm(node, weights) if node.op == "batch_norm" else None
        if norm is None or not np.isfinite(norm.var).all():
            continue
        before = facts[node.operands[0]]
        dead = lb.along(before.dead, graph.info(node.operands[0]).shape, 1)
        alive = np.ones(norm.var.shape, bool) if dead is None else ~dead
        alive &= ~norm.flat
        middle = float(np.median(norm.var[alive])) if alive.any() else 0.0
        far = alive & ((norm.var > VARIANCE_RATIO * middle) | (norm.var * VARIANCE_RATIO < middle) | (norm.var < 0))
        if far.any():
            what = f"running variance is over {VARIANCE_RATIO:.0e} times off the layer's median"
            yield Spotted(node, "variance", far, what)


def saturated(graph: Graph, seen: Mapping[str, Seen], images: int, share: float) -> Iterator[Spotted]:
    """Yield activations of which more than ``share`` are at their limit, where nothing is learned any more."""
    for node in graph.nodes:
        own = seen.get(node.outputs[0])
        if own is None or own.limit is None or images * np.prod(graph.tensors[node.outputs[0]].shape[2:]) < 2:
            continue
        flags = (own.limit > share) & (own.low < own.high)
        if flags.any():
            yield Spotted(node, "saturated", flags, f"over {share:.0%} of its values are at the limit", images)


def not_finite(graph: Graph, weights: Weights) -> Iterator[Finding]:
    """Yield parameters with NaN or infinity."""
    told: set[str] = set()
    for node in graph.nodes:
        for param in node.params:
            if param.name in weights and param.name not in told:
                told.add(param.name)
                values = weights.stored(param.name)
                bad = ~np.isfinite(values)
                if bad.any():
                    rows = np.flatnonzero(bad.reshape(len(values), -1).any(1)) if values.ndim else np.zeros(1, int)
                    own = param.name.rpartition(".")[2]
                    what = f"{int(bad.sum())} of {bad.size} values of its {own} are NaN or infinite"
                    of = len(values) if values.ndim else 1
                    yield Finding(node.module, node.op, "not_finite", tuple(map(int, rows)), of, what)
