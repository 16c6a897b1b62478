"""ExecuTorch on the CPU, with XNNPACK: float32.

What ships is ``model.pte`` and ``model.pte.json`` (preprocessing, class names, spec, Flyweight's version). Both making
and running it are done in an environment of its own, since its package pins what the others can't live with.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flyweight import environments
from flyweight.contracts import Artifact, Candidate, Intermediate, LayerTimes, PlannedPeak, Precision, Predict
from flyweight.graph import Graph, Node
from flyweight.runtimes import _artifact
from flyweight.runtimes._remote import exported, remote

if TYPE_CHECKING:
    from flyweight.contracts import Array

FILE = "model.pte"


class ExecuTorch:
    """ExecuTorch; XNNPACK's kernels sum in another order than PyTorch."""

    name = "executorch"
    rtol = 1e-4
    precisions: tuple[Precision, ...] = ("fp32",)
    not_run = ""

    def missing(self) -> str | None:
        """Return None where it is usable, else what to install."""
        return environments.missing(self.name)

    def version(self) -> str:
        """Return ExecuTorch's version."""
        return environments.versions(self.name)[self.name]

    def unsupported(self, graph: Graph) -> tuple[Node, ...]:
        """Return nothing: what its converter can't express shows only as it converts."""
        return ()

    def export(self, candidate: Candidate, folder: Path) -> Artifact:
        """Write ``model.pte`` and its description, checked against PyTorch.

        Raises:
            ExportError: torch can't export the network, ExecuTorch can't convert it, or not float32 is asked for.
            ParityError: the artifact computes something else than PyTorch.
            FileError: the folder can't be written to.
            RuntimeMissingError: there is no environment, or it lacks a package.
        """
        _artifact.require(self.missing())
        _artifact.check_precision(self.name, self.precisions, candidate)
        return exported(self, candidate, folder, FILE, {}, lambda told: _notes(int(told["parts"]), told["outside"]))

    def load(self, artifact: Artifact, threads: int) -> Predict:
        """Return a function on ``(n, C, H, W)`` that runs one image after the other.

        Raises:
            FileError: a file is missing or damaged.
            RuntimeMissingError: there is no environment that has it.
        """
        _artifact.check_files(artifact)
        if not environments.runs_here(self.name):
            return remote(self.name, artifact, threads)
        from flyweight.runtimes._executorch_net import Net

        net = Net(artifact.files[0], threads, tuple(artifact.input_shape), tuple(artifact.output_shape))
        return _artifact.one_by_one(artifact, net.run)

    def layer_times(self, artifact: Artifact, threads: int, n: int) -> LayerTimes | None:
        """Return None: its wheel is built without event tracing, which times layers."""
        return None

    def planned_peak(self, artifact: Artifact) -> PlannedPeak | None:
        """Return None: what XNNPACK takes at run time isn't in ExecuTorch's plan."""
        return None

    def intermediates(self, artifact: Artifact, image: Array) -> tuple[Intermediate, ...]:
        """Return nothing: what XNNPACK's parts compute on the way isn't shown."""
        return ()


def _notes(parts: int, outside: Mapping[str, int]) -> tuple[str, ...]:
    """Return what is to be told of operators that XNNPACK doesn't take: each cuts the network once more."""
    left = ", ".join(f"{count}× {name}" for name, count in sorted(outside.items()))
    return (f"XNNPACK runs it in {parts} parts; outside: {left}",) if left else ()


MEMBERS = {"executorch": ExecuTorch()}
