"""A network trained on data, with the weights it comes with or from new ones, to a file that all commands take.

``transfer`` is what gives a network that was trained for other classes a new end: every tensor that depends on the
number of classes is new, all others are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from flyweight import files
from flyweight.build import build, skeleton
from flyweight.contracts import Candidate, Change, DataSet, Preprocessing, Progress, Silent
from flyweight.errors import UsageError
from flyweight.evaluate import evaluate, torch_predict
from flyweight.runtimes import RUNTIMES
from flyweight.saved import fresh_candidate, load_candidate, save_candidate
from flyweight.spec import ArchSpec
from flyweight.train import Recipe, train

WEIGHTS, RECORD = "model.safetensors", "train.json"


@dataclass(frozen=True)
class Start:
    """A network before its training on new data: which tensors of its state came along, and which are new."""

    candidate: Candidate
    kept: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(frozen=True)
class Trained:
    """What a run gave.

    Attributes:
        val: metrics of the PyTorch module on the validation split, as JSON.
        test: of the exported ONNX file on the test split; None where ONNX Runtime is not installed.
        seconds: wall clock of the training.
    """

    candidate: Candidate
    val: dict[str, Any]
    test: dict[str, Any] | None
    steps: int
    seconds: float


def transfer(candidate: Candidate, data: DataSet, *, resolution: int | None = None, seed: int = 0) -> Start:
    """Return the candidate's network for the classes of ``data``, with its weights, and its preprocessing.

    Args:
        resolution: height and width of the input, px; None: the candidate's.
        seed: of the new tensors.

    Raises:
        UsageError: a module without a spec, or a network of another task than the data's.
        SpecError: the network can't be built for so many classes, or at that resolution.
    """
    spec = _for_data(candidate.spec, data, resolution)
    module = build(spec, seed)
    fresh, old = module.state_dict(), candidate.module.state_dict()
    per_class = _of_the_classes(spec)
    kept = tuple(name for name, tensor in fresh.items() if name not in per_class and _same(tensor, old.get(name)))
    module.load_state_dict({**fresh, **{name: old[name] for name in kept}})
    preprocessing = replace(
        candidate.preprocessing, height=spec.input.height, width=spec.input.width, class_names=data.class_names
    )
    new = tuple(name for name in fresh if name not in kept)
    change = Change("transfer", {"data": data.name, "seed": seed}, new, before=f"{len(kept)} tensors kept")
    return Start(
        replace(candidate, module=module.eval(), spec=spec, preprocessing=preprocessing).having(change), kept, new
    )


def untrained(spec: ArchSpec, data: DataSet, *, resolution: int | None = None, seed: int = 0) -> Start:
    """Return a new network for the classes, mean and standard deviation of ``data``; errors as in ``transfer``."""
    spec = _for_data(spec, data, resolution)
    preprocessing = Preprocessing(spec.input.height, spec.input.width, data.mean, data.std, data.class_names)
    candidate = fresh_candidate(spec, preprocessing, seed)
    return Start(candidate, (), tuple(candidate.module.state_dict()))


def train_into(
    folder: Path, start: Start, data: DataSet, recipe: Recipe, *, seed: int = 0, progress: Progress | None = None
) -> Trained:
    """Train, and leave ``model.safetensors``, the ONNX file and ``train.json`` in ``folder``.

    Killed at any point, the same call goes on; what is finished is read.

    Raises:
        UsageError: the folder holds another run.
        TrainingError, ExportError, FileError: as each step says.
    """
    progress = progress or Silent()
    settings = _settings(start, data, recipe, seed)
    with files.held(folder):
        record = _record(folder, settings)
        if "val" in record:
            candidate = load_candidate(folder / WEIGHTS)[0]
        else:
            files.write_json(folder / RECORD, {"settings": settings})
            result = train(start.candidate, data, recipe, seed=seed, folder=folder, progress=progress)
            candidate = result.candidate
            save_candidate(folder / WEIGHTS, candidate, {"data": data.name, "recipe": recipe.to_json(), "seed": seed})
            scores = _scores(candidate, data, folder, progress)
            record = {"settings": settings, "losses": list(result.losses), "seconds": result.seconds, **scores}
            files.write_json(folder / RECORD, record)
    return Trained(candidate, record["val"], record["test"], recipe.steps, float(record["seconds"]))


def _for_data(spec: ArchSpec | None, data: DataSet, resolution: int | None) -> ArchSpec:
    if spec is None:
        raise UsageError("only a network that is built from a spec can get new classes; this module has no spec.")
    if spec.task != data.task:
        raise UsageError(
            f"'{spec.name}' is of task '{spec.task}', but the data set '{data.name}' is for '{data.task}'."
        )
    if resolution:
        spec = spec.replace(input=replace(spec.input, height=resolution, width=resolution))
    return spec.replace(classes=len(data.class_names))


def _of_the_classes(spec: ArchSpec) -> frozenset[str]:
    """Return the tensors whose shape depends on the number of classes: those of the network with one class more."""
    more = skeleton(spec.replace(classes=spec.classes + 1))[0].state_dict()
    return frozenset(
        name for name, tensor in skeleton(spec)[0].state_dict().items() if tensor.shape != more[name].shape
    )


def _same(fresh: torch.Tensor, old: torch.Tensor | None) -> bool:
    return old is not None and old.shape == fresh.shape


def _settings(start: Start, data: DataSet, recipe: Recipe, seed: int) -> dict[str, Any]:
    spec = start.candidate.spec
    return {
        "spec": spec.to_json() if spec else None, "data": data.name, "images": len(data.train),
        "recipe": recipe.to_json(), "seed": seed, "kept": len(start.kept),
    }  # fmt: skip


def _record(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    path = folder / RECORD
    if not path.exists():
        return {}
    found: dict[str, Any] = files.read_json(path)
    if found.get("settings") != settings:
        other = [name for name, value in settings.items() if found.get("settings", {}).get(name) != value]
        raise UsageError(f"{folder} holds a run with another {', '.join(other)}. Choose another --out, or delete it.")
    return found


def _scores(candidate: Candidate, data: DataSet, folder: Path, progress: Progress) -> dict[str, Any]:
    """Return metrics: of the module on the validation split, of the exported file on the test split."""
    prepared, spec = candidate.preprocessing, candidate.spec
    val = evaluate(torch_predict(candidate.module), data.val, data, prepared, progress, spec=spec)
    runtime = RUNTIMES.get("onnxruntime")
    if runtime.missing():
        return {"val": val.to_json(), "test": None}
    artifact = runtime.export(candidate, folder / runtime.name)
    test = evaluate(runtime.load(artifact, 1), data.test, data, prepared, progress, spec=spec)
    return {"val": val.to_json(), "test": test.to_json(), "file_bytes": artifact.bytes}
