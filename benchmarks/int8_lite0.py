"""Int8 of EfficientNet-Lite0 with its ImageNet weights: ours beside ONNX Runtime's own tool, in fidelity and time.

    python -m benchmarks.int8_lite0 --efficientnet-lite0 DIR --stamps DIR --models DIR
    python -m benchmarks.int8_lite0 --times --models DIR

Weights and images are those of ``pretrained.py``: composites of every second object judge, 32 of the others calibrate.
The first convolution stays float in all of them. The first command writes the models to a folder and all figures but
times, the second, on a quiet machine, adds the times: rounds over all models in turn, one thread. Some six
CPU-minutes and one. Writes ``benchmarks/results/int8_lite0.json``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks._claims import claimed
from benchmarks.composites import GROUNDS
from benchmarks.pretrained import composites_of, hits, one_file
from flyweight import files
from flyweight.evaluate import preprocess
from flyweight.flow import environment
from flyweight.pretrained import import_weights
from flyweight.quantize import Method, quantize
from flyweight.runtimes._onnx_export import export_onnx
from flyweight.runtimes._onnx_int8 import _stay_float
from flyweight.runtimes._onnx_int8 import quantize as as_exported
from flyweight.runtimes.onnxruntime import session_options
from flyweight.zoo import ZOO

COMMAND = "python -m benchmarks.int8_lite0 --efficientnet-lite0 DIR --stamps DIR --models DIR"
CALIBRATE_BY = 32  # images
ROUNDS, WARM_UP = 300, 20
THEIRS = ("minmax", "percentile", "entropy")
BEST = "ours, mse, compensated, refitted, bias"
OURS = {
    "ours, minmax": Method("minmax"),
    "ours, percentile": Method("percentile"),
    "ours, entropy": Method("entropy"),
    "ours, mse": Method("mse"),
    "ours, mse, bias": Method("mse", correct_bias=True),
    "ours, mse, compensated, bias": Method("mse", compensate=True, correct_bias=True),
    BEST: Method("mse", compensate=True, refit=True, correct_bias=True),
}
Images = NDArray[np.float32]


def main(arguments: Sequence[str]) -> int:
    """Quantize and judge, or time what was quantized; write."""
    options = _options(arguments)
    torch.set_num_threads(1)
    if options.times:
        result = files.read_json(options.result)
        result["times"] = _times([row["file"] for row in result["rows"]], options.models)
    else:
        result = _judged(options)
    result["claims"] = _claims(result)
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print("holds" if claim["holds"] else "FAILS", claim["claim"], claim["value"], claim["unit"], claim["goal"])
    return 0


def _judged(options: argparse.Namespace) -> dict[str, Any]:
    weights = one_file(options.efficientnet_lite0, "efficientnet-lite0-57934424.pth")
    spec = ZOO.get("efficientnet_lite0").spec
    candidate = import_weights(spec, weights, "efficientnet_pytorch", class_names=()).candidate
    images, truth, objects = composites_of(options.stamps)
    names = list(dict.fromkeys(objects))
    judged = np.array([names.index(name) % 2 == 0 for name in objects])
    calibration = preprocess(images[~judged], candidate.preprocessing)
    calibration = calibration[np.linspace(0, len(calibration) - 1, CALIBRATE_BY).astype(int)]
    judge = preprocess(images[judged], candidate.preprocessing)
    right = [one for one, wanted in zip(truth, judged, strict=True) if wanted]
    options.models.mkdir(parents=True, exist_ok=True)

    model, _ = export_onnx(candidate)
    data = model.SerializeToString()
    wanted = _outputs(data, judge)
    rows = [_row("float", data, wanted, wanted, right, 0.0, options.models)]
    for name in (*(f"ONNX Runtime, {method}" for method in THEIRS), *OURS):
        fresh, modules = export_onnx(candidate)
        begin = time.perf_counter()
        if name in OURS:
            made = quantize(fresh, calibration, OURS[name], _stay_float(fresh))
        else:
            made = as_exported(fresh, calibration, name.split(", ")[1], modules)[0]
        seconds = time.perf_counter() - begin
        data = made.SerializeToString(deterministic=True)
        rows.append(_row(name, data, wanted, _outputs(data, judge), right, seconds, options.models))
        print(rows[-1], flush=True)
    now = {**environment(0), "command": COMMAND}
    return {
        "name": "int8_lite0", "command": COMMAND, "date": now["date"], "environment": now, "network": spec.name,
        "data": {"objects_judged_on": len(names[::2]), "images_judged_on": len(judge), "grounds": list(GROUNDS),
                 "images_calibrated_by": len(calibration), "px": 224},
        "rows": rows,
    }  # fmt: skip


def _row(
    name: str, data: bytes, wanted: Images, found: Images, right: list[frozenset[int]], seconds: float, folder: Path
) -> dict[str, Any]:
    """Write a model; return its figures."""
    file = _file(name)
    (folder / file).write_bytes(data)
    error = float(np.square(wanted.astype(np.float64) - found).sum())
    snr = 10 * np.log10(float(np.square(wanted.astype(np.float64)).sum()) / error) if error else None
    return {
        "method": name, "file": file, "bytes": len(data), "snr_db": None if snr is None else round(float(snr), 2),
        "agreement": round(100 * float((found.argmax(1) == wanted.argmax(1)).mean()), 2),
        "top1": round(100 * float(hits(found, right, 1).mean()), 2), "made_in_s": round(seconds, 1),
        "operators": dict(sorted(_fused(folder / file).items())),
    }  # fmt: skip


def _fused(path: Path) -> Counter[str]:
    """Return how many nodes of each operator ONNX Runtime makes of a file."""
    import onnx
    import onnxruntime

    options = session_options(1)
    options.optimized_model_filepath = str(path.with_suffix(".fused"))
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    found = Counter(node.op_type for node in onnx.load(path.with_suffix(".fused")).graph.node)
    path.with_suffix(".fused").unlink()
    return found


def _outputs(data: bytes, images: Images) -> Images:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, session_options(1), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"input": image[None]})[0] for image in images])


def _times(names: list[str], folder: Path) -> dict[str, Any]:
    """Return each file's median time and quartiles in ms, one thread, all files in turn."""
    import onnxruntime

    sessions = {
        name: onnxruntime.InferenceSession(str(folder / name), session_options(1), providers=["CPUExecutionProvider"])
        for name in names
        if name in ("float.onnx", "onnx_runtime_minmax.onnx", "ours_minmax.onnx", _file(BEST))
    }
    image = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    taken: dict[str, list[float]] = {name: [] for name in sessions}
    for index in range(WARM_UP + ROUNDS):
        for name, session in sessions.items():
            begin = time.perf_counter()
            session.run(None, {"input": image})
            if index >= WARM_UP:
                taken[name].append(1e3 * (time.perf_counter() - begin))
    ours, theirs, floats = (np.array(taken[n]) for n in (_file(BEST), "onnx_runtime_minmax.onnx", "float.onnx"))
    return {
        "rounds": ROUNDS, "threads": 1,
        "ms": {n: [round(float(q), 3) for q in np.percentile(v, (25, 50, 75))] for n, v in taken.items()},
        "ours_over_onnx_runtimes": _ratio(ours, theirs), "ours_over_float": _ratio(ours, floats),
        "onnx_runtimes_over_float": _ratio(theirs, floats),
    }  # fmt: skip


def _file(name: str) -> str:
    return name.replace(", ", "_").replace(" ", "_").lower() + ".onnx"


def _ratio(one: NDArray[np.float64], other: NDArray[np.float64]) -> dict[str, float]:
    """Return the ratio of medians, and the interval that 95 % of bootstrap samples of rounds give."""
    random = np.random.default_rng(0)
    chosen = random.integers(0, len(one), (1000, len(one)))
    ratios = np.median(one[chosen], 1) / np.median(other[chosen], 1)
    low, high = np.percentile(ratios, (2.5, 97.5))
    return {"ratio": round(float(np.median(one) / np.median(other)), 4), "low": round(float(low), 4),
            "high": round(float(high), 4)}  # fmt: skip


def _claims(result: dict[str, Any]) -> list[dict[str, Any]]:
    rows = {row["method"]: row for row in result["rows"]}
    theirs = max((rows[f"ONNX Runtime, {method}"] for method in THEIRS), key=lambda row: row["snr_db"])
    best, plain, floats = rows[BEST], rows["ours, mse"], rows["float"]
    claims = [
        claimed(
            "our best's signal-to-noise over ONNX Runtime's best's", best["snr_db"] - theirs["snr_db"], "dB", ">= 0"
        ),
        claimed("that of our mse ranges alone over it", plain["snr_db"] - theirs["snr_db"], "dB", ">= 0"),
        claimed("agreement with float over its", best["agreement"] - theirs["agreement"], "points", ">= 0"),
        claimed("top-1 below float's", floats["top1"] - best["top1"], "points", "<= 1"),
    ]
    if "times" in result:
        against, over_float = (result["times"][k] for k in ("ours_over_onnx_runtimes", "ours_over_float"))
        claims += [
            claimed("time over ONNX Runtime's int8, low end of the interval", against["low"], "ratio", "<= 1"),
            claimed("time over float's", over_float["ratio"], "ratio", "<= 1"),
        ]
    return claims


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--efficientnet-lite0", type=Path)
    parser.add_argument("--stamps", type=Path)
    parser.add_argument("--models", type=Path, required=True, help="folder for the ONNX files")
    parser.add_argument("--times", action="store_true", help="time the files of an earlier run")
    parser.add_argument("--result", type=Path, default=Path(__file__).with_name("results") / "int8_lite0.json")
    options = parser.parse_args(arguments)
    if not options.times and (options.efficientnet_lite0 is None or options.stamps is None):
        parser.error("--efficientnet-lite0 and --stamps are needed.")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
