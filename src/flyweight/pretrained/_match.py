"""Fill a network's tensors from a source's: each used once, each place filled, shapes equal; or say what is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from flyweight.errors import FileError

COUNTER = "num_batches_tracked"  # of a norm in training; says nothing of the network, and not every source has it
MOST_SHOWN = 3


@dataclass(frozen=True)
class ImportedLayer:
    """A layer, where its tensors came from, and the shape of its weight.

    ``note`` says what was done to them, where anything was.
    """

    layer: str
    source: str
    shape: tuple[int, ...]
    tensors: int
    note: str = ""


def filled(
    target: Mapping[str, Tensor],
    names: Mapping[str, str],
    source: Mapping[str, Tensor],
    linear: Collection[str] = (),
) -> tuple[dict[str, Tensor], tuple[ImportedLayer, ...]]:
    """Return ``target`` with every tensor taken from ``source``, and a row per layer.

    Args:
        names: from every layer of the target to its name in the source.
        linear: layers of the target that are 1×1 convolutions, but fully connected in the source.

    Raises:
        FileError: a tensor is missing, left over, of another shape or type, or not finite.
    """
    state: dict[str, Tensor] = {}
    rows: list[ImportedLayer] = []
    used: set[str] = set()
    for layer, name in names.items():
        places = {key: f"{name}.{key.rpartition('.')[2]}" for key in target if key.rpartition(".")[0] == layer}
        used.update(places.values())
        notes = ["fully connected there"] if layer in linear else []
        for place, key in places.items():
            tensor = _found(key, place, target[place], source)
            if layer in linear and tensor.dim() == 2:
                tensor = tensor[:, :, None, None]
            state[place] = _fitted(key, place, target[place], tensor)
            if tensor.dtype != target[place].dtype:
                notes.append(f"from {str(tensor.dtype).removeprefix('torch.')}")
        shape = tuple(target[next(iter(places))].shape)
        rows.append(ImportedLayer(layer, name, shape, len(places), ", ".join(dict.fromkeys(notes))))
    _check_all_used(source, used)
    return state, tuple(rows)


def _found(key: str, place: str, wanted: Tensor, source: Mapping[str, Tensor]) -> Tensor:
    if key.endswith(f".{COUNTER}"):
        given = source.get(key, wanted)
        return given if given.shape == wanted.shape and given.dtype == wanted.dtype else wanted
    if key not in source:
        raise FileError(f"no tensor '{key}', which fills {place} {_size(wanted)}. {_nearest(key, source)}")
    return source[key]


def _fitted(key: str, place: str, wanted: Tensor, tensor: Tensor) -> Tensor:
    """Return an own copy of a tensor as its place takes it."""
    if tensor.shape != wanted.shape:
        raise FileError(f"'{key}' is {_size(tensor)}, but {place} is {_size(wanted)}. {_why(place)}")
    if tensor.is_floating_point() != wanted.is_floating_point() or tensor.layout != torch.strided:
        raise FileError(f"'{key}' holds {tensor.dtype} ({tensor.layout}); wanted are plain floating-point numbers.")
    if not torch.isfinite(tensor).all():
        raise FileError(f"'{key}' holds values that are not finite.")
    return tensor.detach().to(wanted.dtype).clone().contiguous()


def _why(place: str) -> str:
    if place.startswith("head.classify"):
        return "Were the weights trained for another number of classes? Say so with --classes."
    return "Are they of another width or size of this network?"


def _check_all_used(source: Mapping[str, Tensor], used: set[str]) -> None:
    left = [key for key in source if key not in used and not key.endswith(f".{COUNTER}")]
    if left:
        others = f" and {len(left) - 1} more" if len(left) > 1 else ""
        raise FileError(
            f"'{left[0]}' {_size(source[left[0]])}{others} has no place in this network. {_nearest(left[0], used)}"
        )


def _nearest(key: str, names: Iterable[str]) -> str:
    known = sorted(name for name in names if not name.endswith(f".{COUNTER}"))
    near = difflib.get_close_matches(key, known, n=MOST_SHOWN, cutoff=0.3)
    return f"Nearest: {', '.join(near or known[:MOST_SHOWN]) or 'none'}."


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"
