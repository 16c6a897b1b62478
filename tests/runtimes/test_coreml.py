"""Core ML's package: wholly written, read back, and never said to have been run."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from flyweight import flow
from flyweight.contracts import Artifact
from flyweight.errors import ExportError, FileError, RuntimeMissingError
from flyweight.runtimes import _coreml_package
from flyweight.runtimes.coreml import CoreMl
from tests.runtimes import nets

RUNTIME = CoreMl()
NAMES = ("Manifest.json", "Data/com.apple.CoreML/model.mlmodel", "Data/com.apple.CoreML/weights/weight.bin")
needs_package = pytest.mark.skipif(RUNTIME.missing() is not None, reason=str(RUNTIME.missing()))


def test_package_is_put_wholly_in_the_place_of_an_older_one(tmp_path: Path) -> None:
    target = tmp_path / "model.mlpackage"
    _coreml_package.put(target, {name: b"old" for name in (*NAMES, "left.json")})
    _coreml_package.put(target, {name: b"new" for name in NAMES})
    found = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert found == set(NAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["model.mlpackage"]


def test_package_that_can_not_be_written_leaves_the_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "model.mlpackage"
    _coreml_package.put(target, dict.fromkeys(NAMES, b"old"))

    def full(path: Path, _: bytes) -> None:
        raise FileError(f"{path}: the disk is full")

    monkeypatch.setattr(_coreml_package.files, "write_bytes", full)
    with pytest.raises(FileError, match="disk is full"):
        _coreml_package.put(target, dict.fromkeys(NAMES, b"new"))
    assert {path.read_bytes() for path in target.rglob("*") if path.is_file()} == {b"old"}
    assert [path.name for path in tmp_path.iterdir()] == ["model.mlpackage"]


def test_it_is_never_run_and_says_where_it_could_be(tmp_path: Path) -> None:
    artifact = Artifact("coreml", "9.0", "fp32", (), 0, "", (1, 3, 4, 4), (1, 2), nets.small().preprocessing)
    with pytest.raises(RuntimeMissingError, match=r"runs on Apple's systems only.*Open them in Xcode"):
        RUNTIME.load(artifact, 1)


def test_files_below_the_folder_keep_their_place_and_others_can_not_leave_it(tmp_path: Path) -> None:
    paths = (tmp_path / "model.mlpackage.json", *(tmp_path / "model.mlpackage" / name for name in NAMES))
    artifact = Artifact("coreml", "9.0", "fp32", paths, 0, "", (1, 3, 4, 4), (1, 2), nets.small().preprocessing)
    told = artifact.to_json()
    assert told["files"][1] == "model.mlpackage/Manifest.json"
    assert Artifact.from_json(told, tmp_path) == artifact
    told["files"] = ["../../secret", "/etc/passwd", "a/../../b"]
    assert Artifact.from_json(told, tmp_path).files == (tmp_path / "secret", tmp_path / "passwd", tmp_path / "b")


def test_run_that_would_time_it_ends_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CoreMl, "missing", lambda self: None)
    with pytest.raises(RuntimeMissingError, match="runs on Apple's systems only"):
        flow.check_runtimes(("coreml",))
    flow.check_runtimes(("coreml",), run=False)  # for export


@needs_package
def test_network_is_converted_read_back_and_said_not_to_be_run(tmp_path: Path) -> None:
    artifact = RUNTIME.export(nets.small(), tmp_path)
    assert "not run: Core ML runs on Apple's systems only" in artifact.notes[0]
    assert all(path.is_file() for path in artifact.files)
    assert artifact.bytes == sum(path.stat().st_size for path in artifact.files)
    told = json.loads(artifact.files[0].read_text())
    assert json.loads(told["flyweight.class_names"]) == ["sea", "land", "lake"]
    weights = 4 * sum(value.numel() for value in nets.small().module.parameters() if value.ndim > 1)
    assert artifact.bytes > weights


@needs_package
def test_half_precision_is_half_the_weights(tmp_path: Path) -> None:
    sizes = [RUNTIME.export(replace(nets.small(), half=half), tmp_path).files[-1].stat().st_size for half in (0, 1)]
    assert sizes[1] < 0.6 * sizes[0]


@needs_package
def test_package_of_other_operators_than_were_converted_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = _coreml_package._check

    def one_more(spec: object, given: tuple[int, ...], made: tuple[int, ...], converted: Counter[str]) -> None:
        real(spec, given, made, converted + Counter({"conv": 1}))

    monkeypatch.setattr(_coreml_package, "_check", one_more)
    with pytest.raises(ExportError, match="operators 'conv', but"):
        RUNTIME.export(nets.small(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
