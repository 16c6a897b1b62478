"""Pythons of their own: named once, checked when they are named, and never a surprise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flyweight import environments
from flyweight.errors import FileError, RuntimeMissingError, UsageError

HOLDS_ALL = '{"python": [3, 12], "versions": {"executorch": "1.5.1", "torch": "2.13.0"}}'


@pytest.fixture(autouse=True)
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in environments.NEEDS:
        monkeypatch.delenv(environments.variable(name), raising=False)


def python(folder: Path, says: str) -> Path:
    """Return an environment's folder whose python prints a sentence, whatever it is asked."""
    program = folder / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\nprintf '%s' '{says}'\n")
    program.chmod(0o755)
    return folder


def test_nothing_named_tells_the_one_command() -> None:
    said = environments.missing("executorch") or ""
    assert "python3 -m venv" in said
    assert "pip install" in said
    assert said.endswith("flyweight runtimes add executorch ~/flyweight-executorch")


def test_environment_is_named_once_by_its_folder_and_forgotten(tmp_path: Path) -> None:
    place, found = environments.remember("executorch", python(tmp_path / "env", HOLDS_ALL))
    assert place == tmp_path / "env" / "bin" / "python"
    assert found == {"executorch": "1.5.1", "torch": "2.13.0"}
    assert environments.missing("executorch") is None
    assert json.loads(environments.config_file().read_text()) == {"executorch": str(place)}
    environments.forget("executorch")
    assert environments.python_of("executorch") is None
    assert place.exists()


def test_variable_is_taken_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environments.remember("executorch", python(tmp_path / "env", HOLDS_ALL))
    monkeypatch.setenv("FLYWEIGHT_EXECUTORCH_PYTHON", "/other/python")
    assert environments.python_of("executorch") == Path("/other/python")


@pytest.mark.parametrize(
    ("says", "said"),
    [
        ('{"python": [3, 12], "versions": {"torch": "2.13.0"}}', "lacks executorch. Install what it needs with: .*pip"),
        (HOLDS_ALL.replace("12", "9"), "is Python 3.9, but 3.11 is the oldest"),
        ("hello", "isn.t a Python that works"),
    ],
)
def test_environment_that_can_not_be_used_is_not_written_down(tmp_path: Path, says: str, said: str) -> None:
    with pytest.raises(RuntimeMissingError, match=said):
        environments.remember("executorch", python(tmp_path / "env", says))
    assert not environments.config_file().exists()


def test_other_names_and_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Known: executorch, litert"):
        environments.remember("ncnn", tmp_path)
    with pytest.raises(UsageError, match="no Python there"):
        environments.remember("litert", tmp_path)
    with pytest.raises(UsageError, match="no environment of 'litert' is written down"):
        environments.forget("litert")


def test_damaged_file_is_told_not_passed_over() -> None:
    environments.config_file().parent.mkdir(parents=True)
    environments.config_file().write_text('{"litert": 5}')
    with pytest.raises(FileError, match=r"runtimes\.json: not a list of runtimes' Pythons"):
        environments.python_of("litert")
    assert "runtimes.json" in (environments.missing("litert") or "")


def test_other_python_gets_this_flyweight_and_nothing_that_lies_beside_it(tmp_path: Path) -> None:
    """A module beside the package must not come in its place: beside it lie this environment's torch and numpy."""
    code = "import sys, flyweight.errors as e; print(e.__file__); print(sys.argv); print(*sys.path, sep='\\n')"
    (tmp_path / "flyweight").symlink_to(Path(environments.__file__).parent)
    shown = tmp_path / "shown.py"
    shown.write_text(code)
    command = environments.command(Path(sys.executable), "shown")
    boot = command[3].replace("module = ", "sys.path.append('.'); module = ")
    done = subprocess.run(
        [command[0], "-S", *command[1:3], boot, *command[4:], "x"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ,
    )
    file, arguments, *path = done.stdout.splitlines()
    assert Path(file) == Path(environments.__file__).parent / "errors.py"
    assert arguments.endswith("'x']")
    assert str(Path(environments.__file__).parents[1]) not in path
