"""Small networks on Fashion-MNIST: accuracy of the exported file, over three seeds, and the CPU time of the training.

    apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist*.deb DIR
    python benchmarks/fashion_mnist.py DIR/usr/share/datasets/fashion-mnist

Needs that Debian package (the official 60,000 and 10,000 images, MIT; the last sixth of the former is the validation
split, which nothing is trained on) and ONNX Runtime. Resumable: a network and seed that is done with this recipe is not
trained again. Writes ``benchmarks/results/fashion_mnist.json``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from flyweight import files
from flyweight.cli._progress import shown
from flyweight.contracts import Candidate, DataSet, Preprocessing, Progress
from flyweight.data import load_dataset
from flyweight.evaluate import evaluate
from flyweight.flow import environment
from flyweight.profile import profile_module
from flyweight.runtimes import RUNTIMES
from flyweight.saved import fresh_candidate
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.tasks.classify import ClassifyMetrics
from flyweight.train import Recipe, train
from flyweight.zoo import ZOO

COMMAND = "python benchmarks/fashion_mnist.py DIR"
EPOCHS, BATCH = 4, 64
GOAL_TOP1 = 91.7  # a 76k-parameter inverted-residual net of 4 epochs, about 190 CPU-seconds


def inverted(name: str, channels: int, stride: int = 1) -> StageSpec:
    """Return an inverted residual with expansion 3."""
    return StageSpec(name, "inverted_residual", channels, stride, settings(expand=3.0, activation="relu6"))


SMALL = ArchSpec(
    name="small_inverted",
    task="classify",
    input=InputSpec(28, 28),
    classes=10,
    stages=(
        StageSpec("stem", "conv", 16),
        inverted("block1", 32, 2),
        inverted("block2", 32),
        inverted("block3", 56, 2),
        inverted("block4", 56),
        inverted("block5", 56),
        StageSpec("last", "conv", 128, settings=settings(kernel=1)),
    ),
    head=HeadSpec("pool_classifier"),
)


def shallow(name: str) -> ArchSpec:
    """Return a network of the zoo for 28 pixels: the first two strides taken out, norms for a short training."""
    spec = ZOO.get(name).spec
    strided = [stage.name for stage in spec.stages if stage.stride > 1][:2]
    return spec.replace(
        input=InputSpec(28, 28),
        classes=10,
        norm_momentum=0.1,
        stages=tuple(stage.replace(stride=1) if stage.name in strided else stage for stage in spec.stages),
    )


def networks() -> Mapping[str, ArchSpec]:
    """Return the networks that are compared."""
    return {
        "small_inverted": SMALL,
        "mobilenet_v1_0.25": shallow("mobilenet_v1_0.25_128"),
        "shufflenet_v2_0.5": shallow("shufflenet_v2_0.5"),
    }


def main(arguments: Sequence[str]) -> int:
    """Train, export, score, write."""
    options = _options(arguments)
    torch.set_num_threads(1)
    data = load_dataset(options.folder)
    steps = EPOCHS * len(data.train) // BATCH
    recipe = Recipe(
        steps=steps,
        batch=BATCH,
        learning_rate=5e-3,
        weight_decay=5e-2,
        flips="horizontal",
        warmup_steps=100,
        checkpoint_steps=200,
    )  # chosen on the validation split, with one seed: 92.6 % there, against 92.0 % with the defaults
    rows = []
    with shown(options.quiet) as progress:
        for name, spec in networks().items():
            if name not in (options.networks or networks()):
                continue
            runs = [_run(spec, data, recipe, seed, options.out / name / str(seed), progress) for seed in options.seeds]
            rows.append(_row(name, spec, runs))
    chosen = f" --networks {' '.join(options.networks)}" if options.networks else ""
    now = {**environment(options.seeds[0]), "command": COMMAND + chosen}  # without the paths of one machine
    claims = [_claim(row) for row in rows if row["params"] < 80_000]
    result = {
        "name": "fashion_mnist", "command": now["command"],
        "date": now["date"], "environment": now, "recipe": recipe.to_json(), "networks": rows, "claims": claims,
    }  # fmt: skip
    files.write_json(options.result, result)
    for claim in claims:
        print(claim)
    return 0


def _run(spec: ArchSpec, data: DataSet, recipe: Recipe, seed: int, folder: Path, progress: Progress) -> dict[str, Any]:
    """Train one network from one seed, export it, score the file; or read what that gave."""
    done = folder / "run.json"
    found: dict[str, Any] = files.read_json(done) if done.exists() else {}
    if found.get("recipe") == recipe.to_json():
        return found
    prepared = Preprocessing(28, 28, data.mean, data.std, data.class_names)
    used_s = time.process_time()
    label = f"{spec.name}, seed {seed}"
    trained = train(
        fresh_candidate(spec, prepared, seed), data, recipe, seed=seed, folder=folder, progress=progress, label=label
    ).candidate
    used_s = time.process_time() - used_s
    metrics = _scored(trained, data, folder)
    run = {
        "recipe": recipe.to_json(),
        "seed": seed,
        "top1": 100 * metrics.top1,
        "train_cpu_s": used_s,
        "confusion": metrics.to_json()["confusion"],
    }
    files.write_json(done, run)
    return run


def _scored(candidate: Candidate, data: DataSet, folder: Path) -> ClassifyMetrics:
    runtime = RUNTIMES.get("onnxruntime")
    artifact = runtime.export(candidate, folder / "onnxruntime")
    metrics = evaluate(runtime.load(artifact, 1), data.test, data, artifact.preprocessing)
    assert isinstance(metrics, ClassifyMetrics)
    return metrics


def _row(name: str, spec: ArchSpec, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    profile = profile_module(fresh_candidate(spec, Preprocessing(28, 28), 0).module, torch.zeros(1, 3, 28, 28))
    top1 = [run["top1"] for run in runs]
    return {
        "name": name, "params": profile.params, "macs": profile.macs, "top1_mean": statistics.fmean(top1),
        "top1_min": min(top1), "top1_max": max(top1),
        "train_cpu_s_mean": statistics.fmean(run["train_cpu_s"] for run in runs), "runs": list(runs),
    }  # fmt: skip


def _claim(row: Mapping[str, Any]) -> dict[str, Any]:
    value = round(row["top1_mean"], 2)
    return {
        "claim": f"Fashion-MNIST, {row['name']} ({row['params']} parameters, {EPOCHS} epochs, "
        f"{row['train_cpu_s_mean']:.0f} CPU-seconds): top-1 of the exported file, mean of {len(row['runs'])} seeds",
        "value": value, "unit": "%", "goal": f">= {GOAL_TOP1}", "holds": value >= GOAL_TOP1,
    }  # fmt: skip


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Small networks on Fashion-MNIST.")
    parser.add_argument("folder", type=Path, help="folder with the four IDX files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds (default 0 1 2)")
    parser.add_argument("--networks", nargs="+", help="only these")
    parser.add_argument("--out", type=Path, default=Path("runs/fashion_mnist"), help="folder of the runs")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/fashion_mnist.json"), help="result")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
