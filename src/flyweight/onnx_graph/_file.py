"""An ONNX file as a checked model whose every shape is known, without its weights' values.

What is read is not trusted: sizes are checked before anything is parsed, external data must lie in the file's own
folder, and only small tensors (shapes, axes, pads, scales) are ever looked into.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight import files
from flyweight.errors import FileError, GraphError, RuntimeMissingError
from flyweight.graph import TensorInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BYTES = 2**31 - 1  # of a protobuf message
SMALL = 4096  # elements of a tensor that is looked into
MAX_NODES = 200_000


@dataclass(frozen=True)
class Model:
    """A read file.

    Attributes:
        proto: the ``onnx.ModelProto``, functions inlined, without large tensors.
        shapes: shape and dtype of every value. weights: of every initializer. values: contents of the small ones.
    """

    path: Path
    proto: Any
    shapes: Mapping[str, TensorInfo]
    weights: Mapping[str, TensorInfo]
    values: Mapping[str, NDArray[Any]]


def load_proto(path: Path) -> Any:
    """Return a file's ``onnx.ModelProto``, functions inlined, not yet checked.

    Raises:
        RuntimeMissingError: the ``onnx`` package is not installed.
        FileError: missing, too large, no ONNX file, or a damaged one.
    """
    try:
        import onnx
        import onnx.inliner
    except ImportError as error:
        raise RuntimeMissingError(
            'reading ONNX files needs onnx. Install it with: pip install "flyweight[onnxruntime]"'
        ) from error
    data = files.read_bytes(path, MAX_BYTES)
    try:
        proto = onnx.load_from_string(data)
        return onnx.inliner.inline_local_functions(proto) if proto.functions else proto
    except Exception as error:  # protobuf's own, which share no base but Exception
        raise FileError(f"{path}: no ONNX file, or a damaged one ({error}). Export it again.") from error


def read_model(path: Path, resolution: int | None = None) -> Model:
    """Read ``path``; free input sizes become 1 (batch) and ``resolution`` (height and width).

    Raises:
        RuntimeMissingError: the ``onnx`` package is not installed.
        FileError: missing, too large, no ONNX file, damaged, or its data lies outside its folder.
        GraphError: an input's size is free and no resolution was given, or shapes can't be inferred.
    """
    proto = load_proto(path)
    from onnx import checker, shape_inference

    if not proto.graph.node or not proto.opset_import:
        raise FileError(f"{path}: no ONNX file, or one without a single operator. Export it again.")
    if len(proto.graph.node) > MAX_NODES:
        raise FileError(f"{path}: {len(proto.graph.node)} operators; at most {MAX_NODES} are read.")
    values, weights = _slimmed(proto, path)
    _fix_inputs(proto, path, resolution)
    try:
        checker.check_model(proto)
        proto = shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:  # onnx's own, and in damaged files whatever its C++ code comes upon
        reason = str(error).strip().split("\n")[0]
        raise GraphError(f"{path}: it does not pass ONNX's checks: {reason}. Export it again.") from error
    known = {info.name: info for info in _infos(proto)}
    return Model(path, proto, {**known, **weights}, weights, values)


def _slimmed(proto: Any, path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, TensorInfo]]:
    """Turn large initializers into inputs of the same shape; return the small ones' values, and what each one is."""
    from onnx import helper

    values: dict[str, NDArray[Any]] = {}
    weights: dict[str, TensorInfo] = {}
    kept = []
    given = {value.name for value in proto.graph.input}
    for tensor in proto.graph.initializer:
        weights[tensor.name] = TensorInfo(tensor.name, tuple(tensor.dims), _dtype(tensor.data_type), "parameter")
        outside = _external(tensor, path)
        if weights[tensor.name].elements <= SMALL and not (outside and weights[tensor.name].dtype != "int64"):
            values[tensor.name] = _value(tensor, path)
            kept.append(tensor)
            if outside:
                tensor.CopyFrom(_inline(tensor.name, values[tensor.name]))
        elif tensor.name not in given:
            made = helper.make_tensor_value_info(tensor.name, tensor.data_type, tuple(tensor.dims))
            proto.graph.input.append(made)
    small = [type(tensor).FromString(tensor.SerializeToString()) for tensor in kept]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(small)
    for node in proto.graph.node:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            value = _constant(node, path)
            values[node.output[0]] = value
            info = TensorInfo(node.output[0], value.shape, str(value.dtype), "constant")
            weights[node.output[0]] = info
    return values, weights


def _inline(name: str, value: NDArray[Any]) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(value, name)


def _value(tensor: Any, path: Path) -> NDArray[Any]:
    from onnx import numpy_helper

    try:
        return numpy_helper.to_array(tensor, base_dir=str(path.parent))
    except (ValueError, TypeError, OSError, KeyError) as error:
        raise FileError(f"{path}: tensor '{tensor.name}' is damaged ({error}). Export it again.") from error


def _constant(node: Any, path: Path) -> NDArray[Any]:
    kinds = {"value_float": np.float32, "value_int": np.int64, "value_floats": np.float32, "value_ints": np.int64}
    for attribute in node.attribute:
        if attribute.name == "value":
            _external(attribute.t, path)
            return _value(attribute.t, path)
        if attribute.name in kinds:
            field = {"value_float": "f", "value_int": "i", "value_floats": "floats", "value_ints": "ints"}
            return np.asarray(getattr(attribute, field[attribute.name]), kinds[attribute.name])
    raise FileError(f"{path}: constant '{node.name}' has no value that can be read. Export it again.")


def _external(tensor: Any, path: Path) -> bool:
    """Return whether a tensor's data lies in another file, which must be in the model's folder and large enough.

    Raises:
        FileError: it is not.
    """
    from onnx import TensorProto

    if tensor.data_location != TensorProto.EXTERNAL:
        return False
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    folder, target = path.parent.resolve(), (path.parent / location).resolve()
    if not location or Path(location).is_absolute() or not target.is_relative_to(folder) or target == folder:
        raise FileError(
            f"{path}: tensor '{tensor.name}' has its data in '{location}', outside the file's folder. That is not "
            "read; save the model with its data beside it."
        )
    try:
        size = target.stat().st_size
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", 0))
    except OSError as error:
        raise files.file_error(target, "read", error) from error
    except ValueError as error:
        raise FileError(f"{path}: tensor '{tensor.name}': offset or length is no number. Export it again.") from error
    if offset < 0 or length < 0 or offset + length > size:
        raise FileError(
            f"{target}: {size} bytes, but tensor '{tensor.name}' of {path.name} asks for {length} at {offset}. "
            "Export it again."
        )
    return True


def _fix_inputs(proto: Any, path: Path, resolution: int | None) -> None:
    """Give every input a size: the first dimension is the batch, of one."""
    initial = {tensor.name for tensor in proto.graph.initializer}
    changed = False
    for value in proto.graph.input:
        if value.name in initial or not value.type.HasField("tensor_type"):
            continue
        dims = value.type.tensor_type.shape.dim
        image = len(dims) == 4
        for index, dim in enumerate(dims):
            if image and index >= 2 and resolution:
                changed |= dim.dim_value != resolution
                dim.dim_value = resolution
            elif not dim.HasField("dim_value") or dim.dim_value <= 0:
                if index:
                    free = dim.dim_param or f"dimension {index}"
                    remedy = "Name it with --resolution." if image and index >= 2 else "Export it with a fixed size."
                    raise GraphError(f"{path}: the size '{free}' of input '{value.name}' is free. {remedy}")
                changed, dim.dim_value = True, 1
    if changed:  # what the file says of other values was for other sizes
        del proto.graph.value_info[:]
        for value in proto.graph.output:
            for dim in value.type.tensor_type.shape.dim:
                dim.Clear()


def _infos(proto: Any) -> Iterator[TensorInfo]:
    graph = proto.graph
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
            continue
        sizes = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
        if min(sizes, default=0) >= 0:
            yield TensorInfo(value.name, sizes, _dtype(tensor.elem_type))


def _dtype(kind: int) -> str:
    from onnx import TensorProto

    name = TensorProto.DataType.Name(kind).lower() if kind in TensorProto.DataType.values() else str(kind)
    return {"float": "float32", "double": "float64"}.get(name, name)
