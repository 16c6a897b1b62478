"""Read the boxes of the user's own images, whatever may be wrong with them: Pascal-VOC XML or COCO JSON.

XML is read without a document type: a file that declares one, and with it entities, is refused before it is parsed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree  # only with what _parsed allows

from flyweight import files
from flyweight.errors import DataError

MAX_XML_BYTES = 1 << 20
MAX_OBJECTS = 100_000  # of one image
_DECLARATION = re.compile(rb"<!(?!--|\[CDATA\[)")  # <!DOCTYPE, <!ENTITY and their like


@dataclass(frozen=True)
class Object:
    """One annotated object: ``where`` it stands, for messages; its box in pixels of the image, not yet checked."""

    where: str
    name: str
    box: tuple[float, float, float, float]  # left, top, right, bottom
    ignored: bool


@dataclass(frozen=True)
class Annotated:
    """What is known of one image: its size as stated, None where it isn't, and its objects."""

    file: Path
    size: tuple[int, int] | None  # width and height
    objects: tuple[Object, ...]


# ---- Pascal VOC -------------------------------------------------------------------------------------------------


def read_voc(path: Path) -> Annotated:
    """Read a Pascal-VOC file: corners are the first and last pixels of a box, counted from 1.

    ``difficult`` objects are ignored.

    Raises:
        DataError: not such a file; says what is wrong.
        FileError: not readable, or too large.
    """
    root = _parsed(path)
    if root.tag != "annotation":
        raise DataError(f"{path}: its element is <{root.tag[:40]}>; wanted: <annotation>, as Pascal VOC has it.")
    found = root.findall("object")
    if len(found) > MAX_OBJECTS:
        raise DataError(f"{path}: {len(found)} objects; at most {MAX_OBJECTS} are read.")
    objects = tuple(_voc_object(path, number, element) for number, element in enumerate(found, start=1))
    return Annotated(path, _voc_size(path, root), objects)


def _parsed(path: Path) -> ElementTree.Element:
    data = files.read_bytes(path, MAX_XML_BYTES)
    if _DECLARATION.search(data):
        raise DataError(f"{path}: declares a document type or entities, which are not read. Take the line with <! out.")
    try:
        data.decode("utf-8")
        # the encoding is given, so that no other one can hide what was searched for
        return ElementTree.fromstring(data, ElementTree.XMLParser(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not in UTF-8 ({error}). Save it as UTF-8.") from error
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path}: not readable as XML ({error}). Correct it, or take it out.") from error


def _voc_size(path: Path, root: ElementTree.Element) -> tuple[int, int] | None:
    size = root.find("size")
    if size is None:
        return None
    width, height = (_number(_text(size, name), f"{path}: size: {name}") for name in ("width", "height"))
    return (int(width), int(height)) if width and height else None  # some tools write zeros where they don't know


def _voc_object(path: Path, number: int, element: ElementTree.Element) -> Object:
    name = _text(element, "name")
    where = f"{path}: object {number} ('{name[:40]}')"
    if not name:
        raise DataError(f"{path}: object {number} has no <name>. Name its class.")
    frame = element.find("bndbox")
    if frame is None:
        raise DataError(f"{where} has no <bndbox>. Give its corners.")
    left, top, right, bottom = (
        _number(_text(frame, key), f"{where}: {key}") for key in ("xmin", "ymin", "xmax", "ymax")
    )
    difficult = _text(element, "difficult") or "0"
    if difficult not in ("0", "1"):
        raise DataError(f"{where}: difficult is '{difficult[:40]}'; allowed are 0 and 1.")
    return Object(where, name, (left - 1, top - 1, right, bottom), difficult == "1")


def _text(element: ElementTree.Element, name: str) -> str:
    return (element.findtext(name) or "").strip()


def _number(text: Any, where: str) -> float:
    try:
        value = float(text)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if isinstance(text, bool) or not math.isfinite(value):
        raise DataError(f"{where} is {str(text)[:40]!r}; wanted: a number of pixels.")
    return value


# ---- COCO -------------------------------------------------------------------------------------------------------


def read_coco(path: Path) -> tuple[tuple[str, ...], dict[str, Annotated]]:
    """Read a COCO file; return the classes in the order of their ids, and each image by its file name.

    Boxes are [x, y, width, height] from 0; ``iscrowd`` objects are ignored.

    Raises:
        DataError: not such a file; says what is wrong and where.
        FileError: not readable as JSON, or too large.
    """
    data = files.read_json(path)
    if not isinstance(data, dict):
        raise DataError(
            f"{path}: holds a {type(data).__name__}; wanted: an object with images, annotations, categories."
        )
    names = _categories(path, data)
    images = {}
    for where, entry in _entries(path, data, "images"):
        identity = _key(entry.get("id"), f"{where}: id")
        if identity in images:
            raise DataError(f"{where}: id {identity!r} is that of an earlier image. Give each its own.")
        images[identity] = (_name(entry.get("file_name"), f"{where}: file_name"), _coco_size(where, entry))
    objects: dict[int | str, list[Object]] = {identity: [] for identity in images}
    for where, entry in _entries(path, data, "annotations"):
        image, kind = (_key(entry.get(key), f"{where}: {key}") for key in ("image_id", "category_id"))
        if image not in images:
            raise DataError(f"{where}: image_id is {image!r}, but no image has this id. Add the image, or take it out.")
        if kind not in names:
            raise DataError(f"{where}: category_id is {kind!r}; known are {', '.join(map(str, list(names)[:20]))}.")
        objects[image].append(_coco_object(where, entry, names[kind]))
    found: dict[str, Annotated] = {}
    for identity, (name, size) in images.items():
        if name in found:
            raise DataError(f"{path}: two images have the file_name '{name}'. Keep one of the two.")
        found[name] = Annotated(path, size, tuple(objects[identity]))
    return tuple(names.values()), found


def _categories(path: Path, data: Mapping[str, Any]) -> dict[int | str, str]:
    names: dict[int | str, str] = {}
    for where, entry in _entries(path, data, "categories"):
        identity, name = _key(entry.get("id"), f"{where}: id"), _name(entry.get("name"), f"{where}: name")
        if identity in names or name in names.values():
            raise DataError(
                f"{where}: two categories have the id {identity!r} or the name '{name}'. Give each its own."
            )
        names[identity] = name
    if not names:
        raise DataError(f"{path}: no category. Name at least one class.")
    return dict(sorted(names.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def _entries(path: Path, data: Mapping[str, Any], key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield where each entry of a list stands, and the entry."""
    entries = data.get(key)
    if not isinstance(entries, list):
        raise DataError(f"{path}: '{key}' is no list. COCO's format has images, annotations and categories.")
    for index, entry in enumerate(entries):
        where = f"{path}: {key}[{index}]"
        if not isinstance(entry, dict):
            raise DataError(f"{where} is {str(entry)[:40]!r}; wanted: an object.")
        yield where, entry


def _coco_size(where: str, entry: Mapping[str, Any]) -> tuple[int, int] | None:
    if entry.get("width") is None or entry.get("height") is None:
        return None
    width, height = (_number(entry[name], f"{where}: {name}") for name in ("width", "height"))
    return int(width), int(height)


def _coco_object(where: str, entry: Mapping[str, Any], name: str) -> Object:
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise DataError(f"{where}: bbox is {str(box)[:60]}; wanted: [x, y, width, height] in pixels.")
    x, y, width, height = (_number(value, f"{where}: bbox") for value in box)
    crowd = entry.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise DataError(f"{where}: iscrowd is {str(crowd)[:40]!r}; allowed are 0 and 1.")
    return Object(f"{where} ('{name[:40]}')", name, (x, y, x + width, y + height), bool(crowd))


def _key(value: Any, where: str) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise DataError(f"{where} is {str(value)[:40]!r}; wanted: a whole number or a text.")
    return value


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where} is {str(value)[:40]!r}; wanted: a text.")
    return value.strip()
