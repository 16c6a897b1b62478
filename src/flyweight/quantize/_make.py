"""Int8 post-training quantization of an ONNX file: ranges, rounding and correction of our own.

``quantize`` takes the float graph that a network was exported to, its norms folded, and gives the same graph with
pairs of QuantizeLinear and DequantizeLinear: activations uint8 per tensor with a zero point, weights int8 per output
channel, biases int32 (Jacob et al. 2018, arXiv 1712.05877). An activation that clips is part of its range.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flyweight.quantize._observers import Scale
from flyweight.quantize._plan import Layer, constants, plan
from flyweight.quantize._run import Kept, histograms, scales, values_of
from flyweight.quantize._weights import (
    SAMPLES,
    Moments,
    compensated,
    corrected_bias,
    halves_of,
    nearest,
    patches,
    refitted,
)
from flyweight.quantize._write import Weights, steps_of, write

CORRECTED_BY = 32  # calibration images at most that weights are corrected with
WIDEST = 8192  # inputs of one weight row above which a layer is only rounded: products of all pairs take 8·k² bytes
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Method:
    """How ranges are chosen and weights are rounded.

    Args:
        observer: one of OBSERVERS.
        compensate: a weight's rounding error is made good by the weights after it (GPTQ).
        refit: weights are first fitted to the quantized inputs that they will see.
        correct_bias: each channel's mean is kept.
    """

    observer: Literal["minmax", "percentile", "mse", "entropy"] = "mse"
    compensate: bool = False
    refit: bool = False
    correct_bias: bool = False

    @property
    def sees_inputs(self) -> bool:
        """Return whether layers' quantized inputs are needed."""
        return self.compensate or self.refit or self.correct_bias


def quantize(model: Any, calibration: Floats, method: Method, keep_float: Collection[str] = ()) -> Any:
    """Return the int8 model.

    Args:
        calibration: inputs ``(n, C, H, W)`` as the network is fed them.
        keep_float: names of nodes that aren't quantized.

    Raises:
        ExportError: an activation isn't finite.
    """
    chosen = plan(model, keep_float)
    names = [name for name in chosen.points if name not in chosen.same]
    found = scales(histograms(model, names, calibration), chosen, method.observer)
    weights = {layer.weight: rounded(model, layer, found) for layer in chosen.layers}
    if method.sees_inputs:
        some = calibration[np.linspace(0, len(calibration) - 1, min(len(calibration), CORRECTED_BY)).astype(int)]
        shapes = {item.name: tuple(item.dims) for item in model.graph.initializer}
        layers = [layer for layer in chosen.layers if np.prod(shapes[layer.weight][1:]) <= WIDEST]
        floats = Kept(model, [model.graph.node[layer.index].input[0] for layer in layers], some)
        for layer in layers:  # in order: each sees what the layers before it have become
            so_far = write(model, chosen, found, weights)
            halves = halves_of(_patches(model, so_far, layer, floats, some))
            weights[layer.weight] = _corrected(model, layer, found, halves, method)
    return write(model, chosen, found, weights)


def _floats(model: Any, layer: Layer) -> tuple[Floats, Floats]:
    """Return a layer's weight and bias; zeros where it has none."""
    known = constants(model)
    weight = known[layer.weight]
    return weight, known[layer.bias] if layer.bias else np.zeros(len(weight), np.float32)


def rounded(model: Any, layer: Layer, found: dict[str, Scale]) -> Weights:
    """Return a layer's integers, each the nearest."""
    weight, bias = _floats(model, layer)
    steps = steps_of(weight, bias, found[model.graph.node[layer.index].input[0]].step)
    return Weights(nearest(weight, steps), steps, bias)


def _corrected(
    model: Any, layer: Layer, found: dict[str, Scale], halves: tuple[Moments, Moments], method: Method
) -> Weights:
    weight, bias = _floats(model, layer)
    moments = halves[0] + halves[1]
    wanted = refitted(weight, halves) if method.refit else weight
    steps = steps_of(wanted, bias, found[model.graph.node[layer.index].input[0]].step)
    gram = moments.gram
    if not method.correct_bias:  # the mean's error counts too, then
        gram = gram + moments.quantized_mean[:, :, None] * moments.quantized_mean[:, None, :]
    integers = compensated(wanted, steps, gram) if method.compensate else nearest(wanted, steps)
    made = Weights(integers, steps, bias)
    return Weights(integers, steps, corrected_bias(weight, bias, made.floats, moments)) if method.correct_bias else made


def _patches(model: Any, so_far: Any, layer: Layer, floats: Kept, images: Floats) -> Iterator[tuple[Any, Any]]:
    """Yield what a layer sees, image by image: in float, and quantized."""
    node = model.graph.node[layer.index]
    shape = constants(model)[layer.weight].shape
    name = node.input[0]
    now = f"{name}/dequantized" if name == model.graph.input[0].name else name
    random = np.random.default_rng(0)
    for wanted, given in zip(floats.of(name), values_of(so_far, [now], images), strict=True):
        places = random.integers(0, 2**40, max(1, SAMPLES // len(images)))
        yield patches(wanted, node, layer, shape, places), patches(given[now], node, layer, shape, places)
