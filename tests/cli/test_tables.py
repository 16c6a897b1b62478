"""What is printed on stdout."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight.cli._tables import dims, print_table, si


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (7, "7"), (999, "999"), (999.4, "999"), (1000, "1.00 k"), (9994, "9.99 k"), (9996, "10.0 k"),
        (99_960, "100 k"), (999_499, "999 k"), (999_500, "1.00 M"), (568_740_352, "569 M"), (4_231_976, "4.23 M"),
        (1.5e9, "1.50 G"), (2e12, "2.00 T"), (5e15, "5.00e+15"), (None, "–"),
    ],
)  # fmt: skip
def test_figures_have_three_digits_and_a_prefix(value: float | None, text: str) -> None:
    assert si(value) == text


@given(st.integers(1000, 999 * 10**12))
def test_prefixed_figure_is_within_half_a_percent(value: int) -> None:
    number, prefix = si(value).split(" ")
    assert float(number) * {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[prefix] == pytest.approx(value, rel=0.005)


def test_batch_of_one_is_left_out_of_a_shape() -> None:
    assert dims((1, 32, 80, 80)) == "32x80x80"
    assert dims((3, 160, 160)) == "3x160x160"
    assert dims((1,)) == "1"


def test_table_in_a_pipe_is_whole_and_without_blanks_at_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["file", "kB"], [["a" * 150, "1.5"], ["b", "20.0"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "a" * 150 + "   1.5"
    assert [line for line in lines if line != line.rstrip()] == []


def test_brackets_in_a_cell_are_not_taken_for_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name"], [["[red]x[/red]"]])
    assert "[red]x[/red]" in capsys.readouterr().out
