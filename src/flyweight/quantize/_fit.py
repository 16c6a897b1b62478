"""Weights fitted layer by layer to what they will see, whatever the format that they are written in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from flyweight.quantize._tell import told
from flyweight.quantize._weights import (
    SAMPLES,
    Moments,
    Window,
    compensated,
    corrected_bias,
    halves_of,
    nearest,
    patches,
    refitted,
)

CORRECTED_BY = 32  # calibration images at most that weights are corrected with
WIDEST = 8192  # inputs of one weight row above which a layer is only rounded: products of all pairs take 8·k² bytes
Array = NDArray[Any]


@dataclass(frozen=True)
class Method:
    """How ranges are chosen and weights are rounded.

    Args:
        observer: one of OBSERVERS.
        compensate: a weight's rounding error is made good by the weights after it (GPTQ).
        refit: weights are first fitted to the quantized inputs that they will see.
        correct_bias: each channel's mean is kept.
        equalize: channels between two layers are scaled first, in files that are made from ONNX (``_equalize``).
    """

    observer: Literal["minmax", "percentile", "mse", "entropy"] = "mse"
    compensate: bool = False
    refit: bool = False
    correct_bias: bool = False
    equalize: bool = False

    @property
    def sees_inputs(self) -> bool:
        """Return whether layers' quantized inputs are needed."""
        return self.compensate or self.refit or self.correct_bias


METHODS = {name: Method(name) for name in ("minmax", "percentile", "mse", "entropy")} | {
    "best": Method("mse", compensate=True, refit=True, correct_bias=True)
}


@dataclass(frozen=True)
class Weights:
    """A layer in integers: weight int8 ``(o, ...)``, its step per output channel ``(o,)``, bias in float ``(o,)``."""

    integers: Array
    steps: Array
    bias: Array

    @property
    def floats(self) -> Array:
        """Return the weight that the integers stand for."""
        return np.asarray(self.integers * self.steps.reshape(-1, *[1] * (self.integers.ndim - 1)))


@dataclass(frozen=True)
class Floats:
    """A layer in float: weight ``(o, i, kh, kw)`` or ``(o, i)``, bias ``(o,)``; no window for a linear layer."""

    weight: Array
    bias: Array
    window: Window | None


class Draft(Protocol):
    """A file in the making, whose layers' weights can be changed one after the other."""

    def names(self) -> Sequence[str]:
        """Return the names of the layers to be fitted, in the order in which they run."""
        ...

    def floats(self, name: str) -> Floats:
        """Return a layer as it is in float."""
        ...

    def steps(self, name: str, weight: Array) -> Array:
        """Return the steps per output channel ``(o,)`` that a weight in place of the layer's has in this format."""
        ...

    def inputs(self, name: str, images: Array) -> Iterator[tuple[Array, Array]]:
        """Yield a layer's input image by image: in float, and as it sees it with the weights set so far."""
        ...

    def set(self, name: str, weights: Weights) -> None:
        """Give a layer its integers."""
        ...


def fit(draft: Draft, calibration: Array, method: Method) -> None:
    """Set each layer's integers by a method that sees inputs; layers wider than WIDEST stay as they are."""
    some = calibration[np.linspace(0, len(calibration) - 1, min(len(calibration), CORRECTED_BY)).astype(int)]
    for name in told(
        "fits weights, layer by layer", draft.names()
    ):  # in order: each sees what the layers before it have become
        layer = draft.floats(name)
        if np.prod(layer.weight.shape[1:]) <= WIDEST:
            halves = halves_of(_patches(draft.inputs(name, some), layer, len(some)))
            draft.set(name, _fitted(draft, name, layer, halves, method))


def _fitted(draft: Draft, name: str, layer: Floats, halves: tuple[Moments, Moments], method: Method) -> Weights:
    moments = halves[0] + halves[1]
    wanted = refitted(layer.weight, halves) if method.refit else layer.weight
    steps = draft.steps(name, wanted)
    gram = moments.gram
    if not method.correct_bias:  # the mean's error counts too, then
        gram = gram + moments.quantized_mean[:, :, None] * moments.quantized_mean[:, None, :]
    integers = compensated(wanted, steps, gram) if method.compensate else nearest(wanted, steps)
    made = Weights(integers, steps, layer.bias)
    if not method.correct_bias:
        return made
    return Weights(integers, steps, corrected_bias(layer.weight, layer.bias, made.floats, moments))


def _patches(pairs: Iterator[tuple[Array, Array]], layer: Floats, count: int) -> Iterator[tuple[Array, Array]]:
    """Yield what a layer multiplies with its weight, image by image: in float, and quantized."""
    random = np.random.default_rng(0)
    for wanted, given in pairs:
        places = random.integers(0, 2**40, max(1, SAMPLES // count))
        shape = layer.weight.shape
        yield patches(wanted, layer.window, shape, places), patches(given, layer.window, shape, places)
