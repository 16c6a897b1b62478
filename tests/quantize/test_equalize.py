"""Cross-layer equalization: the same bits in float, weights that fill their ranges alike, ReLU6 left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from flyweight.quantize._equalize import equalized, pairs
from flyweight.quantize._plan import constants
from tests.quantize import test_quantize as quantized
from tests.quantize.test_quantize import outputs


def network() -> Any:
    """Return that test's network with c alone behind b's ReLU: the addition doubles c."""
    model = quantized.network()
    next(node for node in model.graph.node if node.name == "add").input[0] = "5"
    return model


def test_float_outputs_are_the_same_bits() -> None:
    model = network()
    for item in model.graph.initializer:  # channels of ranges 1 to 16
        if item.name == "b":
            weight = numpy_helper.to_array(item) * np.arange(1, 17, dtype=np.float32).reshape(-1, 1, 1, 1)
            item.CopyFrom(numpy_helper.from_array(weight, item.name))
    made, count = equalized(model)
    assert count == 1
    assert not np.array_equal(constants(made)["b"], constants(model)["b"])
    np.testing.assert_array_equal(outputs(made), outputs(model))


def test_pairs_are_those_around_a_relu_that_one_layer_reads() -> None:
    (pair,) = pairs(network())  # a and b have a ReLU6 between them; c is read by an addition
    assert (pair.weight, pair.bias, pair.reader, pair.group) == ("b", "b_bias", "c", 1)


def test_ranges_on_both_sides_of_a_channel_come_within_a_factor_of_two() -> None:
    made = constants(equalized(network())[0])
    before = np.abs(made["b"].reshape(16, -1)).max(1)
    behind = np.abs(made["c"]).max((0, 2, 3))
    assert np.abs(np.log2(before / behind)).max() <= 1 + 1e-6


@pytest.mark.parametrize("kind", ["Sigmoid", "HardSwish"])
def test_nothing_is_scaled_across_another_activation(kind: str) -> None:
    model = network()
    next(node for node in model.graph.node if node.name == "relu").op_type = kind
    assert pairs(model) == []
