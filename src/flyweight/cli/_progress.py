"""How far the work has got, on stderr: bars in a terminal, else a plain line now and then, for logs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from flyweight.contracts import Progress, Silent

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

LINE_EVERY_S = 10.0
WORTH_A_LINE_S = 1.0  # a step that took less ends without a line of its own


@contextmanager
def shown(quiet: bool = False) -> Iterator[Progress]:
    """Yield what draws on stderr: nothing with ``quiet``, bars in a terminal, lines elsewhere."""
    if quiet:
        yield Silent()
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_interactive or console.is_dumb_terminal:
        yield Lines(sys.stderr)
        return
    bars = Bars(console)
    with bars.live:
        yield bars


class Bars:
    """One bar per open step, the innermost last; they vanish when their step is done."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        self._open: list[TaskID] = []
        self.live = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
            BarColumn(bar_width=18),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True, min_width=10)),
            console=console,
            transient=True,
            expand=True,
        )

    def start(self, what: str, total: int) -> None:
        """Open a step of ``total`` parts; 0 where the number is unknown."""
        self._open.append(self.live.add_task("  " * len(self._open) + what, total=total or None, note=""))

    def advance(self, n: int = 1, note: str = "") -> None:
        """Count ``n`` more parts as done."""
        self.live.update(self._open[-1], advance=n, note=note)

    def finish(self) -> None:
        """Close the innermost open step."""
        self.live.remove_task(self._open.pop())

    def say(self, line: str) -> None:
        """Print a line that stays, above the bars."""
        self.live.console.print(line, markup=False, highlight=False, soft_wrap=True)


@dataclass
class _Step:
    what: str
    total: int
    begun: float
    done: int = 0
    note: str = ""


class Lines:
    """A plain line at most every ``every_s`` seconds, and one for each step that took a second or more."""

    def __init__(
        self, stream: TextIO, every_s: float = LINE_EVERY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream, self._every_s, self._clock = stream, every_s, clock
        self._open: list[_Step] = []
        self._last = clock()

    def start(self, what: str, total: int) -> None:
        """Open a step of ``total`` parts; 0 where the number is unknown."""
        self._open.append(_Step(what, total, self._clock()))

    def advance(self, n: int = 1, note: str = "") -> None:
        """Count ``n`` more parts as done."""
        step = self._open[-1]
        step.done, step.note = step.done + n, note
        if self._clock() - self._last >= self._every_s:
            of_total = f"/{step.total}" if step.total else ""
            self._write(f"{self._path()}: {step.done}{of_total}" + (f", {note}" if note else ""))

    def finish(self) -> None:
        """Close the innermost open step."""
        path, step = self._path(), self._open.pop()
        seconds = self._clock() - step.begun
        if seconds >= WORTH_A_LINE_S:
            self._write(f"{path}: done in {_duration(seconds)}" + (f", {step.note}" if step.note else ""))

    def say(self, line: str) -> None:
        """Write a line."""
        self._write(line)

    def _path(self) -> str:
        return " > ".join(step.what for step in self._open)

    def _write(self, line: str) -> None:
        self._last = self._clock()
        self._stream.write(line + "\n")
        self._stream.flush()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
