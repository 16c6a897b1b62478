"""Score a network on a split: the same functions for a PyTorch module and for an exported artifact.

A ``Predict`` gets one image at a time, since artifacts are exported for batch 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from flyweight.boxes import BOX, BoxCode, Selection
from flyweight.contracts import Candidate, DataSet, Predict, Preprocessing, Progress, Silent, Split
from flyweight.errors import DataError, MeasurementError, UsageError
from flyweight.spec import ArchSpec
from flyweight.tasks.classify import ClassifyMetrics, measure_logits
from flyweight.tasks.detect import DetectMetrics, in_pixels, measure_boxes
from flyweight.tasks.segment import SegmentMetrics, masks_of, measure_masks

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

SCORED = Selection(score=0.001)  # low: average precision reads the whole curve


def preprocess(images: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return a network's input for RGB images: resize by area, scale to 0..1, subtract mean, divide by std.

    Resizing by area gives each pixel the average of the part of the image that it covers.

    Args:
        images: ``(n, H, W, C)``, 0 to 255.
        preprocessing: size, mean and std per channel.

    Returns:
        ``(n, C, height, width)``, contiguous.

    Raises:
        DataError: not ``uint8``, or another number of channels than ``preprocessing`` has.
    """
    channels = len(preprocessing.mean)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != channels or 0 in images.shape[1:]:
        raise DataError(f"images are {images.dtype} {images.shape}; wanted: uint8 (n, H, W, {channels}).")
    resized = _resize_area(images, preprocessing.height, preprocessing.width)
    mean, std = np.asarray(preprocessing.mean, np.float64), np.asarray(preprocessing.std, np.float64)
    scaled = resized * (1 / (255 * std)).astype(np.float32) - (mean / std).astype(np.float32)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def _resize_area(images: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    """Return ``(n, height, width, C)``, still from 0 to 255."""
    (down, rest_y), (across, rest_x) = divmod(images.shape[1], height), divmod(images.shape[2], width)
    if rest_y or rest_x or down * across > 256:
        rows, columns = _area(images.shape[1], height), _area(images.shape[2], width)
        resized: NDArray[np.float32] = np.einsum(
            "yh,nhwc,xw->nyxc", rows, images.astype(np.float32), columns, optimize=True
        )
        return resized
    total = np.zeros((len(images), height, width, images.shape[3]), np.uint16)  # 256 * 255 still fits
    for y in range(down):
        for x in range(across):
            total += images[:, y::down, x::across]
    averaged: NDArray[np.float32] = total.astype(np.float32) / np.float32(down * across)
    return averaged


@cache
def _area(size: int, wanted: int) -> NDArray[np.float32]:
    """Return ``(wanted, size)``: which share of each output pixel each input pixel covers."""
    first, last = np.arange(wanted)[:, None] * size, np.arange(1, wanted + 1)[:, None] * size
    begin, end = np.arange(size)[None, :] * wanted, np.arange(1, size + 1)[None, :] * wanted
    covered = np.maximum(np.minimum(last, end) - np.maximum(first, begin), 0)
    weights: NDArray[np.float32] = (covered / size).astype(np.float32)
    weights.setflags(write=False)  # it is shared by all callers
    return weights


def predict_masks(
    predict: Predict,
    data: Split,
    preprocessing: Preprocessing,
    progress: Progress | None = None,
    label: str = "predict",
) -> list[NDArray[np.uint8]]:
    """Return the predicted mask of every image of a split, each of its image's own size.

    Raises:
        MeasurementError: the network's output is not ``(1, K, h, w)``, or not finite.
    """
    images = _outputs(predict, data, preprocessing, progress, label, ("classes", "h", "w"))
    return [masks_of(logits, *image.shape[:2])[0] for image, logits in images]


def predict_logits(
    predict: Predict,
    data: Split,
    preprocessing: Preprocessing,
    progress: Progress | None = None,
    label: str = "predict",
) -> NDArray[np.float32]:
    """Return the logits ``(n, K)`` of every image of a split, in its order.

    Raises:
        MeasurementError: the network's output is not ``(1, K)``, or not finite.
    """
    return np.concatenate(
        [logits for _, logits in _outputs(predict, data, preprocessing, progress, label, ("classes",))]
    )


def predict_boxes(
    predict: Predict,
    data: Split,
    preprocessing: Preprocessing,
    code: BoxCode,
    keep: Selection | None = None,
    progress: Progress | None = None,
    label: str = "predict",
) -> list[NDArray[np.float32]]:
    """Return the detections of every image of a split: ``(d, 6)``, class, left, top, right, bottom, score.

    Boxes are in pixels of the image. ``code`` says what the network's outputs mean: ``build.box_code(spec)``.

    Raises:
        MeasurementError: the network's output is not ``(1, A, 5 + K)``, or not finite.
        UsageError: ``code`` is another network's.
    """
    found = []
    for image, raw in _outputs(predict, data, preprocessing, progress, label, ("anchors", "columns")):
        rows = code.detections(raw[0], keep)
        high, wide = image.shape[0] / code.height, image.shape[1] / code.width
        rows[:, BOX] *= np.array([wide, high, wide, high], np.float32)
        found.append(rows)
    return found


def _outputs(
    predict: Predict,
    data: Split,
    preprocessing: Preprocessing,
    progress: Progress | None,
    label: str,
    axes: tuple[str, ...],
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Yield every image of a split with the network's output ``(1, *axes)``."""
    progress = progress or Silent()
    progress.start(label, len(data))
    for index in range(len(data)):
        image = data[index][0]
        output = predict(preprocess(image[None], preprocessing))
        if output.ndim != 1 + len(axes) or len(output) != 1:
            raise MeasurementError(f"{label}: the network's output is {output.shape}; wanted: (1, {', '.join(axes)}).")
        if not np.isfinite(output).all():
            raise MeasurementError(f"{label}: the network's output for image {index} is not finite. Was it trained?")
        yield image, output
        progress.advance()
    progress.finish()


def score(masks: Sequence[NDArray[np.uint8]], data: Split, dataset: DataSet) -> SegmentMetrics:
    """Compare predicted masks with the truth of a split, with the classes and groups of its data set.

    Raises:
        DataError: another number or size of masks than the split has, or no image at all.
    """
    if len(masks) != len(data) or not masks:
        raise DataError(
            f"{len(masks)} predicted masks for {len(data)} images. There must be one for each, and at least one."
        )
    each = (
        measure_masks(mask[None], data[index][1][None], dataset.class_names, dataset.groups)
        for index, mask in enumerate(masks)
    )
    total = next(each)
    for metrics in each:
        total += metrics
    return total


def score_boxes(detections: Sequence[NDArray[np.float32]], data: Split, dataset: DataSet) -> DetectMetrics:
    """Compare the detections of every image, in its pixels, with the truth of a split.

    Raises:
        DataError: other images than the split has, or no image at all.
    """
    pairs = [data[index] for index in range(len(data))]
    truth = [in_pixels(target, *image.shape[:2]) for image, target in pairs]
    return measure_boxes(detections, truth, dataset.class_names)


def evaluate(
    predict: Predict,
    data: Split,
    dataset: DataSet,
    preprocessing: Preprocessing,
    progress: Progress | None = None,
    *,
    spec: ArchSpec | None = None,
) -> SegmentMetrics | ClassifyMetrics | DetectMetrics:
    """Predict every image of a split and score it, as the data set's task is: masks on their full size, classes, boxes.

    ``spec`` is the network's; only boxes need it, for what the outputs mean.

    Raises:
        DataError, MeasurementError: as ``score`` and ``predict_masks``, or those of the other tasks.
        UsageError: boxes without a spec.
        SpecError: boxes, but the spec is of a network that gives none.
    """
    if dataset.task == "detect":
        from flyweight.build import box_code  # loads torch, which an artifact's score does without

        if spec is None:
            raise UsageError(f"data set '{dataset.name}' holds boxes: pass spec=, which says what the outputs mean.")
        found = predict_boxes(predict, data, preprocessing, box_code(spec), SCORED, progress, "score")
        return score_boxes(found, data, dataset)
    if dataset.task == "classify":
        logits = predict_logits(predict, data, preprocessing, progress, "score")
        labels = np.array([int(data[index][1]) for index in range(len(data))], np.int64)
        return measure_logits(logits, labels, dataset.class_names)
    return score(predict_masks(predict, data, preprocessing, progress, "score"), data, dataset)


def agreement(first: Sequence[NDArray[np.uint8]], second: Sequence[NDArray[np.uint8]]) -> float:
    """Return the share of pixels to which both gave the same class.

    Raises:
        UsageError: other numbers or sizes of masks, or none.
    """
    if [mask.shape for mask in first] != [mask.shape for mask in second] or not len(first):
        raise UsageError(
            f"{len(first)} and {len(second)} masks can't be compared: each needs its partner of the same size."
        )
    same = sum(int((a == b).sum()) for a, b in zip(first, second, strict=True))
    return same / sum(a.size for a in first)


def parity(reference: Predict, other: Predict, inputs: NDArray[np.float32]) -> tuple[float, float]:
    """Return the largest and the mean difference of two functions' outputs, over the reference's largest output.

    Args:
        reference, other: called with one input ``(1, C, H, W)`` at a time.
        inputs: ``(n, C, H, W)``.

    Raises:
        MeasurementError: other shapes, or an output that is not finite.
        UsageError: no input.
    """
    if not len(inputs):
        raise UsageError("parity needs at least one input.")
    largest_difference, largest, total, count = 0.0, 0.0, 0.0, 0
    for one in inputs:
        wanted, got = reference(one[None]), other(one[None])
        if wanted.shape != got.shape or not (np.isfinite(wanted).all() and np.isfinite(got).all()):
            raise MeasurementError(f"outputs can't be compared: {wanted.shape} and {got.shape}, or not finite.")
        difference = np.abs(wanted.astype(np.float64) - got)
        largest_difference = max(largest_difference, float(difference.max()))
        largest = max(largest, float(np.abs(wanted).max()))
        total, count = total + float(difference.sum()), count + difference.size
    scale = largest or 1.0  # a reference that is zero everywhere: the difference itself
    return largest_difference / scale, total / count / scale


def torch_predict(module: nn.Module) -> Predict:
    """Return a PyTorch module as a function from ndarray to ndarray; it runs without gradients."""
    import torch

    def predict(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            out: NDArray[np.float32] = module(torch.from_numpy(inputs)).numpy()
        return out

    return predict


def example_input(candidate: Candidate) -> Tensor:
    """Return zeros of the candidate's input shape, batch 1."""
    import torch

    return torch.zeros(candidate.input_shape)
