"""One network in many runtimes and precisions, side by side: what each file computes, takes and weighs.

Every figure comes from a process of its own: one exports, one computes outputs, one is timed. So a converter or a
runtime that crashes costs only its own rows. The timed ones take turns, all at one number of threads together.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flyweight.bench._images import judged
from flyweight.bench._made import Made, Planned, Way, make, one_line, plan
from flyweight.bench._score import accuracy, fidelity
from flyweight.contracts import Artifact, Measurement, Progress, Silent
from flyweight.errors import FlyweightError, MeasurementError, UsageError
from flyweight.flow import environment
from flyweight.measure import measure_group
from flyweight.measure._process import LoadedWorker
from flyweight.remote import open_device, parse_device
from flyweight.remote.device import Device, Taken
from flyweight.remote.programs import program_of
from flyweight.report.bench_value import Bench, BenchRow, Fidelity, ProgramTimes
from flyweight.runtimes import RUNTIMES

if TYPE_CHECKING:
    from flyweight.contracts import Array

SAMPLE = "blue_marble"
MOST_AT_ONCE = 16  # processes that take turns; more are timed in several groups
OUTPUTS_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Settings:
    """What is asked of a bench.

    Attributes:
        data: a data set's name or folder; None: the sample, or noise where the network can't take it, and no accuracy.
        images: of the data's test split, on which outputs are compared. n: timed inferences per row.
        out: folder in which the exported files stay; None: they are gone afterwards.
        device: ``ssh:HOST`` or ``adb:SERIAL``, where times are taken; '': here. python: of ``ssh``, the Python there.
        programs: of ``adb``, (runtime, path of its benchmark program).
    """

    runtimes: tuple[str, ...] = ("onnxruntime", "ncnn")
    precisions: tuple[str, ...] = ("fp32",)
    threads: tuple[int, ...] = (1,)
    data: str | None = None
    images: int = 16
    n: int = 100
    resolution: int | None = None
    classes: int | None = None
    out: Path | None = None
    device: str = ""
    python: str = "python3"
    programs: tuple[tuple[str, Path], ...] = ()


def bench(models: Sequence[str], settings: Settings, progress: Progress | None = None) -> Bench:
    """Export, compare and time; what fails is a row that says why.

    Raises:
        UsageError: nothing to compare, an unknown runtime or data set.
        FileError: ``out`` can't be written to, or a model's ``artifact.json`` can't be read.
        MeasurementError: the device can't be reached.
    """
    progress = progress or Silent()
    planned = plan(models, settings.runtimes, settings.precisions)
    if not planned:
        raise UsageError("nothing to compare: name a model.")
    if settings.data is not None:
        judged(settings.data, settings.images)  # a misspelt name ends here, not in every row
    with ExitStack() as stack:
        device = None
        if settings.device:
            device = stack.enter_context(open_device(settings.device, settings.python, dict(settings.programs)))
        scratch = settings.out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flyweight-")))
        made = _made(planned, scratch, settings, progress)
        judgements = _judged(made, settings, device, progress)
        timed = _timed(made, judgements, settings, device, progress)
    rows = [
        _row(each, threads, judgement, timed.get((index, threads)))
        for index, (each, judgement) in enumerate(zip(made, judgements, strict=True))
        for threads in settings.threads
    ]
    return Bench(tuple(rows), _inputs(made), _pytorch(made, settings), environment(0), device=settings.device)


def steps(models: Sequence[str], settings: Settings) -> list[str]:
    """Return what ``bench`` would do, one line per artifact, without doing it.

    Raises:
        UsageError, FileError: as ``bench``.
    """
    threads = ", ".join(map(str, settings.threads))
    where = f" on {settings.device}" if settings.device and parse_device(settings.device) else ""
    lines = []
    for planned in plan(models, settings.runtimes, settings.precisions):
        how = f"take {planned.folder}" if planned.folder else "export"
        reason = RUNTIMES.get(planned.runtime).missing()
        does = f"{how}, compare, time{where} at {threads} threads, {settings.n} inferences each"
        lines.append(f"{planned.model}: {planned.runtime} {planned.precision}: {reason or does}")
    return lines


# ---- the steps ------------------------------------------------------------------------------------------------------


def _made(planned: Sequence[Planned], scratch: Path, settings: Settings, progress: Progress) -> list[Made]:
    progress.start("export", len(planned))
    sample, elsewhere = settings.data is None, settings.device.startswith("ssh:")
    way = Way(
        settings.data or SAMPLE, sample, settings.images, settings.resolution, settings.classes, elsewhere
    )  # fmt: skip
    found = make(planned, scratch, way, lambda each: progress.advance(1, f"{each.runtime} {each.precision}"))
    progress.finish()
    return found


def _judged(
    made: Sequence[Made], settings: Settings, device: Device | None, progress: Progress
) -> list[Fidelity | str]:
    """Return what each artifact computes, or why that isn't known."""
    progress.start("outputs", len(made))
    found: list[Fidelity | str] = []
    for each in made:
        found.append(each.refused or _attempt(lambda each=each: _judge(each, settings, device)))  # type: ignore[misc]
        progress.advance(1, each.planned.runtime)
    progress.finish()
    return found


def _attempt(step: Callable[[], Fidelity]) -> Fidelity | str:
    try:
        return step()
    except FlyweightError as error:
        return one_line(str(error))


def _judge(made: Made, settings: Settings, device: Device | None) -> Fidelity:
    assert made.artifact is not None and made.inputs_file is not None  # nothing was refused
    if reason := RUNTIMES.get(made.artifact.runtime).not_run:
        raise MeasurementError(reason)
    outputs = _outputs(made.artifact, made.inputs_file, device)
    found = fidelity(outputs, made.reference)
    allowed = RUNTIMES.get(made.artifact.runtime).rtol
    if made.artifact.precision == "fp32" and found.largest is not None and found.largest > allowed:
        raise MeasurementError(
            f"on {made.inputs} it differs from PyTorch by {found.largest:.2g} of the largest output; "
            f"{made.artifact.runtime} is allowed {allowed:.0g}."
        )
    return _scored(outputs, found, made, settings)


def _outputs(artifact: Artifact, inputs_file: Path, device: Device | None) -> Array:
    """Return what an artifact computes: on the device, or here where that can't show it."""
    if device is not None and device.computes:
        return device.outputs(artifact, np.load(inputs_file, allow_pickle=False))
    target = inputs_file.with_name("outputs.npy")
    with LoadedWorker(artifact, 1, OUTPUTS_TIMEOUT_S) as worker:
        worker.ask("outputs", inputs=str(inputs_file), outputs=str(target))
    found: Array = np.load(target, allow_pickle=False)
    return found


def _scored(outputs: Array, found: Fidelity, made: Made, settings: Settings) -> Fidelity:
    """Add the accuracy, where the data was named and its truth is the network's task."""
    if settings.data is None or made.artifact is None:
        return found
    dataset, images = judged(settings.data, settings.images)
    score = accuracy(outputs, images, dataset, made.artifact.preprocessing, made.spec)
    return replace(found, metric=score[0], accuracy=score[1]) if score else found


def _timed(
    made: Sequence[Made],
    judgements: Sequence[Fidelity | str],
    settings: Settings,
    device: Device | None,
    progress: Progress,
) -> Mapping[tuple[int, int], Taken]:
    """Return the measurements by place among ``made`` and number of threads."""
    sound = [index for index, judgement in enumerate(judgements) if isinstance(judgement, Fidelity)]
    groups = [sound[first : first + MOST_AT_ONCE] for first in range(0, len(sound), MOST_AT_ONCE)]
    progress.start("time", len(settings.threads) * len(groups))
    found: dict[tuple[int, int], Taken] = {}
    for threads in settings.threads:
        for group in groups:
            artifacts = [artifact for index in group if (artifact := made[index].artifact)]
            taken = (device.measure if device else measure_group)(artifacts, threads, settings.n)
            found |= {(index, threads): each for index, each in zip(group, taken, strict=True)}
            progress.advance(1, f"{threads} threads")
    progress.finish()
    return found


# ---- the result -----------------------------------------------------------------------------------------------------


def _row(made: Made, threads: int, judgement: Fidelity | str, timed: Taken | None) -> BenchRow:
    planned, artifact = made.planned, made.artifact
    row = BenchRow(planned.model, planned.runtime, "", planned.precision, threads)
    if artifact is not None:
        row = replace(
            row, runtime_version=artifact.runtime_version, bytes=artifact.bytes, sha256=artifact.sha256,
            notes=tuple(artifact.notes),
        )  # fmt: skip
    if isinstance(judgement, str):
        return replace(row, refused=judgement)
    row = replace(row, fidelity=judgement)
    if isinstance(timed, Measurement):
        return replace(row, measurement=timed, runtime_version=timed.runtime_version)
    if isinstance(timed, ProgramTimes):
        note = program_of(row.runtime, timed.program).note
        return replace(row, program=timed, notes=(*row.notes, *([note] if note else [])))
    return replace(row, refused=one_line(str(timed)))


def _inputs(made: Sequence[Made]) -> dict[str, str]:
    return {each.planned.model: each.inputs for each in made if each.inputs}


def _pytorch(made: Sequence[Made], settings: Settings) -> dict[str, Fidelity]:
    """Return what PyTorch's own module scores on the same images, by model."""
    found: dict[str, Fidelity] = {}
    for each in made:
        if each.reference is not None and each.planned.model not in found:
            found[each.planned.model] = _scored(each.reference, Fidelity(len(each.reference)), each, settings)
    return found
