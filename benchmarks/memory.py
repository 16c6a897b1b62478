"""Counted peaks of activations against what an allocator hands out, on every network of the zoo at its own size.

    python -m benchmarks.memory [--networks NAME,NAME] [--keep FOLDER] [--stop-after SECONDS]

Every figure is measured in a process of its own, one thread, batch 1; bytes, not times, so a busy machine does no harm.

- PyTorch, eager: its profiler's trace of the allocator (``profile_memory=True``) during a second run. What an operator
  takes and gives back before it returns is its scratch space, not an activation: it is left out, and the peak with it
  is written beside. Counted: ``peak_activation(graph, eager=True)``.
- ONNX Runtime: its arena keeps what it once took, in powers of two, so that the process's growth says little of what
  is needed. The arena and the memory patterns are switched off; every tensor then comes from ``malloc``, which is
  traced by ``allocations.c`` (compiled with ``cc``, loaded before the C library). The growth is the most bytes held
  during a run, over those held before it, scratch space included. The image lives in the caller's memory, and is added.
  Estimated: ``planned_peak`` of the runtime, from its own optimized graph. Written beside: what is counted from the
  exported file alone, ``peak_activation(read_onnx(file), in_place=True, block=16)`` (8 where the processor lacks
  AVX-512; its layout holds so many channels together) and without ``block``; and what the arena of a session as it
  ships holds after a run, its weights left out.

Finished rows are kept in the folder, so that an interrupted run goes on; ``--finished`` writes what is there.
Writes ``benchmarks/results/memory.json``.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks._claims import claimed
from flyweight import files
from flyweight.memory import peak_activation
from flyweight.zoo import ZOO

LIMITS = {"eager": 5.0, "onnxruntime": 15.0}  # per cent
SOURCE = Path(__file__).with_name("allocations.c")


def main(arguments: Sequence[str]) -> int:
    """Measure what is missing; count, write, print."""
    parser = argparse.ArgumentParser(description="Counted peaks against allocators.")
    parser.add_argument("--networks", help="only these, apart by commas")
    parser.add_argument("--keep", type=Path, default=Path("runs/memory"), help="folder of what is done already")
    parser.add_argument("--stop-after", type=float, default=float("inf"), help="seconds after which none begins")
    parser.add_argument("--finished", action="store_true", help="only networks that are done already")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/memory.json"), help="file to write")
    parser.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    names = options.networks.split(",") if options.networks else list(ZOO.names())
    if options.child:
        print(json.dumps(CHILDREN[options.child](names[0], options.keep)))
        return 0
    end = time.monotonic() + options.stop_after
    if options.finished:
        names = [name for name in names if (options.keep / "rows" / f"{name}.json").is_file()]
    for number, name in enumerate(names):
        if time.monotonic() > end:
            print(f"{number} of {len(names)} done; the same command goes on")
            return 0
        measured(name, options.keep)
    write(options, [row(name, measured(name, options.keep), options.keep) for name in names])
    return 0


def write(options: argparse.Namespace, rows: Sequence[dict[str, Any]]) -> None:
    """Write the result and print its claims."""
    from flyweight.flow import environment

    now = environment(0)
    result = {
        "name": "memory",
        "command": "python -m benchmarks.memory" + (" --finished" if options.finished else ""),
        "date": now["date"],
        "environment": now,
        "networks": rows,
        "claims": claims(rows),
    }
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print(claim)


def measured(name: str, keep: Path) -> dict[str, Any]:
    """Return what was measured of a network; from the folder if it is done."""
    done = keep / "rows" / f"{name}.json"
    if done.is_file():
        found: dict[str, Any] = files.read_json(done)
        return found
    with tempfile.TemporaryDirectory() as folder:
        found = in_child("eager", name, Path(folder))
        library = Path(folder) / "allocations.so"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
        found |= in_child("onnxruntime", name, Path(folder), LD_PRELOAD=str(library))
        in_child("graph", name, Path(folder))
        done.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(folder) / "graph.onnx", _graph(name, keep))
    files.write_json(done, found)
    print(name, found, flush=True)
    return found


def in_child(task: str, name: str, folder: Path, **environment: str) -> dict[str, Any]:
    """Return what a fresh process found out."""
    command = [sys.executable, "-m", "benchmarks.memory", "--child", task, "--networks", name, "--keep", str(folder)]
    done = subprocess.run(command, env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def eager(name: str, folder: Path) -> dict[str, Any]:
    """Run a network in PyTorch under its profiler, then export it for ONNX Runtime."""
    import torch

    from flyweight.evaluate import example_input
    from flyweight.flow import open_model
    from flyweight.onnx_graph import read_onnx
    from flyweight.runtimes import RUNTIMES
    from flyweight.runtimes._onnx_memory import block
    from flyweight.trace import trace

    torch.set_num_threads(1)
    candidate = open_model(name)
    x = example_input(candidate)
    with torch.no_grad():
        candidate.module(x)
        activity = torch.profiler.ProfilerActivity.CPU
        with torch.profiler.profile(activities=[activity], profile_memory=True) as profiler:
            candidate.module(x)
    results = profiler.profiler.kineto_results
    events = [
        (event.start_time_ns, event.extra_fields.ptr, event.extra_fields.alloc_size, operator)
        for event, operator in _flat(results.experimental_event_tree())
        if event.typed[0].name == "Allocation"
    ]
    events.sort(key=lambda event: event[0])
    scratch = _scratch(events)
    kept = [event[2] for index, event in enumerate(events) if index not in scratch]
    artifact = RUNTIMES.get("onnxruntime").export(candidate, folder / "exported")
    graph, file = trace(candidate.module, x), read_onnx(artifact.files[0])
    counted = {
        "eager": peak_activation(graph, eager=True),
        "onnxruntime": peak_activation(file, in_place=True, block=block()),
        "onnxruntime_without_blocks": peak_activation(file, in_place=True),
    }
    return {
        "block": block(),
        **{f"counted_{key}_bytes": peak.bytes for key, peak in counted.items()},
        **{f"counted_{key}_at": peak.node.module for key, peak in counted.items()},
        "eager_bytes": _peak(kept) + x.nbytes,
        "eager_with_scratch_bytes": _peak([event[2] for event in events]) + x.nbytes,
    }


def _flat(events: Sequence[Any], operator: int | None = None) -> Iterator[tuple[Any, int]]:
    """Yield every event with the number of the operator that the network called."""
    for index, event in enumerate(events):
        outermost = index if operator is None else operator
        yield event, outermost
        yield from _flat(event.children, outermost)


def _scratch(events: Sequence[tuple[int, int, int, int]]) -> set[int]:
    """Return the indices of what was taken and given back within one operator."""
    taken: dict[int, int] = {}
    found: set[int] = set()
    for index, (_, pointer, size, operator) in enumerate(events):
        if size > 0:
            taken[pointer] = index
        elif pointer in taken and events[taken[pointer]][3] == operator:
            found |= {taken.pop(pointer), index}
    return found


def _peak(sizes: Sequence[int]) -> int:
    now = most = 0
    for size in sizes:
        now += size
        most = max(most, now)
    return most


def onnxruntime(name: str, folder: Path) -> dict[str, Any]:
    """Run the exported file with every allocation counted."""
    import numpy as np
    from onnxruntime import InferenceSession

    from flyweight.runtimes.onnxruntime import session_options

    library = ctypes.CDLL(None)
    for function in (library.allocations_start, library.allocations_peak):
        function.restype = ctypes.c_long
    (file,) = (folder / "exported").glob("*.onnx")
    options = session_options(1)
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    session = InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    feed = {given.name: np.zeros(given.shape, np.float32)}
    grown = []
    for _ in range(3):
        before = library.allocations_start()
        session.run(None, feed)
        grown.append(library.allocations_peak() - before)
    session = InferenceSession(str(file), session_options(1), providers=["CPUExecutionProvider"])
    before = library.allocations_start()
    for _ in range(2):
        session.run(None, feed)
    arena = library.allocations_start() - before
    image = feed[given.name].nbytes
    return {"onnxruntime_bytes": statistics.median(grown) + image, "onnxruntime_arena_bytes": arena + image}


def graph(name: str, folder: Path) -> dict[str, Any]:
    """Write the graph that ONNX Runtime makes of the exported file, without the weights' values."""
    import onnx
    from onnxruntime import InferenceSession

    from flyweight.runtimes._onnx_memory import optimized
    from flyweight.runtimes.onnxruntime import session_options

    (file,) = (folder / "exported").glob("*.onnx")
    options = session_options(1)
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    onnx.save(optimized(folder / "optimized.onnx"), folder / "graph.onnx")
    return {}


CHILDREN = {"eager": eager, "onnxruntime": onnxruntime, "graph": graph}


def row(name: str, found: dict[str, Any], keep: Path) -> dict[str, Any]:
    """Return a network's figures: counted, planned and measured, and by how much the first two are off."""
    import onnx

    from flyweight.runtimes._onnx_memory import plan

    planned = plan(onnx.load(_graph(name, keep)), found["block"])
    if planned is None:
        raise ValueError(f"{name}: a tensor's shape is unknown")
    eager, runtime = found["eager_bytes"], found["onnxruntime_bytes"]
    return {
        "network": name,
        "eager_error": found["counted_eager_bytes"] / eager - 1,
        "onnxruntime_error": planned.bytes / runtime - 1,
        "onnxruntime_counted_error": found["counted_onnxruntime_bytes"] / runtime - 1,
        "planned_onnxruntime_bytes": planned.bytes,
        **found,
    }


def _graph(name: str, keep: Path) -> Path:
    return keep / "rows" / f"{name}.onnx"


def claims(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the rows show."""
    made = []
    kinds = (
        ("eager", "counted", "the allocator's trace in eager mode"),
        ("onnxruntime", "planned", "ONNX Runtime's growth"),
    )
    for kind, way, what in kinds:
        errors = [100 * abs(row[f"{kind}_error"]) for row in rows]
        limit = LIMITS[kind]
        within = sum(error <= limit for error in errors) / len(errors)
        made += [
            (f"{way} peak of activations against {what}, worst of {len(rows)} networks", max(errors), "%", limit),
            (f"{way} peak of activations against {what}, median", statistics.median(errors), "%", limit),
            (f"networks whose {way} peak is further than {limit:g} % from {what}", 100 * (1 - within), "%", 0.0),
        ]
    return [claimed(text, value, unit, f"<= {goal:g}", 2) for text, value, unit, goal in made]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
