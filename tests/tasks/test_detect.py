import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flyweight.boxes import BoxCode
from flyweight.build import box_code
from flyweight.errors import DataError, UsageError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.tasks import TASKS
from flyweight.tasks.detect import Detect, in_pixels, measure_boxes

STAGES = (StageSpec("a", "conv", 8, 8), StageSpec("b", "conv", 16, 2))
ANCHORS = ((8, 8), (20, 12), (24, 40), (50, 50))
HEADS = {
    "ssd": HeadSpec("ssdlite", (12,), settings=settings(sources=("a", "b"))),
    "yolo": HeadSpec("tiny_yolo", (8, 8, 8), settings=settings(fine="a", anchors=ANCHORS)),
}


def code_of(rule: str) -> BoxCode:
    return box_code(ArchSpec("net", "detect", InputSpec(64, 96), 2, STAGES, HEADS[rule]))


def table(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 6)


# ---- the metrics ------------------------------------------------------------------------------------------------

ONE = (0, 0, 0, 10, 10)  # class 0, and a box of 10x10
TWO = (0, 20, 0, 30, 10)
FAR = (0, 80, 80, 90, 90)


def test_boxes_found_exactly_score_one() -> None:
    metrics = measure_boxes([table((*ONE, 0.9), (*TWO, 0.4))], [table((*ONE, 0), (*TWO, 0))], ("a",))
    assert metrics.map50 == metrics.map50_95 == 1.0
    assert (metrics.images, metrics.truths) == (1, 2)


def test_average_precision_reads_the_best_precision_at_101_recalls() -> None:
    found = table((*ONE, 0.9), (*FAR, 0.8), (*TWO, 0.7))
    metrics = measure_boxes([found], [table((*ONE, 0), (*TWO, 0))], ("a",))
    # hit, miss, hit: precision 1 up to recall 0.5 (51 of the 101), then 2/3
    assert metrics.map50 == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_recalls_that_are_never_reached_have_precision_zero() -> None:
    truth = [table((*ONE, 0), (*TWO, 0), (0, 40, 0, 50, 10, 0), (0, 60, 0, 70, 10, 0))]
    assert measure_boxes([table((*ONE, 0.9))], truth, ("a",)).map50 == pytest.approx(26 / 101)  # recalls 0 to 0.25


def test_an_overlap_of_62_percent_counts_at_three_of_ten_thresholds() -> None:
    metrics = measure_boxes([table((0, 0, 0, 10, 6.2, 0.9))], [table((*ONE, 0))], ("a",))
    assert metrics.map50 == 1.0
    assert metrics.map50_95 == pytest.approx(3 / 10)  # .5, .55, .6


def test_a_box_is_found_once_by_the_surest_detection() -> None:
    found = table((*ONE, 0.5), (0, 0, 0, 10, 9, 0.9), (*TWO, 0.3))
    metrics = measure_boxes([found], [table((*ONE, 0), (*TWO, 0))], ("a",))
    assert metrics.map50 == pytest.approx((51 + 50 * 2 / 3) / 101)  # hit, miss (taken already), hit


def test_a_detection_takes_the_box_that_it_overlaps_most() -> None:
    first, second = (0, 0, 0, 10, 10), (0, 3, 0, 13, 10)
    found = table((0, 2, 0, 12, 10, 0.9), (0, 0, 0, 10, 10, 0.8))  # the first lies nearer to the second box
    assert measure_boxes([found], [table((*first, 0), (*second, 0))], ("a",)).map50 == 1.0


def test_ignored_truth_is_neither_to_be_found_nor_wrong_to_be_found() -> None:
    found = table((*ONE, 0.9), (0, 21, 0, 24, 9, 0.95), (0, 25, 0, 28, 9, 0.94))  # two inside the ignored box
    metrics = measure_boxes([found], [table((*ONE, 0), (*TWO, 1))], ("a",))
    assert metrics.map50 == 1.0
    assert metrics.truths == 1


def test_classes_are_scored_by_themselves_and_averaged() -> None:
    found = table((1, 0, 0, 10, 10, 0.9))  # the right place, the wrong class
    metrics = measure_boxes([found], [table((*ONE, 0), (1, 40, 40, 50, 50, 0))], ("a", "b", "c"))
    assert metrics.by_class == {"a": 0.0, "b": 0.0, "c": None}
    assert metrics.map50 == 0.0
    right = measure_boxes([table((*ONE, 0.9))], [table((*ONE, 0), (1, 40, 40, 50, 50, 0))], ("a", "b", "c"))
    assert right.map50 == 0.5


def test_without_truth_there_is_no_score() -> None:
    metrics = measure_boxes([table((*ONE, 0.9))], [table()], ("a",))
    assert metrics.map50 is None and metrics.map50_95 is None
    assert metrics.to_json()["map50"] is None


box = st.tuples(st.integers(0, 1), st.integers(0, 4), st.integers(0, 4), st.integers(1, 4), st.integers(1, 4))
images = st.lists(st.tuples(st.lists(st.tuples(box, st.integers(1, 9)), max_size=4), st.lists(box, max_size=3)),
                  min_size=1, max_size=4)  # fmt: skip


def tables(pictures: list) -> tuple[list[np.ndarray], list[np.ndarray]]:
    found = [table(*((k, x, y, x + w, y + h, s / 10) for (k, x, y, w, h), s in dets)) for dets, _ in pictures]
    return found, [table(*((k, x, y, x + w, y + h, 0) for k, x, y, w, h in truth)) for _, truth in pictures]


@given(pictures=images)
def test_metrics_of_parts_add_up_to_those_of_the_whole(pictures: list) -> None:
    found, truth = tables(pictures)
    whole = measure_boxes(found, truth, ("a", "b"))
    parts = [measure_boxes([f], [t], ("a", "b")) for f, t in zip(found, truth, strict=True)]
    total = parts[0]
    for part in parts[1:]:
        total += part
    assert total.to_json() == whole.to_json()


@given(verdicts=st.lists(st.booleans(), max_size=12), missing=st.integers(0, 4))
def test_average_precision_is_what_its_definition_says(verdicts: list[bool], missing: int) -> None:
    truths = sum(verdicts) + missing
    rows = [(0, 20 * i, 0, 20 * i + 10, 10) for i in range(len(verdicts) + missing)]
    found = table(*((*row, 1 - i / 100) for i, row in enumerate(rows[: len(verdicts)])))
    truth = table(*((*row, 0) for row, hit in zip(rows, [*verdicts, *[True] * missing], strict=True) if hit))
    metrics = measure_boxes([found], [truth], ("a",))
    if not truths:
        assert metrics.map50 is None
        return
    points = [(sum(verdicts[:n]) / truths, sum(verdicts[:n]) / n) for n in range(1, len(verdicts) + 1)]
    wanted = [max((p for r, p in points if r >= recall), default=0.0) for recall in np.linspace(0, 1, 101)]
    assert metrics.map50 == pytest.approx(np.mean(wanted))


def test_other_numbers_of_images_or_classes_are_refused() -> None:
    with pytest.raises(DataError, match="detections of 1 images, truth of 2"):
        measure_boxes([table()], [table(), table()], ("a",))
    with pytest.raises(DataError, match=r"truth of image 0: classes reach from 3\.0 to 3\.0; allowed are 0 to 1"):
        measure_boxes([table()], [table((3, 0, 0, 1, 1, 0))], ("a", "b"))
    with pytest.raises(DataError, match=r"detections of image 0: \(2, 5\); wanted: \(boxes, 6\)"):
        measure_boxes([np.zeros((2, 5), np.float32)], [table()], ("a",))
    with pytest.raises(DataError, match="metrics of different classes"):
        measure_boxes([table()], [table()], ("a",)) + measure_boxes([table()], [table()], ("b",))


# ---- the task ---------------------------------------------------------------------------------------------------


def test_boxes_are_mirrored_with_their_image() -> None:
    image = np.zeros((10, 20), np.uint8)
    image[2:5, 4:10] = 1
    target = table((0, 4 / 20, 2 / 10, 10 / 20, 5 / 10, 1))
    for across, down in ((True, False), (False, True), (True, True)):
        mirrored = image[:: -1 if down else 1, :: -1 if across else 1]
        rows, columns = np.nonzero(mirrored)
        flipped = in_pixels(Detect().flipped(target, across, down), 10, 20)[0]
        assert flipped.tolist() == pytest.approx([0, columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, 1])


def test_targets_of_a_batch_are_filled_up_to_the_longest() -> None:
    joined = Detect().batch([table((1, 0, 0, 1, 1, 0)), table(), table((0, 0, 0, 1, 1, 0), (1, 0, 0, 1, 1, 1))])
    assert joined.shape == (3, 2, 6)
    assert joined[..., 0].tolist() == [[1, -1], [-1, -1], [0, 1]]
    assert Detect().batch([table()]).shape == (1, 0, 6)


def test_a_network_without_boxes_is_refused() -> None:
    with pytest.raises(UsageError, match="the network gives none"):
        TASKS.get("detect").fitted(None)


TRUTH = table((1, 0.1, 0.2, 0.4, 0.6, 0), (0, 0.5, 0.3, 0.95, 0.9, 0), (0, 0.0, 0.0, 0.1, 0.1, 1))


@pytest.mark.parametrize("rule", ["ssd", "yolo"])
def test_a_batch_without_any_box_teaches_that_there_is_nothing(rule: str) -> None:
    code = code_of(rule)
    outputs = torch.zeros(2, len(code), 7, requires_grad=True)
    targets = torch.from_numpy(Detect().batch([table(), table()]))
    Detect(code).loss(outputs, targets).backward()  # type: ignore[no-untyped-call]
    assert outputs.grad is not None
    rising = outputs.grad[..., 4] > 0 if rule == "yolo" else outputs.grad[..., 4] < 0  # objectness down, background up
    assert rising.any() and outputs.grad[..., :4].abs().max() == 0


@pytest.mark.parametrize("rule", ["ssd", "yolo"])
def test_outputs_that_lose_least_are_decoded_to_the_truth(rule: str) -> None:
    """Gradient descent on the raw outputs alone ends at the boxes that the loss was given."""
    code = code_of(rule)
    outputs = torch.zeros(1, len(code), 7, requires_grad=True)
    optimizer = torch.optim.Adam([outputs], lr=0.3)
    targets = torch.from_numpy(Detect().batch([TRUTH[:2]]))
    losses = []
    for _ in range(60):
        loss = Detect(code).loss(outputs, targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05 * losses[0]
    found = code.detections(outputs.detach().numpy()[0])
    assert measure_boxes([found], [in_pixels(TRUTH[:2], 64, 96)], ("a", "b")).map50_95 == pytest.approx(1.0)


@pytest.mark.parametrize("rule", ["ssd", "yolo"])
def test_class_weights_raise_the_loss_of_their_class_alone(rule: str) -> None:
    code, targets = code_of(rule), torch.from_numpy(Detect().batch([TRUTH[:1]]))  # only class 1
    outputs = torch.randn(1, len(code), 7, generator=torch.Generator().manual_seed(0))
    plain, *weighted = (
        Detect(code).loss(outputs, targets, torch.tensor(weights)) for weights in ([1.0, 1.0], [1.0, 9.0])
    )
    assert plain == Detect(code).loss(outputs, targets)
    assert weighted[0] > plain
