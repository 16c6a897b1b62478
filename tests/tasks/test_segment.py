import base64
import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from flyweight.errors import DataError
from flyweight.tasks.segment import (
    class_weights,
    colorize,
    draw,
    image_png_uri,
    loss,
    mask_png_uri,
    masks_of,
    measure_masks,
    near_boundary,
    resize_bilinear,
)

SEA_LAND_LAKE = ("sea", "land", "lake")
WATER = {"land": (1,), "water": (0, 2)}
MASKS = arrays(np.uint8, (2, 5, 6), elements=st.sampled_from([0, 1, 2, 255]))
GUESSES = arrays(np.uint8, (2, 5, 6), elements=st.integers(0, 2))


def mask(*rows: str) -> np.ndarray:
    """Return a mask of one image, a digit per pixel; '.' has no truth."""
    return np.array([[[255 if c == "." else int(c) for c in row] for row in rows]], np.uint8)


# ---- logits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(10, 14), (5, 7), (7, 5), (9, 21), (3, 2), (1, 1)])
def test_resizing_is_that_of_pytorch(size: tuple[int, int]):
    logits = np.random.default_rng(0).normal(size=(2, 3, 5, 7)).astype(np.float32)
    theirs = F.interpolate(torch.from_numpy(logits), size=size, mode="bilinear", align_corners=False).numpy()
    # a few roundings of float32 at values up to 3: PyTorch keeps the positions themselves in float32
    assert np.abs(resize_bilinear(logits, *size) - theirs).max() < 4e-6


def test_masks_have_the_size_asked_for_and_the_largest_logit():
    logits = np.zeros((1, 2, 2, 2), np.float32)
    logits[0, 1, :, 1] = 1  # class 1 wins wherever it is above 0: outputs at 0.25 and further right of the left column
    assert masks_of(logits, 4, 4)[0, 0].tolist() == [0, 1, 1, 1]


# ---- loss -------------------------------------------------------------------------------------------------------


def test_loss_is_the_weighted_mean_over_pixels_with_a_truth():
    logits = torch.log(torch.tensor([[[[0.5, 0.9, 0.1]], [[0.5, 0.1, 0.9]]]]))  # (1, 2, 1, 3)
    masks = torch.tensor([[[0, 1, 255]]])
    expected = -(1.0 * np.log(0.5) + 3.0 * np.log(0.1)) / (1.0 + 3.0)
    assert loss(logits, masks, torch.tensor([1.0, 3.0])).item() == pytest.approx(expected, rel=1e-5)


def test_loss_compares_at_the_size_of_the_mask():
    logits = torch.randn(1, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    masks = torch.tensor([[[0, 1, 1, 0]] * 4])
    larger = F.interpolate(logits, size=(4, 4), mode="bilinear", align_corners=False)
    assert loss(logits, masks).item() == pytest.approx(F.cross_entropy(larger, masks).item())


def test_loss_without_any_truth_is_zero_and_has_a_gradient():
    logits = torch.randn(1, 2, 2, 2, requires_grad=True)
    value = loss(logits, torch.full((1, 2, 2), 255))
    value.backward()
    assert value.item() == 0 and logits.grad is not None and not logits.grad.any()


def test_rare_classes_weigh_more_by_the_square_root():
    weights = class_weights((0.64, 0.36 - 0.01, 0.01))
    assert weights[2] / weights[0] == pytest.approx(8)  # sqrt(0.64 / 0.01)


def test_weights_are_clipped_at_20_and_average_to_1():
    shares = (0.9999, 0.0001)
    weights = class_weights(shares)
    assert weights[1] / weights[0] == pytest.approx(20)  # the root alone would give 100
    assert sum(s * w for s, w in zip(shares, weights, strict=True)) == pytest.approx(1)


def test_a_class_that_is_never_shown_weighs_nothing():
    assert class_weights((0.5, 0.5, 0.0)) == (1, 1, 0)


@pytest.mark.parametrize("shares", [(), (0.0, 0.0), (-0.1, 1.1), (float("nan"), 1.0)])
def test_shares_that_are_none_are_refused(shares: tuple[float, ...]):
    with pytest.raises(DataError, match="class shares are"):
        class_weights(shares)


# ---- metrics ----------------------------------------------------------------------------------------------------


def test_iou_is_shared_pixels_over_pixels_of_either():
    metrics = measure_masks(mask("0011", "0012"), mask("0111", "0011"), SEA_LAND_LAKE)
    assert metrics.iou == {"sea": 3 / 4, "land": 3 / 5, "lake": 0 / 1}
    assert metrics.miou == pytest.approx((3 / 4 + 3 / 5 + 0) / 3)
    assert metrics.pixel_accuracy == 6 / 8
    assert metrics.confusion == ((3, 0, 0), (1, 3, 1), (0, 0, 0))  # rows: truth


def test_a_class_that_neither_truth_nor_prediction_has_is_none_and_not_averaged():
    metrics = measure_masks(mask("01"), mask("01"), SEA_LAND_LAKE)
    assert metrics.iou == {"sea": 1, "land": 1, "lake": None} and metrics.miou == 1


def test_pixels_without_truth_do_not_count():
    metrics = measure_masks(mask("0111"), mask("01.."), SEA_LAND_LAKE)
    assert metrics.pixel_accuracy == 1 and metrics.confusion == ((1, 0, 0), (0, 1, 0), (0, 0, 0))


def test_without_any_truth_every_figure_is_none():
    json = measure_masks(mask("01"), mask(".."), SEA_LAND_LAKE, WATER).to_json()
    assert json["miou"] is json["pixel_accuracy"] is json["grouped_miou"] is json["coast_miou"] is None


def test_classes_of_one_group_may_be_mistaken_for_each_other():
    metrics = measure_masks(mask("0021"), mask("0201"), SEA_LAND_LAKE, WATER)
    assert metrics.grouped_iou == {"land": 1, "water": 1} and metrics.grouped_miou == 1
    assert metrics.iou["sea"] == 1 / 3


def test_a_class_outside_all_groups_counts_as_missed_where_it_is_guessed():
    metrics = measure_masks(mask("0222"), mask("0012"), SEA_LAND_LAKE, {"water": (0,), "land": (1,)})
    assert metrics.grouped_iou == {"water": 1 / 2, "land": 0 / 1}  # the pixel whose truth is 2 belongs to no group


def test_the_coast_band_reaches_three_pixels_to_either_side():
    band = near_boundary(mask("0000011111"), [(0,), (1,)], 3)
    assert band[0, 0].tolist() == [False, False, True, True, True, True, True, True, False, False]


def test_the_distance_to_the_coast_is_that_of_a_chessboard():
    truth = np.zeros((1, 9, 9), np.uint8)
    truth[0, 4, 4] = 1
    band = near_boundary(truth, [(0,), (1,)], 3)
    assert band[0, 1, 1] and band[0, 7, 7] and not band[0, 0, 4]
    assert band.sum() == 7 * 7  # 3 pixels around the one of land, itself too


def test_a_lake_shore_is_a_coast_but_sea_beside_lake_is_none():
    groups = list(WATER.values())
    assert near_boundary(mask("12"), groups, 1).all()
    assert not near_boundary(mask("02"), groups, 1).any()


def test_no_truth_makes_no_coast():
    assert not near_boundary(mask("0.", ".."), [(0,), (1,)], 3).any()


def test_one_image_has_no_coast_with_the_next():
    two = np.concatenate([mask("00"), mask("11")])
    assert not near_boundary(two, [(0,), (1,)], 3).any()


@given(MASKS, st.integers(0, 4))
def test_the_band_is_what_its_definition_says(truth: np.ndarray, band_px: int):
    groups = {0: "w", 1: "l", 2: "w"}
    band = near_boundary(truth, list(WATER.values()), band_px)
    for n, y, x in np.ndindex(truth.shape):
        window = truth[n, max(y - band_px, 0) : y + band_px + 1, max(x - band_px, 0) : x + band_px + 1]
        others = {groups[v] for v in window.ravel().tolist() if v != 255} - {groups.get(int(truth[n, y, x]))}
        assert band[n, y, x] == (truth[n, y, x] != 255 and bool(others))


def test_errors_far_from_the_coast_do_not_touch_the_coast_score():
    truth, guess = mask("0000000111"), mask("1000000111")
    metrics = measure_masks(guess, truth, SEA_LAND_LAKE, WATER)
    assert metrics.coast_miou == 1 and metrics.grouped_iou["water"] == 6 / 7


@given(GUESSES, MASKS)
def test_batches_add_up_to_the_whole(guess: np.ndarray, truth: np.ndarray):
    whole = measure_masks(guess, truth, SEA_LAND_LAKE, WATER)
    first, second = (measure_masks(guess[i : i + 1], truth[i : i + 1], SEA_LAND_LAKE, WATER) for i in (0, 1))
    assert first + second == whole


@given(GUESSES, MASKS)
def test_every_figure_lies_between_0_and_1(guess: np.ndarray, truth: np.ndarray):
    json = measure_masks(guess, truth, SEA_LAND_LAKE, WATER).to_json()
    assert sum(map(sum, json["confusion"])) == (truth != 255).sum()
    for value in (json["miou"], json["coast_miou"], json["grouped_miou"], *json["iou"].values()):
        assert value is None or 0 <= value <= 1


def test_metrics_of_other_classes_do_not_add_up():
    with pytest.raises(DataError, match="can't be added"):
        measure_masks(mask("01"), mask("01"), ("a", "b")) + measure_masks(mask("01"), mask("01"), ("a", "c"))


def test_masks_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match=r"\(1, 1, 2\), the truth is \(1, 1, 3\)"):
        measure_masks(mask("01"), mask("010"), SEA_LAND_LAKE)
    with pytest.raises(DataError, match="a true mask has the value 3, but there are only 3 classes"):
        measure_masks(mask("01"), mask("03"), SEA_LAND_LAKE)
    with pytest.raises(DataError, match="a predicted mask has the value 9"):
        measure_masks(mask("09"), mask("00"), SEA_LAND_LAKE)


# ---- pictures ---------------------------------------------------------------------------------------------------

COLORS = ((0, 0, 200), (200, 200, 0))


def _decoded(uri: str) -> np.ndarray:
    head, data = uri.split(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def test_a_mask_as_data_uri_shows_the_classes_colours():
    picture = _decoded(mask_png_uri(mask("01.")[0], COLORS))
    assert picture[0].tolist() == [[0, 0, 200], [200, 200, 0], [128, 128, 128]]  # grey: no truth
    assert np.array_equal(picture, colorize(mask("01.")[0], COLORS))


def test_a_mask_of_160x160_is_a_few_kilobytes():
    blobs = (np.indices((160, 160)).sum(axis=0) // 20 % 2).astype(np.uint8)
    assert len(mask_png_uri(blobs, COLORS)) < 4000


def test_an_image_as_data_uri_is_unchanged():
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    assert np.array_equal(_decoded(image_png_uri(image)), image)


def test_drawing_lays_the_mask_over_the_image():
    image = np.full((1, 2, 3), 100, np.uint8)
    assert draw(image, mask("01")[0], COLORS, opacity=0.5)[0].tolist() == [[50, 50, 150], [150, 150, 50]]


def test_classes_without_colours_get_different_ones():
    assert len({tuple(color) for color in colorize(mask("0123")[0])[0].tolist()}) == 4
