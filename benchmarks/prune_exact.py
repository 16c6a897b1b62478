"""Every network of the zoo pruned to 70, 50 and 30 % of its MACs, and awkward wirings: is it reached, and is it exact?

    python -m benchmarks.prune_exact [--names mobilenet_v2_1.0,resnet_18]

Networks are at their own size, in double precision, with random weights, and norms with statistics and scales as after
training. Each is compared on one image of noise with a copy of the original in which the channels that went were made
zero where they are made (``flyweight.prune.silenced``). So that equal outputs say something, how much the pruned
network's outputs differ between two images is taken down too. Which layers are left whole, and why, stands in the rows.

Each network's rows are kept in ``runs/prune_exact``: stopped at any point, the same command goes on. Writes
``benchmarks/results/prune_exact.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks._claims import claimed
from flyweight import files
from flyweight.flow import environment
from flyweight.profile import profile_module
from flyweight.prune import Goal, Layer, difference, prune, silenced
from flyweight.testing import _networks as networks
from flyweight.zoo import ZOO
from tests.prune.awkward import LOSING, PARTLY, image, seasoned

SHARES = (0.7, 0.5, 0.3)
EXACT = 1e-10  # in double precision


def main(arguments: Sequence[str]) -> int:
    """Prune, compare, write and print."""
    parser = argparse.ArgumentParser(description="Pruned networks against those with the channels at zero.")
    parser.add_argument("--names", help="networks of the zoo, apart by commas (default: all)")
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/prune_exact"), help="where finished networks are kept"
    )
    parser.add_argument(
        "--result", type=Path, default=Path("benchmarks/results/prune_exact.json"), help="file to write"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    names = options.names.split(",") if options.names else sorted(ZOO.origins)
    rows = [row for name in names for row in kept(options.folder, name)]
    wired: dict[str, Callable[[], nn.Module]] = {**LOSING, **{name: made for name, (made, _, _) in PARTLY.items()}}
    wirings = [row for name, make in wired.items() for row in examined(name, wiring(make), image(), SHARES[1:2])]
    now = environment(0)
    result = {
        "name": "prune_exact",
        "command": "python -m benchmarks.prune_exact" + "".join(f" {argument}" for argument in arguments),
        "date": now["date"],
        "environment": now,
        "networks": rows,
        "wirings": wirings,
        "claims": claims(rows, wirings),
    }
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print(claim)
    return 0


def kept(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the rows of a network of the zoo that were made before, or make them."""
    path = folder / f"{name}.json"
    if path.is_file():
        found: list[dict[str, Any]] = json.loads(path.read_text())
        return found
    rows = member(name)
    files.write_json(path, rows)
    for row in rows:
        print({key: value for key, value in row.items() if key != "left_whole"}, flush=True)
    return rows


def member(name: str) -> list[dict[str, Any]]:
    """Return the rows of one network of the zoo."""
    candidate = networks.seasoned(ZOO.get(name).spec)
    example = torch.zeros(candidate.input_shape, dtype=torch.float64)
    return examined(name, candidate.module.double(), example, SHARES)


def wiring(make: Callable[[], nn.Module]) -> nn.Module:
    """Return an awkward network with weights of its own."""
    torch.manual_seed(0)
    return seasoned(make())


def examined(name: str, net: nn.Module, example: Tensor, shares: Sequence[float]) -> list[dict[str, Any]]:
    """Return a row for each share of MACs."""
    first, second = (noise(example, seed) for seed in (1, 2))
    rows = []
    for share in shares:
        started = time.perf_counter()
        found = prune(net, example, Goal(share))
        seconds = time.perf_counter() - started
        dead = silenced(net, found.plan.coupling, found.plan.removed)
        apart = difference(dead, found.module, first)
        del dead
        rows.append({
            "network": name, "goal": share, "reached": round(found.plan.share, 4), "is_reached": found.plan.reached,
            "difference": apart, "outputs_move": moved(found.module, first, second),
            "macs_as_planned": profile_module(found.module, example).macs == found.plan.macs[1],
            "macs": found.plan.macs, "params": found.plan.params, "layers": len(found.plan.layers),
            "narrower": sum(layer.after < layer.before for layer in found.plan.layers),
            "left_whole": reasons(found.plan.left_whole), "prune_s": round(seconds, 2),
        })  # fmt: skip
    return rows


def noise(example: Tensor, seed: int) -> Tensor:
    """Return an image of noise like ``example``."""
    return torch.randn(example.shape, dtype=example.dtype, generator=torch.Generator().manual_seed(seed))


def moved(net: nn.Module, first: Tensor, second: Tensor) -> float:
    """Return how far apart the outputs for two images are, over the largest output."""
    return difference(Given(net, first), Given(net, second), torch.zeros(0))


class Given(nn.Module):
    """A network on one image, whatever it is called with."""

    def __init__(self, net: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.net, self.x = net, x

    def forward(self, _: Tensor) -> Any:
        """Return the network's outputs for its image."""
        return self.net(self.x)


def reasons(layers: Sequence[Layer]) -> dict[str, str]:
    """Return why each layer stays as it is."""
    return {layer.layer: layer.why for layer in layers}


def claims(rows: Sequence[dict[str, Any]], wirings: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the claims, each with its goal and whether it holds."""
    names = {row["network"] for row in rows}
    whole = len(ZOO.origins)
    exact = {name for name in names if all(row["difference"] <= EXACT for row in rows if row["network"] == name)}
    lively = sum(row["outputs_move"] < 1e-6 for row in [*rows, *wirings])
    made: list[tuple[str, float, str, str]] = [
        ("networks of the zoo pruned to 70, 50 and 30 % of their MACs", len(names), "networks", f">= {whole}"),
        ("of them equal the network with those channels at zero, each time", len(exact), "networks", f">= {whole}"),
        ("largest difference of outputs, over the largest output, in double precision",
         max(row["difference"] for row in [*rows, *wirings]), "share", f"<= {EXACT}"),
        ("pruned networks whose outputs are the same for two images, so that equality says little", lively, "networks",
         "<= 0"),
        ("pruned networks whose MACs are not those planned",
         sum(not row["macs_as_planned"] for row in [*rows, *wirings]), "networks", "<= 0"),
    ]  # fmt: skip
    for share in SHARES:
        reached = sum(row["is_reached"] for row in rows if row["goal"] == share)
        made.append((f"networks that {share:.0%} of the MACs is reached of", reached, "networks", f">= {whole}"))
    done = sum(row["difference"] <= EXACT for row in wirings)
    made.append(("awkward wirings pruned exactly", done, "wirings", ">= 25"))
    return [claimed(text, float(value), unit, goal) for text, value, unit, goal in made]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
