"""The font that the pictures carry: Aileron Regular (CC0), which comes with Pillow; and the signs that it lacks."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from PIL import ImageFont

from flyweight.errors import RuntimeMissingError
from flyweight.report.drawing._text import EM, UNKNOWN, WIDTHS

# Signs that Aileron, as Pillow has it, lacks: strokes in font sizes, y upwards from the foot of the text.
STROKES = MappingProxyType(
    {
        "×": (((0.11, 0.13), (0.474, 0.497)), ((0.11, 0.497), (0.474, 0.13))),
        "→": (((0.1, 0.31), (0.88, 0.31)), ((0.66, 0.49), (0.89, 0.31), (0.66, 0.13))),
        "–": (((0.04, 0.28), (0.54, 0.28)),),
        "−": (((0.07, 0.31), (0.51, 0.31)),),
        "\u202f": (),
        "\u00a0": (),
    }
)
STROKE_WIDTH = 0.078
UNKNOWN_SIGN = (((0.12, 0.0), (0.88, 0.0), (0.88, 0.7), (0.12, 0.7), (0.12, 0.0)),)  # an empty box


@dataclass(frozen=True)
class Run:
    """A part of a text that the font has, or one sign drawn by strokes; x is from the text's beginning, in px."""

    x: float
    text: str
    strokes: tuple[tuple[tuple[float, float], ...], ...] | None = None


@cache
def font_bytes() -> bytes:
    """Return the font as a TrueType file; empty where Pillow was built without FreeType."""
    return bytes(getattr(ImageFont.load_default(size=10), "font_bytes", b""))


def font_data_uri() -> str:
    """Return the font as a data URI; '' where there is none: a viewer then takes one of its own."""
    data = font_bytes()
    return f"data:font/ttf;base64,{base64.b64encode(data).decode('ascii')}" if data else ""


def needed_font_bytes() -> bytes:
    """Return the font as a TrueType file.

    Raises:
        RuntimeMissingError: this Pillow can't give it.
    """
    if data := font_bytes():
        return data
    raise RuntimeMissingError(
        "this Pillow was built without FreeType, so that there is no font for PNG and PDF. Install Pillow from its "
        "wheel (pip install --force-reinstall pillow), or draw an SVG."
    )


@cache
def font_at(size_px: float) -> ImageFont.FreeTypeFont:
    """Return the font at a size."""
    return ImageFont.truetype(io.BytesIO(needed_font_bytes()), size_px, layout_engine=ImageFont.Layout.BASIC)


@cache
def in_font(char: str) -> bool:
    """Whether the font has a sign of its own for a character."""
    if char == " ":
        return True
    font = font_at(64)
    return bytes(font.getmask(char)) != bytes(font.getmask("\uffff")) if char not in STROKES else False


@cache
def advance(char: str) -> float:
    """Return the width of a character as it is drawn, in font sizes."""
    if in_font(char):
        return font_at(EM).getlength(char) / EM
    return WIDTHS.get(char, UNKNOWN) / EM


def drawn_width(text: str, size: float, spacing: float = 0.0) -> float:
    """Return the width of a text as it is drawn, in px; ``spacing`` stands between two characters, in font sizes."""
    return (sum(map(advance, text)) + spacing * max(len(text) - 1, 0)) * size


def runs(text: str, size: float, spacing: float = 0.0) -> Iterator[Run]:
    """Yield the parts of a text: what the font has, and single signs that it lacks."""
    x, begun, kept = 0.0, 0.0, ""
    for char in text:
        if in_font(char):
            begun, kept = (begun, kept + char) if kept else (x, char)
        else:
            if kept:
                yield Run(begun, kept)
            kept = ""
            yield Run(x, char, STROKES.get(char, UNKNOWN_SIGN))
        x += (advance(char) + spacing) * size
    if kept:
        yield Run(begun, kept)
