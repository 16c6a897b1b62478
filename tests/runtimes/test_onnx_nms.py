from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from flyweight.boxes import BoxCode, Selection
from flyweight.build import box_code
from flyweight.contracts import Candidate, Preprocessing
from flyweight.errors import ExportError, FileError
from flyweight.runtimes import RUNTIMES
from flyweight.runtimes._onnx_nms import append_nms, write_with_nms
from flyweight.saved import fresh_candidate
from flyweight.spec import ArchSpec, InputSpec
from tests.tasks.test_detect import HEADS, STAGES

RULES = ("ssd", "yolo")


def spec_of(rule: str) -> ArchSpec:
    return ArchSpec("net", "detect", InputSpec(64, 96), 2, STAGES, HEADS[rule])


def candidate_of(rule: str) -> Candidate:
    return fresh_candidate(spec_of(rule), Preprocessing(64, 96), 0)


def passing_on(code: BoxCode) -> onnx.ModelProto:
    """A model whose raw output is its input."""
    shape = [1, len(code), 5 + code.classes]
    tensors = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("input", "output")]
    node = onnx.helper.make_node("Identity", ["input"], ["output"])
    graph = onnx.helper.make_graph([node], "net", tensors[:1], tensors[1:])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)


def run(model: onnx.ModelProto | Path, value: np.ndarray) -> np.ndarray:
    """Return the detections ``(d, 6)`` that a model gives in ONNX Runtime."""
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["boxes", "scores", "classes"]
    boxes, scores, classes = session.run(None, {"input": value})
    assert (boxes.dtype, scores.dtype, classes.dtype) == (np.float32, np.float32, np.int64)
    return np.concatenate([classes[:, None].astype(np.float32), boxes, scores[:, None]], axis=1)


@pytest.mark.parametrize("keep", [Selection(), Selection(0.3, 0.2, 7), Selection(0.0, 1.0, 10)])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(3))
def test_onnx_runtime_selects_what_numpy_selects(rule: str, keep: Selection, seed: int) -> None:
    code = box_code(spec_of(rule))
    raw = np.random.default_rng(seed).normal(0, 1.5, (1, len(code), 7)).astype(np.float32)
    found, wanted = run(append_nms(passing_on(code), code, keep), raw), code.detections(raw[0], keep)
    assert len(wanted) > 3
    assert found == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_boxes_with_huge_outputs_end_at_the_borders(rule: str) -> None:
    code = box_code(spec_of(rule))
    raw = np.full((1, len(code), 7), 80, np.float32)
    found = run(append_nms(passing_on(code), code), raw)
    assert found[:, 1:5].max() <= 96
    assert found == pytest.approx(code.detections(raw[0]), abs=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_nothing_above_the_threshold_gives_no_boxes(rule: str) -> None:
    code = box_code(spec_of(rule))
    raw = np.zeros((1, len(code), 7), np.float32)
    raw[..., 4] = 50 if rule == "ssd" else -50  # all background, or no object
    assert run(append_nms(passing_on(code), code), raw).shape == (0, 6)


@pytest.mark.parametrize("rule", RULES)
def test_an_exported_network_gives_boxes_by_itself(rule: str, tmp_path: Path) -> None:
    candidate, code = candidate_of(rule), box_code(spec_of(rule))
    runtime = RUNTIMES.get("onnxruntime")
    artifact = runtime.export(candidate, tmp_path / "raw")
    keep = Selection(score=1e-3)
    write_with_nms(artifact, code, tmp_path / "boxes.onnx", keep)
    image = np.random.default_rng(0).normal(size=(1, 3, 64, 96)).astype(np.float32)
    wanted = code.detections(runtime.load(artifact, 1)(image)[0], keep)
    assert len(wanted) > 3
    assert run(tmp_path / "boxes.onnx", image) == pytest.approx(wanted, abs=1e-3)
    texts = {entry.key for entry in onnx.load(tmp_path / "boxes.onnx").metadata_props}
    assert {"flyweight.preprocessing", "flyweight.spec"} <= texts


def test_another_networks_code_is_refused() -> None:
    with pytest.raises(ExportError, match=r"suppression needs one of shape \(1, 756, 7\)"):
        append_nms(passing_on(box_code(spec_of("yolo"))), box_code(spec_of("ssd")))


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    artifact = RUNTIMES.get("onnxruntime").export(candidate_of("yolo"), tmp_path)
    artifact.files[0].write_bytes(b"?" * artifact.bytes)
    with pytest.raises(FileError, match="not what was exported"):
        write_with_nms(artifact, box_code(spec_of("yolo")), tmp_path / "boxes.onnx")
