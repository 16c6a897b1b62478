"""What the runtimes' benchmark programs print, read; the texts keep the form of the sources that programs.py names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight.contracts import Artifact, Preprocessing
from flyweight.errors import MeasurementError, UsageError
from flyweight.remote.programs import PROGRAMS, command_line, program_of, times_of

BENCHNCNN = """loop_count = 50
num_threads = 2
powersave = 0
gpu_device = -1
cooling_down = 0
model/model.ncnn.param  min =    8.25  max =   12.50  avg =    9.00
"""
BENCHMARK_MODEL = """INFO: STARTING!
INFO: Num threads: [2]
INFO: Initialized session in 4.521ms.
INFO: Running benchmark for at least 8 iterations and at least 0 seconds but terminate if exceeding 150 seconds.
INFO: count=8 first=38234 curr=37001 min=36990 max=38234 avg=37400 std=400 p5=36990 median=37100 p95=38234

INFO: Running benchmark for at least 50 iterations and at least 0 seconds but terminate if exceeding 150 seconds.
INFO: count=50 first=37000 curr=36900 min=36500 max=40250 avg=3.7234e+04 std=410 p5=36600 median=37125 p95=39000

INFO: Inference timings in us: Init: 4521, First inference: 38234, Warmup (avg): 37400, Inference (avg): 37234
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE.
INFO: Memory footprint delta from the start of the tool (MB): init=4.25 overall=46.5
"""
PERF_TEST = """Setting intra_op_num_threads to 2
Session creation time cost: 0.1625 s
First inference time cost: 109 ms
Total inference time cost: 0.363 s
Total inference requests: 50
Average inference time cost total: 7.25 ms
Total inference run time: 0.364 s
Number of inferences per second: 137.4
Avg CPU usage: 62 %
Peak working set size: 91336704 bytes
Avg CPU usage:62
Peak working set size:91336704
Runs:50
Min Latency: 0.007 s
Max Latency: 0.0095 s
P50 Latency: 0.00725 s
P90 Latency: 0.0075 s
P95 Latency: 0.009 s
"""
PERF_TEST_OF_2020 = """Total time cost:0.363
Total iterations:50
Average time cost:7.25 ms
Min Latency is 0.007sec
"""
MNN = """MNN benchmark
Forward type: **CPU** thread=2** precision=1** sparsity=0** sparseBlockOC=1
--------> Benchmarking... loop = 50, warmup = 8
[ - ] model.mnn                   max =   12.500 ms  min =    8.250 ms  avg =    9.000 ms
"""
MNN_BASIC = "Avg= 9.000000 ms, OpSum = 8.500000 ms min= 8.250000 ms, max= 12.500000 ms\n"


def artifact(*names: str) -> Artifact:
    shape = (1, 3, 64, 96)
    return Artifact(
        "", "", "fp32", tuple(Path("/x") / name for name in names), 1, "", shape, (1, 9), Preprocessing(64, 96)
    )


def told(runtime: str, name: str, output: str) -> dict[str, float]:
    times = times_of(program_of(runtime, name), name, "a phone", output, 50)
    return {field: value for field, value in vars(times).items() if isinstance(value, int | float)}


def test_benchncnn_tells_the_least_the_largest_and_the_mean_alone() -> None:
    assert told("ncnn", "benchncnn", BENCHNCNN) == {"n": 50, "mean_ms": 9.0, "min_ms": 8.25, "max_ms": 12.5}


def test_benchmark_model_is_read_from_the_timed_run_not_from_the_warm_up() -> None:
    assert told("litert", "benchmark_model", BENCHMARK_MODEL) == {
        "n": 50, "mean_ms": 37.234, "min_ms": 36.5, "max_ms": 40.25, "median_ms": 37.125, "load_ms": 4.521,
        "first_ms": 38.234, "peak_bytes": 46.5 * 2**20,
    }  # fmt: skip


def test_perf_test_tells_percentiles_load_and_memory() -> None:
    assert told("onnxruntime", "onnxruntime_perf_test", PERF_TEST) == pytest.approx({
        "n": 50, "mean_ms": 7.25, "min_ms": 7.0, "max_ms": 9.5, "median_ms": 7.25, "p90_ms": 7.5, "load_ms": 162.5,
        "first_ms": 109.0, "peak_bytes": 91336704,
    })  # fmt: skip
    older = PERF_TEST.replace(" total: ", ": ").replace("First inference time cost: 109 ms\n", "")
    assert "first_ms" not in told("onnxruntime", "onnxruntime_perf_test", older)  # absent, not made up


def test_both_programs_of_mnn_are_read() -> None:
    wanted = {"n": 50, "mean_ms": 9.0, "min_ms": 8.25, "max_ms": 12.5}
    assert told("mnn", "benchmark.out", MNN) == told("mnn", "MNNV2Basic.out", MNN_BASIC) == wanted


@pytest.mark.parametrize(
    ("runtime", "name", "output"),
    [
        ("ncnn", "benchncnn", BENCHNCNN + BENCHNCNN.splitlines()[-1]),  # its own list: two networks, none of them ours
        ("ncnn", "benchncnn", ""),
        ("ncnn", "benchncnn", BENCHNCNN.replace("9.00", "0.00")),
        ("onnxruntime", "onnxruntime_perf_test", PERF_TEST_OF_2020),
        ("litert", "benchmark_model", "ERROR: Failed to load model\n"),
        ("litert", "benchmark_model", BENCHMARK_MODEL.replace("avg=3.7234e+04", "avg=nan")),
        ("litert", "benchmark_model", BENCHMARK_MODEL.replace("avg=3.7234e+04", "avg=1e999")),
    ],
)
def test_an_output_without_times_is_one_sentence(runtime: str, name: str, output: str) -> None:
    with pytest.raises(MeasurementError, match="told no times") as caught:
        told(runtime, name, output)
    assert "\n" not in str(caught.value)


@given(st.sampled_from(PROGRAMS), st.text(max_size=80), st.sampled_from([BENCHNCNN, BENCHMARK_MODEL, PERF_TEST, MNN]))
def test_any_output_gives_sound_times_or_a_refusal(program: object, noise: str, text: str) -> None:
    known = next(each for each in PROGRAMS if each is program)
    place = len(noise) * 7 % len(text)
    try:
        found = times_of(known, known.names[0], "a phone", text[:place] + noise + text[place:], 50)
    except MeasurementError:
        return
    assert found.mean_ms > 0 and found.n > 0


@pytest.mark.parametrize(
    ("runtime", "name", "files", "line"),
    [
        ("ncnn", "benchncnn", ("m.param", "m.bin"), "./benchncnn 50 2 0 -1 0 param=model/m.param 'shape=[96,64,3]'"),
        ("onnxruntime", "onnxruntime_perf_test", ("m.onnx",),
         "./onnxruntime_perf_test -I -m times -r 50 -x 2 -e cpu -s model/m.onnx"),
        ("mnn", "benchmark.out", ("m.mnn",), "./benchmark.out model 50 8 0 2 1"),  # 1: high precision, float32
        ("mnn", "MNNV2Basic.out", ("m.mnn",), "./MNNV2Basic.out model/m.mnn 50 0 0 2"),
        ("litert", "benchmark_model", ("m.tflite",),
         "./benchmark_model --graph=model/m.tflite --num_threads=2 --num_runs=50 --min_secs=0 --max_secs=150 "
         "--warmup_runs=8 --warmup_min_secs=0"),
    ],
)  # fmt: skip
def test_programs_are_called_as_their_sources_say(runtime: str, name: str, files: tuple[str, ...], line: str) -> None:
    made = replace(artifact(*files), runtime=runtime)
    assert command_line(program_of(runtime, name), name, made, 2, 50) == line


def test_a_program_of_any_name_is_called_as_the_runtimes_own() -> None:
    assert program_of("mnn", "bench-arm64").names == ("benchmark.out",)
    with pytest.raises(UsageError, match="coreml"):
        program_of("coreml", "x")
