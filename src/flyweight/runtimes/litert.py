"""LiteRT (TensorFlow Lite until 2024) on the CPU: float32, weights in half precision, and int8.

What ships is ``model.tflite`` and ``model.tflite.json`` (preprocessing, class names, spec, Flyweight's version). The
file is made in an environment of its own, by litert-torch and ai-edge-quantizer; it is run here where ai-edge-litert
is installed, else in that environment too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flyweight import environments
from flyweight.contracts import Artifact, Candidate, Intermediate, LayerTimes, PlannedPeak, Precision, Predict
from flyweight.graph import Graph, Node
from flyweight.runtimes import _artifact
from flyweight.runtimes._elsewhere import start
from flyweight.runtimes._remote import remote
from flyweight.runtimes._torch import check_parity, probes, torch_outputs

if TYPE_CHECKING:
    from flyweight.contracts import Array

FILE, JSON = "model.tflite", "model.tflite.json"


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
        from flyweight.runtimes._program import to_plain

        _artifact.require(self.missing())
        inputs = probes(candidate)
        shape = (1, *torch_outputs(candidate, inputs).shape[1:])
        plain, tensors = to_plain(candidate, self.name)
        if candidate.quantization is not None:
            tensors = {**tensors, "(calibration)": _artifact.calibration_of(candidate)}
        with start(self.name) as worker:
            _, made = worker.ask("export", {"plain": plain, "precision": candidate.precision}, tensors)
        told = {**_artifact.metadata(candidate), "input": "(1, C, H, W)", "output": list(shape)}
        contents = {
            FILE: np.asarray(made[FILE], np.uint8).tobytes(),
            JSON: (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode(),
        }
        notes = () if candidate.quantization is None else ("transposed convolutions stay float",)
        version = self.version()
        with _artifact.scratch() as draft:  # only what passed the check is published
            drafted = _artifact.publish(draft, contents, candidate, self.name, shape, {}, notes, version)
            check_parity(candidate, drafted, self, inputs)
        return _artifact.publish(folder, contents, candidate, self.name, shape, {}, notes, version)

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
