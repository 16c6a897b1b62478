"""The end of a run in the terminal: the ladder's table, and where the files lie."""

from __future__ import annotations

from pathlib import Path

from flyweight.cli._tables import print_whole, say
from flyweight.report.value import Report


def print_report(report: Report, folder: Path) -> None:
    """Print the ladder's table, the last rung's slowest layers, and the files that a reader opens next."""
    from flyweight.report.terminal import ladder_table, slowest_table

    ladder = [rung for rung in report.rungs if not rung.control]
    ends = dict.fromkeys((ladder[0].name, ladder[-1].name)) if ladder else {}
    print_whole(ladder_table(report), *(slowest_table(report.rung(name)) for name in ends))
    say()
    for name in ("report.html", "report.json"):
        if (folder / name).exists():
            say(str(folder / name))
