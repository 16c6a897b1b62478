"""float32 arithmetic in integers against the processor's own."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from flyweight.fixed_point import _binary32
from flyweight.fixed_point._binary32 import Binary32

COUNT = 20_000
Operation = Callable[[Any, Any], Any]


def numbers(seed: int) -> NDArray[np.float32]:
    """Of both signs, over 2**-40 to 2**40, some with few bits."""
    random = np.random.default_rng(seed)
    made = (random.normal(size=COUNT) * 2.0 ** random.integers(-20, 20, COUNT)).astype(np.float32)
    made[:2000] = random.integers(-300, 300, 2000)
    return made


def back(value: Binary32) -> NDArray[np.float32]:
    """Put the parts together again."""
    exponent = np.broadcast_to(value.exponent, value.mantissa.shape)
    return np.ldexp(value.mantissa.astype(np.float64), exponent).astype(np.float32)


@pytest.mark.parametrize(
    ("in_integers", "in_floats"),
    [(_binary32.add, np.add), (_binary32.multiply, np.multiply), (_binary32.divide, np.divide)],
    ids=["add", "multiply", "divide"],
)
def test_every_operation_rounds_as_the_processor_does(in_integers: Operation, in_floats: Operation) -> None:
    a, b = numbers(1), numbers(2)
    b[b == 0] = 1
    assert np.array_equal(back(in_integers(_binary32.constant(a), _binary32.constant(b))), in_floats(a, b))


def test_a_sum_that_cancels_is_exact() -> None:
    a = numbers(3)
    b = -np.nextafter(a, np.float32(np.inf), dtype=np.float32)
    assert np.array_equal(back(_binary32.add(_binary32.constant(a), _binary32.constant(b))), a + b)


def test_a_fused_multiply_add_rounds_once() -> None:
    a, b, c = numbers(4)[-500:], numbers(5)[-500:], numbers(6)[-500:]
    c[:100] = -(a[:100] * b[:100])  # what is left is the rounding error of the product
    exact = [Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)) for x, y, z in zip(a, b, c, strict=True)]
    made = _binary32.multiply_add(*(_binary32.constant(x) for x in (a, b, c)))
    assert np.array_equal(back(made), np.array([_binary32.of_fraction(value) for value in exact]))


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1))
def test_integers_of_32_bits_become_the_nearest_float(values: list[int]) -> None:
    array = np.array(values, np.int32)
    assert np.array_equal(back(_binary32.from_int(array)), array.astype(np.float32))


def test_rounding_to_an_integer_takes_the_even_one_of_two() -> None:
    halves = np.arange(-10, 10).astype(np.float32) + np.float32(0.5)
    values = np.concatenate([halves, numbers(7)[np.abs(numbers(7)) < 2**29]])
    assert np.array_equal(_binary32.to_int(_binary32.constant(values)), np.rint(values).astype(np.int64))
    assert _binary32.to_int(_binary32.constant(np.array([-1e30], np.float32)))[0] == -(1 << 30)
