"""A file that holds only what changed since others: an update of a version that a device has.

Tensors of the update are what is to be added to those that the earlier files decode to, in float32; both decode to the
same bits everywhere, so their sums do. What was trained anew altogether is coded as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight import codec
from flyweight.errors import FileError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Tensors = Mapping[str, NDArray[Any]]

CHUNK = 1 << 20


@dataclass(frozen=True)
class Base:
    """What a device has.

    Attributes:
        path: of the last file. sha256: of its bytes.
        tensors: by name, all files before it added up.
    """

    path: Path
    sha256: str
    tensors: Tensors


def read_base(paths: Sequence[Path]) -> Base:
    """Return what a whole file and its updates, in their order, decode to.

    Raises:
        FileError: one can't be read, the first is an update itself, or one is no update of that before it.
    """
    found: Base | None = None
    for path in paths:
        container = codec.open_container(path)
        tensors = summed(container, path, found)
        found = Base(path, _sha256(path), tensors)
    if found is None:
        raise UsageError("no base is given: name the file that the device has.")
    return found


def summed(container: codec.Container, path: Path, base: Base | None) -> dict[str, NDArray[Any]]:
    """Return the tensors that a file stands for, those of its base added where it says so.

    Raises:
        FileError: it is an update and no base is given, or of another one; or it is none and one is given.
    """
    told = container.description.get("base")
    if told is None:
        if base is not None:
            raise FileError(f"{path}: is a whole network, no update of {base.path}. Leave the base out.")
        return dict(container.tensors())
    if not isinstance(told, dict) or not isinstance(added := told.get("added"), list):
        raise FileError(f"{path}: what it says of its base is damaged. Copy the file again.")
    if base is None:
        raise FileError(
            f"{path}: holds only what changed since another file. Name that one: "
            f"flyweight unpack {path.name} --base OLD.fly"
        )
    if told.get("sha256") != base.sha256:
        raise FileError(f"{path}: is an update of another file than {base.path}, whose checksum differs.")
    tensors = dict(container.tensors())
    for name in added:
        own, under = tensors.get(name), base.tensors.get(name)
        if own is None or under is None or own.shape != under.shape or own.dtype != np.float32:
            raise FileError(f"{path}: its tensor '{name}' can't be added to that of {base.path}.")
        tensors[name] = own + under
    return tensors


def changes(tensors: Tensors, base: Base) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Return tensors with the base's taken off where that makes them smaller, and what was taken off, by name.

    Raises:
        UsageError: the base is of a network with other tensors.
    """
    for name, tensor in tensors.items():
        under = base.tensors.get(name)
        if under is None or under.shape != tensor.shape:
            shape = "missing" if under is None else tuple(under.shape)
            raise UsageError(
                f"'{name}' is {tuple(tensor.shape)} in MODEL, but {shape} in {base.path}. An update is for the same "
                "network trained on; pack this one whole, without --base."
            )
    taken = {
        name: base.tensors[name]
        for name, tensor in tensors.items()
        if tensor.dtype == np.float32 and np.abs(tensor - base.tensors[name]).mean() < np.abs(tensor).mean()
    }
    return {name: t - taken[name] if name in taken else t for name, t in tensors.items()}, taken


def told(base: Base, added: Tensors) -> dict[str, Any]:
    """Return what the description says of the base."""
    return {"sha256": base.sha256, "added": sorted(added)}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while part := handle.read(CHUNK):
            digest.update(part)
    return digest.hexdigest()
