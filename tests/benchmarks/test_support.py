"""The matrix of networks and runtimes is filled little by little, on machines that have not every runtime."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import support
from flyweight import files


def row(runtime: str, version: str, outcome: str = "equal", family: str = "vgg") -> support.Row:
    return {"network": f"{family}_1", "family": family, "runtime": runtime, "version": version, "outcome": outcome}


def test_rows_stay_unless_made_with_another_version_that_is_here_or_by_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(support, "version_of", {"ncnn": "2", "onnxruntime": "1", "litert": ""}.__getitem__)
    rows = [row("ncnn", "1"), row("onnxruntime", "1"), row("litert", "7"), row("litert", "7", "crashed", "resnet")]
    files.write_json(tmp_path / "support.json", {"rows": rows})
    assert set(support.kept(tmp_path / "support.json")) == {("vgg_1", "onnxruntime"), ("vgg_1", "litert")}


def test_families_are_counted_once_and_only_where_something_came_out() -> None:
    rows = [
        row("litert", "1"), row("litert", "1", "equal", "vgg"), row("litert", "1", "refused", "resnet"),
        row("coreml", "9", "converted", "resnet"),
    ]  # fmt: skip
    found = {
        claim["claim"].partition(":")[0]: (claim["value"], claim["holds"]) for claim in support.family_claims(rows)
    }
    assert found == {"litert": (1, False), "coreml": (1, False)}
    assert [claim["value"] for claim in support.claims(rows)] == [0, 0]  # converted is neither wrong nor equal


def test_runtime_that_is_missing_is_told_not_measured(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from flyweight.runtimes import RUNTIMES

    reason = RUNTIMES.get("coreml").missing()
    if reason is None:
        pytest.skip("coremltools is installed")
    assert support.main(["--runtimes", "coreml", "--result", str(tmp_path / "r.json")]) == 2
    assert capsys.readouterr().err.strip() == reason
    assert not (tmp_path / "r.json").exists()
