"""A network that is to be quantized: its calibration images, and which of its layers stay in float.

What counts is agreement: the share, in percent, of a data set's validation images (of their pixels, for masks) to which
the int8 model gives the class that the float model gives. It needs no labels. It is measured on the ONNX file, in ONNX
Runtime; OpenVINO's file is made from that, ncnn's keeps the same layers in float.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyweight.contracts import DEFAULT_METHOD, Candidate, Env, Int8Method
from flyweight.data import load_dataset
from flyweight.errors import UsageError
from flyweight.evaluate import preprocess
from flyweight.transforms.quantize_int8 import QuantizeInt8

CALIBRATED_BY, SCORED_BY = 64, 200  # images at most
Array = NDArray[Any]


@dataclass(frozen=True)
class Kept:
    """What staying within a drop took: agreement with float in %, and the modules whose layers stay in float."""

    agreement: float
    modules: tuple[str, ...]
    layers: int


def calibrated(candidate: Candidate, data: str | None, method: Int8Method = DEFAULT_METHOD) -> Candidate:
    """Return the candidate with calibration inputs from training images of a data set.

    Raises:
        UsageError: no data set.
    """
    if data is None:
        raise UsageError("int8 needs images to calibrate on. Name a data set: --data blue_marble, or a folder.")
    train = load_dataset(data).train
    images = tuple(train[int(i)][0] for i in _spread(len(train), CALIBRATED_BY))
    return QuantizeInt8(images=CALIBRATED_BY, method=method).apply(candidate, Env(images))


def sensitivities(candidate: Candidate) -> dict[str, float]:
    """Return the outputs' relative error with one layer alone in int8, by module, the largest first.

    Args:
        candidate: calibrated.
    """
    from flyweight.quantize import METHODS, sensitivity

    model, module_of, stay, told = _float_model(candidate)
    found = sensitivity(model, told.calibration, METHODS[told.method].observer, stay)
    return {module_of.get(name, name): error for name, error in found.items()}


def with_layers_in_float(candidate: Candidate, data: str, max_drop: float) -> tuple[Candidate, Kept]:
    """Return a calibrated candidate that keeps as few layers in float as a drop of the agreement allows.

    Args:
        max_drop: in percentage points, 0 to 100.

    Raises:
        UsageError: the network's outputs are no classes, or ``max_drop`` is out of range.
    """
    from flyweight.quantize import METHODS, with_fewest_float

    if not 0 <= max_drop <= 100:
        raise UsageError(f"max_drop is {max_drop:g}; allowed are 0 to 100 percentage points.")
    model, module_of, stay, told = _float_model(candidate)
    judged = load_dataset(data).val
    inputs = [preprocess(judged[int(i)][0][None], candidate.preprocessing) for i in _spread(len(judged), SCORED_BY)]
    wanted = _classes(model, inputs)
    found: list[float] = []

    def agreement(made: Any) -> float:
        found.append(100 * float((_classes(made, inputs) == wanted).mean()))
        return found[-1]

    _, names = with_fewest_float(model, told.calibration, METHODS[told.method], agreement, max_drop, stay)
    modules = tuple(dict.fromkeys(module_of.get(name, name) for name in names))
    kept = replace(candidate, quantization=replace(told, keep_float=modules))
    return kept, Kept(found[-1], modules, len(names))


def _float_model(candidate: Candidate) -> tuple[Any, Mapping[str, str], list[str], Any]:
    """Return the ONNX model as it is quantized, its modules, the nodes that stay float anyway, and the calibration."""
    from flyweight.runtimes._artifact import missing_packages, require
    from flyweight.runtimes._onnx_export import export_onnx
    from flyweight.runtimes._onnx_int8 import prepared

    require(missing_packages("onnxruntime", ("onnx", "onnxscript", "onnxruntime")))
    assert candidate.quantization is not None  # the caller calibrated it
    model, module_of = export_onnx(candidate)
    modules, stay, _ = prepared(model, module_of)
    return model, modules, stay, candidate.quantization


def _classes(model: Any, inputs: list[Array]) -> Array:
    """Return the class of every input, or of its every pixel."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = [session.run(None, {model.graph.input[0].name: each})[0] for each in inputs]
    if found[0].ndim not in (2, 4):
        raise UsageError(f"max_drop counts classes; this network's output is {found[0].shape}. Leave it out.")
    return np.concatenate([each.argmax(1) for each in found])


def _spread(count: int, most: int) -> NDArray[np.int64]:
    return np.linspace(0, count - 1, min(most, count)).astype(np.int64)
