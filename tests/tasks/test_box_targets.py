import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight.boxes import BoxCode, iou
from flyweight.tasks._box_targets import BACKGROUND, NOT_COUNTED, match, match_cells, match_default_boxes
from tests.tasks.test_detect import code_of, table


def ssd_of(*boxes: tuple[float, float, float, float]) -> BoxCode:
    """Default boxes as given, in an input of 100 pixels."""
    corners = np.array(boxes, np.float32)
    sizes = corners[:, 2:] - corners[:, :2]
    return BoxCode("ssd", (corners[:, :2] + corners[:, 2:]) / 2, 0.1 * sizes, sizes, 0.2, 100, 100, 3)


CODE = ssd_of((0, 0, 10, 10), (2, 0, 12, 10), (40, 40, 60, 60), (0, 0, 100, 100))


def test_an_anchor_that_overlaps_a_truth_by_half_answers_for_it() -> None:
    labels, raw = match(CODE, table((2, 0, 0, 10, 10, 0)), CODE.anchors)
    assert labels.tolist() == [3, 3, BACKGROUND, BACKGROUND]  # 80 of 120 pixels are shared with the second
    assert raw[0].tolist() == [0, 0, 0, 0]
    assert raw[1] == pytest.approx([-2, 0, 0, 0])  # two pixels to the left, in tenths of 10
    assert (raw[2:] == 0).all()


def test_a_truth_that_no_anchor_overlaps_by_half_gets_its_best_one() -> None:
    assert match_default_boxes(CODE, table((1, 45, 45, 50, 50, 0))).tolist() == [-1, -1, 0, -1]


def test_two_truths_with_the_same_best_anchor_get_one_each() -> None:
    chosen = match_default_boxes(CODE, table((0, 1, 0, 10, 10, 0), (0, 0, 0, 10, 10, 0)))
    assert sorted(chosen.tolist()) == [-1, -1, 0, 1]
    assert chosen[0] == 1  # the better pair first: the second truth is the first anchor


def test_an_anchor_on_ignored_truth_is_no_background() -> None:
    labels, _ = match(CODE, table((2, 35, 35, 65, 65, 1)), CODE.anchors)
    assert labels.tolist() == [BACKGROUND, BACKGROUND, NOT_COUNTED, BACKGROUND]


corner, side = st.floats(0, 50), st.floats(4, 44)


@given(rows=st.lists(st.tuples(st.integers(0, 1), corner, corner, side, side), max_size=4))
@pytest.mark.parametrize("rule", ["ssd", "yolo"])
def test_every_truth_gets_an_anchor_of_its_own(rule: str, rows: list[tuple[float, ...]]) -> None:
    """Of up to four: with their centres in one cell, a YOLO has two anchors on each of its two maps for them."""
    code = code_of(rule)
    truth = table(*((k, x, y, x + w, min(y + h, 64), 0) for k, x, y, w, h in rows))
    matched = match_default_boxes(code, truth) if rule == "ssd" else match_cells(code, truth)
    assert set(range(len(truth))) <= set(matched.tolist())


@given(rows=st.lists(st.tuples(st.integers(0, 1), corner, corner, side, side), min_size=1, max_size=5))
def test_default_boxes_take_the_truth_that_they_overlap_most(rows: list[tuple[float, ...]]) -> None:
    code = code_of("ssd")
    truth = table(*((k, x, y, x + w, y + h, 0) for k, x, y, w, h in rows))
    matched, overlap = match_default_boxes(code, truth), iou(code.anchors, truth[:, 1:5])
    forced = 0
    for anchor, index in enumerate(matched):
        if index < 0:
            assert overlap[anchor].max() < 0.5
        elif overlap[anchor, index] < max(0.5, overlap[anchor].max()):
            forced += 1
    assert forced <= len(truth)


def test_yolo_takes_the_cell_of_the_centre_and_the_anchor_of_the_nearest_shape() -> None:
    code = code_of("yolo")  # 8x12 and 4x6 cells of 8 and 16 pixels
    labels, raw = match(code, table((1, 34, 20, 54, 32, 0)), np.zeros_like(code.anchors))
    (anchor,) = np.flatnonzero(labels)
    assert code.sizes[anchor].tolist() == [20, 12]  # exactly its shape
    assert code.origins[anchor].tolist() == [40, 24]  # the centre is at 44, 26
    assert labels[anchor] == 2
    assert raw[anchor] == pytest.approx([0, np.log(0.25 / 0.75), 0, 0], abs=1e-5)  # half, and a quarter of the cell


def test_a_large_truth_belongs_to_the_coarse_map() -> None:
    code = code_of("yolo")
    (anchor,) = np.flatnonzero(match_cells(code, table((0, 20, 4, 72, 60, 0))) >= 0)
    assert code.steps[anchor].tolist() == [16, 16] and code.sizes[anchor].tolist() == [50, 50]


def test_a_prediction_that_lies_on_a_truth_is_not_blamed_for_it() -> None:
    code = code_of("yolo")
    truth = table((1, 34, 20, 54, 32, 0))
    predicted = np.zeros_like(code.anchors)
    predicted[5] = (34, 20, 54, 31)
    predicted[6] = (34, 20, 54, 24)  # an overlap of a third only
    labels, _ = match(code, truth, predicted)
    assert (labels[5], labels[6]) == (NOT_COUNTED, BACKGROUND)


def test_truth_at_the_very_border_still_has_a_cell() -> None:
    matched = match_cells(code_of("yolo"), table((0, 95, 63, 97, 65, 0)))  # its centre is the corner of the input
    assert (matched >= 0).sum() == 1
