"""Outputs beside PyTorch's, and beside the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight.bench._images import Chosen
from flyweight.contracts import DataSet, Preprocessing
from flyweight.errors import FlyweightError, MeasurementError
from flyweight.evaluate import evaluate
from flyweight.report.bench_value import Fidelity
from flyweight.spec import ArchSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flyweight.contracts import Array

_TASKS = {2: "classify", 4: "segment", 3: "detect"}  # by the outputs' dimensions, the batch among them
_METRICS = {"classify": ("top-1", "top1"), "segment": ("mIoU", "miou"), "detect": ("mAP 50:95", "map50_95")}


def fidelity(outputs: Array, reference: Array | None) -> Fidelity:
    """Compare outputs ``(n, K)``, ``(n, K, h, w)`` or ``(n, anchors, columns)`` with PyTorch's.

    Raises:
        MeasurementError: they have another shape, or are not finite.
    """
    if not np.isfinite(outputs).all():
        raise MeasurementError("the outputs hold NaN or infinity.")
    if reference is None:
        return Fidelity(len(outputs))
    if outputs.shape != reference.shape:
        raise MeasurementError(f"the outputs are {outputs.shape}, PyTorch's are {reference.shape}.")
    scale = float(np.abs(reference).max()) or 1.0
    difference = np.abs(outputs.astype(np.float64) - reference) / scale
    same = outputs.argmax(1) == reference.argmax(1) if outputs.ndim in (2, 4) else None
    return Fidelity(
        len(outputs), float(difference.max()), float(difference.mean()), None if same is None else float(same.mean())
    )


def accuracy(
    outputs: Array, images: Chosen, dataset: DataSet, preprocessing: Preprocessing, spec: Mapping[str, Any] | None
) -> tuple[str, float] | None:
    """Return the metric's name and value; None where the data's truth isn't what the network was made for."""
    known = ArchSpec.from_json(spec) if spec else None
    if _TASKS.get(outputs.ndim) != dataset.task or len(outputs) != len(images):
        return None
    classes = known.classes if known else outputs.shape[1]
    if classes != len(dataset.class_names) or (dataset.task == "detect" and known is None):
        return None
    following = iter(outputs)

    def replay(_: NDArray[np.float32]) -> Array:
        one: Array = next(following)
        return one[None]

    try:
        metrics = evaluate(replay, images, dataset, preprocessing, spec=known)
    except FlyweightError as error:
        raise MeasurementError(f"the outputs can't be scored: {error}") from error
    name, attribute = _METRICS[dataset.task]
    value = getattr(metrics, attribute)
    return None if value is None else (name, float(value))
