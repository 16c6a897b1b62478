"""What a folder of the user's holds: files by their names, and the lists of a split."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from flyweight import files
from flyweight.data._split import SPLITS
from flyweight.errors import DataError

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg")


def by_name(folder: Path, endings: Collection[str]) -> dict[str, Path]:
    """Return the files of a folder by their names without ending; hidden files are passed over."""
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise files.file_error(folder, "read the folder", error) from error
    found: dict[str, Path] = {}
    for path in paths:
        if path.suffix.lower() not in endings:
            raise DataError(
                f"{path}: ends in '{path.suffix}'; allowed here are {', '.join(endings)}. Convert or remove it."
            )
        if path.stem in found:
            raise DataError(f"{path}: {found[path.stem].name} has the same name. Keep one of the two.")
        found[path.stem] = path
    return found


def listed(folder: Path, known: Collection[str]) -> dict[str, list[str]] | None:
    """Return the names in train.txt, val.txt and test.txt, or None without any of the three."""
    paths = {split: folder / f"{split}.txt" for split in SPLITS}
    present = [split for split, path in paths.items() if path.exists()]
    if not present:
        return None
    if missing := [paths[split] for split in SPLITS if split not in present]:
        raise DataError(f"{missing[0]}: missing, but {present[0]}.txt is there. Write all three lists, or none.")
    names = {split: _names_in(path, known) for split, path in paths.items()}
    _check_disjoint(paths, names)
    return names


def _names_in(path: Path, known: Collection[str]) -> list[str]:
    try:
        text = files.read_bytes(path, max_bytes=1 << 26).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file in UTF-8 ({error}). Save it as UTF-8.") from error
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise DataError(f"{path}: the split is empty. List at least one image's name, without ending.")
    for name in names:
        if name not in known:
            raise DataError(f"{path}: '{name[:80]}' is no image in images/. Write the file's name without its ending.")
    return names


def _check_disjoint(paths: Mapping[str, Path], listed: Mapping[str, Sequence[str]]) -> None:
    place: dict[str, str] = {}
    for split, names in listed.items():
        for name in names:
            if name in place:
                raise DataError(
                    f"{paths[split]}: '{name}' is listed in {place[name]}.txt already. List an image only once."
                )
            place[name] = split


def more(names: Sequence[str]) -> str:
    """Return how many names there are besides the first, as the end of a sentence; nothing where it is alone."""
    return f" (and {len(names) - 1} more like it)" if len(names) > 1 else ""
