"""The same integers in LiteRT (TensorFlow Lite): which of its kernels round once, which twice.

    python -m benchmarks.fixed_point_litert

Needs ``ai-edge-litert`` (2.3.0 here) and ``flatbuffers``; both can lie in a folder of their own on PYTHONPATH. A small
network like MobileNetV2, and MobileNetV2 itself at 96 pixels (random weights), are quantized by onnxruntime's
``quantize_static`` (uint8 activations), read as a program of integers, and written as a TensorFlow Lite file with the
same weights, biases, scales and zero points (int8 activations: 128 less, which changes no difference). LiteRT's
reference kernels and its optimized ones (without and with XNNPACK) run it, every tensor is read, and each operator is
given LiteRT's own inputs under our three rules. Explicit padding is a PAD operator, whose result is not compared (it is
exact). Some CPU-minute. Writes ``benchmarks/results/fixed_point_litert.json``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import _tflite as tflite
from benchmarks.fixed_point import quantize_whole
from flyweight import files
from flyweight.fixed_point import MODES, Program, Step, quantized_inputs, read_program, run
from flyweight.fixed_point import _kernels as kernels
from flyweight.flow import environment, open_model
from tests.fixed_point import nets

COMMAND = "python -m benchmarks.fixed_point_litert"
KERNELS = {"reference": "BUILTIN_REF", "optimized": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "XNNPACK": "BUILTIN"}
SIZE, FULL_SIZE = 48, 96


@dataclass
class Writer:
    """Tensors and operators of a TensorFlow Lite file, NHWC; ``at``: ONNX tensor -> index."""

    program: Program
    tensors: list[tflite.Tensor] = field(default_factory=list)
    operators: list[tflite.Operator] = field(default_factory=list)
    at: dict[str, int] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def add(self, name: str, shape: Sequence[int], **rest: Any) -> int:
        """Add a tensor."""
        self.tensors.append(tflite.Tensor(name, tuple(int(n) for n in shape), **rest))
        return len(self.tensors) - 1

    def activation(self, name: str, scale: Any, nchw: tuple[int, ...]) -> int:
        """Add an int8 tensor for a uint8 one."""
        self.at[name] = self.add(name, nhwc(nchw), scales=(float(scale.scale),), zero=scale.zero_point - 128)
        self.shapes[name] = nchw
        return self.at[name]

    def step(self, step: Step, shape: tuple[int, ...]) -> None:
        """Add one operator."""
        sources = [self.at[name] for name in step.inputs]
        kernel = step.kernel
        if isinstance(kernel, kernels.Convolution):
            self._convolution(step, kernel, sources[0], shape)
            return
        out = self.activation(step.output, step.scale, shape)
        if isinstance(kernel, kernels.Addition):
            self.operators.append(tflite.Operator("ADD", tuple(sources), (out,)))
        elif isinstance(kernel, kernels.GlobalAverage):
            axes = self.add(f"{step.output}/axes", (2,), dtype="int32", data=np.array([1, 2], "<i4").tobytes())
            self.operators.append(tflite.Operator("MEAN", (sources[0], axes), (out,), {"keep_dims": True}))
        elif isinstance(kernel, kernels.Move):
            to = self.add(f"{step.output}/shape", (len(shape),), dtype="int32", data=np.array(shape, "<i4").tobytes())
            self.operators.append(tflite.Operator("RESHAPE", (sources[0], to), (out,)))
        elif isinstance(kernel, kernels.MatrixProduct):
            scale = self._scale_of(step, sources[0])
            weight = self.add(
                f"{step.output}/w", kernel.weight.T.shape, scales=scale, data=kernel.weight.T.astype(np.int8).tobytes()
            )
            bias = self._bias(step, kernel.bias, sources[0], scale)
            self.operators.append(tflite.Operator("FULLY_CONNECTED", (sources[0], weight, bias), (out,)))
        else:
            raise SystemExit(f"{step.name}: no TensorFlow Lite operator is written for {step.op}.")

    def _convolution(self, step: Step, kernel: kernels.Convolution, source: int, shape: tuple[int, ...]) -> None:
        depthwise = kernel.weight.shape[1] == 1 and kernel.groups > 1
        weight = kernel.weight.transpose(1, 2, 3, 0) if depthwise else kernel.weight.transpose(0, 2, 3, 1)
        scale = self._scale_of(step, source)
        data = np.ascontiguousarray(weight.astype(np.int8)).tobytes()
        w = self.add(f"{step.output}/w", weight.shape, scales=scale, axis=3 if depthwise else 0, data=data)
        bias = self._bias(step, kernel.bias, source, scale)
        if any(kernel.pads):
            source = self._padded(step, source, kernel.pads)
        out = self.activation(step.output, step.scale, shape)
        settings: dict[str, int | float | bool] = {
            "padding": tflite.VALID, "stride_h": kernel.strides[0], "stride_w": kernel.strides[1],
            "dilation_h": 1, "dilation_w": 1,
        }  # fmt: skip
        if depthwise:
            settings["multiplier"] = 1
        code = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        self.operators.append(tflite.Operator(code, (source, w, bias), (out,), settings))

    def _padded(self, step: Step, source: int, pads: tuple[int, int, int, int]) -> int:
        top, left, bottom, right = pads
        before = self.tensors[source]
        n, h, w, c = before.shape
        amounts = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], "<i4")
        given = self.add(f"{step.output}/pads", (4, 2), dtype="int32", data=amounts.tobytes())
        shape = (n, h + top + bottom, w + left + right, c)
        out = self.add(f"{step.output}/padded", shape, scales=before.scales, zero=before.zero)
        self.operators.append(tflite.Operator("PAD", (source, given), (out,)))
        return out

    def _bias(self, step: Step, bias: NDArray[np.int32], source: int, scale: tuple[float, ...]) -> int:
        first = self.tensors[source].scales[0]
        scales = tuple(float(np.float32(first) * np.float32(value)) for value in scale)
        return self.add(f"{step.output}/b", bias.shape, dtype="int32", scales=scales, data=bias.astype("<i4").tobytes())

    def _scale_of(self, step: Step, source: int) -> tuple[float, ...]:
        """Return the weights' scales: the file's own, found through the DequantizeLinear before them."""
        return weight_scales(self.program.path)[step.name]


@cache
def weight_scales(path: Path) -> dict[str, tuple[float, ...]]:
    """Return node name -> scales of its weights."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    arrays = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    behind = {n.output[0]: arrays[n.input[1]] for n in graph.node if n.op_type == "DequantizeLinear"}
    return {
        node.name: tuple(float(value) for value in np.atleast_1d(behind[node.input[1]]))
        for node in graph.node
        if node.op_type in ("Conv", "Gemm")
    }


def nhwc(shape: Sequence[int]) -> tuple[int, ...]:
    """Return an NCHW shape in LiteRT's order."""
    return (shape[0], shape[2], shape[3], shape[1]) if len(shape) == 4 else tuple(shape)


def written(program: Program, tensors: dict[str, NDArray[Any]]) -> tuple[bytes, dict[str, int]]:
    """Return the TensorFlow Lite file of a program, and the index of each of its tensors."""
    writer = Writer(program)
    (entry,) = program.entries
    first = writer.activation(entry.quantized, entry.scale, tensors[entry.quantized].shape)
    for step in program.steps:
        writer.step(step, tensors[step.output].shape)
    last = writer.at[program.exits[0].quantized]
    return tflite.model(writer.tensors, writer.operators, [first], [last]), writer.at


def in_litert(
    content: bytes, at: dict[str, int], entry: str, value: NDArray[Any], kind: str
) -> dict[str, NDArray[Any]]:
    """Return every tensor as uint8 NCHW."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType  # type: ignore[import-not-found, unused-ignore]

    chosen = getattr(OpResolverType, KERNELS[kind])
    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=chosen,
        experimental_preserve_all_tensors=True,
        num_threads=1,
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(at[entry], (value ^ np.uint8(128)).view(np.int8).transpose(0, 2, 3, 1))
    interpreter.invoke()
    found = {}
    for name, index in at.items():
        made = np.ascontiguousarray(interpreter.get_tensor(index)).view(np.uint8) ^ np.uint8(128)
        found[name] = made.transpose(0, 3, 1, 2) if made.ndim == 4 else made
    return found


def main(arguments: Sequence[str]) -> int:
    """Write, run, compare, keep."""
    parser = argparse.ArgumentParser(description="Integers in LiteRT.")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/fixed_point_litert.json"))
    options = parser.parse_args(arguments)
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        small, large = Path(scratch) / "small.onnx", Path(scratch) / "large.onnx"
        nets.quantized(nets.mobilenet_v2(SIZE), small)
        candidate = open_model("mobilenet_v2_1.0", resolution=FULL_SIZE)
        quantize_whole(candidate, noise(4, FULL_SIZE, 1), large)
        for name, path, inputs in (
            ("small", small, noise(8, SIZE, 2)),
            ("mobilenet_v2_1.0", large, noise(2, FULL_SIZE, 3)),
        ):
            program = read_program(path)
            rows[name] = {kind: _compare(program, inputs, kind) for kind in KERNELS}
    now = {**environment(0), "command": COMMAND, "ai_edge_litert": version("ai-edge-litert")}
    claims = [claim for name, kinds in rows.items() for claim in _claims(name, kinds)]
    result = {
        "name": "fixed_point_litert", "command": COMMAND, "date": now["date"], "environment": now,
        "networks": rows, "claims": claims,
    }  # fmt: skip
    files.write_json(options.result, result)
    for claim in claims:
        print("holds" if claim["holds"] else "FAILS", claim["claim"], claim["value"], claim["unit"], claim["goal"])
    return 0


def noise(count: int, size: int, seed: int) -> NDArray[np.float32]:
    """Return images of normal noise."""
    return np.random.default_rng(seed).normal(size=(count, 3, size, size)).astype(np.float32)


def _claims(name: str, kinds: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for kind, mode, most in (("reference", "gemmlowp", 0), ("XNNPACK", "onnxruntime", 0), ("optimized", "gemmlowp", 1)):
        rows = kinds[kind].values()
        total, apart = (sum(row["elements"] for row in rows), sum(row["differing"][mode] for row in rows))
        if most:
            value = max(row["max_lsb"][mode] for row in rows)
            yield {
                "claim": f"{name}: LiteRT's {kind} kernels, largest difference under {mode} ({apart} of {total})",
                "value": value, "unit": "LSB", "goal": f"<= {most}", "holds": value <= most,
            }  # fmt: skip
            continue
        yield {
            "claim": f"{name}: LiteRT's {kind} kernels, elements that differ under {mode}, of {total}",
            "value": apart, "unit": "elements", "goal": "== 0", "holds": apart == 0,
        }  # fmt: skip


def _compare(program: Program, images: NDArray[np.float32], kind: str) -> dict[str, Any]:
    """Return for each operator how many elements differ under each rule, given LiteRT's own inputs."""
    found: dict[str, Any] = {}
    (entry,) = program.entries
    for image in images:
        inputs = quantized_inputs(program, {entry.tensor: image[None]})
        content, at = written(program, run(program, inputs, "shift"))
        theirs = in_litert(content, at, entry.quantized, inputs[entry.quantized], kind)
        for mode in MODES:
            ours = run(program, inputs, mode, given=theirs)
            for step in program.steps:
                empty = {"elements": 0, "differing": dict.fromkeys(MODES, 0), "max_lsb": dict.fromkeys(MODES, 0)}
                row = found.setdefault(_kind(step), empty)
                apart = np.abs(ours[step.output].astype(int) - theirs[step.output].astype(int))
                row["differing"][mode] += int((apart > 0).sum())
                row["max_lsb"][mode] = max(row["max_lsb"][mode], int(apart.max()))
                row["elements"] += apart.size if mode == MODES[0] else 0
    return found


def _kind(step: Step) -> str:
    depthwise = isinstance(step.kernel, kernels.Convolution) and step.kernel.weight.shape[1] == 1
    return "depthwise QLinearConv" if depthwise else step.op


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
