"""What ``flyweight fixed-point`` runs and prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from flyweight.cli._tables import print_table, say
from flyweight.contracts import Preprocessing
from flyweight.errors import DataError
from flyweight.fixed_point import (
    Comparison,
    Difference,
    Mode,
    Program,
    against_onnxruntime,
    cpu_has_vnni,
    saturating_layers,
    width_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

Image = Mapping[str, "NDArray[np.float32]"]
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg")


# ---- what goes in -----------------------------------------------------------------------------------------------


class Images(Sequence[Image]):
    """Inputs that are made when they are asked for."""

    def __init__(self, number: int, make: Callable[[int], Image]) -> None:
        self.number, self.make = number, make

    def __len__(self) -> int:
        """Return how many there are."""
        return self.number

    def __getitem__(self, index: Any) -> Any:
        """Make one."""
        if not 0 <= index < self.number:
            raise IndexError(index)
        return self.make(index)


def noise(program: Program, count: int) -> Images:
    """Return inputs of normal noise, the same ones each time.

    Raises:
        DataError: a size of an input is free.
    """
    shapes = {name: _fixed(program, name) for name in program.inputs}

    def make(index: int) -> Image:
        random = np.random.default_rng(index)
        return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}

    return Images(count, make)


def from_folder(program: Program, folder: Path) -> Images:
    """Return the folder's images, preprocessed as the file says, else scaled to 0..1.

    Raises:
        DataError: no images, a damaged one, or a network with another input than one image.
    """
    from flyweight.data._pictures import read_image
    from flyweight.evaluate import preprocess

    if len(program.inputs) != 1:
        raise DataError(f"{program.path}: it has {len(program.inputs)} inputs; images fill one. Use --random.")
    (name,) = program.inputs
    shape = _fixed(program, name)
    if len(shape) != 4 or shape[1] != 3:
        raise DataError(f"{program.path}: input '{name}' is {shape}, no RGB image. Use --random.")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS)
    if not paths:
        raise DataError(f"{folder}: no PNG or JPEG image in it.")
    how = _preprocessing(program, shape)
    return Images(len(paths), lambda index: {name: preprocess(read_image(paths[index])[None], how)})


def _preprocessing(program: Program, shape: tuple[int, ...]) -> Preprocessing:
    text = program.metadata.get("flyweight.preprocessing")
    if text is None:
        return Preprocessing(height=shape[2], width=shape[3])
    try:
        return Preprocessing.from_json(json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{program.path}: its preprocessing can't be read ({error}). Export it again.") from error


def _fixed(program: Program, name: str) -> tuple[int, ...]:
    """Return an input's shape, the batch being 1."""
    shape = program.inputs[name]
    if min(shape[1:], default=1) < 1:
        raise DataError(f"{program.path}: a size of input '{name}' is free ({shape}). Export it with a fixed size.")
    return (max(shape[0], 1), *shape[1:]) if shape else ()


def compared(program: Program, images: Sequence[Image], modes: tuple[str, ...], quiet: bool) -> dict[Mode, Comparison]:
    """Compare image by image, showing how far it is."""
    from flyweight.cli._progress import shown

    with shown(quiet) as progress:
        progress.start("images in integers", len(images))
        found = against_onnxruntime(program, images, cast("tuple[Mode, ...]", modes), progress.advance)
        progress.finish()
    return found


# ---- what comes out ---------------------------------------------------------------------------------------------


def about(program: Program) -> list[str]:
    """Return what stands above the table."""
    weighted = [width for step in program.steps if (width := width_of(step.kernel)) is not None]
    widest = max((width.bits for width in weighted), default=0)
    lines = [f"{program.path.name}: {len(program.steps)} integer operators, sums of at most {widest} bits"]
    for where, names in (("before", program.head), ("behind", program.tail)):
        if names:
            lines.append(f"float {where} them, not run here: {', '.join(names)}")
    at_risk, vnni = saturating_layers(program), cpu_has_vnni()
    if at_risk:
        what = f"{len(at_risk)} of {len(weighted)} layers may saturate on x86 without VNNI"
        lines.append(what + {True: "; this processor has it", False: ": this processor has none", None: ""}[vnni] + ".")
    return lines


@dataclass(frozen=True)
class _Row:
    """A line of the table: nodes of one kind, or one node."""

    name: str
    runtime_op: str
    nodes: int
    elements: int
    differing: int
    largest: int
    alone: int
    alone_largest: int


def show(program: Program, found: Mapping[Mode, Comparison], every: bool) -> None:
    """Print a table for each rounding rule, and what it comes to."""
    for mode, comparison in found.items():
        say()
        say(f"rounding {mode}, {comparison.images} image{'s' if comparison.images > 1 else ''}")
        rows = [_row(step.name, [step]) for step in comparison.steps] if every else _by_operator(comparison)
        headers = ("node" if every else "operator", "in ONNX Runtime", "nodes", "elements", "differ", "max LSB",
                   "alone", "max LSB")  # fmt: skip
        print_table(headers, [_cells(row) for row in rows], left=2)
        say(_verdict(comparison))


def _by_operator(comparison: Comparison) -> list[_Row]:
    groups: dict[tuple[str, str], list[Difference]] = {}
    for step in comparison.steps:
        groups.setdefault((step.op, step.runtime_op), []).append(step)
    return [_row(op, steps) for (op, _), steps in groups.items()]


def _row(name: str, steps: list[Difference]) -> _Row:
    return _Row(
        name, steps[0].runtime_op, len(steps), sum(s.elements for s in steps), sum(s.differing for s in steps),
        max(s.largest for s in steps), sum(s.alone for s in steps), max(s.alone_largest for s in steps),
    )  # fmt: skip


def _cells(row: _Row) -> list[str]:
    figures = (row.nodes, row.elements, row.differing, row.largest, row.alone, row.alone_largest)
    return [row.name, row.runtime_op, *(f"{figure:,}" for figure in figures)]


def _verdict(comparison: Comparison) -> str:
    total = sum(step.elements for step in comparison.steps)
    differ = sum(step.differing for step in comparison.steps)
    first = next((step.name for step in comparison.steps if step.differing), None)
    text = f"{differ:,} of {total:,} elements differ"
    text += f", first at '{first}'" if first else ": bit for bit as ONNX Runtime" if total else ""
    if comparison.outputs:
        text += f"; of the outputs {comparison.outputs_differing:,} of {comparison.outputs:,}"
    unseen = sum(not step.elements for step in comparison.steps)
    text += f"; {unseen} tensors ONNX Runtime does not keep" if unseen else ""
    return text + "."


def as_json(program: Program, found: Mapping[Mode, Comparison]) -> dict[str, Any]:
    """Return all figures as plain data."""
    return {
        "model": program.path.name, "head": list(program.head), "tail": list(program.tail),
        "saturating_layers": list(saturating_layers(program)), "cpu_has_vnni": cpu_has_vnni(),
        "rounding": {mode: asdict(comparison) for mode, comparison in found.items()},
    }  # fmt: skip
