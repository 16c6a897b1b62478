"""What ``flyweight profile`` tells besides its table, on a network of two layers whose times are made up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor, nn

from flyweight import flow
from flyweight.cli import main
from flyweight.cli._analysis import check_busy, time_lines
from flyweight.contracts import Candidate, LayerTime, LayerTimes, Measurement, Preprocessing
from flyweight.errors import MeasurementError, UnknownOperatorError
from flyweight.measure import machine as machine_module
from flyweight.roofline import Machine

MACHINE = Machine("made up", 1, 50.0, 20.0, 80.0, 32 << 20, 16, 0.5, "none", "2026-01-01")
TIMES = LayerTimes(
    "onnxruntime", "1.0", 1, 10,
    (LayerTime("a", "Conv", "0", 60.0), LayerTime("b", "Conv", "1", 30.0), LayerTime("c", "Cast", None, 10.0)),
    run_us=104.0, cpu_us=100.0, busy=1.04,
)  # fmt: skip
TIMING = Measurement("onnxruntime", "1.0", "made up", 1, 10, 0.1, 0.1, 0.11, 0.1, 1.02, 5, 1, 2, 1)


@pytest.fixture
def found() -> flow.ModelProfile:
    module = nn.Sequential(nn.Conv2d(3, 40, 1), nn.Conv2d(40, 240, 1)).eval()
    counted = flow.profile_model(Candidate(module, Preprocessing(16, 16)), timed=False)
    rows, rest = flow.layer_rows(counted.profile, TIMES)
    return replace(counted, rows=rows, times=TIMES, measurement=TIMING, unattributed_us=rest)


@pytest.fixture
def command(found: flow.ModelProfile, monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(*options: str, profile: flow.ModelProfile = found) -> Result:
        monkeypatch.setattr(flow, "open_model", lambda *a, **k: None)
        monkeypatch.setattr(flow, "profile_model", lambda *a, **k: profile)
        monkeypatch.setattr(machine_module, "machine", lambda threads, remeasure: MACHINE)
        return CliRunner().invoke(main, ["profile", "made_up", *options], prog_name="flyweight")

    return run


# ---- trust ---------------------------------------------------------------------------------------------------------


def test_time_in_no_layer_has_a_line_of_its_own(found: flow.ModelProfile) -> None:
    lines = time_lines(found, "onnxruntime")
    assert "100 µs in 3 kernels, 100.0 % of a run's CPU time (100 µs)" in lines[0]
    assert lines[1] == "in no layer: 10 µs, 10.0 % of the kernels' time"
    assert len(lines) == 2


def test_busy_machine_is_told(found: flow.ModelProfile) -> None:
    last = time_lines(replace(found, times=replace(TIMES, busy=1.5)), "onnxruntime")[-1]
    assert last.startswith("doubtful: the machine was busy (wall clock 1.50 × CPU time")


@pytest.mark.parametrize("busy", ["times", "measurement"])
def test_busy_machine_is_refused_under_strict(found: flow.ModelProfile, command: Any, busy: str) -> None:
    check_busy(found)
    loaded = {"times": replace(TIMES, busy=1.21), "measurement": replace(TIMING, busy=1.21)}
    doubtful = replace(found, **{busy: loaded[busy]})
    with pytest.raises(MeasurementError, match=r"1\.21 × the CPU time; --strict allows 1\.2"):
        check_busy(doubtful)
    assert command("--strict", profile=doubtful).exit_code == 2
    assert command(profile=doubtful).exit_code == 0
    assert command("--strict").exit_code == 0


def test_runtime_without_timers_says_so_in_a_sentence(found: flow.ModelProfile) -> None:
    (line,) = time_lines(replace(found, times=None), "ncnn")
    assert line.startswith("not measured: layers. ncnn's package has no timers")


def test_unknown_operator_is_refused_under_strict() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.inv(x)

    candidate = Candidate(Odd().eval(), Preprocessing(4, 4))
    assert flow.profile_model(candidate, timed=False).profile.unknown
    with pytest.raises(UnknownOperatorError):
        flow.profile_model(candidate, timed=False, strict=True)


# ---- roofline and guidelines ---------------------------------------------------------------------------------------


def test_roofline_is_printed_with_its_machine_and_its_reasons(command: Any) -> None:
    result = command("--roofline")
    assert result.exit_code == 0, result.output
    assert "peak 50 GMAC/s (none), memory 20 GB/s, caches 80 GB/s; ridge at 2.5 MACs per byte" in result.stdout
    assert "memory-bound: 1 of 2 layers, 66.7 % of the time" in result.stdout  # the first: 60 of 90 µs
    macs = 16 * 16 * 3 * 40
    assert f"{macs / 60 / 1e3:.3f}" in result.stdout  # 0.512 GMAC/s
    assert "3 to 40 channels, where a vector holds 16" in result.stdout


def test_roofline_without_times_is_wrong_use(command: Any, found: flow.ModelProfile) -> None:
    assert command("--roofline", "--no-time").exit_code == 2
    result = command("--roofline", "--runtime", "ncnn", profile=replace(found, times=None))
    assert result.exit_code == 2
    assert "needs times of single layers" in result.stderr


def test_guidelines_are_summed_up_and_the_broken_ones_named(command: Any) -> None:
    result = command("--guidelines")
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("G1")]
    assert line.split()[1:4] == ["0", "of", "1"]
    assert "G1    1: 40 to 240 channels: 1.3" in result.stdout


def test_json_holds_what_was_asked_for(command: Any, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    command("--json", str(path))
    assert {"roofline", "guidelines"}.isdisjoint(json.loads(path.read_text()))
    command("--roofline", "--guidelines", "--json", str(path))
    read = json.loads(path.read_text())
    assert read["roofline"]["machine"] == MACHINE.to_json()
    assert [point["name"] for point in read["roofline"]["points"]] == ["0", "1"]
    assert {"layer", "guideline", "figure", "limit", "sentence", "broken"} == set(read["guidelines"][0])
    assert read["measured_layers"]["cpu_us"] == 100


# ---- files ---------------------------------------------------------------------------------------------------------


def test_a_page_and_a_markdown_table_are_written(command: Any, tmp_path: Path) -> None:
    page, table = tmp_path / "net.html", tmp_path / "net.md"
    result = command("--html", str(page), "--markdown", str(table), "--guidelines", "--roofline")
    assert result.exit_code == 0, result.output
    text = page.read_text()
    for name in ("modules", "memory", "roofline", "networks", "method"):
        assert f'<section id="{name}"' in text
    lines = table.read_text().splitlines()
    assert lines[0] == "| module | operator | output | MACs | parameters | µs |"
    assert lines[2].startswith("| 0 | conv | 1×40×16×16 | 30,720 | 160 | 60.0 |")  # 3 · 40 · 16² = 30,720 MACs
