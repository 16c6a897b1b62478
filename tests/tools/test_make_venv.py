"""tools/make_venv.sh: says in one line what a machine lacks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "make_venv.sh"


def run(python: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", str(SCRIPT), python, str(folder)], capture_output=True, text=True, check=False)


def fake_python(folder: Path, body: str) -> str:
    """Make a python that answers as a machine's would."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_missing_python_is_named_with_what_to_install(tmp_path: Path) -> None:
    done = run("python9.9", tmp_path / "venv")
    assert done.returncode == 2
    assert "there is no 'python9.9'. Install Python 3.11 or newer (Debian: apt-get install python3" in done.stderr


@pytest.mark.parametrize(
    ("failing", "words"),
    [
        ("version_info <", "is Python 3.10, but Flyweight needs 3.11 or newer"),
        ("ensurepip", "comes without venv or ensurepip. Install them (Debian: apt-get install python3.10-venv)"),
    ],
)
def test_unfit_python_is_told_apart_from_the_reason(tmp_path: Path, failing: str, words: str) -> None:
    python = fake_python(tmp_path, f'case "$2" in *print*) echo 3.10;; *"{failing}"*) exit 1;; esac')
    done = run(python, tmp_path / "venv")
    assert (done.returncode, words in done.stderr) == (2, True)
    assert not (tmp_path / "venv").exists()
