"""Benches of a small network: exported in processes of their own, or exported before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flyweight import files
from flyweight.bench import Settings, bench, steps
from flyweight.bench._score import accuracy, fidelity
from flyweight.errors import FileError, MeasurementError, UsageError
from flyweight.measure._process import LoadedWorker
from flyweight.report.bench_value import Bench, BenchRow
from flyweight.runtimes.ncnn import Ncnn
from flyweight.runtimes.onnxruntime import OnnxRuntime
from flyweight.runtimes.openvino import OpenVino
from tests.runtimes import nets

QUICK = Settings(images=2, n=4)
# exits as a crash would the first time that it is opened: its first job is lost, its second is not
CRASHES_ONCE = """
import os
from pathlib import Path
from torch import nn

def build():
    opened = Path(__file__).with_name("opened")
    if not opened.exists():
        opened.touch()
        os._exit(7)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``flyweight export`` leaves it."""
    folder = tmp_path_factory.mktemp("exported")
    for runtime in (OnnxRuntime(), Ncnn()):
        artifact = runtime.export(nets.small(), folder / "fp32" / runtime.name)
        files.write_json(folder / "fp32" / runtime.name / "artifact.json", artifact.to_json())
    return folder


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    shutil.copytree(exported, tmp_path / "copied")
    return tmp_path / "copied"


def by_runtime(found: Bench) -> dict[str, BenchRow]:
    return {row.runtime: row for row in found.rows}


def ncnn_dies(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = LoadedWorker.ask

    def ask(self: LoadedWorker, asked: str, **settings: object) -> dict[str, object]:
        if asked == task and self.artifact.runtime == "ncnn":
            self.process.kill()
            self.process.wait()
        return real(self, asked, **settings)

    monkeypatch.setattr(LoadedWorker, "ask", ask)


# ---- what is found -------------------------------------------------------------------------------------------------


def test_a_process_that_dies_costs_the_artifact_that_it_died_of_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(CRASHES_ONCE)
    found = bench([f"{tmp_path}/net.py:build"], replace(QUICK, resolution=32, out=tmp_path / "kept"))
    first, second = found.rows
    assert (first.runtime, first.measurement) == ("onnxruntime", None)
    assert "exit code 7" in first.refused
    assert second.refused == ""
    assert second.measurement is not None and second.measurement.n == QUICK.n
    assert second.fidelity is not None and second.fidelity.largest is not None
    assert second.fidelity.largest <= 1e-4
    assert second.fidelity.agreement == 1.0
    assert second.bytes == sum(path.stat().st_size for path in tmp_path.glob("kept/*/ncnn/model.*"))
    assert found.inputs == {f"{tmp_path}/net.py:build": "2 images of blue_marble"}


def test_exported_folders_are_taken_as_they_are(exported: Path) -> None:
    found = bench([str(exported)], replace(QUICK, threads=(1, 2)))
    assert [(row.runtime, row.threads) for row in found.rows] == [
        ("ncnn", 1), ("ncnn", 2), ("onnxruntime", 1), ("onnxruntime", 2),
    ]  # fmt: skip
    assert all(row.measurement and row.measurement.threads == row.threads for row in found.rows)
    assert all(row.fidelity and row.fidelity.largest is None for row in found.rows)  # PyTorch's network isn't there
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["rows"][0]["measurement"]["n"] == QUICK.n


def test_accuracy_is_told_where_the_data_is_named_and_its_truth_is_the_networks_task(exported: Path) -> None:
    found = bench([str(exported / "fp32" / "onnxruntime")], replace(QUICK, data="blue_marble"))
    (row,) = found.rows
    assert row.fidelity is not None and row.fidelity.metric == "mIoU"
    assert row.fidelity.accuracy is not None and 0 <= row.fidelity.accuracy <= 1


def test_dry_run_exports_nothing_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenVino, "missing", lambda self: "runtime 'openvino' needs openvino. Install it")
    lines = steps(["squeezenet_1.1"], Settings(runtimes=("ncnn", "openvino"), precisions=("fp32", "int8")))
    assert len(lines) == 4
    assert "export, compare, time at 1 threads" in lines[0]
    assert lines[1] == "squeezenet_1.1: openvino fp32: runtime 'openvino' needs openvino. Install it"


# ---- what fails, fails alone ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["outputs", "run"])
def test_a_runtime_that_crashes_costs_only_its_own_row(
    task: str, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ncnn_dies(task, monkeypatch)
    rows = by_runtime(bench([str(exported)], QUICK))
    assert rows["ncnn"].measurement is None
    assert "killed by signal 9" in rows["ncnn"].refused
    assert "\n" not in rows["ncnn"].refused
    assert rows["onnxruntime"].measurement is not None


def test_a_missing_extra_costs_only_its_own_row(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ncnn, "missing", lambda self: "runtime 'ncnn' needs ncnn. Install it with: pip install \"x\"")
    rows = by_runtime(bench([str(exported)], QUICK))
    assert "pip install" in rows["ncnn"].refused
    assert rows["onnxruntime"].measurement is not None


def cut_in_half(folder: Path) -> None:
    path = folder / "model.ncnn.bin"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def exchange_a_byte(folder: Path) -> None:
    path = folder / "model.ncnn.bin"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut_in_half, exchange_a_byte])
def test_a_damaged_file_costs_only_its_own_row(damage: Callable[[Path], None], copied: Path) -> None:
    damage(copied / "fp32" / "ncnn")
    rows = by_runtime(bench([str(copied)], QUICK))
    assert "Export it again" in rows["ncnn"].refused
    assert rows["ncnn"].measurement is None
    assert rows["onnxruntime"].measurement is not None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input_shape", [1, 3, 200_000, 200_000]),  # 3 * 4e10 floats are 480 GB
        ("output_shape", [1, 30_000_000_000]),  # 120 GB
        ("input_shape", [1, 3, 16, 16]),  # not what the preprocessing makes
        ("input_shape", "many"),
        ("runtime", "no_such"),
        ("files", []),
        ("preprocessing", None),
    ],
)
def test_a_record_that_claims_what_cannot_be_is_refused(field: str, value: object, copied: Path) -> None:
    record = copied / "fp32" / "ncnn" / "artifact.json"
    files.write_json(record, {**files.read_json(record), field: value})
    with pytest.raises(FileError, match="Export it again"):
        bench([str(copied)], QUICK)


def test_data_that_there_is_not_ends_before_anything_is_exported(exported: Path) -> None:
    with pytest.raises(UsageError, match="neither a folder nor a data set"):
        bench([str(exported)], replace(QUICK, data="blue_marbel"))
    with pytest.raises(UsageError, match="runtime"):
        steps(["squeezenet_1.1"], Settings(runtimes=("tensorrt",)))


# ---- figures -------------------------------------------------------------------------------------------------------


def test_differences_are_over_pytorchs_largest_output() -> None:
    reference = np.array([[1.0, -4.0], [2.0, 3.0]], np.float32)
    outputs = np.array([[1.0, -4.0], [3.0, 2.0]], np.float32)  # the second image's classes are exchanged
    found = fidelity(outputs, reference)
    assert (found.largest, found.mean, found.agreement) == (1 / 4, 2 / 4 / 4, 0.5)


def test_masks_agree_by_pixel() -> None:
    reference = np.zeros((1, 2, 2, 2), np.float32)
    reference[0, 1] = 1
    outputs = reference.copy()
    outputs[0, 1, 0, 0] = -1
    assert fidelity(outputs, reference).agreement == 0.75


def test_outputs_that_are_not_finite_or_of_another_shape_are_an_error() -> None:
    with pytest.raises(MeasurementError, match="NaN"):
        fidelity(np.array([[np.nan]], np.float32), None)
    with pytest.raises(MeasurementError, match=r"\(1, 2\)"):
        fidelity(np.zeros((1, 2), np.float32), np.zeros((1, 3), np.float32))


def test_classes_are_not_scored_on_masks() -> None:
    from flyweight.bench._images import judged

    dataset, images = judged("blue_marble", 2)
    preprocessing = nets.small().preprocessing
    assert accuracy(np.zeros((2, 3), np.float32), images, dataset, preprocessing, None) is None
    assert accuracy(np.zeros((2, 5, 8, 8), np.float32), images, dataset, preprocessing, None) is None  # 3 classes
