"""Int8 of a network with squeeze-and-excite and h-swish in four runtimes: ours beside each one's own quantizers.

    python -m benchmarks.int8_mobilenet_v3 --stamps DIR --models DIR --nncf PYTHON --litert PYTHON

MobileNetV3-small without trained weights, as none could be had: new ones, three draws of them, whose norms hold
statistics and scales as after training. So it tells tool from tool, and nothing of classes. Images are those of
``int8_lite0.py``, every sixth of its judging ones. Some fifteen CPU-minutes. Writes
``benchmarks/results/int8_mobilenet_v3.json``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import _int8
from benchmarks._claims import claimed
from benchmarks._int8 import Case
from benchmarks.composites import GROUNDS
from benchmarks.int8_lite0 import CALIBRATE_BY
from benchmarks.pretrained import composites_of
from flyweight import files
from flyweight.evaluate import preprocess
from flyweight.flow import environment
from flyweight.testing._networks import seasoned
from flyweight.zoo import ZOO

NETWORK, SEEDS, EVERY = "mobilenet_v3_small_1.0", (0, 1, 2), 6
COMMAND = "python -m benchmarks.int8_mobilenet_v3 --stamps DIR --models DIR --nncf PYTHON --litert PYTHON"


def main(arguments: Sequence[str]) -> int:
    """Quantize, judge, write."""
    torch.set_num_threads(1)
    options = _options(arguments)
    images, _, objects = composites_of(options.stamps)
    names = list(dict.fromkeys(objects))
    judged = np.array([names.index(one) % 2 == 0 for one in objects])
    chosen = np.flatnonzero(~judged)[np.linspace(0, (~judged).sum() - 1, CALIBRATE_BY).astype(int)]
    seeds = []
    for seed in SEEDS:
        candidate = seasoned(ZOO.get(NETWORK).spec, seed)
        folder = options.models / f"seed{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        calibration, judge = (preprocess(images[one], candidate.preprocessing) for one in (chosen, judged.nonzero()[0]))
        case = Case(candidate, calibration, judge[::EVERY], folder, None, options.litert, options.nncf)
        seeds.append({"seed": seed, "images": len(case.judge), **_judged(case)})
    now = {**environment(0), "tools": _int8.tools(options.litert, options.nncf), "command": COMMAND}
    result = {
        "name": "int8_mobilenet_v3", "command": COMMAND, "date": now["date"], "environment": now, "network": NETWORK,
        "data": {"grounds": list(GROUNDS), "images_calibrated_by": CALIBRATE_BY, "weights": "new, norms as trained"},
        "seeds": seeds, "claims": _claims(seeds),
    }  # fmt: skip
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print("holds" if claim["holds"] else "FAILS", claim["claim"], claim["value"], claim["unit"], claim["goal"])
    return 0


def _judged(case: Case) -> dict[str, Any]:
    onnx = _int8.onnx_files(case, _int8.OURS)
    made = [*onnx, *_int8.ncnn_files(case, _int8.OURS), *_int8.openvino_files(case, onnx)]
    return _int8.judged(case, [*made, *_int8.litert_files(case, ("minmax", "best"))])


def _claims(seeds: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    claims = []
    for runtime in _int8.runtimes_of(seeds[0]["rows"]):
        found = [
            _int8.ours_of(one["rows"], runtime)["snr_db"] - _int8.best_of(one["rows"], runtime, "theirs")["snr_db"]
            for one in seeds
        ]
        text = f"{runtime}: our best's signal-to-noise over its own quantizers' best, mean of three draws"
        claims.append(claimed(text, statistics.mean(found), "dB", ">= 0"))
    return claims


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True, help="folder for the files")
    parser.add_argument("--nncf", type=Path, help="a Python that has NNCF and OpenVINO; without: no such rows")
    parser.add_argument("--litert", type=Path, help="LiteRT's Python; without: no such rows")
    parser.add_argument("--result", type=Path, default=Path(__file__).with_name("results") / "int8_mobilenet_v3.json")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
