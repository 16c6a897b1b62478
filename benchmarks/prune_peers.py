"""Torch-Pruning 1.6.1 and Flyweight side by side: half of the MACs of one network of every family, and awkward wirings.

    python -m benchmarks.prune_peers [--names mobilenet_v2_1.0,resnet_18]

Run with a Python that has torch-pruning 1.6.1 (``pip install --no-deps``) beside Flyweight. Both get the same networks
in double precision with random weights, scales and biases, judge by L1 norms over the whole network, may take nine
tenths of a layer, and leave the layers whole behind which no other comes. Torch-Pruning is told a share of channels:
the least that leaves half of the MACs is found by halving.

The test is the same for both and goes by the parameters alone: scales and biases are all different, so those that are
gone can be found in the original; there these channels are made zero (filter, bias, scale and shift), and the outputs
must be those of the pruned network. What it can't judge is left out: a layer that reads a sigmoid, which makes 0.5 of
zero, a wiring without modules, and Once-for-All's network, which has a layer with neither norm nor bias. Each may take
a minute of CPU time for a network; stopped at any point, the same command goes on. Writes
``benchmarks/results/prune_peers.json``.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import importlib.metadata
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks._claims import claimed
from benchmarks.health import first_members
from flyweight import files
from flyweight.flow import environment
from flyweight.profile import profile_module
from flyweight.prune import Goal, difference, prune
from flyweight.testing import _networks as networks
from flyweight.trace import trace
from flyweight.zoo import ZOO
from tests.prune.awkward import LOSING, PARTLY, image, seasoned

SHARE, MOST, EXACT, LIMIT_S, TRIES = 0.5, 0.9, 1e-8, 60, 6
TOOLS = ("torch_pruning", "flyweight")
UNJUDGED = frozenset({"sigmoid read by a layer", "functions of parameters", "ofa_mobilenet_v3_1.0_largest"})
LAYERS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def main(arguments: Sequence[str]) -> int:
    """Prune with both, compare, write and print."""
    parser = argparse.ArgumentParser(description="Torch-Pruning and Flyweight on the same networks.")
    parser.add_argument("--names", help="networks of the zoo, apart by commas (default: the first of every file)")
    parser.add_argument(
        "--result", type=Path, default=Path("benchmarks/results/prune_peers.json"), help="file to write"
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/prune_peers"), help="where finished networks lie")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = []
    for kind, name, make in cases(options.names.split(",") if options.names else first_members()):
        path = options.folder / kind / f"{name.replace(' ', '_')}.json"
        if not path.exists():
            net, example = make()
            unlike(net)
            files.write_json(path, [{"kind": kind, "network": name, **examined(tool, net, example)} for tool in TOOLS])
        rows += json.loads(path.read_text())
        for row in rows[-2:]:
            print({key: value for key, value in row.items() if key != "kind"}, flush=True)
    now = environment(0)
    result = {
        "name": "prune_peers",
        "command": "python -m benchmarks.prune_peers" + "".join(f" {argument}" for argument in arguments),
        "date": now["date"],
        "environment": {**now, "torch-pruning": importlib.metadata.version("torch-pruning")},
        "rows": rows,
        "claims": claims(rows),
    }
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print(claim)
    return 0


def cases(names: Sequence[str]) -> Iterator[tuple[str, str, Callable[[], tuple[nn.Module, Tensor]]]]:
    """Yield what is pruned: its kind, its name, and how it is made."""
    for name in names:
        if name not in UNJUDGED:
            yield "zoo", name, partial(member, name)
    for name, make in {**LOSING, **{name: make for name, (make, _, _) in PARTLY.items()}}.items():
        if name not in UNJUDGED:
            yield "wiring", name, partial(seeded, make)


def member(name: str) -> tuple[nn.Module, Tensor]:
    """Return a network of the zoo and an example of its input."""
    candidate = networks.seasoned(ZOO.get(name).spec)
    return candidate.module.double(), torch.zeros(candidate.input_shape, dtype=torch.float64)


def seeded(make: Callable[[], nn.Module]) -> tuple[nn.Module, Tensor]:
    """Return an awkward wiring with weights of its own, and an example of its input."""
    torch.manual_seed(0)
    return seasoned(make()), image()


def unlike(net: nn.Module) -> None:
    """Make all scales and biases of a network different from one another."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in net.modules():
            for tensor in marks(part):
                tensor.add_(1e-3 * torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype))


def marks(part: nn.Module) -> list[Tensor]:
    """Return the tensors of a layer that tell its channels apart."""
    if isinstance(part, NORMS):
        return [part.weight] if part.affine else []
    return [part.bias] if isinstance(part, LAYERS) and part.bias is not None else []


def examined(tool: str, net: nn.Module, example: Tensor) -> dict[str, Any]:
    """Return whether a tool prunes a network, to which share of its MACs, and how exactly."""
    row: dict[str, Any] = {"tool": tool, "ran": False, "shapes_kept": False, "exact": False}
    before, started = profile_module(net, example).macs, time.process_time()
    try:
        with limited(LIMIT_S):
            pruned = (by_torch_pruning if tool == "torch_pruning" else by_flyweight)(net, example, before)
            seconds = time.process_time() - started
            share = profile_module(pruned, example).macs / before
            noise = torch.randn(example.shape, dtype=example.dtype, generator=torch.Generator().manual_seed(1))
            apart = difference(zeroed(net, pruned), pruned, noise)
    except Exception as error:  # whatever a tool raises on a network is the finding
        return {**row, "error": f"{type(error).__name__}: {error}"[:160], "seconds": time.process_time() - started}
    return {
        **row, "ran": share < 1, "share": round(share, 4), "shapes_kept": apart < float("inf"),
        "difference": apart if apart < float("inf") else None, "exact": apart <= EXACT and share < 1,
        "seconds": round(seconds, 2),
    }  # fmt: skip


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise TimeoutError inside after so many seconds of CPU time."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not done after {seconds} s of CPU time")

    old = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)


def by_flyweight(net: nn.Module, example: Tensor, _: int) -> nn.Module:
    """Return the network pruned by Flyweight."""
    return prune(net, example, Goal(SHARE)).module


def by_torch_pruning(net: nn.Module, example: Tensor, macs: int) -> nn.Module:
    """Return the network pruned by Torch-Pruning: the least share of channels that leaves half of the MACs."""
    low, high, best = 0.0, MOST, None
    for _ in range(TRIES):
        ratio = (low + high) / 2
        made = torch_pruned(net, example, ratio)
        if profile_module(made, example).macs <= SHARE * macs:
            high, best = ratio, made
        else:
            low = ratio
    return best if best is not None else torch_pruned(net, example, MOST)


def torch_pruned(net: nn.Module, example: Tensor, ratio: float) -> nn.Module:
    """Return a copy of a network without a share of its channels."""
    tp = importlib.import_module("torch_pruning")
    made = copy.deepcopy(net)
    parts = dict(made.named_modules())
    pruner = tp.pruner.BasePruner(
        made,
        example,
        importance=tp.importance.GroupMagnitudeImportance(p=1),
        global_pruning=True,
        pruning_ratio=ratio,
        max_pruning_ratio=MOST,
        ignored_layers=[parts[name] for name in last_layers(net, example) if name in parts],
    )
    pruner.step()
    return made.eval()


def last_layers(net: nn.Module, example: Tensor) -> list[str]:
    """Return the layers behind which no other comes: they make the outputs."""
    graph = trace(net, example)
    above: dict[str, set[str]] = {}  # of a tensor, the layers whose outputs it is made of
    last: dict[str, None] = {}
    for node in graph.nodes:
        own = set().union(*(above.get(name, set()) for name in node.inputs))
        if node.op in ("conv", "conv_transpose", "linear"):
            for layer in own:
                last.pop(layer, None)
            own = {node.module}
            last[node.module] = None
        above |= dict.fromkeys(node.outputs, own)
    return list(last)


def zeroed(net: nn.Module, pruned: nn.Module) -> nn.Module:
    """Return a copy of ``net`` in which the channels that ``pruned`` lacks are zero."""
    dead, left = copy.deepcopy(net), dict(pruned.named_modules())
    with torch.no_grad():
        for name, part in dead.named_modules():
            for own, theirs in zip(marks(part), marks(left[name]), strict=True):
                gone = ~torch.isin(own, theirs)
                if int((~gone).sum()) != theirs.numel():
                    raise ValueError(f"'{name}' has other scales or biases than before")
                silence(part, gone)
    return dead


def silence(part: nn.Module, gone: Tensor) -> None:
    """Make channels of a layer or norm zero."""
    for param_name, tensor in part.named_parameters(recurse=False):
        turned = isinstance(part, nn.ConvTranspose2d) and param_name == "weight"
        if turned and isinstance(part, nn.ConvTranspose2d) and part.groups > 1:
            per_group = tensor.shape[1]
            for group, own in enumerate(torch.split(gone, per_group)):
                rows = tensor.shape[0] // part.groups
                tensor[group * rows : (group + 1) * rows, own] = 0
        elif turned:
            tensor[:, gone] = 0
        else:
            tensor[gone] = 0


def claims(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the claims, each with its goal and whether it holds."""
    made: list[tuple[str, float, str, str]] = []
    for kind, what in (("zoo", "networks"), ("wiring", "wirings")):
        own = {tool: [row for row in rows if row["kind"] == kind and row["tool"] == tool] for tool in TOOLS}
        count = len(own["flyweight"])
        for tool in TOOLS:
            exact = sum(row["exact"] for row in own[tool])
            goal = f">= {count}" if tool == "flyweight" else ">= 0"
            made.append((f"{what} of {count} that {tool} prunes exactly", exact, what, goal))
            wrong = sum(row["ran"] and not row["exact"] for row in own[tool])
            made.append((f"{what} that {tool} prunes, and the outputs are others", wrong, what,
                         "<= 0" if tool == "flyweight" else ">= 0"))  # fmt: skip
            half = sum(row["exact"] and row["share"] <= SHARE + 1e-3 for row in own[tool])
            made.append((f"{what} of {count} that {tool} prunes exactly to half of the MACs", half, what, ">= 0"))
        failing = {row["network"] for row in own["torch_pruning"] if not row["exact"]}
        ours = sum(row["exact"] for row in own["flyweight"] if row["network"] in failing)
        text = f"{what} of the {len(failing)} where torch_pruning fails that flyweight prunes exactly"
        made.append((text, ours, what, f">= {len(failing)}"))
    return [claimed(text, float(value), unit, goal) for text, value, unit, goal in made]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
