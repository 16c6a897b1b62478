"""Int8 post-training quantization of an ONNX file: ranges, rounding and correction of our own.

``quantize`` takes the float graph that a network was exported to, its norms folded, and gives the same graph with
pairs of QuantizeLinear and DequantizeLinear: activations uint8 per tensor with a zero point, weights int8 per output
channel, biases int32 (Jacob et al. 2018, arXiv 1712.05877). An activation that clips is part of its range.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyweight.quantize._equalize import equalized
from flyweight.quantize._fit import Array, Floats, Method, Weights, fit
from flyweight.quantize._observers import Scale
from flyweight.quantize._plan import Layer, constants, plan
from flyweight.quantize._run import Kept, histograms, scales, values_of
from flyweight.quantize._weights import Window, nearest
from flyweight.quantize._write import steps_of, write


def quantize(
    model: Any,
    calibration: NDArray[np.float32],
    method: Method,
    keep_float: Collection[str] = (),
) -> Any:
    """Return the int8 model.

    Args:
        calibration: inputs ``(n, C, H, W)`` as the network is fed them.
        keep_float: names of nodes that aren't quantized.

    Raises:
        ExportError: an activation isn't finite.
    """
    if method.equalize:
        model, _ = equalized(model)
    draft = _Draft(model, calibration, method.observer, keep_float)
    if method.sees_inputs:
        fit(draft, calibration, method)
    return draft.written()


def fitted(model: Any, calibration: NDArray[np.float32], method: Method) -> list[tuple[Floats, Weights]]:
    """Return every layer in float and in integers, for a file of another format with the same arithmetic.

    Raises:
        ExportError: an activation isn't finite.
    """
    draft = _Draft(model, calibration, method.observer, ())
    if method.sees_inputs:
        fit(draft, calibration, method)
    return [(draft.floats(name), draft.weights[name]) for name in draft.names()]


def floats_of(model: Any, layer: Layer, known: dict[str, Array]) -> Floats:
    """Return a layer's weight and bias, zeros where it has none, and where it reads."""
    weight, node = known[layer.weight], model.graph.node[layer.index]
    bias = known[layer.bias] if layer.bias else np.zeros(len(weight), np.float32)
    if node.op_type == "Gemm":
        return Floats(weight, bias, None)
    given = {a.name: tuple(a.ints) for a in node.attribute if a.ints}
    window = Window(
        given.get("strides", (1, 1)), given.get("dilations", (1, 1)), given.get("pads", (0,) * 4), layer.group
    )
    return Floats(weight, bias, window)


def rounded(model: Any, layer: Layer, found: dict[str, Scale], known: dict[str, Array]) -> Weights:
    """Return a layer's integers, each the nearest."""
    floats = floats_of(model, layer, known)
    steps = steps_of(floats.weight, floats.bias, found[model.graph.node[layer.index].input[0]].step)
    return Weights(nearest(floats.weight, steps), steps, floats.bias)


class _Draft:
    """An ONNX file in the making (``Draft``); layers go by their nodes' names, or places where these repeat."""

    def __init__(self, model: Any, calibration: Array, observer: str, keep_float: Collection[str]) -> None:
        self.model, self.plan, self.known = model, plan(model, keep_float), constants(model)
        names = [name for name in self.plan.points if name not in self.plan.same]
        self.scales = scales(histograms(model, names, calibration), self.plan, observer)
        self.layers = {layer.weight: layer for layer in self.plan.layers}
        self.weights = {name: rounded(model, layer, self.scales, self.known) for name, layer in self.layers.items()}
        self.kept: Kept | None = None

    def written(self) -> Any:
        return write(self.model, self.plan, self.scales, self.weights)

    def names(self) -> Sequence[str]:
        return list(self.layers)

    def floats(self, name: str) -> Floats:
        return floats_of(self.model, self.layers[name], self.known)

    def steps(self, name: str, weight: Array) -> Array:
        return steps_of(weight, self.floats(name).bias, self.scales[self._input(name)].step)

    def inputs(self, name: str, images: Array) -> Iterator[tuple[Array, Array]]:
        source = self._input(name)
        if self.kept is None:
            self.kept = Kept(self.model, [self._input(layer) for layer in self.layers], images)
        now = f"{source}/dequantized" if source == self.model.graph.input[0].name else source
        made = values_of(self.written(), [now], images)
        for wanted, given in zip(self.kept.of(source), made, strict=True):
            yield wanted, given[now]

    def set(self, name: str, weights: Weights) -> None:
        self.weights[name] = weights

    def _input(self, name: str) -> str:
        return str(self.model.graph.node[self.layers[name].index].input[0])
