"""Full-size networks in integers beside ONNX Runtime: how many elements differ, under which rounding, where and why.

    python -m benchmarks.fixed_point --mobilenet-v2 DIR --efficientnet-lite0 DIR --stamps DIR [--images 6]

The folders are those of ``pretrained.py``: real ImageNet weights, and cut-outs for ``composites.py``. MobileNetV1
(0.25, 128 pixels) and MobileNetV3-Small have random weights. Each network is quantized twice: as ``flyweight export``
writes it (the first convolution and the final mean stay float), and *whole* by onnxruntime's ``quantize_static`` with
the final mean as GlobalAveragePool: integers from the image to the class scores. Every 8-bit tensor is compared.

Why ``shift`` parts from ONNX Runtime: for each accumulator of a convolution or matrix product where the two rules
differ, the exact product (as a fraction) is shown to lie within float32's error of a tie. Some six CPU-minutes.
Writes ``benchmarks/results/fixed_point.json``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.pretrained import composites_of, one_file
from flyweight import files
from flyweight.contracts import Candidate, Quantization
from flyweight.evaluate import preprocess
from flyweight.fixed_point import (
    MODES,
    Comparison,
    Mode,
    Program,
    against_onnxruntime,
    cpu_has_vnni,
    quantized_inputs,
    read_program,
    run,
    saturating_layers,
    width_of,
)
from flyweight.fixed_point._kernels import Convolution, MatrixProduct
from flyweight.flow import environment, open_model
from flyweight.pretrained import import_weights
from flyweight.runtimes._onnx_export import export_onnx
from flyweight.runtimes._onnx_file import onnx_file
from flyweight.zoo import ZOO

COMMAND = "python -m benchmarks.fixed_point --mobilenet-v2 DIR --efficientnet-lite0 DIR --stamps DIR"
CALIBRATION_IMAGES = 16
# of |accumulator * ratio|: the accumulator, the scale (three roundings of its own) and the product are each rounded
FLOAT32_ERROR = Fraction(5, 2**24)
Inputs = NDArray[np.float32]


@dataclass(frozen=True)
class Net:
    """A network, and whether its weights are real."""

    name: str
    candidate: Candidate
    real: bool


def main(arguments: Sequence[str]) -> int:
    """Quantize, run, compare, write."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    images, _, objects = composites_of(options.stamps)
    order = np.random.default_rng(0).permutation(len(images))
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for net in _nets(options):
            inputs = preprocess(images[order[: CALIBRATION_IMAGES + options.images]], net.candidate.preprocessing)
            calibration, shown = inputs[:CALIBRATION_IMAGES], inputs[CALIBRATION_IMAGES:]
            for form, path in _quantized(net, calibration, Path(scratch)).items():
                rows.append(_row(net, form, path, shown))
                print(
                    rows[-1]["network"], form, {m: f["differing"] for m, f in rows[-1]["rounding"].items()}, flush=True
                )
    now = {**environment(0), "command": COMMAND}
    result = {
        "name": "fixed_point", "command": COMMAND, "date": now["date"], "environment": now,
        "data": {"objects": len(set(objects)), "images": options.images, "calibration_images": CALIBRATION_IMAGES},
        "cpu_has_vnni": cpu_has_vnni(), "networks": rows, "claims": _claims(rows),
    }  # fmt: skip
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print("holds" if claim["holds"] else "FAILS", claim["claim"], claim["value"], claim["unit"], claim["goal"])
    return 0


def _nets(options: argparse.Namespace) -> list[Net]:
    real = (
        ("mobilenet_v2_1.0", options.mobilenet_v2, "mobilenet_v2-b0353104.pth", "torchvision"),
        ("efficientnet_lite0", options.efficientnet_lite0, "efficientnet-lite0-57934424.pth", "efficientnet_pytorch"),
    )
    nets = [Net("mobilenet_v1_0.25_128", open_model("mobilenet_v1_0.25_128"), False)]
    nets += [
        Net(name, import_weights(ZOO.get(name).spec, one_file(folder, file), source).candidate, True)
        for name, folder, file, source in real
    ]
    return [*nets, Net("mobilenet_v3_small_1.0", open_model("mobilenet_v3_small_1.0"), False)]


# ---- two ways to quantize -------------------------------------------------------------------------------------------


def _quantized(net: Net, calibration: Inputs, folder: Path) -> dict[str, Path]:
    """Write the network in both forms; the export's is left out where a float operator stands in its middle."""
    whole = folder / f"{net.name}.whole.onnx"
    quantize_whole(net.candidate, calibration, whole)
    found = {"whole": whole}
    if net.name != "mobilenet_v3_small_1.0":  # its last h-swish goes to the mean in float
        exported = folder / f"{net.name}.exported.onnx"
        data, _, _ = onnx_file(replace(net.candidate, quantization=Quantization(calibration)))
        exported.write_bytes(data)
        found["exported"] = exported
    return found


def quantize_whole(candidate: Candidate, calibration: Inputs, path: Path) -> None:
    """Write a network whose every operator is quantized, uint8 activations, int8 weights per channel."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model, _ = export_onnx(candidate)
    _pool_globally(model)
    rows = [image[None] for image in calibration]

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package is untyped
        """Gives the calibration inputs one by one."""

        def get_next(self) -> dict[str, Inputs] | None:
            """Return the next input by name, None behind the last."""
            return {"input": rows.pop()} if rows else None

    prepared = path.with_suffix(".prepared")
    quant_pre_process(model, prepared, skip_symbolic_shape=True, skip_optimization=True)
    kinds = sorted({node.op_type for node in model.graph.node} - {"Constant"})
    quantize_static(
        prepared, path, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8, op_types_to_quantize=kinds,
    )  # fmt: skip


def _pool_globally(model: Any) -> None:
    """Turn means over height and width, dimensions kept, into GlobalAveragePool, for which there is an integer form."""
    from onnx import helper, numpy_helper

    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    for node in model.graph.node:
        settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "ReduceMean" and settings.get("keepdims", 1):
            axes = settings.get("axes") or constants[node.input[1]].tolist()
            if sorted(axis % 4 for axis in axes) == [2, 3]:
                node.op_type = "GlobalAveragePool"
                del node.attribute[:], node.input[1:]


# ---- figures --------------------------------------------------------------------------------------------------------


def _row(net: Net, form: str, path: Path, shown: Inputs) -> dict[str, Any]:
    program = read_program(path)
    images: list[dict[str, Inputs]] = [{"input": image[None]} for image in shown]
    found = against_onnxruntime(program, images, MODES)
    widths = [width for step in program.steps if (width := width_of(step.kernel)) is not None]
    return {
        "network": net.name, "weights": "real" if net.real else "random", "form": form, "images": len(images),
        "input": list(shown.shape[1:]), "steps": len(program.steps), "float_head": list(program.head),
        "float_tail": list(program.tail), "accumulator_bits": max(width.bits for width in widths),
        "layers": len(widths), "layers_that_may_saturate_without_vnni": len(saturating_layers(program)),
        "rounding": {mode: _figures(comparison) for mode, comparison in found.items()},
        "ties": _ties(program, images) if form == "whole" else None,
    }  # fmt: skip


def _figures(comparison: Comparison) -> dict[str, Any]:
    steps = comparison.steps
    kinds = dict.fromkeys((step.op, step.runtime_op) for step in steps)
    operators = [
        {
            "operator": op, "in_onnxruntime": theirs, "nodes": len(some), "elements": sum(s.elements for s in some),
            "differing": sum(s.differing for s in some), "max_lsb": max(s.largest for s in some),
            "differing_alone": sum(s.alone for s in some), "max_lsb_alone": max(s.alone_largest for s in some),
        }
        for op, theirs in kinds
        if (some := [s for s in steps if (s.op, s.runtime_op) == (op, theirs)])
    ]  # fmt: skip
    return {
        "elements": sum(s.elements for s in steps), "differing": sum(s.differing for s in steps),
        "max_lsb": max(s.largest for s in steps), "differing_alone": sum(s.alone for s in steps),
        "max_lsb_alone": max(s.alone_largest for s in steps), "inputs_differing": comparison.entries_differing,
        "outputs": comparison.outputs, "outputs_differing": comparison.outputs_differing,
        "tensors_not_seen": sum(not s.elements for s in steps), "runtime_left_as_it_was": comparison.intact,
        "operators": operators,
    }  # fmt: skip


def _ties(program: Program, images: Sequence[Mapping[str, Inputs]]) -> dict[str, Any]:
    """Look at every accumulator that ``shift`` rounds otherwise than ONNX Runtime: how far from a tie it is.

    Also how often the class with the highest score is another one than in ONNX Runtime, under each rule.
    """
    accumulators = apart = near = 0
    farthest = Fraction(0)
    changed: dict[Mode, int] = dict.fromkeys(MODES, 0)
    for image in images:
        tensors = {mode: run(program, quantized_inputs(program, image), mode) for mode in MODES}
        last = program.exits[0].quantized
        exact = tensors["onnxruntime"]
        for mode in MODES:
            changed[mode] += int(tensors[mode][last].argmax() != exact[last].argmax())
        for step in program.steps:
            kernel = step.kernel
            if not isinstance(kernel, Convolution | MatrixProduct) or kernel.target is None:
                continue
            sums = kernel.accumulate(exact[step.inputs[0]])
            one, two = (kernel.target.saturate(kernel.factor.apply(sums, mode)) for mode in ("onnxruntime", "shift"))
            accumulators += sums.size
            factors = (np.broadcast_to(a, sums.shape) for a in (kernel.factor.multiplier, kernel.factor.shift))
            multiplier, shift = factors
            for at in np.argwhere(one != two):
                index = tuple(at)
                value = Fraction(int(sums[index]) * int(multiplier[index]), 2 ** int(shift[index]))
                distance = abs((value % 1) - Fraction(1, 2)) / abs(value)
                apart, near, farthest = apart + 1, near + (distance <= FLOAT32_ERROR), max(farthest, distance)
    return {
        "accumulators": accumulators, "rounded_otherwise_by_shift": apart,
        "of_them_within_float32s_error_of_a_tie": near,
        "farthest_from_a_tie_relative": float(farthest), "float32s_error_relative": float(FLOAT32_ERROR),
        "images_whose_class_changes": {mode: int(count) for mode, count in changed.items()},
    }  # fmt: skip


def _claims(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        name, figures = f"{row['network']}, {row['form']}", row["rounding"]
        exact = figures["onnxruntime"]
        complete = exact["tensors_not_seen"] == 0 and exact["runtime_left_as_it_was"]
        found.append(
            _claim(
                f"{name}: elements that differ from ONNX Runtime's, of {exact['elements']}, all tensors and outputs",
                exact["differing"] + exact["outputs_differing"] + exact["inputs_differing"], "elements", "== 0",
                complete and exact["differing"] + exact["outputs_differing"] + exact["inputs_differing"] == 0,
            )
        )  # fmt: skip
        for mode in ("shift", "gemmlowp"):
            share = round(1e6 * figures[mode]["differing_alone"] / figures[mode]["elements"], 2)
            largest = figures[mode]["max_lsb_alone"]
            found.append(
                _claim(f"{name}: {mode}, largest difference of a node given the same inputs ({share} of a million "
                       "elements differ)", largest, "LSB", "<= 1", largest <= 1)
            )  # fmt: skip
        if row["ties"]:
            unexplained = (
                row["ties"]["rounded_otherwise_by_shift"] - row["ties"]["of_them_within_float32s_error_of_a_tie"]
            )
            found.append(
                _claim(f"{name}: accumulators that shift rounds otherwise, and that float32's error does not explain",
                       unexplained, "elements", "== 0", unexplained == 0)
            )  # fmt: skip
    return found


def _claim(claim: str, value: float, unit: str, goal: str, holds: bool) -> dict[str, Any]:
    return {"claim": claim, "value": value, "unit": unit, "goal": goal, "holds": bool(holds)}


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Networks in integers beside ONNX Runtime.")
    for name in ("--mobilenet-v2", "--efficientnet-lite0", "--stamps"):
        parser.add_argument(name, type=Path, required=True, help="folder; see above")
    parser.add_argument("--images", type=int, default=6, help="images to compare on (default 6)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1)")
    parser.add_argument(
        "--result", type=Path, default=Path("benchmarks/results/fixed_point.json"), help="file to write"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
