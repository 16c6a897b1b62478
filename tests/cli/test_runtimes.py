from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from flyweight import environments
from flyweight.cli import main
from tests.test_environments import HOLDS_ALL, python


@pytest.fixture(autouse=True)
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in environments.NEEDS:
        monkeypatch.delenv(environments.variable(name), raising=False)


def test_add_lists_and_removes(tmp_path: Path) -> None:
    folder = python(tmp_path / "env", HOLDS_ALL)
    added = CliRunner().invoke(main, ["runtimes", "add", "executorch", str(folder)])
    assert added.output == f"executorch: {folder}/bin/python (executorch 1.5.1, torch 2.13.0)\n"
    removed = CliRunner().invoke(main, ["runtimes", "remove", "executorch"])
    assert removed.exit_code == 0
    assert (folder / "bin" / "python").exists()


def test_every_runtime_is_listed_with_its_version_or_what_to_install() -> None:
    shown = CliRunner().invoke(main, ["runtimes"])
    assert shown.exit_code == 0
    names = [line.split()[0] for line in shown.output.splitlines()[1:] if line.strip()]
    assert {"onnxruntime", "litert"} <= set(names)
    assert "flyweight runtimes add litert ~/flyweight-litert" in shown.output


@pytest.mark.parametrize("words", [["add"], ["add", "litert"], ["remove"], ["remove", "litert", "x"]])
def test_half_a_command_says_the_whole(words: list[str]) -> None:
    shown = CliRunner().invoke(main, ["runtimes", *words])
    assert shown.exit_code == 2
    assert f"write: flyweight runtimes {words[0]} NAME" in shown.output
