"""Multiplier and shift against exact rational arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyweight.errors import GraphError
from flyweight.fixed_point._requantize import (
    Target,
    factor,
    multiply_gemmlowp,
    multiply_shift,
    quantized_multiplier,
)

INT32 = st.integers(-(2**31), 2**31 - 1)
RATIOS = st.fractions(Fraction(1, 2**40), 100, max_denominator=2**45).filter(lambda ratio: ratio > 0)


@given(RATIOS)
def test_a_multiplier_has_31_bits_and_is_the_nearest(ratio: Fraction) -> None:
    multiplier, shift = quantized_multiplier(ratio, "layer")
    assert 2**30 <= multiplier < 2**31
    assert abs(Fraction(multiplier, 2**shift) - ratio) <= Fraction(1, 2 ** (shift + 1)) + Fraction(1, 2 ** (shift + 31))


@given(st.lists(INT32, min_size=1, max_size=20), RATIOS)
def test_one_shift_rounds_the_exact_product_half_up(accumulators: list[int], ratio: Fraction) -> None:
    multiplier, shift = quantized_multiplier(ratio, "layer")
    found = multiply_shift(np.array(accumulators, np.int64), np.array(multiplier), np.array(shift))
    exact = [Fraction(value * multiplier, 2**shift) + Fraction(1, 2) for value in accumulators]
    wanted = [value.numerator // value.denominator for value in exact]  # floor
    assert found.tolist() == wanted


@given(st.lists(INT32, min_size=1, max_size=20), RATIOS.filter(lambda ratio: ratio < 1))
def test_the_result_is_within_half_a_step_and_the_multipliers_own_error(values: list[int], ratio: Fraction) -> None:
    multiplier, shift = quantized_multiplier(ratio, "layer")
    found = multiply_shift(np.array(values, np.int64), np.array(multiplier), np.array(shift))
    for value, step in zip(values, found.tolist(), strict=True):
        assert abs(step - value * ratio) <= Fraction(1, 2) + abs(value) * ratio / 2**31


def _doubling_high_product(a: int, b: int) -> int:
    product = a * b
    nudged = product + (2**30 if product >= 0 else 1 - 2**30)
    return -(-nudged // 2**31) if nudged < 0 else nudged // 2**31  # C divides toward zero


def _divide_by_power(value: int, exponent: int) -> int:
    quotient = Fraction(value, 2**exponent)
    away = Fraction(1, 2) if value >= 0 else -Fraction(1, 2)
    return int(quotient + away)  # half away from zero; int() cuts toward zero


@given(st.lists(INT32, min_size=1, max_size=20), RATIOS.filter(lambda ratio: ratio < 1))
def test_gemmlowp_rounds_twice_and_half_away_from_zero(values: list[int], ratio: Fraction) -> None:
    multiplier, shift = quantized_multiplier(ratio, "layer")
    found = multiply_gemmlowp(np.array(values, np.int64), np.array(multiplier), np.array(shift))
    right = min(shift - 31, 31)
    wanted = [_divide_by_power(_doubling_high_product(value, multiplier), right) for value in values]
    assert found.tolist() == wanted


@given(
    st.lists(INT32, min_size=1, max_size=50),
    st.floats(2.0**-30, 0.984375, width=32),
    st.integers(0, 255),
    st.tuples(st.integers(1, 3), st.integers(1, 4)),
)
@settings(max_examples=60)
def test_onnxruntimes_rule_is_float32_multiplication_and_half_to_even(
    values: list[int], scale: float, zero: int, shape: tuple[int, int]
) -> None:
    accumulators = np.broadcast_to(np.array(values, np.int32), (*shape, len(values)))
    single = np.array([scale], np.float32)
    made = factor(single, [Fraction(float(single[0]))], "layer")
    target = Target(np.float32(1), zero, np.dtype(np.uint8), 0, 255)
    limited = np.clip(accumulators.astype(np.float32) * single, np.float32(-zero), np.float32(255 - zero))
    wanted = (np.rint(limited).astype(np.int32) + zero).astype(np.uint8)
    assert np.array_equal(target.saturate(made.apply(accumulators, "onnxruntime")), wanted)


def test_the_rules_part_at_ties() -> None:
    quarter = factor(np.array([0.25], np.float32), [Fraction(1, 4)], "layer")
    accumulators = np.array([-6, -2, 2, 6, 10], np.int32)  # -1.5, -0.5, 0.5, 1.5, 2.5
    assert quarter.apply(accumulators, "onnxruntime").tolist() == [-2, 0, 0, 2, 2]
    assert quarter.apply(accumulators, "shift").tolist() == [-1, 0, 1, 2, 3]
    assert quarter.apply(accumulators, "gemmlowp").tolist() == [-2, -1, 1, 2, 3]


def test_rounding_twice_can_miss_the_nearest_integer() -> None:
    # 255 / 512 = 0.498; gemmlowp: 255 / 2 = 127.5 becomes 128, and 128 / 256 = 0.5 becomes 1
    accumulator, multiplier, shift = np.array([255]), np.array(2**30), np.array(39)
    assert multiply_shift(accumulator, multiplier, shift).tolist() == [0]
    assert multiply_gemmlowp(accumulator, multiplier, shift).tolist() == [1]


@pytest.mark.parametrize("ratio", [Fraction(0), Fraction(-1), Fraction(2**30)])
def test_a_factor_that_has_no_multiplier_is_an_error_that_names_the_layer(ratio: Fraction) -> None:
    with pytest.raises(GraphError, match="conv7: its scales ask for a factor"):
        quantized_multiplier(ratio, "conv7")
