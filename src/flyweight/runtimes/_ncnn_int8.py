"""Int8 for ncnn, whose package has no quantizer: calibrate, and write its int8 weights.

Symmetric: weights per output channel (per group in depthwise layers), activations per tensor, scale = 127 / largest
absolute value. Convolutions, depthwise convolutions and fully connected layers take int8 weights. Where all readers of
a layer's output take int8, it is handed on as int8. Transposed convolutions have no int8 kernel; those that allow it
become a convolution, a pixel shuffle and a crop (``_onnx_int8`` says why they are equal): v0 takes 11.8 ms so, 22.3
with them in float, 25.2 all in float. The last layer stays float where it has fewer than 16 input channels: it is no
faster in int8, and 0.5 to 2 dB less exact.

Source: ncnn's tools/quantize/ncnn2int8.cpp; ``load_model`` of src/layer/convolution.cpp, convolutiondepthwise.cpp and
innerproduct.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from flyweight.runtimes import _artifact
from flyweight.runtimes import _ncnn_file as form
from flyweight.runtimes._ncnn_net import load_net, run_net

if TYPE_CHECKING:
    from flyweight.contracts import Array

INT8_TYPES = frozenset({"Convolution", "ConvolutionDepthWise", "InnerProduct"})
FLOAT_BELOW = 16  # input channels under which the last layer stays float
INT8_TERM = 8  # the setting that says so: 1 for int8 weights and input, 101 where the output is int8 too
LARGEST = 127.0


def quantize(param: str, weights: bytes, calibration: Array) -> tuple[str, bytes, list[str]]:
    """Return param text and weights in int8, and notes on what stayed float.

    Raises:
        ExportError: the network has a layer whose weights are not understood.
    """
    layers = form.parse_param(param)
    layers, known = split_transposed(layers, form.read_weights(layers, weights))
    chosen = {layer.name for layer in layers if layer.type in INT8_TYPES and not _stays_float(layer)}
    blobs = [layer.inputs[0] for layer in layers if layer.name in chosen]
    largest = _input_ranges(layers, known, blobs, calibration)
    handed_on = _handed_on(layers, chosen)
    out, parts, floats = [], [], []
    for layer in layers:
        if layer.name in chosen:
            read_as = handed_on.get(layer.name)
            out.append(layer.having(INT8_TERM, 101 if read_as else 1))
            ranges = [largest[layer.inputs[0]], *([largest[read_as]] if read_as else [])]
            parts.append(_int8(layer, known[layer.name], ranges))
        else:
            out.append(layer)
            parts += [form.float_bytes(known[layer.name])] if layer.name in known else []
            floats += [layer.name] if layer.name in known else []
    notes = [f"stays float in ncnn: {', '.join(floats)}"] if floats else []
    return form.format_param(out), b"".join(parts), notes


def _stays_float(layer: form.Layer) -> bool:
    if layer.type != "Convolution" or layer.outputs != ("out0",):
        return False
    kernel = layer.setting(1) * layer.setting(11, layer.setting(1))
    return layer.setting(6) // (layer.setting(0) * kernel) < FLOAT_BELOW


def _int8(layer: form.Layer, weights: form.Weights, ranges: Sequence[float]) -> bytes:
    groups = form.groups_of(layer)
    rows = weights.weight.reshape(groups if groups > 1 else len(weights.weight), -1)
    scales = _scales(np.abs(rows).max(axis=1))
    codes = np.clip(np.rint(rows * scales[:, None]), -LARGEST, LARGEST).astype(np.int8)
    return form.int8_bytes(weights, codes, (scales, *(_scales(np.array([value])) for value in ranges)))


def _scales(largest: Array) -> Array:
    """Return 127 over the largest absolute values; 1 where all is zero."""
    return np.where(largest > 0, LARGEST / np.maximum(largest, 1e-30), 1.0).astype(np.float32)


def _handed_on(layers: Sequence[form.Layer], chosen: set[str]) -> dict[str, str]:
    """Return, by the name of a layer whose output may be int8, the blob as which an int8 layer reads it.

    That is where the only reader is an int8 layer, or a split all of whose readers are.
    """
    readers: dict[str, list[form.Layer]] = {}
    for layer in layers:
        for blob in layer.inputs:
            readers.setdefault(blob, []).append(layer)
    found = {}
    for layer in layers:
        if layer.name not in chosen or layer.type == "InnerProduct":
            continue
        ends = readers.get(layer.outputs[0], [])
        if len(ends) == 1 and ends[0].type == "Split":
            ends = [reader for blob in ends[0].outputs for reader in readers.get(blob, [])]
        convolutions = [end for end in ends if end.name in chosen and end.type != "InnerProduct"]
        if ends and len(convolutions) == len(ends):
            found[layer.name] = ends[0].inputs[0]
    return found


def _input_ranges(
    layers: Sequence[form.Layer], known: Mapping[str, form.Weights], blobs: Sequence[str], calibration: Array
) -> dict[str, float]:
    """Return the largest absolute value of each blob over the calibration inputs, run in float."""
    names = tuple(dict.fromkeys(blobs))
    largest = dict.fromkeys(names, 0.0)
    with _artifact.scratch() as folder:
        text, binary = folder / "float.param", folder / "float.bin"
        text.write_text(form.format_param(layers))
        binary.write_bytes(b"".join(form.float_bytes(known[layer.name]) for layer in layers if layer.name in known))
        net = load_net(text, binary, 1, keep_blobs=True)
    for image in calibration:
        for name, values in zip(names, run_net(net, np.ascontiguousarray(image), names), strict=True):
            largest[name] = max(largest[name], float(np.abs(values).max()))
    return largest


# ---- transposed convolution as convolution, pixel shuffle and crop ------------------------------------------------


def split_transposed(
    layers: Sequence[form.Layer], known: Mapping[str, form.Weights]
) -> tuple[tuple[form.Layer, ...], dict[str, form.Weights]]:
    """Return layers and weights in which transposed convolutions with kernel = m · stride are rewritten."""
    made: list[form.Layer] = []
    weights = dict(known)
    for layer in layers:
        if not _splittable(layer):
            made.append(layer)
            continue
        stride, padding = layer.setting(3), layer.setting(4)
        made.extend(_replacement(layer, stride, padding))
        weights[layer.name] = _phase_weights(layer, known[layer.name], stride)
    return tuple(made), weights


def _splittable(layer: form.Layer) -> bool:
    """Tell whether kernel = m · stride, square, with equal padding, without dilation or extra output rows."""
    if layer.type != "Deconvolution":
        return False
    kernel, dilation, stride, padding = (layer.setting(number, one) for number, one in ((1, 0), (2, 1), (3, 1), (4, 0)))
    square = all(
        layer.setting(10 + number, layer.setting(number, 1)) == layer.setting(number, 1) for number in (1, 2, 3)
    )
    padded = all(layer.setting(number, padding) == padding for number in (14, 15, 16))
    plain = not any(layer.setting(number) for number in (18, 19, 20, 21, 28))
    return dilation == 1 and stride > 1 and kernel % stride == 0 and square and padded and plain


def _replacement(layer: form.Layer, stride: int, padding: int) -> list[form.Layer]:
    taps = layer.setting(1) // stride
    old = dict(layer.settings)
    activation = {number: old[number] for number in (9, -23310) if number in old}
    settings = {0: layer.setting(0) * stride**2, 1: taps, 11: taps, 4: taps - 1, 14: taps - 1}
    settings |= {5: layer.setting(5), 6: layer.setting(6)}
    phases, whole = f"{layer.name}_phases", f"{layer.name}_whole"
    numbers = tuple((number, str(value)) for number, value in settings.items())
    conv = form.Layer("Convolution", layer.name, layer.inputs, (phases,), (*numbers, *activation.items()))
    shuffled = (whole,) if padding else layer.outputs
    made = [conv, form.Layer("PixelShuffle", f"{layer.name}_shuffle", (phases,), shuffled, ((0, str(stride)),))]
    if padding:
        edges = tuple((number, str(padding)) for number in (0, 1, 6, 7))  # left, top, right, bottom
        keep = tuple((number, "-233") for number in (3, 4, 5))  # sizes: what the edges leave
        made.append(form.Layer("Crop", f"{layer.name}_crop", (whole,), layer.outputs, (*edges, *keep)))
    return made


def _phase_weights(layer: form.Layer, weights: form.Weights, stride: int) -> form.Weights:
    """Return weight ``(K·s², C·m·m)`` and bias ``(K·s²)`` from ncnn's ``(K, C, m·s, m·s)``."""
    taps = layer.setting(1) // stride
    split = weights.weight.reshape(len(weights.weight), -1, taps, stride, taps, stride)[:, :, ::-1, :, ::-1, :]
    phases = split.transpose(0, 3, 5, 1, 2, 4).reshape(len(weights.weight) * stride**2, -1)
    bias = None if weights.bias is None else weights.bias.repeat(stride**2)
    return form.Weights(np.ascontiguousarray(phases), bias)
