"""ONNX files as MODEL: counted from the file itself, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flyweight.errors import UsageError

if TYPE_CHECKING:
    from flyweight.flow import ModelProfile

NOT_MEASURED = "not measured: times. A file is counted; time the network it came from, or measure it where it runs."


def is_file(model: str) -> bool:
    """Return whether ``model`` names an ONNX file."""
    return model.endswith(".onnx")


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
