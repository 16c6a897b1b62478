"""Peak activation memory of a Graph, by liveness.

A tensor lives from the node that makes it to the last node that reads it; outputs live to the end. Views and in-place
writes share storage with what they came from; weights, and whatever depends on no input, are not activations. What an
operator needs inside itself (a convolution's scratch space) isn't counted.

Three readings of the same graph:

- as written: a planner that frees eagerly (the default);
- ``in_place``: element-wise operators, and a norm behind a convolution, write over their input where nothing reads it
  later, and zero padding before a convolution is the convolution's own, as in runtimes that fuse or reuse buffers;
- ``eager``: PyTorch, where a tensor lives while the network's code refers to it: the caller of a module holds the
  module's input until the module returns, a local variable holds its tensor, and the network's input lives to the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyweight.errors import UsageError
from flyweight.graph import Graph, Node
from flyweight.operators import ELEMENTWISE_OPS


@dataclass(frozen=True, slots=True)
class Peak:
    """Counted peak of live activations in bytes, and the node during which it is reached."""

    bytes: int
    node: Node


def peak_activation(graph: Graph, *, in_place: bool = False, eager: bool = False) -> Peak:
    """Return the peak of live activations and where it is; the first such node where several tie.

    Raises:
        UsageError: the graph has no node, or both ``in_place`` and ``eager`` are asked for.
    """
    if not graph.nodes:
        raise UsageError("the graph has no node, so nothing has a peak. Trace a network that computes something.")
    live = live_activations(graph, in_place=in_place, eager=eager)
    at = max(range(len(live)), key=lambda index: live[index])
    return Peak(live[at], graph.nodes[at])


def live_activations(graph: Graph, *, in_place: bool = False, eager: bool = False) -> tuple[int, ...]:
    """Return the bytes of activations that are live while each node runs: its inputs and outputs, and what waits.

    Raises:
        UsageError: both ``in_place`` and ``eager``.
    """
    if in_place and eager:
        raise UsageError(
            "in_place and eager exclude each other: PyTorch writes in place only where the network says so."
        )
    if not graph.nodes:
        return ()
    lives = _lives(graph, in_place, eager)
    change = [0] * (len(graph.nodes) + 1)
    for life in lives:
        change[life.born] += life.bytes
        change[life.died + 1] -= life.bytes
    live, total = [], 0
    for step in change[:-1]:
        total += step
        live.append(total)
    return tuple(live)


@dataclass
class _Life:
    """A storage: its size, the first and the last node during which it is live."""

    bytes: int
    born: int
    died: int


def _lives(graph: Graph, in_place: bool, eager: bool) -> list[_Life]:
    last_read = _last_reads(graph, eager)
    storage: dict[str, _Life] = {}
    lives: list[_Life] = []

    def new(name: str, born: int) -> None:
        storage[name] = _Life(graph.tensors[name].bytes, born, max(born, last_read.get(name, born)))
        lives.append(storage[name])

    def share(name: str, life: _Life) -> None:
        storage[name] = life
        life.died = max(life.died, last_read.get(name, 0))

    for name in graph.inputs:
        new(name, 0)
    for index, node in enumerate(graph.nodes):
        aliases = node.aliases
        for name in node.outputs:
            source = aliases.get(name) or (in_place and _reused(node, name, index, graph, storage)) or None
            if source in storage:
                share(name, storage[source])
            elif source is None and not node.attr("weight"):
                new(name, index)
    return lives


def _last_reads(graph: Graph, eager: bool) -> dict[str, int]:
    end = len(graph.nodes) - 1
    last = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    last |= dict.fromkeys(graph.outputs, end)
    if eager:
        last |= dict.fromkeys(graph.inputs, end)
        for name, index in graph.held:
            last[name] = max(last.get(name, 0), index)
    return last


def _reused(node: Node, output: str, index: int, graph: Graph, storage: dict[str, _Life]) -> str | None:
    return _padded(node, output, graph) or _reusable(node, output, index, graph, storage)


def _padded(node: Node, output: str, graph: Graph) -> str | None:
    """Return the input of zero padding that only convolutions read: they pad by themselves, without a copy."""
    if node.op != "pad" or node.attr("aten") != "constant_pad_nd" or node.attr("value") not in (None, 0, 0.0):
        return None
    readers = graph.consumers[output]
    convolves = all(reader.op == "conv" and reader.operands[0] == output for reader in readers)
    return node.operands[0] if readers and convolves and output not in graph.outputs else None


def _reusable(node: Node, output: str, index: int, graph: Graph, storage: dict[str, _Life]) -> str | None:
    """Return an input of an element-wise node that dies here and has the output's size."""
    if node.op not in ELEMENTWISE_OPS:
        return None
    size = graph.tensors[output].bytes
    for name in node.inputs:
        life = storage.get(name)
        if life and life.bytes == size and life.died <= index and name not in graph.inputs:
            return name
    return None
