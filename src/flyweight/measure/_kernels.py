"""The process that times single kernels: ``python -m flyweight.measure._kernels`` reads a request, prints JSON.

ONNX Runtime writes down the graph that it really runs, fused and in its own layouts. Each of its nodes is put into a
model of its own, once and several times side by side; the difference is the kernel's time, without the call around it.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from flyweight.runtimes.onnxruntime import session_options

LEAST_PAIRS, MOST_PAIRS, PAIRS_S = 8, 200, 0.03  # timed pairs of runs per kernel
SIDE_BY_SIDE_US = 300.0  # so long shall the copies of a kernel take together
MOST_COPIES = 16
QUARTILE = 0.25  # of the timed runs: what disturbs only adds
LEAST_US = 0.05
SMALL = 16  # elements up to which the values of an integer constant belong to the kernel: axes, shapes, pads


def main(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the kernels of a file in order, and the µs of those that are not known yet."""
    clock = time.thread_time_ns if request["threads"] == 1 else time.perf_counter_ns
    with tempfile.TemporaryDirectory() as folder:
        model = as_run(request["file"], request["threads"], Path(folder) / "fused.onnx")
    values = all_values(model)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    keys = [key_of(node, values, constants) for node in model.graph.node]
    unknown = {key: node for key, node in zip(keys, model.graph.node, strict=True) if key not in request["known"]}
    measured = {}
    for key, node in unknown.items():
        copied = partial(alone, node, model, values, constants)
        measured[key] = {"op": node.op_type, "us": timed(copied, values, request["threads"], clock)}
    read = {name for node in model.graph.node for name in node.input if name in constants}
    return {
        "keys": keys,
        "weight_bytes": sum(values[name].nbytes for name in read),
        "measured": measured,
    }


def as_run(file: str, threads: int, scratch: Path) -> Any:
    """Return the graph that ONNX Runtime runs for a model's file."""
    import onnx
    import onnxruntime

    options = session_options(threads)
    options.optimized_model_filepath = str(scratch)
    onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return onnx.load(scratch)


def all_values(model: Any) -> dict[str, Any]:
    """Run once; return every tensor of the graph as an array, constants included."""
    import onnx

    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    outputs = {value.name for value in model.graph.output}
    for name in (name for node in model.graph.node for name in node.output if name and name not in outputs):
        shown.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    session = _session(shown, 1)
    rng = np.random.default_rng(0)
    values = {given.name: rng.standard_normal(given.shape).astype(np.float32) for given in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]
    values |= dict(zip(names, session.run(names, dict(values)), strict=True))
    return values | {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def key_of(node: Any, values: Mapping[str, Any], constants: Mapping[str, Any]) -> str:
    """Return what a node's time is kept under: its operator, attributes, and the shapes and types of what it reads."""
    parts: list[Any] = [node.domain, node.op_type]
    parts += sorted(attribute.SerializeToString(deterministic=True).hex() for attribute in node.attribute)
    for name in node.input:
        if not name:
            parts.append(None)
            continue
        value = values[name]
        exact = name in constants and value.dtype.kind in "iub" and value.size <= SMALL
        parts.append([name in constants, str(value.dtype), list(value.shape), value.tolist() if exact else None])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def alone(node: Any, model: Any, values: Mapping[str, Any], constants: Mapping[str, Any], copies: int) -> Any:
    """Return a model of so many copies of a node side by side.

    Each has weights of its own, since a network's weights don't wait in the nearest cache either; the activations that
    they read, which the layer before has just written, are the same.
    """
    from onnx import NodeProto, TensorProto, helper

    def described(name: str, value: Any) -> Any:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)

    nodes, outputs, weights = [], [], []
    for number in range(copies):
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.name = f"copy{number}"
        for names, own in ((copy.input, constants), (copy.output, values)):
            renamed = [f"{name}/{number}" if name in own else name for name in names]
            del names[:]
            names.extend(renamed)
        for name in dict.fromkeys(name for name in node.input if name in constants):
            weight = TensorProto()
            weight.CopyFrom(constants[name])
            weight.name = f"{name}/{number}"
            weights.append(weight)
        nodes.append(copy)
        outputs += [described(f"{name}/{number}", values[name]) for name in node.output if name]
    inputs = [described(name, values[name]) for name in dict.fromkeys(node.input) if name and name not in constants]
    graph = helper.make_graph(nodes, "alone", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)


def timed(model_of: Callable[[int], Any], values: Mapping[str, Any], threads: int, clock: Callable[[], int]) -> float:
    """Return µs of one kernel: what the copies take beyond the first, by turns with the first alone."""
    once = _runner(model_of(1), values, threads)
    for _ in range(3):
        once()
    first_us = max(_clocked(once, clock), 1000) / 1e3
    copies = int(min(max(SIDE_BY_SIDE_US / first_us, 2), MOST_COPIES))
    often = _runner(model_of(1 + copies), values, threads)
    often()
    pairs: list[tuple[int, int]] = []
    end = time.perf_counter() + PAIRS_S
    while len(pairs) < LEAST_PAIRS or (time.perf_counter() < end and len(pairs) < MOST_PAIRS):
        pairs.append((_clocked(once, clock), _clocked(often, clock)))
    single, several = (float(np.quantile(times, QUARTILE)) for times in zip(*pairs, strict=True))
    return max((several - single) / copies / 1e3, LEAST_US)


def _clocked(run: Callable[[], None], clock: Callable[[], int]) -> int:
    start = clock()
    run()
    return clock() - start


def _runner(model: Any, values: Mapping[str, Any], threads: int) -> Callable[[], None]:
    """Return a call that runs a model on values that lie ready, into memory that lies ready."""
    import onnxruntime

    session = _session(model, threads)
    binding = session.io_binding()
    for given in session.get_inputs():
        binding.bind_ortvalue_input(given.name, onnxruntime.OrtValue.ortvalue_from_numpy(values[given.name]))
    for made in session.get_outputs():
        like = values[made.name.rpartition("/")[0]]
        binding.bind_ortvalue_output(
            made.name, onnxruntime.OrtValue.ortvalue_from_shape_and_type(like.shape, like.dtype, "cpu")
        )
    options = onnxruntime.RunOptions()
    return lambda: session.run_with_iobinding(binding, options)


def _session(model: Any, threads: int) -> Any:
    """Return a session that runs the graph just as it is."""
    import onnxruntime

    options = session_options(threads)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    own_stdout, sys.stdout = sys.stdout, sys.stderr  # what a runtime prints must not mix with the answer
    print(json.dumps(main(json.load(sys.stdin))), file=own_stdout)
