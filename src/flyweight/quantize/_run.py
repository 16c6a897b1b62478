"""Running parts of an ONNX model: any of its tensors, for one calibration image after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyweight.errors import ExportError
from flyweight.quantize._observers import BINS, LEVELS, OBSERVERS, Histogram, Scale, counted
from flyweight.quantize._plan import Plan
from flyweight.quantize._tell import told

Floats = NDArray[np.float32]
KEPT_BYTES = 2**28


def values_of(model: Any, names: Sequence[str], images: Floats) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the tensors so named, for one image ``(1, C, H, W)`` after another; only what they need is computed."""
    import onnxruntime

    fed = model.graph.input[0].name
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    wanted = [name for name in names if name != fed]
    session = None
    if wanted:
        part = _part(model, wanted)
        session = onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for image in images:
        found = {} if session is None else dict(zip(wanted, session.run(wanted, {fed: image[None]}), strict=True))
        yield found | ({fed: image[None]} if fed in names else {})


def _part(model: Any, wanted: Sequence[str]) -> Any:
    """Return the part of a model that computes some of its tensors, with these as its outputs."""
    import onnx

    makers = {name: index for index, node in enumerate(model.graph.node) for name in node.output}
    needed: set[int] = set()
    names: set[str] = set()
    open_names = list(wanted)
    while open_names:
        name = open_names.pop()
        if name in names:
            continue
        names.add(name)
        if name in makers and makers[name] not in needed:
            needed.add(makers[name])
            open_names += model.graph.node[makers[name]].input
    part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.graph.name = "part"
    part.graph.input.extend(model.graph.input)
    part.graph.node.extend(node for index, node in enumerate(model.graph.node) if index in needed)
    part.graph.initializer.extend(item for item in model.graph.initializer if item.name in names)
    part.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in wanted)
    return part


class Kept:
    """Tensors of a model for all images, computed for as many of the names at once as fit into KEPT_BYTES."""

    def __init__(self, model: Any, names: Sequence[str], images: Floats) -> None:
        """Keep the model and the names, in the order in which they will be asked for."""
        self._model, self._names, self._images = model, list(dict.fromkeys(names)), images
        first = next(values_of(model, self._names, images[:1]))
        self._bytes = {name: first[name].nbytes * len(images) for name in self._names}
        self._values: dict[str, list[NDArray[Any]]] = {}

    def of(self, name: str) -> list[NDArray[Any]]:
        """Return a tensor, image by image."""
        if name not in self._values:
            rest = self._names[self._names.index(name) :]
            room, now = KEPT_BYTES, rest[:1]
            for other in rest[1:]:
                room -= self._bytes[other]
                if room < 0:
                    break
                now.append(other)
            self._values = {other: [] for other in now}
            for values in values_of(self._model, now, self._images):
                for other in now:
                    self._values[other].append(values[other])
        return self._values[name]


def histograms(model: Any, names: Sequence[str], images: Floats) -> dict[str, Histogram]:
    """Return the histograms of tensors over all images.

    Raises:
        ExportError: a tensor holds values that aren't finite.
    """
    return observed(lambda: values_of(model, names, images), names)


def observed(
    values: Callable[[], Iterator[Mapping[str, NDArray[Any]]]], names: Sequence[str], levels: int = LEVELS
) -> dict[str, Histogram]:
    """Return the histograms of tensors that ``values`` gives image by image: their ends first, then the counts.

    Raises:
        ExportError: a tensor holds values that aren't finite.
    """
    ends = {name: (np.inf, -np.inf) for name in names}
    for found in values():
        for name, value in found.items():
            ends[name] = (min(ends[name][0], float(value.min())), max(ends[name][1], float(value.max())))
    for name, pair in ends.items():
        if not np.isfinite(pair).all():
            raise ExportError(
                f"int8: '{name}' holds {pair[0]:.3g} to {pair[1]:.3g} over the calibration images; a scale needs "
                "finite values. Train the network further, or export it at another precision."
            )
    counts = {name: np.zeros(BINS) for name in names}
    for found in values():
        for name, value in found.items():
            counts[name] += counted(value, *ends[name])
    return {name: Histogram(*ends[name], counts[name], levels) for name in names}


def scales(seen: Mapping[str, Histogram], plan: Plan, observer: str) -> dict[str, Scale]:
    """Return the scale of every point by an observer's name, within the bounds of the activations it stands for."""
    found: dict[str, Scale] = {}
    for name, (low, high) in told("chooses ranges, tensor by tensor", plan.points.items()):
        if name in plan.same:
            found[name] = found[plan.same[name]]
            continue
        chosen = OBSERVERS[observer](seen[name])
        found[name] = Scale.of(max(chosen[0], low), min(chosen[1], high))
    return found
