"""From a graph to what is drawn: one unit per box, operators that belong together in one, units grouped by module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from flyweight.graph import Graph, Node
from flyweight.report.drawing import _words
from flyweight.report.drawing._fuse import PADS, VIEWS, WEIGHTED, Chunk, chunks_of

INPUT, OUTPUT = "input", "output"


@dataclass(frozen=True)
class Unit:
    """One box: the operators in it, in words, and the tensors that enter and leave it.

    Attributes:
        words: its main operator. notes: what else is in it.
        path: the module that is this unit, '' where it is a function called in a larger one.
        group: the module that it stands in.
        times: how many equal units, one behind the other, it stands for; ``nodes`` are those of all of them.
    """

    words: str
    notes: str
    path: str
    group: str
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    times: int = 1


@dataclass(frozen=True)
class Group:
    """A module with several units or modules in it, in execution order; ``last`` is the path of the last of ``times``
    equal ones, one behind the other.
    """

    path: str
    children: tuple[Part, ...]
    times: int = 1
    last: str = ""


Part: TypeAlias = "Unit | Group"


@dataclass(frozen=True)
class Diagram:
    """What is drawn: the modules as a tree, and the shape of every tensor on an edge."""

    root: Group
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def units(self) -> tuple[Unit, ...]:
        """Every unit, in execution order."""
        return tuple(units_in(self.root))


def units_in(part: Part) -> Iterator[Unit]:
    """Yield the units of a part, in execution order."""
    if isinstance(part, Unit):
        yield part
    else:
        for child in part.children:
            yield from units_in(child)


def diagram(graph: Graph, *, fused: bool = True) -> Diagram:
    """Return a graph's units in the tree of its modules, between a unit for the input and one for the output.

    Args:
        graph: any traced network.
        fused: a convolution shares its box with the norm and the activation before and behind it, and a module
            without weights is one box; else every operator is one.
    """
    chunks = chunks_of(graph, fused)
    names = _names(chunks, graph)
    readers = _readers(chunks, graph)
    units = [_unit(chunk, graph, names, readers) for chunk in chunks]
    ends = (
        Unit("input", "", INPUT, "", (), (), graph.inputs),
        Unit("output", "", OUTPUT, "", (), tuple(dict.fromkeys(graph.outputs)), ()),
    )
    inner = _tree(units, 0, "")
    root = Group("", (ends[0], *inner, ends[1]))
    shapes = {tensor.name: tensor.shape for tensor in graph.tensor_list}
    return Diagram(root, MappingProxyType(shapes))


def _readers(chunks: Sequence[Chunk], graph: Graph) -> Mapping[str, set[int]]:
    """Return which chunks read each tensor; -1 is the network's output."""
    found: dict[str, set[int]] = {name: {-1} for name in graph.outputs}
    for index, chunk in enumerate(chunks):
        for node in chunk.all:
            for name in node.inputs:
                found.setdefault(name, set()).add(index)
    return found


def _unit(chunk: Chunk, graph: Graph, names: Mapping[int, str], readers: Mapping[str, set[int]]) -> Unit:
    nodes = chunk.all
    made = [out for node in nodes for out in node.outputs]
    home = {out: i for i, node in enumerate(nodes) for out in node.outputs}
    read = dict.fromkeys(name for node in nodes for name in node.inputs if name not in home)
    inputs = tuple(name for name in read if not _weight(graph, name))
    own = {node.name for node in nodes}
    outputs = [
        name
        for name in made
        if name in graph.outputs or any(reader.name not in own for reader in graph.consumers[name])
    ]
    main = _main(chunk)
    path = names.get(id(chunk), "")
    group = path.rpartition(".")[0] if path else main.module
    text, notes = _texts(chunk, main, graph)
    return Unit(text, notes, path, group, tuple(nodes), inputs, tuple(outputs or made[-1:]))


def _weight(graph: Graph, name: str) -> bool:
    producer = graph.producers.get(name)
    return producer is not None and bool(producer.attr("weight"))


def _main(chunk: Chunk) -> Node:
    weighted = (node for node in chunk.nodes if node.op in WEIGHTED)
    other = (node for node in chunk.nodes if node.op not in PADS and node.op not in VIEWS)
    return next(weighted, None) or next(other, None) or chunk.nodes[0]


def _texts(chunk: Chunk, main: Node, graph: Graph) -> tuple[str, str]:
    """Return the main operator in words, and the rest: ``BN · ReLU``, or ``BN · ReLU first`` for what stands ahead."""
    if chunk.light and _main(chunk).op not in ("max_pool", "avg_pool", "adaptive_avg_pool"):
        rest = [node for node in chunk.nodes if node.module == chunk.nodes[0].module]
        text, behind = _words.listed(rest, graph), chunk.nodes[len(rest) :]
    else:
        text, behind = _words.words(main, graph), [n for n in chunk.nodes if n is not main]
    ahead = _words.listed([node for node in chunk.before if node.op not in PADS], graph)
    pads = _words.listed([node for node in chunk.before if node.op in PADS][:1], graph)
    after = _words.listed([node for node in behind if node.op not in ("detach", "alias", "copy")], graph)
    first = " · ".join(filter(None, (ahead, pads)))
    if first and after:
        return text, f"{first} first, then {after}"
    return text, f"{first} first" if first else after


def _names(chunks: Sequence[Chunk], graph: Graph) -> Mapping[int, str]:
    """Return the module that each chunk is, by the chunk's id: the largest one that has all its operators in it."""
    homes: dict[str, set[int]] = {}
    for chunk in chunks:
        for node in chunk.all:
            parts = node.module.split(".")
            for end in range(1, len(parts) + 1):
                homes.setdefault(".".join(parts[:end]), set()).add(id(chunk))
    found: dict[int, str] = {}
    for chunk in chunks:
        parts = _main(chunk).module.split(".")
        paths = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
        found[id(chunk)] = next((path for path in paths if path and len(homes.get(path, ())) == 1), "")
    return found


def _tree(units: Sequence[Unit], depth: int, path: str) -> tuple[Part, ...]:
    """Group what runs in one go in the same module; one that holds a single part is that part."""
    runs: list[tuple[str, list[Unit]]] = []
    for unit in units:
        parts = unit.group.split(".") if unit.group else []
        name = parts[depth] if len(parts) > depth else ""
        if runs and name and runs[-1][0] == name:
            runs[-1][1].append(unit)
        else:
            runs.append((name, [unit]))
    found: list[Part] = []
    for name, members in runs:
        below = f"{path}.{name}" if path else name
        if not name or len(members) == 1:
            found += members
            continue
        inner = _tree(members, depth + 1, below)
        found.append(inner[0] if len(inner) == 1 else Group(below, inner))
    return tuple(found)
