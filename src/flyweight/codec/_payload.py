"""One tensor's bytes: a matrix of whole numbers times a step, in the contexts of its rows and columns."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flyweight.codec._format import Cursor, Record, damaged, number
from flyweight.codec._model import MAX_CLASS, MAX_HALVES, MAX_STEP, Plan, Steps, contexts, matrix_shape
from flyweight.codec._rans import Stream, decode, encode, lanes_for, steps_of
from flyweight.codec._tables import Tables

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIXED = (
    "<fBBBhBBB"  # step, flags, lowest and highest table, table of class 0, tables of row and column classes, of steps
)


@dataclass(frozen=True)
class Coded:
    """A tensor's payload, taken apart but not yet decoded: the weights' tables follow from the classes."""

    record: Record
    step: np.float32
    low: int
    high: int
    base: int
    sides: tuple[tuple[Stream, NDArray[np.int32]] | None, ...]  # classes of rows and columns, steps of rows and columns
    weights: tuple[NDArray[np.uint32], NDArray[np.uint16], NDArray[np.int32]]


@dataclass(frozen=True)
class Place:
    """Where a file's tables are: those of weights from ``first`` class on, and those of classes."""

    first: int
    last: int
    rows: int
    columns: int
    steps: int


def write_payload(plan: Plan, steps: Steps, place: Place, tables: Tables) -> bytes:
    """Return one tensor's bytes; ``place.first`` is the class of table 0."""
    sides = (
        (plan.rows, place.rows),
        (plan.columns, place.columns),
        (steps.rows, place.steps),
        (steps.columns, place.steps),
    )
    sent = [(side, table) if side is not None and side.any() else None for side, table in sides]
    flags = sum(1 << index for index, side in enumerate(sent) if side)
    span = place.last - place.first
    parts = [
        struct.pack(FIXED, steps.step, flags, 0, span, plan.base - place.first, place.rows, place.columns, place.steps)
    ]
    parts += [_write_stream(s[0], np.full(len(s[0]), s[1], np.uint8), tables) for s in sent if s]
    which = contexts(plan.base - place.first, 0, span, plan.rows, plan.columns).reshape(-1)
    parts.append(_write_stream(plan.values.reshape(-1), which, tables))
    return b"".join(parts)


def _write_stream(values: NDArray[np.int32], which: NDArray[np.uint8], tables: Tables) -> bytes:
    size, limit = np.abs(values.astype(np.int64)), tables.limits[which]
    symbols = np.where(size > limit, 2 * limit + 1, 2 * size - (values > 0)).astype(np.int32)
    stream = encode(symbols, which, tables)
    escaped = values[size > limit]
    counts = number(len(stream.words)) + number(len(escaped))
    return counts + b"".join(
        part.astype(kind).tobytes() for part, kind in ((stream.states, "<u4"), (stream.words, "<u2"), (escaped, "<i4"))
    )


def read_payload(record: Record, data: bytes, tables: Tables) -> Coded:
    """Take one tensor's bytes apart.

    Raises:
        FileError: they are not as ``write_payload`` writes them.
    """
    cursor, count = Cursor(data), len(tables.knots)
    step, flags, low, high, base, *side_tables = cursor.unpack(FIXED)
    if (
        not (low <= high < count and max(side_tables) < count and flags < 16 and 0 < step <= MAX_STEP)
        or abs(base) > MAX_CLASS
    ):
        raise damaged(f"'{record.name}' names tables {low} to {high}, {side_tables} of {count}, or class {base}")
    shape = matrix_shape(record.shape)
    sides: list[tuple[Stream, NDArray[np.int32]] | None] = []
    for index, table in enumerate((*side_tables, side_tables[2])):
        n = shape[index % 2]
        if not flags >> index & 1:
            sides.append(None)
            continue
        states, words, escapes = _read_stream(cursor, n)
        sides.append((Stream(n, states, words, np.full(n, table, np.uint8)), escapes))
    weights = _read_stream(cursor, record.values)
    if cursor.at != len(data):
        raise damaged(f"'{record.name}' has {len(data) - cursor.at} bytes too many")
    return Coded(record, np.float32(step), low, high, base, tuple(sides), weights)


def _read_stream(cursor: Cursor, n: int) -> tuple[NDArray[np.uint32], NDArray[np.uint16], NDArray[np.int32]]:
    words, escapes = cursor.number(), cursor.number()
    return (
        np.frombuffer(cursor.take(4 * lanes_for(n)), "<u4").astype(np.uint32),
        np.frombuffer(cursor.take(2 * words), "<u2").astype(np.uint16),
        np.frombuffer(cursor.take(4 * escapes), "<i4").astype(np.int32),
    )


def decode_payloads(coded: Sequence[Coded], tables: Tables) -> list[NDArray[np.float32]]:
    """Return the values of tensors, decoded side by side.

    Raises:
        FileError: a stream is damaged.
    """
    sides = [side for c in coded for side in c.sides if side is not None]
    decoded = iter(_values([s for s, _ in sides], [e for _, e in sides], tables))
    streams, steps = [], []
    for c in coded:
        limits = (MAX_CLASS, MAX_CLASS, MAX_HALVES, MAX_HALVES)
        found = [
            _within(c.record.name, next(decoded), limit) if side is not None else None
            for side, limit in zip(c.sides, limits, strict=True)
        ]
        rows, columns = (
            np.zeros(n, np.int32) if side is None else side
            for side, n in zip(found, matrix_shape(c.record.shape), strict=False)
        )
        steps.append(Steps(float(c.step), *found[2:]))
        which = contexts(c.base, c.low, c.high, rows, columns).reshape(-1)
        streams.append(Stream(c.record.values, c.weights[0], c.weights[1], which))
    values = _values(streams, [c.weights[2] for c in coded], tables)
    shapes = [matrix_shape(c.record.shape) for c in coded]
    return [
        s.scaled(v.reshape(shape)).reshape(c.record.shape)
        for c, s, v, shape in zip(coded, steps, values, shapes, strict=True)
    ]


def _within(name: str, classes: NDArray[np.int32], limit: int) -> NDArray[np.int32]:
    if classes.min() < -limit or classes.max() > limit:
        raise damaged(f"'{name}' has a class or a step beyond {limit}")
    return classes


def _values(streams: Sequence[Stream], escapes: Sequence[NDArray[np.int32]], tables: Tables) -> list[NDArray[np.int32]]:
    out = []
    for symbols, stream, escaped in zip(decode(streams, tables), streams, escapes, strict=True):
        values = (symbols + 1) >> 1
        np.negative(values, out=values, where=(symbols & 1) == 0)
        beyond = np.flatnonzero(symbols == (2 * tables.limits + 1)[stream.tables])
        if len(beyond) != len(escaped):
            raise damaged(f"{len(beyond)} values beyond their table, but {len(escaped)} are given")
        values[beyond] = escaped
        out.append(values)
    return out


def cells(record: Record) -> tuple[int, int]:
    """Return the steps and lanes that a coded tensor's decoding takes."""
    lanes = lanes_for(record.values)
    return steps_of(record.values, lanes), lanes
