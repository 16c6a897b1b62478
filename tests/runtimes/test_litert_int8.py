"""What LiteRT's int8 does without LiteRT: weights in its order and ours, and telling layers apart."""

import numpy as np
import pytest

from flyweight.quantize import same
from flyweight.runtimes import _litert_int8
from flyweight.runtimes._litert_int8 import (
    CONV,
    DEPTHWISE,
    LINEAR,
    _as_filed,
    _channels_first,
    _layers,
    with_ranges,
)


@pytest.mark.parametrize(
    ("code", "filed", "ours"),
    [(CONV, (8, 3, 5, 4), (8, 4, 3, 5)), (DEPTHWISE, (1, 3, 5, 8), (8, 1, 3, 5)), (LINEAR, (8, 4), (8, 4))],
)
def test_weights_go_into_the_files_order_as_they_came_out_of_it(
    code: int, filed: tuple[int, ...], ours: tuple[int, ...]
) -> None:
    weight = np.arange(np.prod(filed)).reshape(filed)
    assert _channels_first(weight, code).shape == ours
    np.testing.assert_array_equal(_as_filed(_channels_first(weight, code), code), weight)


def test_layers_are_told_apart_by_their_float_weights() -> None:
    weight = np.random.default_rng(0).normal(size=(8, 4, 3, 3)).astype(np.float32)
    assert same(weight, weight * (1 + 1e-6))
    assert same(weight.reshape(8, -1), weight)  # a linear layer that the other converter made a 1 x 1 convolution
    assert not same(weight, weight[::-1])
    assert not same(weight, weight[:4])


def test_fitted_layers_come_back_in_their_order() -> None:
    parts = ("float", "integers", "steps", "bias")
    arrays = {f"(fitted)/{place}/{part}": np.full(1, place) for place in (1, 0) for part in parts}
    assert [int(layer["bias"][0]) for layer in _layers(arrays)] == [0, 1]


def test_ranges_are_those_of_all_images_not_of_the_quantizers_one(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"x": {"min": np.array([-1.0]), "max": np.array([2.0]), "hash": 7}, "weights": {"hash": 8}}
    images = np.array([[-3.0, 1.0], [0.0, 9.0]], np.float32)
    monkeypatch.setattr(_litert_int8, "_values", lambda made, names, given: ({"x": each} for each in given))
    found = with_ranges(told, b"", images, "minmax")
    assert (found["x"]["min"].tolist(), found["x"]["max"].tolist()) == ([-3.0], [9.0])
    assert (found["x"]["hash"], found["weights"]) == (7, {"hash": 8})
    assert told["x"]["max"].tolist() == [2.0]
