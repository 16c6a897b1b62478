"""Which operators share a box: a convolution with the norm and the activation around it, a module without weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from flyweight.graph import Graph, Node
from flyweight.operators import ELEMENTWISE_OPS

WEIGHTED = frozenset({"conv", "conv_transpose", "linear", "matmul", "sdpa", "lstm", "gru", "rnn", "embedding"})
NORMS = frozenset({"batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm"})
_ACTIVATIONS = """
    relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish glu sigmoid hardsigmoid hardswish hardtanh tanh
    clamp softplus log_sigmoid threshold softmax log_softmax
"""
ACTIVATIONS = frozenset(_ACTIVATIONS.split())
PADS = frozenset({"pad", "slice"})
_VIEWS = """
    view reshape flatten unflatten squeeze unsqueeze dropout alpha_dropout feature_dropout feature_alpha_dropout
    detach alias copy
"""
VIEWS = frozenset(_VIEWS.split())
FOLLOWERS = NORMS | ACTIVATIONS | VIEWS
BEFORE = NORMS | ACTIVATIONS  # what may stand before a convolution in its own box


@dataclass
class Chunk:
    """The operators of one box: ``before`` is the norm, activation or padding ahead of the main ones.

    ``light``: a whole module without weights.
    """

    nodes: list[Node]
    before: list[Node] = field(default_factory=list)
    light: bool = False

    @property
    def all(self) -> list[Node]:
        """Every operator of the box, in the order of the data."""
        return [*self.before, *self.nodes]


def chunks_of(graph: Graph, fused: bool) -> list[Chunk]:
    """Return the boxes of a graph in execution order; without ``fused`` every operator is one."""
    nodes = [node for node in graph.nodes if not node.attr("weight")]
    if not fused:
        return [Chunk([node]) for node in nodes]
    inner = _inner(nodes)
    fuser = _Fuser(graph, inner)
    for item in _items(nodes, inner):
        fuser.add(item)
    return fuser.chunks


def _inner(nodes: Sequence[Node]) -> frozenset[str]:
    """Return the modules that have modules in them."""
    parents = {node.module.rpartition(".")[0] for node in nodes}
    return frozenset(".".join(p.split(".")[:end]) for p in parents for end in range(p.count(".") + 2))


def _items(nodes: Sequence[Node], inner: frozenset[str]) -> Iterator[list[Node]]:
    """Yield single operators, and runs of operators that are one call of a module without weights or modules in it."""
    heavy = {node.module for node in nodes if node.op in WEIGHTED or node.params}
    run: list[Node] = []
    for node in nodes:
        whole = node.module not in inner and node.module not in heavy and bool(node.module)
        if run and not (whole and run[-1].module == node.module):
            yield run
            run = []
        run.append(node)
        if not whole:
            yield run
            run = []
    if run:
        yield run


class _Fuser:
    """Takes the items in execution order and puts each into a chunk of its own, or into the one that it belongs to."""

    def __init__(self, graph: Graph, inner: frozenset[str]) -> None:
        self.inner = inner
        self.graph, self.chunks = graph, list[Chunk]()
        self.home: dict[str, Chunk] = {}
        self.gates: dict[str, Chunk] = {}  # a node's name -> the chunk whose output it scales, as in x * sigmoid(x)

    def add(self, item: list[Node]) -> None:
        chunk = self._followed(item) or self._led(item)
        if chunk is None:
            chunk = Chunk(list(item), light=len(item) > 1)
            self.chunks.append(chunk)
        self.home.update((out, chunk) for node in item for out in node.outputs)

    def _inputs(self, item: Sequence[Node]) -> list[str]:
        made = {out for node in item for out in node.outputs}
        read = dict.fromkeys(name for node in item for name in node.inputs if name not in made)
        return [name for name in read if not self._is_weight(name)]

    def _is_weight(self, name: str) -> bool:
        producer = self.graph.producers.get(name)
        return producer is not None and bool(producer.attr("weight"))

    def _only_reader(self, name: str, item: Sequence[Node]) -> bool:
        names = {node.name for node in item}
        return name not in self.graph.outputs and all(n.name in names for n in self.graph.consumers[name])

    def _followed(self, item: list[Node]) -> Chunk | None:
        """Return the chunk that a norm, an activation or a view follows directly."""
        if item[0].name in self.gates and len(item) == 1:
            gated = self.gates[item[0].name]
            gated.nodes += item
            return gated
        read = self._inputs(item)
        chunk = self.home.get(read[0]) if len(read) == 1 else None
        if chunk is None or read[0] not in chunk.nodes[-1].outputs or len(chunk.nodes[-1].outputs) != 1:
            return None
        if all(node.op in PADS for node in chunk.nodes) or not self._in_reach(item[0].module, chunk):
            return None
        follows = all(node.op in FOLLOWERS for node in item) and self._only_reader(read[0], item)
        if not follows and not self._opens_gate(item, read[0], chunk):
            return None
        chunk.nodes += item
        return chunk

    def _in_reach(self, module: str, chunk: Chunk) -> bool:
        """Whether a follower stands beside its convolution or around it, not at the beginning of the next block."""
        around = module if module in self.inner else module.rpartition(".")[0]
        return not around or f"{chunk.nodes[0].module}.".startswith(f"{around}.")

    def _opens_gate(self, item: list[Node], name: str, chunk: Chunk) -> bool:
        """Whether a chain of element-wise operators begins here that ends by scaling what it came from."""
        if len(item) != 1 or name in self.graph.outputs:
            return False
        others = [n for n in self.graph.consumers[name] if n.name != item[0].name]
        if len(others) != 1 or others[0].op != "mul":
            return False
        chain, node = [], item[0]
        while node.op in ELEMENTWISE_OPS and len(node.inputs) == 1 and len(node.outputs) == 1:
            chain.append(node)
            after = self.graph.consumers[node.outputs[0]]
            if len(after) != 1 or node.outputs[0] in self.graph.outputs:
                return False
            node = after[0]
        if node.name != others[0].name or not chain:
            return False
        self.gates.update((member.name, chunk) for member in (*chain[1:], node))
        return True

    def _led(self, item: list[Node]) -> Chunk | None:
        """Return the chunk that leads into this item alone: padding, or norm and activation ahead of a convolution."""
        read = self._inputs(item)
        chunk = self.home.get(read[0]) if len(read) == 1 else None
        if chunk is None or read[0] not in chunk.nodes[-1].outputs:
            return None
        if not self._only_reader(read[0], item) or any(n.name in self.gates for n in item):
            return None
        pads = all(node.op in PADS for node in chunk.all) and item[0].op not in FOLLOWERS
        ahead = all(node.op in BEFORE | PADS for node in chunk.all) and item[0].op in WEIGHTED | PADS
        if not (pads or ahead):
            return None
        chunk.before, chunk.nodes, chunk.light = chunk.all, list(item), len(item) > 1
        return chunk
