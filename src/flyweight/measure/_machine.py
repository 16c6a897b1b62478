"""The process that measures a machine's limits: ``python -m flyweight.measure._machine THREADS`` prints them as JSON.

Each figure is the best of several runs, since it is a limit: what another program took away isn't missing in it.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np

from flyweight.measure._hardware import float32_lanes, hardware, last_cache_bytes, machine_cpu_s
from flyweight.roofline import Machine

REPEATS = 12
PRODUCTS = (384, 512, 768)  # sides of square matrices
CONVOLUTIONS = ((64, 56, 3), (128, 56, 3), (256, 28, 3), (512, 14, 1))  # channels, pixels, kernel
LEAST_BYTES, MOST_BYTES = 2**27, 2**29  # of an array that no cache holds
CACHED_BYTES = 2**21  # of one that any last cache holds
Feed: TypeAlias = "Mapping[str, np.ndarray[Any, Any]]"


def main(threads: int) -> None:
    """Measure and print."""
    own_stdout, sys.stdout = sys.stdout, sys.stderr  # what a runtime prints must not mix with the answer
    print(json.dumps(limits(threads).to_json()), file=own_stdout)


def limits(threads: int) -> Machine:
    """Measure this machine's limits in this process."""
    cache = last_cache_bytes()
    large = min(max(4 * cache, LEAST_BYTES), MOST_BYTES)
    start, others = time.perf_counter(), machine_cpu_s() - time.process_time()
    peak, overhead_us, runtime = _runtime_limits(threads)
    memory, caches = bandwidth(large, threads, 1), bandwidth(CACHED_BYTES, threads, 20)
    others = (machine_cpu_s() - time.process_time() - others) / (time.perf_counter() - start)
    return Machine(
        hardware=hardware(), threads=threads, peak_gmacs_per_s=peak, bandwidth_gb_per_s=memory,
        cache_bandwidth_gb_per_s=caches, busy=1 + max(0.0, threads + others - (os.cpu_count() or 1)) / threads,
        cache_bytes=cache, lanes=float32_lanes(), kernel_overhead_us=overhead_us, runtime=runtime,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )  # fmt: skip


def bandwidth(array_bytes: int, threads: int, passes: int) -> float:
    """Return 10⁹ bytes per second of copies (read, written) or sums in place (two read, one written), the larger.

    Every thread has two arrays of its own, ``array_bytes`` over threads in size, and goes ``passes`` times over them.
    """
    count = max(array_bytes // 4 // threads, 1)
    arrays = [(np.ones(count, np.float32), np.zeros(count, np.float32)) for _ in range(threads)]
    moved = array_bytes * passes / 1e9

    def copy(pair: tuple[Any, Any]) -> None:
        for _ in range(passes):
            np.copyto(pair[1], pair[0])

    def add(pair: tuple[Any, Any]) -> None:
        for _ in range(passes):
            np.add(pair[0], pair[1], out=pair[1])

    with ThreadPoolExecutor(threads) as pool:
        copied = _best_s(lambda: list(pool.map(copy, arrays)))
        added = _best_s(lambda: list(pool.map(add, arrays)))
    return max(2 * moved / copied, 3 * moved / added)


def _runtime_limits(threads: int) -> tuple[float, float, str]:
    """Return the peak in 10⁹ MACs per second, a kernel's own µs, and what they were measured in."""
    if find_spec("onnxruntime") is None or find_spec("onnx") is None:
        side = PRODUCTS[-1]
        square = np.ones((side, side), np.float32)
        return side**3 / _best_s(lambda: square @ square) / 1e9, 0.0, f"numpy {np.__version__}"
    from flyweight.runtimes._onnx_clock import LENGTH, chains

    peaks = [side**3 / _run_s(*_product(side), threads) for side in PRODUCTS]
    peaks += [(channels * pixels * kernel) ** 2 / _run_s(*_convolution(channels, pixels, kernel), threads)
              for channels, pixels, kernel in CONVOLUTIONS]  # fmt: skip
    sides = (2,) * 8
    feed = {f"input{index}": np.zeros((1, 16, 2, 2), np.float32) for index in range(len(sides))}
    kernel_s = _run_s(chains(False, sides), feed, 1) / (len(sides) * LENGTH)
    return max(peaks) / 1e9, kernel_s * 1e6, f"onnxruntime {version('onnxruntime')}"


def _product(side: int) -> tuple[bytes, Feed]:
    square = np.random.default_rng(0).standard_normal((side, side)).astype(np.float32)
    return _model("MatMul", square, {}), {"input": square}


def _convolution(channels: int, pixels: int, kernel: int) -> tuple[bytes, Feed]:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((channels, channels, kernel, kernel)).astype(np.float32)
    image = rng.standard_normal((1, channels, pixels, pixels)).astype(np.float32)
    return _model("Conv", weight, {"pads": [kernel // 2] * 4}, image.shape), {"input": image}


def _model(operator: str, weight: Any, settings: Mapping[str, Any], shape: tuple[int, ...] = ()) -> bytes:
    """Return a model of one operator with a weight; its output has the shape of its input."""
    from onnx import TensorProto, helper, numpy_helper

    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape or weight.shape) for n in ("input", "output")]
    node = helper.make_node(operator, ["input", "weight"], ["output"], **settings)
    graph = helper.make_graph([node], "one", info[:1], info[1:], [numpy_helper.from_array(weight, "weight")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def _run_s(model: bytes, feed: Feed, threads: int) -> float:
    import onnxruntime

    from flyweight.runtimes.onnxruntime import session_options

    session = onnxruntime.InferenceSession(model, session_options(threads), providers=["CPUExecutionProvider"])
    return _best_s(lambda: session.run(None, feed))


def _best_s(work: Callable[[], object]) -> float:
    """Return seconds of the best of several runs, the first left out."""
    work()
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter_ns()
        work()
        taken.append(time.perf_counter_ns() - start)
    return max(min(taken), 1) / 1e9


if __name__ == "__main__":
    main(int(sys.argv[1]))
