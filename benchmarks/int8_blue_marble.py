"""Int8 of the ladder's last rung in four runtimes, ours beside each one's own quantizers: mIoU on the test tiles.

    python -m benchmarks.int8_blue_marble --models DIR --nncf PYTHON --litert PYTHON

The network is the ladder's v3.1 (batch norm folded), trained here as its v2.2.3 is: from new weights in one go, one a
seed; 64 training tiles calibrate. ``_int8.py`` says who quantizes and in which Python. The score is the ladder's
headline, mIoU of land and water. Resumable: a trained network that lies in DIR isn't trained again. Some twenty
CPU-minutes. Writes ``benchmarks/results/int8_blue_marble.json``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import _int8
from benchmarks._claims import claimed
from benchmarks._int8 import Case, Images
from flyweight import files
from flyweight.cli._progress import shown
from flyweight.contracts import Candidate, DataSet, Env, Preprocessing, Progress
from flyweight.data import load_dataset
from flyweight.evaluate import evaluate, preprocess
from flyweight.flow import environment
from flyweight.int8 import calibrated
from flyweight.ladder import LADDER, PlannedRung, steps_of
from flyweight.saved import fresh_candidate, load_candidate, save_candidate
from flyweight.tasks.segment import SegmentMetrics
from flyweight.train import Recipe, train
from flyweight.zoo import ZOO

RUNG, SEEDS = "v3.1", (0, 1, 2)
RECIPE = Recipe()
COMMAND = "python -m benchmarks.int8_blue_marble --models DIR --nncf PYTHON --litert PYTHON"


def main(arguments: Sequence[str]) -> int:
    """Quantize, judge, write."""
    torch.set_num_threads(1)
    options = _options(arguments)
    data = load_dataset("blue_marble")
    seeds = []
    for seed in SEEDS:
        folder = options.models / f"seed{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        with shown() as progress:
            candidate = network(data, seed, folder, progress)
        seeds.append({"seed": seed, **_judged(_case(candidate, data, folder, options))})
    now = {**environment(0), "tools": _int8.tools(options.litert, options.nncf), "command": COMMAND}
    result = {
        "name": "int8_blue_marble", "command": COMMAND, "date": now["date"], "environment": now, "rung": RUNG,
        "recipe": {**RECIPE.to_json(), "steps": _steps()},
        "data": {"name": data.name, "test_tiles": len(data.test), "score": "mIoU of land and water, %"},
        "seeds": seeds, "claims": _claims(seeds),
    }  # fmt: skip
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print("holds" if claim["holds"] else "FAILS", claim["claim"], claim["value"], claim["unit"], claim["goal"])
    return 0


def network(data: DataSet, seed: int, folder: Path, progress: Progress) -> Candidate:
    """Return the rung trained from new weights in one go, or read it where that is done; its batch norms folded."""
    *before, last = _lineage(RUNG)
    weights = folder / "weights.safetensors"
    if not weights.exists():
        spec = ZOO.get(LADDER.architecture).spec.replace(classes=len(data.class_names))
        size = spec.input
        told = Preprocessing(size.height, size.width, data.mean, data.std, class_names=data.class_names)
        edited = fresh_candidate(spec, told, seed)
        for edit in (edit for rung in before for edit in rung.edits):
            edited = edit.apply(edited, Env())
        assert edited.spec is not None  # it comes from one
        new = fresh_candidate(edited.spec, edited.preprocessing, seed)
        recipe = replace(RECIPE, steps=_steps())
        trained = train(new, data, recipe, seed=seed, folder=folder, progress=progress, label=f"seed {seed}: train")
        save_candidate(weights, trained.candidate, {"seconds": trained.seconds})
    candidate, _ = load_candidate(weights)
    for edit in last.edits:
        candidate = edit.apply(candidate, Env())
    return candidate


def _lineage(name: str) -> list[PlannedRung]:
    """Return a rung and all that it comes from, the first of the ladder first."""
    rung = next(rung for rung in LADDER.rungs if rung.name == name)
    return [*(_lineage(rung.parent) if rung.parent else []), rung]


def _steps() -> int:
    """Return the training steps of the rung's lineage."""
    return steps_of(_lineage(RUNG)[-1], LADDER, RECIPE.steps)[1]


def _case(candidate: Candidate, data: DataSet, folder: Path, options: argparse.Namespace) -> Case:
    told = calibrated(candidate, "blue_marble").quantization
    assert told is not None  # that is what calibrating does
    judge = np.concatenate([preprocess(data.test[i][0][None], candidate.preprocessing) for i in range(len(data.test))])
    plain = replace(candidate, quantization=None)
    score = _score(plain, data)
    return Case(plain, told.calibration, judge, folder, score, options.litert, options.nncf)


def _score(candidate: Candidate, data: DataSet) -> Callable[[Images], float]:
    """Return a function that gives the mIoU in % of the outputs for all test tiles."""

    def score(out: Images) -> float:
        rest = iter(out)
        found = evaluate(lambda _: next(rest)[None], data.test, data, candidate.preprocessing)
        assert isinstance(found, SegmentMetrics) and found.grouped_miou is not None
        return 100 * found.grouped_miou

    return score


def _judged(case: Case) -> dict[str, Any]:
    onnx = _int8.onnx_files(case, _int8.OURS)
    made = [*onnx, *_int8.ncnn_files(case, _int8.OURS), *_int8.openvino_files(case, onnx)]
    return _int8.judged(case, [*made, *_int8.litert_files(case, ("minmax", "best"))])


def _claims(seeds: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    claims = []
    for runtime in _int8.runtimes_of(seeds[0]["rows"]):
        lost, ahead, nearer = [], [], []
        for seed in seeds:
            rows = seed["rows"]
            floats = next(row for row in rows if row["runtime"] == runtime and row["by"] == "float")
            ours = _int8.ours_of(rows, runtime)
            lost.append(floats["score"] - ours["score"])
            ahead.append(ours["score"] - _int8.best_of(rows, runtime, "theirs", "score")["score"])
            nearer.append(ours["snr_db"] - _int8.best_of(rows, runtime, "theirs")["snr_db"])
        claims += [
            claimed(f"{runtime}: mIoU lost, the worst of three seeds", max(lost), "points", "<= 0.5"),
            claimed(f"{runtime}: mIoU over its own quantizers' best, mean", statistics.mean(ahead), "points", ">= 0"),
            claimed(f"{runtime}: signal-to-noise over theirs, mean", statistics.mean(nearer), "dB", ">= 0"),
        ]
    return claims


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder for weights and files")
    parser.add_argument("--nncf", type=Path, help="a Python that has NNCF and OpenVINO; without: no such rows")
    parser.add_argument("--litert", type=Path, help="LiteRT's Python; without: no such rows")
    parser.add_argument("--result", type=Path, default=Path(__file__).with_name("results") / "int8_blue_marble.json")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
