"""``flyweight latency``, calibrated by networks that are made up, on a spec small enough to measure for real."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner, Result

from flyweight import calibration
from flyweight.cli import main
from flyweight.cli._onnx import profile_file
from flyweight.contracts import BUSY
from flyweight.measure.kernels import KernelTable, keep_table
from flyweight.runtimes.onnxruntime import OnnxRuntime
from tests.runtimes import nets
from tests.test_latency import samples

MODEL = "squeezenet_1.1"


@pytest.fixture(autouse=True)
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KernelTable:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = samples(count=len(calibration.NETWORKS))
    named = tuple(replace(each, name=name) for each, name in zip(made, calibration.NETWORKS, strict=True))
    table = KernelTable(1, {}, named)
    keep_table(table)
    return table


def run(*options: str) -> Result:
    return CliRunner().invoke(main, ["latency", MODEL, "--resolution", "64", "-q", *options], prog_name="flyweight")


def test_estimate_stands_beside_what_macs_say_and_what_was_measured() -> None:
    result = run("--measure")
    assert result.exit_code == 0, result.output
    for words in ("estimated", "by MACs", "90 %", "measured", MODEL, "calibrated by 11 networks measured here"):
        assert words in result.stdout
    assert "busy" not in result.stdout


def test_json_says_what_is_estimated_and_what_measured() -> None:
    found = json.loads(run("--json").stdout)
    (row,) = found["models"]
    assert row["measured_ms"] is None
    assert 0 < row["estimated"]["low_ms"] <= row["estimated"]["ms"] <= row["estimated"]["high_ms"]
    assert row["estimated"]["networks"] == len(calibration.NETWORKS)
    assert row["estimated"]["footprint"]["kernels"] > 26  # a kernel for each convolution at least


def test_a_busy_calibration_is_said(table: KernelTable) -> None:
    busy = replace(table.samples[0], busy=BUSY + 1)
    keep_table(KernelTable(1, {}, (busy, *table.samples[1:])))
    assert "1 of them were measured while the machine was busy: --calibrate when it is not" in run().stdout


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    artifact = OnnxRuntime().export(nets.small(), tmp_path_factory.mktemp("exported"))
    return artifact.files[0]


def of_file(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["latency", "-q", "--json", *arguments], prog_name="flyweight")


def test_an_onnx_file_is_estimated_and_measured_as_it_is(exported: Path) -> None:
    result = of_file(str(exported), "--measure")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["models"]
    assert row["estimated"]["ms"] > 0 and row["measured_ms"] > 0
    assert row["estimated"]["footprint"]["macs"] == profile_file(str(exported), None, None).macs > 0


def test_a_file_settles_its_sizes_and_a_strange_one_is_estimated_alone(exported: Path, tmp_path: Path) -> None:
    assert "Leave --resolution and --classes out" in of_file(str(exported), "--resolution", "64").stderr
    model = onnx.load(exported)
    for node in model.graph.node:
        node.input[:] = ["photo" if name == "input" else name for name in node.input]
    model.graph.input[0].name = "photo"
    onnx.save(model, tmp_path / "strange.onnx")
    assert of_file(str(tmp_path / "strange.onnx")).exit_code == 0
    refused = of_file(str(tmp_path / "strange.onnx"), "--measure")
    assert refused.exit_code == 2 and "takes photo (1, 3, 32, 32)" in refused.stderr
