"""What commands print on stdout: as wide as the terminal, and whole (no colours, nothing cut) in a pipe or a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PIPE_WIDTH = 200  # columns where no terminal sets a limit
MISSING = "\N{EN DASH}"


def console() -> Console:
    """Return the console of stdout."""
    from rich.console import Console

    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def print_whole(*parts: RenderableType) -> None:
    """Print parts, each as it renders itself at the width there is; lines have no blanks at their end."""
    out = console()
    with out.capture() as captured:
        for part in parts:
            out.print(part)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def print_table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1, last_is_text: bool = False
) -> None:
    """Print ``rows`` under ``headers``; the first ``left`` columns are text, and the last one may be; else figures."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for index, header in enumerate(headers):
        text = index < left or (last_is_text and index == len(headers) - 1)
        table.add_column(header, justify="left" if text else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    print_whole(table)


def say(line: str = "") -> None:
    """Print one line on stdout."""
    click.echo(line)


def si(value: float | None) -> str:
    """Return a figure of three significant digits with its SI prefix: 568 M, 4.23 M, 999; an unknown one is a dash."""
    if value is None:
        return MISSING
    for factor, prefix in ((1.0, ""), (1e3, " k"), (1e6, " M"), (1e9, " G"), (1e12, " T")):
        scaled = value / factor
        if abs(scaled) < 999.5:
            digits = 0 if factor == 1.0 else 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
            return f"{scaled:.{digits}f}{prefix}"
    return f"{value:.2e}"


def dims(shape: Sequence[int]) -> str:
    """Return a shape as 32x80x80; a batch of one in front of it is left out."""
    own = shape[1:] if len(shape) > 1 and shape[0] == 1 else shape
    return "x".join(map(str, own))
