"""The guidelines of ShuffleNetV2 on every layer of a profile, counted. No torch.

The paper's reasoning is about memory access: at equal MACs a layer that reads and writes more is slower. Memory access
cost (the paper's MAC) is counted here in elements: inputs, outputs and weights, each once; MACs are what
``flyweight.count`` counts.

- **G1** equal channel widths: a convolution's memory access over the least that any widths with the same product have.
- **G2** group convolution: its memory access over that of an ungrouped one with the same input and as many MACs.
- **G3** fragmentation: parallel branches with a convolution or pooling of their own, behind one join.
- **G4** element-wise operators: their share of a block's memory access, those left out that run inside a convolution.
- **SE** squeeze-and-excitation, which G4 speaks of: its share of the memory access and of the MACs of its block.
- **width** channels that are no multiple of what the target computes at once: MACs after padding over MACs.

How far each holds on one machine: ``benchmarks/guidelines.py``, docs/time.md.

Source: Ma et al. 2018 (arXiv 1807.11164), section 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from flyweight.count import bytes_moved, macs, widths
from flyweight.errors import UsageError
from flyweight.graph import Graph, Node
from flyweight.operators import ELEMENTWISE_OPS, FREE_OPS
from flyweight.profile import Profile

Guideline: TypeAlias = Literal["G1", "G2", "G3", "G4", "SE", "width"]

# Figure above which a guideline counts as broken. G1, G2, width: a quarter more memory access or MACs than need be.
LIMITS: Mapping[Guideline, float] = MappingProxyType(
    {"G1": 1.25, "G2": 1.25, "G3": 2, "G4": 1 / 3, "SE": 1 / 3, "width": 1.25}
)
MULTIPLES = (8, 16, 32)  # SIMD of 32-bit numbers on phones and AVX2; AVX-512; Hexagon HTP
_CONVOLUTIONS = ("conv", "conv_transpose")
_MACS = (*_CONVOLUTIONS, "linear", "matmul")
_POOLS = ("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool", "mean", "amax")
_JOINS = ("concat", "add", "stack", "maximum")


@dataclass(frozen=True)
class Finding:
    """One guideline on one layer.

    Attributes:
        layer: module path. figure, limit: what was counted, and above which it counts as broken. sentence: in words.
    """

    layer: str
    guideline: Guideline
    figure: float
    limit: float
    sentence: str

    @property
    def broken(self) -> bool:
        """Whether the figure is above the limit."""
        return self.figure > self.limit


def guidelines(profile: Profile, multiple: int = 8) -> tuple[Finding, ...]:
    """Return every guideline on every layer that it speaks of, kept or broken, in execution order.

    Args:
        profile: the network, counted.
        multiple: of channels that the target computes at once; 8, 16 or 32 for most.

    Raises:
        UsageError: a multiple below 1.
    """
    if multiple < 1:
        raise UsageError(f"multiple is {multiple}; it must be at least 1, e.g. {', '.join(map(str, MULTIPLES))}.")
    graph = profile.graph
    found: list[Finding] = []
    for node in graph.nodes:
        if node.op in _CONVOLUTIONS and not node.attr("weight"):
            found.extend(_on_convolution(node, graph, multiple))
        elif node.op == "linear":
            found.extend(_padding(node, graph, multiple))
    found += [*_fragmentation(graph), *_elementwise(graph), *_squeeze_excite(graph)]
    place = {node.module: index for index, node in reversed(list(enumerate(graph.nodes)))}
    return tuple(sorted(found, key=lambda finding: place.get(finding.layer, 0)))


def broken(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the broken ones, the farthest above its limit first."""
    return tuple(sorted((f for f in findings if f.broken), key=lambda f: -f.figure / f.limit))


# ---- G1, G2, width: one convolution --------------------------------------------------------------------------------


def _on_convolution(node: Node, graph: Graph, multiple: int) -> Iterator[Finding]:
    inputs, outputs, groups = widths(node, graph)
    if groups == 1 and not _from_outside(node.operands[0], graph):
        yield _equal_widths(node, graph, inputs, outputs)
    elif 1 < groups < max(inputs, outputs):
        yield _groups(node, graph, inputs, outputs, groups)
    yield from _padding(node, graph, multiple)


def _equal_widths(node: Node, graph: Graph, inputs: int, outputs: int) -> Finding:
    """Memory access ``a·c1 + b·c2 + k²·c1·c2`` over its least at the same ``c1·c2``: ``2·√(a·b·c1·c2) + k²·c1·c2``.

    ``a`` and ``b`` are pixels of the input and the output; the paper's bound is that of a = b.
    """
    read, written, weights = _elements(node, graph)
    ratio = (read + written + weights) / (2 * math.sqrt(read * written) + weights)
    sentence = f"{inputs} to {outputs} channels: {ratio:.2f} × the least memory access at these MACs"
    return Finding(node.module, "G1", ratio, LIMITS["G1"], sentence)


def _groups(node: Node, graph: Graph, inputs: int, outputs: int, groups: int) -> Finding:
    """Memory access over that of one group with the input kept and as many MACs, so ``c2 / g`` output channels."""
    read, written, weights = _elements(node, graph)
    ratio = (read + written + weights) / (read + written / groups + weights)
    sentence = (
        f"{groups} groups, {inputs} to {outputs} channels: {ratio:.2f} × the memory access of an ungrouped "
        f"convolution with as many MACs"
    )
    return Finding(node.module, "G2", ratio, LIMITS["G2"], sentence)


def _elements(node: Node, graph: Graph) -> tuple[int, int, int]:
    read, weight = (graph.info(name).elements for name in node.operands[:2])
    return read, graph.info(node.outputs[0]).elements, weight


def _padding(node: Node, graph: Graph, multiple: int) -> Iterator[Finding]:
    """MACs if all widths were rounded up to the multiple, over the MACs; a network's inputs and outputs are given."""
    inputs, outputs, groups = widths(node, graph)
    depthwise = groups == inputs == outputs
    sides = {} if depthwise or _from_outside(node.operands[0], graph) else {"input": inputs // groups}
    if not set(node.outputs) & set(graph.outputs):
        sides["output"] = outputs if depthwise else outputs // groups
    if not sides:
        return
    waste = math.prod(math.ceil(width / multiple) * multiple / width for width in sides.values())
    per_group = " per group" if groups > 1 and not depthwise else ""
    told = " and ".join(f"{width} {side}" for side, width in sides.items())
    sentence = f"{told} channels{per_group}: {waste:.2f} × the MACs after padding to multiples of {multiple}"
    yield Finding(node.module, "width", waste, LIMITS["width"], sentence)


def _from_outside(name: str, graph: Graph) -> bool:
    """Return whether a tensor is the network's input, padded or cut at most: its channels are not the network's own."""
    node = graph.producers.get(name)
    return node is None or (node.op in FREE_OPS and all(_from_outside(source, graph) for source in node.inputs))


# ---- G3: branches behind one join ----------------------------------------------------------------------------------


def _fragmentation(graph: Graph) -> Iterator[Finding]:
    """Yield a finding for every join of several branches; a join inside a branch counts with its own branches there."""
    index = {node.name: i for i, node in enumerate(graph.nodes)}
    before = _ancestors(graph, index)
    inside: set[str] = set()
    for node in reversed(graph.nodes):
        if node.op not in _JOINS or len(set(node.inputs)) < 2 or node.name in inside:
            continue
        branches = [own for own in _branches(node, graph, index, before) if _works(own, graph)]
        if len(branches) < 2:
            continue
        members = [graph.nodes[i] for own in branches for i in _bits(own)]
        inside.update(member.name for member in members)
        count = sum(_parts(own, graph, index, before) for own in branches)
        convolutions = sum(member.op in _CONVOLUTIONS for member in members)
        sentence = f"{count} parallel branches with {convolutions} convolutions meet in one {node.op}"
        yield Finding(node.module, "G3", count, LIMITS["G3"], sentence)


def _ancestors(graph: Graph, index: Mapping[str, int]) -> list[int]:
    """Return for every node the set of nodes that it depends on and itself, as the bits of a number."""
    found: list[int] = []
    for i, node in enumerate(graph.nodes):
        bits = 1 << i
        for name in node.inputs:
            if name in graph.producers:
                bits |= found[index[graph.producers[name].name]]
        found.append(bits)
    return found


def _branches(node: Node, graph: Graph, index: Mapping[str, int], before: list[int]) -> list[int]:
    """Return what only one of a node's inputs depends on, for each input."""
    sources = [graph.producers.get(name) for name in dict.fromkeys(node.inputs)]
    reach = [before[index[source.name]] if source is not None else 0 for source in sources]
    shared = 0
    for i, one in enumerate(reach):
        for other in reach[i + 1 :]:
            shared |= one & other
    return [one & ~shared for one in reach]


def _works(branch: int, graph: Graph) -> bool:
    return any(graph.nodes[i].op in (*_MACS, *_POOLS) for i in _bits(branch))


def _parts(branch: int, graph: Graph, index: Mapping[str, int], before: list[int]) -> int:
    """Return how many branches a branch itself falls into at its widest join, 1 where it is a chain."""
    widest = 1
    for i in _bits(branch):
        if graph.nodes[i].op in _JOINS:
            own = [part & branch for part in _branches(graph.nodes[i], graph, index, before)]
            widest = max(widest, sum(_works(part, graph) for part in own))
    return widest


def _bits(number: int) -> Iterator[int]:
    while number:
        low = number & -number
        yield low.bit_length() - 1
        number ^= low


# ---- G4 and squeeze-and-excitation: shares of a block --------------------------------------------------------------


def _elementwise(graph: Graph) -> Iterator[Finding]:
    gates = {node.name for node, _ in _gates(graph)}
    groups: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if node.op in ELEMENTWISE_OPS and node.name not in gates and not _rides_along(node, graph):
            groups.setdefault(_block(node.module, graph), []).append(node)
    for block, own in groups.items():
        share = _moved(own, graph) / max(_moved(_within(block, graph), graph), 1)
        names = "+".join(dict.fromkeys(node.op for node in own))
        sentence = f"{names}: {100 * share:.0f} % of the block's memory access"
        yield Finding(block, "G4", share, LIMITS["G4"], sentence)


def _block(module: str, graph: Graph, besides: Iterable[Node] = ()) -> str:
    """Return the innermost module around ``module``, or itself, that holds a convolution or product not ``besides``."""
    skipped = {node.name for node in besides}
    holders = {node.module for node in graph.nodes if node.op in _MACS and node.name not in skipped}
    while module and not any(holder == module or holder.startswith(f"{module}.") for holder in holders):
        module = module.rpartition(".")[0]
    return module


def _within(block: str, graph: Graph) -> list[Node]:
    inside = (node for node in graph.nodes if not node.attr("weight"))
    return [node for node in inside if not block or node.module == block or node.module.startswith(f"{block}.")]


def _moved(nodes: Iterable[Node], graph: Graph) -> int:
    return sum(bytes_moved(node, graph) for node in nodes if not _rides_along(node, graph))


def _rides_along(node: Node, graph: Graph) -> bool:
    """Return whether runtimes compute a node inside the convolution before it: a norm or one-input activation."""
    if node.op not in ELEMENTWISE_OPS or len(node.inputs) != 1:
        return False
    source = graph.producers.get(node.inputs[0])
    if source is None or len(graph.consumers[node.inputs[0]]) > 1:
        return False
    return source.op in _MACS or _rides_along(source, graph)


def _gates(graph: Graph) -> Iterator[tuple[Node, list[Node]]]:
    """Yield every product of a feature map with a gate that was pooled from it, and the nodes that make the gate."""
    index = {node.name: i for i, node in enumerate(graph.nodes)}
    products = [node for node in graph.nodes if node.op == "mul" and len(node.inputs) == 2]
    before = _ancestors(graph, index) if products else []
    for node in products:
        small, large = sorted(node.inputs, key=lambda name: graph.tensors[name].elements)
        gate, fork = graph.producers.get(small), graph.producers.get(large)
        if gate is None or graph.tensors[small].elements == graph.tensors[large].elements:
            continue
        given = before[index[fork.name]] if fork is not None else 0
        path = [graph.nodes[i] for i in _bits(before[index[gate.name]] & ~given)]
        if any(member.op in _POOLS for member in path):
            yield node, path


def _squeeze_excite(graph: Graph) -> Iterator[Finding]:
    for product, path in _gates(graph):
        own = [*path, product]
        block = _within(_block(product.module, graph, own), graph)
        share = _moved(own, graph) / max(_moved(block, graph), 1)
        part, whole = (sum(macs(node, graph) or 0 for node in nodes) for nodes in (own, block))
        sentence = (
            f"squeeze-and-excitation: {100 * share:.0f} % of the block's memory access for "
            f"{100 * part / max(whole, 1):.2g} % of its MACs"
        )
        yield Finding(product.module, "SE", share, LIMITS["SE"], sentence)
