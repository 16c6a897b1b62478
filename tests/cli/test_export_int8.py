"""``flyweight export --precision int8``: methods, layers in float, and what each layer costs."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from flyweight.cli import main
from flyweight.cli._progress import Lines
from flyweight.cli.export import METHODS, _Layers
from flyweight.contracts import DEFAULT_METHOD, Int8Method
from flyweight.quantize import METHODS as KNOWN

NETWORK = ("fd_mobilenet_0.25", "--resolution", "64", "--precision", "int8", "--to", "onnx")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a folder of two classes of smooth noise."""
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir()
        for index in range(12):
            image = Image.fromarray(random.integers(0, 255, (4, 4, 3), np.uint8)).resize((64, 64))
            image.save(folder / name / f"{index}.png")
    return str(folder)


def ran(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["export", *NETWORK, *arguments], prog_name="flyweight")


def test_methods_are_those_that_a_candidate_can_ask_for_and_one_is_everybodys_default() -> None:
    assert set(METHODS) == set(get_args(Int8Method)) == set(KNOWN)
    assert METHODS[0] == DEFAULT_METHOD == "best"


@pytest.mark.slow
def test_layers_that_no_drop_leaves_in_float_are_printed_and_written(photographs: str, tmp_path: Path) -> None:
    result = ran("--data", photographs, "--method", "minmax", "--max-drop", "0", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "agrees with float on 100.00 % of validation" in result.output
    printed = [line.split(": ")[1] for line in result.output.splitlines() if line.startswith("stays float")]
    told = json.loads((tmp_path / "int8/onnxruntime/artifact.json").read_text())
    assert printed == [note.split(": ")[1] for note in told["notes"] if "(asked for)" in note]
    assert f"layers in float: {len(printed)}" in result.output


def test_the_cost_of_every_layer_alone_is_printed_the_dearest_first(photographs: str, tmp_path: Path) -> None:
    result = ran("--data", photographs, "--method", "minmax", "--sensitivity", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    at = next(i for i, line in enumerate(result.output.splitlines()) if "error of the outputs, %" in line)
    rows = [line.split() for line in result.output.splitlines()[at + 1 :]]
    errors = [float(row[1]) for row in rows[: next(i for i, row in enumerate(rows) if len(row) != 2)]]
    assert len(errors) > 15
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--precision", "fp32", "--max-drop", "1"), "int8 of a float network"),
        (("--to", "onnx,litert", "--max-drop", "1"), "not litert"),
        (("--max-drop", "-1"), "0 to 100"),
    ],
)
def test_what_a_drop_is_not_for_is_said(
    arguments: tuple[str, ...], words: str, photographs: str, tmp_path: Path
) -> None:
    result = ran("--data", photographs, *arguments, "--out", str(tmp_path))
    assert result.exit_code != 0
    assert words in " ".join(str(part) for part in (result.output, result.exception))


def test_a_step_of_quantizing_is_shown_part_by_part_and_ends() -> None:
    stream = io.StringIO()
    times = iter(range(100))
    tell = _Layers(Lines(stream, every_s=0, clock=lambda: float(next(times))))
    for done in range(4):
        tell("fits weights, layer by layer", done, 3)
    lines = stream.getvalue().splitlines()
    assert lines[0].endswith("int8: fits weights, layer by layer: 1/3")
    assert "done in" in lines[-1]
