"""The bytes of a ``.fly`` file's head: prefix, tables, one record a tensor, description. See docs/format.md."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flyweight.codec._tables import MAX_TABLES, Tables
from flyweight.errors import FileError

MAGIC = b"\x89FLY\r\n\x1a\n"
VERSION = 1
PREFIX = struct.Struct("<8sHHIQI")  # magic, version, 0, bytes of the head, bytes of the file, checksum of the head
PREFIX_BYTES = PREFIX.size + 4  # and the prefix's own checksum
RAW, CODED, SHARED = 0, 1, 2
DTYPES = ("<f4", "<f2", "<i8", "<i4", "|u1")
MAX_HEAD_BYTES = 1 << 26
MAX_TENSORS = 1 << 16
MAX_VALUES = 1 << 28  # of one tensor: 1 GiB of float32
MAX_DESCRIPTION_BYTES = 1 << 24
MOST_A_BYTE = 1 << 16  # values that one coded byte can stand for: a symbol takes at least log2(16384/16382) bits
MAX_AXES = 8


@dataclass(frozen=True)
class Record:
    """What the head says of one tensor.

    Attributes:
        name: its name.
        kind: RAW, CODED or SHARED.
        dtype: one of DTYPES; coded and shared tensors are float32.
        shape: its axes.
        offset: of its first byte in the file.
        bytes: that it takes in the file.
        checksum: CRC-32 of those bytes.
    """

    name: str
    kind: int
    dtype: str
    shape: tuple[int, ...]
    offset: int
    bytes: int
    checksum: int

    @property
    def values(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Head:
    """A file's head: readable without decoding a weight."""

    tables: Tables
    records: tuple[Record, ...]
    description: Mapping[str, Any]
    bytes: int


def damaged(why: str) -> FileError:
    """Return the error for a file that is not what it should be."""
    return FileError(f"{why}. The file is damaged: copy it again.")


class Cursor:
    """Takes values from bytes one after the other; running out of them is damage."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        if count > len(self.data) - self.at:
            raise damaged(f"it ends after {len(self.data)} bytes, where {self.at + count} are needed")
        self.at += count
        return self.data[self.at - count : self.at]

    def unpack(self, layout: str) -> tuple[Any, ...]:
        """Return the next values of a ``struct`` layout."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def number(self) -> int:
        """Return a whole number in seven bits a byte, the lowest first; at most five bytes."""
        total = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            total |= (byte & 127) << shift
            if byte < 128:
                return total
        raise damaged("a number takes more than five bytes")


def number(value: int) -> bytes:
    """Return a whole number below 2**35 as ``Cursor.number`` reads it."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def write_head(tables: Tables, records: Sequence[Record], description: Mapping[str, Any]) -> bytes:
    """Return prefix and head; the records' offsets are left out, since payloads follow one another."""
    text = zlib.compress(json.dumps(description, separators=(",", ":"), ensure_ascii=False).encode(), 9)
    parts = [number(len(tables.knots))]
    parts += [number(len(table)) + b"".join(map(number, table)) for table in tables.knots]
    parts.append(number(len(records)))
    before = b""
    for r in records:
        name = r.name.encode()
        same = min(_shared(before, name), 255)
        parts.append(bytes([same]) + number(len(name) - same) + name[same:])
        parts.append(bytes([r.kind, DTYPES.index(r.dtype), len(r.shape)]) + b"".join(map(number, r.shape)))
        parts.append(number(r.bytes) + struct.pack("<I", r.checksum))
        before = name
    body = b"".join([*parts, number(len(text)), text])
    total = PREFIX_BYTES + len(body) + sum(r.bytes for r in records)
    prefix = PREFIX.pack(MAGIC, VERSION, 0, len(body), total, zlib.crc32(body))
    return prefix + struct.pack("<I", zlib.crc32(prefix)) + body


def _shared(a: bytes, b: bytes) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def read_prefix(data: bytes, file_bytes: int) -> tuple[int, int]:
    """Return the head's length and its checksum from a file's first ``PREFIX_BYTES`` bytes.

    Raises:
        FileError: not a ``.fly`` file, of a later version, cut short, or damaged.
    """
    if len(data) < PREFIX_BYTES or not data.startswith(MAGIC):
        raise FileError("not a .fly file. Make one with: flyweight pack")
    _, version, zero, head_bytes, total, checksum = PREFIX.unpack_from(data)
    if struct.unpack_from("<I", data, PREFIX.size)[0] != zlib.crc32(data[: PREFIX.size]):
        raise damaged("its first bytes don't have their checksum")
    if version != VERSION or zero:
        raise FileError(f"of version {version}, but this Flyweight reads version {VERSION}. Use a newer Flyweight.")
    if total != file_bytes:
        raise damaged(f"{file_bytes} bytes, but {total} were written")
    if head_bytes > min(MAX_HEAD_BYTES, total - PREFIX_BYTES):
        raise damaged(f"its head is to be {head_bytes} bytes of {total}")
    return int(head_bytes), int(checksum)


def read_head(body: bytes, checksum: int, file_bytes: int) -> Head:
    """Return what a head says.

    Raises:
        FileError: damaged, or larger than allowed.
    """
    if zlib.crc32(body) != checksum:
        raise damaged("its head does not have its checksum")
    cursor = Cursor(body)
    tables = _read_tables(cursor)
    records: list[Record] = []
    offset, name = PREFIX_BYTES + len(body), b""
    for _ in range(_limited(cursor.number(), MAX_TENSORS, "tensors")):
        same = cursor.unpack("<B")[0]
        if same > len(name):
            raise damaged(f"a name shares {same} bytes with one of {len(name)}")
        name = name[:same] + cursor.take(cursor.number())
        records.append(_read_record(cursor, name, offset))
        offset += records[-1].bytes
    description = _read_description(cursor)
    if offset != file_bytes or cursor.at != len(body):
        raise damaged(f"its tensors end at byte {offset} of {file_bytes}")
    if len({r.name for r in records}) != len(records):
        raise damaged("two tensors have one name")
    return Head(tables, tuple(records), description, file_bytes)


def _read_tables(cursor: Cursor) -> Tables:
    count = _limited(cursor.number(), MAX_TABLES, "tables")
    return Tables(
        tuple(tuple(cursor.number() for _ in range(_limited(cursor.number(), 32, "knots"))) for _ in range(count))
    )


def _read_record(cursor: Cursor, name: bytes, offset: int) -> Record:
    kind, dtype, axes = cursor.unpack("<BBB")
    if kind not in (RAW, CODED, SHARED) or dtype >= len(DTYPES) or axes > MAX_AXES or (kind != RAW and dtype):
        raise damaged(f"a tensor of kind {kind}, type {dtype}, {axes} axes")
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        raise damaged("a name is not UTF-8") from error
    shape = tuple(cursor.number() for _ in range(axes))
    size = cursor.number()
    record = Record(text, kind, DTYPES[dtype], shape, offset, size, cursor.unpack("<I")[0])
    _limited(max(record.values, *shape, 0), MAX_VALUES, f"values or an axis of '{text}'")
    if kind == RAW and size != record.values * int(DTYPES[dtype][2]):
        raise damaged(f"'{text}' of {shape} takes {size} bytes")
    if kind != RAW and not 0 < record.values <= size * MOST_A_BYTE:
        raise damaged(f"'{text}' of {shape} is in {size} bytes, which can't hold it")
    return record


def _read_description(cursor: Cursor) -> Mapping[str, Any]:
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(cursor.take(cursor.number()), MAX_DESCRIPTION_BYTES)
        if not unpacker.eof or unpacker.unused_data:
            raise damaged("its description is cut short or too long")
        found = json.loads(text)
    except (zlib.error, ValueError, RecursionError) as error:
        raise damaged(f"its description can't be read ({type(error).__name__})") from error
    if not isinstance(found, dict):
        raise damaged("its description is not a JSON object")
    return found


def _limited(value: int, most: int, what: str) -> int:
    if value > most:
        raise damaged(f"{value} {what}, but at most {most} are allowed")
    return value
