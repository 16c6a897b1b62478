"""OpenVINO on the CPU: float32 and int8.

What ships is OpenVINO's own format, ``model.xml`` (layers) and ``model.bin`` (weights), made from the ONNX file; int8
is that file's quantize and dequantize nodes, which OpenVINO runs as integers. What the file tells of itself
(preprocessing, class names, spec, Flyweight's version) stands in its ``rt_info`` under ``framework``.
"""

from __future__ import annotations

import math
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flyweight.contracts import Artifact, Candidate, Intermediate, LayerTimes, PlannedPeak, Precision, Predict
from flyweight.errors import FileError
from flyweight.graph import Graph, Node
from flyweight.runtimes import _artifact
from flyweight.runtimes._onnx_file import SUPPORTED, onnx_file
from flyweight.runtimes._openvino_net import compiled, filled_request, to_ir
from flyweight.runtimes._torch import check_parity, probes, torch_outputs

if TYPE_CHECKING:
    from flyweight.contracts import Array

XML, BIN = "model.xml", "model.bin"


class OpenVino:
    """OpenVINO; its kernels sum in another order than PyTorch.

    Args:
        precision: of the arithmetic in float layers. ``f32`` unless asked: left alone, OpenVINO chooses bfloat16 where
            the processor has it (13 % relative error on MobileNetV1).
    """

    name = "openvino"
    rtol = 1e-4
    precisions: tuple[Precision, ...] = ("fp32", "fp16", "int8")
    not_run = ""

    def __init__(self, precision: str = "f32") -> None:
        self.precision = precision

    def missing(self) -> str | None:
        """Return None where it is usable, else what to install."""
        return _artifact.missing_packages(self.name, ("openvino", "onnx", "onnxscript", "onnxruntime"))

    def version(self) -> str:
        """Return OpenVINO's version."""
        return version("openvino")

    def unsupported(self, graph: Graph) -> tuple[Node, ...]:
        """Return the nodes of which it is not known that torch's exporter has an ONNX form for them."""
        return _artifact.outside(graph, SUPPORTED)

    def export(self, candidate: Candidate, folder: Path) -> Artifact:
        """Write ``model.xml`` and ``model.bin``, checked against PyTorch.

        Raises:
            ExportError: the network can't be expressed in ONNX, or OpenVINO can't read that.
            ParityError: the artifact computes something else than PyTorch.
            FileError: the folder can't be written to.
            RuntimeMissingError: a package is not installed.
        """
        _artifact.require(self.missing())
        inputs = probes(candidate)
        outputs = torch_outputs(candidate, inputs)
        onnx, module_of, notes = onnx_file(candidate)
        shape = (1, *outputs.shape[1:])
        with _artifact.scratch() as work:
            xml, weights, module_of = to_ir(onnx, module_of, work, candidate.half)
        contents = {XML: xml, BIN: weights}
        with _artifact.scratch() as draft:  # only what passed the check is published
            drafted = _artifact.publish(draft, contents, candidate, self.name, shape, module_of, notes)
            check_parity(candidate, drafted, self, inputs)
        return _artifact.publish(folder, contents, candidate, self.name, shape, module_of, notes)

    def load(self, artifact: Artifact, threads: int) -> Predict:
        """Return a function on ``(n, C, H, W)`` that runs one image after the other.

        Raises:
            FileError: a file is missing or damaged.
        """
        _artifact.check_files(artifact)
        given = np.zeros(artifact.input_shape, np.float32)
        request = filled_request(compiled(artifact.files[0], threads, self.precision), given)
        shape = tuple(artifact.output_shape)

        def run(image: Array) -> Array:
            given[...] = image
            request.infer()
            out: Array = request.get_output_tensor().data
            if out.size != math.prod(shape):
                raise FileError(f"{artifact.files[0]}: gives {out.shape}, but {shape} was exported. Export it again.")
            return out.reshape(shape).copy()  # the request writes its next output into the same memory

        return _artifact.one_by_one(artifact, run)

    def layer_times(self, artifact: Artifact, threads: int, n: int) -> LayerTimes | None:
        """Return the time of every kernel over ``n`` profiled runs, with the module that it belongs to."""
        from flyweight.runtimes._openvino_times import layer_times

        _artifact.check_files(artifact)
        return layer_times(artifact, threads, n, self.precision)

    def planned_peak(self, artifact: Artifact) -> PlannedPeak | None:
        """Return None: OpenVINO doesn't show its plan."""
        return None

    def intermediates(self, artifact: Artifact, image: Array) -> tuple[Intermediate, ...]:
        """Return nothing: its file is made from the ONNX file, whose nodes ``onnxruntime`` shows."""
        return ()


MEMBERS = {"openvino": OpenVino()}
