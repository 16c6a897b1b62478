"""flyweight compare, and the limits that end with exit code 3."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flyweight.cli import main

A, B = "mobilenet_v2_0.35_96", "mobilenet_v2_0.5_96"


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args], prog_name="flyweight")


def test_layers_that_differ_most_are_listed_under_the_totals() -> None:
    result = run("compare", A, B, "--top", "3")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[3:9]] == ["counted", "MACs", "parameters", "weights,", "moved,", "peak"]
    start = next(i for i, line in enumerate(lines) if line.startswith("layer "))
    assert len([line for line in lines[start + 1 :] if line.startswith(("encoder", "head"))]) == 3
    assert lines[-1].startswith("… and ")


def test_files_hold_every_layer(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("c.json", "c.csv", "c.md")]
    result = run("compare", A, B, "--json", files[0], "--csv", files[1], "--md", files[2])
    assert result.exit_code == 0, result.stderr
    layers = json.loads(files[0].read_text())["layers"]
    rows = list(csv.DictReader(io.StringIO(files[1].read_text())))
    assert [row["macs_b"] for row in rows] == [str(layer["b"]["macs"]) for layer in layers]
    assert files[2].read_text().count("\n| encoder.") == sum(row["module_a"].startswith("encoder.") for row in rows)


def test_larger_than_allowed_ends_with_3_and_smaller_with_0() -> None:
    larger, smaller = run("compare", A, B, "--max-larger", "5%"), run("compare", B, A, "--max-larger", "5%")
    assert (larger.exit_code, smaller.exit_code) == (3, 0)
    assert larger.stderr == "Error: over budget: more weights.\n"
    assert "EXCEEDED: more weights" in larger.stdout


def test_slower_needs_a_measurement() -> None:
    result = run("compare", A, B, "--max-slower", "5%")
    assert result.exit_code == 2
    assert "--max-slower needs a measurement. Add --time." in result.stderr


@pytest.mark.slow
def test_both_are_timed_taking_turns() -> None:
    result = run("compare", A, "mobilenet_v2_1.0", "--time", "--quiet", "--max-slower", "10%")
    assert result.exit_code == 3, result.stderr
    assert "taking turns" in result.stdout
    assert "EXCEEDED: more time" in result.stdout


@pytest.mark.parametrize(
    ("limit", "code"),
    [("--max-macs=12M", 0), ("--max-macs=11M", 3), ("--max-params=1.6M", 3), ("--max-bytes=8MiB", 0),
     ("--max-peak=100KiB", 3)],
)  # fmt: skip
def test_profile_ends_with_3_over_a_limit(limit: str, code: int) -> None:
    result = run("profile", A, "--no-time", limit)
    assert result.exit_code == code, result.stderr
    assert result.stdout.splitlines()[-1].startswith("EXCEEDED: " if code else "kept: ")


def test_a_limit_on_the_time_without_time_and_a_limit_that_is_no_number_are_wrong_use() -> None:
    for args, message in ((("--max-ms", "5"), "needs a measurement"), (("--max-macs", "many"), "such as 300M")):
        result = run("profile", A, "--no-time", *args)
        assert result.exit_code == 2
        assert message in result.stderr
