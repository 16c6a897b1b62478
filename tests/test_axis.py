"""Repeating intervals against brute force."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from flyweight.axis import Axis

PIXELS = Axis((0,), (0,), 1)
STEPS = st.lists(
    st.tuples(st.booleans(), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2)), max_size=4
)


def seen(steps: list[tuple[bool, int, int, int, int]], position: int) -> set[int]:
    """Return the pixels that a position sees, walking back through the layers set by set."""
    positions = {position}
    for transposed, kernel, stride, padding, dilation in reversed(steps):
        if transposed:
            reached = {o + padding - t * dilation for o in positions for t in range(kernel)}
            positions = {i // stride for i in reached if i % stride == 0}
        else:
            positions = {o * stride - padding + t * dilation for o in positions for t in range(kernel)}
    return positions


@given(STEPS, st.integers(-20, 20))
def test_a_chain_of_windows_sees_what_walking_back_finds(steps: list[tuple[bool, int, int, int, int]], at: int) -> None:
    axis = PIXELS
    for transposed, *window in steps:
        axis = axis.transposed(*window) if transposed else axis.window(*window)
    pixels = seen(steps, at)
    low, high = axis.at(at)
    if pixels:
        assert (low, high) == (min(pixels), max(pixels))
    elif not any(seen(steps[:n], i) == set() for n in range(1, len(steps)) for i in range(-40, 40)):
        assert high < low


@given(STEPS, STEPS)
def test_a_hull_covers_both_and_nothing_more(
    first: list[tuple[bool, int, int, int, int]], second: list[tuple[bool, int, int, int, int]]
) -> None:
    a, b = PIXELS, PIXELS
    for transposed, *window in first:
        a = a.transposed(*window) if transposed else a.window(*window)
    for transposed, *window in second:
        b = b.transposed(*window) if transposed else b.window(*window)
    both = a.hull(b, positions=9)
    for i in range(9):
        filled = [pair for pair in (a.at(i), b.at(i)) if pair[0] <= pair[1]]
        if filled:
            assert both.at(i) == (min(low for low, _ in filled), max(high for _, high in filled))


def test_stride_is_kept_exactly_through_uneven_resampling() -> None:
    axis = PIXELS.window(3, 2, 1).resampled(Fraction(7, 13), lambda o: (o * 7 // 13,))
    assert Fraction(axis.advance, axis.period) == Fraction(14, 13)
    assert axis.size == 3
