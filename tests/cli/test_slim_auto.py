"""``slim --auto``: its options, its dry run, its exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner, Result

from flyweight import auto
from flyweight.auto import AutoResult
from flyweight.budget import Verdict
from flyweight.cli import _report, main
from tests import tiny


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args], prog_name="flyweight")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.paint(tmp_path_factory.mktemp("discs"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--max-ms", 1), "--max-ms is for --auto. Add --auto, or leave it out."),
        (("--final-steps", 9), "--final-steps is for --auto."),
        (("--auto",), "--auto needs a budget to walk to: --max-ms, --max-bytes, or both."),
        (("--auto", "--max-ms", 1, "--rungs", "v0"), "--rungs names rungs of a plan, but --auto finds its own."),
        (("--auto", "--max-bytes", "4 potatoes"), "4 potatoes"),
        (("--auto", "--max-ms", 1, "--runtimes", "ncnn"), "need onnxruntime among --runtimes"),
    ],
)
def test_options_that_do_not_go_together_are_refused(data: Path, options: tuple[object, ...], message: str) -> None:
    result = run("slim", data, "--plan", "tiny", "--dry-run", *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_dry_run_says_the_bounds_and_writes_nothing(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = run("slim", data, "--plan", "tiny", "--auto", "--max-bytes", "20kB", "--out", out, "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert "until  20000 B" in result.stdout
    assert not out.exists()


def test_a_budget_that_can_not_be_kept_exits_with_3_and_names_one_that_would(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def walk(name: str, out: Path, goal: auto.Goal, **others: Any) -> AutoResult:
        verdict = Verdict("time", "measured", 0.7, 0.1, "ms", holds=False)
        return AutoResult(cast(Any, None), "a2", False, (verdict,), "nothing more pays at a2", "--max-ms 0.74")

    monkeypatch.setattr(auto, "slim_auto", walk)
    monkeypatch.setattr(_report, "print_report", lambda report, folder: None)
    result = run("slim", data, "--plan", "tiny", "--auto", "--max-ms", 0.1, "--out", tmp_path)
    assert result.exit_code == 3
    assert "EXCEEDED" in result.stdout
    assert result.stderr.endswith("a2 is the nearest that was found. It would keep: --max-ms 0.74.\n")
