"""Time and memory of artifacts, measured in fresh processes.

Every artifact runs in a process of its own that never imports torch. Two artifacts are compared side by side: their
processes take turns, so that only one computes at a time and both see the same minutes of the machine.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from flyweight.contracts import Artifact, LayerTime, LayerTimes, Measurement
from flyweight.errors import MeasurementError, RuntimeMissingError
from flyweight.measure._hardware import hardware as hardware
from flyweight.measure._hardware import machine_cpu_s
from flyweight.measure._process import LoadedWorker
from flyweight.runtimes import RUNTIMES
from flyweight.runtimes._artifact import check_digest

ROUNDS = 10


def measure(
    artifact: Artifact, threads: int = 1, n: int = 100, rounds: int = ROUNDS, timeout_s: float = 300.0
) -> Measurement:
    """Measure ``n`` inferences of one artifact in a fresh process.

    Raises:
        MeasurementError: the process died or did not answer within ``timeout_s``.
        FileError: the artifact's files are missing or not what was exported.
    """
    return _measure((artifact,), threads, n, rounds, timeout_s)[0]


def measure_pair(
    reference: Artifact,
    candidate: Artifact,
    threads: int = 1,
    n: int = 100,
    rounds: int = ROUNDS,
    timeout_s: float = 300.0,
) -> tuple[Measurement, Measurement]:
    """Measure ``n`` inferences of either artifact, in ``rounds`` turns, so that the ratio of their times is fair.

    Args:
        reference, candidate: artifacts of any runtimes.
        threads: threads of either process; only one computes at a time.
        n: timed inferences of each. rounds: into how many turns they are divided; each begins with untimed ones.
        timeout_s: how long one turn may take, in seconds.

    Raises:
        MeasurementError: a process died or did not answer in time; holds what it wrote to its error stream.
        FileError: an artifact's files are missing or not what was exported.
    """
    first, second = _measure((reference, candidate), threads, n, rounds, timeout_s)
    return first, second


def measure_layers(artifact: Artifact, threads: int = 1, n: int = 50, timeout_s: float = 300.0) -> LayerTimes | None:
    """Measure every kernel over ``n`` inferences in a fresh process; None where the runtime can't tell.

    Raises:
        MeasurementError: the process died or did not answer within ``timeout_s``.
        FileError: the artifact's files are missing or not what was exported.
    """
    _check(artifact, threads, n)
    with LoadedWorker(artifact, threads, timeout_s) as worker:
        found = worker.ask("layers", n=n)["layers"]
    return LayerTimes(**{**found, "rows": tuple(LayerTime(**row) for row in found["rows"])}) if found else None


def _check(artifact: Artifact, threads: int, n: int) -> None:
    if n < 1 or threads < 1:
        raise MeasurementError(f"{n} inferences at {threads} threads; both must be at least 1.")
    if reason := RUNTIMES.get(artifact.runtime).missing():
        raise RuntimeMissingError(reason)
    check_digest(artifact)


def _measure(
    artifacts: Sequence[Artifact], threads: int, n: int, rounds: int, timeout_s: float
) -> tuple[Measurement, ...]:
    for artifact in artifacts:
        _check(artifact, threads, n)
    with ExitStack() as stack:
        workers = [stack.enter_context(LoadedWorker(artifact, threads, timeout_s)) for artifact in artifacts]
        samples: list[list[dict[str, Any]]] = [[] for _ in workers]
        before = (time.perf_counter(), machine_cpu_s() - _cpu_s(workers))
        for number, turn in enumerate(_turns(n, rounds)):
            order = range(len(workers)) if number % 2 == 0 else reversed(range(len(workers)))
            for index in order:  # there and back again, so that none always runs on what the other left
                samples[index].append(workers[index].ask("run", n=turn))
        others = (machine_cpu_s() - _cpu_s(workers) - before[1]) / (time.perf_counter() - before[0])
        memory = [worker.ask("memory")["peak_rss_bytes"] for worker in workers]
    zipped = zip(workers, samples, memory, strict=True)
    return tuple(_summary(worker, taken, threads, peak, others) for worker, taken, peak in zipped)


def _cpu_s(workers: Sequence[LoadedWorker]) -> float:
    """Return the CPU time of this process and its workers, in seconds."""
    used_ns: list[int] = [worker.ask("memory")["cpu_ns"] for worker in workers]
    return time.process_time() + sum(used_ns) / 1e9


def _turns(n: int, rounds: int) -> list[int]:
    """Divide ``n`` into at most ``rounds`` turns that differ by one at most."""
    rounds = max(1, min(rounds, n))
    return [n // rounds + (index < n % rounds) for index in range(rounds)]


def _summary(
    worker: LoadedWorker, turns: Sequence[dict[str, Any]], threads: int, peak_rss_bytes: int, others: float
) -> Measurement:
    wall = sorted(ns / 1e6 for turn in turns for ns in turn["wall_ns"])
    cpu_ms = statistics.median(ns / 1e6 for turn in turns for ns in turn["cpu_ns"])
    median = statistics.median(wall)
    return Measurement(
        runtime=worker.artifact.runtime, runtime_version=worker.artifact.runtime_version, hardware=hardware(),
        threads=threads, n=len(wall), median_ms=median, p10_ms=_quantile(wall, 0.1), p90_ms=_quantile(wall, 0.9),
        cpu_median_ms=cpu_ms, busy=_busy(turns, threads, others), load_ms=worker.loaded["load_ms"],
        first_ms=worker.loaded["first_ms"], peak_rss_bytes=peak_rss_bytes,
        baseline_rss_bytes=worker.loaded["baseline_rss_bytes"],
    )  # fmt: skip


def _busy(turns: Sequence[dict[str, Any]], threads: int, others: float) -> float:
    """Return how much longer the wall clock ran than it would have on an idle machine.

    One thread: wall over CPU time. More threads also wait for each other, which is no sign of a busy machine: there it
    is one plus the share of a core that each of them lacks beside what else the machine was doing (``others``: cores).
    """
    if threads == 1:
        wall: float = statistics.median(ns for turn in turns for ns in turn["wall_ns"])
        cpu: float = statistics.median(ns for turn in turns for ns in turn["cpu_ns"])
        return wall / max(cpu, 1.0)
    return 1 + max(0.0, threads + others - (os.cpu_count() or 1)) / threads


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Return a quantile of sorted values, interpolated between neighbours."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
