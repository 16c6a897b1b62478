"""A quantized ONNX file in QDQ form, read as a line of integer operators.

QDQ form keeps float operators, each between DequantizeLinear and QuantizeLinear; ONNX Runtime fuses every such group
into one integer operator as it loads the file, and so does this. A ReLU or Clip in front of QuantizeLinear narrows the
range of the result. What comes before the first QuantizeLinear (the *head*) and behind the last DequantizeLinear (the
*tail*) is float and stays outside; a float operator between quantized ones is an error that names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyweight.errors import FileError, GraphError
from flyweight.fixed_point import _tables
from flyweight.fixed_point._kernels import Chain, Kernel
from flyweight.fixed_point._make import Site, make, sums
from flyweight.fixed_point._requantize import Target
from flyweight.fixed_point._scales import Constant, Scale, SumScale
from flyweight.onnx_graph import load_proto

DTYPES = {"uint8": np.dtype(np.uint8), "int8": np.dtype(np.int8)}
CLAMPS = ("Relu", "Clip")
SUMS = ("Gemm", "MatMul")
SUMS_SUFFIX = "/sums"
MOVES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "DepthToSpace", "Slice")


@dataclass(frozen=True)
class Step:
    """One integer operator: the file's node name, the fused operator, the tensors it reads and the one it makes."""

    name: str
    op: str
    inputs: tuple[str, ...]
    output: str
    kernel: Kernel
    scale: Scale | SumScale


@dataclass(frozen=True)
class Port:
    """Where floats come in: the float tensor, the 8-bit tensor, and the scale between them."""

    tensor: str
    quantized: str
    scale: Scale


@dataclass(frozen=True)
class Exit:
    """Where floats go out: the float tensor, the tensor of 8 bits or of int32 sums, and the scale between them."""

    tensor: str
    quantized: str
    scale: Scale | SumScale


@dataclass(frozen=True)
class Program:
    """A network in integers.

    Attributes:
        entries: float tensors that are quantized before the first step. exits: 8-bit tensors that are dequantized
            behind the last. constants: quantized tensors that are not computed.
        head, tail: names of the float operators before and behind, which are not run here.
        inputs: the file's own inputs with their shapes, -1 where a size is free. metadata: what it says of itself.
    """

    path: Path
    entries: tuple[Port, ...]
    steps: tuple[Step, ...]
    exits: tuple[Exit, ...]
    constants: Mapping[str, NDArray[Any]]
    head: tuple[str, ...]
    tail: tuple[str, ...]
    inputs: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]


def read_program(path: Path) -> Program:
    """Read ``path``.

    Raises:
        RuntimeMissingError: the ``onnx`` package is not installed.
        FileError: missing, too large, no ONNX file, or a damaged one.
        GraphError: not quantized in QDQ form, or an operator that can't run in integers; names the node.
    """
    proto = _load(path)
    reader = _Reader(proto, path)
    reader.walk()
    return reader.program()


def _load(path: Path) -> Any:
    proto = load_proto(path)
    from onnx import TensorProto, checker, shape_inference

    outside = [t.name for t in proto.graph.initializer if t.data_location == TensorProto.EXTERNAL]
    if outside:
        raise FileError(f"{path}: tensor '{outside[0]}' lies in another file. Save the model as one file.")
    try:
        checker.check_model(proto)
        return shape_inference.infer_shapes(proto, data_prop=True)
    except Exception as error:  # onnx's own, and in damaged files whatever its C++ code comes upon
        reason = str(error).strip().split("\n")[0]
        raise FileError(f"{path}: it does not pass ONNX's checks: {reason}. Export it again.") from error


class _Reader:
    """Walks the nodes in order; every QuantizeLinear closes a step."""

    def __init__(self, proto: Any, path: Path) -> None:
        self.path, self.graph = path, proto.graph
        self.metadata = {entry.key: entry.value for entry in proto.metadata_props}
        self.arrays: dict[str, NDArray[Any]] = {}  # constants
        self.makers: dict[str, Any] = {}  # float tensor -> the node that makes it
        self.scales: dict[str, Scale] = {}  # 8-bit tensor -> its scale
        self.ends: dict[str, SumScale] = {}  # int32 sums -> their scale
        self.behind: dict[str, str | Constant] = {}  # dequantized tensor -> 8-bit tensor, or constant
        self.constants: dict[str, NDArray[Any]] = {}
        self.entries: list[Port] = []
        self.steps: list[Step] = []
        self.shapes = {v.name: _dims(v) for v in (*proto.graph.input, *proto.graph.value_info, *proto.graph.output)}

    def walk(self) -> None:
        """Read all nodes."""
        from onnx import numpy_helper

        for tensor in self.graph.initializer:
            try:
                self.arrays[tensor.name] = numpy_helper.to_array(tensor)
            except (ValueError, TypeError, KeyError) as error:
                raise FileError(
                    f"{self.path}: tensor '{tensor.name}' is damaged ({error}). Export it again."
                ) from error
        for node in self.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.arrays[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            elif node.op_type == "QuantizeLinear":
                self._quantize(node)
            elif node.op_type == "DequantizeLinear":
                self._dequantize(node)
            else:
                self.makers.update((name, node) for name in node.output)
        for value in self.graph.output:
            self._sums(value.name)
        if not self.steps:
            raise GraphError(
                f"{self.path}: no operator stands between DequantizeLinear and QuantizeLinear. Quantize it to int8 "
                "first: flyweight export MODEL --precision int8, or onnxruntime's quantize_static in QDQ format."
            )

    def program(self) -> Program:
        """Return what was read."""
        exits, tail = self._ends()
        head = self._above([port.tensor for port in self.entries])
        given = {value.name: _dims(value) for value in self.graph.input if value.name not in self.arrays}
        return Program(
            self.path, tuple(self.entries), tuple(self.steps), tuple(exits), self.constants, tuple(head), tuple(tail),
            given, self.metadata,
        )  # fmt: skip

    # -- the two conversions

    def _dequantize(self, node: Any) -> None:
        source = node.input[0]
        if source in self.arrays:
            self.behind[node.output[0]] = self._constant(node)
        elif source in self.scales:
            if self._scale(node) != self.scales[source]:
                raise self._error(node, "it has another scale or zero point than the QuantizeLinear before it")
            self.behind[node.output[0]] = source
        else:
            raise self._error(node, f"its input '{source}' does not come from QuantizeLinear")

    def _quantize(self, node: Any) -> None:
        source, scale = node.input[0], self._scale(node)
        self.scales[node.output[0]] = scale
        if source in self.behind:
            made = self._site(node, "QuantizeLinear", (source,), scale.target())
            kernel: Kernel = _tables.table(made.activation(0), made.target, _tables.same, {})
            self._append(node.name or node.output[0], "QuantizeLinear", (source,), node.output[0], kernel, scale)
            return
        maker = self.makers.get(source)
        if source in self.arrays:
            raise self._error(node, f"it quantizes the constant '{source}' as it runs. Store the constant quantized")
        if maker is None or not self._quantized_above(source):
            self.entries.append(Port(source, node.output[0], scale))
            return
        output = list(maker.output).index(source)
        low, high, moves, maker = self._above_quantize(maker, scale)
        if maker.op_type != "Split":
            output = 0
        elif source not in maker.output:
            raise self._error(node, f"something stands between it and node '{maker.name}' (Split)")
        target = scale.target(low, high)
        name, kernel = make(self._site(maker, maker.op_type, tuple(maker.input), target, output))
        if moves:
            kernel = Chain((kernel, *(self._move(move, scale) for move in moves)))
        inputs = tuple(value for value in maker.input if value in self.behind)
        self._append(maker.name or maker.output[0], name, inputs, node.output[0], kernel, scale)

    def _sums(self, name: str) -> None:
        """Let a matrix product that makes an output in float end in int32 sums instead."""
        node = self.makers.get(name)
        if node is None or node.op_type not in SUMS or not all(value in self.behind for value in node.input):
            return
        if not isinstance(self.behind[node.input[0]], str) or isinstance(self.behind[node.input[1]], str):
            return
        whole = Target(np.float32(1), 0, np.dtype(np.int32), -(2**31), 2**31 - 1)
        op, kernel, scale = sums(self._site(node, node.op_type, tuple(node.input), whole))
        made, total = SumScale(scale), f"{name}{SUMS_SUFFIX}"
        self._append(node.name or name, op, tuple(node.input), total, kernel, made)
        self.behind[name], self.ends[total] = total, made

    def _append(
        self, name: str, op: str, floats: tuple[str, ...], output: str, kernel: Kernel, scale: Scale | SumScale
    ) -> None:
        inputs = tuple(found for value in floats if isinstance(found := self.behind[value], str))
        self.steps.append(Step(name, op, inputs, output, kernel, scale))

    def _above_quantize(self, maker: Any, scale: Scale) -> tuple[int | None, int | None, list[Any], Any]:
        """Go up through ReLU, Clip and what moves elements; return limits in steps, the moves, the operator there."""
        low: int | None = None
        high: int | None = None
        moves: list[Any] = []
        while maker.op_type in (*CLAMPS, *MOVES) and maker.input[0] in self.makers:
            if maker.op_type in MOVES:
                moves.insert(0, maker)
            else:
                ends = self._limits(maker)
                steps = [int(_tables.quantize(np.array([end], np.float32), scale.target())[0]) for end in ends]
                low = max(steps[0], low if low is not None else steps[0])
                high = min(steps[1], high if high is not None else steps[1])
            maker = self.makers[maker.input[0]]
        return low, high, moves, maker

    def _move(self, node: Any, scale: Scale) -> Kernel:
        """Return the kernel of a node that moves elements which are in their final scale already."""
        shapes = tuple(self.shapes.get(name, ()) for name in node.input)
        operands = (scale, *(self._operand(node, name) for name in node.input[1:]))
        out = self.shapes.get(node.output[0], ())
        return make(Site(node.name, node.op_type, _settings(node), operands, shapes, out, scale.target()))[1]

    def _limits(self, node: Any) -> tuple[float, float]:
        if node.op_type == "Relu":
            return 0.0, np.inf
        given = _settings(node)
        ends = [float(given.get("min", -np.inf)), float(given.get("max", np.inf))]
        for index, name in enumerate(node.input[1:]):
            if name:
                if name not in self.arrays:
                    raise self._error(node, f"its limit '{name}' is no constant")
                ends[index] = float(self.arrays[name])
        return ends[0], ends[1]

    # -- what stands behind a tensor

    def _site(self, node: Any, op: str, names: tuple[str, ...], target: Any, output: int = 0) -> Site:
        operands = tuple(self._operand(node, name) for name in names)
        shapes = tuple(self.shapes.get(name, ()) for name in names)
        out = self.shapes.get(node.output[output], ())
        return Site(node.name or node.output[0], op, _settings(node), operands, shapes, out, target, output)

    def _operand(self, node: Any, name: str) -> Scale | Constant | NDArray[Any] | None:
        if not name:
            return None
        if name in self.behind:
            found = self.behind[name]
            if isinstance(found, Constant) and node.op_type in ("Add", "Mul", "Concat"):
                return self._as_activation(name, found)
            return self.scales[found] if isinstance(found, str) else found
        if name in self.arrays:
            return self.arrays[name]
        maker = self.makers.get(name)
        culprit = f"node '{maker.name}' ({maker.op_type})" if maker is not None else f"tensor '{name}'"
        raise GraphError(
            f"{self.path}: {culprit} computes in float between quantized operators: its result goes to node "
            f"'{node.name}' ({node.op_type}) unquantized. Quantize it too, or export without it."
        )

    def _as_activation(self, name: str, found: Constant) -> Scale:
        """Let a quantized constant be an operand like any computed tensor."""
        if found.scales.size != 1:
            raise GraphError(f"{self.path}: constant '{name}' is quantized per channel; an operand must be per tensor.")
        key = f"{name}/constant"
        self.constants[key], self.behind[name] = found.values, key
        self.scales[key] = Scale(found.scales[0], int(found.zero_points[0]), found.values.dtype)
        return self.scales[key]

    def _quantized_above(self, name: str) -> bool:
        """Return whether a float tensor depends on any quantized activation."""
        return any(isinstance(self.behind.get(at), str) for at in self._reach([name]))

    def _reach(self, names: list[str]) -> list[str]:
        """Return the tensors that these depend on through float operators, themselves included."""
        seen: dict[str, None] = {}
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen[name] = None
            if name in self.makers and name not in self.behind:
                waiting.extend(self.makers[name].input)
        return list(seen)

    def _above(self, names: list[str]) -> list[str]:
        wanted = {
            id(self.makers[name]) for name in self._reach(names) if name in self.makers and name not in self.behind
        }
        return [node.name or node.output[0] for node in self.graph.node if id(node) in wanted]

    def _ends(self) -> tuple[list[Exit], list[str]]:
        """Return where 8-bit tensors become the outputs' floats, and the float operators behind that."""
        outputs = [value.name for value in self.graph.output]
        exits: dict[str, Exit] = {}
        for name in self._reach(outputs):
            found = self.behind.get(name)
            if isinstance(found, str):
                exits[name] = Exit(name, found, self.ends.get(found) or self.scales[found])
        if not exits:
            raise GraphError(f"{self.path}: no output depends on a quantized tensor. Quantize its last layers too.")
        return list(exits.values()), self._above(outputs)

    # -- constants

    def _constant(self, node: Any) -> Constant:
        values = self.arrays[node.input[0]]
        if values.dtype not in (np.uint8, np.int8, np.int32):
            raise self._error(node, f"its constant is {values.dtype}; uint8, int8 and int32 are possible")
        scales = np.atleast_1d(self._array(node, 1)).astype(np.float32).reshape(-1)
        zeros = self._array(node, 2) if len(node.input) > 2 and node.input[2] else np.zeros(scales.size, np.int32)
        axis = int(_settings(node).get("axis", 1))
        rank = max(values.ndim, 1)
        if scales.size > 1 and (axis >= rank or values.shape[axis] != scales.size):
            raise self._error(node, f"{scales.size} scales do not fit a constant of shape {values.shape}")
        return Constant(values, scales, np.atleast_1d(zeros).astype(np.int32).reshape(-1), axis % rank)

    def _scale(self, node: Any) -> Scale:
        scale = self._array(node, 1)
        zero = self._array(node, 2) if len(node.input) > 2 and node.input[2] else np.zeros((), np.uint8)
        if scale.size != 1 or zero.size != 1:
            raise self._error(node, "an activation is quantized per channel; per tensor is possible")
        if str(zero.dtype) not in DTYPES or scale.dtype != np.float32:
            raise self._error(node, f"it quantizes to {zero.dtype} with a {scale.dtype} scale; uint8 or int8, float32")
        value = np.float32(scale.reshape(-1)[0])
        if not (np.isfinite(value) and value > 0):
            raise self._error(node, f"its scale is {value}; it must be positive")
        return Scale(value, int(zero.reshape(-1)[0]), zero.dtype)

    def _array(self, node: Any, index: int) -> NDArray[Any]:
        name = node.input[index]
        if name not in self.arrays:
            raise self._error(node, f"its input '{name}' is no constant")
        return self.arrays[name]

    def _error(self, node: Any, what: str) -> GraphError:
        return GraphError(f"{self.path}: node '{node.name or node.output[0]}' ({node.op_type}): {what}.")


def _settings(node: Any) -> dict[str, Any]:
    from onnx import helper

    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {key: value.decode() if isinstance(value, bytes) else value for key, value in found.items()}


def _dims(value: Any) -> tuple[int, ...]:
    if not value.type.HasField("tensor_type"):
        return ()
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else -1 for dim in dims)
