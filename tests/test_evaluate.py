import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from flyweight.boxes import Selection
from flyweight.build import box_code
from flyweight.contracts import DataSet, Preprocessing
from flyweight.errors import DataError, MeasurementError, UsageError
from flyweight.evaluate import agreement, evaluate, parity, predict_boxes, predict_masks, preprocess, score
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec
from flyweight.spec import settings as spec_settings

PLAIN = Preprocessing(4, 4)


class Pairs:
    """Two images of 8x8: the left half dark (class 0), the right half bright (class 1)."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        mask = np.zeros((8, 8), np.uint8)
        mask[:, 4:] = 1
        return np.repeat(mask[..., None] * 200, 3, axis=2).astype(np.uint8), mask


DATA = DataSet("halves", ("dark", "bright"), Pairs(), Pairs(), Pairs(), (0.0,) * 3, (1.0,) * 3, (0.5, 0.5))


def bright(inputs: np.ndarray) -> np.ndarray:
    """A 'network' that sees brightness: logits of dark and bright."""
    return np.concatenate([0.4 - inputs[:, :1], inputs[:, :1] - 0.4], axis=1).astype(np.float32)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_preprocessing_averages_blocks_then_scales_and_normalizes():
    image = np.zeros((1, 2, 2, 3), np.uint8)
    image[0, 0, 0] = 255
    settings = Preprocessing(1, 1, mean=(0.25, 0.0, 0.5), std=(0.5, 0.5, 0.25))
    # (255 + 0 + 0 + 0) / 4 / 255 = 0.25; (0.25 - 0.25) / 0.5, (0.25 - 0) / 0.5, (0.25 - 0.5) / 0.25
    assert preprocess(image, settings).ravel().tolist() == pytest.approx([0, 0.5, -1], abs=1e-6)


def test_the_input_is_float32_channels_first_and_contiguous():
    result = preprocess(noise(2, 8, 12, 3), Preprocessing(4, 6))
    assert (result.shape, result.dtype, result.flags.c_contiguous) == ((2, 3, 4, 6), np.float32, True)


@pytest.mark.parametrize("size", [(8, 12), (4, 6), (5, 7), (3, 12), (1, 1), (16, 24), (7, 30)])
def test_resizing_by_area_is_that_of_pytorch_or_of_the_exact_average(size: tuple[int, int]):
    images = noise(2, 8, 12, 3)
    ours = preprocess(images, Preprocessing(*size))
    fine = np.repeat(np.repeat(images, size[0], 1), size[1], 2).astype(np.float64)  # every output covers whole samples
    exact = fine.reshape(2, size[0], 8, size[1], 12, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2) / 255
    assert np.abs(ours - exact).max() < 1e-6
    if 8 % size[0] == 0 and 12 % size[1] == 0:  # elsewhere PyTorch's windows overlap
        theirs = F.interpolate(torch.from_numpy(images).permute(0, 3, 1, 2) / 255, size=size, mode="area").numpy()
        assert np.abs(ours - theirs).max() < 1e-6


def test_halving_agrees_with_pillow_which_rounds_twice():
    image = noise(160, 160, 3)
    pillow = np.asarray(Image.fromarray(image).resize((80, 80), Image.Resampling.BOX)).transpose(2, 0, 1)
    difference = preprocess(image[None], Preprocessing(80, 80))[0] * 255 - pillow
    assert np.abs(difference).max() <= 0.5 + 0.5 + 1e-3  # half a grey level per direction


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 255))
def test_one_colour_stays_that_colour_at_any_size(height: int, width: int, value: int):
    result = preprocess(np.full((1, 17, 9, 3), value, np.uint8), Preprocessing(height, width))
    assert np.abs(result - value / 255).max() < 1e-6


@pytest.mark.parametrize("images", [np.zeros((1, 4, 4, 3)), noise(4, 4, 3), noise(1, 4, 4, 1), noise(1, 0, 4, 3)])
def test_what_is_no_batch_of_images_is_refused(images: np.ndarray):
    with pytest.raises(DataError, match=r"wanted: uint8 \(n, H, W, 3\)"):
        preprocess(images, PLAIN)


def test_masks_are_predicted_one_image_at_a_time_and_at_the_images_size():
    batches = []

    def watched(inputs: np.ndarray) -> np.ndarray:
        batches.append(inputs.shape)
        return bright(inputs)

    masks = predict_masks(watched, DATA.test, PLAIN)
    assert batches == [(1, 3, 4, 4)] * 2
    assert [mask.shape for mask in masks] == [(8, 8)] * 2


def test_a_perfect_network_scores_1_on_the_full_mask():
    metrics = evaluate(bright, DATA.test, DATA, PLAIN)
    assert (metrics.miou, metrics.pixel_accuracy, metrics.tiles) == (1, 1, 2)
    assert sum(map(sum, metrics.confusion)) == 2 * 8 * 8


def test_a_smaller_input_pays_for_what_it_no_longer_sees():
    metrics = evaluate(bright, DATA.test, DATA, Preprocessing(1, 1))
    assert metrics.iou == {"dark": 0.5, "bright": 0.0}  # 100 / 255 < 0.4: everything is called dark


def test_progress_is_told_of_every_image():
    class Log:
        def __init__(self) -> None:
            self.lines: list[object] = []

        def start(self, what: str, total: int) -> None:
            self.lines.append((what, total))

        def advance(self, n: int = 1, note: str = "") -> None:
            self.lines.append(n)

        def finish(self) -> None:
            self.lines.append("end")

        def say(self, line: str) -> None:
            raise AssertionError(line)

    log = Log()
    predict_masks(bright, DATA.test, PLAIN, log, "scoring")
    assert log.lines == [("scoring", 2), 1, 1, "end"]


def test_an_output_that_is_not_finite_is_never_scored():
    with pytest.raises(MeasurementError, match="image 0 is not finite"):
        predict_masks(lambda inputs: bright(inputs) * np.float32("nan"), DATA.test, PLAIN)


def test_an_output_that_is_no_map_is_refused():
    with pytest.raises(MeasurementError, match=r"output is \(1, 2\)"):
        predict_masks(lambda inputs: np.zeros((1, 2), np.float32), DATA.test, PLAIN)


def test_every_image_needs_its_mask():
    with pytest.raises(DataError, match="1 predicted masks for 2 images"):
        score([np.zeros((8, 8), np.uint8)], DATA.test, DATA)


def test_agreement_is_the_share_of_equal_pixels():
    first, second = np.zeros((2, 2), np.uint8), np.array([[0, 0], [0, 1]], np.uint8)
    assert agreement([first, first], [first, second]) == 7 / 8


@pytest.mark.parametrize("second", [[], [np.zeros((2, 3), np.uint8)]])
def test_masks_without_partner_are_refused(second: list[np.ndarray]):
    with pytest.raises(UsageError, match="can't be compared"):
        agreement([np.zeros((2, 2), np.uint8)], second)


def test_parity_is_the_difference_over_the_largest_output():
    inputs = np.array([1.0, 4.0], np.float32).reshape(2, 1, 1, 1)
    shift = np.array([0.0, 1.0], np.float32).reshape(1, 2, 1, 1)

    def double(x: np.ndarray) -> np.ndarray:
        return np.concatenate([x, x * 2], axis=1)

    # outputs (1, 2) and (4, 8); the other's differ by (0, 1): largest 1 of 8, mean 1/2 of 8
    assert parity(double, lambda x: double(x) + shift, inputs) == (1 / 8, 1 / 16)


def test_parity_refuses_what_can_not_be_compared():
    inputs = np.ones((1, 1, 1, 1), np.float32)
    with pytest.raises(MeasurementError, match="can't be compared"):
        parity(lambda x: x, lambda x: x * np.float32("inf"), inputs)
    with pytest.raises(MeasurementError, match="can't be compared"):
        parity(lambda x: x, lambda x: x[0], inputs)
    with pytest.raises(UsageError, match="at least one input"):
        parity(lambda x: x, lambda x: x, inputs[:0])


# ---- boxes ------------------------------------------------------------------------------------------------------


class Framed:
    """Dark images of two sizes with a bright rectangle; the box is its frame, in shares of the image."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        height, width = ((64, 64), (32, 128), (128, 64))[index]
        image = np.zeros((height, width, 3), np.uint8)
        image[height // 4 : height // 2, width // 4 : 3 * width // 4] = 255
        return image, np.array([[0, 0.25, 0.25, 0.75, 0.5, 0]], np.float32)


BOXED = DataSet(
    "framed", ("bright",), Framed(), Framed(), Framed(), (0.0,) * 3, (1.0,) * 3, (1.0,), task="detect"
)  # fmt: skip
DETECTOR = ArchSpec(
    "net", "detect", InputSpec(64, 64), 1, (StageSpec("a", "conv", 8, 8),),
    HeadSpec("ssdlite", settings=spec_settings(scales=(0.3, 0.3))),
)  # fmt: skip


def frame(inputs: np.ndarray) -> np.ndarray:
    """See the bright rectangle in the network's input, and answer with the raw outputs that stand for it."""
    code = box_code(DETECTOR)
    rows, columns = np.nonzero(inputs[0, 0] > 0.5)
    corners = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    raw = np.zeros((1, len(code), 6), np.float32)
    raw[0, :, :4] = code.encode(np.tile(np.array(corners, np.float32), (len(code), 1)))
    raw[0, :, 5] = 5.0
    return raw


def test_boxes_are_scored_in_images_of_any_size() -> None:
    metrics = evaluate(frame, BOXED.test, BOXED, Preprocessing(64, 64), spec=DETECTOR)
    assert (metrics.map50, metrics.map50_95, metrics.images) == (1.0, 1.0, 3)


def test_predicted_boxes_are_in_pixels_of_the_image() -> None:
    found = predict_boxes(frame, BOXED.test, Preprocessing(64, 64), box_code(DETECTOR), Selection(score=0.9))
    assert [rows.shape for rows in found] == [(1, 6)] * 3
    assert found[1][0, 1:5] == pytest.approx([32, 8, 96, 16], abs=1e-3)


def test_boxes_without_a_spec_are_refused() -> None:
    with pytest.raises(UsageError, match="data set 'framed' holds boxes: pass spec="):
        evaluate(frame, BOXED.test, BOXED, Preprocessing(64, 64))
