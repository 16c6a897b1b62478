"""Int8 for ncnn, whose package has no quantizer: calibrate, and write its int8 weights.

Symmetric: weights per output channel (per group in depthwise layers), activations per tensor, scale = 127 / end of the
range. The ranges are those of ``flyweight.quantize``'s observers, on histograms of absolute values; biases stay float.
Convolutions, depthwise convolutions and fully connected layers take int8 weights. Where all readers of a layer's output
take int8, it is handed on as int8. Transposed convolutions have no int8 kernel; those that allow it become a
convolution, a pixel shuffle and a crop (``_onnx_int8`` says why they are equal): v0 takes 11.8 ms so, 22.3 with them in
float, 25.2 all in float. The last layer stays float where it has fewer than 16 input channels: it is no faster in int8,
and 0.5 to 2 dB less exact.

Source: ncnn's tools/quantize/ncnn2int8.cpp; ``load_model`` of src/layer/convolution.cpp, convolutiondepthwise.cpp and
innerproduct.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight.quantize import (
    METHODS,
    OBSERVERS,
    SYMMETRIC_LEVELS,
    Floats,
    Method,
    Weights,
    Window,
    fit,
    nearest,
    observed,
    same,
    told,
)
from flyweight.runtimes import _artifact
from flyweight.runtimes import _ncnn_file as form
from flyweight.runtimes._ncnn_net import load_net, run_net

if TYPE_CHECKING:
    from flyweight.contracts import Array

INT8_TYPES = frozenset({"Convolution", "ConvolutionDepthWise", "InnerProduct"})
FLOAT_BELOW = 16  # input channels under which the last layer stays float
INT8_TERM = 8  # the setting that says so: 1 for int8 weights and input, 101 where the output is int8 too
LARGEST = float(SYMMETRIC_LEVELS)


def quantize(
    param: str, weights: bytes, calibration: Array, method: str, keep_float: Sequence[Array] = ()
) -> tuple[str, bytes, list[str]]:
    """Return param text and weights in int8 by one of ``flyweight.quantize.METHODS``, and notes on what stayed float.

    Args:
        keep_float: float weights ``(o, ...)`` of layers that stay float; ncnn's own names tell nothing of modules.

    Raises:
        ExportError: the network has a layer whose weights are not understood, or an activation isn't finite.
    """
    return by(param, weights, calibration, METHODS[method], keep_float)


def by(
    param: str, weights: bytes, calibration: Array, method: Method, keep_float: Sequence[Array] = ()
) -> tuple[str, bytes, list[str]]:
    """Return what ``quantize`` returns, by a method that needs no name."""
    draft = _Draft(param, weights, keep_float)
    seen = observed(lambda: draft.magnitudes(calibration), draft.blobs(), SYMMETRIC_LEVELS)
    parts = told("chooses ranges, blob by blob", seen.items())
    draft.ends = {blob: OBSERVERS[method.observer](found)[1] for blob, found in parts}
    if method.sees_inputs:
        fit(draft, calibration, method)
    return *draft.written(), draft.notes()


def with_ends(
    param: str, weights: bytes, ends: Mapping[str, float], steps: Mapping[str, Array] | None = None
) -> tuple[str, bytes]:
    """Return param text and weights in int8, weights to the nearest: what another tool's table asks for.

    Args:
        ends: of the symmetric ranges, by blob that an int8 layer reads.
        steps: of the weights per output channel, by layer; else the largest weight is 127 steps.
    """
    draft = _Draft(param, weights)
    draft.ends = dict(ends)
    for name, width in (steps or {}).items():
        if name in draft.chosen:
            floats = draft.floats(name)
            draft.set(name, Weights(nearest(floats.weight, width), width, floats.bias))
    return draft.written()


def magnitudes(param: str, weights: bytes, images: Array) -> Iterator[dict[str, Array]]:
    """Yield the absolute values of what int8 layers read, by blob, image by image, in float."""
    return _Draft(param, weights).magnitudes(images)


class _Draft:
    """ncnn's files in the making (``flyweight.quantize.Draft``).

    ``ends``: of the symmetric range by blob that an int8 layer reads; ``integers``: of the layers that aren't rounded
    to the nearest.
    """

    def __init__(self, param: str, weights: bytes, keep_float: Sequence[Array] = ()) -> None:
        layers = form.parse_param(param)
        self.layers, self.known = split_transposed(layers, form.read_weights(layers, weights))
        able = [each for each in self.layers if each.type in INT8_TYPES and not _stays_float(each)]
        kept = {each.name for each in able if any(same(weight, self.known[each.name].weight) for weight in keep_float)}
        self.chosen = {each.name: each for each in able if each.name not in kept}
        self.ends: dict[str, float] = {}
        self.integers: dict[str, Weights] = {}
        self.net = self._net(form.format_param(self.layers), b"".join(map(self._float, self.layers)))

    def blobs(self) -> list[str]:
        """Return the blobs that int8 layers read."""
        return list(dict.fromkeys(layer.inputs[0] for layer in self.chosen.values()))

    def magnitudes(self, images: Array) -> Iterator[dict[str, Array]]:
        """Yield the absolute values of these blobs, image by image, in float."""
        names = tuple(self.blobs())
        for image in images:
            found = run_net(self.net, np.ascontiguousarray(image), names)
            yield {name: np.abs(value) for name, value in zip(names, found, strict=True)}

    def written(self, *, hand_on: bool = True) -> tuple[str, bytes]:
        """Return both files; without handing on, blobs between layers are float and can be looked at."""
        handed_on = _handed_on(self.layers, set(self.chosen)) if hand_on else {}
        out, parts = [], []
        for layer in self.layers:
            read_as = handed_on.get(layer.name)
            out.append(self._told(layer, read_as))
            parts.append(self._float(layer) if layer.name not in self.chosen else self._int8(layer, read_as))
        return form.format_param(out), b"".join(parts)

    def notes(self) -> list[str]:
        """Return what stayed float, in words."""
        floats = [layer.name for layer in self.layers if layer.name in self.known and layer.name not in self.chosen]
        return [f"stays float in ncnn: {', '.join(floats)}"] if floats else []

    def names(self) -> Sequence[str]:
        """Return the int8 layers whose padding is said in numbers, in order."""
        return [name for name, layer in self.chosen.items() if layer.type == "InnerProduct" or min(_pads(layer)) >= 0]

    def floats(self, name: str) -> Floats:
        """Return a layer as it is in float."""
        layer, found = self.chosen[name], self.known[name]
        rows = found.weight
        bias = np.zeros(len(rows), np.float32) if found.bias is None else found.bias
        if layer.type == "InnerProduct":
            return Floats(rows, bias, None)
        strides, dilations = ((layer.setting(10 + n, layer.setting(n, 1)), layer.setting(n, 1)) for n in (3, 2))
        kernel = layer.setting(11, layer.setting(1)), layer.setting(1)
        window = Window(strides, dilations, _pads(layer), form.groups_of(layer))
        return Floats(rows.reshape(len(rows), -1, *kernel), bias, window)

    def steps(self, name: str, weight: Array) -> Array:
        """Return steps per output channel; those of a group are one."""
        groups = form.groups_of(self.chosen[name])
        largest = np.abs(weight.reshape(groups if groups > 1 else len(weight), -1)).max(1)
        return np.repeat(1 / _scales(largest), len(weight) // len(largest))

    def inputs(self, name: str, images: Array) -> Iterator[tuple[Array, Array]]:
        """Yield a layer's input: in float, and as its int8 kernel reads it."""
        blob = self.chosen[name].inputs[0]
        so_far = self._net(*self.written(hand_on=False))
        scale = float(_scales(np.array([self.ends[blob]]))[0])
        for image in images:
            given = np.ascontiguousarray(image)
            wanted, found = (run_net(net, given, (blob,))[0] for net in (self.net, so_far))
            yield wanted[None], np.clip(np.rint(found * scale), -LARGEST, LARGEST)[None] / scale

    def set(self, name: str, weights: Weights) -> None:
        """Give a layer its integers."""
        self.integers[name] = weights

    def _told(self, layer: form.Layer, read_as: str | None) -> form.Layer:
        """Return a layer's line: whether it is int8, and that it has a bias where it was given one."""
        if layer.name not in self.chosen:
            return layer
        fitted = self.integers.get(layer.name)
        told = layer.having(INT8_TERM, 101 if read_as else 1)
        return told.having(_bias_number(layer), 1) if fitted is not None and fitted.bias.any() else told

    def _float(self, layer: form.Layer) -> bytes:
        return form.float_bytes(self.known[layer.name]) if layer.name in self.known else b""

    def _int8(self, layer: form.Layer, read_as: str | None) -> bytes:
        made = self.integers.get(layer.name)
        if made is None:
            floats = self.floats(layer.name)
            steps = self.steps(layer.name, floats.weight)
            made = Weights(nearest(floats.weight, steps), steps, floats.bias)
        groups = form.groups_of(layer)
        ends = [self.ends[blob] for blob in (layer.inputs[0], read_as) if blob is not None]
        scales = (1 / made.steps[:: len(made.steps) // groups if groups > 1 else 1]).astype(np.float32)
        bias = made.bias.astype(np.float32) if self._told(layer, read_as).setting(_bias_number(layer)) else None
        return form.int8_bytes(
            form.Weights(made.integers, bias), made.integers, (scales, *(_scales(np.array([end])) for end in ends))
        )

    @staticmethod
    def _net(param: str, weights: bytes) -> Any:
        with _artifact.scratch() as folder:
            text, binary = folder / "draft.param", folder / "draft.bin"
            text.write_text(param)
            binary.write_bytes(weights)
            return load_net(text, binary, 1, keep_blobs=True)


def _bias_number(layer: form.Layer) -> int:
    return 1 if layer.type == "InnerProduct" else 5


def _pads(layer: form.Layer) -> tuple[int, int, int, int]:
    """Return the padding at top, left, bottom and right; negative where ncnn chooses it as it runs."""
    left, top = layer.setting(4), layer.setting(14, layer.setting(4))
    return top, left, layer.setting(16, top), layer.setting(15, left)


def _stays_float(layer: form.Layer) -> bool:
    if layer.type != "Convolution" or layer.outputs != ("out0",):
        return False
    kernel = layer.setting(1) * layer.setting(11, layer.setting(1))
    return layer.setting(6) // (layer.setting(0) * kernel) < FLOAT_BELOW


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
