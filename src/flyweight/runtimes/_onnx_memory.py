"""The activations that ONNX Runtime holds at once, planned from its own optimized graph, without running it.

ONNX Runtime decides before the first run where every tensor will lie. The same decisions are taken here, in the order
of its graph (``PlannerImpl`` in onnxruntime/core/framework/allocation_planner.cc, single stream):

- a reshape lies where its input lies; an activation writes over its input where nothing reads that later, and a
  convolution that adds a sum writes over the sum; additions and multiplications don't;
- any other tensor takes the first free buffer of its type and shape, the one freed last before others, which is then
  held through the gap; else a new one. A buffer is given back when the last tensor in it has been read.
- what the caller holds, the network's input and outputs, is never shared.

Layout changes are nodes of that graph: in the layout for convolutions (MLAS's NCHWc) channels are rounded up to blocks
of 16 with AVX-512, else 8. Two kernels need scratch space of a known size: a transposed convolution its columns, and a
convolution outside the blocked layout its patches (onnxruntime/core/mlas/lib/convolve.cpp).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyweight.contracts import PlannedPeak
from flyweight.runtimes._onnx_times import modules_of

BLOCKED = "com.microsoft.nchwc"
_CONVOLUTIONS = frozenset({"Conv", "FusedConv"})
_SEGMENT_BYTES = 65_536  # of patches at a time, a thread
# kernels that may write over one of their inputs, by its place, as they are registered (core/providers/cpu/activation/
# activations.cc, math/clip.cc, tensor/cast_op.cc, nn/conv.cc): a convolution over the sum that it adds
_OVERWRITES: Mapping[str, int] = {
    **dict.fromkeys(("Elu", "HardSigmoid", "LeakyRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh"), 0),
    **dict.fromkeys(("Cast", "Clip", "ThresholdedRelu"), 0),
    **dict.fromkeys(_CONVOLUTIONS, 3),
}
_VIEWS = frozenset({"Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
# kernels of ONNX Runtime's own whose output has the shape that a standard operator's would have, else the input's
_TWINS = {"FusedConv": "Conv", "FusedGemm": "Gemm", "FusedMatMul": "MatMul"}
_SHAPED = {
    "Conv": ("kernel_shape", "strides", "pads", "dilations", "auto_pad", "group"),
    "MaxPool": ("kernel_shape", "strides", "pads", "dilations", "auto_pad", "ceil_mode"),
    "AveragePool": ("kernel_shape", "strides", "pads", "dilations", "auto_pad", "ceil_mode", "count_include_pad"),
    "GlobalAveragePool": (),
    "GlobalMaxPool": (),
    "Gemm": ("transA", "transB"),
    "MatMul": (),
}


def planned_peak(
    file: Path, module_of: Mapping[str, str], new_options: Callable[[int], Any], folder: Path
) -> PlannedPeak | None:
    """Return the planned peak of a file, for batch 1; None where a tensor's shape can't be told.

    Args:
        file: of fixed shapes. module_of: module path by node name. new_options: session options by threads.
        folder: for ONNX Runtime's graph; it is the caller's to delete.
    """
    import onnx
    import onnxruntime

    options = new_options(1)
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    graph = optimized(folder / "optimized.onnx")
    return plan(graph, block(), modules_of(onnx.load(file, load_external_data=False), graph, module_of))


def optimized(path: Path) -> Any:
    """Return a graph without its weights' values; integers stay, which shapes are told by."""
    import onnx

    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.INT64:
            for kept in ("raw_data", "float_data", "int32_data", "double_data", "uint64_data"):
                tensor.ClearField(kept)
    return model


def block() -> int:
    """Return the channels that the blocked layout holds together on this processor."""
    facts = Path("/proc/cpuinfo")
    return 16 if facts.is_file() and "avx512f" in facts.read_text(encoding="utf-8", errors="replace") else 8


def plan(model: Any, block: int, module_of: Mapping[str, str] | None = None) -> PlannedPeak | None:
    """Return the most bytes that are held at once, the network's input with them; None where a shape is unknown.

    Args:
        model: an optimized graph. block: channels of the blocked layout. module_of: module path by its nodes' names.
    """
    shapes = _Shapes(model, block)
    if not shapes.whole or not model.graph.node:
        return None
    held = _Plan(model, shapes).held()
    needs = [_scratch_bytes(node, shapes) for node in model.graph.node]
    at = max(range(len(held)), key=lambda index: held[index] + needs[index])
    node = model.graph.node[at]
    given = sum(shapes.bytes(name) for name in _inputs(model))
    return PlannedPeak(held[at] + needs[at] + given, needs[at], node.op_type, (module_of or {}).get(node.name))


def _inputs(model: Any) -> list[str]:
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name not in weights]


class _Shapes:
    """The shape and type of every tensor of an optimized graph; ``whole`` where each is known."""

    def __init__(self, model: Any, block: int) -> None:
        from onnx import TensorProto

        self.block = block
        self.types: dict[str, Any] = {}
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._opsets = {one.domain: one.version for one in model.opset_import}
        self._ir_version = model.ir_version
        for tensor in model.graph.initializer:
            self._note(tensor.name, tuple(tensor.dims), tensor.data_type)
        for value in model.graph.input:
            self.types.setdefault(value.name, value.type)
        for node in model.graph.node:
            self._infer(node)
        made = [name for node in model.graph.node for name in node.output if name]
        self.whole = all(self.of(name) is not None for name in [*_inputs(model), *made])
        self._sizes: dict[int, int] = {
            TensorProto.FLOAT: 4, TensorProto.FLOAT16: 2, TensorProto.BFLOAT16: 2, TensorProto.DOUBLE: 8,
            TensorProto.INT32: 4, TensorProto.INT64: 8, TensorProto.UINT64: 8,
        }  # fmt: skip

    def of(self, name: str) -> tuple[int, ...] | None:
        """Return a tensor's shape, None where it is unknown."""
        kind = self.types.get(name)
        if kind is None or not kind.tensor_type.HasField("shape"):
            return None
        sizes = kind.tensor_type.shape.dim
        return tuple(size.dim_value for size in sizes) if all(s.HasField("dim_value") for s in sizes) else None

    def type(self, name: str) -> int:
        """Return a tensor's element type."""
        return int(self.types[name].tensor_type.elem_type)

    def bytes(self, name: str) -> int:
        """Return a tensor's size; of types not named here an element has one byte."""
        return math.prod(self.of(name) or ()) * self._sizes.get(self.type(name), 1)

    def _note(self, name: str, shape: tuple[int, ...], element: int) -> None:
        from onnx import helper

        self.types[name] = helper.make_tensor_type_proto(element, shape)

    def _infer(self, node: Any) -> None:
        read = self.of(node.input[0]) if node.input else None
        if node.domain == BLOCKED and node.op_type in ("ReorderInput", "ReorderOutput", "Upsample"):
            if read is not None and len(read) == 4:
                self._note(node.output[0], self._moved(node, read), self.type(node.input[0]))
        elif twin := self._twin(node):
            self.types |= self._inferred(twin, node)
        elif read is not None:  # its own element-wise kernels
            self._note(node.output[0], read, self.type(node.input[0]))

    def _moved(self, node: Any, read: tuple[int, ...]) -> tuple[int, ...]:
        n, channels, height, width = read
        if node.op_type == "ReorderInput":
            return n, -(-channels // self.block) * self.block, height, width
        if node.op_type == "ReorderOutput":
            return n, int(_attribute(node, "channels", channels)), height, width
        scales = _attribute(node, "scales", [1, 1, 1, 1])
        return n, channels, height * scales[-2], width * scales[-1]

    def _twin(self, node: Any) -> Any | None:
        """Return the standard operator with the output's shape, None where there is none."""
        from onnx import NodeProto

        if node.domain == "":
            return node
        twin = NodeProto()
        twin.CopyFrom(node)
        twin.domain, twin.op_type = "", _TWINS.get(node.op_type, node.op_type)
        if twin.op_type not in _SHAPED:
            return None
        shaped = [attribute for attribute in node.attribute if attribute.name in _SHAPED[twin.op_type]]
        del twin.attribute[:], twin.input[2:]
        twin.attribute.extend(shaped)
        return twin

    def _inferred(self, twin: Any, node: Any) -> dict[str, Any]:
        from onnx import defs, shape_inference

        version = self._opsets.get("", defs.onnx_opset_version())
        known = {name: self.types[name] for name in twin.input if name in self.types}
        data = {
            name: self.weights[name] for name in twin.input if name in self.weights and _has_data(self.weights[name])
        }
        if not defs.has(twin.op_type, version, "") or set(known) < set(filter(None, twin.input)):
            return {}
        from onnx import helper

        found: dict[str, Any] = shape_inference.infer_node_outputs(
            defs.get_schema(twin.op_type, version, ""), twin, known, data,
            opset_imports=[helper.make_opsetid("", version)], ir_version=self._ir_version,
        )  # fmt: skip
        return {name: found[name] for name in node.output if name in found}


def _has_data(tensor: Any) -> bool:
    from onnx import numpy_helper

    try:
        numpy_helper.to_array(tensor)
    except ValueError:
        return False
    return True


def _attribute(node: Any, name: str, default: Any) -> Any:
    from onnx import helper

    found = [helper.get_attribute_value(attribute) for attribute in node.attribute if attribute.name == name]
    return found[0] if found else default


@dataclass
class _Plan:
    """Which tensors lie in which buffer; a buffer has the name of the first tensor in it."""

    model: Any
    shapes: _Shapes
    buffer: dict[str, str] = field(default_factory=dict)
    unread: dict[str, int] = field(default_factory=dict)  # reads to come, by buffer
    free: list[str] = field(default_factory=list)  # the one freed last comes first

    def held(self) -> list[int]:
        """Return the bytes of buffers that are held while each node runs, without the network's input."""
        graph = self.model.graph
        outputs = {value.name for value in graph.output}
        reads: dict[str, int] = dict.fromkeys([*outputs, *_inputs(self.model), *self.shapes.weights], 1)
        for name in (name for node in graph.node for name in node.input):
            reads[name] = reads.get(name, 0) + 1
        for name in [*_inputs(self.model), *self.shapes.weights]:
            self.unread[name] = reads[name]
        born: dict[str, int] = {}
        died: dict[str, int] = {}
        for index, node in enumerate(graph.node):
            for name in filter(None, node.output):
                own = name if name in outputs else self._place(node, name)
                self.buffer[name] = own
                self.unread[own] = self.unread.get(own, 0) + reads.get(name, 0)
                born.setdefault(own, index)
                died[own] = index
            for name in filter(None, node.input):
                own = self.buffer.get(name, name)
                died[own] = index
                self._read(own, made=own in born)
            for name in filter(None, node.output):
                if name not in reads:
                    self._read(name, made=True, count=0)
        died |= {self.buffer[name]: len(graph.node) - 1 for name in outputs if name in self.buffer}
        change = [0] * (len(graph.node) + 1)
        for name in set(self.buffer.values()) & set(born):
            change[born[name]] += self.shapes.bytes(name)
            change[died[name] + 1] -= self.shapes.bytes(name)
        held, total = [], 0
        for step in change[:-1]:
            total += step
            held.append(total)
        return held

    def _place(self, node: Any, name: str) -> str:
        """Return the buffer of a tensor that the caller doesn't see."""
        if node.op_type in _VIEWS and name == node.output[0]:
            viewed = str(node.input[0])
            return self.buffer.get(viewed, viewed)
        place = _OVERWRITES.get(node.op_type, len(node.input))
        if place < len(node.input) and node.input[place]:
            read = str(node.input[place])
            own = self.buffer.get(read, read)
            if self.unread.get(own) == 1 and self._alike(read, name):
                return own
        for own in self.free:
            if self._alike(own, name):
                self.free.remove(own)
                return own
        return name

    def _alike(self, a: str, b: str) -> bool:
        return self.shapes.of(a) == self.shapes.of(b) != () and self.shapes.type(a) == self.shapes.type(b)

    def _read(self, own: str, *, made: bool, count: int = 1) -> None:
        self.unread[own] -= count
        if made and self.unread[own] == 0:
            self.free.insert(0, own)


def _scratch_bytes(node: Any, shapes: _Shapes) -> int:
    """Return what a kernel takes and gives back inside, where that is known to be more than a little."""
    if node.op_type not in (*_CONVOLUTIONS, "ConvTranspose") or node.domain == BLOCKED:
        return 0
    read, weight, made = (shapes.of(name) or () for name in (node.input[0], node.input[1], node.output[0]))
    group, kernel = int(_attribute(node, "group", 1)), math.prod(weight[2:])
    if node.op_type == "ConvTranspose":
        return 4 * weight[1] * kernel * math.prod(read[2:])
    filters, pixels, patch = weight[0] // group, math.prod(made[2:]), weight[1] * kernel
    plain = not any(_attribute(node, "pads", [0])) and set(_attribute(node, "strides", [1])) == {1}
    if (kernel == 1 and plain) or (group > 1 and filters == weight[1] == 1):
        return 0
    return 4 * patch * pixels if filters > pixels else _SEGMENT_BYTES
