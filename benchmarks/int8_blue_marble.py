"""Int8 of the ladder's last rung in four runtimes, ours beside each one's own quantizers: mIoU on the test tiles.

    python -m benchmarks.int8_blue_marble --runs runs/benchmark-ladder --models DIR --nncf PYTHON --litert PYTHON

The networks are the rungs v3.1 (batch norm folded) of the runs that ``benchmarks/ladder.py`` leaves, one a seed; 64
training tiles calibrate. ``_int8.py`` says who quantizes and in which Python. The score is the ladder's headline, mIoU
of land and water. Some five CPU-minutes. Writes ``benchmarks/results/int8_blue_marble.json``.
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
from flyweight.contracts import Candidate, DataSet
from flyweight.data import load_dataset
from flyweight.evaluate import evaluate, preprocess
from flyweight.flow import environment, open_model
from flyweight.int8 import calibrated
from flyweight.tasks.segment import SegmentMetrics

RUNG, SEEDS = "v3.1", (0, 1, 2)
COMMAND = "python -m benchmarks.int8_blue_marble --runs DIR --models DIR --nncf PYTHON --litert PYTHON"


def main(arguments: Sequence[str]) -> int:
    """Quantize, judge, write."""
    torch.set_num_threads(1)
    options = _options(arguments)
    data = load_dataset("blue_marble")
    seeds = []
    for seed in SEEDS:
        folder = options.models / f"seed{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        candidate = open_model(f"{options.runs}/seed{seed}:{RUNG}")
        seeds.append({"seed": seed, "rows": _rows(_case(candidate, data, folder, options))})
    now = {**environment(0), "command": COMMAND}
    result = {
        "name": "int8_blue_marble", "command": COMMAND, "date": now["date"], "environment": now, "rung": RUNG,
        "data": {"name": data.name, "test_tiles": len(data.test), "score": "mIoU of land and water, %"},
        "seeds": seeds, "claims": _claims(seeds),
    }  # fmt: skip
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print("holds" if claim["holds"] else "FAILS", claim["claim"], claim["value"], claim["unit"], claim["goal"])
    return 0


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


def _rows(case: Case) -> list[dict[str, Any]]:
    onnx = _int8.onnx_files(case, _int8.OURS)
    made = [*onnx, *_int8.ncnn_files(case, _int8.OURS), *_int8.openvino_files(case, onnx)]
    return _int8.rows(case, [*made, *_int8.litert_files(case, ("minmax", "best"))])


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
    parser.add_argument("--runs", type=Path, required=True, help="folder of benchmarks/ladder.py's runs")
    parser.add_argument("--models", type=Path, required=True, help="folder for the files")
    parser.add_argument("--nncf", type=Path, help="a Python that has NNCF and OpenVINO; without: no such rows")
    parser.add_argument("--litert", type=Path, help="LiteRT's Python; without: no such rows")
    parser.add_argument("--result", type=Path, default=Path(__file__).with_name("results") / "int8_blue_marble.json")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
