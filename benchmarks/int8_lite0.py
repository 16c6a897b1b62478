"""Int8 of EfficientNet-Lite0 with its ImageNet weights, in four runtimes: ours beside each one's own quantizers.

    python -m benchmarks.int8_lite0 --weights DIR --stamps DIR --models DIR --nncf PYTHON --litert PYTHON
    python -m benchmarks.int8_lite0 --times --models DIR --litert PYTHON

Weights and images are those of ``pretrained.py``: composites of every second object judge, 32 of the others calibrate.
``_int8.py`` says who quantizes and in which Python (NNCF: ``nncf==3.4.0``). In ONNX Runtime and OpenVINO the first
convolution stays float in our files and in ONNX Runtime's own. The first command writes the models to a folder and all
figures but times, the second adds the times: rounds over all files of a runtime, each in another order (what runs
before leaves its weights in the cache), one thread, on a machine with nothing else to do. Some ten
CPU-minutes and two. Writes ``benchmarks/results/int8_lite0.json``; ``int8_mobilenet_v2.py`` does the same.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import _int8
from benchmarks._claims import claimed
from benchmarks._int8 import LITERT, ORT, Case, File, Images
from benchmarks.composites import GROUNDS
from benchmarks.pretrained import composites_of, hits, one_file
from flyweight import files
from flyweight.evaluate import preprocess
from flyweight.flow import environment
from flyweight.pretrained import import_weights
from flyweight.quantize import Method
from flyweight.zoo import ZOO

CALIBRATE_BY = 32  # images
# network of the zoo, file of its weights, their origin
NETWORK = ("efficientnet_lite0", "efficientnet-lite0-57934424.pth", "efficientnet_pytorch")
STEPS = {
    "mse, bias": Method("mse", correct_bias=True),
    "mse, compensated, bias": Method("mse", compensate=True, correct_bias=True),
}


def main(arguments: Sequence[str], name: str = "int8_lite0", network: tuple[str, str, str] = NETWORK) -> int:
    """Quantize and judge, or time what was quantized; write."""
    torch.set_num_threads(1)
    options = _options(arguments, name)
    if options.times:
        result = files.read_json(options.result)
        result["times"] = _times(result["rows"], options)
    else:
        result = _judged(options, name, network)
    result["claims"] = _claims(result)
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print("holds" if claim["holds"] else "FAILS", claim["claim"], claim["value"], claim["unit"], claim["goal"])
    return 0


def _judged(options: argparse.Namespace, name: str, network: tuple[str, str, str]) -> dict[str, Any]:
    zoo_name, file, origin = network
    weights = one_file(options.weights, file)
    candidate = import_weights(ZOO.get(zoo_name).spec, weights, origin, class_names=()).candidate
    images, truth, objects = composites_of(options.stamps)
    names = list(dict.fromkeys(objects))
    judged = np.array([names.index(one) % 2 == 0 for one in objects])
    calibration = preprocess(images[~judged], candidate.preprocessing)
    calibration = calibration[np.linspace(0, len(calibration) - 1, CALIBRATE_BY).astype(int)]
    judge = preprocess(images[judged], candidate.preprocessing)
    right = [one for one, wanted in zip(truth, judged, strict=True) if wanted]
    options.models.mkdir(parents=True, exist_ok=True)
    case = Case(
        candidate, calibration, judge, options.models, lambda out: 100 * float(hits(out, right, 1).mean()),
        options.litert, options.nncf, np.array([names.index(one) for one in objects])[judged],
    )  # fmt: skip
    onnx = _int8.onnx_files(case, {**_int8.OURS, **STEPS})
    made = [*onnx, *_int8.ncnn_files(case, {**_int8.OURS, "mse, bias": STEPS["mse, bias"]})]
    made += _int8.openvino_files(case, onnx)
    made += _int8.litert_files(case, ("minmax", "percentile", "entropy", "mse", "best"))
    command = f"python -m benchmarks.{name} --weights DIR --stamps DIR --models DIR --nncf PYTHON --litert PYTHON"
    now = {**environment(0), "tools": _int8.tools(options.litert, options.nncf), "command": command}
    return {
        "name": name, "command": command, "date": now["date"], "environment": now, "network": zoo_name,
        "data": {"objects_judged_on": len(names[::2]), "images_judged_on": len(judge), "grounds": list(GROUNDS),
                 "images_calibrated_by": len(calibration), "px": 224, "score": "top-1, %"},
        **_int8.judged(case, made),
    }  # fmt: skip


def _times(rows: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """Return times of each runtime's float file, our best, and all of its own quantizers'; ratios to their fastest."""
    found: dict[str, Any] = {"rounds": _int8.ROUNDS, "threads": 1}
    for runtime in _int8.runtimes_of(rows):
        floats = next(row for row in rows if row["runtime"] == runtime and row["by"] == "float")
        own = [row for row in rows if row["runtime"] == runtime and row["by"] == "theirs"]
        chosen = [floats, _int8.ours_of(rows, runtime), *own]
        files_ = [File(runtime, row["by"], row["method"], row["file"]) for row in chosen]
        taken = _taken(files_, options)
        floating, ours, *others = (taken[file.path] for file in files_)
        theirs = min(others, key=lambda one: float(np.median(one)))
        found[runtime] = {
            "ms": {f.path: [round(float(q), 3) for q in np.percentile(taken[f.path], (25, 50, 75))] for f in files_},
            "ours_over_theirs": ratio(ours, theirs), "ours_over_float": ratio(ours, floating),
            "theirs_over_float": ratio(theirs, floating),
        }  # fmt: skip
        print(runtime, found[runtime], flush=True)
    return found


def _taken(made: Sequence[File], options: argparse.Namespace) -> dict[str, NDArray[np.float64]]:
    if made[0].runtime == LITERT:
        with tempfile.TemporaryDirectory() as work:
            paths = [str(options.models / one.path) for one in made]
            script = str(Path(__file__).with_name("_int8_litert.py"))
            command = [str(options.litert), script, "time", str(_int8.ROUNDS), f"{work}/ms.npz", *paths]
            subprocess.run(command, check=True, capture_output=True)
            return dict(np.load(f"{work}/ms.npz"))
    image = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)

    def bound(one: File) -> Callable[[], Images]:
        run = _int8.runner(options.models / one.path, image.shape)
        return lambda: run(image)

    return _int8.interleaved({one.path: bound(one) for one in made})


def ratio(one: NDArray[np.float64], other: NDArray[np.float64]) -> dict[str, float]:
    """Return the ratio of medians, and the interval that 95 % of bootstrap samples of rounds give."""
    random = np.random.default_rng(0)
    chosen = random.integers(0, len(one), (1000, len(one)))
    ratios = np.median(one[chosen], 1) / np.median(other[chosen], 1)
    low, high = np.percentile(ratios, (2.5, 97.5))
    return {"ratio": round(float(np.median(one) / np.median(other)), 4), "low": round(float(low), 4),
            "high": round(float(high), 4)}  # fmt: skip


def _claims(result: dict[str, Any]) -> list[dict[str, Any]]:
    rows = result["rows"]
    claims = []
    for runtime in _int8.runtimes_of(rows):
        ours, theirs = _int8.ours_of(rows, runtime), _int8.best_of(rows, runtime, "theirs")
        agreeing = _int8.best_of(rows, runtime, "theirs", "agreement")
        apart, points = ours["snr_db"] - theirs["snr_db"], ours["agreement"] - agreeing["agreement"]
        claims += [
            claimed(f"{runtime}: our best's signal-to-noise over its own quantizers' best", apart, "dB", ">= 0"),
            claimed(f"{runtime}: agreement with float over theirs of most", points, "points", ">= 0"),
        ]
    floats = next(row for row in rows if row["runtime"] == ORT and row["by"] == "float")
    below = floats["score"] - _int8.ours_of(rows, ORT)["score"]
    claims.append(claimed("ONNX Runtime: top-1 below float's", below, "points", "<= 1"))
    for runtime in _int8.runtimes_of(rows) if "times" in result else ():
        told = result["times"][runtime]
        claims += [
            claimed(f"{runtime}: time over its own's fastest, low end of the interval", told["ours_over_theirs"]["low"],
                    "ratio", "<= 1"),
            claimed(f"{runtime}: time over float's", told["ours_over_float"]["ratio"], "ratio", "<= 1"),
        ]  # fmt: skip
    return claims


def _options(arguments: Sequence[str], name: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="folder of the weights")
    parser.add_argument("--stamps", type=Path)
    parser.add_argument("--models", type=Path, required=True, help="folder for the files")
    parser.add_argument("--nncf", type=Path, help="a Python that has NNCF and OpenVINO; without: no such rows")
    parser.add_argument("--litert", type=Path, help="LiteRT's Python, as 'flyweight runtimes list' says; without: none")
    parser.add_argument("--times", action="store_true", help="time the files of an earlier run")
    parser.add_argument("--result", type=Path, default=Path(__file__).with_name("results") / f"{name}.json")
    options = parser.parse_args(arguments)
    if not options.times and (options.weights is None or options.stamps is None):
        parser.error("--weights and --stamps are needed.")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
