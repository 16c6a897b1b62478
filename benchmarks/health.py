"""Dead channels planted in one network of every file of the zoo, at its own size: how many are found, and how many of
what is found was not planted; whether outputs stay equal when they are removed.

    python -m benchmarks.health [--names mobilenet_v2_1.0,resnet_18]

The weights are random, with norms and biases as after training, so that no channel is dead by chance: what is found by
the weights and was not planted is a false alarm. On images (noise) channels of such networks do die; there a false
alarm is one that was called dead, while a hook on that layer saw it change. Writes ``benchmarks/results/health.json``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks._claims import claimed
from flyweight import files
from flyweight.contracts import Candidate, Env
from flyweight.errors import TransformError
from flyweight.flow import environment
from flyweight.health import Finding, Health, anatomy, diagnose
from flyweight.testing import _networks as networks
from flyweight.testing._planted import Planted, planted
from flyweight.transforms.remove_dead import RemoveDead, removed
from flyweight.zoo import ZOO

IMAGES = 16
Places = set[tuple[str, int]]


def main(arguments: Sequence[str]) -> int:
    """Plant, look, remove; write and print."""
    parser = argparse.ArgumentParser(description="Planted dead channels.")
    parser.add_argument("--names", help="networks, apart by commas (default: the first of every file of the zoo)")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/health.json"), help="file to write")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = []
    for name in options.names.split(",") if options.names else first_members():
        rows.append(examined(name))
        print({key: value for key, value in rows[-1].items() if key != "kept"}, flush=True)
    now = environment(0)
    result = {
        "name": "health",
        "command": "python -m benchmarks.health" + "".join(f" {argument}" for argument in arguments),
        "date": now["date"],
        "environment": now,
        "images": IMAGES,
        "networks": rows,
        "claims": claims(rows),
    }
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print(claim)
    return 0


def first_members() -> list[str]:
    """Return the first network of every file of the zoo."""
    first: dict[str, str] = {}
    for name, origin in sorted(ZOO.origins.items()):
        first.setdefault(origin, name)
    return list(first.values())


def healthy(name: str) -> Candidate:
    """Return a network whose norms and biases are as after training."""
    candidate = networks.seasoned(ZOO.get(name).spec)
    generator = torch.Generator().manual_seed(0)
    for path, param in candidate.module.named_parameters():
        if path.endswith("bias") and not bool(param.any()):
            param.data.copy_(0.2 * torch.rand(param.shape, generator=generator) - 0.1)
    return candidate


def examined(name: str) -> dict[str, Any]:
    """Return what was planted in one network, what was found, and how far its outputs moved by the removal."""
    started = time.perf_counter()
    candidate = healthy(name)
    example, noise = torch.zeros(candidate.input_shape), networks.inputs(candidate, IMAGES)
    alarms = places(diagnose(candidate.module, example).findings)
    ill, truth = planted(candidate, layers=4)
    begun = time.perf_counter()
    health = diagnose(ill.module, example)
    seconds = time.perf_counter() - begun
    found, want = places(health.findings), planted_places(truth)
    shot, negative = planted(candidate, ("negative",), layers=4)
    on_images = diagnose(shot.module, example, noise.numpy())
    called, unlike = contradicted(shot.module, on_images, noise)
    dead = places(on_images.of_kind("dead"))
    return {
        "network": name, "layers": health.layers, "channels": health.channels, "weights_s": round(seconds, 2),
        "planted": len(want), "found": len(want & found), "false_alarms": len(alarms | (found - want)),
        "removable": sum(len(f.removable) for f in health.findings),
        **{f"removal_{key}": value for key, value in removal(ill, noise[:2]).items()},
        "planted_on_images": len(planted_places(negative)), "found_on_images": len(planted_places(negative) & dead),
        "called_dead_on_images": called, "of_them_not_constant": unlike,
        "images_difference": difference(shot.module, removed(anatomy(shot.module, example, noise.numpy()), example,
                                                             on_images=True)[0], noise),
        "kept": sorted({f.left_whole for f in health.findings if f.left_whole}),
        "seconds": round(time.perf_counter() - started, 1),
    }  # fmt: skip


def places(findings: Sequence[Finding]) -> Places:
    """Return (layer, channel) of all findings."""
    return {(finding.layer, channel) for finding in findings for channel in finding.channels}


def planted_places(truth: Sequence[Planted]) -> Places:
    """Return (layer, channel) of all that was planted."""
    return {(p.layer, channel) for p in truth for channel in p.channels}


def removal(candidate: Candidate, x: Tensor) -> dict[str, Any]:
    """Return how many parameters go by the weights, and how far the outputs move."""
    try:
        edited = RemoveDead().apply(candidate, Env())
    except TransformError:  # all that was planted is tied to what lives
        return {"params": 0, "difference": 0.0}
    count = [sum(p.numel() for p in c.module.parameters()) for c in (candidate, edited)]
    return {"params": count[0] - count[1], "difference": difference(candidate.module, edited.module, x)}


def difference(before: nn.Module, after: nn.Module, x: Tensor) -> float:
    """Return the largest difference over the largest output."""
    with torch.no_grad():
        old, new = before(x), after(x)
    return float((old - new).abs().max() / old.abs().max())


def contradicted(module: nn.Module, health: Health, x: Tensor) -> tuple[int, int]:
    """Return how many channels were called dead by the images, and how many of them a hook on the layer saw change."""
    findings = [finding for finding in health.of_kind("dead") if finding.images]
    outputs: dict[str, Tensor] = {}
    hooks = [
        module.get_submodule(finding.layer).register_forward_hook(
            lambda _, __, out, layer=finding.layer: outputs.__setitem__(layer, out.detach().clone())
        )
        for finding in findings
    ]
    with torch.no_grad():
        module(x)
    for hook in hooks:
        hook.remove()
    changed = 0
    for finding in findings:
        own = outputs[finding.layer].transpose(0, 1).flatten(1)[list(finding.channels)]
        changed += int((own.amax(1) != own.amin(1)).sum())
    return sum(len(finding.channels) for finding in findings), changed


def claims(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the claims, each with its goal and whether it holds."""

    def total(key: str) -> int:
        return sum(row[key] for row in rows)

    worst = max(max(row["removal_difference"], row["images_difference"]) for row in rows)
    count = f"{len(rows)} networks"
    made = [
        (f"planted dead and unread channels found by the weights, {count}", total("found") / total("planted"), "share",
         ">= 1"),
        (f"channels found by the weights that were not planted, {count}", total("false_alarms"), "channels", "<= 0"),
        (f"planted channels that are zero on {IMAGES} images found on them, {count}",
         total("found_on_images") / total("planted_on_images"), "share", ">= 1"),
        (f"channels called dead on {IMAGES} images that a hook on the layer saw change, {count}",
         total("of_them_not_constant"), "channels", "<= 0"),
        (f"largest difference of outputs after the removal, over the largest output, {count}", round(worst * 1e6, 3),
         "millionths", "<= 10"),
    ]  # fmt: skip
    return [claimed(text, float(value), unit, goal) for text, value, unit, goal in made]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
