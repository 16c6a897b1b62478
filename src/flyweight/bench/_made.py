"""From what a user asks for to artifacts on disk: exported in processes of their own, or found in a folder."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight import files
from flyweight.bench._child import ANSWER, INPUTS, REFERENCE
from flyweight.bench._images import inputs_of
from flyweight.contracts import Artifact
from flyweight.errors import FileError, FlyweightError
from flyweight.measure._process import measuring_environment
from flyweight.runtimes import RUNTIMES

if TYPE_CHECKING:
    from flyweight.contracts import Array

RECORD = "artifact.json"
MOST_RECORD_BYTES = 2**26
MOST_ELEMENTS = 2**27  # of an input or output: 512 MB
EXPORT_TIMEOUT_S = 900.0


@dataclass(frozen=True)
class Planned:
    """One artifact that is asked for. ``folder``: where it lies already, None where it has to be exported."""

    model: str
    runtime: str
    precision: str
    folder: Path | None = None


@dataclass(frozen=True)
class Made:
    """One artifact, or why there is none; its inputs, and PyTorch's outputs where PyTorch's network is at hand."""

    planned: Planned
    artifact: Artifact | None = None
    refused: str = ""
    inputs_file: Path | None = None
    inputs: str = ""
    reference: Array | None = None
    spec: dict[str, Any] | None = None


def plan(models: Sequence[str], runtimes: Sequence[str], precisions: Sequence[str]) -> tuple[Planned, ...]:
    """Return the artifacts to compare; a model that is a folder of exported artifacts brings its own.

    Raises:
        FileError: a folder's ``artifact.json`` can't be read.
        UsageError: an unknown runtime.
    """
    for name in runtimes:
        RUNTIMES.get(name)
    found: list[Planned] = []
    for model in models:
        if folders := artifact_folders(Path(model)):
            for folder in folders:
                artifact = read_artifact(folder)
                found.append(Planned(model, artifact.runtime, artifact.precision, folder))
        else:
            found += [Planned(model, runtime, precision) for precision in precisions for runtime in runtimes]
    return tuple(dict.fromkeys(found))


def artifact_folders(path: Path) -> list[Path]:
    """Return the folders with an ``artifact.json``: ``path`` itself, or those one or two levels below it."""
    if not path.is_dir() or (path / "run.json").exists():
        return []
    return sorted(found.parent for depth in (".", "*", "*/*") for found in path.glob(f"{depth}/{RECORD}"))


def read_artifact(folder: Path) -> Artifact:
    """Read what ``flyweight export`` wrote beside an artifact's files.

    Raises:
        FileError: missing, damaged, or of a runtime that is not known.
    """
    path = folder / RECORD
    data = files.read_json(path, MOST_RECORD_BYTES)
    try:
        artifact = Artifact.from_json(data, folder)
        sound = bool(artifact.files) and artifact.runtime in RUNTIMES.names() and _plausible(artifact)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(f"{path}: not the record of an exported artifact ({error!r}). Export it again.") from error
    if not sound:
        raise FileError(f"{path}: not the record of an exported artifact that fits this machine. Export it again.")
    return artifact


def _plausible(artifact: Artifact) -> bool:
    """Return whether shapes are whole numbers, of a size that can be, and those that the preprocessing makes."""
    given, taken = artifact.preprocessing, artifact.input_shape
    sizes = (*taken, *artifact.output_shape)
    whole = all(type(size) is int and 0 < size <= MOST_ELEMENTS for size in sizes)
    small = whole and max(math.prod(taken), math.prod(artifact.output_shape)) <= MOST_ELEMENTS
    return small and tuple(taken) == (1, len(given.mean), given.height, given.width)


@dataclass(frozen=True)
class Way:
    """How models are opened, and what their outputs are compared on.

    ``sample``: nobody named the data. ``elsewhere``: files are run on another machine, which may have what lacks here.
    """

    data: str
    sample: bool
    images: int
    resolution: int | None = None
    classes: int | None = None
    elsewhere: bool = False


def make(planned: Sequence[Planned], scratch: Path, way: Way, done: Callable[[Planned], None]) -> list[Made]:
    """Export artifacts, or take them from where they lie; what fails is told in ``refused``.

    A model's are exported in one process. Where it dies, the artifact that it died of is refused, and another process
    makes the rest. ``done`` is called when an artifact is made.
    """
    found: dict[Planned, Made] = {}
    folders = {each: scratch / f"{i:02d}-{each.runtime}-{each.precision}" for i, each in enumerate(planned)}
    for each in planned:
        reason = RUNTIMES.get(each.runtime).missing()
        if reason and not (each.folder and way.elsewhere):
            found[each] = Made(each, refused=reason)
        elif each.folder is not None:
            found[each] = _taken(each, folders[each], way)
    for each in found:
        done(each)
    for model in dict.fromkeys(each.model for each in planned):
        jobs = [each for each in planned if each.model == model and each not in found]
        while jobs:
            answered = _export(model, {job: folders[job] for job in jobs}, way)
            found |= answered
            jobs = [job for job in jobs if job not in answered]
            for job in answered:
                done(job)
    return [found[each] for each in planned]


def _taken(planned: Planned, scratch: Path, way: Way) -> Made:
    """Describe an artifact that was exported before; there is no PyTorch network to compare it with."""
    assert planned.folder is not None
    try:
        artifact = read_artifact(planned.folder)
        inputs, told = inputs_of(artifact.preprocessing, way.data, way.images, sample=way.sample)
    except FlyweightError as error:
        return Made(planned, refused=one_line(str(error)))
    scratch.mkdir(parents=True, exist_ok=True)
    np.save(scratch / INPUTS, inputs, allow_pickle=False)
    return Made(planned, artifact, "", scratch / INPUTS, told)


def _export(model: str, jobs: Mapping[Planned, Path], way: Way) -> dict[Planned, Made]:
    """Return what one process made of the jobs: all of them, or those up to the one that it died of."""
    for folder in jobs.values():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ANSWER).unlink(missing_ok=True)  # of an earlier run with the same folder
    request = {
        **dataclasses.asdict(way), "model": model,
        "jobs": [{"runtime": j.runtime, "precision": j.precision, "folder": str(f)} for j, f in jobs.items()],
    }  # fmt: skip
    ended = _run(request)
    found: dict[Planned, Made] = {}
    for job, folder in jobs.items():
        if not (folder / ANSWER).exists():
            found[job] = Made(job, refused=f"exporting '{model}' to {job.runtime} {job.precision}: {ended}")
            break
        found[job] = _answered(job, folder)
    return found


def _answered(job: Planned, folder: Path) -> Made:
    answer = files.read_json(folder / ANSWER)
    if "error" in answer:
        return Made(job, refused=one_line(answer["error"]))
    artifact = Artifact.from_json(answer["artifact"], folder / job.runtime)
    reference = np.load(folder / REFERENCE, allow_pickle=False)
    return Made(job, artifact, "", folder / INPUTS, answer["inputs"], reference, answer["spec"])


def _run(request: dict[str, Any]) -> str:
    """Run an exporting process to its end; return how it ended, for the case that it left work undone."""
    command = [sys.executable, "-P", "-m", "flyweight.bench._child"]
    limit_s = EXPORT_TIMEOUT_S * len(request["jobs"])
    try:
        done = subprocess.run(
            command, input=json.dumps(request).encode(), capture_output=True, timeout=limit_s, check=False,
            env=measuring_environment(),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the process did not end ({error})."
    code = done.returncode
    ended = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    last = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()][-1:]
    return f"the process ended ({ended}). " + (f"It wrote: {last[0]}" if last else "It wrote nothing.")


def one_line(text: str) -> str:
    """Return a message on one line; of what a process wrote before it died, the last line."""
    told, wrote, lines = text.strip().partition("It wrote:\n")
    return " ".join(f"{told}{wrote}{lines.splitlines()[-1] if lines else ''}".split())
