"""Roofline: what each layer attains, beside what this machine's arithmetic and memory would allow it. No torch.

A layer that makes ``I`` MACs per byte it moves can attain at most ``min(peak, I · bandwidth)`` MACs per second; left of
the ridge ``peak / bandwidth`` memory is its limit. Bytes are counted (every tensor once, weights included, batch 1);
norms and activations move none where a runtime fuses them, so a layer's bytes are those of its convolutions and matrix
products. Time, peak and bandwidth are measured (``flyweight.measure.machine``).

Small networks live in the caches, whose bandwidth is several times the memory's: a layer whose bytes fit into the last
level may attain more than main memory would allow. Where that happens it is said.

Source: Williams, Waterman, Patterson 2009, 'Roofline: an insightful visual performance model', CACM 52(4).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from flyweight.contracts import LayerTimes
from flyweight.count import widths
from flyweight.errors import FileError
from flyweight.graph import Graph, Node
from flyweight.profile import Profile, Row

FAR_FROM_PEAK = 0.5  # share of what is attainable below which a layer's speed asks for a reason
TINY = 10.0  # kernels shorter than so many times a kernel's own overhead are dominated by it
DEAR = 0.01  # share of the time below which a layer is not worth a sentence


@dataclass(frozen=True)
class Machine:
    """Measured limits of this machine at a number of threads, in float32.

    Attributes:
        hardware: processor, cores, instructions. date: when it was measured, ISO 8601. runtime: where the peak ran.
        peak_gmacs_per_s: 10⁹ MACs per second of the best large matrix product or convolution.
        bandwidth_gb_per_s: 10⁹ bytes per second of copies and sums far larger than the last cache.
        cache_bandwidth_gb_per_s: the same for arrays that fit into the last cache.
        cache_bytes: size of that cache; 0 where the system doesn't tell.
        lanes: float32 numbers in one vector register.
        kernel_overhead_us: time of a kernel that has nothing to do.
        busy: one plus the share of a core that each thread lacked while it was measured.
    """

    hardware: str
    threads: int
    peak_gmacs_per_s: float
    bandwidth_gb_per_s: float
    cache_bandwidth_gb_per_s: float = 0.0
    cache_bytes: int = 0
    lanes: int = 1
    kernel_overhead_us: float = 0.0
    runtime: str = ""
    date: str = ""
    busy: float = 1.0

    @property
    def ridge_macs_per_byte(self) -> float:
        """Arithmetic intensity below which memory is the limit."""
        return self.peak_gmacs_per_s / self.bandwidth_gb_per_s

    def attainable_gmacs_per_s(self, intensity_macs_per_byte: float) -> float:
        """Return the roof at an arithmetic intensity."""
        return min(self.peak_gmacs_per_s, intensity_macs_per_byte * self.bandwidth_gb_per_s)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Machine:
        """Read what ``to_json`` wrote.

        Raises:
            FileError: a field is missing, of another type, or not a positive figure where one is needed.
        """
        kinds: Mapping[str, Any] = {"float": (int, float), "int": int, "str": str}
        names = {field.name: kinds[str(field.type)] for field in fields(cls)}
        if not isinstance(data, dict) or set(data) != set(names):
            raise FileError(f"not a machine's measured limits: it must have exactly {', '.join(names)}.")
        for name, kind in names.items():
            if not isinstance(data[name], kind) or isinstance(data[name], bool):
                raise FileError(f"a machine's limits: {name} is {data[name]!r}.")
        found = cls(**data)
        if not min(found.threads, found.peak_gmacs_per_s, found.bandwidth_gb_per_s, found.lanes) > 0:
            raise FileError("a machine's limits: threads, lanes, peak and bandwidth must be above 0.")
        return found


@dataclass(frozen=True)
class RooflinePoint:
    """One layer (a module with time of its own) under the roof.

    Attributes:
        name: its module path. intensity_macs_per_byte: MACs over bytes moved; 0 for a layer without MACs.
        gmacs_per_s: attained, 10⁹ MACs per second. memory_bound: whether it stands left of the ridge.
        kind: ``depthwise 3×3``, ``pointwise``, ``linear``, or the operators' names. macs, bytes_moved: counted.
        time_us: measured. attainable_gmacs_per_s: the roof above it.
    """

    name: str
    intensity_macs_per_byte: float
    gmacs_per_s: float
    memory_bound: bool
    kind: str = ""
    macs: int = 0
    bytes_moved: int = 0
    time_us: float = 0.0
    attainable_gmacs_per_s: float = 0.0

    @property
    def share(self) -> float:
        """Attained over attainable; above 1 where caches give more than main memory could."""
        return self.gmacs_per_s / self.attainable_gmacs_per_s if self.attainable_gmacs_per_s else 0.0

    @property
    def gb_per_s(self) -> float:
        """Counted bytes over measured time, 10⁹ bytes per second."""
        return self.bytes_moved / self.time_us / 1e3 if self.time_us else 0.0


def roofline(profile: Profile, times: LayerTimes, machine: Machine) -> tuple[RooflinePoint, ...]:
    """Return a point for every module that has measured time and counted bytes, in execution order.

    At a module with MACs only the rows with MACs count as moving bytes: what else ran there is fused into them.
    """
    rows: dict[str, list[Row]] = {}
    for row in profile.rows:
        rows.setdefault(row.module, []).append(row)
    nodes = {node.name: node for node in profile.graph.nodes}
    measured = times.by_module()
    points = []
    for module, own in rows.items():
        time_us = measured.get(module, 0.0)
        dear = [row for row in own if row.macs] or own
        if time_us > 0 and (moved := sum(row.bytes_moved for row in dear)):
            kind = kind_of([nodes[row.name] for row in dear], profile.graph)
            points.append(_point(module, kind, sum(row.macs or 0 for row in dear), moved, time_us, machine))
    return tuple(points)


def _point(module: str, kind: str, macs: int, moved: int, time_us: float, machine: Machine) -> RooflinePoint:
    intensity = macs / moved
    return RooflinePoint(
        name=module, intensity_macs_per_byte=intensity, gmacs_per_s=macs / time_us / 1e3,
        memory_bound=intensity < machine.ridge_macs_per_byte, kind=kind, macs=macs, bytes_moved=moved,
        time_us=time_us, attainable_gmacs_per_s=machine.attainable_gmacs_per_s(intensity),
    )  # fmt: skip


def kind_of(nodes: Sequence[Node], graph: Graph) -> str:
    """Return what the nodes of one module are, as the field calls it: ``depthwise 3×3``, ``pointwise``, ``mul+add``."""
    return "+".join(dict.fromkeys(_kind(node, graph) for node in nodes))


def _kind(node: Node, graph: Graph) -> str:
    if node.op not in ("conv", "conv_transpose"):
        return node.op
    channels, _, groups = widths(node, graph)
    size = node.attr("kernel_size")
    kernel = "×".join(map(str, size)) if isinstance(size, tuple) else str(size)
    if node.op == "conv_transpose":
        return f"transposed {kernel}"
    if groups == channels and groups > 1:
        return f"depthwise {kernel}"
    plain = "pointwise" if kernel == "1×1" else f"convolution {kernel}"
    return plain if groups == 1 else f"grouped {plain}, {groups} groups"


def explain(points: Iterable[RooflinePoint], profile: Profile, machine: Machine) -> tuple[str, ...]:
    """Return a sentence for each dear layer that is far from the peak, dearest first: the reason, from its figures."""
    found = sorted(points, key=lambda point: -point.time_us)
    total = sum(point.time_us for point in found)
    nodes = {node.module: node for node in reversed(profile.graph.nodes) if node.op in ("conv", "linear")}
    sentences = []
    for point in found:
        if point.time_us >= DEAR * total and point.gmacs_per_s < FAR_FROM_PEAK * machine.peak_gmacs_per_s:
            head = f"{point.name or '(root)'} ({point.kind}, {100 * point.time_us / total:.1f} % of the time): "
            sentences.append(head + _reason(point, nodes.get(point.name), profile.graph, machine))
    return tuple(sentences)


def _reason(point: RooflinePoint, node: Node | None, graph: Graph, machine: Machine) -> str:
    """Return why a layer attains little of the peak; the first reason of the list below that its figures support."""
    if not point.macs:
        return f"no MACs; {_traffic(point, machine)}."
    attained = f"{_share(point.gmacs_per_s / machine.peak_gmacs_per_s)} of the peak"
    if point.time_us < TINY * machine.kernel_overhead_us:
        return (
            f"{attained}: a kernel of {point.time_us:.3g} µs, of which starting any kernel takes "
            f"{machine.kernel_overhead_us:.2g}."
        )
    bound = (
        f"memory-bound ({point.intensity_macs_per_byte:.2g} MACs per byte, where the ridge stands at "
        f"{machine.ridge_macs_per_byte:.2g})"
    )
    if point.memory_bound and point.share >= FAR_FROM_PEAK:
        return f"{attained}: {bound}; {_traffic(point, machine)}."
    reasons = [*_shape_reasons(node, graph, machine)] if node is not None else []
    if point.memory_bound:
        reasons.append(f"{bound}, yet only {_share(point.share)} of what memory allows")
    return f"{attained}: {'; '.join(reasons) or 'nothing in its shape tells why: look at the kernel'}."


def _shape_reasons(node: Node, graph: Graph, machine: Machine) -> Iterable[str]:
    channels, filters, groups = widths(node, graph)
    weight = graph.info(node.operands[1])
    uses = graph.tensors[node.outputs[0]].elements // graph.tensors[node.outputs[0]].shape[1]
    taps = weight.elements // weight.shape[0]
    if groups == channels and groups > 1:
        yield f"each value that is loaded is used {taps} times at most (a dense layer: {taps} × {filters})"
    elif min(channels, filters) // groups < machine.lanes:
        of = " per group" if groups > 1 else ""
        yield f"{channels // groups} to {filters // groups} channels{of}, where a vector holds {machine.lanes}"
    elif remainder := [str(n) for n in (channels // groups, filters // groups) if n % machine.lanes]:
        yield f"{' and '.join(remainder)} channels leave part of the vectors of {machine.lanes} empty"
    if uses <= 16 and groups == 1:
        yield f"each weight is used {uses} time{'s' * (uses > 1)}, so that {_kb(weight.bytes)} of weights set the pace"


def _traffic(point: RooflinePoint, machine: Machine) -> str:
    """Return what the layer moves, and how its bytes per second stand to what memory gives."""
    moved = f"it moves {_kb(point.bytes_moved)} at {point.gb_per_s:.3g} GB/s"
    share = point.gb_per_s / machine.bandwidth_gb_per_s
    if share > 1:
        return f"{moved}, more than main memory gives ({machine.bandwidth_gb_per_s:.3g}): caches serve it"
    return f"{moved}, {_share(share)} of the memory's {machine.bandwidth_gb_per_s:.3g}"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %" if value >= 0.095 else f"{100 * value:.1f} %"


def _kb(value: int) -> str:
    return f"{value / 1e6:.3g} MB" if value >= 999_500 else f"{value / 1e3:.3g} kB"
