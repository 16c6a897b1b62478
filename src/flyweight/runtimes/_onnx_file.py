"""The ONNX file of a candidate, which two runtimes start from: checked, named, and with what it tells of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from flyweight.contracts import Candidate
from flyweight.errors import ExportError
from flyweight.operators import OPERATORS
from flyweight.runtimes import _artifact

# torch 2.13's exporter takes every operator that Flyweight knows by name, but for these (tried one by one)
_NO_ONNX = frozenset({"erfinv", "fmax", "fmin", "hypot"})
SUPPORTED = (frozenset(OPERATORS.values()) | {"conv_transpose", "relu6"}) - _NO_ONNX


def onnx_file(candidate: Candidate, half: bool = False) -> tuple[bytes, dict[str, str], list[str]]:
    """Return the file's bytes, node name -> module path, and notes on what stayed float.

    ``half``: weights are stored in half precision, each behind a node that widens it.

    Raises:
        ExportError: the network can't be expressed in ONNX; names the layer.
    """
    import onnx

    from flyweight.runtimes._onnx_export import export_onnx
    from flyweight.runtimes._onnx_int8 import quantize

    quantization = candidate.quantization
    notes: list[str] = []
    module_of: Mapping[str, str]
    if quantization is not None and quantization.made is not None:
        made = quantization.made
        model, module_of, notes = onnx.load_from_string(made.model), made.module_of, list(made.notes)
    else:
        model, module_of = export_onnx(candidate)
    if quantization is not None and quantization.made is None:
        calibration = _artifact.calibration_of(candidate)
        model, module_of, notes = quantize(model, calibration, quantization.method, module_of, quantization.keep_float)
    if half:
        store_halved(model)
    for key, text in _artifact.metadata(candidate).items():
        model.metadata_props.add(key=key, value=text)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported ONNX file does not pass ONNX's checker: {error}") from error
    names = {node.name for node in model.graph.node}
    return model.SerializeToString(deterministic=True), {k: v for k, v in module_of.items() if k in names}, notes


def store_halved(model: Any) -> None:
    """Store every float32 weight tensor in half precision, behind a Cast that a runtime folds away as it loads.

    Raises:
        ExportError: a weight is beyond half precision's 65504.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(tensor)
        if np.abs(value).max(initial=0) > np.finfo(np.float16).max:
            raise ExportError(f"fp16: '{tensor.name}' holds {np.abs(value).max():.3g}; half precision ends at 65504.")
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), f"{name}/half"))
        casts.append(helper.make_node("Cast", [f"{name}/half"], [name], name=f"{name}/widen", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
