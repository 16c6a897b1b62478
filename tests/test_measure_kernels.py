"""Kernels timed one by one, for real, on tiny networks; and the table that keeps them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from flyweight import calibration, files
from flyweight.calibration import calibrate, estimate_file, macs_of
from flyweight.contracts import Artifact, Candidate, Preprocessing
from flyweight.errors import FileError, MeasurementError
from flyweight.latency import Footprint, Sample
from flyweight.measure.kernels import KernelTable, footprint_of, keep_table, load_table, table_file
from flyweight.runtimes import RUNTIMES
from tests.test_latency import samples


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "flyweight"


def network(*channels: int, size: int = 16) -> Candidate:
    """Return convolutions 3×3 in a row, each with its ReLU, which the runtime fuses into it."""
    torch.manual_seed(0)
    layers = [layer for a, b in itertools.pairwise(channels) for layer in (nn.Conv2d(a, b, 3), nn.ReLU())]
    return Candidate(nn.Sequential(*layers).eval(), Preprocessing(size, size))


@pytest.fixture
def exported(tmp_path: Path) -> Artifact:
    return RUNTIMES.get("onnxruntime").export(network(3, 8, 16, 16), tmp_path / "net")


def test_kernels_are_those_that_the_runtime_runs(exported: Artifact) -> None:
    """Three convolutions with their ReLUs, and the layout's change at both ends: 5 kernels or fewer, not 6 operators.

    Weights read: 3·8·9 + 8 + 8·16·9 + 16 + 16·16·9 + 16 = 3,712 floats, or more where the runtime pads channels.
    """
    footprint, table, measured = footprint_of(exported, 123, KernelTable(1))
    assert 3 <= footprint.kernels <= 5
    assert footprint.weight_bytes >= 4 * 3712
    assert footprint.macs == 123
    assert measured == len(table.us) == footprint.kernels
    assert footprint.kernels_us == pytest.approx(sum(table.us.values()))


def test_what_is_known_is_not_measured_again(exported: Artifact, tmp_path: Path) -> None:
    first, table, _ = footprint_of(exported, 1, KernelTable(1))
    again, same, measured = footprint_of(exported, 1, table)
    assert (again, same, measured) == (first, table, 0)
    longer = RUNTIMES.get("onnxruntime").export(network(3, 8, 16, 16, 16), tmp_path / "longer")
    _, _, missed = footprint_of(longer, 1, table)
    assert missed >= 1


def test_a_kernel_of_sixteen_times_the_work_takes_longer(tmp_path: Path) -> None:
    onnx = RUNTIMES.get("onnxruntime")
    small = footprint_of(onnx.export(network(3, 32, size=34), tmp_path / "a"), 1, KernelTable(1))[0]
    large = footprint_of(onnx.export(network(3, 32, size=130), tmp_path / "b"), 1, KernelTable(1))[0]
    assert large.kernels_us > 4 * small.kernels_us


def test_a_file_of_another_runtime_is_refused(exported: Artifact) -> None:
    with pytest.raises(MeasurementError, match="estimated for ONNX Runtime; this file is for ncnn"):
        footprint_of(replace(exported, runtime="ncnn"), 1, KernelTable(1))


def test_a_file_that_was_changed_is_refused(exported: Artifact) -> None:
    exported.files[0].write_bytes(exported.files[0].read_bytes()[:-8])
    with pytest.raises(FileError):
        footprint_of(exported, 1, KernelTable(1))


# ---- the table -----------------------------------------------------------------------------------------------------


def test_the_table_is_kept() -> None:
    assert load_table(1) == KernelTable(1)
    table = KernelTable(1, {"key": 1.5}, tuple(samples(count=2)))
    keep_table(table)
    assert load_table(1) == table
    assert load_table(2) == KernelTable(2)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"kernels_us": {}}', '{"kernels_us": {"a": -1}, "samples": []}',
     '{"kernels_us": {"a": NaN}, "samples": []}', '{"kernels_us": {"a": "x"}, "samples": []}',
     '{"kernels_us": {}, "samples": [{}]}', '{"kernels_us": 3, "samples": []}'],
)  # fmt: skip
def test_a_damaged_table_is_begun_anew(text: str) -> None:
    files.write_bytes(table_file(1), text.encode())
    assert load_table(1) == KernelTable(1)


# ---- estimates -----------------------------------------------------------------------------------------------------


def test_an_estimate_measures_what_is_missing_and_keeps_it(exported: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    """The calibration's networks are made up here: t = 1.1 · kernels + 2 µs · number + 1e-4 µs · bytes of weights."""
    made = samples(count=len(calibration.NETWORKS))
    named = tuple(replace(each, name=name) for each, name in zip(made, calibration.NETWORKS, strict=True))
    keep_table(KernelTable(1, {}, named))
    found = estimate_file(exported, 1, calibrate(1))
    footprint = found.footprint
    expected = 1.1 * footprint.kernels_us + 2 * footprint.kernels + 1e-4 * footprint.weight_bytes
    assert found.ms == pytest.approx(expected / 1e3)
    assert found.measured == footprint.kernels
    assert estimate_file(exported, 1, calibrate(1)).measured == 0
    assert load_table(1).samples == named


def test_calibration_goes_on_where_it_was_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def measured(name: str, table: KernelTable) -> tuple[Sample, KernelTable]:
        asked.append(name)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return Sample(name, Footprint(10, 100.0 + len(asked), 1000, 10**6), 120.0 + len(asked)), table

    monkeypatch.setattr(calibration, "_sample", measured)
    with pytest.raises(KeyboardInterrupt):
        calibrate(1)
    assert [each.name for each in load_table(1).samples] == list(calibration.NETWORKS[:3])
    found = calibrate(1)
    assert asked == [*calibration.NETWORKS[:4], *calibration.NETWORKS[3:]]
    assert [each.name for each in found.samples] == list(calibration.NETWORKS)
    calibrate(1, anew=True)
    assert asked[-len(calibration.NETWORKS) :] == list(calibration.NETWORKS)


def test_macs_are_those_that_profile_counts() -> None:
    """Two convolutions: 14² · 8 · 27 + 12² · 4 · 72 = 42,336 + 41,472 = 83,808."""
    assert macs_of(network(3, 8, 4)) == 83_808
