"""``flyweight fixed-point``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from flyweight.cli import main
from tests.fixed_point import nets


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small quantized file."""
    return nets.quantized(nets.mobilenet_v2(), tmp_path_factory.mktemp("net") / "int8.onnx")


def fly(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["fixed-point", *(str(argument) for argument in arguments)])


@pytest.mark.filterwarnings("ignore")
def test_figures_by_operator_and_as_json_say_that_nothing_differs(model: Path, tmp_path: Path) -> None:
    result = fly(model, "--random", 2, "--rounding", "onnxruntime,shift", "--json", tmp_path / "out.json", "-q")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith("int8.onnx: 16 integer operators, sums of at most ")
    assert "rounding onnxruntime, 2 images" in lines and "rounding shift, 2 images" in lines
    exact = next(line for line in lines if "elements differ" in line)
    assert exact == "0 of 35,028 elements differ: bit for bit as ONNX Runtime; of the outputs 0 of 20."
    figures = json.loads((tmp_path / "out.json").read_text())["rounding"]["onnxruntime"]
    assert sum(step["elements"] for step in figures["steps"]) == 35_028 and figures["intact"]


@pytest.mark.filterwarnings("ignore")
def test_all_lists_every_node_on_images_of_a_folder(model: Path, tmp_path: Path) -> None:
    for index in range(2):
        pixels = np.random.default_rng(index).integers(0, 256, (40, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    result = fly(model, "--images", tmp_path, "--rounding", "onnxruntime", "--all", "-q")
    assert result.exit_code == 0, result.output
    assert "rounding onnxruntime, 2 images" in result.output
    assert "conv0 " in result.output and "gemm" in result.output


def test_constants_are_written_without_any_comparison(model: Path, tmp_path: Path) -> None:
    result = fly(model, "--against", "nothing", "--dump", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "network.json").is_file()
    assert "rounding" not in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--rounding", "shft"), "no rounding rule is named 'shft'. Did you mean shift?"),
        (("--against", "nothing"), "--against nothing leaves nothing to do without --dump FOLDER"),
        (("--images", "nowhere", "--random", "2"), "Give one of them"),
        (("--images", "nowhere"), "nowhere: no PNG or JPEG image in it"),
    ],
)
def test_wrong_use_is_one_sentence(model: Path, arguments: tuple[str, ...], said: str) -> None:
    result = fly(model, *arguments)
    assert result.exit_code == 2
    assert said in result.output
