"""Time and memory of artifacts, measured in fresh processes.

Every artifact runs in a process of its own that never imports torch. Two artifacts are compared side by side: their
processes take turns, so that only one computes at a time and both see the same minutes of the machine.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from flyweight.contracts import Artifact, LayerTime, LayerTimes, Measurement
from flyweight.errors import FlyweightError, MeasurementError, RuntimeMissingError
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


def measure_group(
    artifacts: Sequence[Artifact], threads: int = 1, n: int = 100, rounds: int = ROUNDS, timeout_s: float = 300.0
) -> tuple[Measurement | FlyweightError, ...]:
    """Measure many artifacts by turns, as ``measure_pair`` does two; what fails costs only its own place.

    Returns:
        For each artifact its measurement, or the error that says why there is none.
    """
    return _measure_each(artifacts, threads, n, rounds, timeout_s)


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
    found = _measure_each(artifacts, threads, n, rounds, timeout_s, keep_going=False)
    return tuple(each for each in found if isinstance(each, Measurement))  # all are: an error is raised at once


class _Slot:
    """One of the artifacts that take turns: its process, its turns, and the error that ended it, if any."""

    def __init__(self, artifact: Artifact, keep_going: bool) -> None:
        self.artifact, self.keep_going = artifact, keep_going
        self.turns: list[dict[str, Any]] = []
        self.error: FlyweightError | None = None
        self.worker: LoadedWorker
        self.peak_rss_bytes = 0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Keep the error of a step where others are to go on."""
        try:
            yield
        except FlyweightError as error:
            if not self.keep_going:
                raise
            self.error = error


def _measure_each(
    artifacts: Sequence[Artifact], threads: int, n: int, rounds: int, timeout_s: float, *, keep_going: bool = True
) -> tuple[Measurement | FlyweightError, ...]:
    slots = [_Slot(artifact, keep_going) for artifact in artifacts]
    for slot in slots:
        with slot.step():
            _check(slot.artifact, threads, n)
    with ExitStack() as stack:
        for slot in _alive(slots):
            with slot.step():
                slot.worker = stack.enter_context(LoadedWorker(slot.artifact, threads, timeout_s))
        before = (time.perf_counter(), machine_cpu_s() - _cpu_s(slots))
        for number, turn in enumerate(_turns(n, rounds)):
            order = _alive(slots)  # there and back again, so that none always runs on what the other left
            for slot in order if number % 2 == 0 else reversed(order):
                with slot.step():
                    slot.turns.append(slot.worker.ask("run", n=turn))
        others = (machine_cpu_s() - _cpu_s(slots) - before[1]) / (time.perf_counter() - before[0])
        for slot in _alive(slots):
            with slot.step():
                slot.peak_rss_bytes = slot.worker.ask("memory")["peak_rss_bytes"]
    return tuple(slot.error or _summary(slot, threads, others) for slot in slots)


def _alive(slots: Sequence[_Slot]) -> list[_Slot]:
    return [slot for slot in slots if slot.error is None]


def _cpu_s(slots: Sequence[_Slot]) -> float:
    """Return the CPU time of this process and the workers that are left, in seconds."""
    used_ns = 0
    for slot in _alive(slots):
        with slot.step():
            used_ns += slot.worker.ask("memory")["cpu_ns"]
    return time.process_time() + used_ns / 1e9


def _turns(n: int, rounds: int) -> list[int]:
    """Divide ``n`` into at most ``rounds`` turns that differ by one at most."""
    rounds = max(1, min(rounds, n))
    return [n // rounds + (index < n % rounds) for index in range(rounds)]


def _summary(slot: _Slot, threads: int, others: float) -> Measurement:
    worker, turns = slot.worker, slot.turns
    wall = sorted(ns / 1e6 for turn in turns for ns in turn["wall_ns"])
    cpu_ms = statistics.median(ns / 1e6 for turn in turns for ns in turn["cpu_ns"])
    median = statistics.median(wall)
    return Measurement(
        runtime=worker.artifact.runtime, runtime_version=worker.artifact.runtime_version, hardware=hardware(),
        threads=threads, n=len(wall), median_ms=median, p10_ms=_quantile(wall, 0.1), p90_ms=_quantile(wall, 0.9),
        cpu_median_ms=cpu_ms, busy=_busy(turns, threads, others), load_ms=worker.loaded["load_ms"],
        first_ms=worker.loaded["first_ms"], peak_rss_bytes=slot.peak_rss_bytes,
        baseline_rss_bytes=worker.loaded["baseline_rss_bytes"], energy_mj=_energy_mj(turns),
    )  # fmt: skip


def _energy_mj(turns: Sequence[dict[str, Any]]) -> float | None:
    """Return the package's energy per inference in mJ, over all turns; None where a turn has none."""
    used_uj = [turn["energy_uj"] for turn in turns]
    if any(uj is None for uj in used_uj):
        return None
    return float(sum(used_uj)) / sum(len(turn["wall_ns"]) for turn in turns) / 1e3


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
