"""Decoding and non-maximum suppression inside an ONNX model, so that the file itself gives boxes.

ONNX has ``NonMaxSuppression`` (operator set 11 and later), and ONNX Runtime runs it. For ncnn it stays outside: its
converter has no form for it, and its own detection layers are those of other networks; there, give the raw outputs to
``BoxCode.detections``, which computes the same in numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flyweight import files
from flyweight.boxes import EXTRA_COLUMNS, LARGEST_LOG, BoxCode, Selection
from flyweight.contracts import Artifact
from flyweight.errors import ExportError
from flyweight.runtimes import _artifact

OUTPUTS = ("boxes", "scores", "classes")


def write_with_nms(artifact: Artifact, code: BoxCode, path: Path, keep: Selection | None = None) -> None:
    """Write a copy of an ONNX artifact's file that gives boxes, scores and classes instead of raw outputs.

    Raises:
        ExportError: the file is no detection network of ``code``.
        FileError: a file can't be read or written, or isn't what was exported.
    """
    import onnx

    _artifact.check_digest(artifact)
    model = append_nms(onnx.load_model_from_string(files.read_bytes(artifact.files[0])), code, keep)
    files.write_bytes(path, model.SerializeToString(deterministic=True))


def append_nms(model: Any, code: BoxCode, keep: Selection | None = None) -> Any:
    """Return a copy of a model (batch 1, one output ``(1, A, 5 + K)``) with decoding and suppression behind it.

    Its outputs, for the d detections that ``keep`` leaves, the surest first: ``boxes`` ``(d, 4)``, float32, left, top,
    right, bottom in pixels of the network's input; ``scores`` ``(d,)``, float32; ``classes`` ``(d,)``, int64. They are
    those of ``code.detections`` on the raw output.

    Raises:
        ExportError: the model's output has another shape.
    """
    import onnx

    keep = keep or Selection()
    raw = _raw_output(model, code)
    joined = onnx.ModelProto()
    joined.CopyFrom(model)
    graph = joined.graph
    nodes = _Nodes(graph)
    boxes, scores = _decoded(nodes, raw, code)
    _selected(nodes, boxes, scores, keep)
    del graph.output[:]
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64)
    shapes: tuple[list[str | int | None], ...] = (["detections", 4], ["detections"], ["detections"])
    for name, kind, shape in zip(OUTPUTS, kinds, shapes, strict=True):
        graph.output.append(onnx.helper.make_tensor_value_info(name, kind, shape))
    onnx.checker.check_model(joined, full_check=True)
    return joined


class _Nodes:
    """Adds nodes and constants to a graph, under names of its own."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.count = 0

    def add(self, op: str, *inputs: str, outputs: Sequence[str] = (), number: int = 1, **attributes: Any) -> Any:
        """Add a node; return its output's name, or all of them where it has several."""
        import onnx

        self.count += 1
        names = list(outputs) or [f"nms/{op}_{self.count}_{index}" for index in range(number)]
        self.graph.node.append(onnx.helper.make_node(op, inputs, names, name=f"nms/{op}_{self.count}", **attributes))
        return names[0] if len(names) == 1 else names

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """Add a constant; return its name."""
        import onnx

        self.count += 1
        name = f"nms/constant_{self.count}"
        self.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values, dtype), name))
        return name


def _raw_output(model: Any, code: BoxCode) -> str:
    wanted = (1, len(code), EXTRA_COLUMNS + code.classes)
    found = [
        (output.name, tuple(dim.dim_value for dim in output.type.tensor_type.shape.dim))
        for output in model.graph.output
    ]
    if len(found) != 1 or found[0][1] != wanted:
        raise ExportError(f"the model's outputs are {found}; suppression needs one of shape {wanted}. Is it its code?")
    return str(found[0][0])


def _decoded(nodes: _Nodes, raw: str, code: BoxCode) -> tuple[str, str]:
    """Add ``BoxCode.decode``; return the names of boxes ``(1, A, 4)`` and scores ``(1, A, K)``."""
    parts = nodes.constant([2, 2, 1 + code.classes], np.int64)
    shift, growth, logits = nodes.add("Split", raw, parts, number=3, axis=2)
    if code.rule == "yolo":
        shift = nodes.add("Sigmoid", shift)
    moved = nodes.add("Mul", shift, nodes.constant(code.steps[None]))
    centers = nodes.add("Add", moved, nodes.constant(code.origins[None]))
    growth = nodes.add("Min", nodes.add("Mul", growth, nodes.constant(code.gain)), nodes.constant(LARGEST_LOG))
    half = nodes.add("Mul", nodes.add("Exp", growth), nodes.constant(code.sizes[None] / 2))
    corners = nodes.add("Concat", nodes.add("Sub", centers, half), nodes.add("Add", centers, half), axis=2)
    limits = nodes.constant([code.width, code.height, code.width, code.height])
    boxes = nodes.add("Min", nodes.add("Max", corners, nodes.constant(0)), limits)
    return boxes, _scores(nodes, logits, code)


def _scores(nodes: _Nodes, logits: str, code: BoxCode) -> str:
    parts = nodes.constant([1, code.classes], np.int64)
    if code.rule == "ssd":
        return str(nodes.add("Split", nodes.add("Softmax", logits, axis=2), parts, number=2, axis=2)[1])
    objectness, classes = nodes.add("Split", nodes.add("Sigmoid", logits), parts, number=2, axis=2)
    return str(nodes.add("Mul", objectness, classes))


def _selected(nodes: _Nodes, boxes: str, scores: str, keep: Selection) -> None:
    """Add the suppression per class, and the choice of the surest over all classes."""
    by_class = nodes.add("Transpose", scores, perm=[0, 2, 1])
    limits = (nodes.constant([keep.most], np.int64), nodes.constant([keep.overlap]), nodes.constant([keep.score]))
    chosen = nodes.add("NonMaxSuppression", boxes, by_class, *limits)  # (s, 3): image, class, anchor
    likely = nodes.add("GatherND", by_class, chosen)
    places = nodes.add("Gather", chosen, nodes.constant([0, 2], np.int64), axis=1)
    count = nodes.add("Min", nodes.add("Shape", likely), nodes.constant([keep.most], np.int64))
    _, order = nodes.add("TopK", likely, count, outputs=(OUTPUTS[1], "nms/order"))
    nodes.add("Gather", nodes.add("GatherND", boxes, places), order, outputs=OUTPUTS[:1])
    classes = nodes.add("Gather", chosen, nodes.constant(1, np.int64), axis=1)
    nodes.add("Gather", classes, order, outputs=OUTPUTS[2:])
