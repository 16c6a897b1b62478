"""ncnn's int8 by our own observers and corrections."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from flyweight.contracts import Candidate, Int8Method, Quantization
from flyweight.quantize import Method
from flyweight.runtimes import _ncnn_file as form
from flyweight.runtimes._ncnn_int8 import _Draft, by, magnitudes, with_ends
from flyweight.runtimes._ncnn_net import load_net, run_net
from flyweight.runtimes.ncnn import Ncnn
from tests.runtimes import nets

RUNTIME = Ncnn()
pytestmark = pytest.mark.skipif(RUNTIME.missing() is not None, reason="ncnn or pnnx is not installed")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes]:
    """Return the small network's float files."""
    files = RUNTIME.export(nets.small(), tmp_path_factory.mktemp("float")).files
    return files[0].read_text(), files[1].read_bytes()


def outputs(files: tuple[str, bytes], folder: Path, images: Any) -> Any:
    """Return what ncnn gives for every image."""
    (folder / "p").write_text(files[0])
    (folder / "b").write_bytes(files[1])
    net = load_net(folder / "p", folder / "b", 1)
    return np.stack([run_net(net, image, ("out0",))[0] for image in images])


@pytest.mark.parametrize("method", get_args(Int8Method))
def test_every_method_makes_a_file_that_is_near_float(method: Int8Method, tmp_path: Path) -> None:
    candidate: Candidate = nets.small()
    quantized = replace(candidate, quantization=Quantization(nets.images(8), method))
    made = RUNTIME.load(RUNTIME.export(quantized, tmp_path), 1)(nets.images())
    assert nets.signal_to_noise_db(nets.outputs(candidate, nets.images()), made) > 18
    shutil.rmtree(tmp_path)


def test_fitted_weights_come_nearer_than_rounded_ones(plain: tuple[str, bytes], tmp_path: Path) -> None:
    wanted = outputs(plain, tmp_path, nets.images())
    rounded, fitted = (
        nets.signal_to_noise_db(wanted, outputs(by(*plain, nets.images(32, 7), method)[:2], tmp_path, nets.images()))
        for method in (Method("mse"), Method("mse", True, True, True))
    )
    assert rounded < fitted


def test_corrected_biases_keep_the_mean_of_the_outputs(plain: tuple[str, bytes], tmp_path: Path) -> None:
    seen = nets.images(32, 7)
    wanted = outputs(plain, tmp_path, seen)
    rounded, corrected = (
        np.abs((outputs(by(*plain, seen, method)[:2], tmp_path, seen) - wanted).mean(0)).mean()
        for method in (Method("mse"), Method("mse", correct_bias=True))
    )
    assert corrected < rounded


def test_a_layer_without_bias_gets_one_where_its_mean_is_corrected(plain: tuple[str, bytes]) -> None:
    def without(files: tuple[str, bytes]) -> list[str]:
        layers = [layer for layer in form.parse_param(files[0]) if layer.type == "Convolution"]
        return [layer.name for layer in layers if not layer.setting(5)]

    layers = form.parse_param(plain[0])
    known = form.read_weights(layers, plain[1])
    bare = tuple(layer.having(5, 0) if layer.type == "Convolution" else layer for layer in layers)
    kept = {name: form.Weights(w.weight, None) if name.startswith("conv") else w for name, w in known.items()}
    by_name = {layer.name: layer for layer in bare}
    parts = [
        form.float_bytes(kept[n] if by_name[n].type == "Convolution" else known[n])
        for n in (x.name for x in layers)
        if n in known
    ]
    files = form.format_param(bare), b"".join(parts)
    assert without(files)
    rounded = without(by(*files, nets.images(), Method("mse"))[:2])
    corrected = without(by(*files, nets.images(), Method("mse", correct_bias=True))[:2])
    assert set(corrected) < set(rounded)  # only the last, in float, is left as it was


def test_ends_of_another_tools_table_give_the_file_that_the_same_ends_give_here(plain: tuple[str, bytes]) -> None:
    largest: dict[str, float] = {}
    for found in magnitudes(*plain, nets.images(8)):
        largest = {name: max(largest.get(name, 0.0), float(value.max())) for name, value in found.items()}
    assert with_ends(*plain, largest) == by(*plain, nets.images(8), Method("minmax"))[:2]


def test_channels_of_a_group_have_one_step(plain: tuple[str, bytes]) -> None:
    draft = _Draft(*plain)
    layer = next(layer for layer in draft.chosen.values() if layer.type == "ConvolutionDepthWise")
    draft.chosen[layer.name] = layer.having(7, 8)  # 16 channels in 8 groups
    weight = np.arange(1.0, 17.0).reshape(16, 1, 1, 1)
    np.testing.assert_allclose(draft.steps(layer.name, weight) * 127, np.repeat(np.arange(2.0, 17.0, 2), 2), rtol=1e-6)
