"""Layers ranked by what int8 costs, and as few of them in float as a drop allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from flyweight.quantize import Method, quantize, sensitivity, with_fewest_float
from tests.quantize.test_quantize import IMAGES, network, outputs

FEW = IMAGES[:8]


@pytest.fixture(scope="module")
def fragile() -> Any:
    """Return a network one of whose layers int8 spoils: an input of c outweighs the others a hundred times."""
    model = network()
    for item in model.graph.initializer:
        if item.name == "c":
            weight = numpy_helper.to_array(item).copy()
            weight[:, 0] *= 100
            item.CopyFrom(numpy_helper.from_array(weight, "c"))
    return model


@pytest.fixture(scope="module")
def score(fragile: Any) -> Callable[[Any], float]:
    """Return the function that gives minus the mean squared error to the fragile network's outputs."""
    wanted = outputs(fragile, FEW)
    return lambda model: -float(np.square(outputs(model, FEW) - wanted).mean())


def test_every_layers_own_error_is_told_the_largest_first(fragile: Any) -> None:
    found = sensitivity(fragile, FEW)
    assert sorted(found) == ["a", "b", "c", "d"]
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert 0 < min(found.values()) < max(found.values()) < 1
    assert "c" not in sensitivity(fragile, FEW, keep_float=["c"])


def test_as_few_layers_stay_float_as_hold_the_drop_and_one_fewer_does_not(
    fragile: Any, score: Callable[[Any], float]
) -> None:
    order = list(sensitivity(fragile, FEW))
    reached = [score(quantize(fragile, FEW, Method("mse"), order[:k])) for k in range(4)]
    for one in reached:
        kept = next(k for k, other in enumerate(reached) if other >= one)
        model, stay = with_fewest_float(fragile, FEW, Method("mse"), score, -one)
        assert list(stay) == order[:kept]
        assert score(model) >= one


def test_a_drop_that_no_quantization_holds_gives_the_float_model(fragile: Any, score: Callable[[Any], float]) -> None:
    model, stay = with_fewest_float(fragile, FEW, Method("mse"), score, 0.0)
    assert sorted(stay) == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(outputs(model, FEW), outputs(fragile, FEW))
