"""flyweight health: what it prints of a network with dead channels, and of one whose weights are random."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flyweight.cli import main
from flyweight.saved import save_candidate
from flyweight.testing import _networks as networks
from flyweight.testing._planted import planted


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["health", *map(str, args)], prog_name="flyweight")


@pytest.fixture(scope="module")
def ill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ill") / "ill.safetensors"
    save_candidate(path, planted(networks.inverted(), ("norm", "filter", "unread", "negative"))[0])
    return path


def test_findings_are_listed_counted_and_what_stays_has_its_reason(ill: Path) -> None:
    result = run(ill)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].endswith("by the weights")
    assert any("dead: filter is zero" in line for line in lines)
    assert any("unread: all weights that read it are zero" in line for line in lines)
    assert sum(line.startswith(("dead: ", "unread: ")) for line in lines) == 2
    assert any(line.startswith("without the removable ones (counted; outputs equal for all inputs)") for line in lines)
    assert "images" not in result.stdout


def test_images_add_what_is_dead_on_them_and_json_has_it_all(ill: Path) -> None:
    result = run(ill, "--data", "blue_marble", "--images", "4", "--json")
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    assert {finding["evidence"] for finding in data["findings"]} == {"weights", "4 images"}
    assert data["removal"]["by_images"]["params_left"] < data["removal"]["by_weights"]["params_left"]


def test_random_weights_get_no_diagnosis() -> None:
    result = run("mobilenet_v1_0.25_128")
    assert result.exit_code == 0
    assert "The weights are random: no diagnosis." in result.stdout
    assert "layer " not in result.stdout


def test_unknown_data_is_wrong_use_with_the_way_out(ill: Path) -> None:
    result = run(ill, "--data", "blue_marbel", "--quiet")
    assert result.exit_code == 2
    assert "Did you mean blue_marble" in result.stderr
