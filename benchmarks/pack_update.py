"""Updates over a version that a device has, beside the whole file anew at the same fidelity.

    apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist*.deb DIR
    python -m benchmarks.pack_update DIR/usr/share/datasets/fashion-mnist

A small network is trained on Fashion-MNIST and packed: that is what devices have. It is trained on in three ways: for
200 steps at a tenth of the rate, for 400 at the full rate, and its classifier alone. Each is packed whole and as an
update, both some 30 dB above the error on the same validation images. What a file is off 30 dB by is allowed for: a
file of W weights takes W / 6.02 bits for each decibel, the slope of a uniform quantizer at a high rate (Gish and Pierce
1968). Three seeds, some eight CPU-minutes.

Writes ``benchmarks/results/pack_update.json``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks._claims import claimed
from benchmarks.prune_finetune import SEEDS, TRAINED, exported, families, top1
from flyweight import files
from flyweight.contracts import Candidate, DataSet, Preprocessing, Split
from flyweight.data import load_dataset
from flyweight.evaluate import preprocess
from flyweight.flow import environment
from flyweight.packing import Packed, Packer, open_packed, read_base
from flyweight.saved import fresh_candidate
from flyweight.train import train

FAMILY, SNR_DB, IMAGES = "separable", 30.0, 128
DB_A_BIT = 6.02
ON = replace(TRAINED, steps=400)
WAYS = {
    "200 steps at a tenth of the rate": replace(TRAINED, steps=200, learning_rate=TRAINED.learning_rate / 10),
    "400 steps": ON,
    "400 steps of the classifier": replace(ON, freeze_steps=ON.steps),
}


def main(arguments: Sequence[str]) -> int:
    """Train, pack, judge; write and print."""
    parser = argparse.ArgumentParser(description="Updates beside whole files.")
    parser.add_argument("folder", help="Fashion-MNIST")
    parser.add_argument("--work", type=Path, default=Path("runs/pack_update"), help="where training is kept")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/pack_update.json"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = load_dataset(options.folder)
    rows = []
    for seed in SEEDS:
        rows += rows_of(seed, data, options.work / str(seed))
        print(*rows[-len(WAYS) :], sep="\n", flush=True)
    now = environment(0)
    result = {
        "name": "pack_update", "command": "python -m benchmarks.pack_update DIR", "date": now["date"],
        "environment": now, "snr_db": SNR_DB, "images": IMAGES, "rows": rows, "claims": claims(rows),
    }  # fmt: skip
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print(claim)
    return 0


def rows_of(seed: int, data: DataSet, folder: Path) -> list[dict[str, Any]]:
    """Return what a whole file and an update take, for each way of training on."""
    prepared = Preprocessing(28, 28, data.mean, data.std, data.class_names)
    start = fresh_candidate(families()[FAMILY], prepared, seed)
    first = train(start, data, TRAINED, seed=seed, folder=folder / "first").candidate
    rows = []
    with tempfile.TemporaryDirectory() as work:
        old = Path(work) / "old.fly"
        old.write_bytes(packed(first, data).data)
        for way, recipe in WAYS.items():
            tuned = train(first, data, recipe, seed=seed + 100, folder=folder / way).candidate
            whole, update = packed(tuned, data), packed(tuned, data, old)
            path = Path(work) / "update.fly"
            path.write_bytes(update.data)
            back = open_packed(path, (old,))
            rows.append({
                "seed": seed, "way": way, "old_bytes": old.stat().st_size,
                "weights": sum(map(torch.numel, tuned.module.parameters())),
                "whole_bytes": len(whole.data), "update_bytes": len(update.data),
                "whole_db": round(whole.snr_db, 2), "update_db": round(update.snr_db, 2),
                "top1": top1(exported(tuned, Path(work) / "float"), data),
                "update_top1": top1(exported(back, Path(work) / "back"), data),
            })  # fmt: skip
    return rows


def packed(candidate: Candidate, data: DataSet, *base: Path) -> Packed:
    """Return the network's file, or its update of another."""
    inputs, judged = seen(candidate, data.train), seen(candidate, data.val)
    return Packer(candidate, inputs, judged=judged, base=read_base(base) if base else None).at_snr(SNR_DB)


def seen(candidate: Candidate, split: Split) -> NDArray[np.float32]:
    """Return images of a split, preprocessed."""
    return preprocess(np.stack([split[i][0] for i in range(IMAGES)]), candidate.preprocessing)


def level(row: Mapping[str, Any], what: str) -> float:
    """Return the bytes that a file would take at exactly ``SNR_DB``."""
    bits = (row[f"{what}_db"] - SNR_DB) / DB_A_BIT * row["weights"]
    return float(row[f"{what}_bytes"] - bits / 8)


def claims(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return how large an update is beside the whole file, and that it loses no accuracy."""
    found = []
    for way in WAYS:
        own = [row for row in rows if row["way"] == way]
        share = statistics.median(100 * level(row, "update") / level(row, "whole") for row in own)
        what = f"update after {way}: of the whole file's bytes, both at {SNR_DB:.0f} dB, median of {len(own)}"
        found.append(claimed(what, share, "%", "< 100"))
        lost = max(row["top1"] - row["update_top1"] for row in own)
        found.append(claimed(f"update after {way}: top-1 below the float network's, worst", lost, "points", "<= 0.5"))
    return found


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
