"""ONNX Runtime on the CPU: float and int8.

The file has fixed shapes and batch 1, one input ``input`` and one output ``output``, folded norms, and carries the
preprocessing, the class names, the spec and Flyweight's version in its metadata.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight.contracts import Artifact, Candidate, Intermediate, LayerTimes, PlannedPeak, Precision, Predict
from flyweight.errors import FileError
from flyweight.graph import Graph, Node
from flyweight.runtimes import _artifact
from flyweight.runtimes._onnx_file import SUPPORTED, onnx_file
from flyweight.runtimes._torch import check_parity, probes, torch_outputs

if TYPE_CHECKING:
    from flyweight.contracts import Array

FILE = "model.onnx"


class OnnxRuntime:
    """ONNX Runtime; its fused kernels sum in another order than PyTorch (2e-6 on the ladder's networks)."""

    name = "onnxruntime"
    rtol = 1e-4
    precisions: tuple[Precision, ...] = ("fp32", "fp16", "int8")
    not_run = ""

    def missing(self) -> str | None:
        """Return None where it is usable, else what to install."""
        return _artifact.missing_packages(self.name, ("onnxruntime", "onnx", "onnxscript"))

    def version(self) -> str:
        """Return ONNX Runtime's version."""
        return version("onnxruntime")

    def unsupported(self, graph: Graph) -> tuple[Node, ...]:
        """Return the nodes of which it is not known that torch's exporter has an ONNX form for them."""
        return _artifact.outside(graph, SUPPORTED)

    def export(self, candidate: Candidate, folder: Path) -> Artifact:
        """Write ``model.onnx``, checked by ONNX's checker and against PyTorch.

        Raises:
            ExportError: the network can't be expressed in ONNX; names the layer.
            ParityError: the file computes something else than PyTorch.
            FileError: the folder can't be written to.
            RuntimeMissingError: a package is not installed.
        """
        _artifact.require(self.missing())
        inputs = probes(candidate)
        outputs = torch_outputs(candidate, inputs)
        data, module_of, notes = onnx_file(candidate, candidate.half)
        shape = (1, *outputs.shape[1:])
        with _artifact.scratch() as draft:  # only what passed the check is published
            drafted = _artifact.publish(draft, {FILE: data}, candidate, self.name, shape, module_of, notes)
            check_parity(candidate, drafted, self, inputs)
        return _artifact.publish(folder, {FILE: data}, candidate, self.name, shape, module_of, notes)

    def load(self, artifact: Artifact, threads: int) -> Predict:
        """Return a function on ``(n, C, H, W)`` that runs one image after the other.

        Raises:
            FileError: a file is missing or damaged.
        """
        _artifact.check_files(artifact)
        session = _session(artifact, session_options(threads))

        def run(image: Array) -> Array:
            out: Array = session.run(None, {"input": image})[0]
            return out

        return _artifact.one_by_one(artifact, run)

    def layer_times(self, artifact: Artifact, threads: int, n: int) -> LayerTimes | None:
        """Return the median time of every kernel over ``n`` profiled runs, with the module that it belongs to."""
        from flyweight.runtimes._onnx_times import layer_times

        _artifact.check_files(artifact)
        return layer_times(artifact, threads, n, session_options)

    def planned_peak(self, artifact: Artifact) -> PlannedPeak | None:
        """Return the peak of activations by ONNX Runtime's own plan, without its arena's rounding."""
        from flyweight.runtimes._onnx_memory import planned_peak

        _artifact.check_files(artifact)
        with _artifact.scratch() as folder:
            return planned_peak(artifact.files[0], artifact.module_of, session_options, folder)

    def intermediates(self, artifact: Artifact, image: Array) -> tuple[Intermediate, ...]:
        """Return what every node of the file computes for one image ``(1, C, H, W)``."""
        import onnx

        _artifact.check_files(artifact)
        model = onnx.load(artifact.files[0])
        own = {output.name for output in model.graph.output}
        names = [name for node in model.graph.node for name in node.output if name]
        model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in own)
        session = _session(artifact, session_options(1), model.SerializeToString())
        values = dict(zip(names, session.run(names, {"input": image}), strict=True))
        return tuple(
            Intermediate(name, node.op_type, tuple(node.input), values[name], artifact.module_of.get(node.name))
            for node in model.graph.node
            for name in node.output
            if name and values[name].dtype == np.float32
        )


def session_options(threads: int) -> Any:
    """Return the options that everything here runs with: all optimizations, no spinning threads, only errors logged.

    A thread that spins between runs takes the core from what else is measured (two sessions on two cores: 4× slower).
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def _session(artifact: Artifact, options: Any, model: bytes | None = None) -> Any:
    import onnxruntime

    try:
        given = str(artifact.files[0]) if model is None else model
        return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own exceptions share no base but Exception
        reason = str(error).replace(str(artifact.files[0]), "the file").rstrip(".")
        raise FileError(f"{artifact.files[0]}: ONNX Runtime can't load it ({reason}). Export it again.") from error


MEMBERS = {"onnxruntime": OnnxRuntime()}
