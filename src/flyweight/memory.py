"""Peak activation memory of a Graph, by liveness.

A tensor lives from the node that makes it to the last node that reads it; outputs live to the end. Views and in-place
writes share storage with what they came from; weights, and whatever depends on no input, are not activations. What an
operator needs inside itself (a convolution's scratch space) isn't counted.

Three readings of the same graph:

- as written: a planner that frees eagerly (the default);
- ``in_place``: element-wise operators, and a norm behind a convolution, write over their input where nothing reads it
  later, and zero padding before a convolution is the convolution's own, as in runtimes that fuse or reuse buffers; the
  network's input is the caller's, and lives to the end;
- ``eager``: PyTorch, where a tensor lives while the network's code refers to it: the caller of a module holds the
  module's input until the module returns, a local variable holds its tensor, and the network's input lives to the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyweight.errors import UsageError
from flyweight.graph import Graph, Node
from flyweight.operators import ELEMENTWISE_OPS

_POOLING = frozenset({"max_pool", "avg_pool", "adaptive_avg_pool", "mean"})


@dataclass(frozen=True, slots=True)
class Peak:
    """Counted peak of live activations in bytes, and the node during which it is reached."""

    bytes: int
    node: Node


def peak_activation(graph: Graph, *, in_place: bool = False, eager: bool = False, block: int = 1) -> Peak:
    """Return the peak of live activations and where it is; the first such node where several tie.

    Arguments as in ``live_activations``.

    Raises:
        UsageError: the graph has no node, or both ``in_place`` and ``eager`` are asked for.
    """
    if not graph.nodes:
        raise UsageError("the graph has no node, so nothing has a peak. Trace a network that computes something.")
    live = live_activations(graph, in_place=in_place, eager=eager, block=block)
    at = max(range(len(live)), key=lambda index: live[index])
    return Peak(live[at], graph.nodes[at])


def live_activations(graph: Graph, *, in_place: bool = False, eager: bool = False, block: int = 1) -> tuple[int, ...]:
    """Return the bytes of activations that are live while each node runs: its inputs and outputs, and what waits.

    Args:
        block: for ``in_place``, channels that a runtime's own layout holds together: what a convolution makes is
            rounded up to a multiple of it, and a sum behind a convolution adds into the other operand.
            ONNX Runtime on x86-64: 16 with AVX-512, else 8.

    Raises:
        UsageError: both ``in_place`` and ``eager``.
    """
    if in_place and eager:
        raise UsageError(
            "in_place and eager exclude each other: PyTorch writes in place only where the network says so."
        )
    if not graph.nodes:
        return ()
    lives = _lives(graph, in_place, eager, block)
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


def _lives(graph: Graph, in_place: bool, eager: bool, block: int) -> list[_Life]:
    blocked = _blocked(graph, block) if block > 1 else {}
    last_read = _last_reads(graph, in_place, eager)
    storage: dict[str, _Life] = {}
    lives: list[_Life] = []

    def new(name: str, born: int) -> None:
        size = blocked.get(name, graph.tensors[name].bytes)
        storage[name] = _Life(size, born, max(born, last_read.get(name, born)))
        lives.append(storage[name])

    def share(name: str, life: _Life) -> None:
        storage[name] = life
        life.died = max(life.died, last_read.get(name, 0))

    for name in graph.inputs:
        new(name, 0)
    for index, node in enumerate(graph.nodes):
        aliases = node.aliases
        for name in node.outputs:
            source = aliases.get(name) or (in_place and _reused(node, name, index, graph, storage, blocked)) or None
            if source in storage:
                share(name, storage[source])
            elif source is None and not node.attr("weight"):
                new(name, index)
    return lives


def _last_reads(graph: Graph, in_place: bool, eager: bool) -> dict[str, int]:
    end = len(graph.nodes) - 1
    last = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    last |= dict.fromkeys(graph.outputs, end)
    if eager or in_place:
        last |= dict.fromkeys(graph.inputs, end)
    if eager:
        for name, index in graph.held:
            last[name] = max(last.get(name, 0), index)
    return last


def _reused(
    node: Node, output: str, index: int, graph: Graph, storage: dict[str, _Life], blocked: dict[str, int]
) -> str | None:
    into = _summed(node, output, graph, storage) if output in blocked else None
    return into or _padded(node, output, graph) or _reusable(node, output, index, graph, storage, blocked)


def _blocked(graph: Graph, block: int) -> dict[str, int]:
    """Return the bytes of what stays in a layout of channel blocks, from convolutions on."""
    found: dict[str, int] = {}
    for node in graph.nodes:
        output = node.outputs[0]
        info = graph.tensors[output]
        read = [name for name in node.inputs if graph.tensors[name].shape[2:] != ()]
        keeps = node.op in ELEMENTWISE_OPS or node.op in _POOLING
        if len(info.shape) == 4 and (_convolves(node, graph, block) or (keeps and read and set(read) <= set(found))):
            channels = info.shape[1]
            found[output] = info.bytes // max(channels, 1) * (-(-channels // block) * block)
    return found


def _convolves(node: Node, graph: Graph, block: int) -> bool:
    """Return whether a convolution is computed in blocks: ungrouped, depthwise, or of groups that fill blocks."""
    if node.op != "conv":
        return False
    groups = node.attr("groups", 1)
    inputs, outputs = (graph.tensors[name].shape[1] for name in (node.operands[0], node.outputs[0]))
    if groups == 1:
        return inputs < block or inputs % 4 == 0
    whole = isinstance(groups, int) and inputs // groups % block == 0 and outputs // groups % block == 0
    return whole or groups == inputs == outputs


def _summed(node: Node, output: str, graph: Graph, storage: dict[str, _Life]) -> str | None:
    """Return what a convolution's output is only added to: the convolution adds into it, if nothing reads it later."""
    readers = graph.consumers[output]
    if node.op != "conv" or len(readers) != 1 or readers[0].op != "add" or output in graph.outputs:
        return None
    others = [name for name in readers[0].inputs if name != output and name not in node.operands]
    at = graph.nodes.index(readers[0])
    same = [n for n in others if n in storage and graph.tensors[n].shape == graph.tensors[output].shape]
    free = [name for name in same if storage[name].died <= at and name not in graph.inputs]
    return free[0] if free else None


def _padded(node: Node, output: str, graph: Graph) -> str | None:
    """Return the input of zero padding that only convolutions read: they pad by themselves, without a copy."""
    if node.op != "pad" or node.attr("aten") != "constant_pad_nd" or node.attr("value") not in (None, 0, 0.0):
        return None
    readers = graph.consumers[output]
    convolves = all(reader.op == "conv" and reader.operands[0] == output for reader in readers)
    return node.operands[0] if readers and convolves and output not in graph.outputs else None


def _reusable(
    node: Node, output: str, index: int, graph: Graph, storage: dict[str, _Life], blocked: dict[str, int]
) -> str | None:
    """Return an input of an element-wise node that dies here and has the output's size."""
    if node.op not in ELEMENTWISE_OPS:
        return None
    size = blocked.get(output, graph.tensors[output].bytes)
    for name in node.inputs:
        life = storage.get(name)
        if life and life.bytes == size and life.died <= index and name not in graph.inputs:
            return name
    return None
