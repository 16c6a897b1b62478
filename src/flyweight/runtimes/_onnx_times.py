"""Time per kernel of ONNX Runtime, mapped back to the modules of the PyTorch network.

At the fast optimization level kernels are fused and named anew: ``<value>_nchwc`` after the last value that a fused
convolution makes, ``<node>_token_<n>`` for int8 kernels, and layout changes that no node of the file stands for. The
first two are looked up in the file's own graph; the rest go to the kernel that they feed or are fed by.

What the profiler adds to each kernel is measured and taken off (``_onnx_clock``), so that the kernels sum to the time
of a run without it.
"""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flyweight.contracts import Artifact, LayerTime, LayerTimes
from flyweight.runtimes import _artifact
from flyweight.runtimes._onnx_clock import profiler_cost

WARM_UP = 5
TURN = 5  # runs that one session makes before it is the other's turn
_KERNEL = "_kernel_time"


def layer_times(artifact: Artifact, threads: int, n: int, new_options: Callable[[int], Any]) -> LayerTimes:
    """Profile ``n`` runs, which take turns with ``n`` plain ones; both run with ``new_options(threads)``."""
    import onnx

    with _artifact.scratch() as folder:
        fused = folder / "fused.onnx"
        turns = _Turns(str(artifact.files[0]), n, new_options, threads, folder, fused)
        graph = onnx.load(fused)
        modules = modules_of(onnx.load(artifact.files[0]), graph, artifact.module_of)
        cost = profiler_cost(lambda model, runs: _tried(model, runs, new_options, folder))
    inputs = {node.name: sum(map(bool, node.input)) for node in graph.graph.node}
    rows = []
    for (_, name, operator), us in turns.kernels().items():
        rows.append(LayerTime(name, operator, modules.get(name), cost.taken_off(us, inputs.get(name, 1))))
    wall_us, cpu_us = (statistics.median(times) for times in zip(*turns.plain, strict=True))
    return LayerTimes(
        artifact.runtime, artifact.runtime_version, threads, n, tuple(rows), wall_us,
        cpu_us, wall_us / max(cpu_us, 1.0) if threads == 1 else 1.0,
    )  # fmt: skip


def _tried(model: bytes, runs: int, new_options: Callable[[int], Any], folder: Path) -> tuple[list[float], list[float]]:
    """Run a model by turns; return µs of every kernel, and µs of CPU of every run without the profiler."""
    turns = _Turns(model, runs, new_options, 1, folder)
    return list(turns.kernels().values()), [cpu for _, cpu in turns.plain]


class _Turns:
    """``n`` runs with and ``n`` without the profiler, by turns, so that both meet the same machine.

    Attributes:
        plain: of the runs without, µs of wall clock and of all threads' CPU. events: what the profiler wrote.
    """

    def __init__(
        self, model: str | bytes, n: int, new_options: Callable[[int], Any], threads: int, folder: Path,
        fused: Path | None = None,
    ) -> None:  # fmt: skip
        import onnxruntime

        options = new_options(threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / "profile")
        if fused is not None:
            options.optimized_model_filepath = str(fused)
        session, plain = (
            onnxruntime.InferenceSession(model, each, providers=["CPUExecutionProvider"])
            for each in (options, new_options(threads))
        )
        rng = np.random.default_rng(0)
        feed = {given.name: rng.standard_normal(given.shape).astype(np.float32) for given in session.get_inputs()}
        self.plain: list[tuple[float, float]] = []
        self.kept: list[bool] = []  # of the profiled runs: whether they are timed
        for start in range(0, n, TURN):
            timed, warm_up = min(TURN, n - start), 1 if start else WARM_UP
            for index in range(warm_up + timed):
                session.run(None, feed)
                self.kept.append(index >= warm_up)
            clocked = [_clocked(plain, feed) for _ in range(warm_up + timed)]
            self.plain += clocked[warm_up:]
        self.events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_bytes())

    def timed(self, durations: list[float]) -> list[float]:
        """Return those of the timed runs; a kernel that runs several times a run has its sum over the run."""
        times = len(durations) // len(self.kept)
        sums = [sum(durations[run * times : (run + 1) * times]) for run in range(len(self.kept))]
        return [duration for duration, keep in zip(sums, self.kept, strict=True) if keep]

    def kernels(self) -> dict[tuple[str, str, str], float]:
        """Return the median of every kernel in µs, by (index, name, operator), in execution order."""
        return {key: statistics.median(self.timed(found)) for key, found in _kernels(self.events).items()}


def _clocked(session: Any, feed: Mapping[str, Any]) -> tuple[float, float]:
    """Run once and return µs of wall clock and of all threads' CPU."""
    cpu, start = time.process_time_ns(), time.perf_counter_ns()
    session.run(None, feed)
    return (time.perf_counter_ns() - start) / 1e3, (time.process_time_ns() - cpu) / 1e3


def _kernels(events: list[dict[str, Any]]) -> dict[tuple[str, str, str], list[float]]:
    """Return microseconds of each run by (index, name, operator), in execution order."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            key = (event["args"]["node_index"], event["name"].removesuffix(_KERNEL), event["args"]["op_name"])
            found.setdefault(key, []).append(event["dur"])
    return found


def modules_of(model: Any, fused: Any, module_of: Mapping[str, str]) -> dict[str, str]:
    """Return the module of every node of ``fused`` where it can be told; ``model`` is the artifact's own graph."""
    producers = {out: node for node in model.graph.node for out in node.output}
    own = {node.name for node in fused.graph.node}
    found: dict[str, str] = {}
    for node in fused.graph.node:
        name = _original(node, producers, own)
        if name in module_of:
            found[node.name] = module_of[name]
    _spread(fused, found)
    return found


def _original(node: Any, producers: Mapping[str, Any], kernels: set[str]) -> str:
    """Return the name of the node of the file that a kernel stands for; '' if none."""
    name = re.sub(r"_token_\d+$", "", node.name)
    value = name.removesuffix("_nchwc")
    if value == name:
        return name
    open_values, seen = [value], {value}
    while open_values:  # back to the nearest node with the kernel's operator that isn't timed by itself
        made = producers.get(open_values.pop(0))
        if made is None:
            continue
        if made.op_type == node.op_type and (made.output[0] == value or f"{made.output[0]}_nchwc" not in kernels):
            return str(made.name)
        if made.op_type != node.op_type:
            new = [item for item in made.input if item not in seen]
            open_values.extend(new)
            seen.update(new)
    return str(producers[value].name) if value in producers else ""


def _spread(fused: Any, found: dict[str, str]) -> None:
    """Give layout changes and conversions the module of the kernel that feeds them, else of the one that they feed."""
    producers = {out: node for node in fused.graph.node for out in node.output}
    for node in fused.graph.node:
        if node.name not in found:
            known = [found[producers[i].name] for i in node.input if i in producers and producers[i].name in found]
            if known:
                found[node.name] = known[0]
    for node in reversed(fused.graph.node):
        if node.name in found:
            for name in node.input:
                if name in producers:
                    found.setdefault(producers[name].name, found[node.name])
