"""The text of a box, and how large the box must be for it."""

from __future__ import annotations

from dataclasses import dataclass

from flyweight.report import _format as fmt
from flyweight.report.drawing import _text
from flyweight.report.drawing._units import Unit

WORDS_PX, NOTE_PX, SHAPE_PX, FRAME_PX = 11.0, 9.0, 9.0, 10.0  # font sizes
PAD_X, PAD_Y, LEADING = 8.0, 5.0, 3.0
WIDEST, NARROWEST = 230.0, 44.0
TIMES_GAP = 12.0  # between a name at the left and a figure at the right


@dataclass(frozen=True)
class Line:
    """One line of a box: text at the left (or in the middle, of a box without a figure) and at the right."""

    left: str
    right: str
    size: float
    bold: bool = False
    soft: bool = False


@dataclass(frozen=True)
class Card:
    """The lines of a box, its size in px and, where it has one, what it costs as a share of the dearest (0 to 1)."""

    lines: tuple[Line, ...]
    width: float
    height: float
    small: bool  # a single short line, as of an addition
    shade: float | None = None
    about: str = ""


def card(unit: Unit, figure: str = "", shade: float | None = None, above: str = "", about: str = "") -> Card:
    """Return the card of a unit.

    Args:
        figure: what it costs, in words. shade: the same as a share of the dearest box.
        above: the module around it, whose path needn't be said again.
        about: a tooltip.
    """
    name = unit.path.removeprefix(f"{above}.") if above else unit.path
    joined = f"{unit.words} · {unit.notes}" if unit.notes else unit.words
    brief = not name and not figure and _text.width(joined, WORDS_PX) <= 110
    lines = [
        Line(text, "", WORDS_PX, bold=True)
        for text in _text.wrapped(joined if brief else unit.words, WORDS_PX, WIDEST, bold=True)
    ]
    if unit.notes and not brief:
        lines += [Line(text, "", NOTE_PX) for text in _text.wrapped(unit.notes, NOTE_PX, WIDEST)]
    if name != unit.words and (name or figure):
        room = WIDEST - (_text.width(figure, NOTE_PX) + TIMES_GAP if figure else 0)
        lines.append(Line(_text.shortened(name, NOTE_PX, room), figure, NOTE_PX, soft=True))
    width = max(_line_width(line) for line in lines) + 2 * PAD_X
    height = sum(line.size for line in lines) + LEADING * (len(lines) - 1) + 2 * PAD_Y
    small = len(lines) == 1
    return Card(tuple(lines), max(width, NARROWEST), height, small, shade, about)


def _line_width(line: Line) -> float:
    left = _text.width(line.left, line.size, bold=line.bold)
    right = _text.width(line.right, line.size) if line.right else 0.0
    return left + right + (TIMES_GAP if left and right else 0.0)


def shape_width(shape: tuple[int, ...]) -> float:
    """Return the width of a shape as it stands on an edge, with its distance from the edge."""
    return _text.width(fmt.shape(shape), SHAPE_PX) + 10
