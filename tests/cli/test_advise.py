"""``flyweight advise`` on a tiny network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from flyweight.cli import main
from flyweight.spec import ArchSpec
from tests import tiny


@pytest.fixture
def network(tmp_path: Path) -> str:
    from flyweight.zoo import ZOO

    tiny.register()
    path = tmp_path / "net.json"
    spec: ArchSpec = ZOO.get("tiny_deconv").spec
    path.write_text(spec.dumps())
    return str(path)


def test_each_edit_is_measured_beside_its_prediction_and_a_second_call_measures_none(
    network: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ["advise", network, "--verify", "--top", "1", "--out", str(out), "--json", "-q"]
    found = CliRunner().invoke(main, arguments)
    assert found.exit_code == 0, found.output
    data = json.loads(found.output)
    (finding,) = data["findings"]
    assert finding["measured"]["before_ms"] > 0
    assert finding["measured"]["relative_error"] >= 0
    assert finding["counted"]["macs_saved"] > 0
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*.onnx")}
    assert CliRunner().invoke(main, arguments).output == found.output
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.onnx")} == stamps

    shown = CliRunner().invoke(main, ["advise", network, "--verify", "--top", "1", "--out", str(out), "-q"]).output
    assert finding["edit"] in shown
    assert "sign right in" in shown


def test_a_module_without_a_spec_is_refused_with_what_helps(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text("import torch\ndef build():\n    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))\n")
    found = CliRunner().invoke(main, ["advise", f"{path}:build", "--resolution", "16", "-q"])
    assert found.exit_code == 2
    assert "See what is slow with: flyweight profile" in found.output
