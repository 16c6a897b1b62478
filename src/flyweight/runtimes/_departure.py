"""Which layer of an artifact is the first to compute something else than PyTorch.

Exporters fold, fuse, split and rename layers, so names don't pair them. Values do: every value that the artifact
computes is looked for among all that PyTorch computes on the same input. One that isn't found is no departure as long
as something behind it is found again: then it is a step that PyTorch doesn't make by itself (half of a split, a factor
of h-swish). The first one behind which nothing is found any more has departed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight.contracts import Artifact, Candidate, Intermediate, Runtime

if TYPE_CHECKING:
    from flyweight.contracts import Array

TOLERANCE = 10.0  # times the runtime's own: a layer in the middle may be off by more than the outputs


@dataclass(frozen=True)
class Value:
    """What PyTorch computed at one operator, and in which module."""

    module: str
    op: str
    value: Array


@dataclass(frozen=True)
class Departure:
    """The first layer that departs. ``difference``: over PyTorch's largest value there; None where that isn't known."""

    node: str
    op: str
    module: str | None
    difference: float | None


def explained(candidate: Candidate, artifact: Artifact, runtime: Runtime, inputs: Array) -> str:
    """Return a sentence on where a float artifact departs from PyTorch, on the first of ``inputs`` ``(n, C, H, W)``.

    '' where the runtime doesn't show what its layers compute.
    """
    blobs = runtime.intermediates(artifact, inputs[:1]) if artifact.precision == "fp32" else ()  # int8: all differ
    if not blobs:
        return ""
    found = first_departing(torch_values(candidate, inputs[:1]), blobs, TOLERANCE * runtime.rtol)
    if found is None:
        return (
            "Computed one by one, no layer departs by more than "
            f"{TOLERANCE * runtime.rtol:.0g}: it is rounding that adds up, or the runtime fuses layers wrongly."
        )
    where = f"layer '{found.module}'" if found.module else "a layer that PyTorch has no name for"
    by = f", by {found.difference:.2g} of its largest value" if found.difference is not None else ""
    return f"The first to depart is {where} ('{found.node}', operator {found.op}){by}."


def first_departing(values: Sequence[Value], blobs: Sequence[Intermediate], tolerance: float) -> Departure | None:
    """Return the first of ``blobs`` (in order of execution) from which on nothing is found among ``values``."""
    by_size: dict[int, list[int]] = {}
    for index, value in enumerate(values):
        by_size.setdefault(value.value.size, []).append(index)
    found = {blob.name: _find(blob.value, values, by_size.get(blob.value.size, ()), tolerance) for blob in blobs}
    readers: dict[str, list[str]] = {}
    for blob in blobs:
        for name in blob.reads:
            readers.setdefault(name, []).append(blob.name)
    sound: dict[str, bool] = {}
    for blob in reversed(blobs):
        sound[blob.name] = found[blob.name] is not None or any(sound[name] for name in readers.get(blob.name, ()))
    departed = next((blob for blob in blobs if not sound[blob.name]), None)
    if departed is None:
        return None
    expected = _expected(departed, {blob.name: blob for blob in blobs}, found, values)
    difference = None if expected is None else _difference(departed.value, expected.value)
    module = departed.module if departed.module is not None else expected.module if expected else None
    return Departure(departed.name, departed.op, module, difference)


def _find(value: Array, values: Sequence[Value], places: Sequence[int], tolerance: float) -> int | None:
    """Return the place of an equal value; a constant one is found nowhere, since it would be found by chance."""
    if not np.isfinite(value).all() or np.ptp(value) == 0:
        return None
    return next((place for place in places if _difference(value, values[place].value) <= tolerance), None)


def _difference(found: Array, wanted: Array) -> float:
    scale = float(np.abs(wanted).max()) or 1.0
    return float(np.abs(found.ravel() - wanted.ravel()).max()) / scale


def _expected(
    departed: Intermediate,
    blobs: Mapping[str, Intermediate],
    found: Mapping[str, int | None],
    values: Sequence[Value],
) -> Value | None:
    """Return PyTorch's value in the departed one's place: the first of its size behind all that it reads."""
    latest, open_names = -1, list(departed.reads)
    seen: set[str] = set()
    while open_names:
        name = open_names.pop()
        if name not in blobs or name in seen:
            continue
        seen.add(name)
        place = found[name]
        if place is None:
            open_names += blobs[name].reads
        else:
            latest = max(latest, place)
    return next((value for value in values[latest + 1 :] if value.value.size == departed.value.size), None)


def torch_values(candidate: Candidate, image: Array) -> list[Value]:
    """Return every float tensor that PyTorch computes for one input ``(1, C, H, W)``, in order of execution."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    path: list[str] = [""]
    values: list[Value] = []

    class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **(kwargs or {}))
            for tensor in made if isinstance(made, tuple | list) else (made,):
                if isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float32 and tensor.numel():
                    kept = tensor.detach().numpy().copy()  # what is computed in place later must not change it
                    values.append(Value(path[-1], str(func), kept))
            return made

    recorder = Recorder()  # type: ignore[no-untyped-call]
    with torch.no_grad(), _followed(candidate.module, path), recorder:
        candidate.module(torch.from_numpy(np.ascontiguousarray(image)))
    return values


@contextmanager
def _followed(module: Any, path: list[str]) -> Iterator[None]:
    """Keep the path of the module that runs at the end of ``path``."""
    hooks = []
    for name, each in module.named_modules():

        def enter(_: Any, __: Any, name: str = name) -> None:
            path.append(name)

        def leave(_: Any, __: Any, ___: Any) -> None:
            path.pop()

        hooks += [each.register_forward_pre_hook(enter), each.register_forward_hook(leave)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
