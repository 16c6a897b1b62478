"""The measuring process: ``python -m flyweight.measure._worker``.

Reads requests from its standard input and answers on its standard output, one JSON object a line. It ends as soon as
its input closes, also in the middle of a run: so it never outlives the process that asked.
"""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flyweight.contracts import Artifact
from flyweight.errors import FlyweightError
from flyweight.measure import _energy
from flyweight.runtimes import RUNTIMES

WARM_UP = 3  # untimed inferences before every turn: caches and clock are the other process's by then


class Worker:
    """Holds one loaded artifact and runs it."""

    def load(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Load the artifact and run it once; the runtime's own package is imported in this time too."""
        self.artifact = Artifact.from_json(request["artifact"], Path(request["folder"]))
        self.threads = int(request["threads"])
        self.runtime = RUNTIMES.get(self.artifact.runtime)
        self.image = np.random.default_rng(0).standard_normal(self.artifact.input_shape).astype(np.float32)
        baseline = rss_bytes("VmRSS")
        start = time.perf_counter_ns()
        self.predict = self.runtime.load(self.artifact, self.threads)
        loaded = time.perf_counter_ns()
        self.predict(self.image)
        ran = time.perf_counter_ns()
        return {"load_ms": (loaded - start) / 1e6, "first_ms": (ran - loaded) / 1e6, "baseline_rss_bytes": baseline}

    def run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Time ``n`` inferences after a few of warm-up: wall clock, CPU time of all threads, energy."""
        wall, cpu = [], []
        for _ in range(WARM_UP):
            self.predict(self.image)
        counted = _energy.counters()
        for _ in range(int(request["n"])):
            cpu_start, start = time.process_time_ns(), time.perf_counter_ns()
            self.predict(self.image)
            end, cpu_end = time.perf_counter_ns(), time.process_time_ns()
            wall.append(end - start)
            cpu.append(cpu_end - cpu_start)
        return {"wall_ns": wall, "cpu_ns": cpu, "energy_uj": _energy.used_uj(counted, _energy.counters())}

    def outputs(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Run inputs ``(n, C, H, W)`` from a ``.npy`` file and write the outputs into another."""
        inputs = np.load(request["inputs"], mmap_mode="r", allow_pickle=False)
        found = [self.predict(np.array(inputs[index : index + 1])) for index in range(len(inputs))]
        np.save(request["outputs"], np.concatenate(found), allow_pickle=False)
        return {"n": len(found)}

    def memory(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the largest resident memory and the CPU time of this process so far."""
        return {"peak_rss_bytes": rss_bytes("VmHWM"), "cpu_ns": time.process_time_ns()}

    def layers(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the time of every kernel, None where the runtime can't tell."""
        times = self.runtime.layer_times(self.artifact, self.threads, int(request["n"]))
        return {"layers": dataclasses.asdict(times) if times else None}

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one request; what goes wrong on purpose is answered too."""
        tasks: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "load": self.load, "run": self.run, "memory": self.memory, "layers": self.layers,
            "outputs": self.outputs,
        }  # fmt: skip
        try:
            return tasks[request["task"]](request)
        except FlyweightError as error:
            return {"error": str(error)}


def rss_bytes(field: str) -> int:
    """Return ``VmRSS`` (now) or ``VmHWM`` (the peak) of this process."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
    except OSError:  # not Linux: the peak so far is all there is, in bytes on macOS
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _listen(requests: queue.SimpleQueue[bytes]) -> None:
    for line in sys.stdin.buffer:
        requests.put(line)
    os._exit(0)  # the asking process is gone, or done; nothing here needs saving


def main() -> None:
    """Answer requests until the input closes."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a runtime prints must not mix with the answers
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    worker = Worker()
    try:
        while True:
            answer = worker.answer(json.loads(requests.get()))
            answers.write(json.dumps(answer).encode() + b"\n")
            answers.flush()
    except BaseException:  # told by the other side as this process's last words
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # an orderly end would wait for the thread that listens


if __name__ == "__main__":
    main()
