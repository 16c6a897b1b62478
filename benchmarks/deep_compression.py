"""Deep Compression's whole chain on networks that are trained here, beside the published table; three seeds.

    apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist*.deb DIR
    python -m benchmarks.deep_compression DIR/usr/share/datasets/fashion-mnist

LeNet-300-100 and LeNet-5 with the published numbers of weights, and a small VGG, on Fashion-MNIST in grey: harder than
MNIST, which the paper has (about 10 % error where MNIST has 1 to 2 %). Dense training, then ``flyweight.compress``.
SqueezeNet 1.1 at the setting of its paper has random weights: its structure and bytes, no accuracy.

Resumable: what is finished lies in ``--out``. Some 35 CPU-minutes. Writes ``benchmarks/results/deep_compression.json``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks._claims import claimed
from flyweight import codec, files
from flyweight.cli._progress import shown
from flyweight.compress import Settings, compress, file_of, for_channels
from flyweight.contracts import Candidate, DataSet, Preprocessing, Progress
from flyweight.data import load_dataset
from flyweight.flow import environment
from flyweight.packing import open_packed
from flyweight.saved import fresh_candidate, load_candidate, save_candidate
from flyweight.share import share
from flyweight.sparse import applied, layer_kinds, magnitude
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.train import Recipe, train
from flyweight.zoo import ZOO

COMMAND = "python -m benchmarks.deep_compression DIR"
BATCH = 128
GOAL_RATIO = 35
SQUEEZE_DENSITY, SQUEEZE_BITS, SQUEEZE_BYTES = 0.33, 6, 500_000
# Han et al. 2016 (arXiv 1510.00149), tables 1 to 5, totals: error of top-1 in % before and after; share of the weights
# that is left; bits of a weight and of an index, fixed and after Huffman; times smaller, fixed and after Huffman
PUBLISHED = {
    "lenet_300_100": {"network": "LeNet-300-100, MNIST", "error": (1.64, 1.58), "left": 0.08, "weight_bits": (6, 5.1),
                      "index_bits": (5, 3.7), "ratio": (32, 40)},
    "lenet_5": {"network": "LeNet-5, MNIST", "error": (0.80, 0.74), "left": 0.08, "weight_bits": (5.3, 4.1),
                "index_bits": (5, 4.4), "ratio": (33, 39)},
    "vgg_small": {"network": "VGG-16, ImageNet", "error": (31.50, 31.17), "left": 0.075, "weight_bits": (6.4, 4.1),
                  "index_bits": (5, 3.1), "ratio": (31, 49)},
}  # fmt: skip


@dataclass(frozen=True)
class Net:
    """A network, the density that it is pruned to, and its epochs: dense, pruned, shared."""

    spec: ArchSpec
    density: float
    epochs: tuple[int, int, int]


def _conv(name: str, width: int, kernel: int, padding: int) -> StageSpec:
    return StageSpec(name, "conv", width, 1, settings(kernel=kernel, padding=padding, norm=False, activation="relu"))


def _pool(name: str, width: int, side: int = 2) -> StageSpec:
    return StageSpec(name, "max_pool", width, side, settings(kernel=side, padding=0))


def _spec(name: str, stages: Sequence[StageSpec], widths: Sequence[int], pool: int, dropout: float = 0.0) -> ArchSpec:
    return ArchSpec(
        name=name, task="classify", input=InputSpec(28, 28, 1), classes=10, stages=tuple(stages),
        head=HeadSpec("mlp_classifier", widths=tuple(widths), settings=settings(pool=pool, dropout=dropout)),
    )  # fmt: skip


def networks() -> Mapping[str, Net]:
    """Return the networks: LeCun et al. 1998 in the sizes of Caffe's examples, as Han et al. have them; a small VGG."""
    lenet_5 = (_conv("conv1", 20, 5, 0), _pool("pool1", 20), _conv("conv2", 50, 5, 0), _pool("pool2", 50))
    vgg = (
        _conv("conv1_1", 16, 3, 1), _pool("pool1", 16), _conv("conv2_1", 32, 3, 1), _pool("pool2", 32),
        _conv("conv3_1", 64, 3, 1), _conv("conv3_2", 64, 3, 1),
    )  # fmt: skip
    nets = (
        Net(_spec("lenet_300_100", (_pool("image", 1, 1),), (300, 100), 28), 0.08, (12, 15, 2)),
        Net(_spec("lenet_5", lenet_5, (500,), 4), 0.08, (5, 6, 1)),
        Net(_spec("vgg_small", vgg, (512, 256), 7, dropout=0.25), 0.075, (4, 5, 1)),
    )
    return {net.spec.name: net for net in nets}


def main(arguments: Sequence[str]) -> int:
    """Train, compress, compare, write."""
    options = _options(arguments)
    torch.set_num_threads(1)
    data = for_channels(load_dataset(options.folder), 1)
    rows = []
    with shown(options.quiet) as progress:
        for name, net in networks().items():
            if name in (options.networks or networks()):
                runs = [_run(net, data, seed, options, progress) for seed in options.seeds]
                rows.append(_row(name, runs))
                files.write_json(options.out / "so_far.json", rows)
    _write(options, rows)
    return 0


def _write(options: argparse.Namespace, rows: Sequence[Mapping[str, Any]]) -> None:
    squeeze = squeezenet()
    claims = [claim for row in rows for claim in _claims(row)] + [_squeeze_claim(squeeze)]
    now = {**environment(options.seeds[0]), "command": COMMAND}
    files.write_json(options.result, {
        "name": "deep_compression", "command": COMMAND, "date": now["date"], "environment": now,
        "data": "Fashion-MNIST", "published": PUBLISHED, "networks": rows, "squeezenet_1.1": squeeze, "claims": claims,
    })  # fmt: skip
    for claim in claims:
        print("holds" if claim["holds"] else "FAILS", claim["claim"], claim["value"], claim["unit"], claim["goal"])


def _recipe(epochs: int, rate: float, options: argparse.Namespace, images: int) -> Recipe:
    steps = options.steps or epochs * images // BATCH
    return Recipe(steps=steps, batch=BATCH, learning_rate=rate, weight_decay=1e-2, warmup_steps=min(100, steps // 4),
                  flips="horizontal", checkpoint_steps=200)  # fmt: skip


def _run(net: Net, data: DataSet, seed: int, options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Train one network from one seed and compress it; or read what that gave."""
    folder = options.out / net.spec.name / str(seed)
    done = folder / "run.json"
    recipes = [
        _recipe(n, rate, options, len(data.train)) for n, rate in zip(net.epochs, (1e-3, 1e-3, 1e-4), strict=True)
    ]
    told = {"recipes": [recipe.to_json() for recipe in recipes], "density": net.density}
    found: dict[str, Any] = files.read_json(done) if done.exists() else {}
    if found.get("told") == told:
        return found
    began = time.process_time()
    candidate = _dense(net, data, recipes[0], seed, folder, progress)
    wanted = Settings((net.density,), prune=recipes[1], share=recipes[2], seed=seed)
    made = compress(candidate, data, wanted, folder / "compressed", progress)
    run = {"told": told, "seed": seed, "cpu_s": time.process_time() - began, **made.to_json()}
    for each in run["layers"]:
        del each["edges"], each["counts"], each["book"]
    files.write_json(done, run)
    return run


def _dense(net: Net, data: DataSet, recipe: Recipe, seed: int, folder: Path, progress: Progress) -> Candidate:
    path = folder / "dense.safetensors"
    if path.exists():
        return load_candidate(path)[0]
    prepared = Preprocessing(28, 28, data.mean, data.std, data.class_names)
    label = f"{net.spec.name}, seed {seed}"
    candidate = train(fresh_candidate(net.spec, prepared, seed), data, recipe, seed=seed, folder=folder / "dense",
                      progress=progress, label=label).candidate  # fmt: skip
    save_candidate(path, candidate)
    return candidate


def _row(name: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    before, after = ([100 * run[key] for run in runs] for key in ("test_before", "test_after"))
    stages = [
        {"stage": at[0]["name"], "left": _mean(s["left"] / s["total"] for s in at),
         "weight_bits": _mean(s["weight_bits"] for s in at),
         "index_bits": None if at[0]["index_bits"] is None else _mean(s["index_bits"] for s in at),
         "bytes": _mean(s["bytes"] for s in at),
         "ratio": _mean(run["float_bytes"] / s["bytes"] for run, s in zip(runs, at, strict=True)),
         "val_top1": None if at[0]["metric"] is None else 100 * _mean(s["metric"] for s in at)}
        for at in zip(*(run["stages"] for run in runs), strict=True)
    ]  # fmt: skip
    return {
        "name": name, "params": runs[0]["float_bytes"] // 4, "stages": stages, "published": PUBLISHED[name],
        "test_top1_before": before, "test_top1_after": after, "ratio": [run["ratio"] for run in runs],
        "change": _mean(after) - _mean(before), "noise": statistics.stdev(before) if len(before) > 1 else 0.0,
        "cpu_s": sum(run["cpu_s"] for run in runs), "runs": list(runs),
    }  # fmt: skip


def _mean(values: Any) -> float:
    return statistics.fmean(values)


def _claims(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    seeds, published = len(row["ratio"]), row["published"]
    return [
        claimed(f"{row['name']}, Fashion-MNIST: float32 over the whole file, worst of {seeds} seeds; published "
                f"{published['ratio'][1]} for {published['network']}", min(row["ratio"]), "x", f">= {GOAL_RATIO}", 1),
        claimed(f"{row['name']}: test top-1 of the file less that of the dense network, mean of {seeds} seeds (dense "
                f"{_mean(row['test_top1_before']):.2f} %); at worst one standard deviation of the dense seeds below",
                row["change"], "points", f">= {-row['noise']:.3f}", 3),
    ]  # fmt: skip


def squeezenet() -> dict[str, Any]:
    """Return the bytes of SqueezeNet 1.1, random weights, at its paper's setting: 33 % of the weights, 6 bits."""
    spec = ZOO.get("squeezenet_1.1").spec
    candidate = fresh_candidate(spec, Preprocessing(spec.input.height, spec.input.width), 0)
    weights = layer_kinds(candidate.module)
    applied(candidate.module, magnitude(candidate.module, SQUEEZE_DENSITY))
    bits = dict.fromkeys(weights, SQUEEZE_BITS)
    wanted = Settings(conv_index_bits=4)
    data = file_of(candidate, share(candidate.module, bits), wanted)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "squeezenet.fly"
        path.write_bytes(data)
        began = time.perf_counter()
        sizes = codec.open_container(path).shared_sizes()
        back = open_packed(path).module.state_dict()
        seconds = time.perf_counter() - began
    params = sum(p.numel() for p in candidate.module.parameters())
    return {
        "density": SQUEEZE_DENSITY, "bits": SQUEEZE_BITS, "params": params, "file_bytes": len(data),
        "ratio": 4 * params / len(data),
        "weight_bits": sum(s.weights_bits for s in sizes) / sum(s.entries for s in sizes),
        "index_bits": sum(s.indices_bits for s in sizes) / sum(s.entries for s in sizes),
        "left": sum(int((back[n] != 0).sum()) for n in weights) / sum(back[n].numel() for n in weights),
        "open_s": seconds,
    }  # fmt: skip


def _squeeze_claim(row: Mapping[str, Any]) -> dict[str, Any]:
    return claimed("SqueezeNet 1.1, random weights, 33 % left, 6 bits: the whole file (published for 1.0: 470 kB)",
                   row["file_bytes"], "bytes", f"< {SQUEEZE_BYTES}", 0)  # fmt: skip


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Deep Compression's chain beside the published table.")
    parser.add_argument("folder", type=Path, help="folder with the four IDX files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds (default 0 1 2)")
    parser.add_argument("--networks", nargs="+", help="only these")
    parser.add_argument("--steps", type=int, help="of every training, to try the benchmark out")
    parser.add_argument("--out", type=Path, default=Path("runs/deep_compression"), help="folder of the runs")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/deep_compression.json"), help="result")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
