"""Reading, naming and compiling OpenVINO's models; and its import, without its reports home."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyweight.errors import ExportError, FileError

if TYPE_CHECKING:
    from flyweight.contracts import Array

TELEMETRY = "openvino_telemetry"


def openvino() -> Any:
    """Return the package ``openvino``.

    Its import tells Intel of itself through the package ``openvino-telemetry``, unless that can't be imported: it is
    hidden meanwhile. Where somebody imported OpenVINO before, nothing is changed.
    """
    if "openvino" in sys.modules or TELEMETRY in sys.modules:
        import openvino

        return openvino
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # Python's own way to say: not to be imported
    try:
        import openvino
    finally:
        del sys.modules[TELEMETRY]
    return openvino


def to_ir(
    onnx: bytes, module_of: Mapping[str, str], folder: Path, half: bool = False
) -> tuple[bytes, bytes, dict[str, str]]:
    """Return an ONNX file as OpenVINO's own format: the text of the layers (XML), the weights, and each layer's module.

    A node of the file becomes several layers (a convolution and the addition of its bias), of which the last keeps its
    name. The others are named after it and by their place, so that they are known, and so that the same network gives
    the same bytes: OpenVINO counts them through the life of the process. ``half``: weights in half precision.

    Raises:
        ExportError: OpenVINO doesn't know an operator, or a setting of it.
    """
    ov = openvino()
    try:
        model = ov.Core().read_model(onnx)
    except RuntimeError as error:
        raise ExportError(f"openvino can't read this network: {_last_line(error)}. Choose another runtime.") from error
    modules: dict[str, str] = {}
    layers = model.get_ordered_ops()
    owners = _owners(layers, onnx)
    for index, (layer, owner) in enumerate(zip(layers, owners, strict=True)):
        if layer.get_friendly_name() != owner:
            layer.set_friendly_name(f"{owner or 'made'}.{layer.get_type_name()}.{index}")
        if owner in module_of and layer.get_type_name() != "Constant":
            modules[layer.get_friendly_name()] = module_of[owner]
    ov.save_model(model, folder / "model.xml", compress_to_fp16=half)
    return (folder / "model.xml").read_bytes(), (folder / "model.bin").read_bytes(), modules


def _owners(layers: Sequence[Any], onnx: bytes) -> list[str]:
    """Return the ONNX file's node or input that each layer comes from: the one of its value, else of its reader."""
    from onnx import load_from_string

    graph = load_from_string(onnx).graph
    makers = {value: node.name for node in graph.node for value in node.output}
    makers |= {item.name: item.name for item in (*graph.input, *graph.output) if item.name not in makers}
    own = {node.name for node in graph.node}
    found: dict[str, str] = {}
    for layer in reversed(layers):
        name = layer.get_friendly_name()
        values = [value for out in layer.outputs() for value in out.get_names() if value in makers]
        readers = [port.get_node().get_friendly_name() for out in layer.outputs() for port in out.get_target_inputs()]
        inherited = next((found[reader] for reader in readers if found.get(reader)), "")
        found[name] = name if name in own else makers[min(values)] if values else inherited
    return [found[layer.get_friendly_name()] for layer in layers]


def compiled(xml: Path, threads: int, precision: str, **settings: Any) -> Any:
    """Return a model, compiled for the CPU: one stream, ``threads`` threads, arithmetic in ``precision``.

    Raises:
        FileError: OpenVINO can't read the files.
    """
    core = openvino().Core()
    try:
        model = core.read_model(xml)
    except RuntimeError as error:
        raise FileError(f"{xml}: OpenVINO can't load it ({_last_line(error)}). Export it again.") from error
    hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    return core.compile_model(model, "CPU", {**hints, "ENABLE_CPU_PINNING": False, **settings})


def filled_request(network: Any, image: Array) -> Any:
    """Return a request whose every ``infer()`` runs what ``image`` holds; to hand it over each time takes 50 µs."""
    request = network.create_infer_request()
    request.set_input_tensor(openvino().Tensor(image, shared_memory=True))
    return request


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
