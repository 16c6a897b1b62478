"""Which layers int8 costs most, and an int8 model that keeps as few of them in float as a stated drop allows."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyweight.quantize._fit import Method
from flyweight.quantize._make import quantize, rounded
from flyweight.quantize._plan import constants, plan
from flyweight.quantize._run import histograms, scales, values_of
from flyweight.quantize._tell import told
from flyweight.quantize._write import write

Floats = NDArray[np.float32]


def sensitivity(
    model: Any, calibration: Floats, observer: str = "mse", keep_float: Collection[str] = ()
) -> dict[str, float]:
    """Return each layer's relative error, the largest first: the outputs' with that layer alone in int8.

    That is the root of the outputs' squared error over their squared values, over all images; weights are rounded to
    nearest. Layers go by their nodes' names.
    """
    whole = plan(model, keep_float)
    found = scales(histograms(model, [n for n in whole.points if n not in whole.same], calibration), whole, observer)
    names = [node.name for node in model.graph.node]
    wanted, known = _outputs(model, calibration), constants(model)
    errors: dict[str, float] = {}
    for layer in told("measures each layer alone", whole.layers):
        name = names[layer.index]
        alone = plan(model, [other for other in names if other != name])
        made = write(model, alone, found, {layer.weight: rounded(model, layer, found, known)})
        lost = np.square(wanted - _outputs(made, calibration)).sum()
        errors[name] = float(np.sqrt(lost / max(np.square(wanted).sum(), 1e-30)))
    return dict(sorted(errors.items(), key=lambda item: -item[1]))


def with_fewest_float(
    model: Any,
    calibration: Floats,
    method: Method,
    score: Callable[[Any], float],
    max_drop: float,
    keep_float: Collection[str] = (),
) -> tuple[Any, tuple[str, ...]]:
    """Return an int8 model whose score is at most ``max_drop`` below the float model's, and the layers kept in float.

    These are the first of the most sensitive ones, one more at a time until the drop holds: errors partly cancel, so
    one more in float may also score worse. Where nothing less than all of them holds, the float model comes back.

    Args:
        score: of a model, greater is better; of images that aren't the calibration's, lest it flatters.
        max_drop: in the score's unit, 0 or more.
    """
    least = score(model) - max_drop
    order = tuple(sensitivity(model, calibration, method.observer, keep_float))
    for kept in range(len(order)):
        made = quantize(model, calibration, method, [*keep_float, *order[:kept]])
        if score(made) >= least:
            return made, order[:kept]
    return model, order


def _outputs(model: Any, images: Floats) -> NDArray[np.float64]:
    """Return all outputs for all images in one row."""
    names = [item.name for item in model.graph.output]
    found = [values[name].ravel() for values in values_of(model, names, images) for name in names]
    return np.concatenate(found).astype(np.float64)
