"""Reading dataclasses back from JSON data, every field's type checked: damaged data is a FileError, nothing else."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from flyweight.errors import FileError

D = TypeVar("D")
Reader = Callable[[Any, str], Any]


def record(kind: type[D], data: Any, where: str, readers: Mapping[str, Reader]) -> D:
    """Return a ``kind`` made from the mapping ``data``; ``readers`` adds readers by a field's annotation.

    Raises:
        FileError: a field is missing, unknown or of another type; the message names it.
    """
    data = _expect(data, Mapping, where, "an object")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(str(name) for name in set(data) - set(fields)):
        raise FileError(f"not a Flyweight report: {where} has the unknown field '{unknown[0]}'.")
    table = {**READERS, **readers}
    values = {}
    for name, entry in fields.items():
        if name in data:
            values[name] = table[str(entry.type)](data[name], f"{where}.{name}")
        elif entry.default is dataclasses.MISSING:
            raise FileError(f"not a Flyweight report: {where}.{name} is missing.")
    return kind(**values)


def sequence(item: Reader) -> Reader:
    """Return a reader of a list of what ``item`` reads, as a tuple."""
    return lambda data, where: tuple(item(entry, f"{where}[{i}]") for i, entry in enumerate(_list(data, where)))


def mapping(item: Reader) -> Reader:
    """Return a reader of an object with text keys and values that ``item`` reads."""
    return lambda data, where: {
        _text(key, where): item(value, f"{where}.{key}")
        for key, value in _expect(data, Mapping, where, "an object").items()
    }


def pair(first: Reader, second: Reader) -> Reader:
    """Return a reader of a list of two."""

    def read(data: Any, where: str) -> tuple[Any, Any]:
        items = _list(data, where)
        if len(items) != 2:
            raise FileError(f"not a Flyweight report: {where} has {len(items)} entries; 2 are expected.")
        return first(items[0], f"{where}[0]"), second(items[1], f"{where}[1]")

    return read


def optional(item: Reader) -> Reader:
    """Return a reader that lets null pass."""
    return lambda data, where: None if data is None else item(data, where)


def _expect(data: Any, kind: Any, where: str, words: str) -> Any:
    if not isinstance(data, kind):
        raise FileError(f"not a Flyweight report: {where} is {type(data).__name__}; expected {words}.")
    return data


def _list(data: Any, where: str) -> Any:
    return _expect(data, list | tuple, where, "a list")


def _text(data: Any, where: str) -> str:
    text: str = _expect(data, str, where, "text")
    return text


def _bool(data: Any, where: str) -> bool:
    value: bool = _expect(data, bool, where, "true or false")
    return value


def _int(data: Any, where: str) -> int:
    if isinstance(data, bool) or not isinstance(data, int):
        raise FileError(f"not a Flyweight report: {where} is {type(data).__name__}; expected a whole number.")
    return data


def _float(data: Any, where: str) -> float:
    if isinstance(data, bool) or not isinstance(data, int | float) or abs(data) > 1e300 or not math.isfinite(data):
        raise FileError(f"not a Flyweight report: {where} is {str(data)[:40]!r}; expected a finite number.")
    return data


def _any_mapping(data: Any, where: str) -> Mapping[str, Any]:
    return dict(_expect(data, Mapping, where, "an object"))


READERS: Mapping[str, Reader] = {
    "str": _text,
    "bool": _bool,
    "int": _int,
    "float": _float,
    "float | None": optional(_float),
    "tuple[int, int]": pair(_int, _int),
    "tuple[int, ...]": sequence(_int),
    "tuple[str, ...]": sequence(_text),
    "tuple[tuple[int, str], ...]": sequence(pair(_int, _text)),
    "Mapping[str, Any]": _any_mapping,
}
