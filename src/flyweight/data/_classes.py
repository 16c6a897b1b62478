"""The classes of the user's own data: their names, indices and colours, from ``classes.json`` or ``classes.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyweight import files
from flyweight.data._arrays import IGNORE
from flyweight.errors import DataError

Color = tuple[int, int, int]
_EXAMPLE = '[{"name": "background", "index": 0}, {"name": "leaf", "index": 1, "color": [0, 160, 0]}]'
_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Classes:
    """The classes in the order of their indices.

    Attributes:
        index_of_color: what each colour of an RGB mask means, 255 'no truth' among them; empty without colours.
        file: the file's name, for messages.
    """

    names: tuple[str, ...]
    index_of_color: Mapping[Color, int]
    file: str

    @property
    def colors(self) -> tuple[Color, ...]:
        """The colour of every class, or () where one has none."""
        by_index = {index: color for color, index in self.index_of_color.items()}
        chosen = [by_index.get(index) for index in range(len(self.names))]
        return tuple(color for color in chosen if color) if all(chosen) else ()


def read_classes(folder: Path) -> Classes:
    """Read ``classes.json`` (a list) or ``classes.toml`` (``[[classes]]`` tables): name, index, and a colour if wanted.

    An entry with index 255 gives 'no truth' a colour.

    Raises:
        DataError: missing, or not such a list.
        FileError: not readable.
    """
    found = [folder / name for name in ("classes.json", "classes.toml") if (folder / name).is_file()]
    if len(found) != 1:
        what = (
            "both classes.json and classes.toml; keep one" if found else f"no classes.json. Write one like: {_EXAMPLE}"
        )
        raise DataError(f"{folder}: {what}")
    path = found[0]
    entries = _entries(path)
    checked = [_entry(path, entry) for entry in entries]
    names = {index: name for name, index, _ in checked if index != IGNORE}
    indices = [index for _, index, _ in checked]
    colors = [(color, index) for _, index, color in checked if color is not None]
    if len(set(indices)) != len(indices) or len(set(names.values())) != len(names):
        raise DataError(f"{path}: two classes have the same name or index. Give each its own.")
    if len({color for color, _ in colors}) != len(colors):
        raise DataError(f"{path}: two classes have the same colour. Give each its own.")
    if len(names) < 2 or sorted(names) != list(range(len(names))):
        raise DataError(
            f"{path}: indices {sorted(names)}; wanted: 0, 1, 2 … without a gap, at least two. Renumber them."
        )
    return Classes(tuple(names[index] for index in range(len(names))), dict(colors), path.name)


def _entries(path: Path) -> list[Any]:
    if path.suffix == ".json":
        data = files.read_json(path, _MAX_BYTES)
    else:
        try:
            data = tomllib.loads(files.read_bytes(path, _MAX_BYTES).decode("utf-8"))
        except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
            raise DataError(f"{path}: not readable as TOML ({error}). Correct it.") from error
    entries = data.get("classes") if isinstance(data, dict) else data
    if not isinstance(entries, list):
        raise DataError(f"{path}: holds no list of classes. Write it like: {_EXAMPLE}")
    return entries


def _entry(path: Path, entry: Any) -> tuple[str, int, Color | None]:
    """Return name, index and colour of one class."""
    known = {"name", "index", "color"}
    if not isinstance(entry, dict) or set(entry) - known or not {"name", "index"} <= set(entry):
        raise DataError(f"{path}: a class is {str(entry)[:80]}; wanted: name, index, and color if there is one.")
    name, index, color = entry["name"], entry["index"], entry.get("color")
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"{path}: a class's name is {str(name)[:80]!r}; wanted: text. Name it.")
    if not _is_byte(index):
        raise DataError(
            f"{path}: class '{name}' has index {str(index)[:80]}; allowed are 0 to 254, and 255 for 'no truth'."
        )
    if color is None:
        return name, index, None
    if not isinstance(color, list) or len(color) != 3 or not all(map(_is_byte, color)):
        raise DataError(f"{path}: class '{name}' has color {str(color)[:80]}; wanted: [red, green, blue], 0 to 255.")
    return name, index, (color[0], color[1], color[2])


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255
