"""Core ML: float32, and half precision. Made and checked on any system, run on Apple's only.

What ships is ``model.mlpackage``, a folder, and ``model.mlpackage.json`` beside it (preprocessing, class names, spec,
Flyweight's version). The package is read back and compared with what was converted: input, output, operators, bytes of
weights. What it computes can't be compared anywhere but on Apple's systems; the artifact's notes say so.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from flyweight import files
from flyweight.contracts import Artifact, Candidate, Intermediate, LayerTimes, PlannedPeak, Precision, Predict
from flyweight.errors import RuntimeMissingError
from flyweight.graph import Graph, Node
from flyweight.runtimes import _artifact
from flyweight.runtimes._coreml_package import PACKAGE, package, put
from flyweight.runtimes._torch import probes, torch_outputs

if TYPE_CHECKING:
    from flyweight.contracts import Array

JSON = f"{PACKAGE}.json"
NOT_RUN = "converted and read back, not run: Core ML runs on Apple's systems only, so what it computes was not compared"


class CoreMl:
    """Core ML, as a program (``.mlpackage``) for iOS 16 and macOS 13 or later.

    ``rtol`` is for whoever runs it on Apple's systems; nothing is compared here.
    """

    name = "coreml"
    rtol = 1e-4
    precisions: tuple[Precision, ...] = ("fp32", "fp16")
    not_run = (
        "Core ML runs on Apple's systems only: its files are made and checked here, but can't be run. "
        "Open them in Xcode, whose performance report times them on a phone."
    )

    def missing(self) -> str | None:
        """Return None where networks can be converted, else what to install."""
        return _artifact.missing_packages(self.name, ("coremltools",))

    def version(self) -> str:
        """Return the version of coremltools."""
        return version("coremltools")

    def unsupported(self, graph: Graph) -> tuple[Node, ...]:
        """Return nothing: what its converter can't express shows only as it converts."""
        return ()

    def export(self, candidate: Candidate, folder: Path) -> Artifact:
        """Write ``model.mlpackage`` and its description, read back and compared with what was converted.

        Raises:
            ExportError: the network can't be expressed in Core ML, int8 is asked for, or the package isn't what was
                converted.
            FileError: the folder can't be written to.
            RuntimeMissingError: coremltools is not installed.
        """
        _artifact.require(self.missing())
        _artifact.check_precision(self.name, self.precisions, candidate)
        shape = (1, *torch_outputs(candidate, probes(candidate)).shape[1:])
        told = {**_artifact.metadata(candidate), "input": "input", "output": "output"}
        contents = package(candidate, shape)
        text = (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode()
        notes = (NOT_RUN, *(["arithmetic is in half precision too"] if candidate.half else []))
        put(folder / PACKAGE, contents)
        files.write_bytes(folder / JSON, text)
        whole = {JSON: text, **{f"{PACKAGE}/{name}": data for name, data in contents.items()}}
        return _artifact.described(folder, whole, candidate, self.name, shape, {}, notes, self.version())

    def load(self, artifact: Artifact, threads: int) -> Predict:
        """Refuse: Flyweight runs no Core ML, on no system.

        Raises:
            RuntimeMissingError: always.
        """
        raise RuntimeMissingError(self.not_run)

    def layer_times(self, artifact: Artifact, threads: int, n: int) -> LayerTimes | None:
        """Return None: it can't be run here."""
        return None

    def planned_peak(self, artifact: Artifact) -> PlannedPeak | None:
        """Return None: it can't be run here."""
        return None

    def intermediates(self, artifact: Artifact, image: Array) -> tuple[Intermediate, ...]:
        """Return nothing: it can't be run here."""
        return ()


MEMBERS = {"coreml": CoreMl()}
