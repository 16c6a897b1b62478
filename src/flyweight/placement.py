"""Will it run there: a verdict for every layer of a network on a device, the cuts between parts, and what mends it.

``native``: the device runs it itself. ``fallback``: it goes to the processor beside, and the network is cut there.
``rejected``: the network is refused. ``unknown``: no rule speaks of it. By the published rules only: eligible is not
yet placed, which is for the vendor's compiler to decide (docs/targets.md says how often they agree).

The parts are found as TensorFlow Lite's delegates find theirs: alternately, everything that is ready and runs on the
one side, then everything that is ready and runs on the other (tensorflow/lite/graph_info.cc,
PartitionGraphIntoIndependentNodeSubsets). A device that takes one part only leaves the rest to its neighbour.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from flyweight.count import macs
from flyweight.device import VERDICTS, Device, Limit, Rule, Source, Verdict
from flyweight.graph import Graph, Node
from flyweight.memory import peak_activation
from flyweight.traits import CONVOLUTIONS, Trait, rides_along, trait

BYTES = MappingProxyType({"fp32": 4, "fp16": 2, "int8": 1})
_ACTIVATIONS: Mapping[str, str] = MappingProxyType(  # operator -> the name that blocks and swap_activation know it by
    {
        "hardswish": "hard_swish", "hardsigmoid": "hard_sigmoid", "silu": "swish", "gelu": "gelu", "sigmoid": "sigmoid",
        "leaky_relu": "leaky_relu", "relu6": "relu6",
    }
)  # fmt: skip
_INSTEAD = (("relu6", "relu6"), ("relu", "relu"))  # operator, name: what an activation is swapped for
_GATES = (("hardsigmoid", "hard_sigmoid"), ("sigmoid", "sigmoid"))
_SEVERITY = {verdict: rank for rank, verdict in enumerate(VERDICTS)}


@dataclass(frozen=True, slots=True)
class Layer:
    """Verdict on one node, with the reason where it isn't native, its source, and the fix where one is known.

    Attributes:
        node: the node. silent: it leaves no operator behind (a weight, a folded norm), and follows what it reads.
        fix: a transform with its settings in back ticks, or words; '' where nothing is known.
    """

    node: Node
    verdict: Verdict
    reason: str = ""
    source: Source | None = None
    fix: str = ""
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the network that runs on one side: its layers in execution order, silent ones left out."""

    native: bool
    layers: tuple[Layer, ...]

    @property
    def modules(self) -> tuple[str, ...]:
        """The first and the last layer's module path."""
        return self.layers[0].node.module, self.layers[-1].node.module


@dataclass(frozen=True)
class Placement:
    """A network on a device.

    Attributes:
        layers: every node's verdict, in execution order. segments: the parts, in the order in which they run.
        padded_macs: MACs after rounding channels up to the device's multiple; macs: as they are.
        unaligned: layers whose channels are no multiple.
        notes: memory, precision: what concerns the network as a whole.
    """

    device: Device
    precision: str
    layers: tuple[Layer, ...]
    segments: tuple[Segment, ...]
    macs: int
    native_macs: int
    padded_macs: int
    unaligned: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def wholly_native(self) -> bool:
        """Whether every layer runs on the device itself, by its rules."""
        return all(layer.verdict == "native" for layer in self.layers)

    @property
    def refused(self) -> bool:
        """Whether one layer at least is rejected."""
        return any(layer.verdict == "rejected" for layer in self.layers)

    def having(self, verdict: Verdict) -> tuple[Layer, ...]:
        """Return the layers with one verdict, silent ones left out."""
        return tuple(layer for layer in self.layers if layer.verdict == verdict and not layer.silent)


def place(graph: Graph, device: Device, precision: str | None = None) -> Placement:
    """Return where every layer of a network runs.

    Args:
        graph: the traced network, as it is before quantization.
        device: whose rules to apply.
        precision: of ``device.precisions``; None takes the first.

    Raises:
        UsageError: the device doesn't compute in that precision.
    """
    chosen = device.precision_or_default(precision)
    layers = [_layer(node, graph, device, chosen) for node in graph.nodes]
    segments = _segments(layers, graph)
    if device.partitions:
        layers, segments = _first_only(layers, segments, graph, device)
    counted = [(layer, macs(layer.node, graph) or 0) for layer in layers if not layer.node.attr("weight")]
    unaligned, padded = _padding(graph, device.channel_multiple)
    return Placement(
        device, chosen, tuple(layers), tuple(segments),
        sum(number for _, number in counted),
        sum(number for layer, number in counted if layer.verdict == "native"),
        padded, tuple(unaligned), tuple(_notes(graph, device, chosen)),
    )  # fmt: skip


# ---- one layer -----------------------------------------------------------------------------------------------------


def _layer(node: Node, graph: Graph, device: Device, precision: str) -> Layer:
    if rides_along(node, graph):
        return Layer(node, "native", silent=True)
    worst: Layer | None = None
    for op, form in _parts(node, graph, device):
        judged = _judge(node, op, form, graph, device, precision)
        if worst is None or _SEVERITY[judged.verdict] > _SEVERITY[worst.verdict]:
            worst = judged
    assert worst is not None  # a lowering has one part at least
    return worst if worst.verdict == "native" else replace(worst, fix=_fix(worst, graph, device, precision))


def _parts(node: Node, graph: Graph, device: Device) -> Iterator[tuple[str, Trait]]:
    """Yield the operators, each with its form, that a converter makes of a node."""
    own = trait("form", node, graph)
    if node.op not in device.lowering:
        yield node.op, own
    for part in device.lowering.get(node.op, ()):
        op, _, form = part.partition("/")
        yield op, form or own


def _judge(node: Node, op: str, form: Trait, graph: Graph, device: Device, precision: str) -> Layer:
    becomes = "" if op == node.op else f"becomes {op}: "
    worst: Layer | None = None
    for rule in device.rules_for(op, form, precision):
        if all(_applies(limit, node, graph, form) for limit in rule.when):
            judged = _by_rule(node, rule, graph, form, becomes)
            if worst is None or _SEVERITY[judged.verdict] > _SEVERITY[worst.verdict]:
                worst = judged
    if worst is not None:
        return worst
    reason = f"{becomes}no rule speaks of {_named(op, form)}"
    if any(op in rule.ops or op in dict(rule.forms) for rule in device.rules):
        return Layer(node, "unknown", f"{reason} in this form")
    if device.unlisted != "unknown":
        reason = f"{becomes}{_named(op, form)} is not in the list of what runs there"
    return Layer(node, device.unlisted, reason, device.unlisted_source)


def _named(op: str, form: Trait) -> str:
    return f"{form} {op}" if form in ("grouped", "depthwise", "broadcast", "uneven", "reflect", "replicate") else op


def _applies(limit: Limit, node: Node, graph: Graph, form: Trait) -> bool:
    value = form if limit.trait == "form" else trait(limit.trait, node, graph)
    return value is not None and limit.holds(value)


def _by_rule(node: Node, rule: Rule, graph: Graph, form: Trait, becomes: str) -> Layer:
    note = f" ({rule.note})" if rule.note else ""
    for limit in rule.limits:
        value = form if limit.trait == "form" else trait(limit.trait, node, graph)
        if not limit.holds(value):
            word = limit.trait.replace("_", " ")
            reason = f"{becomes}{word} is {_text(value)}; there: {limit}{note}"
            return Layer(node, rule.otherwise, reason, rule.source)
    reason = (
        "" if rule.verdict == "native" else f"{becomes}{rule.note or f'{_named(node.op, form)} does not run there'}"
    )
    return Layer(node, rule.verdict, reason, rule.source)


def _text(value: Trait) -> str:
    numbers = value if isinstance(value, tuple) else (value,)
    return "x".join(f"{number:.3g}" if isinstance(number, float) else str(number) for number in dict.fromkeys(numbers))


# ---- fixes ---------------------------------------------------------------------------------------------------------


def _fix(layer: Layer, graph: Graph, device: Device, precision: str) -> str:
    node = layer.node
    if _in_gate(node, graph):
        return _gate_fix(node, graph, device, precision)
    if node.op in _ACTIVATIONS:
        instead = _runs_instead(_INSTEAD, node, graph, device, precision)
        return f"`swap_activation` old={_ACTIVATIONS[node.op]} new={instead}" if instead else ""
    if node.op in CONVOLUTIONS and "kernel" in layer.reason:
        return _kernel_fix(node, graph, device, precision)
    if trait("form", node, graph) == "uneven" or "scale is" in layer.reason:
        return "`resize_input` so that sizes divide: k·2ⁿ pixels"
    if node.op in ("reshape", "view", "transpose", "permute") and (
        "rank is" in layer.reason or "may be above 1" in layer.reason
    ):
        return _WORDS["channel_shuffle", ""]
    return _WORDS.get((node.op, str(trait("form", node, graph))), _WORDS.get((node.op, ""), ""))


_WORDS: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("conv", "grouped"): "use dense or depthwise convolutions: another architecture",
        ("channel_shuffle", ""): "use an architecture without channel shuffles",
        ("batch_norm", "alone"): "put the norm behind a convolution, where `fold_bn` folds it",
        ("softmax", ""): "leave it out: the largest logit is the same class",
        ("neg", ""): "`swap_activation` old=crelu new=relu, where it is CReLU's",
        ("pad", "replicate"): "pad with zeros",
        ("pad", "reflect"): "pad with zeros",
    }
)


def _in_gate(node: Node, graph: Graph) -> bool:
    """Return whether a node belongs to a squeeze-and-excitation: the product with a map pooled to 1×1, or its gate."""
    if node.op in ("sigmoid", "hardsigmoid"):
        return any(reader.op == "mul" and _in_gate(reader, graph) for reader in graph.consumers[node.outputs[0]])
    shapes = [graph.info(name).shape for name in node.inputs]
    return node.op == "mul" and len(set(shapes)) > 1 and any(set(shape[2:]) == {1} for shape in shapes)


def _gate_fix(node: Node, graph: Graph, device: Device, precision: str) -> str:
    out = "`set_squeeze_excite` ratio=0"
    if node.op == "mul":
        return out
    instead = _runs_instead(_GATES, node, graph, device, precision)
    return f"{out}, or `swap_activation` old={_ACTIVATIONS[node.op]} new={instead}" if instead else out


def _runs_instead(
    choices: Sequence[tuple[str, str]], node: Node, graph: Graph, device: Device, precision: str
) -> str | None:
    """Return the name of the first operator that runs on the device in a node's place."""
    for op, name in choices:
        other = replace(node, op=op)
        parts = _parts(other, graph, device)
        if op != node.op and all(_judge(other, *part, graph, device, precision).verdict == "native" for part in parts):
            return name
    return None


def _kernel_fix(node: Node, graph: Graph, device: Device, precision: str) -> str:
    form = trait("form", node, graph)
    for rule in device.rules_for(node.op, form, precision):
        for limit in rule.limits:
            if limit.trait == "kernel" and limit.most is not None:
                largest = int(limit.most) - (int(limit.most) + 1) % 2
                return f"`set_kernel` kernel={largest}"
    return "`set_kernel` with a smaller one"


# ---- parts ---------------------------------------------------------------------------------------------------------


def _segments(layers: Sequence[Layer], graph: Graph) -> list[Segment]:
    """Return the parts of a network; see the module's text."""
    made = {*graph.inputs}
    waiting = list(layers)
    side: dict[str, bool] = {}  # of each tensor: whether the device made it
    segments: list[Segment] = []
    while waiting:
        first = next(layer for layer in waiting if made.issuperset(layer.node.inputs))
        native = _native(first, side)
        taken, left = [], []
        for layer in waiting:
            if made.issuperset(layer.node.inputs) and _native(layer, side, native) == native:
                taken.append(layer)
                made.update(layer.node.outputs)
                side.update(dict.fromkeys(layer.node.outputs, native))
            else:
                left.append(layer)
        waiting = left
        own = tuple(layer for layer in taken if not layer.silent)
        if own:
            segments.append(Segment(native, own))
    return _merged(segments)


def _native(layer: Layer, side: Mapping[str, bool], otherwise: bool = True) -> bool:
    """Return on which side a layer runs; a silent one stays where its input is, or, without one, anywhere."""
    if not layer.silent:
        return layer.verdict == "native"
    return next((side[name] for name in layer.node.inputs if name in side), otherwise)


def _merged(segments: Sequence[Segment]) -> list[Segment]:
    found: list[Segment] = []
    for segment in segments:
        if found and found[-1].native == segment.native:
            found[-1] = Segment(segment.native, (*found[-1].layers, *segment.layers))
        else:
            found.append(segment)
    return found


def _first_only(
    layers: Sequence[Layer], segments: Sequence[Segment], graph: Graph, device: Device
) -> tuple[list[Layer], list[Segment]]:
    """Leave to the device as many native parts, from the first on, as it takes; what is behind goes beside."""
    native = [index for index, segment in enumerate(segments) if segment.native]
    kept = set(native[: device.partitions])
    lost = {layer.node.name for index, s in enumerate(segments) if s.native and index not in kept for layer in s.layers}
    if not lost:
        return list(layers), list(segments)
    reason = f"behind the first cut; the device takes {device.partitions} part" + "s" * (device.partitions > 1)
    changed = [
        replace(layer, verdict="fallback", reason=reason, source=device.partitions_source)
        if layer.node.name in lost
        else layer
        for layer in layers
    ]
    return changed, _segments(changed, graph)


# ---- the network as a whole ----------------------------------------------------------------------------------------


def _padding(graph: Graph, multiple: int) -> tuple[list[str], int]:
    """Return the layers whose channels are no multiple, and all MACs after rounding up; inputs stay as they are."""
    unaligned, total = [], 0
    for node in graph.nodes:
        own = macs(node, graph) or 0
        if node.op in (*CONVOLUTIONS, "linear") and not node.attr("weight"):
            inputs, outputs = (int(str(trait(name, node, graph))) for name in ("input_channels", "output_channels"))
            sides = [outputs] if trait("form", node, graph) == "depthwise" else [inputs, outputs]
            if trait("behind", node, graph) == "input":
                sides = sides[-1:]
            if set(node.outputs) & set(graph.outputs):
                sides = sides[:-1]
            if any(side % multiple for side in sides):
                unaligned.append(node.module)
            own = round(own * math.prod(math.ceil(side / multiple) * multiple / side for side in sides))
        total += own
    return unaligned, total


def _notes(graph: Graph, device: Device, precision: str) -> Iterator[str]:
    if "fp32" not in device.precisions and precision == "int8":
        yield "as an int8 network: quantize it first (`quantize_int8`)"
    memory = device.memory
    if memory is None or not graph.nodes:
        return
    activations = peak_activation(graph, in_place=True).bytes * BYTES[precision] // BYTES["fp32"]
    weights = sum(info.elements for info in graph.params.values() if info.kind == "parameter") * BYTES[precision]
    held = (
        ("activations at their peak", activations, memory.activation_bytes),
        ("weights", weights, memory.weight_bytes),
        ("weights and activations", weights + activations, memory.both_bytes),
    )
    for what, size, most in held:
        if most is not None:
            fits = "fit into" if size <= most else "more than"
            yield f"counted: {what} {size / 1e6:.2f} MB, {fits} {most / 1e6:.1f} MB on the chip ({memory.source.text})"
