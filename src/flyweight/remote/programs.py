"""The runtimes' own benchmark programs: how each is called, and what its output says.

Sources, each read in November 2026: ncnn ``benchmark/README.md`` and ``benchncnn.cpp``; TensorFlow
``lite/tools/benchmark/README.md``, ``benchmark_model.cc`` and ``stats_calculator.h``; ONNX Runtime
``test/perftest/README.md``, ``command_args_parser.cc`` and ``performance_runner.cc``; MNN ``benchmark/benchmark.cpp``
and ``tools/cpp/MNNV2Basic.cpp``.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from flyweight.contracts import Artifact
from flyweight.errors import MeasurementError, unknown_name
from flyweight.report.bench_value import ProgramTimes

WARM_UP = 8
MOST_SECONDS = 150
_NUMBER = r"(\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)"


@dataclass(frozen=True)
class Program:
    """One runtime's benchmark program.

    Attributes:
        names: as the runtime's own build calls it. files: which of an artifact's files it reads, by their ending.
        arguments: from (artifact, name of its main file there, threads, n) to its arguments.
        parse: from (its output, n) to figures by the fields of ``ProgramTimes``; none: the output has no times.
        note: what a reader must know of such figures; '' where nothing.
    """

    runtime: str
    names: tuple[str, ...]
    files: str
    arguments: Callable[[Artifact, str, int, int], Sequence[str]]
    parse: Callable[[str, int], Mapping[str, float]]
    note: str = ""


def _ncnn_arguments(artifact: Artifact, model: str, threads: int, n: int) -> Sequence[str]:
    """[loop count] [num threads] [powersave: all cores] [gpu: none] [cooling down: no] param= shape=[w,h,c]."""
    _, channels, height, width = artifact.input_shape
    return [str(n), str(threads), "0", "-1", "0", f"param={model}", f"shape=[{width},{height},{channels}]"]


def _ncnn_parse(output: str, n: int) -> Mapping[str, float]:
    found = re.findall(rf"min =\s*{_NUMBER}\s+max =\s*{_NUMBER}\s+avg =\s*{_NUMBER}", output)
    if len(found) != 1:  # an older one measures its own list of networks, whatever it is given
        return {}
    least, most, mean = map(float, found[0])
    return {"n": n, "mean_ms": mean, "min_ms": least, "max_ms": most}


def _litert_arguments(artifact: Artifact, model: str, threads: int, n: int) -> Sequence[str]:
    return [
        f"--graph={model}", f"--num_threads={threads}", f"--num_runs={n}", "--min_secs=0", f"--max_secs={MOST_SECONDS}",
        f"--warmup_runs={WARM_UP}", "--warmup_min_secs=0",
    ]  # fmt: skip


def _litert_parse(output: str, n: int) -> Mapping[str, float]:
    """Read the last ``count=`` line, which is the timed run's (the first is the warm-up's), and the two summaries."""
    lines = [line for line in output.splitlines() if re.search(r"\bcount=\d+ .*\bavg=", line)]
    if not lines:
        return {}
    told = {name: float(value) for name, value in re.findall(rf"\b([a-z0-9]+)={_NUMBER}", lines[-1])}
    if not {"count", "avg"} <= told.keys():
        return {}
    found = {"n": told["count"], "mean_ms": told["avg"] / 1e3}
    for field, name in (("min_ms", "min"), ("max_ms", "max"), ("median_ms", "median")):
        if name in told:
            found[field] = told[name] / 1e3
    if summary := re.search(rf"Inference timings in us: Init: {_NUMBER}, First inference: {_NUMBER}", output):
        found |= {"load_ms": float(summary[1]) / 1e3, "first_ms": float(summary[2]) / 1e3}
    if memory := re.search(rf"[Mm]emory footprint.*\(MB\): init={_NUMBER} overall={_NUMBER}", output):
        found["peak_bytes"] = float(memory[2]) * 2**20
    return found


def _onnx_arguments(artifact: Artifact, model: str, threads: int, n: int) -> Sequence[str]:
    """Of a fixed number of runs, with inputs that it makes itself (-I), and percentiles (-s)."""
    return ["-I", "-m", "times", "-r", str(n), "-x", str(threads), "-e", "cpu", "-s", model]


def _onnx_parse(output: str, n: int) -> Mapping[str, float]:
    mean = re.search(rf"Average inference time cost(?: total)?: *{_NUMBER} ms", output)
    if mean is None:
        return {}
    runs = re.search(r"Total inference requests: *(\d+)", output)
    found: dict[str, float] = {"n": float(runs[1]) if runs else n, "mean_ms": float(mean[1])}
    seconds = {
        "load_ms": "Session creation time cost", "min_ms": "Min Latency", "max_ms": "Max Latency",
        "median_ms": "P50 Latency", "p90_ms": "P90 Latency",
    }  # fmt: skip
    for field, words in seconds.items():
        if told := re.search(rf"{words}(?:: *| is ){_NUMBER} ?s", output):
            found[field] = float(told[1]) * 1e3
    if first := re.search(rf"First inference time cost: *{_NUMBER} ms", output):
        found["first_ms"] = float(first[1])
    if peak := re.search(r"Peak working set size: *(\d+) bytes", output):
        found["peak_bytes"] = float(peak[1])
    return found


def _mnn_arguments(artifact: Artifact, model: str, threads: int, n: int) -> Sequence[str]:
    """models_folder [loop] [warm-up] [forward type: CPU] [threads] [precision: high, which is float32]."""
    return [str(PurePosixPath(model).parent), str(n), str(WARM_UP), "0", str(threads), "1"]


def _mnn_parse(output: str, n: int) -> Mapping[str, float]:
    found = re.findall(rf"\[ - \] \S+\s+max =\s*{_NUMBER} ms\s+min =\s*{_NUMBER} ms\s+avg =\s*{_NUMBER} ms", output)
    if len(found) != 1:
        return {}
    most, least, mean = map(float, found[0])
    return {"n": n, "mean_ms": mean, "min_ms": least, "max_ms": most}


def _mnn_basic_arguments(artifact: Artifact, model: str, threads: int, n: int) -> Sequence[str]:
    """model [loop] [save tensors: no] [forward type: CPU] [threads]; what follows differs by version."""
    return [model, str(n), "0", "0", str(threads)]


def _mnn_basic_parse(output: str, n: int) -> Mapping[str, float]:
    told = re.search(rf"Avg= {_NUMBER} ms.*min= {_NUMBER} ms, max= {_NUMBER} ms", output)
    return {"n": n, "mean_ms": float(told[1]), "min_ms": float(told[2]), "max_ms": float(told[3])} if told else {}


PROGRAMS: tuple[Program, ...] = (
    Program(
        "ncnn", ("benchncnn",), ".param", _ncnn_arguments, _ncnn_parse,
        "benchncnn makes its weights up and computes in half precision where the processor can: times of the layers, "
        "not of this file's own numbers",
    ),
    Program(
        "litert", ("benchmark_model",), ".tflite", _litert_arguments, _litert_parse,
        "benchmark_model's memory is what the process grew by since it started",
    ),
    Program("onnxruntime", ("onnxruntime_perf_test",), "", _onnx_arguments, _onnx_parse),
    Program(
        "mnn", ("MNNV2Basic.out",), ".mnn", _mnn_basic_arguments, _mnn_basic_parse,
        "MNNV2Basic.out times every operator as it goes, and computes in half precision where the processor can",
    ),
    Program("mnn", ("benchmark.out",), ".mnn", _mnn_arguments, _mnn_parse),
)  # fmt: skip


def program_of(runtime: str, name: str) -> Program:
    """Return how a runtime's program of that file name is called: its own, or the last one of the runtime's.

    Raises:
        UsageError: no program of that runtime is known.
    """
    known = [program for program in PROGRAMS if program.runtime == runtime]
    if not known:
        raise unknown_name("benchmark program's runtime", runtime, (program.runtime for program in PROGRAMS))
    return next((program for program in known if name in program.names), known[-1])


def command_line(program: Program, name: str, artifact: Artifact, threads: int, n: int) -> str:
    """Return the command for the shell there, to be run in the folder of the program; the model is in model/."""
    main = next(path for path in artifact.files if path.name.endswith(program.files))
    model = "model/" + main.relative_to(artifact.files[0].parent).as_posix()
    return shlex.join([f"./{name}", *program.arguments(artifact, model, threads, n)])


def times_of(program: Program, name: str, hardware: str, output: str, n: int) -> ProgramTimes:
    """Return what a program's output says.

    Raises:
        MeasurementError: no times stand in it; the message has its last line.
    """
    found = program.parse(output, n)
    if not found or not all(map(math.isfinite, found.values())) or found["mean_ms"] <= 0 or found["n"] < 1:
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        hint = " An older benchncnn takes no param=; build one of 2024 or later." if program.runtime == "ncnn" else ""
        raise MeasurementError(
            f"{name} told no times. Its last line: {lines[-1][:200] if lines else '(nothing)'}.{hint}"
        )
    whole = {field: round(found[field]) for field in ("n", "peak_bytes") if field in found}
    return ProgramTimes(program=name, hardware=hardware, **{**found, **whole})  # type: ignore[arg-type]
