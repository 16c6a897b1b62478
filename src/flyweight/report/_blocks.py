"""A graph as blocks for its picture: nodes of one stage together, an operator and its followers on one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from flyweight.graph import Graph, Node
from flyweight.report import _format as fmt

FOLLOWERS = frozenset(
    {
        "batch_norm",
        "group_norm",
        "layer_norm",
        "instance_norm",
        "relu",
        "relu6",
        "leaky_relu",
        "prelu",
        "sigmoid",
        "hardsigmoid",
        "hardswish",
        "silu",
        "gelu",
        "tanh",
        "clamp",
        "dropout",
        "identity",
        "softmax",
        "flatten",
        "reshape",
        "view",
    }
)
WORDS = {
    "conv_transpose": "transposed conv",
    "batch_norm": "BN",
    "max_pool2d": "max pool",
    "avg_pool2d": "average pool",
}
WEIGHTED = frozenset({"conv", "conv_transpose", "linear"})  # their output channels are written on the line
LINE = 46  # characters of a block's line


@dataclass(frozen=True)
class Block:
    """Nodes that stand in one box: its title, its lines, and the shape it hands on."""

    title: str
    lines: tuple[str, ...]
    shape: str
    nodes: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Edge:
    """From block to block, by index, with the shape of what passes."""

    source: int
    target: int
    shape: str


def blocks_of(graph: Graph) -> tuple[tuple[Block, ...], tuple[Edge, ...]]:
    """Return the blocks in execution order, the input first and the output last, and the edges between them."""
    groups = _grouped(graph)
    inputs = ", ".join(_shape(graph, name) for name in graph.inputs)
    outputs = ", ".join(_shape(graph, name) for name in graph.outputs)
    inner = [
        Block(title, _lines(graph, title, nodes), _shape(graph, nodes[-1].outputs[0]), tuple(nodes))
        for title, nodes in groups
    ]
    blocks = (Block("input", (inputs,), inputs), *inner, Block("output", (outputs,), outputs))
    return blocks, tuple(_edges(graph, blocks))


def _shape(graph: Graph, name: str) -> str:
    return fmt.shape(graph.tensors[name].shape)


def _grouped(graph: Graph) -> list[tuple[str, list[Node]]]:
    """Group by the first two parts of the module path; deeper where a block would get too long."""
    found: list[tuple[str, list[Node]]] = []
    for depth in range(2, 8):
        found = []
        for node in graph.nodes:
            title = ".".join(node.module.split(".")[:depth])
            if found and found[-1][0] == title:
                found[-1][1].append(node)
            else:
                found.append((title, [node]))
        if max((len(nodes) for _, nodes in found), default=0) <= 24 or len(found) > 60:
            break
    return found


def _lines(graph: Graph, title: str, nodes: Sequence[Node]) -> tuple[str, ...]:
    lines: list[str] = []
    for row in _rows(nodes):
        name = _below(title, _unit(row))
        ops = " · ".join(_words(graph, node) for node in row)
        lines += _wrapped(f"{name}: {ops}" if name and name not in ops else ops)
    return tuple(lines)


def _rows(nodes: Sequence[Node]) -> Iterator[list[Node]]:
    """Yield an operator with what follows it directly: normalization, activation; a pad goes with what reads it."""
    row: list[Node] = []
    for node in nodes:
        chained = bool(row) and bool(set(node.inputs) & set(row[-1].outputs)) and len(node.inputs) == 1
        if row and not (chained and (node.op in FOLLOWERS or all(n.op == "pad" for n in row))):
            yield row
            row = []
        row.append(node)
    if row:
        yield row


def _unit(row: Sequence[Node]) -> str:
    """Return the module path that the nodes of a line share."""
    paths = [node.module.split(".") for node in row]
    shared = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared)


def _below(title: str, path: str) -> str:
    name = path.removeprefix(title).removeprefix(".") if path.startswith(title) else path
    return "" if name in ("conv", "norm", "act") else name.removesuffix(".conv")


def _words(graph: Graph, node: Node) -> str:
    kernel, stride, groups = node.attr("kernel_size"), node.attr("stride"), node.attr("groups")
    words = WORDS.get(node.op, node.op.removeprefix("aten.").replace("_", " "))
    channels = graph.tensors[node.inputs[0]].shape[1:2] if node.inputs else ()
    if node.op == "conv" and isinstance(groups, int) and groups > 1:
        words = "depthwise conv" if channels == (groups,) else f"conv in {groups} groups"
    if isinstance(kernel, tuple) and kernel:
        words += " " + "×".join(map(str, kernel))
    if isinstance(stride, tuple) and any(s != 1 for s in stride):
        words += f" /{stride[0]}" if len(set(stride)) == 1 else " /" + "×".join(map(str, stride))
    shape = graph.tensors[node.outputs[0]].shape if node.outputs else ()
    if node.op in WEIGHTED and len(shape) > 1:
        words += f" → {shape[-1] if node.op == 'linear' else shape[1]}"
    return words


def _wrapped(text: str) -> list[str]:
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > LINE and word != "·":
            lines.append(line)
            line = "  " + word
        else:
            line = f"{line} {word}" if line else word
    return [part[i : i + LINE + 4] for part in [*lines, line] for i in range(0, len(part), LINE + 4)]


def _edges(graph: Graph, blocks: Sequence[Block]) -> Iterator[Edge]:
    home = {name: 0 for name in graph.inputs}
    home.update({out: i for i, block in enumerate(blocks) for node in block.nodes for out in node.outputs})
    seen: dict[tuple[int, int], list[str]] = {}
    for i, block in enumerate(blocks):
        read = graph.outputs if i == len(blocks) - 1 else [name for node in block.nodes for name in node.inputs]
        for name in dict.fromkeys(read):
            if name in home and home[name] != i:
                seen.setdefault((home[name], i), []).append(name)
    for (source, target), names in seen.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield Edge(source, target, _shape(graph, names[0]) + more)


def values_of(blocks: Sequence[Block], by_module: Mapping[str, float]) -> tuple[float | None, ...]:
    """Return the sum of ``by_module`` per block; None where none of its modules has one. Every value counts once."""
    home: dict[str, int] = {}
    for i, block in enumerate(blocks):
        for node in block.nodes:
            parts = node.module.split(".")
            for length in range(len(parts), 0, -1):
                home.setdefault(".".join(parts[:length]), i)
    sums: list[float | None] = [None] * len(blocks)
    for module, value in by_module.items():
        if (at := home.get(module)) is not None:
            sums[at] = (sums[at] or 0.0) + value
    return tuple(sums)
