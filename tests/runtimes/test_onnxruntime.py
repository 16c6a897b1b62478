import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import flyweight
from flyweight.contracts import Artifact, Candidate, Preprocessing, Quantization
from flyweight.errors import ExportError, FileError, RuntimeMissingError, UsageError
from flyweight.graph import Graph, Node, TensorInfo
from flyweight.runtimes import RUNTIMES, _artifact
from flyweight.runtimes._onnx_clock import ProfilerCost, chains, profiler_cost
from flyweight.runtimes._onnx_export import export_onnx
from flyweight.runtimes._onnx_int8 import split_transposed
from flyweight.runtimes.onnxruntime import OnnxRuntime, session_options
from flyweight.zoo import ZOO
from tests.runtimes import nets

RUNTIME = OnnxRuntime()


@pytest.fixture(scope="module")
def candidate() -> Candidate:
    return nets.small()


@pytest.fixture(scope="module")
def artifact(candidate: Candidate, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return RUNTIME.export(candidate, tmp_path_factory.mktemp("float"))


@pytest.fixture(scope="module")
def integers(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return RUNTIME.export(nets.quantized(), tmp_path_factory.mktemp("int8"))


@pytest.fixture(scope="module")
def model(artifact: Artifact) -> Any:
    return onnx.load(artifact.files[0])


def operators(model: Any) -> set[str]:
    return {node.op_type for node in model.graph.node}


def metadata(model: Any) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


# ---- the file -----------------------------------------------------------------------------------------------------


def test_file_is_alone_and_passes_the_checker(artifact: Artifact, model: Any) -> None:
    assert [path.name for path in artifact.files[0].parent.iterdir()] == ["model.onnx"]
    onnx.checker.check_model(model, full_check=True)


def test_input_and_output_have_fixed_shapes_and_plain_names(model: Any) -> None:
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"input": [1, 3, 32, 32], "output": [1, 3, 32, 32]}


def test_norms_and_padding_are_folded_into_convolutions(model: Any) -> None:
    assert operators(model) == {"Conv", "ConvTranspose", "Relu", "Clip", "Add"}


def test_file_tells_preprocessing_classes_precision_and_version(model: Any, candidate: Candidate) -> None:
    told = metadata(model)
    assert Preprocessing.from_json(json.loads(told["flyweight.preprocessing"])) == candidate.preprocessing
    assert json.loads(told["flyweight.class_names"]) == ["sea", "land", "lake"]
    assert (told["flyweight.precision"], told["flyweight.version"]) == ("fp32", flyweight.__version__)


def test_file_tells_the_spec_where_there_is_one(candidate: Candidate) -> None:
    spec = ZOO.get("mobilenet_v1_deconv").spec
    assert json.loads(_artifact.metadata(replace(candidate, spec=spec))["flyweight.spec"]) == spec.to_json()
    assert "flyweight.spec" not in _artifact.metadata(candidate)


def test_exporting_twice_gives_the_same_bytes(candidate: Candidate, artifact: Artifact, tmp_path: Path) -> None:
    assert RUNTIME.export(candidate, tmp_path).sha256 == artifact.sha256


def test_every_node_of_the_file_has_its_module(model: Any, artifact: Artifact, candidate: Candidate) -> None:
    assert set(artifact.module_of) == {node.name for node in model.graph.node}
    named = {artifact.module_of[node.name] for node in model.graph.node if node.op_type.startswith("Conv")}
    assert named == {"stem.1", "depthwise", "pointwise", "up", "skip", "last_up", "classify"}
    assert set(artifact.module_of.values()) <= {name for name, _ in candidate.module.named_modules()}


# ---- running -------------------------------------------------------------------------------------------------------


def test_float_outputs_are_pytorchs(artifact: Artifact, candidate: Candidate) -> None:
    wanted = nets.outputs(candidate, nets.images())
    found = RUNTIME.load(artifact, 1)(nets.images())
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_threads_do_not_spin(artifact: Artifact) -> None:
    assert session_options(2).get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize("shape", [(1, 3, 32, 31), (3, 32, 32), (0, 3, 32, 32)])
def test_input_of_another_shape_is_an_error_that_tells_the_right_one(
    artifact: Artifact, shape: tuple[int, ...]
) -> None:
    with pytest.raises(UsageError, match=r"takes \(n, 3, 32, 32\)"):
        RUNTIME.load(artifact, 1)(np.zeros(shape, np.float32))


def test_file_of_the_right_size_with_other_contents_is_an_error(artifact: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\xff" * artifact.bytes)
    with pytest.raises(FileError, match=r"model\.onnx"):
        RUNTIME.load(replace(artifact, files=(path,)), 1)
    with pytest.raises(FileError, match="not what was exported"):
        _artifact.check_digest(replace(artifact, files=(path,)))


# ---- time per layer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["artifact", "integers"])
def test_all_time_is_given_to_modules(which: str, candidate: Candidate, request: pytest.FixtureRequest) -> None:
    times = RUNTIME.layer_times(request.getfixturevalue(which), 1, 20)
    assert times is not None
    modules = {name for name, _ in candidate.module.named_modules()}
    assert {row.module for row in times.rows} <= modules
    assert times.attributed == 1
    assert times.kernels_us > 0
    assert {"stem.1", "depthwise", "pointwise", "up", "skip", "last_up", "classify"} <= set(times.by_module())


class Halves(nn.Module):
    """Two halves of the channels on two ways: the exporter makes the split itself, and tells nothing of it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Module()
        self.inner.left, self.inner.right = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
        self.inner.forward = self.halves

    def halves(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, 1)
        return torch.cat([self.inner.left(left), self.inner.right(right)], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(torch.relu(x)).relu()


def test_split_that_the_exporter_makes_belongs_to_the_module_around_its_readers() -> None:
    artifact_model, module_of = export_onnx(Candidate(Halves().eval(), Preprocessing(8, 8, (0.0,) * 4, (1.0,) * 4)))
    (split,) = [node.name for node in artifact_model.graph.node if node.op_type == "Split"]
    assert module_of[split] == "inner"


def test_what_the_profiler_adds_is_taken_off() -> None:
    cost = ProfilerCost(1.5, 0.25)
    assert cost.taken_off(10, 1) == 8.5
    assert cost.taken_off(10, 3) == 8.0  # a convolution with weight and bias
    assert cost.taken_off(1, 3) == 0


def test_profilers_cost_is_what_the_kernels_have_too_much() -> None:
    def profiled(model: bytes, runs: int) -> tuple[list[float], list[float]]:
        inputs = 3 if model == chains(convolutions=True) else 1
        return [0.5 + 1.5 + 0.25 * (inputs - 1)] * 64, [64 * 0.5] * runs

    assert profiler_cost(profiled) == ProfilerCost(1.5, 0.25)


def test_chains_of_kernels_run() -> None:
    for convolutions in (False, True):
        model = onnx.load_from_string(chains(convolutions))
        onnx.checker.check_model(model, full_check=True)
        assert len(model.graph.node) == 64


def test_runs_with_and_without_the_profiler_take_turns(artifact: Artifact) -> None:
    times = RUNTIME.layer_times(artifact, 1, 12)
    assert times is not None
    assert (times.n, times.threads) == (12, 1)
    assert 0 < times.cpu_us <= 1.05 * times.run_us
    assert times.busy == pytest.approx(times.run_us / times.cpu_us)


# ---- int8 ----------------------------------------------------------------------------------------------------------


def test_int8_outputs_are_near_pytorchs(integers: Artifact, candidate: Candidate) -> None:
    wanted = nets.outputs(candidate, nets.images())
    assert nets.signal_to_noise_db(wanted, RUNTIME.load(integers, 1)(nets.images())) > 30


@pytest.mark.parametrize("method", ["mse", "best"])
def test_our_own_int8_methods_outputs_are_near_pytorchs_too(method: Any, candidate: Candidate, tmp_path: Path) -> None:
    asked = replace(candidate, quantization=Quantization(nets.images(8), method))
    made = RUNTIME.export(asked, tmp_path)
    wanted = nets.outputs(candidate, nets.images())
    assert nets.signal_to_noise_db(wanted, RUNTIME.load(made, 1)(nets.images())) > 30
    integers = {i.name for i in onnx.load(made.files[0]).graph.initializer if i.data_type == onnx.TensorProto.INT8}
    assert len([name for name in integers if name.endswith("weight/integers")]) == 5


def test_int8_file_has_float_ends_and_int8_per_channel_weights(integers: Artifact) -> None:
    made = onnx.load(integers.files[0])
    weights = {i.name: i for i in made.graph.initializer if i.data_type == onnx.TensorProto.INT8 and len(i.dims) == 4}
    assert len(weights) == 5  # of seven: stem and classify stay float
    steps = {i.name.split("/")[-2]: i.dims[0] for i in made.graph.initializer if i.name.endswith(".weight/step")}
    assert steps["depthwise.weight"] == 16
    assert steps["up.weight"] == 16 * 2 * 2  # a step per channel and phase
    assert {v.type.tensor_type.elem_type for v in (*made.graph.input, *made.graph.output)} == {onnx.TensorProto.FLOAT}
    assert metadata(made)["flyweight.precision"] == "int8"


def test_layers_that_stay_float_are_told(integers: Artifact) -> None:
    assert [note.rsplit(": ")[-1] for note in integers.notes] == ["stem.1", "classify"]


def test_transposed_convolutions_run_as_int8_convolutions(integers: Artifact) -> None:
    times = RUNTIME.layer_times(integers, 1, 3)
    assert times is not None
    run_as = {(row.module, row.op) for row in times.rows}
    assert {("up", "QLinearConv"), ("last_up", "QLinearConv")} <= run_as
    assert not [op for _, op in run_as if op == "ConvTranspose"]


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_other_calibrations_work_too(method: Any, candidate: Candidate, tmp_path: Path) -> None:
    wanted = nets.outputs(candidate, nets.images())
    made = RUNTIME.export(replace(candidate, quantization=Quantization(nets.images(4), method)), tmp_path)
    assert nets.signal_to_noise_db(wanted, RUNTIME.load(made, 1)(nets.images())) > 10


@pytest.mark.parametrize(
    ("calibration", "reason"),
    [
        (np.zeros((2, 3, 8, 8), np.float32), r"shape \(2, 3, 8, 8\)"),
        (np.zeros((0, 3, 32, 32), np.float32), "n ≥ 1"),
        (np.full((1, 3, 32, 32), np.nan, np.float32), "NaN"),
    ],
)
def test_calibration_that_does_not_fit_is_an_error(candidate: Candidate, calibration: Any, reason: str) -> None:
    with pytest.raises(ExportError, match=reason):
        _artifact.calibration_of(replace(candidate, quantization=Quantization(calibration)))


# ---- transposed convolution as convolution -------------------------------------------------------------------------


def transposed(kernel: int, stride: int, padding: int, **settings: Any) -> Any:
    """Return a model with one transposed convolution (2 to 3 channels), its bias and a ReLU."""
    rng = np.random.default_rng(kernel)
    arrays = {"w": rng.standard_normal((2, 3, kernel, kernel)), "b": rng.standard_normal(3)}
    nodes = [
        onnx.helper.make_node(
            "ConvTranspose", ["input", "w", "b"], ["y"], name="up", strides=[stride] * 2, pads=[padding] * 4, **settings
        ),
        onnx.helper.make_node("Relu", ["y"], ["output"], name="relu"),
    ]
    info = [
        onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s)
        for n, s in (("input", (1, 2, 5, 7)), ("output", None))
    ]
    held = [onnx.numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()]
    return onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "g", info[:1], info[1:], held),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=10,
    )


def run(model: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), session_options(1))
    return session.run(None, {"input": np.random.default_rng(0).standard_normal((1, 2, 5, 7)).astype(np.float32)})[0]


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [(4, 2, 1), (2, 2, 0), (4, 2, 0), (6, 3, 2), (3, 3, 1), (6, 2, 2), (8, 4, 2), (4, 2, 2)],
)
def test_split_transposed_convolution_computes_the_same(kernel: int, stride: int, padding: int) -> None:
    model = transposed(kernel, stride, padding)
    wanted = run(model)
    assert split_transposed(model, {"up": "head.up"})["up"] == "head.up"
    assert "ConvTranspose" not in operators(model)
    assert (
        run(model).shape == wanted.shape == (1, 3, 4 * stride + kernel - 2 * padding, 6 * stride + kernel - 2 * padding)
    )
    assert np.abs(run(model) - wanted).max() < 1e-5


@pytest.mark.parametrize(
    ("kernel", "stride", "settings"),
    [(3, 2, {}), (4, 1, {}), (4, 2, {"dilations": [2, 2]}), (4, 2, {"output_padding": [1, 1]})],
)
def test_other_transposed_convolutions_stay(kernel: int, stride: int, settings: dict[str, Any]) -> None:
    model = transposed(kernel, stride, 1, **settings)
    before = model.SerializeToString()
    assert split_transposed(model, {}) == {}
    assert model.SerializeToString() == before


# ---- what goes wrong -----------------------------------------------------------------------------------------------


class Erfinv(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.erfinv(x.tanh() * 0.5)


def test_operator_without_onnx_form_is_an_error_that_names_the_layer(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(Erfinv())).eval()
    with pytest.raises(ExportError, match=r"erf_inv.*'1\.0'"):
        RUNTIME.export(Candidate(module, Preprocessing(8, 8)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_operators_without_onnx_form_are_known_beforehand() -> None:
    tensors = tuple(TensorInfo(name, (1,)) for name in "abc")
    nodes = (Node("first", "relu", ("a",), ("b",)), Node("second", "erfinv", ("b",), ("c",)))
    assert [node.name for node in RUNTIME.unsupported(Graph(("a",), ("c",), nodes, tensors))] == ["second"]


def test_network_with_nan_is_an_error(candidate: Candidate, tmp_path: Path) -> None:
    module = nets.small().module
    with torch.no_grad():
        module.get_parameter("skip.bias").fill_(torch.nan)
    with pytest.raises(ExportError, match="NaN"):
        RUNTIME.export(replace(candidate, module=module), tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_export_that_can_not_be_written_leaves_nothing(
    candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real = os.replace

    def fail_here(source: Any, target: Any) -> None:
        if Path(target).parent == tmp_path:
            raise OSError(number, os.strerror(number), str(target))
        real(source, target)

    monkeypatch.setattr(os, "replace", fail_here)
    with pytest.raises(FileError, match=r"disk is full|read-only"):
        RUNTIME.export(candidate, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_missing_package_is_told_with_the_command_that_installs_it(
    candidate: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_artifact.importlib.util, "find_spec", lambda name: None if name == "onnx" else object())
    assert (
        RUNTIME.missing() == "runtime 'onnxruntime' needs onnx. Install it with: pip install \"flyweight[onnxruntime]\""
    )
    with pytest.raises(RuntimeMissingError, match=r"flyweight\[onnxruntime\]"):
        RUNTIME.export(candidate, Path("nowhere"))


def test_runtimes_are_found_by_name() -> None:
    assert {"onnxruntime", "ncnn"} <= set(RUNTIMES.names())
