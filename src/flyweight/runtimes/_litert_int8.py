"""Int8 for LiteRT: ai-edge-quantizer writes the file, with the ranges and weights that ``flyweight.quantize`` found.

Ranges are those of its observers over the same images, on the float file's tensors. Fitted weights are found on the
network's ONNX file, whose int8 has the same arithmetic (uint8 there is int8 less 128 here), and written over the
rounded ones in layers whose float weights are the same; notes of the export say how many these are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight.quantize import METHODS, OBSERVERS, fitted, observed, same
from flyweight.runtimes._frames import Arrays

if TYPE_CHECKING:
    from flyweight.contracts import Array, Candidate

SIGNATURE, INPUT = "serving_default", "args_0"
CONV, DEPTHWISE, LINEAR = 3, 4, 9  # BuiltinOperator of the file's schema
AXIS = {CONV: 0, DEPTHWISE: 3, LINEAR: 0}  # that of a weight's output channels
FITTED = "(fitted)"


def fitted_arrays(candidate: Candidate, calibration: Array, method: str) -> dict[str, Array]:
    """Return what a method that fits weights makes of the network's layers, by ``(fitted)/PLACE/PART``; else nothing.

    Raises:
        ExportError: the network can't be expressed in ONNX, or an activation isn't finite.
    """
    if not METHODS[method].sees_inputs:
        return {}
    from flyweight.runtimes._onnx_export import export_onnx

    found: dict[str, Array] = {}
    for place, (floats, made) in enumerate(fitted(export_onnx(candidate)[0], calibration, METHODS[method])):
        parts = {"float": floats.weight, "integers": made.integers, "steps": made.steps, "bias": made.bias}
        found |= {f"{FITTED}/{place}/{name}": np.asarray(part, np.float32) for name, part in parts.items()}
    return found


def quantized(made: bytes, calibration: Array, method: str, arrays: Arrays) -> tuple[bytes, int]:
    """Return the file in int8, input, output and transposed convolutions in float, and how many layers were fitted."""
    from ai_edge_quantizer import quantizer, recipe
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName

    work = quantizer.Quantizer(bytearray(made))
    work.load_quantization_recipe(recipe.static_wi8_ai8())
    # input and output stay float for the caller; its int8 TRANSPOSE_CONV can't be run by the interpreter
    for kept in (TFLOperationName.INPUT, TFLOperationName.OUTPUT, TFLOperationName.CONV_2D_TRANSPOSE):
        work.update_quantization_recipe(".*", kept, None, AlgorithmName.NO_QUANTIZE)
    told = work.calibrate({SIGNATURE: [{INPUT: calibration[:1]}]}, num_threads=1)
    whole = bytes(work.quantize(with_ranges(told, made, calibration, METHODS[method].observer)).quantized_model)
    return _written_over(made, whole, _layers(arrays)) if arrays else (whole, 0)


def with_ranges(
    told: Mapping[str, Mapping[str, Any]], made: bytes, calibration: Array, observer: str
) -> dict[str, dict[str, Any]]:
    """Return the quantizer's own calibration of one image with the ranges of an observer over all images."""
    names = [name for name in told if "min" in told[name]]
    seen = observed(lambda: _values(made, names, calibration), names)
    found = {name: dict(one) for name, one in told.items()}
    for name in names:
        low, high = OBSERVERS[observer](seen[name])
        shape = np.shape(told[name]["min"])
        found[name] |= {"min": np.full(shape, low, np.float32), "max": np.full(shape, high, np.float32)}
    return found


def _values(made: bytes, names: list[str], images: Array) -> Iterator[dict[str, Array]]:
    """Yield a file's tensors image by image; constants among them are themselves every time."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # a delegate's tensors can't be seen
    net = Interpreter(
        model_content=made, num_threads=1, experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=plain,
    )  # fmt: skip
    net.allocate_tensors()
    places = {each["name"]: each["index"] for each in net.get_tensor_details()}
    given = net.get_input_details()[0]["index"]
    for image in images:
        net.set_tensor(given, np.ascontiguousarray(image[None], np.float32))
        net.invoke()
        yield {name: net.get_tensor(places[name]) for name in names}


def _layers(arrays: Arrays) -> list[dict[str, Array]]:
    """Return what was fitted, layer by layer."""
    count = sum(name.endswith("/float") for name in arrays)
    parts = ("float", "integers", "steps", "bias")
    return [{part: arrays[f"{FITTED}/{place}/{part}"] for part in parts} for place in range(count)]


def _written_over(floats: bytes, whole: bytes, layers: list[dict[str, Array]]) -> tuple[bytes, int]:
    """Return an int8 file with the fitted integers of the layers whose float weights are the same, and their number."""
    from ai_edge_litert.tools import flatbuffer_utils
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    source, model = (tfl_flatbuffer_utils.read_model(bytearray(each)) for each in (floats, whole))
    pairs = zip(_weighted(source), _weighted(model), strict=True)
    rest = list(layers)
    done = 0
    for (code, before), (_, after) in pairs:
        wanted = _channels_first(_data(source, before.inputs[1], np.float32), code)
        match = next((one for one in rest if same(one["float"], wanted)), None)
        if match is None or model.subgraphs[0].tensors[after.inputs[1]].quantization is None:
            continue
        done += _write_one(model, after, code, match)
        rest = [one for one in rest if one is not match]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model)), done


def _weighted(model: Any) -> list[tuple[int, Any]]:
    """Return the convolutions and linear layers of a file with their kinds, in its order."""
    codes = [code.builtinCode for code in model.operatorCodes]
    return [(codes[op.opcodeIndex], op) for op in model.subgraphs[0].operators if codes[op.opcodeIndex] in AXIS]


def _data(model: Any, place: int, kind: type) -> Array:
    tensor = model.subgraphs[0].tensors[place]
    data = model.buffers[tensor.buffer].data
    return np.frombuffer(bytes(data) if data is not None else b"", kind).reshape([-1, *tensor.shape[1:]])


def _channels_first(weight: Array, code: int) -> Array:
    """Return a weight ``(o, h, w, i)``, a depthwise one ``(1, h, w, o)``, or a linear one as ``(o, i, h, w)``."""
    if code == LINEAR:
        return weight
    return weight.transpose((3, 0, 1, 2) if code == DEPTHWISE else (0, 3, 1, 2))


def _as_filed(weight: Array, code: int) -> Array:
    if code == LINEAR:
        return weight
    return weight.transpose((1, 2, 3, 0) if code == DEPTHWISE else (0, 2, 3, 1))


def _write_one(model: Any, op: Any, code: int, layer: Mapping[str, Array]) -> int:
    """Write a layer's integers, steps and bias; return 1, or 0 where it isn't int8 or has no bias to correct."""
    tensors = model.subgraphs[0].tensors
    if len(op.inputs) < 3 or op.inputs[2] < 0:
        return 0
    given, weight, bias = (tensors[place] for place in op.inputs[:3])
    scales = weight.quantization.scale
    if scales is None or len(scales) != len(layer["steps"]) or given.quantization.scale is None:
        return 0
    shape = (*layer["float"].shape[:2], *(weight.shape[1:3] if code != LINEAR else ()))
    integers = _as_filed(layer["integers"].reshape(shape), code).astype(np.int8)
    steps = layer["steps"].astype(np.float32)
    products = steps.astype(np.float64) * float(given.quantization.scale[0])
    limit = 2**31 - 1
    whole = np.clip(np.rint(layer["bias"] / products), -limit, limit).astype(np.int32)
    model.buffers[weight.buffer].data = np.frombuffer(integers.tobytes(), np.uint8)
    weight.quantization.scale = steps
    model.buffers[bias.buffer].data = np.frombuffer(whole.tobytes(), np.uint8)
    bias.quantization.scale = products.astype(np.float32)
    return 1
