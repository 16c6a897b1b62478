"""A picture of a whole network: every operator, grouped by module, coloured by what it costs; as SVG, PDF or PNG.

Drawn by Flyweight itself, without any other program. ``drawn`` gives the layout as a value; the renderings follow it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from flyweight.errors import UsageError
from flyweight.graph import Graph, Node
from flyweight.profile import Profile
from flyweight.report import _format as fmt
from flyweight.report.drawing._cards import Card, card
from flyweight.report.drawing._fold import folded, to_depth
from flyweight.report.drawing._fuse import NORMS, WEIGHTED
from flyweight.report.drawing._layout import Layout, Shape, lay_out
from flyweight.report.drawing._pages import PAPERS, on_paper, paper_shape
from flyweight.report.drawing._pdf import to_pdf
from flyweight.report.drawing._png import to_png
from flyweight.report.drawing._scene import Heading, Legend, scene
from flyweight.report.drawing._svg import to_svg
from flyweight.report.drawing._units import Diagram, Group, Unit, diagram, units_in

FOLDS = ("repeats", "fused", "none")
SUFFIXES = (".svg", ".pdf", ".png")
__all__ = ["FOLDS", "PAPERS", "SUFFIXES", "Costs", "Picture", "counted_costs", "drawn", "measured_costs", "network_svg"]


@dataclass(frozen=True)
class Costs:
    """What colours the boxes: a number per node, by its name.

    Attributes:
        title: what the numbers are, with their unit, and whether they are counted or measured.
        text: a number in words. peak: the largest of a box's nodes counts, as for memory; else their sum.
    """

    by_node: Mapping[str, float]
    title: str
    text: Callable[[float], str] = fmt.count
    peak: bool = False


@dataclass(frozen=True)
class Picture:
    """A network's picture before it is rendered: its layout as plain values, and what stands above it."""

    layout: Layout
    heading: Heading
    paper: str = ""

    def svg(self) -> str:
        """Return it as SVG."""
        return to_svg(scene(self.layout, self.heading))

    def pdf(self) -> bytes:
        """Return it as PDF: one page of the picture's own size, or as many as it needs on ``paper``."""
        if self.paper:
            return to_pdf(on_paper(self.layout, self.heading, self.paper), self.heading.title)
        return to_pdf([scene(self.layout, self.heading)], self.heading.title)

    def png(self, scale: float | None = None) -> bytes:
        """Return it as PNG, ``scale`` pixels per px; 2 by default, less for a very large picture."""
        return to_png(scene(self.layout, self.heading), scale)

    def rendered(self, file: Path, scale: float | None = None) -> bytes:
        """Return it in the format of a file's ending.

        Raises:
            UsageError: another ending than those in ``SUFFIXES``, or a PNG too large.
        """
        suffix = file.suffix.lower()
        if suffix not in SUFFIXES:
            raise UsageError(f"{file}: pictures end in {', '.join(SUFFIXES)}. Name the file e.g. {file.stem}.svg.")
        if suffix == ".svg":
            return self.svg().encode()
        return self.pdf() if suffix == ".pdf" else self.png(scale)


def drawn(
    graph: Graph,
    title: str,
    costs: Costs | None = None,
    *,
    facts: Sequence[str] = (),
    fold: str = "repeats",
    depth: int = 0,
    width_px: float | None = None,
    paper: str = "",
) -> Picture:
    """Return the picture of a network.

    Args:
        graph: what is drawn, to the last operator. title, facts: stand above it.
        costs: what colours the boxes; None: nothing.
        fold: ``none`` draws every operator as a box; ``fused`` puts a convolution, its norm and its activation in one;
            ``repeats`` also draws equal modules that follow each other once, with their number.
        depth: modules this many names deep are one box; 0 draws what is in them.
        width_px: not wider than this, as far as the widest module allows; else it has the proportions of a page.
        paper: for a PDF on sheets, one of ``PAPERS``.

    Raises:
        UsageError: another fold or paper.
    """
    if fold not in FOLDS:
        raise UsageError(f"fold is '{fold}'; allowed are {', '.join(FOLDS)}.")
    found = to_depth(diagram(graph, fused=fold != "none"), depth)
    found = folded(found) if fold == "repeats" else found
    writer = _Writer(found, costs)
    shape = paper_shape(paper) if paper else Shape(width_px=width_px)
    layout = lay_out(found, writer.card, writer.figure, shape)
    lines = (" · ".join((_size(graph, found), *facts)), *_key(found, layout))
    return Picture(layout, Heading(title, lines, writer.legend), paper)


def network_svg(graph: Graph, title: str, colors_by: Mapping[str, float] | None = None, color_title: str = "") -> str:
    """Return the whole network as SVG.

    Args:
        graph: what is drawn. title: stands above it.
        colors_by: a number per module, e.g. MACs or microseconds; a box's colour is the sum of its modules'.
        color_title: what the numbers are, with their unit and whether they are counted or measured.
    """
    costs = Costs(by_node(graph, colors_by), color_title) if colors_by else None
    return drawn(graph, title, costs).svg()


def counted_costs(profile: Profile, kind: str) -> Costs:
    """Return counted costs by node: ``macs``, ``params``, or ``memory`` (activations that are live while it runs).

    Raises:
        UsageError: another kind.
    """
    if kind == "macs":
        macs = {row.name: float(row.macs) for row in profile.rows if row.macs is not None}
        return Costs(macs, "MACs per box (counted)")
    if kind == "params":
        return Costs({row.name: float(row.params) for row in profile.rows}, "parameters per box (counted)")
    if kind == "memory":
        live = {row.name: float(row.live_bytes) for row in profile.rows}
        return Costs(live, "bytes of activations alive while it runs (counted)", _bytes, peak=True)
    raise UsageError(f"no counted cost is named '{kind}'; allowed are macs, params, memory.")


def measured_costs(graph: Graph, us_by_module: Mapping[str, float], how: str) -> Costs:
    """Return measured times by node, from µs by module; ``how``: runtime, version and threads."""
    return Costs(by_node(graph, us_by_module), f"time per box, ms (measured, {how})", _milliseconds)


def _bytes(value: float) -> str:
    return f"{fmt.count(value)}B" if value >= 1000 else f"{value:.0f} B"


def _milliseconds(value_us: float) -> str:
    return f"{fmt.significant(value_us / 1000, 2)} ms"


def by_node(graph: Graph, by_module: Mapping[str, float]) -> Mapping[str, float]:
    """Give each module's number to one of its nodes: the heaviest that ran in itself, else the first below it."""
    own: dict[str, Node] = {}
    below: dict[str, Node] = {}
    for node in graph.nodes:
        known = own.setdefault(node.module, node)
        if known.op not in WEIGHTED and node.op in WEIGHTED:
            own[node.module] = node
        parts = node.module.split(".")
        for end in range(1, len(parts) + 1):
            below.setdefault(".".join(parts[:end]), node)
    found: dict[str, float] = {}
    for module, value in by_module.items():
        home = own.get(module) or below.get(module)
        if home is not None:
            found[home.name] = found.get(home.name, 0.0) + value
    return MappingProxyType(found)


# ---- the texts ----------------------------------------------------------------------------------------------------


class _Writer:
    """Says of each unit and module what it costs."""

    def __init__(self, found: Diagram, costs: Costs | None) -> None:
        self.found, self.costs = found, costs

    @cached_property
    def total(self) -> float:
        return sum(value or 0.0 for value in map(self._value, self.found.units))

    @cached_property
    def most(self) -> float:
        return max((value or 0.0 for value in map(self._each, self.found.units)), default=0.0)

    @property
    def legend(self) -> Legend:
        """The legend of the colours; empty where nothing costs anything."""
        if self.costs is None or not self.most:
            return Legend()
        return Legend(f"colour: {self.costs.title}", self.costs.text(self.most))

    def _value(self, unit: Unit) -> float | None:
        """Return what all units that this one stands for cost; None where nothing is known of them."""
        known = [self.costs.by_node[n.name] for n in unit.nodes if n.name in self.costs.by_node] if self.costs else []
        if not known:
            return None
        return max(known) if self.costs and self.costs.peak else sum(known)

    def _each(self, unit: Unit) -> float | None:
        """Return what one of the equal units costs."""
        value = self._value(unit)
        return value if value is None or (self.costs and self.costs.peak) else value / unit.times

    def card(self, unit: Unit, above: str) -> Card:
        """Return a unit's text and colour."""
        each = self._each(unit)
        shade = each / self.most if each is not None and self.most else None
        return card(unit, self._figure(unit, each), shade, above, self._about(unit, each))

    def _figure(self, unit: Unit, each: float | None) -> str:
        if not each or self.costs is None:
            return ""
        text = self.costs.text(each)
        if self.costs.peak:
            return f"{text}, peak" if each == self.most else text
        several = f"{unit.times} × " if unit.times > 1 else ""
        return f"{several}{text} · {fmt.percent(each * unit.times / self.total)}"

    def figure(self, group: Group) -> str:
        """Return a module's share of the whole, or its own peak."""
        if self.costs is None or not self.most:
            return ""
        values = [value for value in map(self._value, units_in(group)) if value]
        if self.costs.peak:
            return self.costs.text(max(values)) if values else ""
        return fmt.percent(sum(values) / self.total) if values and self.total else ""

    def _about(self, unit: Unit, each: float | None) -> str:
        """Return the tooltip: all that there is to say, also what the box had no room for."""
        read, made = (
            ", ".join(fmt.shape(self.found.shapes[name]) for name in names) for names in (unit.inputs, unit.outputs)
        )
        first = unit.nodes[: len(unit.nodes) // unit.times]
        ops = " · ".join(node.op for node in first)
        cost = f"{self.costs.text(each)} ({self.costs.title})" if self.costs and each is not None else ""
        lines = (
            unit.path or unit.group,
            ops if len(ops) < 200 else f"{len(first)} operators",
            f"{read} → {made}",
            cost,
        )
        return "\n".join(line for line in lines if line and unit.nodes)


def _size(graph: Graph, found: Diagram) -> str:
    inputs = ", ".join(fmt.shape(graph.tensors[name].shape) for name in graph.inputs)
    boxes = sum(1 for unit in found.units if unit.nodes)
    return f"input {inputs} · {len(graph.nodes)} operators in {boxes} boxes"


def _key(found: Diagram, layout: Layout) -> Iterator[str]:
    """Yield the line that explains the short signs; only those that occur."""
    words = " ".join(f"{unit.words} {unit.notes}" for unit in found.units)
    ops = {node.op for unit in found.units for node in unit.nodes}
    signs = [
        *(["s2: stride 2"] if ", s2" in words else []),
        *(["d2: dilation 2"] if ", d2" in words else []),
        *(["3→32: channels read → made"] if "→" in words else []),
        *(["BN: batch normalization"] if "batch_norm" in ops & NORMS and "BN" in words else []),
        *(["×3: three equal modules, one behind the other"] if any(unit.times > 1 for unit in found.units) else []),
        *(["blue: skip connections"] if any(wire.skip for wire in layout.wires) else []),
    ]
    if signs:
        yield " · ".join(signs)
