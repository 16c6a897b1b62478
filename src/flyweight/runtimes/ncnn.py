"""ncnn on the CPU: float32, and int8 where its format allows.

What ships is ``model.ncnn.param`` (layers), ``model.ncnn.bin`` (weights) and ``model.ncnn.json`` (preprocessing, class
names, spec, Flyweight's version), since ncnn's own files have no room for it. Blobs: ``in0`` -> ``out0``.
"""

from __future__ import annotations

import json
import math
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from flyweight.contracts import Artifact, Candidate, Intermediate, LayerTimes, PlannedPeak, Precision, Predict
from flyweight.errors import ExportError, FileError
from flyweight.graph import Graph, Node
from flyweight.runtimes import _artifact
from flyweight.runtimes._ncnn_net import load_net, run_net
from flyweight.runtimes._torch import check_parity, probes, torch_outputs

if TYPE_CHECKING:
    from flyweight.contracts import Array

PARAM, BIN, JSON = "model.ncnn.param", "model.ncnn.bin", "model.ncnn.json"

# what small CNNs are made of, and ncnn has layers for; pnnx may convert more
_SUPPORTED = frozenset(
    {
        "conv", "conv_transpose", "linear", "batch_norm", "relu", "relu6", "leaky_relu", "elu", "sigmoid",
        "silu", "hardsigmoid", "hardswish", "hardtanh", "tanh", "gelu", "clamp", "neg", "add", "sub", "mul",
        "div", "concat", "split", "chunk", "slice", "narrow", "select", "view", "reshape", "flatten", "squeeze",
        "unsqueeze", "permute", "transpose", "pad", "max_pool", "avg_pool", "adaptive_avg_pool",
        "adaptive_max_pool", "mean", "upsample_nearest", "upsample_bilinear", "pixel_shuffle",
        "channel_shuffle", "softmax", "copy", "dropout", "constant", "detach", "alias",
    }
)  # fmt: skip


class Ncnn:
    """ncnn; its kernels sum in another order than PyTorch (2e-6 on the ladder's networks; Winograd's more)."""

    name = "ncnn"
    rtol = 1e-4
    precisions: tuple[Precision, ...] = ("fp32", "fp16", "int8")
    not_run = ""

    def missing(self) -> str | None:
        """Return None where it is usable, else what to install."""
        return _artifact.missing_packages(self.name, ("ncnn", "pnnx"))

    def version(self) -> str:
        """Return ncnn's version."""
        return version("ncnn")

    def unsupported(self, graph: Graph) -> tuple[Node, ...]:
        """Return the nodes of which it is not known that pnnx converts them to ncnn."""
        return _artifact.outside(graph, _SUPPORTED)

    def export(self, candidate: Candidate, folder: Path) -> Artifact:
        """Write param, weights and description, checked against PyTorch.

        Raises:
            ExportError: the network can't be expressed in ncnn.
            ParityError: the artifact computes something else than PyTorch.
            FileError: the folder can't be written to.
            RuntimeMissingError: a package is not installed.
        """
        from flyweight.runtimes._pnnx import to_ncnn

        _artifact.require(self.missing())
        inputs = probes(candidate)
        outputs = torch_outputs(candidate, inputs)
        param, weights = to_ncnn(candidate)
        _check_layers(param)
        notes: list[str] = []
        if candidate.quantization is not None:
            from flyweight.runtimes._ncnn_int8 import quantize

            calibration = _artifact.calibration_of(candidate)
            kept = _kept_in_float(candidate)
            param, weights, notes = quantize(param, weights, calibration, candidate.quantization.method, kept)
        told = json.dumps(
            {**_artifact.metadata(candidate), "input": "in0", "output": "out0"}, indent=1, ensure_ascii=False
        )
        contents = {PARAM: param.encode(), BIN: weights, JSON: (told + "\n").encode()}
        shape = (1, *outputs.shape[1:])
        with _artifact.scratch() as draft:  # only what passed the check is published
            drafted = _artifact.publish(draft, contents, candidate, self.name, shape, {}, notes)
            check_parity(candidate, drafted, self, inputs)
        return _artifact.publish(folder, contents, candidate, self.name, shape, {}, notes)

    def load(self, artifact: Artifact, threads: int) -> Predict:
        """Return a function on ``(n, C, H, W)`` that runs one image after the other.

        Raises:
            FileError: a file is missing or damaged.
        """
        _artifact.check_files(artifact)
        net = load_net(artifact.files[0], artifact.files[1], threads)
        shape = tuple(artifact.output_shape)

        def run(image: Array) -> Array:
            out = run_net(net, image[0], ("out0",))[0]
            if out.size != math.prod(shape):
                raise FileError(f"{artifact.files[0]}: gives {out.shape}, but {shape} was exported. Export it again.")
            return out.reshape(shape)

        return _artifact.one_by_one(artifact, run)

    def layer_times(self, artifact: Artifact, threads: int, n: int) -> LayerTimes | None:
        """Return None: ncnn's package has no timers.

        Extracting one blob after the other gives sums of up to 181 % of the whole run, which is worse than no answer.
        """
        return None

    def planned_peak(self, artifact: Artifact) -> PlannedPeak | None:
        """Return None: ncnn takes memory as it goes."""
        return None

    def intermediates(self, artifact: Artifact, image: Array) -> tuple[Intermediate, ...]:
        """Return what every layer computes for one image ``(1, C, H, W)``, each without its batch."""
        from flyweight.runtimes._ncnn_file import parse_param

        _artifact.check_files(artifact)
        layers = [layer for layer in parse_param(artifact.files[0].read_text()) if layer.inputs]
        net = load_net(artifact.files[0], artifact.files[1], 1, keep_blobs=True)
        names = tuple(name for layer in layers for name in layer.outputs)
        values = dict(zip(names, run_net(net, image[0], names), strict=True))
        return tuple(
            Intermediate(name, layer.type, layer.inputs, values[name]) for layer in layers for name in layer.outputs
        )


def _kept_in_float(candidate: Candidate) -> list[Array]:
    """Return the weights of the layers that stay float, as its ONNX file has them."""
    assert candidate.quantization is not None  # the caller exports a quantized candidate
    if not candidate.quantization.keep_float:
        return []
    _artifact.require(_artifact.missing_packages("onnxruntime", ("onnx", "onnxscript", "onnxruntime")))
    from flyweight.runtimes._onnx_export import export_onnx
    from flyweight.runtimes._onnx_int8 import weights_of

    return weights_of(*export_onnx(candidate), candidate.quantization.keep_float)


def _check_layers(param: str) -> None:
    """Raise ExportError where pnnx left an operator that ncnn has no layer for."""
    from flyweight.runtimes._ncnn_file import parse_param

    foreign = [layer for layer in parse_param(param) if "." in layer.type or "::" in layer.type]
    if foreign:
        listed = ", ".join(f"'{layer.name}' (operator '{layer.type}')" for layer in foreign[:5])
        raise ExportError(f"ncnn cannot express {len(foreign)} layers: {listed}. Replace them, or choose onnxruntime.")


MEMBERS = {"ncnn": Ncnn()}
