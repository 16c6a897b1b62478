import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from flyweight.contracts import Artifact, Candidate, Preprocessing
from flyweight.errors import ExportError, FileError
from flyweight.operators import OPERATORS
from flyweight.runtimes import _artifact, _pnnx
from flyweight.runtimes import _ncnn_file as form
from flyweight.runtimes._ncnn_int8 import _handed_on, split_transposed
from flyweight.runtimes._ncnn_net import load_net, run_net
from flyweight.runtimes.ncnn import _SUPPORTED, Ncnn
from tests.runtimes import nets

RUNTIME = Ncnn()
pytestmark = pytest.mark.skipif(RUNTIME.missing() is not None, reason="ncnn or pnnx is not installed")


@pytest.fixture(scope="module")
def candidate() -> Candidate:
    return nets.small()


@pytest.fixture(scope="module")
def artifact(candidate: Candidate, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return RUNTIME.export(candidate, tmp_path_factory.mktemp("float"))


@pytest.fixture(scope="module")
def integers(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return RUNTIME.export(nets.quantized(), tmp_path_factory.mktemp("int8"))


def layers_of(artifact: Artifact) -> tuple[form.Layer, ...]:
    return form.parse_param(artifact.files[0].read_text())


# ---- float ---------------------------------------------------------------------------------------------------------


def test_three_files_ship(artifact: Artifact) -> None:
    names = {path.name for path in artifact.files[0].parent.iterdir()}
    assert names == {"model.ncnn.param", "model.ncnn.bin", "model.ncnn.json"} == {path.name for path in artifact.files}


def test_weights_are_float32(artifact: Artifact, candidate: Candidate) -> None:
    module = candidate.module
    weights = sum(p.numel() for n, p in module.named_parameters() if n.endswith("weight") and p.ndim == 4)
    biases = 16 + 16 + 32 + 16 + 16 + 8 + 3  # a bias per output of each of the seven layers
    assert artifact.files[1].stat().st_size == 4 * weights + 4 * biases + 7 * 4  # and a tag per layer


def test_norms_padding_and_activations_are_folded(artifact: Artifact) -> None:
    types = {layer.type for layer in layers_of(artifact)}
    assert types <= {"Input", "Split", "Convolution", "ConvolutionDepthWise", "Deconvolution", "BinaryOp", "ReLU"}


def test_outputs_are_pytorchs(artifact: Artifact, candidate: Candidate) -> None:
    wanted = nets.outputs(candidate, nets.images())
    assert np.abs(RUNTIME.load(artifact, 1)(nets.images()) - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_json_beside_tells_preprocessing_classes_and_precision(artifact: Artifact, candidate: Candidate) -> None:
    told = json.loads(artifact.files[2].read_text())
    assert Preprocessing.from_json(json.loads(told["flyweight.preprocessing"])) == candidate.preprocessing
    assert json.loads(told["flyweight.class_names"]) == ["sea", "land", "lake"]
    assert (told["flyweight.precision"], told["input"], told["output"]) == ("fp32", "in0", "out0")


def test_nothing_runs_in_half_precision(artifact: Artifact) -> None:
    net = load_net(artifact.files[0], artifact.files[1], 2)
    chosen = {name: getattr(net.opt, name) for name in dir(net.opt) if "fp16" in name or "bf16" in name}
    assert len(chosen) == 5
    assert not any(chosen.values())
    assert (net.opt.num_threads, net.opt.openmp_blocktime) == (2, 0)


def test_layers_are_not_timed(artifact: Artifact) -> None:
    assert RUNTIME.layer_times(artifact, 1, 1) is None


def test_supported_operators_are_names_that_exist() -> None:
    assert set(OPERATORS.values()) | {"conv_transpose", "relu6"} >= _SUPPORTED


def test_param_that_is_none_is_a_file_error(artifact: Artifact, tmp_path: Path) -> None:
    paths = tuple(tmp_path / path.name for path in artifact.files)
    for path, source in zip(paths, artifact.files, strict=True):
        path.write_bytes(b"x" * source.stat().st_size)
    with pytest.raises(FileError, match="can't load"):
        RUNTIME.load(replace(artifact, files=paths), 1)


# ---- what goes wrong -----------------------------------------------------------------------------------------------


class Erfinv(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.erfinv(x.tanh() * 0.5)


def test_operator_that_ncnn_has_not_is_an_error_that_names_it(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), Erfinv()).eval()
    with pytest.raises(ExportError, match="erfinv"):
        RUNTIME.export(Candidate(module, Preprocessing(8, 8)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_pnnx_that_fails_is_an_error_with_its_words(
    candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "pnnx"
    program.write_text("#!/bin/sh\necho it broke\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(_pnnx, "_program", lambda: program)
    with pytest.raises(ExportError, match=r"ended with 3[\s\S]*it broke"):
        _pnnx.to_ncnn(candidate)


def test_missing_package_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_artifact.importlib.util, "find_spec", lambda name: None)
    assert RUNTIME.missing() == "runtime 'ncnn' needs ncnn and pnnx. Install it with: pip install \"flyweight[ncnn]\""


# ---- int8 ----------------------------------------------------------------------------------------------------------


def test_int8_outputs_are_near_pytorchs(integers: Artifact, candidate: Candidate) -> None:
    wanted = nets.outputs(candidate, nets.images())
    assert nets.signal_to_noise_db(wanted, RUNTIME.load(integers, 1)(nets.images())) > 25


def test_int8_weights_take_a_quarter(integers: Artifact, artifact: Artifact) -> None:
    assert integers.files[1].stat().st_size < 0.4 * artifact.files[1].stat().st_size  # scales and biases stay float


def test_only_the_last_layer_stays_float_and_is_told(integers: Artifact) -> None:
    weighted = [layer for layer in layers_of(integers) if form.is_weighted(layer)]
    assert [layer.setting(8) > 0 for layer in weighted].count(False) == 1
    assert integers.notes == (f"stays float in ncnn: {weighted[-1].name}",)
    assert not [layer for layer in weighted if layer.type == "Deconvolution"]


def test_int8_passes_between_layers_only_where_all_readers_take_it() -> None:
    def layer(kind: str, name: str, reads: str, makes: str) -> form.Layer:
        return form.Layer(kind, name, tuple(reads.split()), tuple(makes.split()))

    layers = (
        layer("Convolution", "a", "in0", "1"),
        layer("Split", "s", "1", "2 3"),
        layer("Convolution", "b", "2", "4"),
        layer("ConvolutionDepthWise", "c", "3", "5"),
        layer("BinaryOp", "add", "4 5", "6"),
    )
    assert _handed_on(layers, {"a", "b", "c"}) == {"a": "2"}  # b and c are added in float
    assert _handed_on(layers, {"a", "b"}) == {}  # c reads float


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 2, 1), (2, 2, 0), (6, 3, 2), (4, 2, 0), (3, 3, 1)])
def test_split_transposed_convolution_computes_the_same(kernel: int, stride: int, padding: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    count = 3 * 2 * kernel * kernel
    settings = {0: 3, 1: kernel, 2: 1, 3: stride, 4: padding, 5: 1, 6: count, 9: 1}
    up = form.Layer("Deconvolution", "up", ("in0",), ("out0",), tuple((n, str(v)) for n, v in settings.items()))
    layers = (form.Layer("Input", "in0", (), ("in0",)), up)
    weights = {"up": form.Weights(rng.standard_normal((3, count // 3)).astype("f"), rng.standard_normal(3).astype("f"))}
    image = rng.standard_normal((2, 5, 7)).astype(np.float32)
    wanted = run_layers(layers, weights, image, tmp_path)
    split, phases = split_transposed(layers, weights)
    assert [layer.type for layer in split] == ["Input", "Convolution", "PixelShuffle", *["Crop"] * (padding > 0)]
    found = run_layers(split, phases, image, tmp_path)
    assert found.shape == wanted.shape == (3, 4 * stride + kernel - 2 * padding, 6 * stride + kernel - 2 * padding)
    assert np.abs(found - wanted).max() < 1e-5


def run_layers(layers: Any, weights: Any, image: Any, folder: Path) -> Any:
    (folder / "p").write_text(form.format_param(layers))
    (folder / "b").write_bytes(b"".join(form.float_bytes(weights[x.name]) for x in layers if x.name in weights))
    return run_net(load_net(folder / "p", folder / "b", 1), image, ("out0",))[0]


# ---- the files as data ---------------------------------------------------------------------------------------------

words = st.text("abcdefghijklmnopqrstuvwxyz0123456789_.", min_size=1, max_size=12)
layers = st.builds(
    form.Layer,
    words, words, st.lists(words, max_size=3).map(tuple), st.lists(words, max_size=3).map(tuple),
    st.dictionaries(st.integers(-24000, 40), st.integers(-9, 9).map(str), max_size=5).map(lambda d: tuple(d.items())),
)  # fmt: skip


@given(st.lists(layers, max_size=5))
def test_param_that_is_written_is_read_back(found: list[form.Layer]) -> None:
    assert form.parse_param(form.format_param(found)) == tuple(found)


@given(st.text(max_size=200))
def test_any_text_is_layers_or_an_export_error(text: str) -> None:
    for candidate in (text, f"{form.MAGIC}\n1 1\n{text}"):
        try:
            found = form.parse_param(candidate)
        except ExportError:
            continue
        assert all(isinstance(layer, form.Layer) for layer in found)


def convolution(bias: bool) -> form.Layer:
    return form.Layer("Convolution", "c", ("in0",), ("out0",), ((0, "2"), (1, "1"), (5, str(int(bias))), (6, "6")))


@given(st.booleans(), st.integers(0, 2**32 - 1))
def test_weights_that_are_written_are_read_back(bias: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    given_ = form.Weights(rng.standard_normal((2, 3)).astype("f"), rng.standard_normal(2).astype("f") if bias else None)
    read = form.read_weights((convolution(bias),), form.float_bytes(given_))["c"]
    assert np.array_equal(read.weight, given_.weight)
    assert (read.bias is None) is (given_.bias is None)
    assert read.bias is None or np.array_equal(read.bias, given_.bias)


@given(st.binary(max_size=64).filter(lambda data: len(data) != 4 + 4 * 6))
def test_weights_of_another_size_are_an_error(data: bytes) -> None:
    with pytest.raises(ExportError, match=r"float weights|bytes of weights"):
        form.read_weights((convolution(False),), data)


def test_layer_whose_weights_are_not_understood_is_an_error_that_names_it() -> None:
    with pytest.raises(ExportError, match=r"'act' \(PReLU\)"):
        form.read_weights((form.Layer("PReLU", "act", ("in0",), ("out0",)),), b"")


def test_int8_weights_are_filled_up_to_four_bytes_and_followed_by_bias_and_scales() -> None:
    weights = form.Weights(np.ones((1, 3), np.float32), np.array([2.0], np.float32))
    data = form.int8_bytes(weights, np.array([[1, 2, -3]], np.int8), (np.array([5.0]), np.array([7.0])))
    assert data[:4] == (0x000D4B38).to_bytes(4, "little")
    assert data[4:8] == bytes([1, 2, 253, 0])
    assert np.frombuffer(data[8:], "<f4").tolist() == [2.0, 5.0, 7.0]
