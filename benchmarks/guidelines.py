"""The four experiments of ShuffleNetV2 (arXiv 1807.11164, section 2) on this machine, in ONNX Runtime with one thread.

    python -m benchmarks.guidelines [--n 60]

Each stacks ten blocks on a map of 56 × 56, batch 1, and changes one thing while the MACs stay the same:

- G1: two 1×1 convolutions, from c1 to c2 channels and back; c1 : c2 from 1 : 1 to 1 : 12.
- G2: one 1×1 convolution in 1 to 8 groups, wider as there are more.
- G3: 1×1 convolutions, one or two and four smaller ones in series or in parallel. Where they are parallel the input is
  one and the outputs are added.
- G4: a bottleneck of 1×1, 3×3 and 1×1 with and without ReLU behind each convolution and with and without shortcut.

Every convolution of G1 to G3 has a ReLU, which the runtime fuses. The variants of an experiment take turns in one
process; a turn is five runs after one that isn't timed. Told are medians of CPU time, per MAC where rounding of widths
leaves a difference. A guideline holds as far as what it advises is faster: the factor between its best and its worst.

Writes ``benchmarks/results/guidelines.json``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flyweight import files
from flyweight.contracts import BUSY
from flyweight.flow import environment
from flyweight.runtimes.onnxruntime import session_options

SIDE = 56  # pixels
BLOCKS = 10
TURN = 5
HOLDS = 1.05  # factor from which a guideline is said to hold


@dataclass
class Net:
    """An ONNX network that is made convolution by convolution, and its cost."""

    channels: int
    nodes: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)
    macs: int = 0
    moved_bytes: int = 0

    def conv(
        self, value: str, inputs: int, outputs: int, *, kernel: int = 1, groups: int = 1, relu: bool = True
    ) -> str:
        """Add a convolution and return its output."""
        from onnx import helper, numpy_helper

        number = len(self.nodes)
        shape = (outputs, inputs // groups, kernel, kernel)
        weight = np.random.default_rng(number).standard_normal(shape).astype(np.float32)
        weight *= (2 / (shape[1] * kernel * kernel)) ** 0.5
        self.weights += [numpy_helper.from_array(weight, f"w{number}")]
        self.weights += [numpy_helper.from_array(np.zeros(outputs, np.float32), f"b{number}")]
        out, pad = f"v{number}", kernel // 2
        self.nodes += [
            helper.make_node("Conv", [value, f"w{number}", f"b{number}"], [out], kernel_shape=[kernel, kernel],
                             pads=[pad] * 4, group=groups)
        ]  # fmt: skip
        self.macs += SIDE * SIDE * weight.size
        self.moved_bytes += 4 * (SIDE * SIDE * (inputs + outputs) + weight.size)
        return self.simple("Relu", out) if relu else out

    def simple(self, operator: str, *values: str) -> str:
        """Add an element-wise operator."""
        from onnx import helper

        out = f"v{len(self.nodes)}"
        self.nodes += [helper.make_node(operator, list(values), [out])]
        return out

    def bytes(self, last: str, channels: int) -> bytes:
        """Return the file."""
        from onnx import TensorProto, helper

        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, self.channels, SIDE, SIDE])
        told = helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, channels, SIDE, SIDE])
        graph = helper.make_graph(self.nodes, "blocks", [given], [told], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        return bytes(model.SerializeToString())


def widths(first: int, second: int) -> tuple[Net, bytes]:
    """G1: to ``second`` channels and back."""
    net, value = Net(first), "x"
    for _ in range(BLOCKS):
        value = net.conv(net.conv(value, first, second), second, first)
    return net, net.bytes(value, first)


def grouped(channels: int, groups: int) -> tuple[Net, bytes]:
    """G2: a convolution in groups."""
    net, value = Net(channels), "x"
    for _ in range(BLOCKS):
        value = net.conv(value, channels, channels, groups=groups)
    return net, net.bytes(value, channels)


def fragments(channels: int, series: int, parallel: int) -> tuple[Net, bytes]:
    """G3: several convolutions instead of one."""
    net, value = Net(channels), "x"
    for _ in range(BLOCKS):
        if parallel > 1:
            parts = [net.conv(value, channels, channels) for _ in range(parallel)]
            while len(parts) > 1:
                parts = [net.simple("Add", *parts[:2]), *parts[2:]]
            value = parts[0]
        for _ in range(series):
            value = net.conv(value, channels, channels)
    return net, net.bytes(value, channels)


def bottleneck(channels: int, relu: bool, shortcut: bool) -> tuple[Net, bytes]:
    """G4: 1×1 to a quarter, 3×3, 1×1 back."""
    net, value, narrow = Net(channels), "x", channels // 4
    for _ in range(BLOCKS):
        inner = net.conv(value, channels, narrow, relu=relu)
        inner = net.conv(inner, narrow, narrow, kernel=3, relu=relu)
        out = net.conv(inner, narrow, channels, relu=relu)
        value = net.simple("Add", out, value) if shortcut else out
    return net, net.bytes(value, channels)


Variant = tuple[str, Callable[[], tuple[Net, bytes]]]
EXPERIMENTS: dict[str, tuple[str, tuple[Variant, ...]]] = {
    "G1": ("equal channel widths", (
        ("1 : 1, 128 and 128", lambda: widths(128, 128)), ("1 : 2, 90 and 180", lambda: widths(90, 180)),
        ("1 : 6, 52 and 312", lambda: widths(52, 312)), ("1 : 12, 36 and 432", lambda: widths(36, 432)),
    )),
    "G1, multiples of 16": ("equal channel widths", (
        ("1 : 1, 128 and 128", lambda: widths(128, 128)), ("1 : 4, 64 and 256", lambda: widths(64, 256)),
        ("1 : 16, 32 and 512", lambda: widths(32, 512)), ("1 : 64, 16 and 1024", lambda: widths(16, 1024)),
    )),
    "G2": ("few groups", (
        ("1 group, 128 channels", lambda: grouped(128, 1)), ("2 groups, 180", lambda: grouped(180, 2)),
        ("4 groups, 256", lambda: grouped(256, 4)), ("8 groups, 360", lambda: grouped(360, 8)),
    )),
    "G3": ("little fragmentation", (
        ("1 fragment, 128 channels", lambda: fragments(128, 1, 1)), ("2 in series, 90", lambda: fragments(90, 2, 1)),
        ("4 in series, 64", lambda: fragments(64, 4, 1)), ("2 in parallel, 90", lambda: fragments(90, 0, 2)),
        ("4 in parallel, 64", lambda: fragments(64, 0, 4)),
    )),
    "G4": ("few element-wise operators", (
        ("neither", lambda: bottleneck(128, False, False)), ("ReLU", lambda: bottleneck(128, True, False)),
        ("shortcut", lambda: bottleneck(128, False, True)), ("both", lambda: bottleneck(128, True, True)),
    )),
}  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Measure; write and print."""
    parser = argparse.ArgumentParser(description="The guidelines' experiments.")
    parser.add_argument("--n", type=int, default=60, help="runs of every variant (default 60)")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/guidelines.json"), help="file to write")
    options = parser.parse_args(arguments)
    rows = {name: measured(variants, options.n) for name, (_, variants) in EXPERIMENTS.items()}
    now = environment(0)
    result = {
        "name": "guidelines", "command": f"python -m benchmarks.guidelines --n {options.n}", "date": now["date"],
        "environment": now, "runtime": "onnxruntime", "threads": 1, "blocks": BLOCKS, "map_px": SIDE,
        "experiments": rows, "claims": claims(rows),
    }  # fmt: skip
    files.write_json(options.result, result)
    for name, found in rows.items():
        for row in found:
            print(name, row)
    for claim in result["claims"]:
        print(claim)
    return 0


def measured(variants: Sequence[Variant], n: int) -> list[dict[str, Any]]:
    """Return a row for every variant of an experiment; they take turns."""
    import onnxruntime

    made = [(name, *make()) for name, make in variants]
    sessions = [
        onnxruntime.InferenceSession(model, session_options(1), providers=["CPUExecutionProvider"])
        for _, _, model in made
    ]
    inputs = [np.random.default_rng(0).standard_normal((1, net.channels, SIDE, SIDE)).astype(np.float32)
              for _, net, _ in made]  # fmt: skip
    taken: list[list[tuple[float, float]]] = [[] for _ in made]
    for _ in range(-(-n // TURN)):
        for session, x, own in zip(sessions, inputs, taken, strict=True):
            own += [clocked(session, x) for _ in range(1 + TURN)][1:]
    rows = []
    for (name, net, _), own in zip(made, taken, strict=True):
        wall_ms, cpu_ms = (statistics.median(times) for times in zip(*own, strict=True))
        rows.append({
            "variant": name, "mmacs": net.macs / 1e6, "moved_mb": net.moved_bytes / 1e6, "cpu_ms": cpu_ms,
            "busy": wall_ms / cpu_ms, "ns_per_kmac": 1e9 * cpu_ms / net.macs,
        })  # fmt: skip
    return rows


def clocked(session: Any, x: Any) -> tuple[float, float]:
    """Run once and return ms of wall clock and of CPU."""
    cpu, start = time.process_time_ns(), time.perf_counter_ns()
    session.run(None, {"x": x})
    return (time.perf_counter_ns() - start) / 1e6, (time.process_time_ns() - cpu) / 1e6


def claims(rows: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return how many times as long per MAC the slowest variant takes as the first, which the guideline advises."""
    found = []
    for name, (meaning, _) in EXPERIMENTS.items():
        first, *others = [row["ns_per_kmac"] for row in rows[name]]
        worst = max(range(len(others)), key=lambda index: others[index])
        factor = others[worst] / first
        what = f"{name}, {meaning}: time per MAC, {rows[name][worst + 1]['variant']} over {rows[name][0]['variant']}"
        found.append({"claim": what, "value": round(factor, 2), "unit": "times", "goal": f">= {HOLDS}",
                      "holds": factor >= HOLDS})  # fmt: skip
    busy = max(row["busy"] for variants in rows.values() for row in variants)
    found.append({"claim": "wall clock over CPU time, the most of any variant", "value": round(busy, 3), "unit": "",
                  "goal": f"<= {BUSY}", "holds": busy <= BUSY})  # fmt: skip
    return found


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
