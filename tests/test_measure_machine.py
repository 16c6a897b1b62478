"""The machine's limits: measured in a process of its own, kept in a file."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyweight.contracts import BUSY
from flyweight.errors import MeasurementError
from flyweight.measure import machine as module
from flyweight.measure._hardware import float32_lanes, last_cache_bytes
from flyweight.measure._machine import bandwidth
from flyweight.measure.machine import cache_file, machine
from flyweight.roofline import Machine

QUIET = Machine("made up", 1, 50.0, 20.0, 80.0, 32 << 20, 16, 2.0, "none", "2026-01-01")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "flyweight"


class Told:
    """Stands for the process: tells a machine, and counts how often it was asked."""

    def __init__(self, answer: Machine) -> None:
        self.answer, self.times = answer, 0

    def __call__(self, threads: int, timeout_s: float) -> Machine:
        self.times += 1
        return replace(self.answer, threads=threads)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    stand_in = Told(QUIET)
    monkeypatch.setattr(module, "_measure", stand_in)
    return stand_in


def test_limits_are_measured_in_seconds() -> None:
    found = machine(1)
    assert found.threads == 1
    assert 0.1 < found.peak_gmacs_per_s < 10_000
    assert 0.1 < found.bandwidth_gb_per_s < 10_000
    assert 0 < found.kernel_overhead_us < 1000
    assert found.lanes == float32_lanes()
    assert found.cache_bytes == last_cache_bytes()


def test_what_was_measured_is_kept_for_machine_and_threads(told: Told, cache: Path) -> None:
    assert machine(1) == machine(1) == QUIET
    assert told.times == 1
    assert machine(2).threads == 2
    assert told.times == 2
    assert sorted(path.name for path in cache.iterdir()) == sorted(cache_file(n).name for n in (1, 2))


def test_remeasuring_replaces_the_file(told: Told) -> None:
    machine(1)
    told.answer = replace(QUIET, peak_gmacs_per_s=40.0)
    assert machine(1).peak_gmacs_per_s == 50
    assert machine(1, remeasure=True).peak_gmacs_per_s == 40
    assert machine(1).peak_gmacs_per_s == 40


def test_limits_of_a_busy_machine_are_not_kept(told: Told) -> None:
    told.answer = replace(QUIET, busy=BUSY + 0.01)
    assert machine(1).busy > BUSY
    assert not cache_file(1).exists()


@pytest.mark.parametrize("text", ["", "{}", "[1]", json.dumps({**QUIET.to_json(), "lanes": -1})])
def test_file_that_is_damaged_is_measured_anew(told: Told, text: str) -> None:
    machine(1)
    cache_file(1).write_text(text)
    assert machine(1) == QUIET
    assert told.times == 2
    assert json.loads(cache_file(1).read_text()) == QUIET.to_json()


def test_cache_that_can_not_be_written_is_left(told: Told, cache: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file")
    assert machine(1) == QUIET
    assert cache.read_text() == "a file"


def test_process_that_fails_is_an_error_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **settings: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess("", 1, "", "Traceback\nKeyError: 'x'\n")

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(MeasurementError, match=r"exit code 1[\s\S]*KeyError"):
        machine(1)


def test_no_thread_is_an_error() -> None:
    with pytest.raises(MeasurementError, match="threads is 0"):
        machine(0)


@pytest.mark.parametrize("threads", [1, 2])
def test_bandwidth_is_of_bytes_read_and_written(threads: int) -> None:
    assert 0.01 < bandwidth(2**16, threads, 2) < 10_000
