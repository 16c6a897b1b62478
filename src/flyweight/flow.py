"""The straight line through all the steps: slim(), and the single steps as functions: open_model, profile_model,
export, render.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from flyweight import files
from flyweight.contracts import (
    DEFAULT_METHOD,
    Artifact,
    Candidate,
    DataSet,
    Int8Method,
    LayerTimes,
    Measurement,
    PlannedPeak,
    Preprocessing,
    Progress,
    Silent,
)
from flyweight.data import load_dataset
from flyweight.errors import FileError, RuntimeMissingError, SpecError, UsageError
from flyweight.evaluate import example_input
from flyweight.graph import Graph
from flyweight.int8 import calibrated
from flyweight.ladder import Plan, PlannedRung, plan_named, plan_of, steps_of
from flyweight.measure import hardware, measure, measure_layers
from flyweight.packing import open_packed
from flyweight.profile import Profile, profile_module
from flyweight.report import load_report
from flyweight.report.bench_value import bench_beside
from flyweight.report.page import render_page
from flyweight.report.picture import network_svg
from flyweight.report.value import LayerRow, Report, Rung, TestTile
from flyweight.rung import Context, candidate_of, exported, layer_rows, make_rung
from flyweight.runtimes import RUNTIMES
from flyweight.saved import candidate_from_function, fresh_candidate, load_candidate
from flyweight.spec import ArchSpec
from flyweight.tasks.segment import image_png_uri, mask_png_uri
from flyweight.train import Recipe
from flyweight.zoo import ZOO

FULL_STEPS, SHORT_STEPS = 120, 80
FULL_SAMPLES, SHORT_SAMPLES = 60, 30
SHOWN_TILES = 6


def slim(
    data: str,
    out: Path | str,
    *,
    plan: str = "ladder",
    short: bool = False,
    seed: int = 0,
    steps: int | None = None,
    rungs: Sequence[str] | None = None,
    threads: tuple[int, ...] = (1, 2),
    runtimes: tuple[str, ...] = ("onnxruntime", "ncnn"),
    progress: Progress | None = None,
) -> Report:
    """Walk a plan over a data set; write every rung's artifacts, ``report.json`` and ``report.html`` into ``out``.

    Killed at any point, the same call goes on where it was; what is finished is not done again.

    Args:
        data: a data set's name (``blue_marble``), or a folder with ``images/`` and ``masks/``.
        short: the plan's short form: fewer steps and rungs.
        steps: training steps a rung; default 120, short 80.
        rungs: only these (and what they are made from). More of them can be added to a run later.

    Raises:
        UsageError: an unknown name, or ``out`` holds a run with other settings.
        DataError, ExportError, TrainingError, FileError: as each step says.
    """
    chosen_plan, planned, recipe = _planned(plan, rungs, short, steps)
    folder = Path(out)
    check_runtimes(runtimes)
    dataset = load_dataset(data)  # before the folder is claimed: a misspelt name leaves nothing behind
    task = ZOO.get(chosen_plan.architecture).spec.task
    if dataset.task != task:
        raise UsageError(f"plan '{plan}' is of task '{task}', but the data set '{data}' is for '{dataset.task}'.")
    samples_n = SHORT_SAMPLES if short else FULL_SAMPLES
    settings = {
        "data": data if dataset.name == data else str(Path(data).resolve()),
        "plan": plan,
        "seed": seed,
        "steps": recipe.steps,
        "threads": list(threads),
        "runtimes": list(runtimes),
        "rungs": [rung.name for rung in planned],
        "samples_n": samples_n,
        "made_of": fingerprint(chosen_plan, recipe, dataset),
    }
    progress = progress or Silent()
    context = Context(
        folder=folder, plan=chosen_plan, data=dataset, recipe=recipe, seed=seed, runtimes=runtimes, threads=threads,
        samples_n=samples_n, tiles=shown_tiles(dataset), progress=progress,
    )  # fmt: skip
    with files.held(folder):
        asked = claim(folder, settings)
        report = empty_report(context)
        planned = chosen_plan.chosen(tuple(asked))
        progress.start(f"ladder on {dataset.name}", len(planned))
        for rung in planned:
            report = replace(report, rungs=(*report.rungs, make_rung(rung, context)))
            files.write_json(folder / "report.json", report.to_json())
            progress.advance(1, rung.name)
            progress.say(rung_line(report.rungs[-1], report.headline))
        progress.finish()
        render(folder)
    return report


def plan_lines(
    plan: str = "ladder", *, short: bool = False, steps: int | None = None, rungs: Sequence[str] | None = None
) -> list[str]:
    """Return what a run would do, one line a rung, without doing it.

    Raises:
        UsageError: an unknown plan or rung.
    """
    chosen, planned, recipe = _planned(plan, rungs, short, steps)
    lines = []
    for rung in planned:
        own, total = steps_of(rung, chosen, recipe.steps)
        origin = "new weights" if rung.fresh or not rung.parent else f"from {rung.parent}"
        training = f"{own} steps ({total} in all)" if own else "not trained"
        lines.append(f"{rung.name:8} {rung.change}; {origin}; {training}{'; control' if rung.control else ''}")
    return lines


def _planned(
    plan: str, rungs: Sequence[str] | None, short: bool, steps: int | None
) -> tuple[Plan, tuple[PlannedRung, ...], Recipe]:
    chosen = plan_named(plan)
    if steps is not None and steps < 1:
        raise UsageError(f"steps is {steps}; it must be at least 1.")
    names = tuple(rungs) if rungs else chosen.short if short else tuple(rung.name for rung in chosen.rungs)
    recipe = Recipe(steps=steps or (SHORT_STEPS if short else FULL_STEPS))
    return chosen, chosen.chosen(names), recipe


def check_runtimes(names: tuple[str, ...], run: bool = True) -> None:
    """Raise RuntimeMissingError where one of the runtimes is not installed, or can't ``run`` what it makes."""
    for name in names:
        if reason := RUNTIMES.get(name).missing() or (RUNTIMES.get(name).not_run if run else ""):
            raise RuntimeMissingError(reason)


def claim(folder: Path, settings: dict[str, Any]) -> list[str]:
    """Note the run's settings in its folder; a folder that holds another run is refused.

    Returns:
        The rungs to be made: those that are asked for and those that an earlier call with these settings asked for.
    """
    path = folder / "run.json"
    there = _run_settings(folder) if path.exists() else settings
    if different := [key for key in settings if key != "rungs" and there[key] != settings[key]]:
        key = different[0]
        what = f"{key} {_words(there[key])}, but {_words(settings[key])} is asked for"
        if key == "made_of":
            what = "another version of its data, recipe or plan than there is now"
        raise UsageError(f"{folder} holds a run with {what}. Choose another --out, or delete the folder.")
    rungs = list(dict.fromkeys([*there["rungs"], *settings["rungs"]]))
    if not path.exists() or rungs != there["rungs"]:
        files.write_json(path, {**settings, "rungs": rungs})
    return rungs


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def fingerprint(plan: Plan, recipe: Recipe, dataset: DataSet) -> str:
    """Return a digest of all that a rung depends on besides the run's settings."""
    data = (dataset.name, dataset.class_names, len(dataset.train), len(dataset.val), len(dataset.test))
    numbers = (dataset.mean, dataset.std, dataset.class_shares, dict(dataset.groups))
    text = repr((plan, ZOO.get(plan.architecture).spec, recipe, data, numbers))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


RUN_FIELDS = {
    "data": str, "plan": str, "seed": int, "steps": int, "threads": list, "runtimes": list, "rungs": list,
    "samples_n": int, "made_of": str,
}  # fmt: skip


def _run_settings(folder: Path) -> dict[str, Any]:
    """Read the settings that a run's folder was claimed with.

    Raises:
        FileError: ``run.json`` is missing, damaged, or of another version of Flyweight.
    """
    path = folder / "run.json"
    run = files.read_json(path)
    if not isinstance(run, dict):
        raise FileError(f"{path}: not the settings of a run. Delete the folder to start anew.")
    for name, kind in RUN_FIELDS.items():
        if not isinstance(run.get(name), kind):
            raise FileError(f"{path}: {name} is {run.get(name)!r}, not of type {kind.__name__}. Delete the folder.")
    return run


def shown_tiles(dataset: DataSet) -> tuple[int, ...]:
    """Return test images that show something: those whose rarest classes are largest, one of each neighbourhood."""
    weights = 1 / np.sqrt(np.maximum(np.asarray(dataset.class_shares), 1e-6))
    interest = []
    for index in range(len(dataset.test)):
        mask = dataset.test[index][1]
        shares = np.array([(mask == k).mean() for k in range(len(weights))])
        interest.append(float((weights * np.minimum(shares, 0.3)).sum()))
    best = sorted(range(len(interest)), key=lambda i: -interest[i])
    return tuple(sorted(best[: 2 * SHOWN_TILES : 2] if len(best) >= 2 * SHOWN_TILES else best[:SHOWN_TILES]))


def empty_report(context: Context) -> Report:
    """Return the report of a run that has no rung yet."""
    data = context.data
    tiles = tuple(
        TestTile(i, image_png_uri(data.test[i][0]), mask_png_uri(data.test[i][1], data.colors)) for i in context.tiles
    )
    grouped = bool(data.groups)
    return Report(
        title=f"Slimming ladder on {data.name}",
        data={
            "name": data.name, "train": len(data.train), "val": len(data.val), "test": len(data.test),
            "class_names": list(data.class_names), "class_shares": list(data.class_shares),
            "colors": [list(color) for color in data.colors], "groups": {k: list(v) for k, v in data.groups.items()},
            "mean": list(data.mean), "std": list(data.std),
        },
        recipe=context.recipe.to_json(),
        environment=environment(context.seed),
        headline="grouped_miou" if grouped else "miou",
        headline_title="mIoU " + "/".join(data.groups) if grouped else "mIoU",
        rungs=(),
        tiles=tiles,
    )  # fmt: skip


def environment(seed: int) -> dict[str, Any]:
    """Return what a reader must know to repeat a run."""
    names = ("flyweight", "torch", "numpy", "onnx", "onnxruntime", "ncnn", "pnnx")
    return {
        "hardware": hardware(), "cores": os.cpu_count(), "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: found for name in names if (found := _version(name))}, "seed": seed,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }  # fmt: skip


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def rung_line(rung: Rung, headline: str) -> str:
    """Return a finished rung's figures in one line."""
    artifact = next(iter(rung.artifacts.values()))
    timing = rung.timings[0] if rung.timings else None
    figures = f"{artifact.metrics[headline] * 100:.2f} %, {artifact.bytes / 1e3:.0f} kB"
    return f"{rung.name}: {rung.title}: {figures}" + (
        f", {timing.median_ms:.2f} ms, {timing.speedup:.1f}x" if timing else ""
    )


# ---- single steps -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelProfile:
    """A network, counted, and measured in one runtime where that was asked for."""

    name: str
    input_shape: tuple[int, ...]
    rows: tuple[LayerRow, ...]
    macs: int
    params: int
    peak_activation_bytes: int
    graph: Graph
    profile: Profile
    times: LayerTimes | None = None
    measurement: Measurement | None = None
    unattributed_us: float = 0.0
    planned: PlannedPeak | None = None


def open_model(name: str, *, resolution: int | None = None, classes: int | None = None) -> Candidate:
    """Open a model by what a user calls it.

    Args:
        name: a zoo name; a spec file (``*.toml``, ``*.json``); saved weights (``*.safetensors``); a packed network
            (``*.fly``); a rung of a run (``runs/ladder:v1``; without a name its last rung); or ``file.py:function``, a
            function that returns an ``nn.Module``. That file is executed.

    Raises:
        UsageError, SpecError, FileError: nothing like it, or not what it should be.
    """
    if (found := _weighted(name, resolution)) is not None:
        return found
    spec = _with(_named_spec(name), resolution, classes)
    return fresh_candidate(spec, _plain_preprocessing(spec), seed=0)


def open_spec(name: str, *, resolution: int | None = None, classes: int | None = None) -> ArchSpec:
    """Return the spec of what a user calls a model, as ``open_model``; for a zoo name or a spec file nothing is built.

    Raises:
        UsageError, SpecError, FileError: nothing like it, or a module without a spec.
    """
    found = _weighted(name, resolution)
    spec = found.spec if found else _named_spec(name)
    if spec is None:
        raise UsageError(f"'{name}' is a module without a spec. See its layers with: flyweight profile {name}.")
    return _with(spec, resolution, classes)


def _weighted(name: str, resolution: int | None) -> Candidate | None:
    """Return the model that comes with weights of its own, or None for a zoo name and a spec file."""
    path = Path(name)
    if path.suffix == ".onnx":
        raise UsageError(f"{name}: an ONNX file has no module to change. It can be profiled and compared.")
    if path.suffix in (".safetensors", ".fly"):
        return load_candidate(path)[0] if path.suffix == ".safetensors" else open_packed(path)
    if path.is_dir() or (":" in name and Path(name.rpartition(":")[0]).is_dir()):
        return _open_rung(name)
    return candidate_from_function(name, resolution or 224) if ".py:" in name else None


def _named_spec(name: str) -> ArchSpec:
    path = Path(name)
    return _read_spec(path) if path.suffix in _SPEC_READERS else ZOO.get(name).spec


def _with(spec: ArchSpec, resolution: int | None, classes: int | None) -> ArchSpec:
    if resolution:
        spec = spec.replace(input=replace(spec.input, height=resolution, width=resolution))
    return spec.replace(classes=classes) if classes else spec


_SPEC_READERS = {".json": ArchSpec.loads, ".toml": ArchSpec.loads_toml}


def _read_spec(path: Path) -> ArchSpec:
    text = files.read_bytes(path, 2**24).decode("utf-8", "replace")
    try:
        return _SPEC_READERS[path.suffix](text)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error


def _plain_preprocessing(spec: ArchSpec) -> Preprocessing:
    """Return preprocessing that only resizes and scales to 0..1: nothing is known of the images."""
    channels = spec.input.channels
    return Preprocessing(spec.input.height, spec.input.width, (0.0,) * channels, (1.0,) * channels)


def _open_rung(name: str) -> Candidate:
    folder, _, wanted = (name, "", "") if Path(name).is_dir() else name.rpartition(":")
    context = context_of(Path(folder))
    report = load_report(Path(folder))
    planned = (
        context.planned(wanted or report.rungs[-1].name) if wanted in {"", *(r.name for r in report.rungs)} else None
    )
    if planned is None:
        raise UsageError(
            f"{folder} has no finished rung '{wanted}'. It has: {', '.join(r.name for r in report.rungs)}."
        )
    return candidate_of(planned, context)[0]


def context_of(folder: Path) -> Context:
    """Return the context of a run that was started before, read from its folder."""
    run = _run_settings(folder)
    dataset = load_dataset(run["data"])
    return Context(
        folder=folder, plan=plan_of(run["plan"], folder), data=dataset, recipe=Recipe(steps=run["steps"]),
        seed=run["seed"], runtimes=tuple(run["runtimes"]), threads=tuple(run["threads"]), samples_n=run["samples_n"],
        tiles=shown_tiles(dataset), progress=Silent(), may_train=False,
    )  # fmt: skip


def profile_model(
    candidate: Candidate,
    name: str = "model",
    *,
    runtime: str = "onnxruntime",
    threads: int = 1,
    timed: bool = True,
    strict: bool = False,
    out: Path | None = None,
    n: int = 50,
) -> ModelProfile:
    """Count a network layer by layer and, with ``timed``, measure it in a runtime; ``out`` keeps the exported file.

    ``times`` is None for a runtime that can't time its layers.

    Raises:
        UnknownOperatorError: an operator without a formula, under ``strict``.
        UsageError, GraphError, ExportError, MeasurementError: as each step says.
    """
    if timed:
        check_runtimes((runtime,))
    profile = profile_module(candidate.module, example_input(candidate), strict=strict)
    times = measurement = planned = None
    if timed:
        with tempfile.TemporaryDirectory() as scratch:
            artifact = exported(candidate, runtime, out or Path(scratch))
            measurement = measure(artifact, threads=threads, n=n)
            times = measure_layers(artifact, threads=threads, n=n)
            planned = RUNTIMES.get(runtime).planned_peak(artifact)
    rows, rest = layer_rows(profile, times)
    return ModelProfile(
        name=name, input_shape=candidate.input_shape, rows=rows, macs=profile.macs, params=profile.params,
        peak_activation_bytes=profile.peak_activation_bytes, graph=profile.graph, profile=profile, times=times,
        measurement=measurement, unattributed_us=rest, planned=planned,
    )  # fmt: skip


def export(
    candidate: Candidate,
    folder: Path | str,
    runtimes: Sequence[str] = ("onnxruntime",),
    *,
    precision: str = "fp32",
    data: str | None = None,
    method: Int8Method = DEFAULT_METHOD,
) -> list[Artifact]:
    """Export to each runtime, into ``folder/RUNTIME``, with ``artifact.json`` beside the files.

    int8 calibrates on training images of ``data`` by ``method`` (``Quantization``); fp16 stores half-precision weights.

    Raises:
        UsageError: int8 without data, or an unknown name. RuntimeMissingError, ExportError, FileError: as runtimes say.
    """
    check_runtimes(tuple(runtimes), run=False)
    if precision not in ("fp32", "fp16", "int8"):
        raise UsageError(f"precision is '{precision}'; allowed are fp32, fp16 and int8.")
    candidate = replace(candidate, half=True) if precision == "fp16" else candidate
    if precision == "int8" and not candidate.quantization:
        candidate = calibrated(candidate, data, method)
    made = [RUNTIMES.get(name).export(candidate, Path(folder) / name) for name in runtimes]
    for artifact in made:  # the preprocessing travels with the files
        files.write_json(Path(folder) / artifact.runtime / "artifact.json", artifact.to_json())
    return made


def render(folder: Path | str) -> Path:
    """Write ``report.html`` and the pictures anew from ``report.json``, and ``bench.json`` where there is one.

    Raises:
        FileError: no report there, or it can't be written; a bench that can't be read.
    """
    report = load_report(folder := Path(folder))
    shown = [rung for rung in report.rungs if not rung.control]
    if not shown:
        raise FileError(f"{folder / 'report.json'}: no rung is finished yet. Run the slim command again to go on.")
    pictures = {}
    for rung in dict.fromkeys((shown[0].name, shown[-1].name)):
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]*", rung):  # it becomes a file's name
            raise FileError(
                f"{folder / 'report.json'}: a rung is named {rung!r}. Allowed: letters, digits, . _ + - inside."
            )
        pictures[rung] = _picture(report.rung(rung))
        files.write_text(folder / f"network-{rung}.svg", pictures[rung])
    files.write_text(folder / "report.html", render_page(report, pictures, bench_beside(folder)))
    return folder / "report.html"


def _picture(rung: Rung) -> str:
    spec = ArchSpec.from_json(rung.spec)
    candidate = fresh_candidate(spec, _plain_preprocessing(spec), seed=0)
    profile = profile_module(candidate.module, example_input(candidate))
    times = {row.module: row.time_us for row in rung.layers if row.time_us}
    macs = {row.module: float(row.macs) for row in rung.layers if row.macs}
    title = f"{rung.name}: {rung.title}"
    if times:
        return network_svg(profile.graph, title, times, "measured µs, ONNX Runtime, 1 thread")
    return network_svg(profile.graph, title, macs, "counted MACs")
