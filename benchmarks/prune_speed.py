"""Pruned files are smaller and faster: ONNX files of four networks, whole and at half of their MACs, timed in turns.

    python -m benchmarks.prune_speed --export && python -m benchmarks.prune_speed

The first command prunes (by L1 norms, over the whole network; with any number of channels, and with multiples of 8) and
exports to ``runs/prune_speed``; the second times the files in ONNX Runtime with one thread: a run of each in turn, many
times over, medians. Weights are random: time and size don't go by their values. Writes
``benchmarks/results/prune_speed.json``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from benchmarks._claims import claimed
from flyweight import files
from flyweight.contracts import Env, Preprocessing
from flyweight.flow import environment
from flyweight.profile import profile_module
from flyweight.runtimes import RUNTIMES
from flyweight.saved import fresh_candidate
from flyweight.transforms.prune_channels import PruneChannels
from flyweight.zoo import ZOO

NETWORKS = ("mobilenet_v2_1.0", "resnet_18", "shufflenet_v2_1.0", "efficientnet_lite0")
VARIANTS: dict[str, PruneChannels | None] = {
    "whole": None, "half": PruneChannels(0.5), "half, multiples of 8": PruneChannels(0.5, multiple=8),
}  # fmt: skip
TURNS, WARM_UP = 60, 5


def main(arguments: Sequence[str]) -> int:
    """Export, or time what was exported; write and print."""
    parser = argparse.ArgumentParser(description="Time and size of pruned files.")
    parser.add_argument("--export", action="store_true", help="prune and export, and stop")
    parser.add_argument("--folder", type=Path, default=Path("runs/prune_speed"), help="where the files are")
    parser.add_argument(
        "--result", type=Path, default=Path("benchmarks/results/prune_speed.json"), help="file to write"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.export:
        for name in NETWORKS:
            files.write_json(options.folder / f"{name}.json", exported(name, options.folder / name))
        return 0
    rows = [row for name in NETWORKS for row in timed(files.read_json(options.folder / f"{name}.json")["rows"])]
    now = environment(0)
    result = {
        "name": "prune_speed",
        "command": "python -m benchmarks.prune_speed --export && python -m benchmarks.prune_speed",
        "date": now["date"],
        "environment": now,
        "rows": [{key: value for key, value in row.items() if key != "path"} for row in rows],
        "claims": claims(rows),
    }
    files.write_json(options.result, result)
    for row in [*result["rows"], *result["claims"]]:
        print(row)
    return 0


def exported(name: str, folder: Path) -> dict[str, Any]:
    """Return a row for each variant of a network: its file, the file's size, MACs and parameters counted."""
    spec, rows = ZOO.get(name).spec, []
    whole = fresh_candidate(spec, Preprocessing(spec.input.height, spec.input.width), seed=0)
    for variant, edit in VARIANTS.items():
        candidate = edit.apply(whole, Env()) if edit else whole
        artifact = RUNTIMES.get("onnxruntime").export(candidate, folder / variant.replace(" ", "_"))
        profile = profile_module(candidate.module, torch.zeros(candidate.input_shape))
        rows.append({
            "network": name, "variant": variant, "path": str(artifact.files[0]), "bytes": artifact.bytes,
            "macs": profile.macs, "params": profile.params,
        })  # fmt: skip
    return {"rows": rows}


def timed(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of one network with the time of one image, ms, measured in turns."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    sessions = [onnxruntime.InferenceSession(row["path"], settings, ["CPUExecutionProvider"]) for row in rows]
    shape = sessions[0].get_inputs()[0].shape
    x = {sessions[0].get_inputs()[0].name: np.random.default_rng(0).normal(size=shape).astype(np.float32)}
    spent: list[list[float]] = [[] for _ in sessions]
    for turn in range(WARM_UP + TURNS):
        for session, own in zip(sessions, spent, strict=True):
            started = time.perf_counter()
            session.run(None, x)
            if turn >= WARM_UP:
                own.append(1e3 * (time.perf_counter() - started))
    return [{**row, "ms": round(statistics.median(own), 3)} for row, own in zip(rows, spent, strict=True)]


def claims(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the claims: each pruned file's time and size over the whole network's."""
    made = []
    for name in NETWORKS:
        whole, *pruned = (row for row in rows if row["network"] == name)
        for row in pruned:
            label = f"{name}, {row['variant']} ({row['macs'] / whole['macs']:.3f} of the MACs)"
            made.append(claimed(f"{label}: time over the whole network's", row["ms"] / whole["ms"], "share", "<= 0.75"))
            made.append(
                claimed(f"{label}: file over the whole network's", row["bytes"] / whole["bytes"], "share", "< 1")
            )
    return made


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
