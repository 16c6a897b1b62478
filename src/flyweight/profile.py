"""Profile: a table of counted figures, one row per node. Totals, and sums per module, are sums of rows.

A parameter counts in the row that reads it first, so that shared weights count once; multiply-accumulates count as
often as they run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from flyweight.count import bytes_moved, count
from flyweight.errors import UsageError, unknown_name
from flyweight.field import receptive_fields
from flyweight.graph import Graph, Node, TensorInfo
from flyweight.memory import Peak, live_activations, peak_activation

if TYPE_CHECKING:
    from torch import nn

    from flyweight.spec import ArchSpec
    from flyweight.trace import Example

COLUMNS = ("macs", "bias_adds", "elementwise", "params", "param_bytes", "buffers", "bytes_moved", "live_bytes")


@dataclass(frozen=True, slots=True)
class Row:
    """Counted figures of one node. None means unknown: the operator has no formula.

    Attributes:
        macs, bias_adds, elementwise: as in ``flyweight.count``.
        params: elements of ``nn.Parameter``s (frozen ones too) that this node is the first to read.
        param_bytes: their bytes.
        buffers: elements of buffers and constants that it is the first to read, e.g. running statistics.
        bytes_moved: bytes of its inputs, outputs and weights.
        live_bytes: activations that are live while it runs.
        receptive_field_px, stride_px: of its first output, per spatial axis.
        weight: it depends on no input, e.g. weight norm; a runtime computes it once, ahead of time.
    """

    name: str
    module: str
    op: str
    output_shape: tuple[int, ...]
    macs: int | None
    bias_adds: int | None
    elementwise: int | None
    params: int
    param_bytes: int
    buffers: int
    bytes_moved: int
    live_bytes: int
    receptive_field_px: tuple[int, ...] | None = None
    stride_px: tuple[float, ...] | None = None
    weight: bool = False

    @property
    def known(self) -> bool:
        """Whether the operator has a formula."""
        return self.macs is not None


@dataclass(frozen=True, slots=True)
class ModuleRow:
    """Sums over the nodes below one module path; ``unknown`` is how many of them have no formula."""

    module: str
    nodes: int
    macs: int
    bias_adds: int
    elementwise: int
    params: int
    param_bytes: int
    buffers: int
    bytes_moved: int
    unknown: int
    output_shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Profile:
    """Counted figures of a network: its rows in execution order.

    Attributes:
        graph: what was counted.
        peak: of live activations, see ``flyweight.memory``; None for a network that computes nothing.
    """

    rows: tuple[Row, ...]
    graph: Graph
    peak: Peak | None = None

    @property
    def unused(self) -> tuple[TensorInfo, ...]:
        """Parameters that nothing read; they are in no row."""
        return tuple(info for info in self.graph.unused if info.kind == "parameter")

    @cached_property
    def total(self) -> ModuleRow:
        """Sums over all rows. Rows without a formula add nothing to MACs; ``unknown`` says how many there are."""
        return _sum("", self.rows)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all known rows."""
        return self.total.macs

    @property
    def params(self) -> int:
        """Elements of all parameters that ran."""
        return self.total.params

    @property
    def param_bytes(self) -> int:
        """Bytes of all parameters that ran."""
        return self.total.param_bytes

    @property
    def bytes_moved(self) -> int:
        """Bytes moved by all rows."""
        return self.total.bytes_moved

    @property
    def peak_activation_bytes(self) -> int:
        """Peak of live activations; 0 for a network that computes nothing."""
        return self.peak.bytes if self.peak else 0

    @property
    def unknown(self) -> tuple[Row, ...]:
        """The rows whose operator has no formula."""
        return tuple(row for row in self.rows if not row.known)

    def by_module(self, depth: int | None = None) -> tuple[ModuleRow, ...]:
        """Return sums per module, in order of first execution; paths are cut after ``depth`` names, None cuts none.

        Raises:
            UsageError: a negative depth.
        """
        if depth is not None and depth < 0:
            raise UsageError(f"depth is {depth}; allowed are 0 (the whole network), 1, 2 … or None for every module.")
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            path = row.module if depth is None else ".".join(row.module.split(".")[:depth])
            groups.setdefault(path, []).append(row)
        return tuple(_sum(path, tuple(rows)) for path, rows in groups.items())

    def top(self, column: str, n: int = 5) -> tuple[Row, ...]:
        """Return the ``n`` rows with the most of ``column``, largest first; unknown rows are left out.

        Raises:
            UsageError: no such column; the nearest ones are listed.
        """
        if column not in COLUMNS:
            raise unknown_name("column", column, COLUMNS)
        known = [row for row in self.rows if getattr(row, column) is not None]
        return tuple(sorted(known, key=lambda row: -getattr(row, column))[:n])

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON: the rows, their sums, and the peak with its layer."""
        peak = (
            {"bytes": self.peak.bytes, "node": self.peak.node.name, "module": self.peak.node.module}
            if self.peak
            else None
        )
        return {
            "rows": [{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(row).items()} for row in self.rows],
            "total": {k: v for k, v in asdict(self.total).items() if k not in ("module", "output_shape")},
            "peak_activation": peak,
            "unused_params": [tensor.name for tensor in self.unused],
        }


def profile(network: Graph | nn.Module, example: Example | None = None, *, strict: bool = False) -> Profile:
    """Return the profile of a graph, or of a module on an example input.

    Raises:
        UsageError: a module without an example, or a graph with one.
        GraphError: the module can't be traced.
        UnknownOperatorError: an operator without a formula, under ``strict``; names the layer.
    """
    if not isinstance(network, Graph):
        if example is None:
            raise UsageError("a module needs an example input: profile(module, torch.zeros(1, 3, 224, 224)).")
        return profile_module(network, example, strict=strict)
    if example is not None:
        raise UsageError("a graph already knows its input; leave the example out.")
    seen: set[str] = set()
    fields, live = receptive_fields(network), live_activations(network)
    rows = []
    for node, live_bytes in zip(network.nodes, live, strict=True):
        first = [p for p in node.params if p.name not in seen]
        seen.update(p.name for p in first)
        rows.append(_row(node, network, first, live_bytes, fields, strict))
    return Profile(tuple(rows), network, peak_activation(network) if network.nodes else None)


def profile_module(module: nn.Module, example: Example, *, strict: bool = False) -> Profile:
    """Trace ``module`` on ``example`` and return its profile; errors as in ``profile``."""
    from flyweight.trace import trace  # here, so that profiles are read and summed without torch

    return profile(trace(module, example), strict=strict)


def profile_spec(spec: ArchSpec, *, strict: bool = False) -> Profile:
    """Return the profile of a spec's network, for which no weights are made; errors as in ``build`` and ``profile``."""
    from flyweight.build import skeleton

    return profile_module(*skeleton(spec), strict=strict)


def _row(
    node: Node, graph: Graph, first: list[TensorInfo], live_bytes: int, fields: Mapping[str, Any], strict: bool
) -> Row:
    counts = count(node, graph, strict=strict)
    params = [p for p in first if p.kind == "parameter"]
    seen = fields.get(node.outputs[0])
    return Row(
        name=node.name,
        module=node.module,
        op=node.op,
        output_shape=graph.tensors[node.outputs[0]].shape,
        macs=counts.macs if counts else None,
        bias_adds=counts.bias_adds if counts else None,
        elementwise=counts.elementwise if counts else None,
        params=sum(p.elements for p in params),
        param_bytes=sum(p.bytes for p in params),
        buffers=sum(p.elements for p in first if p.kind != "parameter"),
        bytes_moved=counts.bytes_moved if counts else bytes_moved(node, graph),
        live_bytes=live_bytes,
        receptive_field_px=seen.size_px if seen else None,
        stride_px=tuple(map(float, seen.stride_px)) if seen else None,
        weight=bool(node.attr("weight")),
    )


def _sum(module: str, rows: tuple[Row, ...]) -> ModuleRow:
    return ModuleRow(
        module=module,
        nodes=len(rows),
        macs=sum(row.macs or 0 for row in rows),
        bias_adds=sum(row.bias_adds or 0 for row in rows),
        elementwise=sum(row.elementwise or 0 for row in rows),
        params=sum(row.params for row in rows),
        param_bytes=sum(row.param_bytes for row in rows),
        buffers=sum(row.buffers for row in rows),
        bytes_moved=sum(row.bytes_moved for row in rows),
        unknown=sum(not row.known for row in rows),
        output_shape=rows[-1].output_shape if rows else (),
    )
