"""LiteRT (TensorFlow Lite until 2024) on the CPU: float32, weights in half precision, and int8.

What ships is ``model.tflite`` and ``model.tflite.json`` (preprocessing, class names, spec, Flyweight's version). The
file is made in an environment of its own, by litert-torch and ai-edge-quantizer; it is run here where ai-edge-litert
is installed, else in that environment too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyweight import environments
from flyweight.contracts import Artifact, Candidate, Intermediate, LayerTimes, PlannedPeak, Precision, Predict
from flyweight.graph import Graph, Node
from flyweight.runtimes import _artifact
from flyweight.runtimes._remote import exported, remote

if TYPE_CHECKING:
    from flyweight.contracts import Array

FILE = "model.tflite"


class LiteRt:
    """LiteRT; XNNPACK's kernels sum in another order than PyTorch."""

    name = "litert"
    rtol = 1e-4
    precisions: tuple[Precision, ...] = ("fp32", "fp16", "int8")
    not_run = ""

    def missing(self) -> str | None:
        """Return None where it is usable, else what to install."""
        return environments.missing(self.name)

    def version(self) -> str:
        """Return the interpreter's version."""
        return environments.versions(self.name)["ai-edge-litert"]

    def unsupported(self, graph: Graph) -> tuple[Node, ...]:
        """Return nothing: what its converter can't express shows only as it converts."""
        return ()

    def export(self, candidate: Candidate, folder: Path) -> Artifact:
        """Write ``model.tflite`` and its description, checked against PyTorch.

        Raises:
            ExportError: torch can't export the network, or litert-torch can't convert it.
            ParityError: the artifact computes something else than PyTorch.
            FileError: the folder can't be written to.
            RuntimeMissingError: there is no environment, or it lacks a package.
        """
        _artifact.require(self.missing())
        settings = {"precision": candidate.precision}
        if candidate.quantization is None:
            return exported(self, candidate, folder, FILE, settings, lambda _: ())
        from flyweight.quantize import METHODS
        from flyweight.runtimes._litert_int8 import fitted_arrays

        keep_float, method = candidate.quantization.keep_float, candidate.quantization.method
        calibration = _artifact.calibration_of(candidate)
        if METHODS[method].sees_inputs:
            _artifact.require(_artifact.missing_packages("onnxruntime", ("onnx", "onnxscript", "onnxruntime")))
        layers = fitted_arrays(candidate, calibration, method)
        beside = {"(calibration)": calibration, **layers}

        def notes(answer: Mapping[str, Any]) -> Sequence[str]:
            kept = ["transposed convolutions stay float"]
            kept += [f"stays int8, though float was asked for: {path}" for path in keep_float]
            return [*kept, f"{answer['fitted']} of {len(layers) // 4} layers have fitted weights"] if layers else kept

        return exported(self, candidate, folder, FILE, {**settings, "method": method}, notes, beside)

    def load(self, artifact: Artifact, threads: int) -> Predict:
        """Return a function on ``(n, C, H, W)`` that runs one image after the other.

        Raises:
            FileError: a file is missing or damaged.
            RuntimeMissingError: neither ai-edge-litert nor an environment that has it.
        """
        _artifact.check_files(artifact)
        if not environments.runs_here(self.name):
            return remote(self.name, artifact, threads)
        from flyweight.runtimes._litert_net import Net

        net = Net(artifact.files[0], threads, tuple(artifact.input_shape), tuple(artifact.output_shape))
        return _artifact.one_by_one(artifact, net.run)

    def layer_times(self, artifact: Artifact, threads: int, n: int) -> LayerTimes | None:
        """Return None: LiteRT's Python package times no layers."""
        return None

    def planned_peak(self, artifact: Artifact) -> PlannedPeak | None:
        """Return None: LiteRT doesn't show its plan."""
        return None

    def intermediates(self, artifact: Artifact, image: Array) -> tuple[Intermediate, ...]:
        """Return nothing: XNNPACK's layers show none of their values."""
        return ()


MEMBERS = {"litert": LiteRt()}
