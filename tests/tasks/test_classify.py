import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flyweight.errors import DataError
from flyweight.tasks import TASKS
from flyweight.tasks.classify import measure_logits

NAMES = ("a", "b", "c", "d", "e", "f")


def test_top1_is_the_share_of_images_that_got_their_class() -> None:
    logits = np.array([[2, 1, 0], [0, 1, 2], [0, 3, 1], [1, 0, 0]], np.float32)
    metrics = measure_logits(logits, np.array([0, 2, 0, 0]), ("a", "b", "c"))
    assert metrics.top1 == 3 / 4
    assert metrics.confusion == ((2, 1, 0), (0, 0, 0), (0, 0, 1))
    assert metrics.by_class == {"a": 2 / 3, "b": None, "c": 1.0}


def test_top5_asks_whether_the_class_is_among_the_five_most_likely() -> None:
    logits = np.array([[6, 5, 4, 3, 2, 1], [6, 5, 4, 3, 2, 1]], np.float32)
    assert measure_logits(logits, np.array([4, 5]), NAMES).top5 == 1 / 2  # class f comes sixth


def test_of_equally_likely_classes_the_first_counts() -> None:
    assert measure_logits(np.zeros((1, 6), np.float32), np.array([0]), NAMES).top1 == 1.0
    assert measure_logits(np.zeros((1, 6), np.float32), np.array([5]), NAMES).top5 == 0.0


@given(
    logits=hnp.arrays(np.float32, (7, 6), elements=st.floats(-9, 9, width=32)),
    labels=hnp.arrays(np.int64, 7, elements=st.integers(0, 5)),
    cut=st.integers(1, 6),
)
def test_metrics_of_parts_add_up_to_those_of_the_whole(logits: np.ndarray, labels: np.ndarray, cut: int) -> None:
    parts = [measure_logits(logits[part], labels[part], NAMES) for part in (slice(cut), slice(cut, None))]
    assert parts[0] + parts[1] == measure_logits(logits, labels, NAMES)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((2, 5)), [0, 1], r"logits are \(2, 5\); wanted: \(2, 6\)"),
        (np.zeros((0, 6)), [], "at least one image"),
        (np.zeros((2, 6)), [0, 6], "labels reach from 0 to 6; allowed are 0 to 5"),
        (np.zeros((2, 6)), [-1, 0], "labels reach from -1 to 0"),
    ],
)
def test_what_does_not_fit_is_an_error(logits: np.ndarray, labels: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        measure_logits(logits.astype(np.float32), np.array(labels, np.int64), NAMES)


def test_loss_is_the_cross_entropy() -> None:
    outputs = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    found = TASKS.get("classify").loss(outputs, torch.tensor([0, 1]))
    assert found.item() == pytest.approx(np.log(2))  # two equally likely classes
