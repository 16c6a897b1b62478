"""Pruning paired with Torch-Pruning: same networks, data, fine-tuning and seeds; accuracy at equal measured latency.

    apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist*.deb DIR
    pip install torch-pruning==1.6.1
    python -m benchmarks.prune_finetune DIR/usr/share/datasets/fashion-mnist

Three families of networks are trained on Fashion-MNIST from three seeds. Torch-Pruning takes each to half of its MACs
(its group criterion by norms and by Taylor, widths rounded to multiples of 8); Flyweight takes it to the time that
Torch-Pruning's network needs, choosing channels by Taylor over the time that they cost, and, as a control, to the
same time without regard to it. All are trained on for as many steps. Time and accuracy are those of the
exported ONNX files, the former measured in turns, one thread. Resumable: a family and seed that is done is kept.

Writes ``benchmarks/results/prune_finetune.json``.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import importlib.metadata
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks._claims import claimed
from benchmarks.prune_peers import MOST, SHARE, TRIES, last_layers
from flyweight import files
from flyweight.contracts import Artifact, Candidate, DataSet, Preprocessing
from flyweight.data import load_dataset
from flyweight.evaluate import evaluate, preprocess
from flyweight.flow import environment
from flyweight.profile import profile_module
from flyweight.prune import Evidence, Goal, Timing, prune
from flyweight.prune_time import timed
from flyweight.runtimes import RUNTIMES
from flyweight.saved import fresh_candidate
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.tasks import TASKS
from flyweight.tasks.classify import ClassifyMetrics
from flyweight.train import Recipe, train

SEEDS = (0, 1, 2)
TRAINED = Recipe(steps=1200, batch=64, learning_rate=5e-3, weight_decay=5e-2, flips="horizontal", warmup_steps=100)
TUNED = Recipe(steps=400, batch=64, learning_rate=2e-3, weight_decay=5e-2, flips="horizontal", warmup_steps=20)
MULTIPLE = 8
JUDGED, ROUNDS, RUNS = 512, 40, 15
EQUAL = 1.02  # latencies up to so many times the peer's are equal to it
ATTEMPTS = 3
PEERS = ("torch_pruning norm", "torch_pruning taylor")
OURS = {"flyweight gain": "gain", "flyweight global": "global"}
PAIRS = (("flyweight gain", PEERS[0]), ("flyweight gain", PEERS[1]), ("flyweight global", PEERS[1]))


def families() -> Mapping[str, ArchSpec]:
    """Return the networks, for 28 pixels."""

    def made(name: str, *stages: tuple[str, int, int]) -> ArchSpec:
        own = settings(expand=3.0)
        body = tuple(
            StageSpec(f"{block}{i}", block, width, stride, own if block == "inverted_residual" else settings())
            for i, (block, width, stride) in enumerate(stages)
        )
        return ArchSpec(
            name=name, task="classify", input=InputSpec(28, 28), classes=10, stages=body, norm_momentum=0.1,
            head=HeadSpec("pool_classifier"),
        )  # fmt: skip

    inverted, separable, residual = "inverted_residual", "separable", "residual"
    return {
        inverted: made(
            inverted, ("conv", 32, 2), (inverted, 32, 1), (inverted, 64, 2), (inverted, 64, 1), ("conv", 128, 1)
        ),
        separable: made(
            separable,
            ("conv", 32, 2), (separable, 64, 1), (separable, 128, 2), (separable, 128, 1), (separable, 192, 1),
        ),
        residual: made(residual, ("conv", 32, 2), (residual, 32, 1), (residual, 64, 2), (residual, 64, 1)),
    }  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Train, prune with both, time, tune, score; write and print."""
    parser = argparse.ArgumentParser(description="Torch-Pruning and Flyweight after the same fine-tuning.")
    parser.add_argument("folder", help="Fashion-MNIST")
    parser.add_argument("--work", type=Path, default=Path("runs/prune_finetune"), help="where what is done is kept")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/prune_finetune.json"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = load_dataset(options.folder)
    rows = []
    for seed in SEEDS:
        for name, spec in families().items():
            path = options.work / f"{name}-{seed}.json"
            if not path.exists():
                files.write_json(path, paired(name, spec, data, seed, options.work / f"{name}-{seed}"))
            rows.append(files.read_json(path))
            print(rows[-1], flush=True)
    now = environment(0)
    result = {
        "name": "prune_finetune",
        "command": "python -m benchmarks.prune_finetune DIR",
        "date": now["date"],
        "environment": {**now, "torch-pruning": importlib.metadata.version("torch-pruning")},
        "recipes": {"trained": TRAINED.to_json(), "tuned": TUNED.to_json()},
        "rows": rows,
        "claims": claims(rows),
    }
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print(claim)
    return 0


def paired(name: str, spec: ArchSpec, data: DataSet, seed: int, folder: Path) -> dict[str, Any]:
    """Return the figures of one network from one seed."""
    prepared = Preprocessing(28, 28, data.mean, data.std, data.class_names)
    base = train(fresh_candidate(spec, prepared, seed), data, TRAINED, seed=seed, folder=folder / "base").candidate
    evidence = judged(base, data)
    pruned = {"base": base}
    for peer in PEERS:
        pruned[peer] = replace(base, module=theirs(base.module, peer, evidence))
    drafts = {key: exported(found, folder / "before" / key) for key, found in pruned.items()}
    timings = timed(base, multiple=MULTIPLE)
    rows: dict[str, Any] = {}
    for ours, peer in PAIRS:
        key = f"{ours} as {peer}"
        pruned[key] = as_fast(base, drafts, peer, OURS[ours], evidence, timings, folder / "before" / key)
        drafts[key] = exported(pruned[key], folder / "before" / key)
    times = in_turns(drafts)
    macs = {key: profile_module(c.module, torch.zeros(c.input_shape)).macs for key, c in pruned.items()}
    for key, found in pruned.items():
        tuned = found if key == "base" else tuned_on(found, data, seed, folder / "tuned" / key)
        rows[key] = {
            "latency_us": round(times[key], 2), "macs": macs[key], "bytes": drafts[key].bytes,
            "before_tuning": top1(drafts[key], data), "top1": top1(exported(tuned, folder / "after" / key), data),
        }  # fmt: skip
    return {"family": name, "seed": seed, "networks": rows}


def tuned_on(found: Candidate, data: DataSet, seed: int, folder: Path) -> Candidate:
    """Return a pruned network trained on."""
    return train(found, data, TUNED, seed=seed, folder=folder).candidate


def as_fast(
    base: Candidate, drafts: Mapping[str, Artifact], peer: str, scope: Any, evidence: Evidence,
    timings: Sequence[Timing], folder: Path,
) -> Candidate:  # fmt: skip
    """Return the network pruned to what the peer's takes, measured in turns with it; less, until it is as fast."""
    times = in_turns({key: drafts[key] for key in ("base", peer)})
    wanted, example = times[peer] / times["base"], torch.zeros(base.input_shape)
    for attempt in range(ATTEMPTS):
        found = prune(base.module, example, Goal(wanted, "time", scope, MULTIPLE), "taylor", evidence, timings)
        ours = replace(base, module=found.module)
        own = exported(ours, folder / str(attempt))
        times = in_turns({"base": drafts["base"], peer: drafts[peer], "own": own})
        if times["own"] <= EQUAL * times[peer]:
            break
        wanted *= times[peer] / times["own"]
    return ours


def judged(base: Candidate, data: DataSet) -> Evidence:
    """Return training images and the loss, for the Taylor criterion of both."""
    task, batches = TASKS.get("classify"), []
    for at in range(0, JUDGED, 64):
        pairs = [data.train[i] for i in range(at, at + 64)]
        images = preprocess(np.stack([image for image, _ in pairs]), base.preprocessing)
        targets = torch.from_numpy(task.batch([target for _, target in pairs]))
        batches.append((torch.from_numpy(images), targets))
    return Evidence(batches, lambda outputs, targets: task.loss(outputs, targets))


def theirs(net: nn.Module, peer: str, evidence: Evidence) -> nn.Module:
    """Return the network as Torch-Pruning takes it to half of its MACs: the least share of channels that does."""
    example = torch.zeros(1, 3, 28, 28)
    limit = SHARE * profile_module(net, example).macs
    low, high, best = 0.0, MOST, net
    for _ in range(TRIES):
        ratio = (low + high) / 2
        made = once(net, peer, ratio, evidence)
        if profile_module(made, example).macs <= limit:
            high, best = ratio, made
        else:
            low = ratio
    return best


def once(net: nn.Module, peer: str, ratio: float, evidence: Evidence) -> nn.Module:
    """Return a copy of the network without a share of its channels, by Torch-Pruning."""
    tp = importlib.import_module("torch_pruning")
    made, example = copy.deepcopy(net).eval(), torch.zeros(1, 3, 28, 28)
    by_taylor = peer.endswith("taylor")
    importance = tp.importance.GroupTaylorImportance() if by_taylor else tp.importance.GroupMagnitudeImportance()
    parts = dict(made.named_modules())
    pruner = tp.pruner.BasePruner(
        made, example, importance=importance, global_pruning=True, pruning_ratio=ratio, max_pruning_ratio=MOST,
        round_to=MULTIPLE, ignored_layers=[parts[name] for name in last_layers(net, example)],
    )  # fmt: skip
    if by_taylor:
        assert evidence.loss is not None
        for images, targets in evidence.batches:
            evidence.loss(made(images), targets).backward()  # type: ignore[no-untyped-call]
    pruner.step()
    made.zero_grad(set_to_none=True)
    return made


def exported(candidate: Candidate, folder: Path) -> Artifact:
    """Return the network's ONNX file."""
    return RUNTIMES.get("onnxruntime").export(candidate, folder)


def in_turns(artifacts: Mapping[str, Artifact]) -> dict[str, float]:
    """Return the time of one image with one thread, us, of each file: the least median of many turns."""
    runtime = RUNTIMES.get("onnxruntime")
    runs = {key: runtime.load(artifact, 1) for key, artifact in artifacts.items()}
    x = np.random.default_rng(0).normal(size=(1, 3, 28, 28)).astype(np.float32)
    found: dict[str, list[float]] = {key: [] for key in runs}
    for _ in range(ROUNDS):
        for key, run in runs.items():
            spent = []
            for _ in range(RUNS):
                started = time.perf_counter()
                run(x)
                spent.append(time.perf_counter() - started)
            found[key].append(1e6 * statistics.median(spent))
    return {key: min(values) for key, values in found.items()}


def top1(artifact: Artifact, data: DataSet) -> float:
    """Return the share of the test images that get their class from the exported file, percent."""
    predict = RUNTIMES.get("onnxruntime").load(artifact, 1)
    found = evaluate(predict, data.test, data, artifact.preprocessing)
    assert isinstance(found, ClassifyMetrics)
    return round(100 * found.top1, 3)


def claims(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the claims: per family and peer the mean paired difference, and in how many it is not below noise."""
    found = []
    for ours, peer in PAIRS:
        held = 0
        for family in families():
            line, holds = compared(family, ours, peer, [row["networks"] for row in rows if row["family"] == family])
            found.append(line)
            held += holds
        text = f"families of 3 where {ours} is better than {peer} or within noise, at a latency that is no longer"
        found.append(claimed(text, float(held), "families", ">= 3"))
    return found


def compared(family: str, ours: str, peer: str, rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], bool]:
    """Return the claim of one family, and whether it holds for accuracy and latency."""
    own = [row[f"{ours} as {peer}"] for row in rows]
    gains = [a["top1"] - row[peer]["top1"] for a, row in zip(own, rows, strict=True)]
    noise = 2 * statistics.stdev(gains) / len(gains) ** 0.5
    ratio = statistics.mean(a["latency_us"] / row[peer]["latency_us"] for a, row in zip(own, rows, strict=True))
    text = f"{family}: top-1 of {ours} over {peer}, paired, {len(gains)} seeds, at {ratio:.3f} of its latency"
    line = claimed(f"{text}; two standard errors {noise:.2f}", statistics.mean(gains), "points", f">= {-noise:.3f}")
    return line, bool(line["holds"]) and ratio <= EQUAL


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
