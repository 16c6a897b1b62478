from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner

from flyweight import flow
from flyweight.boxes import Selection
from flyweight.build import box_code
from flyweight.cli import main
from flyweight.detection import export_boxes
from flyweight.errors import UsageError
from flyweight.saved import save_candidate
from flyweight.testing import _networks as networks
from tests.runtimes.test_onnx_nms import candidate_of, spec_of


def test_the_exported_file_gives_boxes_by_itself(tmp_path: Path) -> None:
    candidate, keep = candidate_of("ssd"), Selection(score=1e-3)
    (artifact,) = flow.export(candidate, tmp_path)
    path = export_boxes(candidate, artifact, keep)
    image = np.random.default_rng(0).normal(size=(1, 3, 64, 96)).astype(np.float32)
    raw = onnxruntime.InferenceSession(artifact.files[0]).run(None, {"input": image})[0]
    boxes, scores, classes = onnxruntime.InferenceSession(path).run(None, {"input": image})
    wanted = box_code(spec_of("ssd")).detections(raw[0], keep)
    assert len(wanted) > 3
    assert np.column_stack([classes, boxes, scores]) == pytest.approx(wanted, abs=1e-3)


def test_a_network_that_gives_no_boxes_is_refused(tmp_path: Path) -> None:
    candidate = networks.withered()
    (artifact,) = flow.export(candidate, tmp_path)
    with pytest.raises(UsageError, match="needs a detection network"):
        export_boxes(candidate, artifact)


def test_ncnn_is_said_to_leave_the_suppression_outside(tmp_path: Path) -> None:
    candidate = candidate_of("ssd")
    (artifact,) = flow.export(candidate, tmp_path, ["ncnn"])
    with pytest.raises(UsageError, match="ncnn can't run the suppression"):
        export_boxes(candidate, artifact)


def test_the_command_writes_both_files_or_refuses_before_it_writes(tmp_path: Path) -> None:
    weights = tmp_path / "net.safetensors"
    save_candidate(weights, candidate_of("yolo"))
    call = ["export", str(weights), "--to", "onnx", "--nms", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, call)
    assert result.exit_code == 0, result.output
    assert {f.name for f in (tmp_path / "out/fp32/onnxruntime").iterdir()} >= {"model.onnx", "boxes.onnx"}
    refused = CliRunner().invoke(main, [*call[:2], *call[2:3], "ncnn", "--nms", "--out", str(tmp_path / "no")])
    assert refused.exit_code == 2 and "--nms is for detection networks exported to onnx" in refused.output
    assert not (tmp_path / "no").exists()
