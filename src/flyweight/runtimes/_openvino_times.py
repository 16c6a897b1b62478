"""Time per kernel of OpenVINO, mapped back to the modules of the PyTorch network.

Its counters (``PERF_COUNT``) give the mean over all runs since the network was compiled, in whole microseconds. So it
is compiled several times: each time the slow first runs are taken off, and the median over the times is what is told.

A kernel names the layers that were fused into it (``originalLayersNames``), which are nodes of the ONNX file. Layout
changes name none and go to the kernel that feeds them, else to the one that they feed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flyweight.contracts import Artifact, LayerTime, LayerTimes
from flyweight.runtimes._openvino_net import compiled, filled_request

ROUNDS = 5  # times that the network is compiled and run
WARM_UP = 3  # runs after each, taken off
CUT_US = 1.0  # lost on average to whole microseconds: half in each run, half in the mean


def layer_times(artifact: Artifact, threads: int, n: int, precision: str) -> LayerTimes:
    """Profile ``n`` runs in rounds, which take turns with ``n`` plain ones."""
    image = np.random.default_rng(0).standard_normal(artifact.input_shape).astype(np.float32)
    request = filled_request(compiled(artifact.files[0], threads, precision), image)
    rounds: list[list[float]] = []
    clocked: list[tuple[float, float]] = []
    for index in range(min(ROUNDS, n)):
        share = n // ROUNDS + (index < n % ROUNDS) if n >= ROUNDS else 1
        network = compiled(artifact.files[0], threads, precision, PERF_COUNT=True)
        profiled = filled_request(network, image)
        rounds.append(_means_us(profiled, share))
        clocked += [_clocked(request) for _ in range(WARM_UP + share)][WARM_UP:]
    told = (
        profiled.profiling_info
    )  # names that OpenVINO makes up differ from one compilation to the next: the last one's
    modules = _modules(network.get_runtime_model(), artifact.module_of)
    rows = [
        LayerTime(info.node_name, info.node_type, modules.get(info.node_name), statistics.median(times))
        for info, *times in zip(told, *rounds, strict=True)
        if info.status == info.Status.EXECUTED
    ]
    wall_us, cpu_us = (statistics.median(times) for times in zip(*clocked, strict=True))
    busy = wall_us / max(cpu_us, 1.0) if threads == 1 else 1.0
    return LayerTimes(artifact.runtime, artifact.runtime_version, threads, n, tuple(rows), wall_us, cpu_us, busy)


def _means_us(request: Any, n: int) -> list[float]:
    """Return the mean of every kernel over ``n`` runs in µs, in execution order; 0 for one that doesn't run."""
    for _ in range(WARM_UP):
        request.infer()
    before = _sums_us(request, WARM_UP)
    for _ in range(n):
        request.infer()
    after = _sums_us(request, WARM_UP + n)
    return [max(late - early, 0.0) / n + CUT_US * (late > 0) for early, late in zip(before, after, strict=True)]


def _sums_us(request: Any, runs: int) -> list[float]:
    """Return what every kernel took in all runs so far, to a microsecond a run."""
    return [info.real_time.total_seconds() * 1e6 * runs for info in request.profiling_info]


def _clocked(request: Any) -> tuple[float, float]:
    """Run once and return µs of wall clock and of all threads' CPU."""
    cpu, start = time.process_time_ns(), time.perf_counter_ns()
    request.infer()
    return (time.perf_counter_ns() - start) / 1e3, (time.process_time_ns() - cpu) / 1e3


def _modules(runtime_model: Any, module_of: Mapping[str, str]) -> dict[str, str]:
    """Return the module of every kernel where it can be told."""
    kernels = runtime_model.get_ordered_ops()
    found: dict[str, str] = {}
    for kernel in kernels:
        fused = _originals(kernel)
        known = next((module_of[name] for name in fused if name in module_of), None)
        if known is not None:
            found[kernel.get_friendly_name()] = known
    _spread(kernels, found)
    return found


def _originals(kernel: Any) -> list[str]:
    info = kernel.get_rt_info()
    return str(info["originalLayersNames"].astype(str)).split(",") if "originalLayersNames" in info else []


def _spread(kernels: Sequence[Any], found: dict[str, str]) -> None:
    """Give kernels without a layer of the file the module of the kernel that feeds them, else of one that they feed."""
    for kernel in kernels:
        name = kernel.get_friendly_name()
        for given in kernel.inputs():
            source = given.get_source_output().get_node().get_friendly_name()
            if name not in found and source in found:
                found[name] = found[source]
    for kernel in reversed(kernels):
        if (own := found.get(kernel.get_friendly_name())) is not None:
            for given in kernel.inputs():
                found.setdefault(given.get_source_output().get_node().get_friendly_name(), own)
