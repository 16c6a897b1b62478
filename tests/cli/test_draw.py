"""``flyweight draw``: a file of the format that its ending names, or one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flyweight.cli import main

MODEL = "mobilenet_v1_0.25_128"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["draw", *arguments], prog_name="flyweight")


@pytest.mark.parametrize(("ending", "start"), [("svg", b"<svg"), ("pdf", b"%PDF"), ("png", b"\x89PNG")])
@pytest.mark.parametrize("color", ["macs", "memory"])
def test_a_picture_is_written(tmp_path: Path, ending: str, start: bytes, color: str) -> None:
    file = tmp_path / f"net.{ending}"
    result = run(MODEL, "-o", str(file), "--color", color)
    assert result.exit_code == 0, result.output
    assert start in file.read_bytes()[:100]
    assert f"net.{ending}: " in result.output and " boxes, " in result.output


def test_measured_times_colour_a_users_own_network(tmp_path: Path) -> None:
    code = tmp_path / "own.py"
    code.write_text("from torch import nn\n\ndef build():\n    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())\n")
    result = run(f"{code}:build", "-o", str(tmp_path / "own.svg"), "--color", "time", "--resolution", "32")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "own.svg").read_text()
    assert "measured, onnxruntime" in text
    assert "3×32×32" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-o", "net.gif"), "net.gif: pictures end in .svg, .pdf, .png. Name the file e.g. net.svg."),
        (("-o", "net.svg", "--paper", "a4"), "--paper is for PDF, but net.svg is SVG."),
        (("-o", "net.pdf", "--paper", "a44"), "no paper is named 'a44'. Did you mean a4"),
        (("-o", "net.pdf", "--scale", "2"), "--scale is for PNG; a PDF has no pixels."),
    ],
)
def test_what_a_format_does_not_allow_is_refused(arguments: tuple[str, ...], said: str) -> None:
    result = run(MODEL, *arguments)
    assert result.exit_code == 2
    assert said in result.output
