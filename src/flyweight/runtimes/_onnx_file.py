"""The ONNX file of a candidate, which two runtimes start from: checked, named, and with what it tells of itself."""

from __future__ import annotations

from flyweight.contracts import Candidate
from flyweight.errors import ExportError
from flyweight.operators import OPERATORS
from flyweight.runtimes import _artifact

# torch 2.13's exporter takes every operator that Flyweight knows by name, but for these (tried one by one)
_NO_ONNX = frozenset({"erfinv", "fmax", "fmin", "hypot"})
SUPPORTED = (frozenset(OPERATORS.values()) | {"conv_transpose", "relu6"}) - _NO_ONNX


def onnx_file(candidate: Candidate) -> tuple[bytes, dict[str, str], list[str]]:
    """Return the file's bytes, node name -> module path, and notes on what stayed float.

    Raises:
        ExportError: the network can't be expressed in ONNX; names the layer.
    """
    import onnx

    from flyweight.runtimes._onnx_export import export_onnx
    from flyweight.runtimes._onnx_int8 import quantize

    model, module_of = export_onnx(candidate)
    notes: list[str] = []
    if candidate.quantization is not None:
        calibration = _artifact.calibration_of(candidate)
        model, module_of, notes = quantize(model, calibration, candidate.quantization.method, module_of)
    for key, text in _artifact.metadata(candidate).items():
        model.metadata_props.add(key=key, value=text)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported ONNX file does not pass ONNX's checker: {error}") from error
    names = {node.name for node in model.graph.node}
    return model.SerializeToString(deterministic=True), {k: v for k, v in module_of.items() if k in names}, notes
