"""How wide a text is, before anything draws it.

The width of each character is that of the wider of two fonts: Aileron, which Pillow brings along and which the
pictures carry, and Arial's metrics (Helvetica, Liberation Sans and Arimo share them), which a viewer without embedded
fonts falls back to. So a text fits its box whichever of them is used.
"""

from __future__ import annotations

from types import MappingProxyType

EM = 1000
# ASCII from the blank on, in thousandths of the font's size: the larger of Aileron's and Arial's advance widths.
_ASCII = (
    278, 278, 355, 580, 580, 889, 667, 191, 333, 333, 560, 584, 278, 333, 278, 303,
    580, 580, 580, 580, 580, 580, 580, 580, 580, 580, 278, 278, 584, 584, 584, 556,
    1015, 667, 667, 722, 722, 667, 611, 778, 730, 278, 544, 667, 575, 866, 722, 778,
    667, 778, 722, 667, 612, 722, 667, 952, 667, 667, 611, 307, 303, 295, 580, 556,
    333, 556, 611, 529, 615, 556, 290, 615, 593, 238, 233, 522, 247, 855, 593, 586,
    611, 615, 333, 500, 313, 592, 514, 785, 500, 513, 500, 334, 260, 334, 584,
)  # fmt: skip
WIDTHS = MappingProxyType(
    {chr(32 + index): width for index, width in enumerate(_ASCII)}
    | {"×": 584, "→": 1000, "·": 278, "…": 1000, "–": 580, "−": 584, "\u202f": 200, "\u00a0": 278}
)
UNKNOWN = 1000  # any other character, e.g. of a module that is named in Chinese
# Bold text is drawn with an outline, and a little apart: there is no second font. In font sizes.
BOLD_STROKE, BOLD_SPACING = 0.04, 0.012
ASCENT, DESCENT = 0.76, 0.23  # of the font's size; the tallest and deepest letters


def width(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width of a line in px at a font size in px."""
    total = sum(WIDTHS.get(char, UNKNOWN) for char in text) * size / EM
    return total + ((BOLD_STROKE + BOLD_SPACING * len(text)) * size if bold else 0.0)


def shortened(text: str, size: float, room: float, *, bold: bool = False) -> str:
    """Return ``text``, with its middle left out where it is wider than ``room`` px."""
    if width(text, size, bold=bold) <= room:
        return text
    for kept in range(len(text) - 1, 1, -1):
        head = kept // 3
        short = text[:head] + "…" + text[len(text) - (kept - head) :]
        if width(short, size, bold=bold) <= room:
            return short
    return "…"


def wrapped(text: str, size: float, room: float, *, bold: bool = False) -> tuple[str, ...]:
    """Return ``text`` in lines of at most ``room`` px, broken at blanks; a longer word is shortened."""
    lines: list[str] = []
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and width(joined, size, bold=bold) <= room:
            lines[-1] = joined
        else:
            lines.append(shortened(word, size, room, bold=bold))
    return tuple(lines)
