"""Time per kernel of ONNX Runtime, mapped back to the modules of the PyTorch network.

At the fast optimization level kernels are fused and named anew: ``<value>_nchwc`` after the last value that a fused
convolution makes, ``<node>_token_<n>`` for int8 kernels, and layout changes that no node of the file stands for. The
first two are looked up in the file's own graph; the rest go to the kernel that they feed or are fed by.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flyweight.contracts import Artifact, LayerTime, LayerTimes
from flyweight.runtimes import _artifact

WARM_UP = 5
_KERNEL = "_kernel_time"


def layer_times(artifact: Artifact, threads: int, n: int, options: Any) -> LayerTimes:
    """Profile ``n`` runs behind a few of warm-up; ``options`` are the session options that the artifact runs with."""
    import onnx

    with _artifact.scratch() as folder:
        fused = folder / "fused.onnx"
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / "profile")
        options.optimized_model_filepath = str(fused)
        events = _profile(artifact, n, options)
        modules = _modules(onnx.load(artifact.files[0]), onnx.load(fused), artifact.module_of)
    runs = [event["dur"] for event in events if event["name"] == "model_run"][-n:]
    rows = []
    for (_, name, operator), durations in _kernels(events).items():
        rows.append(LayerTime(name, operator, modules.get(name), statistics.median(durations[-n:])))
    return LayerTimes(artifact.runtime, artifact.runtime_version, threads, n, tuple(rows), statistics.median(runs))


def _profile(artifact: Artifact, n: int, options: Any) -> list[dict[str, Any]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(artifact.files[0]), options, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).standard_normal(artifact.input_shape).astype(np.float32)
    for _ in range(WARM_UP + n):
        session.run(None, {"input": image})
    events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_bytes())
    return events


def _kernels(events: list[dict[str, Any]]) -> dict[tuple[str, str, str], list[float]]:
    """Return microseconds of each run by (index, name, operator), in execution order."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            key = (event["args"]["node_index"], event["name"].removesuffix(_KERNEL), event["args"]["op_name"])
            found.setdefault(key, []).append(event["dur"])
    return found


def _modules(model: Any, fused: Any, module_of: Mapping[str, str]) -> dict[str, str]:
    """Return the module of every node of ``fused`` where it can be told; ``model`` is the artifact's own graph."""
    producers = {out: node for node in model.graph.node for out in node.output}
    own = {node.name for node in fused.graph.node}
    found: dict[str, str] = {}
    for node in fused.graph.node:
        name = _original(node, producers, own)
        if name in module_of:
            found[node.name] = module_of[name]
    _spread(fused, found)
    return found


def _original(node: Any, producers: Mapping[str, Any], kernels: set[str]) -> str:
    """Return the name of the node of the file that a kernel stands for; '' if none."""
    name = re.sub(r"_token_\d+$", "", node.name)
    value = name.removesuffix("_nchwc")
    if value == name:
        return name
    open_values, seen = [value], {value}
    while open_values:  # back to the nearest node with the kernel's operator that isn't timed by itself
        made = producers.get(open_values.pop(0))
        if made is None:
            continue
        if made.op_type == node.op_type and (made.output[0] == value or f"{made.output[0]}_nchwc" not in kernels):
            return str(made.name)
        if made.op_type != node.op_type:
            new = [item for item in made.input if item not in seen]
            open_values.extend(new)
            seen.update(new)
    return str(producers[value].name) if value in producers else ""


def _spread(fused: Any, found: dict[str, str]) -> None:
    """Give layout changes and conversions the module of the kernel that feeds them, else of the one that they feed."""
    producers = {out: node for node in fused.graph.node for out in node.output}
    for node in fused.graph.node:
        if node.name not in found:
            known = [found[producers[i].name] for i in node.input if i in producers and producers[i].name in found]
            if known:
                found[node.name] = known[0]
    for node in reversed(fused.graph.node):
        if node.name in found:
            for name in node.input:
                if name in producers:
                    found.setdefault(producers[name].name, found[node.name])
