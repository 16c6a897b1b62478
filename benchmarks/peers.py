"""Other counters of PyTorch networks and ONNX files, each asked the same: MACs, parameters, seconds.

Run by ``benchmarks.static_report`` with the interpreter of an environment that has them:

    python -m benchmarks.peers PEER report|FILE.onnx|awkward

Prints one line of JSON.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

REPEATS = 3
Counts = tuple[float | None, float | None]


def deep() -> Any:
    """Return a residual network of 200 convolutions, as ResNet-200 has them, with a norm and a ReLU behind each."""
    import torch
    from torch import nn

    class Bottleneck(nn.Module):
        def __init__(self, inputs: int, width: int, stride: int) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                *unit(inputs, width, 1, 1), *unit(width, width, 3, stride), *unit(width, 4 * width, 1, 1)[:2]
            )
            self.shortcut = nn.Sequential(*unit(inputs, 4 * width, 1, stride)[:2]) if inputs != 4 * width else None
            self.act = nn.ReLU(inplace=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.act(self.layers(x) + (self.shortcut(x) if self.shortcut else x))
            return out

    def unit(inputs: int, outputs: int, kernel: int, stride: int) -> list[nn.Module]:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        return [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]

    layers: list[nn.Module] = [*unit(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for width, blocks, stride in ((64, 3, 1), (128, 23, 2), (256, 35, 2), (512, 4, 2)):
        for block in range(blocks):
            layers.append(Bottleneck(inputs, width, stride if block == 0 else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000)).eval()


def example() -> Any:
    """Return its input."""
    import torch

    return torch.zeros(1, 3, 224, 224)


def ask_flyweight(net: Any, given: Any) -> Counts:
    """Count by this toolkit: counts, memory and receptive fields of every operator."""
    from flyweight.profile import profile_module

    found = profile_module(net, given)
    return found.macs, found.params


def ask_fvcore(net: Any, given: Any) -> Counts:
    """Count by fvcore; its "flops" are multiply-accumulates."""
    import logging

    nn = importlib.import_module("fvcore.nn")
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    analysis = nn.FlopCountAnalysis(net, given)
    nn.flop_count_table(analysis, max_depth=10)
    return float(analysis.total()), float(nn.parameter_count(net)[""])


def ask_ptflops(net: Any, given: Any) -> Counts:
    """Count by ptflops, by its default backend, which patches modules and functions."""
    macs, params = importlib.import_module("ptflops").get_model_complexity_info(
        net, (1,), input_constructor=lambda _: given, as_strings=False, print_per_layer_stat=True, verbose=False
    )
    return macs, params


def ask_torchinfo(net: Any, given: Any) -> Counts:
    """Count by torchinfo."""
    found = importlib.import_module("torchinfo").summary(net, input_data=given, depth=10, verbose=0, device="cpu")
    str(found)
    return float(found.total_mult_adds), float(found.total_params)


def ask_calflops(net: Any, given: Any) -> Counts:
    """Count by calflops, its MACs."""
    named = given if isinstance(given, dict) else {}
    places = list(given) if isinstance(given, tuple) else [] if named else [given]
    _, macs, params = importlib.import_module("calflops").calculate_flops(
        net, args=places, kwargs=named, output_as_string=False, print_results=True
    )
    return float(macs), float(params)


def ask_torchview(net: Any, given: Any) -> Counts:
    """Draw by torchview, which counts nothing."""
    importlib.import_module("torchview").draw_graph(net, input_data=given, depth=10, device="cpu")
    return None, None


PEERS: dict[str, Callable[[Any, Any], Counts]] = {
    "flyweight": ask_flyweight, "fvcore": ask_fvcore, "ptflops": ask_ptflops, "torchinfo": ask_torchinfo,
    "calflops": ask_calflops, "torchview": ask_torchview,
}  # fmt: skip


def file_by_flyweight(path: str) -> Counts:
    """Count a file by this toolkit."""
    from flyweight.onnx_graph import read_onnx
    from flyweight.profile import profile

    found = profile(read_onnx(Path(path)))
    return found.macs, found.params


def file_by_onnx_tool(path: str) -> Counts:
    """Count a file by onnx-tool."""
    model = importlib.import_module("onnx_tool").Model(path)
    model.graph.shape_infer()
    model.graph.profile()
    model.graph.print_node_map()
    return float(sum(model.graph.macs)), float(model.graph.params)


FILES = {"flyweight": file_by_flyweight, "onnx-tool": file_by_onnx_tool}


def timed(ask: Callable[[], Counts]) -> dict[str, Any]:
    """Ask a few times; return what is said and the seconds."""
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        macs, params = ask()
        taken.append(time.perf_counter() - started)
    return {"macs": macs, "params": params, "first_s": taken[0], "median_s": statistics.median(taken)}


def awkward(ask: Callable[[Any, Any], Counts]) -> Iterable[dict[str, Any]]:
    """Ask about every awkward network."""
    from tests.contracts.awkward import CASES

    for name, case in CASES.items():
        row: dict[str, Any] = {"network": name}
        try:
            row["macs"], row["params"] = ask(case.make(), case.example)
        except Exception as error:  # whatever a peer raises is its answer
            row["error"] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:160]
        yield row


def main() -> None:
    """Ask one peer."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    peer, task = sys.argv[1:]
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        if task == "awkward":
            answer: Any = list(awkward(PEERS[peer]))
        elif task == "report":
            net, given = deep(), example()
            answer = timed(lambda: PEERS[peer](net, given))
        else:
            answer = timed(lambda: FILES[peer](task))
    version = importlib.metadata.version(peer)
    print(json.dumps({"peer": peer, "version": version, "answer": answer}))


if __name__ == "__main__":
    main()
