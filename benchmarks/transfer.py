"""Own photographs from few examples: a pretrained backbone, frozen then trained, against the same network from scratch.

    python -m benchmarks.transfer --mobilenet-v2 DIR --efficientnet-lite0 DIR --stamps DIR

The folders are those of ``pretrained.py``. The data are photographs of the stamps (those with thousands of colours) of
five kinds, pasted over seven kinds of background; an object is in one split only. Networks are trained for more and
more steps, each time from the start, and judged on the test split as the exported file. Steps are compared, not
seconds: a step of the pretrained network costs no more, and less while the backbone is frozen. Resumable; some 15
CPU-minutes. Writes ``benchmarks/results/transfer.json``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.composites import GROUNDS, composite
from benchmarks.pretrained import one_file
from flyweight import files
from flyweight.cli._progress import shown
from flyweight.contracts import DataSet, Progress
from flyweight.data._arrays import ArraySplit
from flyweight.data._arrays import statistics as data_statistics
from flyweight.flow import environment
from flyweight.pretrained import import_weights
from flyweight.train import Recipe
from flyweight.transfer import Start, train_into, transfer, untrained
from flyweight.zoo import ZOO

COMMAND = "python -m benchmarks.transfer --mobilenet-v2 DIR --efficientnet-lite0 DIR --stamps DIR"
PIXELS, BATCH = 96, 16
KINDS = {  # class: folders of the stamps
    "mammal": ("animals/mammals",), "bird": ("animals/birds",), "insect": ("animals/insects",),
    "plant": ("plants", "food"), "vehicle": ("vehicles", "hobbies", "household", "military"),
}  # fmt: skip
COLOURS = 6000  # a drawing has fewer
STEPS = {"pretrained": (20, 40, 80), "scratch": (40, 80, 160)}
FILES = {
    "mobilenet_v2_1.0": ("mobilenet_v2-b0353104.pth", "torchvision"),
    "efficientnet_lite0": ("efficientnet-lite0-57934424.pth", "efficientnet_pytorch"),
}


def main(arguments: Sequence[str]) -> int:
    """Train, judge, write."""
    options = _options(arguments)
    torch.set_num_threads(1)
    data, objects = photographs(options.stamps)
    folders = {"mobilenet_v2_1.0": options.mobilenet_v2, "efficientnet_lite0": options.efficientnet_lite0}
    rows = []
    with shown(options.quiet) as progress:
        for name, folder in folders.items():
            for way, budgets in STEPS.items():
                for steps in budgets:
                    runs = [_run(name, folder, way, steps, seed, data, options.out, progress) for seed in options.seeds]
                    rows.append(_row(name, way, steps, runs))
    now = {**environment(options.seeds[0]), "command": COMMAND}  # without the paths of one machine
    result = {
        "name": "transfer", "command": COMMAND, "date": now["date"], "environment": now, "seeds": options.seeds,
        "data": {"objects": objects, "images": {"train": len(data.train), "val": len(data.val), "test": len(data.test)},
                 "classes": list(data.class_names), "pixels": PIXELS, "grounds": list(GROUNDS)},
        "rows": rows, "claims": [claim for name in folders for claim in _claims(name, rows)],
    }  # fmt: skip
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print("holds" if claim["holds"] else "FAILS", claim["claim"], claim["value"], claim["unit"], claim["goal"])
    return 0


def photographs(stamps: Path) -> tuple[DataSet, dict[str, dict[str, int]]]:
    """Return the data set, and the number of objects by split and class. Objects are split by a hash of their name."""
    pairs: dict[str, list[tuple[NDArray[np.uint8], int]]] = {"train": [], "val": [], "test": []}
    objects = {split: dict.fromkeys(KINDS, 0) for split in pairs}
    for label, (kind, folders) in enumerate(KINDS.items()):
        for stamp in _photographs(stamps, folders):
            share = zlib.crc32(stamp.stem.encode()) % 100
            split = "train" if share < 55 else "val" if share < 65 else "test"
            objects[split][kind] += 1
            pairs[split] += [(composite(stamp, ground, PIXELS)[0], label) for ground in GROUNDS]
    found = data_statistics(((image, np.array(label)) for image, label in pairs["train"]), len(KINDS))
    splits = {
        name: ArraySplit(np.stack([image for image, _ in rows]), np.array([label for _, label in rows], np.int64))
        for name, rows in pairs.items()
    }
    data = DataSet(
        "tuxpaint_photographs", tuple(KINDS), splits["train"], splits["val"], splits["test"], found.mean, found.std,
        found.class_shares, size=(PIXELS, PIXELS), task="classify",
    )  # fmt: skip
    return data, objects


def _photographs(stamps: Path, folders: Sequence[str]) -> Iterator[Path]:
    for path in sorted(path for folder in folders for path in (stamps / folder).rglob("*.png")):
        with Image.open(path) as opened:
            pixels = np.asarray(opened.convert("RGBA"))
        opaque = pixels[pixels[..., 3] > 250][:, :3].astype(np.int64)
        codes = opaque @ np.array([65536, 256, 1])
        if len(np.unique(codes)) > COLOURS:
            yield path


def _run(
    name: str, folder: Path, way: str, steps: int, seed: int, data: DataSet, out: Path, progress: Progress
) -> dict[str, Any]:
    recipe = Recipe(
        steps=steps, batch=BATCH, learning_rate=3e-3, warmup_steps=min(20, steps // 4), flips="horizontal",
        freeze_steps=steps // 4 if way == "pretrained" else 0, backbone_rate=0.3 if way == "pretrained" else 1.0,
        checkpoint_steps=1000,
    )  # fmt: skip
    start = _start(name, folder, way, data, seed)
    trained = train_into(out / name / way / f"{steps}-{seed}", start, data, recipe, seed=seed, progress=progress)
    if trained.test is None:
        raise SystemExit("the test split is scored in ONNX Runtime. Install it: pip install 'flyweight[onnxruntime]'")
    return {"seed": seed, "top1": 100 * trained.test["top1"], "train_s": trained.seconds}


def _start(name: str, folder: Path, way: str, data: DataSet, seed: int) -> Start:
    spec = ZOO.get(name).spec
    if way == "scratch":
        return untrained(spec.replace(norm_momentum=0.1), data, resolution=PIXELS, seed=seed)
    file, source = FILES[name]
    imported = import_weights(spec, one_file(folder, file), source)
    return transfer(imported.candidate, data, resolution=PIXELS, seed=seed)


def _row(name: str, way: str, steps: int, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "network": name, "way": way, "steps": steps, "top1_mean": statistics.fmean(run["top1"] for run in runs),
        "train_s_median": statistics.median(run["train_s"] for run in runs), "runs": list(runs),
    }  # fmt: skip


def _claims(name: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return how much sooner the pretrained network is as good as the other ever gets, and by how much it is better."""
    scratch = [row for row in rows if (row["network"], row["way"]) == (name, "scratch")]
    pretrained = [row for row in rows if (row["network"], row["way"]) == (name, "pretrained")]
    best = max(scratch, key=lambda row: row["top1_mean"])
    soonest = next((row for row in pretrained if row["top1_mean"] >= best["top1_mean"]), None)
    ratio = round(best["steps"] / soonest["steps"], 1) if soonest else 0.0
    gain = round(max(row["top1_mean"] for row in pretrained) - best["top1_mean"], 1)
    return [
        {
            "claim": f"{name}: training steps from scratch to its best top-1 ({best['top1_mean']:.1f} %, "
            f"{best['steps']} steps), over those of the pretrained network to at least as much",
            "value": ratio, "unit": "x", "goal": "> 1", "holds": ratio > 1,
        },
        {
            "claim": f"{name}: best top-1 of the pretrained network over the best from scratch", "value": gain,
            "unit": "points", "goal": "> 0", "holds": gain > 0,
        },
    ]  # fmt: skip


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Transfer to photographs of one's own, against training from scratch.")
    parser.add_argument("--mobilenet-v2", type=Path, required=True, help="folder with mobilenet_v2-b0353104.pth below")
    parser.add_argument(
        "--efficientnet-lite0", type=Path, required=True, help="folder with efficientnet-lite0-57934424.pth"
    )
    parser.add_argument("--stamps", type=Path, required=True, help="folder share/tuxpaint/stamps of the Debian package")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds (default 0 1 2)")
    parser.add_argument("--out", type=Path, default=Path("runs/transfer"), help="folder of the runs")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/transfer.json"), help="file to write")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
