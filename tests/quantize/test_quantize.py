"""Our own int8: ranges, rounding, correction, and a file that ONNX Runtime runs in integers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from flyweight.errors import ExportError
from flyweight.quantize import OBSERVERS, SYMMETRIC_LEVELS, Method, quantize
from flyweight.quantize._observers import BINS, Histogram, Scale, counted
from flyweight.quantize._weights import compensated, corrected_bias, moments_of, nearest, refitted
from flyweight.quantize._write import steps_of

IMAGES = np.random.default_rng(5).normal(size=(24, 8, 10, 10)).astype(np.float32)
ALL = Method("mse", compensate=True, refit=True, correct_bias=True)


def network() -> Any:
    """Return conv, Relu6, depthwise conv of stride 2, Relu, 1x1 conv, add, max pool, mean, linear; 8 channels."""
    random = np.random.default_rng(3)
    shapes = {"a": (16, 8, 3, 3), "b": (16, 1, 3, 3), "c": (16, 16, 1, 1), "d": (5, 16)}
    arrays = {k: (random.normal(size=s) / np.sqrt(np.prod(s[1:]))).astype(np.float32) for k, s in shapes.items()}
    arrays |= {f"{k}_bias": random.normal(size=s[0]).astype(np.float32) / 4 for k, s in shapes.items()}
    arrays |= {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}
    arrays |= {"axes": np.array([2, 3]), "flat": np.array([1, 16])}
    make = helper.make_node
    nodes = [
        make("Conv", ["input", "a", "a_bias"], ["1"], name="a", pads=[1] * 4),
        make("Clip", ["1", "low", "high"], ["2"], name="relu6"),
        make("Conv", ["2", "b", "b_bias"], ["3"], name="b", pads=[1] * 4, strides=[2, 2], group=16),
        make("Relu", ["3"], ["4"], name="relu"),
        make("Conv", ["4", "c", "c_bias"], ["5"], name="c"),
        make("Add", ["4", "5"], ["6"], name="add"),
        make("MaxPool", ["6"], ["7"], name="pool", kernel_shape=[2, 2]),
        make("ReduceMean", ["7", "axes"], ["8"], name="mean"),
        make("Reshape", ["8", "flat"], ["9"], name="flatten"),
        make("Gemm", ["9", "d", "d_bias"], ["output"], name="d", transB=1),
    ]
    ends = (
        [helper.make_tensor_value_info("input", 1, [1, 8, 10, 10])],
        [helper.make_tensor_value_info("output", 1, [1, 5])],
    )
    constants = [numpy_helper.from_array(a, n) for n, a in arrays.items()]
    graph = helper.make_graph(nodes, "net", *ends, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def outputs(model: Any, images: NDArray[Any] = IMAGES, optimized: Path | None = None) -> NDArray[Any]:
    """Return what a model gives for each image ``(n, 5)``."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"input": image[None]})[0] for image in images])


def decibels(wanted: NDArray[Any], found: NDArray[Any]) -> float:
    """Return the ratio of a signal to its error."""
    return float(10 * np.log10(np.square(wanted).sum() / np.square(wanted - found).sum()))


def test_onnx_runtime_runs_all_of_it_in_integers_with_the_activations_gone(tmp_path: Path) -> None:
    made = quantize(network(), IMAGES, ALL)
    onnx.checker.check_model(made, full_check=True)
    outputs(made, IMAGES[:1], tmp_path / "fused.onnx")
    ops = Counter(node.op_type for node in onnx.load(tmp_path / "fused.onnx").graph.node)
    assert ops["QLinearConv"] == 3
    assert ops["QLinearAdd"] == ops["QGemm"] == ops["NhwcMaxPool"] == 1
    assert not {"Conv", "Relu", "Clip", "Add", "Gemm"} & ops.keys()
    assert ops["DequantizeLinear"] == 1  # before the mean, which is in float


@pytest.mark.parametrize("observer", sorted(OBSERVERS))
def test_every_observers_outputs_are_near_the_float_networks(observer: Any) -> None:
    assert decibels(outputs(network()), outputs(quantize(network(), IMAGES, Method(observer)))) > 15


def test_correction_brings_outputs_of_new_images_nearer() -> None:
    unseen = np.random.default_rng(6).normal(size=(40, 8, 10, 10)).astype(np.float32)
    wanted = outputs(network(), unseen)
    plain, corrected = (
        decibels(wanted, outputs(quantize(network(), IMAGES, method), unseen)) for method in (Method("mse"), ALL)
    )
    assert corrected > plain


def test_the_same_images_give_the_same_bytes() -> None:
    first, second = (quantize(network(), IMAGES, ALL).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_a_layer_kept_float_stays_so() -> None:
    made = quantize(network(), IMAGES, Method(), keep_float=["c"])
    weights = {node.name: node.input[1] for node in made.graph.node if node.op_type == "Conv"}
    assert weights["c"] == "c"
    assert weights["b"].endswith("dequantized")


def test_onnx_runtime_leaves_the_weights_of_a_layer_kept_float_alone(tmp_path: Path) -> None:
    made = quantize(network(), IMAGES, Method(), keep_float=["c"])
    outputs(made, IMAGES[:1], tmp_path / "fused.onnx")
    ops = Counter(node.op_type for node in onnx.load(tmp_path / "fused.onnx").graph.node)
    assert ops["QLinearConv"] == 2  # a and b
    assert ops["Conv"] + ops["FusedConv"] == 1  # c


def test_a_layer_with_too_many_inputs_for_its_gram_matrix_is_only_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    def integers(method: Method, node: str) -> NDArray[Any]:
        made = quantize(network(), IMAGES, method)
        return next(numpy_helper.to_array(i) for i in made.graph.initializer if i.name == f"{node}/{node}/integers")

    monkeypatch.setattr("flyweight.quantize._fit.WIDEST", 20)  # a has 8 · 3 · 3 = 72 inputs, c 16
    np.testing.assert_array_equal(integers(ALL, "a"), integers(Method("mse"), "a"))
    assert np.any(integers(ALL, "c") != integers(Method("mse"), "c"))


def test_infinite_activations_are_refused_by_the_tensors_name() -> None:
    images = IMAGES.copy()
    images[0, 0, 0, 0] = np.inf
    with pytest.raises(ExportError, match="'input' holds"):
        quantize(network(), images, Method())


def test_counts_are_of_the_nearest_point() -> None:
    found = counted(np.array([0.0, 6.0, 6.0, 3.0]), 0.0, 6.0)  # 2047 steps: 3 lies at 1023.5
    assert found[0] == 1
    assert found[-1] == 2
    assert found[1023:1025].sum() == 1
    assert len(found) == BINS


def test_zero_is_exact_in_every_scale() -> None:
    for low, high in ((-1.3, 2.2), (0.4, 5.0), (-3.0, -1.0)):
        assert Scale.of(low, high).rounded(np.zeros(1)) == 0


def test_mse_cuts_off_an_outlier_that_minmax_keeps() -> None:
    counts = np.zeros(BINS)
    counts[: BINS // 10], counts[-1] = 1e5, 1.0  # nearly all below a tenth of the largest
    seen = Histogram(0.0, 10.0, counts)
    assert OBSERVERS["minmax"](seen) == (0.0, 10.0)
    assert OBSERVERS["mse"](seen)[1] < 5


def test_a_dead_channels_step_still_holds_its_bias() -> None:
    steps = steps_of(np.zeros((1, 4)), np.array([3.0]), 1e-6)
    assert abs(3.0 / (steps[0] * 1e-6)) < 2**31


def test_compensated_rounding_has_less_output_error_than_nearest() -> None:
    random = np.random.default_rng(7)
    mixed = random.normal(size=(500, 24)) @ random.normal(size=(24, 24))  # inputs that go together
    weight = random.normal(size=(10, 24))
    steps = np.abs(weight).max(1) / 7  # coarse, that it shows
    gram = (mixed.T @ mixed / 500)[None]
    errors = [
        np.square(mixed @ (weight - integers * steps[:, None]).T).mean()
        for integers in (nearest(weight, steps), compensated(weight, steps, gram))
    ]
    assert errors[1] < 0.7 * errors[0]


def test_refitting_and_bias_undo_a_known_change_of_the_inputs() -> None:
    random = np.random.default_rng(8)
    seen = random.normal(size=(1, 4000, 6)) + 1
    changed = 0.5 * seen + 0.25  # the layer gets half of what it should, and an offset
    moments = moments_of([(seen, changed)])
    halves = moments_of([(seen[:, :1000], changed[:, :1000])]), moments_of([(seen[:, 1000:], changed[:, 1000:])])
    together = halves[0] + halves[1]
    np.testing.assert_allclose(together.gram, moments.gram, atol=1e-12)
    np.testing.assert_allclose(together.lost, moments.lost, atol=1e-12)
    weight = random.normal(size=(3, 6))
    fitted = refitted(weight, halves)
    np.testing.assert_allclose(fitted / weight, 2.0, rtol=0.1)  # less the ridge's pull
    bias = corrected_bias(weight, np.zeros(3), fitted, moments)
    np.testing.assert_allclose((changed[0] @ fitted.T + bias).mean(0), (seen[0] @ weight.T).mean(0), atol=1e-9)


@pytest.mark.parametrize("observer", OBSERVERS)
def test_ranges_of_absolute_values_serve_127_steps_as_signed_ones_serve_255(observer: str) -> None:
    values = np.abs(np.random.default_rng(2).laplace(size=20000)).astype(np.float32)
    largest = float(values.max())
    seen = Histogram(0.0, largest, counted(values, 0.0, largest), SYMMETRIC_LEVELS)
    low, high = OBSERVERS[observer](seen)
    assert low >= 0 and high <= largest
    error = {end: float(np.square(values - Scale.of(0.0, end, 127).rounded(values)).mean()) for end in (high, largest)}
    assert Scale.of(0.0, high, 127).step == pytest.approx(high / 127)
    assert error[high] <= (1.001 if observer in ("minmax", "mse") else 30) * error[largest]


def test_both_halves_of_a_split_have_the_scale_of_what_is_split() -> None:
    """ONNX Runtime splits integers then: no float between the layers."""
    make = helper.make_node
    random = np.random.default_rng(0)
    arrays = {"a": random.normal(size=(8, 8, 1, 1)).astype(np.float32), "size": np.array([4, 4])}
    arrays |= {"b": random.normal(size=(8, 4, 1, 1)).astype(np.float32)}
    nodes = [
        make("Conv", ["input", "a"], ["whole"], name="first"),
        make("Split", ["whole", "size"], ["left", "right"], name="split", axis=1),
        make("Conv", ["left", "b"], ["changed"], name="second"),
        make("Concat", ["changed", "right"], ["output"], name="both", axis=1),
    ]
    ends = [[helper.make_tensor_value_info(n, 1, [1, c, 10, 10])] for n, c in (("input", 8), ("output", 12))]
    constants = [numpy_helper.from_array(a, n) for n, a in arrays.items()]
    graph = helper.make_graph(nodes, "net", *ends, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    made = quantize(model, IMAGES[:4], Method("minmax"))
    steps = {item.name: numpy_helper.to_array(item) for item in made.graph.initializer}
    assert steps["left/step"] == steps["right/step"] == steps["whole/step"]
    assert {node.name for node in made.graph.node} >= {"left/quantize", "right/quantize"}
