"""Weights <-> bytes: the ``.fly`` container, one file from which a running network comes back. No torch.

``docs/format.md`` describes it byte by byte; ``decoder/flydec.c`` reads it on a device.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight import files
from flyweight.codec import _format, _model
from flyweight.codec._format import CODED, RAW, SHARED, Head, Record, damaged
from flyweight.codec._model import Rounding, Steps, matrix_shape
from flyweight.codec._native import Decoder, decoder_of
from flyweight.codec._payload import Place, cells, decode_payloads, read_payload, write_payload
from flyweight.codec._shared import Shared, SharedSizes, decode_shared, read_shared, sizes_of, write_shared
from flyweight.codec._tables import KNOTS, Knots, Tables, fitted
from flyweight.errors import FileError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Tensors = Mapping[str, NDArray[Any]]

GROUP_CELLS = 1 << 23  # symbols decoded side by side: about 100 MB of working memory
STEP_BITS = 2.5  # what a row's or column's step costs, about
LARGEST_STEPS = 2**30  # a weight in steps


@dataclass(frozen=True)
class Quantized:
    """Tensors as whole numbers, and the tables that they are to be coded with.

    Attributes:
        plans: coded tensors by name.
        steps: the steps of each.
        shapes: the shape of each.
        raw: tensors that are kept as they are.
        tables, place: of the file.
        ideal_bytes: the code length of all weights under the file's own tables, side information left out.
    """

    plans: Mapping[str, _model.Plan]
    steps: Mapping[str, Steps]
    shapes: Mapping[str, tuple[int, ...]]
    raw: Tensors
    tables: Tables
    place: Place
    ideal_bytes: float

    def values(self) -> dict[str, NDArray[Any]]:
        """Return what decoding will give."""
        coded = {name: self.steps[name].scaled(p.values).reshape(self.shapes[name]) for name, p in self.plans.items()}
        return {**coded, **self.raw}

    def about_bytes(self) -> float:
        """Return about how large the file will be, its description left out."""
        sides = sum(
            int(len(p.rows) * p.rows.any() + len(p.columns) * p.columns.any()) * _model.CLASS_BITS / 8
            for p in self.plans.values()
        )
        own = [side for s in self.steps.values() for side in (s.rows, s.columns) if side is not None]
        sides += sum(len(side) * STEP_BITS / 8 for side in own)
        knots = sum(1 if f < 128 else 2 for table in self.tables.knots for f in table)
        return (
            self.ideal_bytes * 1.0025 + sides + knots + 45 * len(self.plans) + sum(t.nbytes for t in self.raw.values())
        )


def quantize(
    tensors: Tensors,
    steps: Mapping[str, Steps],
    slope: float = _model.LAMBDA,
    rounding: Mapping[str, Rounding] | None = None,
) -> Quantized:
    """Quantize the tensors that ``steps`` names, rate against distortion; others are kept as they are.

    Args:
        tensors: by name, in the order of the file.
        steps: the distance between values, of each tensor as a matrix: its first axis, and all others.
        slope: squared error in steps² that a bit is worth; 0 rounds to the nearest.
        rounding: by tensor, what chooses its whole numbers in place of each by itself.

    Raises:
        UsageError: a value is not finite, or more than 2**30 steps from 0; or a type that the file can't hold.
    """
    steps = {name: step for name, step in steps.items() if tensors[name].size}
    for name, own in steps.items():
        _check(name, tensors[name], own)
    fine = _fineness(sum(tensors[n].size for n in steps))
    bits = _model.usual_bits(fine)
    matrices = {n: tensors[n].reshape(_model.matrix_shape(tensors[n].shape)) for n in tensors if n in steps}
    plans = {n: _model.plan(m, steps[n], bits, fine, slope) for n, m in matrices.items()}
    knots, first = _model.tables_for(list(plans.values()))
    padded = _by_class(Tables(knots).bits, first, _model.classes_of(fine))
    ways = rounding or {}
    plans = {n: _model.plan(m, steps[n], padded, fine, slope, ways.get(n)) for n, m in matrices.items()}
    knots, first = _model.tables_for(list(plans.values()))
    sides = (
        _side([p.rows for p in plans.values()]), _side([p.columns for p in plans.values()]),
        _side([side for s in steps.values() for side in (s.rows, s.columns) if side is not None]),
    )  # fmt: skip
    count = len(knots)
    weighing = Tables(knots)
    ideal = _model.mean_bits(list(plans.values()), weighing.bits, first) / 8
    return Quantized(
        plans, dict(steps), {n: tensors[n].shape for n in plans},
        {n: t for n, t in tensors.items() if n not in steps}, Tables((*knots, *sides)),
        Place(first, first + count - 1, count, count + 1, count + 2), ideal,
    )  # fmt: skip


def _fineness(weights: int) -> int:
    """Return classes of an octave: more where there are weights enough to pay for their tables."""
    return 1 if weights < 100_000 else 2 if weights < 1_000_000 else 4


def _check(name: str, tensor: NDArray[Any], steps: Steps) -> None:
    if tensor.dtype != np.float32 or not np.isfinite(tensor).all():
        raise UsageError(f"'{name}' is {tensor.dtype} or holds NaN or infinity; only finite float32 can be coded.")
    shape, step = _model.matrix_shape(tensor.shape), np.float32(steps.step)
    for side, n in zip((steps.rows, steps.columns), shape, strict=True):
        if side is not None and (side.shape != (n,) or np.abs(side).max(initial=0) > _model.MAX_HALVES):
            raise UsageError(f"'{name}': steps of shape {side.shape}, where {n} are wanted, each -60 to 60.")
    if not 0 < step <= _model.MAX_STEP or np.abs(steps.units(tensor.reshape(shape))).max() > LARGEST_STEPS:
        raise UsageError(f"'{name}': step {steps.step!r} is not above 0, or too small for its weights. Take a larger.")


def _by_class(bits: NDArray[np.float32], first: int, classes: int) -> NDArray[np.float32]:
    """Return code lengths by class; classes that no table stands for take the nearest one's."""
    return bits[np.clip(np.arange(classes) - first, 0, len(bits) - 1)]


def _side(classes: list[NDArray[np.int32]]) -> Knots:
    counts = np.zeros(KNOTS[-1] + 1)
    for c in classes:
        if c.any():
            np.add.at(counts, np.minimum(np.abs(c), KNOTS[-1]), 1)
    return fitted(counts) if counts.any() else (1,)


def encode(quantized: Quantized, description: Mapping[str, Any], shared: Mapping[str, Shared] | None = None) -> bytes:
    """Return the whole file; ``shared``: further tensors, which come first, with few values each.

    Raises:
        UsageError: a tensor of a type that the file can't hold, or more values than a shared tensor may have.
    """
    payloads, records = [], []
    for name, few in (shared or {}).items():
        payload = write_shared(name, few)
        payloads.append(payload)
        records.append(Record(name, SHARED, "<f4", few.codes.shape, 0, len(payload), zlib.crc32(payload)))
    for name, plan in quantized.plans.items():
        payload = write_payload(plan, quantized.steps[name], quantized.place, quantized.tables)
        payloads.append(payload)
        records.append(Record(name, CODED, "<f4", quantized.shapes[name], 0, len(payload), zlib.crc32(payload)))
    for name, tensor in quantized.raw.items():
        dtype = tensor.dtype.newbyteorder("<").str
        if dtype not in _format.DTYPES:
            raise UsageError(f"'{name}' is {tensor.dtype}; a .fly file holds {', '.join(_format.DTYPES)}.")
        payload = tensor.astype(dtype).tobytes()
        payloads.append(payload)
        records.append(Record(name, RAW, dtype, tensor.shape, 0, len(payload), zlib.crc32(payload)))
    return _format.write_head(quantized.tables, records, description) + b"".join(payloads)


@dataclass(frozen=True)
class Container:
    """An opened ``.fly`` file: its head is read, its tensors are not.

    ``native``: the C decoder with this file's head, where it was compiled; else Python decodes.
    """

    path: Path
    head: Head
    native: Decoder | None = None

    @property
    def records(self) -> tuple[Record, ...]:
        """One record a tensor, in the order of the file."""
        return self.head.records

    @property
    def description(self) -> Mapping[str, Any]:
        """What the writer said of the network."""
        return self.head.description

    def tensor(self, name: str) -> NDArray[Any]:
        """Decode one tensor; no other byte of the file is read.

        Raises:
            UsageError: there is none of that name.
            FileError: it is damaged.
        """
        found = [r for r in self.records if r.name == name]
        if not found:
            raise UsageError(f"{self.path} has no tensor '{name}'. It has: {', '.join(r.name for r in self.records)}.")
        return next(self._decoded(found))[1]

    def tensors(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Decode all tensors in the order of the file, some at a time: bounded by GROUP_CELLS and the largest.

        Raises:
            FileError: a tensor is damaged.
        """
        for group in _groups(self.records):
            yield from self._decoded(group)

    def shared_sizes(self) -> tuple[SharedSizes, ...]:
        """Return where the bytes of every shared tensor go, in the order of the file.

        Raises:
            FileError: one is damaged.
        """
        few = [r for r in self.records if r.kind == SHARED]
        return tuple(sizes_of(r, data) for r, data in zip(few, self._payloads(few), strict=True))

    def _payloads(self, group: list[Record]) -> list[bytes]:
        try:
            with open(self.path, "rb") as handle:
                return [_payload(handle, r) for r in group]
        except OSError as error:
            raise files.file_error(self.path, "read", error) from error
        except FileError as error:
            raise FileError(f"{self.path}: {error}") from error

    def _decoded(self, group: list[Record]) -> Iterator[tuple[str, NDArray[Any]]]:
        data = self._payloads(group)
        if self.native is not None:
            yield from self._natively(group, data)
            return
        yield from self._in_python(group, data)

    def _natively(self, group: list[Record], data: list[bytes]) -> Iterator[tuple[str, NDArray[Any]]]:
        places = {id(record): index for index, record in enumerate(self.records)}
        for record, payload in zip(group, data, strict=True):
            found = None
            if self.native is not None and record.kind != RAW:
                found = self.native.decode(places[id(record)], record, payload)
            if found is None:  # kept as it is, or refused: Python says why
                yield from self._in_python([record], [payload])
            else:
                yield record.name, found

    def _in_python(self, group: list[Record], data: list[bytes]) -> Iterator[tuple[str, NDArray[Any]]]:
        try:
            coded = [read_payload(r, d, self.head.tables) for r, d in zip(group, data, strict=True) if r.kind == CODED]
            few = [read_shared(r, d) for r, d in zip(group, data, strict=True) if r.kind == SHARED]
            decoded = {CODED: iter(decode_payloads(coded, self.head.tables)), SHARED: iter(decode_shared(few))}
        except FileError as error:
            raise FileError(f"{self.path}: {error}") from error
        for record, payload in zip(group, data, strict=True):
            if record.kind != RAW:
                yield record.name, next(decoded[record.kind])
            else:
                yield record.name, np.frombuffer(payload, record.dtype).reshape(record.shape).copy()


def _payload(handle: Any, record: Record) -> bytes:
    handle.seek(record.offset)
    data: bytes = handle.read(record.bytes)
    if zlib.crc32(data) != record.checksum or len(data) != record.bytes:
        raise damaged(f"tensor '{record.name}' does not have its checksum")
    return data


def _groups(records: tuple[Record, ...]) -> Iterator[list[Record]]:
    """Yield records that are decoded side by side: as many as fit into GROUP_CELLS, at least one."""
    group: list[Record] = []
    steps, lanes = 0, 0
    for record in records:
        own_steps, own_lanes = cells(record)
        if group and max(steps, own_steps) * (lanes + own_lanes) > GROUP_CELLS:
            yield group
            group, steps, lanes = [], 0, 0
        group.append(record)
        steps, lanes = max(steps, own_steps), lanes + own_lanes
    if group:
        yield group


def open_container(path: Path, *, native: bool = True) -> Container:
    """Read a file's head.

    Args:
        native: tensors are decoded in C where Flyweight's decoder was compiled; False: always in Python.

    Raises:
        FileError: missing, not a ``.fly`` file, of a later version, or damaged.
    """
    try:
        with open(path, "rb") as handle:
            size = path.stat().st_size
            prefix = handle.read(_format.PREFIX_BYTES)
            head_bytes, checksum = _format.read_prefix(prefix, size)
            head = handle.read(head_bytes)
            read = _format.read_head(head, checksum, size)
            return Container(path, read, decoder_of(prefix + head, size) if native else None)
    except OSError as error:
        raise files.file_error(path, "read", error) from error
    except FileError as error:
        raise FileError(f"{path}: {error}") from error


__all__ = [
    "Container",
    "Quantized",
    "Record",
    "Rounding",
    "Shared",
    "SharedSizes",
    "Steps",
    "encode",
    "matrix_shape",
    "open_container",
    "quantize",
    "write_shared",
]
