"""A worker in another Python that dies, lies or hangs is one clear error, soon, and leaves no process behind."""

from __future__ import annotations

import gc
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from flyweight import environments
from flyweight.errors import ExportError, RuntimeMissingError
from flyweight.runtimes._elsewhere import Worker

FAKE = str(Path(__file__).with_name("fake_worker.py"))


def worker(how: str) -> Worker:
    return Worker("litert", [sys.executable, "-S", FAKE, how])


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("dies", r"ended at 'export' \(exit code 7\)\. It wrote:\nconverter: segment not found"),
        ("killed", r"ended at 'export' \(killed by signal 11\)\. It wrote nothing"),
        ("truncated", r"ended at 'export' \(exit code 0\)"),
        ("huge", r"claims 100000000000 bytes of arrays; at most 4294967296 are taken"),
        ("not a frame", r"begins with b'Trac', not with b'FWF1'"),
        ("pickle", r"not a message \(ValueError: array 'file' of 'object'\)"),
        ("refuses", r"^litert can't do it: ValueError: no such operator$"),
    ],
)
def test_worker_that_fails_is_one_clear_error_and_is_gone(how: str, said: str) -> None:
    began = time.monotonic()
    with worker(how) as asked, pytest.raises(ExportError, match=said):
        asked.ask("export", {})
    assert asked.process.poll() is not None
    assert time.monotonic() - began < 30


def test_worker_of_another_protocol_is_refused_at_the_start() -> None:
    with pytest.raises(RuntimeMissingError, match="speaks version 2 of the protocol, not 1"):
        worker("wrong version")


def test_worker_that_does_not_answer_in_time_is_ended() -> None:
    with worker("slow") as asked, pytest.raises(ExportError, match=r"no answer to 'export' within 0\.2 s"):
        asked.ask("export", {}, timeout_s=0.2)
    assert asked.process.poll() is not None


def test_worker_that_never_says_hello_is_ended() -> None:
    with pytest.raises(ExportError, match=r"no answer to 'hello' within 0\.5 s"):
        Worker("litert", [sys.executable, "-S", FAKE, "silent at the start"], start_timeout_s=0.5)


def test_python_that_is_not_there_says_how_to_name_it_again() -> None:
    with pytest.raises(RuntimeMissingError, match="flyweight runtimes add litert"):
        Worker("litert", ["/nowhere/python"])


def test_worker_that_is_dropped_ends() -> None:
    pid = (asked := worker("slow")).process.pid
    assert os.path.exists(f"/proc/{pid}") or sys.platform != "linux"
    del asked
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_real_worker_starts_elsewhere_and_tells_what_its_python_lacks() -> None:
    plain = {"input": "x", "nodes": [], "output": "x", "shape": [1, 3, 4, 4]}
    command = environments.command(Path(sys.executable), "flyweight.runtimes._elsewhere_worker")
    with Worker("litert", command) as asked:
        for _ in range(2):  # a task that fails leaves the worker in order
            with pytest.raises(ExportError, match=r"can't do it: \w+Error"):
                asked.ask("nonsense", {"plain": plain}, {"image": np.zeros((1, 3, 4, 4), np.float32)})
