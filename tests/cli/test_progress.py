"""What a person, and what a log, is told of how far the work has got."""

import io
import sys
from dataclasses import dataclass

import pytest
from rich.console import Console

from flyweight.cli._progress import Bars, Lines, shown
from flyweight.contracts import Silent


@dataclass
class Clock:
    """A clock that is set by hand."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_log_gets_at_most_one_line_in_ten_seconds() -> None:
    clock, out = Clock(), io.StringIO()
    lines = Lines(out, every_s=10.0, clock=clock)
    lines.start("v0: train", 100)
    for _ in range(35):  # one step a second
        clock.now += 1.0
        lines.advance(1, "loss 0.5")
    assert out.getvalue().splitlines() == [
        "v0: train: 10/100, loss 0.5",
        "v0: train: 20/100, loss 0.5",
        "v0: train: 30/100, loss 0.5",
    ]


def test_log_line_names_the_steps_around_it() -> None:
    clock, out = Clock(), io.StringIO()
    lines = Lines(out, clock=clock)
    lines.start("ladder on blue_marble", 14)
    lines.start("v0: train", 300)
    clock.now = 12.0
    lines.advance(4)
    assert out.getvalue() == "ladder on blue_marble > v0: train: 4/300\n"


def test_log_tells_how_long_a_step_took() -> None:
    clock, out = Clock(), io.StringIO()
    lines = Lines(out, clock=clock)
    lines.start("train", 2)
    clock.now = 5.0
    lines.advance(2, "loss 0.1")
    clock.now = 95.0
    lines.finish()
    assert out.getvalue() == "train: done in 1 min 35 s, loss 0.1\n"


def test_log_says_nothing_of_a_step_shorter_than_a_second() -> None:
    clock, out = Clock(), io.StringIO()
    lines = Lines(out, clock=clock)
    lines.start("fold", 1)
    clock.now = 0.9
    lines.finish()
    assert out.getvalue() == ""


def test_log_of_unknown_total_counts_without_one() -> None:
    clock, out = Clock(), io.StringIO()
    lines = Lines(out, clock=clock)
    lines.start("reading", 0)
    clock.now = 10.0
    lines.advance(7)
    assert out.getvalue() == "reading: 7\n"


def test_log_has_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    with shown() as progress:
        progress.say("v0: 91.2 %")
        progress.start("v0: train", 1)
        progress.advance()
        progress.finish()
    assert capsys.readouterr().err == "v0: 91.2 %\n"


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(quiet=True) as progress:
        progress.say("v0")
    assert isinstance(progress, Silent)
    assert capsys.readouterr() == ("", "")


def test_stdout_is_left_to_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    with shown() as progress:
        progress.say("v0")
    assert capsys.readouterr().out == ""


def terminal(width: int = 80) -> tuple[Bars, io.StringIO]:
    out = io.StringIO()
    return Bars(Console(file=out, force_terminal=True, width=width, color_system=None)), out


def test_bars_show_the_open_steps_with_count_and_note() -> None:
    bars, _ = terminal()
    bars.start("ladder on blue_marble", 14)
    bars.advance(3)
    bars.start("v1: train", 300)
    bars.advance(40, "loss 0.312")
    out = io.StringIO()
    Console(file=out, width=80).print(bars.live.get_renderable())
    outer, inner = out.getvalue().splitlines()
    assert outer.startswith("ladder on blue_marble")
    assert "3/14" in outer
    assert inner.startswith("  v1: train")
    assert "40/300" in inner
    assert "loss 0.312" in inner


def test_bar_of_a_finished_step_vanishes() -> None:
    bars, _ = terminal()
    bars.start("outer", 2)
    bars.start("inner", 5)
    bars.finish()
    assert [task.description for task in bars.live.tasks] == ["outer"]


def test_brackets_in_a_name_are_not_taken_for_markup() -> None:
    bars, out = terminal()
    with bars.live:
        bars.say("v0 [bold]: done")
    assert "v0 [bold]: done" in out.getvalue()


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX systems")
def test_terminal_gets_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with shown() as progress:
        assert isinstance(progress, Bars)


def test_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with shown() as progress:
        assert isinstance(progress, Lines)
