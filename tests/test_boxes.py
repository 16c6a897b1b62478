import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight.boxes import BoxCode, Selection, iou, nms
from flyweight.errors import UsageError


def boxes_of(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def code(rule: str = "ssd", classes: int = 2) -> BoxCode:
    """Two anchors, 8 wide and 4 high and the reverse, at (16, 12) of an input of 32 wide and 24 high."""
    sizes = np.array([[8, 4], [4, 8]], np.float32)
    steps = 0.1 * sizes if rule == "ssd" else np.full((2, 2), 8, np.float32)
    gain = 0.2 if rule == "ssd" else 1.0
    return BoxCode(rule, np.array([[16, 12]] * 2, np.float32), steps, sizes, gain, 24, 32, classes)  # type: ignore[arg-type]


def test_overlap_is_shared_over_joint_area() -> None:
    first, second = boxes_of((0, 0, 4, 4)), boxes_of((2, 0, 6, 4), (0, 0, 4, 4), (4, 4, 5, 5))
    assert iou(first, second).tolist() == [[pytest.approx(8 / 24), 1.0, 0.0]]  # 2·4 of 16 + 16 - 8


def test_boxes_without_area_overlap_nothing() -> None:
    assert iou(boxes_of((1, 1, 1, 1)), boxes_of((1, 1, 1, 1), (0, 0, 2, 2))).tolist() == [[0.0, 0.0]]


def test_ssd_moves_centres_by_tenths_of_the_anchor_and_sizes_by_fifths_of_an_exponent() -> None:
    raw = np.zeros((2, 7), np.float32)
    raw[0, :4] = (10, 0, 5 * np.log(2), 0)
    boxes = code().decode(raw)[0]
    assert boxes[0] == pytest.approx([16 + 8 - 8, 10, 16 + 8 + 8, 14])  # one width to the right, twice as wide
    assert boxes[1].tolist() == [14, 8, 18, 16]


def test_ssd_scores_are_a_softmax_without_its_background() -> None:
    raw = np.zeros((2, 7), np.float32)
    raw[0, 4:] = np.log([1, 2, 5])
    assert code().decode(raw)[1][0] == pytest.approx([2 / 8, 5 / 8])


def test_yolo_moves_centres_inside_their_cell_and_multiplies_objectness_and_class() -> None:
    raw = np.zeros((2, 7), np.float32)
    raw[0, :2] = (np.log(3), -np.log(3))  # sigmoids of 3/4 and 1/4
    raw[0, 4:] = (0, np.log(3), -40)
    boxes, scores = code("yolo").decode(raw)
    assert boxes[0] == pytest.approx([16 + 6 - 4, 12 + 2 - 2, 16 + 6 + 4, 12 + 2 + 2])
    assert scores[0] == pytest.approx([0.5 * 0.75, 0])


def test_decoded_boxes_end_at_the_borders_and_stay_finite() -> None:
    boxes = code().decode(np.full((2, 7), 1e4, np.float32))[0]
    assert np.isfinite(boxes).all() and boxes.max() <= 32


@pytest.mark.parametrize("rule", ["ssd", "yolo"])
@given(x=st.floats(16.1, 23.9), y=st.floats(12.1, 19.9), width=st.floats(1, 8), height=st.floats(1, 8))
def test_decoding_undoes_encoding(rule: str, x: float, y: float, width: float, height: float) -> None:
    wanted = np.tile(boxes_of((x - width / 2, y - height / 2, x + width / 2, y + height / 2)), (2, 1))
    raw = np.concatenate([code(rule).encode(wanted), np.zeros((2, 3), np.float32)], axis=1)
    assert code(rule).decode(raw)[0] == pytest.approx(wanted, abs=1e-3)


def test_anchors_are_the_boxes_of_zero_offsets() -> None:
    for rule in ("ssd", "yolo"):
        raw = np.zeros((2, 7), np.float32)
        assert code(rule).decode(raw)[0].tolist() == code(rule).anchors.tolist()


def test_raw_outputs_of_another_network_are_refused() -> None:
    with pytest.raises(UsageError, match=r"raw outputs are \(3, 7\); this network's are \(n, 2, 7\)"):
        code().decode(np.zeros((3, 7), np.float32))


def test_a_selection_outside_its_range_is_refused() -> None:
    with pytest.raises(UsageError, match="allowed are a score from 0 to below 1"):
        Selection(overlap=1.5)


# ---- non-maximum suppression ------------------------------------------------------------------------------------

corner = st.integers(0, 12)
some_boxes = st.lists(st.tuples(corner, corner, st.integers(1, 8), st.integers(1, 8), st.integers(0, 4)), max_size=12)


def kept_by_definition(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> set[int]:
    """A box stays if none that stays comes before it and overlaps it by more; settled from the first to the last."""

    def before(a: int, b: int) -> bool:
        return scores[a] > scores[b] or (scores[a] == scores[b] and a < b)

    def stays(b: int) -> bool:
        return not any(before(a, b) and stays(a) and iou_of(boxes[a], boxes[b]) > overlap for a in range(len(boxes)))

    return {index for index in range(len(boxes)) if stays(index)}


def iou_of(a: np.ndarray, b: np.ndarray) -> float:
    """Counted pixel by pixel: the corners are whole numbers."""

    def pixels(box: np.ndarray) -> set[tuple[int, int]]:
        left, top, right, bottom = map(int, box)
        return {(x, y) for x in range(left, right) for y in range(top, bottom)}

    return len(pixels(a) & pixels(b)) / len(pixels(a) | pixels(b))


@given(rows=some_boxes, overlap=st.sampled_from([0.0, 0.21, 0.45, 0.7]))
def test_nms_keeps_what_its_definition_keeps(rows: list[tuple[int, ...]], overlap: float) -> None:
    boxes = boxes_of(*((x, y, x + w, y + h) for x, y, w, h, _ in rows))
    scores = np.array([score for *_, score in rows], np.float32)
    kept = nms(boxes, scores, overlap)
    assert set(kept.tolist()) == kept_by_definition(boxes, scores, overlap)
    assert [(-scores[i], i) for i in kept] == sorted((-scores[i], i) for i in kept)


def test_nms_ends_when_it_has_found_enough() -> None:
    boxes = boxes_of((0, 0, 1, 1), (2, 0, 3, 1), (4, 0, 5, 1))
    assert nms(boxes, np.array([1, 3, 2], np.float32), most=2).tolist() == [1, 2]


def test_detections_are_suppressed_per_class_and_come_surest_first() -> None:
    raw = np.zeros((2, 7), np.float32)
    one = code("yolo")
    one = BoxCode("yolo", one.origins, one.steps, np.full((2, 2), 8, np.float32), 1.0, 24, 32, 2)  # the same box twice
    raw[:, 4] = 40
    raw[0, 5:] = (np.log(3), -40)  # class 0 with 3/4
    raw[1, 5:] = (0, np.log(9))  # class 0 with 1/2, class 1 with 9/10
    found = one.detections(raw, Selection(overlap=0.5))
    assert found[:, 0].tolist() == [1, 0]
    assert found[:, 5] == pytest.approx([0.9, 0.75])
    assert one.detections(raw, Selection(score=0.8))[:, 0].tolist() == [1]
    assert len(one.detections(raw, Selection(overlap=1.0))) == 3
    assert len(one.detections(raw, Selection(overlap=1.0, most=2))) == 2
    assert one.detections(np.full((2, 7), -40, np.float32)).shape == (0, 6)
