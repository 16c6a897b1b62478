"""Network slimming: trained with a pull on the norms' scales, then pruned by them; beside training without it.

    apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist*.deb DIR
    python -m benchmarks.prune_slimming DIR/usr/share/datasets/fashion-mnist

A network of separable convolutions on Fashion-MNIST, three seeds, ``Recipe.norm_l1`` at 0 and above. Each is pruned by
``bn_scale`` over the whole network and judged as an ONNX file, before any training on. Some eight CPU-minutes.

Writes ``benchmarks/results/prune_slimming.json``.
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

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from benchmarks._claims import claimed
from benchmarks.prune_finetune import SEEDS, TRAINED, exported, families, top1
from flyweight import files
from flyweight.contracts import DataSet, Preprocessing
from flyweight.data import load_dataset
from flyweight.flow import environment
from flyweight.prune import Goal, prune
from flyweight.saved import fresh_candidate
from flyweight.train import train

FAMILY = "separable"
PULLS = (0.0, 0.1, 0.3)
LEFT = (0.7, 0.5, 0.3)  # of the multiply-accumulates


def main(arguments: Sequence[str]) -> int:
    """Train, prune, judge; write and print."""
    parser = argparse.ArgumentParser(description="With and without a pull on the norms' scales.")
    parser.add_argument("folder", help="Fashion-MNIST")
    parser.add_argument("--work", type=Path, default=Path("runs/prune_slimming"), help="where what is done is kept")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/prune_slimming.json"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = load_dataset(options.folder)
    rows = []
    for seed in SEEDS:
        for pull in PULLS:
            path = options.work / f"{pull}-{seed}.json"
            if not path.exists():
                files.write_json(path, row_of(pull, seed, data, options.work / f"{pull}-{seed}"))
            rows.append(files.read_json(path))
            print(rows[-1], flush=True)
    now = environment(0)
    result = {
        "name": "prune_slimming", "command": "python -m benchmarks.prune_slimming DIR", "date": now["date"],
        "environment": now, "recipe": TRAINED.to_json(), "rows": rows, "claims": claims(rows),
    }  # fmt: skip
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print(claim)
    return 0


def row_of(pull: float, seed: int, data: DataSet, folder: Path) -> dict[str, Any]:
    """Return the top-1 of one network, whole and pruned, %."""
    prepared = Preprocessing(28, 28, data.mean, data.std, data.class_names)
    recipe = replace(TRAINED, norm_l1=pull)
    found = train(fresh_candidate(families()[FAMILY], prepared, seed), data, recipe, seed=seed, folder=folder).candidate
    norms = [m.weight.detach().abs() for m in found.module.modules() if isinstance(m, _BatchNorm)]
    scales = torch.cat(norms)
    row: dict[str, Any] = {
        "norm_l1": pull, "seed": seed, "zero_scales": round(100 * float((scales == 0).float().mean()), 2),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as work:
        row["whole"] = top1(exported(found, Path(work) / "whole"), data)
        for left in LEFT:
            pruned = prune(found.module, torch.zeros(found.input_shape), Goal(left), "bn_scale").module
            row[f"{left} of the MACs"] = top1(exported(replace(found, module=pruned), Path(work) / str(left)), data)
    return row


def claims(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what the pull gains after pruning, and costs before it, means over the seeds."""

    def gain(pull: float, key: str) -> float:
        of = {(row["norm_l1"], row["seed"]): row[key] for row in rows}
        return statistics.mean(float(of[pull, seed]) - float(of[0.0, seed]) for seed in SEEDS)

    found = []
    for pull in PULLS[1:]:
        text = f"norm_l1 {pull}: top-1 over training without"
        found.append(claimed(f"{text}, nothing pruned", gain(pull, "whole"), "points", ">= -0.5"))
        for left in LEFT:
            key = f"{left} of the MACs"
            found.append(claimed(f"{text}, {key} left, not trained on", gain(pull, key), "points", ">= 0"))
    return found


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
