"""What is done in LiteRT's own environment: a network as a .tflite file, in float, half precision or int8.

Runs in the worker only; torch, litert_torch and ai_edge_quantizer are that environment's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flyweight.runtimes._frames import Arrays
from flyweight.runtimes._litert_int8 import FITTED, quantized
from flyweight.runtimes._litert_net import Net
from flyweight.runtimes._loaded import Loaded

MOST_BYTES = 1 << 31  # a flatbuffer's own limit


def export(message: Mapping[str, Any], arrays: Arrays) -> tuple[Mapping[str, Any], Arrays]:
    """Return the file as bytes; ``arrays`` are the tensors, and with int8 also ``(calibration)``, ``(n, C, H, W)``.

    Beside these, with int8, the layers that a method fitted (``_litert_int8.fitted_arrays``); the answer says how many
    of them the file has.
    """
    tensors = {name: array for name, array in arrays.items() if not name.startswith("(")}
    made, fitted = _converted(message["plain"], tensors), 0
    if message["precision"] == "int8":
        layers = {name: array for name, array in arrays.items() if name.startswith(FITTED)}
        made, fitted = quantized(made, arrays["(calibration)"], message["method"], layers)
    elif message["precision"] == "fp16":
        made = _halved(made)
    return {"fitted": fitted}, {"model.tflite": np.frombuffer(made, np.uint8)}


def _converted(plain: Mapping[str, Any], tensors: Arrays) -> bytes:
    import litert_torch
    import torch

    from flyweight.runtimes._program import from_plain

    module = from_plain(plain, tensors, {"aten.conv_transpose2d.input": cropped_transposed_convolution})
    with torch.no_grad():
        converted = litert_torch.convert(module, (torch.zeros(plain["shape"]),))
    with tempfile.TemporaryDirectory(prefix="flyweight-") as folder:
        path = Path(folder, "model.tflite")
        converted.export(str(path))
        return path.read_bytes()


def cropped_transposed_convolution(_: str, arguments: list[Any], keywords: dict[str, Any]) -> Any:
    """Return a transposed convolution without output padding, which LiteRT's converter can't express.

    Padding ``p`` crops p rows at each end of the output, and output padding ``o`` leaves o of those at its end: so
    without both, rows p to p + n of the output are the wanted n. Exact for o ≤ p; else it stays as it was.
    """
    import torch

    names = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
    plain: dict[str, Any] = {
        "bias": None, "stride": [1, 1], "padding": [0, 0], "output_padding": [0, 0], "groups": 1, "dilation": [1, 1],
        **dict(zip(names, arguments, strict=False)), **keywords,
    }  # fmt: skip
    padding, extra = _pair(plain["padding"]), _pair(plain["output_padding"])
    if not any(extra) or any(o > p for o, p in zip(extra, padding, strict=True)):
        return torch.ops.aten.conv_transpose2d.input(*arguments, **keywords)
    whole = torch.ops.aten.conv_transpose2d.input(
        plain["input"], plain["weight"], plain["bias"], plain["stride"], [0, 0], [0, 0], plain["groups"],
        plain["dilation"],
    )  # fmt: skip
    height, width = (size - 2 * p + o for size, p, o in zip(whole.shape[2:], padding, extra, strict=True))
    return whole[:, :, padding[0] : padding[0] + height, padding[1] : padding[1] + width]


def _pair(value: Any) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return (values[0], values[-1])


def _halved(made: bytes) -> bytes:
    """Return the file with the weights of its convolutions and linear layers in half precision."""
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import (
        ComputePrecision,
        OpQuantizationConfig,
        TensorDataType,
        TensorQuantizationConfig,
        TFLOperationName,
    )

    weights = TensorQuantizationConfig(num_bits=16, dtype=TensorDataType.FLOAT)
    config = OpQuantizationConfig(
        weight_tensor_config=weights, compute_precision=ComputePrecision.FLOAT, explicit_dequantize=True
    )
    work = quantizer.Quantizer(bytearray(made))
    for kind in (
        TFLOperationName.CONV_2D, TFLOperationName.DEPTHWISE_CONV_2D, TFLOperationName.CONV_2D_TRANSPOSE,
        TFLOperationName.FULLY_CONNECTED,
    ):  # fmt: skip
        work.update_quantization_recipe(".*", kind, config, AlgorithmName.FLOAT_CASTING)
    return bytes(work.quantize().quantized_model)


_LOADED = Loaded(Net)
TASKS = {"export": export, "load": _LOADED.load, "run": _LOADED.run}
