import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import flyweight
from flyweight.contracts import Artifact, Candidate, Preprocessing
from flyweight.errors import ExportError, FileError
from flyweight.runtimes import RUNTIMES
from flyweight.runtimes._openvino_net import compiled, openvino, to_ir
from flyweight.runtimes.openvino import OpenVino
from tests.runtimes import nets

RUNTIME = OpenVino()
pytestmark = pytest.mark.skipif(RUNTIME.missing() is not None, reason=str(RUNTIME.missing()))


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return RUNTIME.export(nets.small(), tmp_path_factory.mktemp("float"))


@pytest.fixture(scope="module")
def integers(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return RUNTIME.export(nets.quantized(), tmp_path_factory.mktemp("int8"))


def test_importing_it_reports_to_nobody(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from flyweight.runtimes._openvino_net import openvino\n"
        "openvino().Core()\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'openvino_telemetry'])\n"
    )
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["[]"]
    assert list(tmp_path.iterdir()) == []  # it keeps a user's number and counts in ~/intel


def test_exporting_twice_gives_the_same_bytes(artifact: Artifact, tmp_path: Path) -> None:
    assert RUNTIME.export(nets.small(), tmp_path).sha256 == artifact.sha256


def test_file_tells_preprocessing_precision_and_version(artifact: Artifact) -> None:
    told = openvino().Core().read_model(artifact.files[0]).get_rt_info(["framework"]).value
    assert told["flyweight.version"] == flyweight.__version__
    assert told["flyweight.precision"] == "fp32"
    assert "sea" in told["flyweight.class_names"]


def test_weights_stay_float32(artifact: Artifact) -> None:
    params = sum(parameter.numel() for parameter in nets.small().module.parameters())
    assert artifact.files[1].stat().st_size > 0.9 * 4 * params  # the norms' are folded into the convolutions


@pytest.mark.parametrize(("asked", "runs"), [("f32", "f32"), ("bf16", "bf16")])
def test_precision_is_float32_unless_asked(artifact: Artifact, asked: str, runs: str) -> None:
    network = compiled(artifact.files[0], 1, OpenVino(asked).precision)
    assert RUNTIME.precision == "f32"
    assert network.get_property("INFERENCE_PRECISION_HINT").to_string() == runs
    assert network.get_property("INFERENCE_NUM_THREADS") == 1


def test_float_outputs_are_pytorchs(artifact: Artifact) -> None:
    wanted = nets.outputs(nets.small(), nets.images())
    assert np.abs(RUNTIME.load(artifact, 1)(nets.images()) - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_an_output_is_not_written_over_by_the_next_run(artifact: Artifact) -> None:
    predict = RUNTIME.load(artifact, 1)
    first = predict(nets.images(1))
    kept = first.copy()
    predict(nets.images(1, seed=5))
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("which", ["artifact", "integers"])
def test_all_time_is_given_to_modules(which: str, request: pytest.FixtureRequest) -> None:
    times = RUNTIME.layer_times(request.getfixturevalue(which), 1, 10)
    assert times is not None
    assert times.attributed == 1
    assert {row.module for row in times.rows} <= {name for name, _ in nets.small().module.named_modules()}
    assert {"stem.1", "depthwise", "pointwise", "up", "skip", "last_up", "classify"} <= set(times.by_module())
    assert (times.n, times.threads) == (10, 1)
    assert min(times.kernels_us, times.run_us, times.cpu_us) > 0


def test_int8_runs_as_integers(integers: Artifact) -> None:
    request = compiled(integers.files[0], 1, "f32", PERF_COUNT=True).create_infer_request()
    request.infer([nets.images(1)])
    kernels = [info.exec_type for info in request.profiling_info if "Convolution" in info.node_type]
    integers_at = [kernel for kernel in kernels if kernel.endswith("_I8")]
    assert len(kernels) == 7
    assert len(integers_at) >= 4  # stem and classify stay float, and OpenVINO chooses float for one more


def test_layers_that_a_node_of_the_file_falls_into_have_its_module(artifact: Artifact) -> None:
    layers = openvino().Core().read_model(artifact.files[0]).get_ordered_ops()
    convolutions = [layer.get_friendly_name() for layer in layers if "Convolution" in layer.get_type_name()]
    modules = ["stem.1", "depthwise", "pointwise", "up", "skip", "last_up", "classify"]
    assert sorted(artifact.module_of[name] for name in convolutions) == sorted(modules)


def test_operator_that_it_can_not_read_is_an_error(tmp_path: Path) -> None:
    import onnx

    info = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Nonsense", ["x"], ["y"], domain="nowhere")
    graph = onnx.helper.make_graph([node], "g", [info], [onnx.helper.make_tensor_value_info("y", 1, [1])])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("nowhere", 1)])
    with pytest.raises(ExportError, match="openvino can't read this network"):
        to_ir(model.SerializeToString(), {}, tmp_path)


def test_file_that_is_no_model_is_an_error_that_names_it(artifact: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    path.write_bytes(b"<" * artifact.files[0].stat().st_size)
    with pytest.raises(FileError, match=r"model\.xml"):
        RUNTIME.load(replace(artifact, files=(path, artifact.files[1])), 1)


class Shuffled(nn.Module):
    """A shuffle of channels behind a split: kernels that no single node of the file stands for."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, 1)
        x = torch.cat([left, self.inner(torch.cat([left, right], 1))], 1)
        return x.unflatten(1, (2, 3)).transpose(1, 2).flatten(1, 2)


def test_kernels_without_a_layer_of_the_file_go_to_their_neighbours(tmp_path: Path) -> None:
    candidate = Candidate(Shuffled().eval(), Preprocessing(8, 8, (0.0,) * 4, (1.0,) * 4))
    times: Any = RUNTIME.layer_times(RUNTIME.export(candidate, tmp_path), 1, 3)
    assert {row.module for row in times.rows} <= {"", "inner"}


def test_it_is_found_by_name() -> None:
    assert RUNTIMES.get("openvino").name == "openvino"
