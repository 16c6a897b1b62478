"""kill -9 at random moments: does the same command end with the same report, and is nothing half-written?

    python benchmarks/kill.py [--n 100] [--seed 0]

A tiny ladder (the tests' plan: five rungs on painted images) is run unbroken once, then killed at ``n`` random moments,
started again after each kill until it has been killed often enough or ends; every ended run is compared with the
unbroken one in all but times. Writes ``benchmarks/results/kill.json``. Run it from the repository's root.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flyweight import files
from flyweight.flow import environment
from flyweight.report import load_report

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests import tiny


def main(arguments: Sequence[str]) -> int:
    """Run, kill, compare, write."""
    parser = argparse.ArgumentParser(description="kill -9 at random moments.")
    parser.add_argument("--n", type=int, default=100, help="kills (default 100)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments (default 0)")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/kill.json"), help="file to write")
    options = parser.parse_args(arguments)
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        data = tiny.paint(Path(scratch) / "discs")
        started = time.monotonic()
        expected = _finish(data, Path(scratch) / "whole")
        length_s = time.monotonic() - started
        kills, runs = _killed_runs(data, Path(scratch), rng, options.n, length_s)
        same = sum(tiny.facts(load_report(run)) == tiny.facts(load_report(expected)) for run in runs)
        left = sum(len(list(run.rglob("*.part"))) for run in runs)
    now = environment(options.seed)
    result = {
        "name": "kill",
        "command": "python benchmarks/kill.py" + "".join(f" {argument}" for argument in arguments),
        "date": now["date"],
        "environment": now,
        "kills": kills,
        "unbroken_s": length_s,
        "claims": [
            _claim(f"runs that end with the unbroken run's report, over {len(kills)} kills", same / len(runs), ">= 1"),
            _claim("half-written files left behind when a run has ended", left, "<= 0"),
        ],
    }
    files.write_json(options.result, result)
    print(f"{len(kills)} kills over {len(runs)} runs: {same} reports equal, {left} half-written files left")
    return 0


def _killed_runs(
    data: Path, scratch: Path, rng: random.Random, wanted: int, length_s: float
) -> tuple[list[dict[str, Any]], list[Path]]:
    """Kill until ``wanted`` kills have hit; each run that ends by itself is kept, and the next one starts anew."""
    kills: list[dict[str, Any]] = []
    runs: list[Path] = []
    while len(kills) < wanted:
        out = scratch / f"run{len(runs)}"
        while len(kills) < wanted:
            after_s = rng.uniform(2.0, length_s / 2)  # the first two seconds are Python's imports
            if _ended(data, out, after_s):
                break
            kills.append({"after_s": after_s, "run": len(runs), "there": _newest(out)})
        runs.append(_finish(data, out))
    return kills, runs


def _start(data: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.tiny", str(data), str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def _ended(data: Path, out: Path, after_s: float) -> bool:
    """Start a run and kill it after a while; return whether it had ended before."""
    process = _start(data, out)
    try:
        return process.wait(after_s) == 0
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False


def _finish(data: Path, out: Path) -> Path:
    if _start(data, out).wait() != 0:
        raise SystemExit(f"the run in {out.name} did not end well after it was killed")
    return out


def _newest(out: Path) -> str:
    """Return the file that was written last, which tells what the run was doing."""
    found = [path for path in out.rglob("*") if path.is_file()]
    return str(max(found, key=lambda path: path.stat().st_mtime_ns).relative_to(out)) if found else ""


def _claim(text: str, value: float, goal: str) -> dict[str, Any]:
    sign, limit = goal.split()
    holds = value >= float(limit) if sign == ">=" else value <= float(limit)
    return {"claim": text, "value": value, "unit": "", "goal": goal, "holds": holds}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
