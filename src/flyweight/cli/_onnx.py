"""ONNX files as MODEL: counted from the file itself, without torch."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from flyweight.errors import UsageError

if TYPE_CHECKING:
    from flyweight.contracts import Artifact
    from flyweight.flow import ModelProfile

NOT_MEASURED = "not measured: times. A file is counted; time the network it came from, or measure it where it runs."


def is_file(model: str) -> bool:
    """Return whether ``model`` names an ONNX file."""
    return model.endswith(".onnx")


def artifact_of(model: str, resolution: int | None, classes: int | None, *, run: bool) -> tuple[Artifact, int]:
    """Return an ONNX file as an artifact for ONNX Runtime, and its counted MACs.

    Args:
        run: it is to be run as a whole, as Flyweight runs its own files: one input called ``input``, of four sizes.

    Raises:
        UsageError: a size or classes are asked for, which a file has settled, or it can't be run like that.
        RuntimeMissingError, FileError, GraphError: as ``read_onnx`` says.
    """
    from flyweight import files
    from flyweight.contracts import Artifact, Preprocessing
    from flyweight.onnx_graph import MAX_BYTES, read_onnx
    from flyweight.profile import profile
    from flyweight.runtimes import RUNTIMES

    if resolution is not None or classes is not None:
        raise UsageError(f"{model}: its sizes and classes are settled. Leave --resolution and --classes out.")
    path, runtime = Path(model), RUNTIMES.get("onnxruntime")
    graph = read_onnx(path)
    shapes = [graph.tensors[name].shape for name in graph.inputs]
    if run and (graph.inputs != ("input",) or len(shapes[0]) != 4 or shapes[0][0] != 1):
        taken = ", ".join(f"{name} {shape}" for name, shape in zip(graph.inputs, shapes, strict=True))
        raise UsageError(
            f"{model}: takes {taken}. To be measured as a whole it must take one image called input, (1, C, H, W), "
            "as exported here. Leave --measure out."
        )
    data = files.read_bytes(path, MAX_BYTES)
    height, width = shapes[0][-2:] if shapes and len(shapes[0]) == 4 else (1, 1)
    outputs = graph.tensors[graph.outputs[0]].shape if graph.outputs else ()
    made = Artifact(
        "onnxruntime", "" if runtime.missing() else runtime.version(), "fp32", (path,), len(data),
        hashlib.sha256(data).hexdigest(), shapes[0] if shapes else (), outputs, Preprocessing(height, width),
    )  # fmt: skip
    return made, profile(graph).macs


def profile_file(model: str, resolution: int | None, classes: int | None, *, strict: bool = False) -> ModelProfile:
    """Count an ONNX file layer by layer.

    Raises:
        UsageError: ``classes`` is given, which a file has settled.
        RuntimeMissingError, FileError, GraphError, UnknownOperatorError: as ``read_onnx`` and ``profile`` say.
    """
    from flyweight.flow import ModelProfile
    from flyweight.onnx_graph import read_onnx
    from flyweight.profile import profile
    from flyweight.rung import layer_rows

    if classes is not None:
        raise UsageError(f"{model}: its classes are settled. Leave --classes out, or name the model it came from.")
    graph = read_onnx(Path(model), resolution)
    found = profile(graph, strict=strict)
    rows, rest = layer_rows(found, None)
    return ModelProfile(
        name=model, input_shape=graph.tensors[graph.inputs[0]].shape if graph.inputs else (), rows=rows,
        macs=found.macs, params=found.params, peak_activation_bytes=found.peak_activation_bytes, graph=graph,
        profile=found, unattributed_us=rest,
    )  # fmt: skip
