"""``flyweight prune``: what is written opens as a smaller model; what stays is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flyweight.cli import main
from flyweight.cli.prune import CRITERIA
from flyweight.flow import open_model
from flyweight.profile import profile_module
from flyweight.prune import CRITERIA as KNOWN

NET = "fd_mobilenet_0.25"


def ran(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["prune", *arguments], prog_name="flyweight")


def test_the_file_opens_with_the_macs_that_were_printed(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "half.safetensors"
    result = ran(NET, "--keep-macs", "0.5", "--criterion", "geometric_median", "-o", str(path), "--json")
    plan = json.loads(result.output)
    assert plan["difference_from_zeroed"] < 1e-5
    opened = open_model(str(path))
    assert profile_module(opened.module, torch.zeros(opened.input_shape)).macs == plan["macs"][1] <= plan["macs"][0] / 2
    assert opened.history[-1].transform == "prune_channels"


def test_a_dry_run_writes_nothing_and_names_every_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = ran(NET, "--multiple", "8", "--dry-run")
    assert result.exit_code == 0
    assert "encoder.stem.conv" in result.output
    assert "nothing was written" in result.output
    assert not list(tmp_path.iterdir())


def test_a_goal_out_of_reach_ends_with_what_was_reached_and_exit_code_3() -> None:
    result = ran(NET, "--keep-macs", "0.01", "--dry-run")
    assert result.exit_code == 3
    assert "% of the MACs are left, not 1 %" in result.output


@pytest.mark.slow
def test_a_goal_of_time_is_measured_on_the_exported_file() -> None:
    result = ran(NET, "--keep-time", "0.7", "--dry-run", "--json", "-q")
    found = json.loads(result.output)
    assert found["time"]["after_us"] < found["time"]["before_us"]
    assert found["goal"]["scope"] == "gain"
    assert result.exit_code == (0 if found["reached"] else 3)


def test_layers_left_whole_are_named_with_the_reason_once_for_those_alike() -> None:
    result = ran("shiftnet_a", "--dry-run")
    lines = [line for line in result.output.splitlines() if line.startswith("left whole")]
    assert len(lines) == 1
    assert "takes channels by their numbers" in lines[0]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--criterion", "taylor"), "Add --data"),
        (("--keep-macs", "0.5", "--keep-params", "0.5"), "Give one of them"),
        (("--keep-time", "0.5", "--keep-params", "0.5"), "--keep-params and --keep-time are 2 goals"),
        (("--keep-time", "0.5", "--runtime", "onnx"), "onnxruntime"),
    ],
)
def test_wrong_use_says_what_to_do(arguments: tuple[str, ...], word: str) -> None:
    result = ran(NET, "--dry-run", *arguments)
    assert result.exit_code == 2
    assert word in result.output


def test_the_criteria_are_the_engines() -> None:
    assert tuple(KNOWN) == CRITERIA
