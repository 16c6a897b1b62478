"""One rung of a ladder: made, trained, exported, scored as the exported file, and measured.

Every step leaves a file in the rung's folder when it is done, and is not done again where that file lies:
``weights.safetensors`` (trained), ``RUNTIME/artifact.json`` (exported), ``RUNTIME/score.json`` (scored),
``RUNTIME/timings-THREADS.json`` (measured), ``rung.json`` (whole).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight import files
from flyweight.contracts import (
    Artifact,
    Candidate,
    DataSet,
    Env,
    LayerTime,
    LayerTimes,
    Measurement,
    Preprocessing,
    Progress,
)
from flyweight.errors import ExportError, FileError
from flyweight.evaluate import agreement, example_input, parity, predict_masks, preprocess, score, torch_predict
from flyweight.ladder import Plan, PlannedRung, steps_of
from flyweight.measure import measure_layers, measure_pair
from flyweight.profile import Profile, profile_module
from flyweight.report.value import LayerRow, Rung, RungArtifact, RungTiming, rung_from_json, rung_json
from flyweight.runtimes import RUNTIMES
from flyweight.runtimes._artifact import check_digest
from flyweight.saved import fresh_candidate, load_candidate, save_candidate
from flyweight.spec import ArchSpec
from flyweight.tasks.segment import mask_png_uri
from flyweight.train import CHECKPOINT, Recipe, train
from flyweight.zoo import ZOO

if TYPE_CHECKING:
    from numpy.typing import NDArray

LAYER_RUNTIME = "onnxruntime"  # the runtime whose kernels can be timed one by one
PARITY_IMAGES = 8
CALIBRATION_IMAGES = 64


@dataclass(frozen=True)
class Context:
    """All that the rungs of one run share."""

    folder: Path
    plan: Plan
    data: DataSet
    recipe: Recipe
    seed: int
    runtimes: tuple[str, ...]
    threads: tuple[int, ...]
    samples_n: int  # timed inferences per artifact, runtime and number of threads
    tiles: tuple[int, ...]  # test tiles whose prediction the page shows
    progress: Progress
    may_train: bool = True  # False: a network whose weights are gone is an error, not trained again

    @cached_property
    def start(self) -> ArchSpec:
        """The plan's architecture with the data's classes."""
        return ZOO.get(self.plan.architecture).spec.replace(classes=len(self.data.class_names))

    @cached_property
    def env(self) -> Env:
        """Calibration images spread evenly over the training split."""
        chosen = np.linspace(0, len(self.data.train) - 1, min(CALIBRATION_IMAGES, len(self.data.train))).astype(int)
        return Env(calibration_images=tuple(self.data.train[int(i)][0] for i in chosen), seed=self.seed)

    def preprocessing(self, spec: ArchSpec) -> Preprocessing:
        """Return how the data's images become the input of a spec."""
        return Preprocessing(
            spec.input.height, spec.input.width, self.data.mean, self.data.std, class_names=self.data.class_names
        )

    def rung_folder(self, name: str) -> Path:
        """Return where a rung keeps its files."""
        return self.folder / "rungs" / name

    def planned(self, name: str) -> PlannedRung:
        """Return the plan's rung of that name."""
        return next(rung for rung in self.plan.rungs if rung.name == name)


def make_rung(planned: PlannedRung, context: Context) -> Rung:
    """Make one rung, or read it where it is whole already."""
    folder = context.rung_folder(planned.name)
    whole = folder / "rung.json"
    if whole.exists():
        (folder / CHECKPOINT).unlink(missing_ok=True)  # a kill may have come between the two
        return rung_from_json(files.read_json(whole))
    candidate, training = candidate_of(planned, context)
    profile = profile_module(candidate.module, example_input(candidate), strict=True)
    reference = _truth(candidate, context)
    artifacts, skipped = _artifacts(planned, candidate, context)
    scores = {name: _score(planned, artifact, reference, context) for name, artifact in artifacts.items()}
    timings = [t for name in artifacts for t in _timings(planned, artifacts[name], context)]
    times = layer_times(planned, artifacts[LAYER_RUNTIME], context) if LAYER_RUNTIME in artifacts else None
    rows, unattributed_us = layer_rows(profile, times)
    own, total = steps_of(planned, context.plan, context.recipe.steps)
    assert candidate.spec is not None  # every rung comes from a spec
    rung = Rung(
        name=planned.name, title=planned.title, change=planned.change, parent=planned.parent, control=planned.control,
        spec=candidate.spec.to_json(), input_size=(candidate.preprocessing.height, candidate.preprocessing.width),
        precision=candidate.precision, inherited=training["inherited"], steps=own, total_steps=total,
        train_seconds=training["seconds"], final_loss=training["final_loss"], macs=profile.macs, params=profile.params,
        peak_activation_bytes=profile.peak_activation_bytes, pytorch_metrics=reference.metrics, artifacts=scores,
        timings=tuple(timings), layers=rows, unattributed_us=unattributed_us, skipped=tuple(skipped),
        samples=_samples(folder, context),
    )  # fmt: skip
    files.write_json(whole, rung_json(rung))
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return rung


# ---- the network ------------------------------------------------------------------------------------------------


def candidate_of(planned: PlannedRung, context: Context) -> tuple[Candidate, dict[str, Any]]:
    """Return a rung's trained candidate and its training record; trains it, and its parents, where that wasn't
    done yet.
    """
    folder = context.rung_folder(planned.name)
    weights = folder / "weights.safetensors"
    if planned.trained and weights.exists():
        return load_candidate(weights)
    if planned.trained and not context.may_train:
        raise FileError(f"{weights}: the rung's weights are gone. Run the same slim command again to make them anew.")
    candidate = _edited(planned, context)
    inherited = _inherited(planned, candidate)
    if not planned.trained:
        return candidate, {"inherited": inherited, "seconds": 0.0, "final_loss": None}
    steps = steps_of(planned, context.plan, context.recipe.steps)[0]
    result = train(
        candidate, context.data, replace(context.recipe, steps=steps), seed=context.seed, folder=folder,
        progress=context.progress, label=f"{planned.name}: train",
    )  # fmt: skip
    tail = result.losses[-20:]
    record = {
        "inherited": inherited,
        "seconds": result.seconds,
        "final_loss": sum(tail) / len(tail),
        "losses": result.losses,
    }
    save_candidate(weights, result.candidate, record)
    return result.candidate, record


def _edited(planned: PlannedRung, context: Context) -> Candidate:
    if not planned.parent:
        return fresh_candidate(context.start, context.preprocessing(context.start), context.seed)
    candidate, _ = candidate_of(context.planned(planned.parent), context)
    for edit in planned.edits:
        candidate = edit.apply(candidate, context.env)
    if planned.fresh and candidate.spec:
        candidate = fresh_candidate(candidate.spec, candidate.preprocessing, context.seed)
    return candidate


def _inherited(planned: PlannedRung, candidate: Candidate) -> float:
    """Return the share of the parameters that came from the parent rung: that of its last edit, 1 if nothing was
    built anew.
    """
    if not planned.parent or planned.fresh:
        return 0.0
    shares = [
        change.settings["inherited"]
        for change in candidate.history[-len(planned.edits) :]
        if "inherited" in change.settings
    ]
    return float(min(shares, default=1.0))


# ---- the artifact -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reference:
    """What PyTorch says of the candidate on the test split."""

    candidate: Candidate
    masks: list[NDArray[np.uint8]]
    metrics: Mapping[str, Any]


def _truth(candidate: Candidate, context: Context) -> Reference:
    masks = predict_masks(
        torch_predict(candidate.module), context.data.test, candidate.preprocessing, context.progress, "PyTorch"
    )
    return Reference(candidate, masks, score(masks, context.data.test, context.data).to_json())


def _artifacts(planned: PlannedRung, candidate: Candidate, context: Context) -> tuple[dict[str, Artifact], list[str]]:
    """Export to every runtime; where one but the first can't express the network, say so instead."""
    made: dict[str, Artifact] = {}
    skipped = []
    context.progress.start(f"{planned.name}: export", len(context.runtimes))
    for name in context.runtimes:
        try:
            made[name] = exported(candidate, name, context.rung_folder(planned.name) / name)
        except ExportError as error:
            if name == context.runtimes[0]:
                raise
            skipped.append(f"{name}: {error}")
            context.progress.say(f"{planned.name}: {name} left out: {error}")
        context.progress.advance(1, name)
    context.progress.finish()
    return made, skipped


def exported(candidate: Candidate, runtime: str, folder: Path) -> Artifact:
    """Export to one runtime, or read the artifact where it lies already, whole and unchanged."""
    artifact = _whole_artifact(folder)
    if artifact is None:
        record = folder / "artifact.json"
        record.unlink(missing_ok=True)  # so that it never describes files that are being replaced
        artifact = RUNTIMES.get(runtime).export(candidate, folder)
        files.write_json(record, artifact.to_json())
    return artifact


def _whole_artifact(folder: Path) -> Artifact | None:
    """Return the artifact that lies in a folder; None where there is none, or where a file of it is gone or altered."""
    record = folder / "artifact.json"
    if not record.exists():
        return None
    try:
        artifact = Artifact.from_json(files.read_json(record), folder)
        check_digest(artifact)
    except (FileError, KeyError, TypeError, ValueError, AttributeError):  # damaged: it is exported anew
        return None
    return artifact


def kept(path: Path, of: str, make: Callable[[], Any]) -> Any:
    """Return what ``make`` gives for ``of``, from the file where it lies there; made anew where that is of another."""
    try:
        record = files.read_json(path) if path.exists() else None
    except FileError:  # damaged: it is made anew
        record = None
    if not isinstance(record, dict) or record.get("of") != of:
        record = {"of": of, "value": make()}
        files.write_json(path, record)
    return record["value"]


def _score(planned: PlannedRung, artifact: Artifact, reference: Reference, context: Context) -> RungArtifact:
    path = context.rung_folder(planned.name) / artifact.runtime / "score.json"
    record = kept(path, artifact.sha256, lambda: _scored(planned, artifact, reference, context))
    return RungArtifact(
        runtime=artifact.runtime, runtime_version=artifact.runtime_version, precision=artifact.precision,
        file=str(artifact.files[0].relative_to(context.folder)), bytes=artifact.bytes, sha256=artifact.sha256,
        metrics=record["metrics"], agreement=record["agreement"], max_difference=record["max_difference"],
        notes=artifact.notes,
    )  # fmt: skip


def _scored(planned: PlannedRung, artifact: Artifact, reference: Reference, context: Context) -> dict[str, Any]:
    predict = RUNTIMES.get(artifact.runtime).load(artifact, max(context.threads))
    label = f"{planned.name}: score in {artifact.runtime}"
    masks = predict_masks(predict, context.data.test, artifact.preprocessing, context.progress, label)
    images = np.stack([context.data.test[i][0] for i in range(min(PARITY_IMAGES, len(context.data.test)))])
    inputs = preprocess(images, artifact.preprocessing)
    return {
        "metrics": score(masks, context.data.test, context.data).to_json(),
        "agreement": agreement(masks, reference.masks),
        "max_difference": parity(torch_predict(reference.candidate.module), predict, inputs)[0],
        "samples": [[i, mask_png_uri(masks[i], context.data.colors)] for i in context.tiles],
    }


def _samples(folder: Path, context: Context) -> tuple[tuple[int, str], ...]:
    path = folder / context.runtimes[0] / "score.json"
    return tuple((int(i), str(uri)) for i, uri in files.read_json(path)["value"]["samples"])


# ---- the clock --------------------------------------------------------------------------------------------------


def _timings(planned: PlannedRung, artifact: Artifact, context: Context) -> list[RungTiming]:
    """Measure an artifact side by side with the first rung's in the same runtime."""
    folder = context.rung_folder(context.plan.rungs[0].name) / artifact.runtime
    reference = Artifact.from_json(files.read_json(folder / "artifact.json"), folder)
    own = context.rung_folder(planned.name) / artifact.runtime
    context.progress.start(f"{planned.name}: time in {artifact.runtime}", len(context.threads))
    timings = []
    for threads in context.threads:
        of = f"{artifact.sha256} beside {reference.sha256}, n {context.samples_n}"
        measured = partial(_measured, reference, artifact, threads, context.samples_n)
        timings.append(RungTiming(**kept(own / f"timings-{threads}.json", of, measured)))
        context.progress.advance(1, f"{timings[-1].median_ms:.2f} ms at {threads} thread{'s' * (threads > 1)}")
    context.progress.finish()
    return timings


def _measured(reference: Artifact, artifact: Artifact, threads: int, n: int) -> Any:
    there, here = measure_pair(reference, artifact, threads=threads, n=n)
    return rung_json(_timing(here, there))


def _timing(here: Measurement, there: Measurement) -> RungTiming:
    return RungTiming(
        **dataclasses.asdict(here), reference_median_ms=there.median_ms, speedup=there.median_ms / here.median_ms
    )


def layer_times(planned: PlannedRung, artifact: Artifact, context: Context) -> LayerTimes | None:
    """Measure a rung's artifact layer by layer, at one thread; None where the runtime can't tell."""

    def measured() -> Any:
        context.progress.start(f"{planned.name}: time per layer", 0)
        times = measure_layers(artifact, threads=1, n=context.samples_n)
        context.progress.finish()
        return dataclasses.asdict(times) if times else None

    path = context.rung_folder(planned.name) / artifact.runtime / "layers.json"
    data = kept(path, f"{artifact.sha256}, n {context.samples_n}", measured)
    return LayerTimes(**{**data, "rows": tuple(LayerTime(**row) for row in data["rows"])}) if data else None


def layer_rows(profile: Profile, times: LayerTimes | None) -> tuple[tuple[LayerRow, ...], float]:
    """Return one row per module with counted figures and measured time, and the time that belongs to no module,
    in µs.
    """
    measured = times.by_module() if times else {}
    order: dict[str, LayerRow] = {}
    for row in profile.rows:
        known = order.get(row.module)
        ops = row.op if known is None else known.op if row.op in known.op.split("+") else f"{known.op}+{row.op}"
        macs, params = (row.macs or 0), row.params
        order[row.module] = LayerRow(
            module=row.module, op=ops, output_shape=tuple(row.output_shape),
            macs=macs + (known.macs if known else 0), params=params + (known.params if known else 0),
            time_us=measured.get(row.module) if times else None,
        )  # fmt: skip
    rest = sum(us for module, us in measured.items() if module not in order)
    return tuple(order.values()), rest
