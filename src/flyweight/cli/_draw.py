"""From a model's name to its picture, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flyweight.cli._tables import dims, si
from flyweight.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from flyweight.profile import Profile
    from flyweight.report.picture import Costs, Picture


def check(file: Path, paper: str | None, scale: float | None) -> None:
    """Check what a format allows, before anything is opened.

    Raises:
        UsageError: an unknown ending or paper, or an option of another format.
    """
    from flyweight.report.picture import PAPERS, SUFFIXES

    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{file}: pictures end in {', '.join(SUFFIXES)}. Name the file e.g. {file.stem or 'net'}.svg.")
    if paper is not None and paper not in PAPERS:
        raise unknown_name("paper", paper, PAPERS)
    if paper is not None and suffix != ".pdf":
        raise UsageError(f"--paper is for PDF, but {file} is {suffix[1:].upper()}. Leave it out, or write a .pdf.")
    if scale is not None and suffix != ".png":
        raise UsageError(f"--scale is for PNG; a {suffix[1:].upper()} has no pixels. Leave it out, or write a .png.")


def picture(
    model: str,
    *,
    resolution: int | None,
    classes: int | None,
    color: str,
    threads: int,
    fold: str,
    depth: int,
    width_px: int | None,
    paper: str,
) -> Picture:
    """Return the picture of what a user calls a model; errors as ``flow.open_model`` has them."""
    from flyweight.report.picture import drawn

    profile, costs, name = _costs(model, resolution, classes, color, threads)
    facts = (
        f"{si(profile.macs)} MACs",
        f"{si(profile.params)} parameters",
        f"peak activations {si(profile.peak_activation_bytes)}B (all counted)",
    )
    return drawn(
        profile.graph,
        Path(name).name or name,
        costs,
        facts=facts,
        fold=fold,
        depth=depth,
        width_px=width_px,
        paper=paper,
    )


def _costs(
    model: str, resolution: int | None, classes: int | None, color: str, threads: int
) -> tuple[Profile, Costs | None, str]:
    from flyweight import flow
    from flyweight.report.picture import counted_costs, measured_costs

    if color != "time":
        profile = _counted(model, resolution, classes)
        return profile, None if color == "none" else counted_costs(profile, color), model
    candidate = flow.open_model(model, resolution=resolution, classes=classes)
    found = flow.profile_model(candidate, model, threads=threads)
    by_module = {row.module: row.time_us for row in found.rows if row.time_us}
    times = found.times
    how = f"{times.runtime} {times.runtime_version}, {threads} thread{'s' * (threads > 1)}" if times else ""
    return found.profile, measured_costs(found.graph, by_module, how), model


def _counted(model: str, resolution: int | None, classes: int | None) -> Profile:
    """Count without making weights where a spec alone is known."""
    from flyweight import flow
    from flyweight.evaluate import example_input
    from flyweight.profile import profile_module, profile_spec
    from flyweight.zoo import ZOO

    if model in ZOO.members or Path(model).suffix in (".toml", ".json"):
        return profile_spec(flow.open_spec(model, resolution=resolution, classes=classes))
    candidate = flow.open_model(model, resolution=resolution, classes=classes)
    return profile_module(candidate.module, example_input(candidate))


def line(file: Path, drawn: Picture, size_bytes: int) -> str:
    """Return what is said when the file is written: its size, and the size of the picture."""
    layout = drawn.layout
    boxes = sum(1 for box in layout.boxes if box.unit.nodes)
    return f"{file}: {boxes} boxes, {dims((round(layout.width), round(layout.height)))} px, {size_bytes / 1000:,.0f} kB"
