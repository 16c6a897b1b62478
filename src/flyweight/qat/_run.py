"""A run of quantization-aware training in a folder: resumable, judged by the exported files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyweight import files
from flyweight.contracts import Artifact, Candidate, DataSet, Progress, Quantization, Silent
from flyweight.errors import UsageError
from flyweight.evaluate import evaluate, preprocess
from flyweight.qat._network import FakeQuantized
from flyweight.qat._prepare import Prepared, Rounding, prepare
from flyweight.runtimes import RUNTIMES
from flyweight.train import Recipe, train

RECORD = "qat.json"
TRAINED_FILES = ("onnxruntime", "openvino")  # runtimes whose int8 file is the one that was trained


@dataclass(frozen=True)
class QatResult:
    """What a run gave.

    Attributes:
        prepared: with the trained module. scores: metrics on the test split, as JSON, of the exported files: "float",
            "post-training" (int8 of the same float weights by ``flyweight.quantize``'s best method) and "trained".
        artifacts: the trained network's, by runtime.
    """

    prepared: Prepared
    losses: tuple[float, ...]
    scores: dict[str, Any]
    artifacts: tuple[Artifact, ...]
    seconds: float


def calibration_inputs(candidate: Candidate, data: DataSet, count: int) -> NDArray[np.float32]:
    """Return ``count`` images of the training split, evenly spread, as the network is fed them."""
    split = data.train
    chosen = np.linspace(0, len(split) - 1, min(count, len(split))).astype(int)
    return np.concatenate([preprocess(split[int(i)][0][None], candidate.preprocessing) for i in chosen])


def train_qat(
    folder: Path,
    candidate: Candidate,
    data: DataSet,
    recipe: Recipe,
    rounding: Rounding | None = None,
    *,
    calibration: int = 64,
    seed: int = 0,
    runtimes: Sequence[str] = ("onnxruntime",),
    progress: Progress | None = None,
) -> QatResult:
    """Train a trained candidate on int8 grids, and leave the files of ``runtimes`` and ``qat.json`` in ``folder``.

    Killed at any point, the same call goes on.

    Args:
        calibration: images of the training split that the first ranges come from.

    Raises:
        UsageError: the folder holds another run, or a runtime has no file that can be trained.
        TrainingError, ExportError, FileError, RuntimeMissingError: as each step says.
    """
    if others := [name for name in runtimes if name not in TRAINED_FILES]:
        raise UsageError(f"{others[0]}'s int8 file can't be the trained one; possible are {', '.join(TRAINED_FILES)}.")
    progress, rounding = progress or Silent(), rounding or Rounding()
    settings = _settings(candidate, data, recipe, rounding, calibration, seed)
    with files.held(folder):
        _claimed(folder, settings)
        begun = prepare(candidate, calibration_inputs(candidate, data, calibration), rounding)
        trained = train(begun.candidate, data, recipe, seed=seed, folder=folder, progress=progress)
        assert isinstance(trained.candidate.module, FakeQuantized)
        made = begun.having(trained.candidate.module)
        artifacts = tuple(RUNTIMES.get(name).export(made.exportable(), folder / name) for name in runtimes)
        scores = _scores(candidate, begun, artifacts[0], data, folder, progress)
        record = {"settings": settings, "losses": list(trained.losses), "seconds": trained.seconds, "test": scores}
        files.write_json(folder / RECORD, record)
    return QatResult(made, trained.losses, scores, artifacts, trained.seconds)


def score(artifact: Artifact, data: DataSet, candidate: Candidate, progress: Progress | None = None) -> dict[str, Any]:
    """Return a file's metrics on the test split, as JSON."""
    predict = RUNTIMES.get(artifact.runtime).load(artifact, 1)
    found = evaluate(predict, data.test, data, artifact.preprocessing, progress or Silent(), spec=candidate.spec)
    return dict(found.to_json())


def _scores(
    candidate: Candidate, begun: Prepared, trained: Artifact, data: DataSet, folder: Path, progress: Progress
) -> dict[str, Any]:
    runtime = RUNTIMES.get(trained.runtime)
    plain = runtime.export(replace(candidate, quantization=None), folder / "float")
    given = Quantization(begun.calibration, "best")
    after = runtime.export(replace(candidate, quantization=given), folder / "post-training")
    named = {"float": plain, "post-training": after, "trained": trained}
    return {name: score(artifact, data, candidate, progress) for name, artifact in named.items()}


def _settings(
    candidate: Candidate, data: DataSet, recipe: Recipe, rounding: Rounding, calibration: int, seed: int
) -> dict[str, Any]:
    spec = candidate.spec
    return {
        "spec": spec.to_json() if spec else None, "weights": _digest(candidate), "data": data.name,
        "images": len(data.train), "recipe": recipe.to_json(), "rounding": rounding.to_json(),
        "calibration": calibration, "seed": seed,
    }  # fmt: skip


def _digest(candidate: Candidate) -> str:
    """Return what tells one set of weights from another."""
    import hashlib

    found = hashlib.sha256()
    for name, tensor in candidate.module.state_dict().items():
        found.update(name.encode())
        found.update(np.ascontiguousarray(tensor.detach().numpy()).tobytes())
    return found.hexdigest()


def _claimed(folder: Path, settings: dict[str, Any]) -> None:
    path = folder / RECORD
    found: dict[str, Any] = files.read_json(path) if path.exists() else {}
    if found and found.get("settings") != settings:
        other = [name for name, value in settings.items() if found.get("settings", {}).get(name) != value]
        raise UsageError(f"{folder} holds a run with another {', '.join(other)}. Choose another --out, or delete it.")
    if not found:
        files.write_json(path, {"settings": settings})
