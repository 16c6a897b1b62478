"""MNN on the CPU: float32, and weights in half precision.

What ships is ``model.mnn``, made from the ONNX file by MNN's own converter, and ``model.mnn.json`` (preprocessing,
class names, spec, Flyweight's version), since MNN's format has no room for it. There is no int8: MNN's own quantizer
ends its process (3.6.1), and its converter misreads the weights of quantized ONNX files.
"""

from __future__ import annotations

import json
import statistics
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyweight.contracts import (
    Artifact,
    Candidate,
    Intermediate,
    LayerTime,
    LayerTimes,
    PlannedPeak,
    Precision,
    Predict,
)
from flyweight.graph import Graph, Node
from flyweight.runtimes import _artifact
from flyweight.runtimes._mnn_net import Net, to_mnn
from flyweight.runtimes._onnx_file import SUPPORTED, onnx_file
from flyweight.runtimes._torch import check_parity, probes, torch_outputs

if TYPE_CHECKING:
    from flyweight.contracts import Array

FILE, JSON = "model.mnn", "model.mnn.json"
WARM_UP = 3


class Mnn:
    """MNN; its kernels sum in another order than PyTorch, Winograd's among them."""

    name = "mnn"
    rtol = 1e-4
    precisions: tuple[Precision, ...] = ("fp32", "fp16")
    not_run = ""

    def missing(self) -> str | None:
        """Return None where it is usable, else what to install."""
        return _artifact.missing_packages(self.name, ("MNN", "onnx", "onnxscript", "onnxruntime"))

    def version(self) -> str:
        """Return MNN's version."""
        return version("mnn")

    def unsupported(self, graph: Graph) -> tuple[Node, ...]:
        """Return the nodes of which it is not known that torch's exporter has an ONNX form for them."""
        return _artifact.outside(graph, SUPPORTED)

    def export(self, candidate: Candidate, folder: Path) -> Artifact:
        """Write ``model.mnn`` and its description, checked against PyTorch.

        Raises:
            ExportError: the network can't be expressed in ONNX, MNN can't read that, or int8 is asked for.
            ParityError: the artifact computes something else than PyTorch.
            FileError: the folder can't be written to.
            RuntimeMissingError: a package is not installed.
        """
        _artifact.require(self.missing())
        _artifact.check_precision(self.name, self.precisions, candidate)
        inputs = probes(candidate)
        outputs = torch_outputs(candidate, inputs)
        onnx, module_of, notes = onnx_file(candidate, half=False)
        told = {**_artifact.metadata(candidate), "input": "input", "output": "output"}
        contents = {
            FILE: to_mnn(onnx, candidate.half),
            JSON: (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode(),
        }
        shape = (1, *outputs.shape[1:])
        modules = _modules(onnx, module_of)
        with _artifact.scratch() as draft:  # only what passed the check is published
            drafted = _artifact.publish(draft, contents, candidate, self.name, shape, modules, notes)
            check_parity(candidate, drafted, self, inputs)
        return _artifact.publish(folder, contents, candidate, self.name, shape, modules, notes)

    def load(self, artifact: Artifact, threads: int) -> Predict:
        """Return a function on ``(n, C, H, W)`` that runs one image after the other.

        Raises:
            FileError: a file is missing or damaged.
        """
        return _artifact.one_by_one(artifact, _net(artifact, threads).run)

    def layer_times(self, artifact: Artifact, threads: int, n: int) -> LayerTimes | None:
        """Return the median time of every operator over ``n`` watched runs, which take turns with plain ones."""
        import numpy as np

        net = _net(artifact, threads)
        image = np.random.default_rng(0).standard_normal(artifact.input_shape).astype(np.float32)
        for _ in range(WARM_UP):
            net.run(image)
        clock = _Clock()
        wall, cpu = [], []
        for _ in range(n):
            net.watched(image, clock.begin, clock.end)
            cpu_start, start = time.process_time_ns(), time.perf_counter_ns()
            net.run(image)
            wall.append((time.perf_counter_ns() - start) / 1e3)
            cpu.append((time.process_time_ns() - cpu_start) / 1e3)
        rows = tuple(
            LayerTime(name, op, _module(name, artifact), statistics.median(times))
            for (name, op), times in clock.us.items()
        )
        wall_us, cpu_us = statistics.median(wall), statistics.median(cpu)
        busy = wall_us / max(cpu_us, 1.0) if threads == 1 else 1.0
        return LayerTimes(artifact.runtime, artifact.runtime_version, threads, n, rows, wall_us, cpu_us, busy)

    def planned_peak(self, artifact: Artifact) -> PlannedPeak | None:
        """Return None: MNN doesn't show its plan."""
        return None

    def intermediates(self, artifact: Artifact, image: Array) -> tuple[Intermediate, ...]:
        """Return what every operator computes for one image, each as if it read only the one before it.

        MNN doesn't tell which operator reads which value.
        """
        net = _net(artifact, 1)
        found: list[Intermediate] = []

        def begin(_: Any, __: Any) -> bool:
            return True

        def end(tensors: Any, op: Any) -> bool:
            name, before = op.getName(), tuple(each.name for each in found[-1:])
            found.append(Intermediate(name, op.getType(), before, net.read(tensors[0]), _module(name, artifact)))
            return True

        net.watched(image, begin, end)
        return tuple(found)


class _Clock:
    """The times of operators over many runs, by name and kind."""

    def __init__(self) -> None:
        self.us: dict[tuple[str, str], list[float]] = {}
        self.start = 0

    def begin(self, _: Any, __: Any) -> bool:
        """Note when an operator begins."""
        self.start = time.perf_counter_ns()
        return True

    def end(self, _: Any, op: Any) -> bool:
        """Note how long it took."""
        us = (time.perf_counter_ns() - self.start) / 1e3
        self.us.setdefault((op.getName(), op.getType()), []).append(us)
        return True


def _net(artifact: Artifact, threads: int) -> Net:
    _artifact.check_files(artifact)
    return Net(artifact.files[0], threads, tuple(artifact.input_shape), tuple(artifact.output_shape))


def _modules(onnx: bytes, module_of: Any) -> dict[str, str]:
    """Return value -> module path: MNN names its operators after the values that they make in the ONNX file."""
    from onnx import load_from_string

    nodes = load_from_string(onnx).graph.node
    return {name: module_of[node.name] for node in nodes if node.name in module_of for name in node.output if name}


def _module(name: str, artifact: Artifact) -> str | None:
    """Return an operator's module; a change of layout (``VALUE_raster_0``, ``VALUE__before_tr…``) has its value's."""
    known = artifact.module_of
    base = name
    while base not in known and "_" in base:
        base = base.rpartition("_")[0]
    return known.get(base)


MEMBERS = {"mnn": Mnn()}
