"""``flyweight bench``: its table, on figures that are made up, and what it refuses before it begins."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flyweight import bench as package
from flyweight.cli import main
from flyweight.contracts import Measurement
from flyweight.report.bench_value import Bench, BenchRow, Fidelity, ProgramTimes


def measured(runtime: str, threads: int, busy: float = 1.0) -> Measurement:
    return Measurement(
        runtime, "1.0", "made up", threads, 100, 2.5, 2.25, 3.0, 2.5, busy, 80, 9, 50_000_000, 30_000_000
    )


def row(runtime: str, precision: str, threads: int = 1, busy: float = 1.0, refused: str = "") -> BenchRow:
    if refused:
        return BenchRow("net", runtime, "1.0", precision, threads, refused=refused)
    fidelity = Fidelity(16, 0.04, 0.008, 0.9375, "top-1", 0.75)
    return BenchRow(
        "net", runtime, "1.0", precision, threads, 515_100, "ab", ("stays float: stem",), fidelity,
        measured(runtime, threads, busy),
    )  # fmt: skip


FOUND = Bench(
    (
        row("onnxruntime", "int8", 1),
        row("onnxruntime", "int8", 2, busy=1.5),
        row("ncnn", "int8", 1, refused="it can't"),
        row("ncnn", "int8", 2, refused="it can't"),
    ),
    {"net": "16 images of photos"},
    {"net": Fidelity(16, metric="top-1", accuracy=0.8125)},
    {"hardware": "made up"},
)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "bench", lambda models, settings, progress: FOUND)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["bench", *arguments, "-q"], prog_name="flyweight")


def test_table_has_a_line_per_row_and_one_per_file(made_up: None) -> None:
    result = run("net")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["onnxruntime", "int8", "1", "2.50", "2.25", "3.00", "2.50", "–", "80.0", "9.00", "50.0"] in lines
    assert ["onnxruntime", "int8", "2", "2.50", "2.25", "3.00", "2.50", "–", "80.0", "9.00", "50.0", "busy"] in lines
    assert ["onnxruntime", "int8", "515.1", "4.0e-02", "8.0e-03", "93.75", "75.00"] in lines
    assert ["pytorch", "fp32", "–", "–", "–", "–", "81.25"] in lines


def test_what_was_refused_and_a_busy_machine_are_said_once(made_up: None) -> None:
    text = run("net").stdout
    assert text.count("refused: ncnn int8: it can't") == 1
    assert text.count("note: onnxruntime int8: stays float: stem") == 1
    assert "the machine was busy during 1 of 2 rows" in text
    assert "compared with PyTorch on 16 images of photos" in text
    assert "mJ" not in text  # no counter, no column


def test_json_file_has_every_row(made_up: None, tmp_path: Path) -> None:
    assert run("net", "--json", str(tmp_path / "b.json")).exit_code == 0
    data = json.loads((tmp_path / "b.json").read_text())
    assert [r["refused"] for r in data["rows"]] == ["", "", "it can't", "it can't"]
    assert data["rows"][0]["measurement"]["energy_mj"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["net", "--precision", "fp64"], "no precision is named 'fp64'"),
        (["net", "--runtimes", "tensorrt"], "no runtime is named 'tensorrt'"),
        (["net", "--threads", "0"], "'0' is not a whole number"),
        (["net", "--binary", "benchncnn"], "wanted is RUNTIME=PATH"),
        (["net", "--device", "usb:1", "--dry-run"], "wanted is ssh:HOST or adb:SERIAL"),
    ],
)
def test_wrong_use_ends_before_anything_is_done(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_what_a_phones_program_tells_is_a_table_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    times = ProgramTimes("benchncnn", "a phone", 50, 2.5, 2.25, 3.0)
    found = Bench(
        (replace(row("ncnn", "fp32"), measurement=None, program=times),), {"net": "16 images of photos"}, {},
        {"hardware": "this computer"}, device="adb:0123",
    )  # fmt: skip
    monkeypatch.setattr(package, "bench", lambda models, settings, progress: found)
    lines = run("net", "--device", "adb:0123", "--binary", "ncnn=x").stdout.splitlines()
    assert ["ncnn", "fp32", "1", "2.50", "–", "–", "2.25", "3.00", "–", "–", "–", "–"] in [
        line.split() for line in lines
    ]
    assert "outputs: computed on this machine; a phone's benchmark program shows none" in lines
    assert any(line.startswith("measured on adb:0123: a phone; ncnn 1.0") for line in lines)


def test_a_dry_run_says_where_times_would_be_taken() -> None:
    result = run("squeezenet_1.1", "--runtimes", "ncnn", "--device", "ssh:pi@board", "--dry-run")
    assert "time on ssh:pi@board at 1 threads" in result.stdout


def test_nothing_measured_is_not_success(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = Bench((row("ncnn", "fp32", refused="it can't"),), {}, {}, {"hardware": "made up"})
    monkeypatch.setattr(package, "bench", lambda models, settings, progress: refused)
    result = run("net")
    assert result.exit_code == 2
    assert "refused: ncnn fp32: it can't" in result.stdout
