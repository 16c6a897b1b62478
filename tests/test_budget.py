"""flyweight.budget: amounts are read as people write them, and every limit has its verdict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight.budget import Budget, Figures, check, more, read_bytes, read_count, read_percent
from flyweight.errors import UsageError

FIGURES = Figures(macs=300_000_000, params=3_500_000, weight_bytes=14_000_000, peak_bytes=6_000_000, median_ms=5.0)


@pytest.mark.parametrize(
    ("text", "value"), [("300M", 300_000_000), ("3.5M", 3_500_000), ("500k", 500_000), ("1G", 10**9), ("12", 12)]
)
def test_counts_have_si_prefixes(text: str, value: int) -> None:
    assert read_count(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("6MB", 6 * 10**6), ("6MiB", 6 * 2**20), ("512KiB", 512 * 2**10), ("512KB", 512_000), ("1.5kB", 1500), ("99", 99)],
)
def test_sizes_are_powers_of_1000_or_of_1024(text: str, value: int) -> None:
    assert read_bytes(text) == value


@given(st.text(max_size=8))
def test_any_text_is_a_number_or_a_sentence_that_helps(text: str) -> None:
    for read in (read_count, read_bytes, read_percent):
        try:
            assert read(text) >= 0
        except UsageError as error:
            assert "such as" in str(error)


def test_a_limit_that_is_met_exactly_is_kept() -> None:
    verdicts = check(Budget(300_000_000, 3_500_000, 14_000_000, 6_000_000, 5.0), FIGURES)
    assert [v.holds for v in verdicts] == [True] * 5
    assert [v.kind for v in verdicts] == ["counted"] * 4 + ["measured"]


def test_a_limit_that_is_exceeded_is_told_with_both_numbers_and_its_kind() -> None:
    (verdict,) = check(Budget(max_peak_bytes=4_000_000), FIGURES)
    assert not verdict.holds
    assert verdict.line == "EXCEEDED: peak activations 6 MB, limit 4 MB (150% of it), counted"


def test_macs_with_operators_that_are_not_counted_keep_no_limit() -> None:
    (verdict,) = check(Budget(max_macs=10**12), Figures(1, 1, 1, 1, uncounted=2))
    assert not verdict.holds
    assert "2 operators have no formula" in verdict.line


def test_a_time_from_a_busy_machine_says_so() -> None:
    figures = Figures(1, 1, 1, 1, median_ms=6.0, doubt="busy")
    (verdict,) = check(Budget(max_ms=5.0), figures)
    assert "the machine was busy" in verdict.line


def test_a_limit_on_the_time_without_a_time_is_wrong_use() -> None:
    with pytest.raises(UsageError, match="needs a measurement"):
        check(Budget(max_ms=5.0), Figures(1, 1, 1, 1))


def test_a_relative_limit_is_in_percent_of_the_first() -> None:
    assert more("more time", "measured", 100.0, 105.0, 5.0).holds
    assert not more("more time", "measured", 100.0, 106.0, 5.0).holds  # 6 % more
