"""The encoder's choices: whole numbers for the weights, and the context that each is coded in.

A weight's context is how large it is likely to be: the class of its row plus the class of its column, each a step of a
part of an octave of the mean magnitude. Classes are sent; nothing adapts, and weights may be decoded in any order. How
many classes an octave has, ``per_octave``, is the encoder's affair: more of them fit better, and need more tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from flyweight.codec._tables import KNOTS, Knots, Tables, fitted

if TYPE_CHECKING:
    from numpy.typing import NDArray

OCTAVES = (-5, 7)  # of the mean magnitude in steps, from the first class to the last
RARE = 24  # weights at either end that get no table of their own
CLASS_BITS = 3.5  # what a row's or column's class costs, about
LAMBDA = (
    0.1  # step² of squared error that one bit is worth: the slope of rate against distortion is -0.1155 at high rates
)
PRIOR = 4.0  # symbols' worth of the usual shape in every table
LARGEST = 2**31 - 1
ROOTS = np.array([1, 1.41421354], np.float32)
MAX_HALVES = 60  # of a row's or column's step
MAX_STEP = 2.0**30
MAX_CLASS = 1000  # that a file may hold; the encoder's stay far below


@dataclass(frozen=True)
class Steps:
    """The distance between a matrix's values: ``step`` times that of its row and of its column.

    Attributes:
        step: above 0, at most 2**30.
        rows, columns: half octaves, ``(rows,)`` and ``(columns,)``, int32; None: 0 everywhere.
    """

    step: float
    rows: NDArray[np.int32] | None = None
    columns: NDArray[np.int32] | None = None

    def scaled(self, whole: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the values of whole numbers ``(rows, columns)``: (whole * row's step) * column's, in float32."""
        rows = np.float32(self.step) * (powers(self.rows)[:, None] if self.rows is not None else np.float32(1))
        values: NDArray[np.float32] = whole.astype(np.float32) * rows
        return values if self.columns is None else values * powers(self.columns)[None, :]

    def units(self, weights: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return weights ``(rows, columns)`` in steps."""
        units = weights.astype(np.float64) / np.float64(np.float32(self.step))
        if self.rows is not None:
            units /= powers(self.rows)[:, None]
        if self.columns is not None:
            units /= powers(self.columns)[None, :]
        return units


def powers(halves: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return 2 to the power of halves, as float32: exact, or the float32 root of 2 times a power of two."""
    exact: NDArray[np.float32] = np.ldexp(ROOTS[halves & 1], halves >> 1).astype(np.float32)
    return exact


@dataclass(frozen=True)
class Plan:
    """One tensor, quantized.

    Attributes:
        values: whole numbers ``(rows, columns)``, int32.
        per_octave: classes of an octave.
        base: class of a weight in a row and a column of class 0.
        rows, columns: classes ``(rows,)`` and ``(columns,)``, int32; all zero where they don't pay.
    """

    values: NDArray[np.int32]
    per_octave: int
    base: int
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]

    def classes(self) -> NDArray[np.uint8]:
        """Return the class of every weight ``(rows, columns)``."""
        return contexts(self.base, 0, classes_of(self.per_octave) - 1, self.rows, self.columns)


def classes_of(per_octave: int) -> int:
    """Return how many classes there are."""
    return (OCTAVES[1] - OCTAVES[0]) * per_octave + 1


def contexts(base: int, low: int, high: int, rows: NDArray[np.int32], columns: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return ``clip(base + row + column, low, high)`` for every weight ``(rows, columns)``."""
    own = (rows + base).astype(np.int16)[:, None] + columns.astype(np.int16)  # at most 3 * MAX_CLASS
    clipped: NDArray[np.uint8] = np.clip(own, low, high).astype(np.uint8)
    return clipped


class Rounding(Protocol):
    """A way of choosing whole numbers, in place of each by itself."""

    def __call__(
        self, scaled: NDArray[np.float64], classes: NDArray[np.uint8], bits: NDArray[np.float32], slope: float, /
    ) -> NDArray[np.int32]:
        """Return whole numbers ``(rows, columns)`` for weights in steps, coded in their classes."""


def plan(
    weights: NDArray[np.float32],
    steps: Steps,
    bits: NDArray[np.float32],
    per_octave: int,
    slope: float,
    rounding: Rounding | None = None,
) -> Plan:
    """Quantize a matrix, each weight to the number that is worth its bits.

    Args:
        weights: ``(rows, columns)``.
        steps: the distance between values.
        bits: code length of every magnitude in every class ``(classes, 257)``.
        per_octave: classes of an octave.
        slope: squared error in steps² that a bit is worth.
        rounding: chooses the numbers; None: each by itself.
    """
    scaled = steps.units(weights)
    plain = np.clip(np.rint(scaled), -LARGEST, LARGEST).astype(np.int32)
    found = min(_candidates(np.abs(scaled), plain, per_octave), key=lambda p: _cost(p, bits))
    classes = found.classes()
    chosen = rounding(scaled, classes, bits, slope) if rounding else _worth(scaled, plain, classes, bits, slope)
    return Plan(chosen, per_octave, found.base, found.rows, found.columns)


def _candidates(size: NDArray[np.float64], values: NDArray[np.int32], per_octave: int) -> list[Plan]:
    """Return the tensor with and without classes of its rows and columns."""
    size = np.minimum(size, 1e9)
    rows, columns = np.zeros(size.shape[0]), np.zeros(size.shape[1])
    found = [_plan(size, values, per_octave, rows, columns)]
    if min(size.shape) > 1:
        found.append(_plan(size, values, per_octave, _octaves(size.mean(1)), columns))
        found.append(_plan(size, values, per_octave, rows, _octaves(size.mean(0))))
        for _ in range(3):  # rows and columns that explain the magnitudes together
            columns = _octaves((size * np.exp2(-rows)[:, None]).mean(0))
            rows = _octaves((size * np.exp2(-columns)[None, :]).mean(1))
        found.append(_plan(size, values, per_octave, rows, columns))
    return found


def _octaves(mean: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log2(np.maximum(mean, 2.0 ** OCTAVES[0]))


def _plan(
    size: NDArray[np.float64],
    values: NDArray[np.int32],
    per_octave: int,
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
) -> Plan:
    whole_rows, middle_row = _centred(rows, per_octave)
    whole_columns, middle_column = _centred(columns, per_octave)
    if not rows.any() and not columns.any():
        middle_row = round(per_octave * float(_octaves(np.array([size.mean()]))[0]))
    base = middle_row + middle_column - OCTAVES[0] * per_octave
    return Plan(values, per_octave, int(np.clip(base, 0, classes_of(per_octave) - 1)), whole_rows, whole_columns)


def _centred(octaves: NDArray[np.float64], per_octave: int) -> tuple[NDArray[np.int32], int]:
    whole = np.rint(octaves * per_octave).astype(np.int32)
    middle = int(np.median(whole))
    return np.clip(whole - middle, -100, 100).astype(np.int32), middle


def _cost(p: Plan, bits: NDArray[np.float32]) -> float:
    side = CLASS_BITS * (len(p.rows) * p.rows.any() + len(p.columns) * p.columns.any())
    return float(bits[p.classes(), np.minimum(np.abs(p.values), bits.shape[1] - 1)].sum(dtype=np.float64)) + float(side)


def _worth(
    scaled: NDArray[np.float64], plain: NDArray[np.int32], classes: NDArray[np.uint8], bits: NDArray[np.float32],
    slope: float,
) -> NDArray[np.int32]:  # fmt: skip
    """Return each weight's nearest whole number, or the one next to it nearer to zero where that is the better deal."""
    last = bits.shape[1] - 1
    size, own = np.abs(scaled), np.abs(plain)
    less = np.maximum(own - 1, 0)
    saved = bits[classes, np.minimum(own, last)] - bits[classes, np.minimum(less, last)]
    chosen = np.where((size - less) ** 2 - (size - own) ** 2 < slope * saved, less, own)
    signed: NDArray[np.int32] = (np.sign(plain) * chosen).astype(np.int32)
    return signed


@cache
def usual_bits(per_octave: int) -> NDArray[np.float32]:
    """Return the code lengths ``(classes, 257)`` before any tensor was seen: those of ``usual_shapes``."""
    return Tables(usual_tables(per_octave)).bits


@cache
def usual_tables(per_octave: int) -> tuple[Knots, ...]:
    """Return one table per class, of the usual shape."""
    return tuple(fitted(usual_shape(c / per_octave) * 1e6) for c in range(classes_of(per_octave)))


def usual_shape(octave: float) -> NDArray[np.float64]:
    """Return the probability of every magnitude ``(256,)``, ``octave`` octaves above the first class's mean.

    The shape lies between Laplace's and Gauss's distribution, as trained weights do.
    """
    mean = 2.0 ** (OCTAVES[0] + octave)
    edges = np.arange(-0.5, 256)
    edges[0] = 0
    tail = np.exp(-((np.maximum(edges, 0) / (1.15 * mean)) ** 1.25))
    return np.asarray(np.maximum(tail[:-1] - tail[1:], 0))


def tables_for(plans: Sequence[Plan]) -> tuple[tuple[Knots, ...], int]:
    """Return the tables for the classes that occur, from the first to the last, and the first one's class."""
    per_octave = plans[0].per_octave if plans else 1
    counts = np.zeros((classes_of(per_octave), KNOTS[-1] + 1))
    for p in plans:
        np.add.at(counts, (p.classes(), np.minimum(np.abs(p.values), KNOTS[-1])), 1)
    first, last = _span(counts.sum(1))
    counts[first], counts[last] = counts[: first + 1].sum(0), counts[last:].sum(0)
    made = []
    for index in range(first, last + 1):
        total = counts[index].sum()
        shape = usual_shape(index / per_octave)
        seen = shape * (np.arange(len(shape)) <= np.flatnonzero(counts[index]).max(initial=0))
        made.append(fitted(counts[index] + PRIOR * seen) if total else (TINY,))
    return tuple(made), first


def _span(weights: NDArray[np.float64]) -> tuple[int, int]:
    """Return the first and the last class that gets a table; the few weights beyond are coded in these."""
    spread, few = np.cumsum(weights), min(RARE, weights.sum() / 8)
    first = int(np.searchsorted(spread, few, side="right"))
    last = int(np.searchsorted(spread, weights.sum() - few))
    return min(first, last), last


TINY = 1  # the frequency in a table that nothing uses


def mean_bits(plans: Sequence[Plan], bits: NDArray[np.float32], first: int) -> float:
    """Return the ideal length of all weights in bits, by the tables' own model; ``first``: class of the first table."""
    return sum(
        float(
            bits[
                np.clip(p.classes().astype(np.int32) - first, 0, len(bits) - 1),
                np.minimum(np.abs(p.values), bits.shape[1] - 1),
            ].sum(dtype=np.float64)
        )
        for p in plans
    )


def matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Return rows and columns that a tensor is coded as: its first axis, and all others."""
    if len(shape) < 2:
        return 1, int(np.prod(shape, dtype=np.int64))
    return int(shape[0]), int(np.prod(shape[1:], dtype=np.int64))
