"""Training on int8 grids: what the module computes is what ONNX Runtime computes with the file that is made of it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from flyweight.contracts import Candidate, Preprocessing
from flyweight.errors import ExportError, UsageError
from flyweight.qat import FakeQuantized, Prepared, Rounding, WeightGrid, prepare
from flyweight.qat import _grid as grids
from flyweight.runtimes import RUNTIMES

SIZE = 12
IMAGES = np.random.default_rng(1).normal(size=(16, 3, SIZE, SIZE)).astype(np.float32)


class Net(nn.Module):
    """All that is quantized in its own way: ReLU6, depthwise, a sum, a concatenation, halves, a gate, a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.BatchNorm2d(16), nn.Hardswish())
        self.project = nn.Sequential(nn.Conv2d(16, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.gate = nn.Conv2d(16, 32, 1)
        self.up = nn.ConvTranspose2d(32, 16, 4, 2, 1)
        self.classify = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        left, right = (x + self.project(self.depthwise(x))).chunk(2, 1)
        x = torch.cat([right, left], 1)
        x = torch.cat([x, x], 1) * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))
        return self.classify(torch.relu(self.up(x)).mean((2, 3)))  # type: ignore[no-any-return]


def candidate() -> Candidate:
    torch.manual_seed(3)
    net = Net().train()
    for _ in range(3):
        net(torch.from_numpy(IMAGES))  # norms' statistics
    return Candidate(net.eval(), Preprocessing(SIZE, SIZE))


@pytest.fixture(scope="module")
def begun() -> Prepared:
    return prepare(candidate(), IMAGES)


def in_onnxruntime(model: Any, images: NDArray[Any] = IMAGES) -> NDArray[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"input": image[None]})[0] for image in images])


def in_pytorch(network: FakeQuantized, images: NDArray[Any] = IMAGES) -> NDArray[Any]:
    with torch.no_grad():
        return network(torch.from_numpy(images)).numpy()  # type: ignore[no-any-return]


def decibels(wanted: NDArray[Any], found: NDArray[Any]) -> float:
    return float(10 * np.log10(np.square(wanted).mean() / max(np.square(wanted - found).mean(), 1e-30)))


def trained(begun: Prepared, steps: int = 12) -> FakeQuantized:
    """Return the network after a few steps that change every weight and range."""
    network = copy.deepcopy(begun.network).train()
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    wanted = torch.from_numpy(np.random.default_rng(2).integers(0, 5, len(IMAGES)))
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(torch.from_numpy(IMAGES)), wanted).backward()
        optimizer.step()
    return network.eval()


def test_without_rounding_it_is_the_float_network(begun: Prepared) -> None:
    network = begun.network
    network.quantizing = False
    found = in_pytorch(network)
    network.quantizing = True
    assert np.abs(found - in_pytorch(candidate().module)).max() < 1e-5  # type: ignore[arg-type]


def test_after_training_the_file_computes_what_the_module_computes(begun: Prepared) -> None:
    network = trained(begun)
    ours, theirs, before = in_pytorch(network), in_onnxruntime(network.file()), in_pytorch(begun.network)
    assert decibels(before, ours) < 10  # training changed it
    assert decibels(ours, theirs) > 60
    assert (ours.argmax(1) == theirs.argmax(1)).all()


def test_the_file_holds_exactly_the_trained_ranges_and_weights(begun: Prepared) -> None:
    network = trained(begun, 3)
    arrays = {item.name: numpy_helper.to_array(item) for item in network.file().graph.initializer}
    scales = network.scales()
    for name, scale in scales.items():
        assert arrays[f"{name}/step"] == np.float32(scale.step)
        assert arrays[f"{name}/zero"] == scale.zero
    for place, layer in enumerate(network.plan.layers):
        name = next(key for key in arrays if key.endswith(f"/{layer.weight}/step"))
        np.testing.assert_array_equal(arrays[name], network.weight_steps[place].detach().exp().numpy())


def test_a_relu6_keeps_its_bounds_however_far_training_drives_its_step(begun: Prepared) -> None:
    network = copy.deepcopy(begun.network)
    bounded = [name for name, ends in network.plan.points.items() if ends == (0.0, 6.0)]
    assert bounded
    with torch.no_grad():
        for step in network.steps:
            step += 5.0
    assert all(network.scales()[name].step * 255 <= 6.0 * (1 + 1e-6) for name in bounded)


@pytest.mark.parametrize("weights", [WeightGrid(4), WeightGrid(8, per_channel=False)])
def test_few_bits_and_one_scale_a_tensor_are_in_the_file(weights: WeightGrid) -> None:
    network = prepare(candidate(), IMAGES, Rounding(weights, "minmax", "fixed")).network
    model = network.file()
    arrays = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    integers = [value for value in arrays.values() if value.dtype == np.int8 and value.ndim > 1]
    assert len(integers) == len(network.layers)
    assert max(int(np.abs(value).max()) for value in integers) == weights.levels
    assert decibels(in_pytorch(network), in_onnxruntime(model)) > 25
    if not weights.per_channel:
        steps = [arrays[name] for name in arrays if name.endswith("weight/step")]
        assert all(np.ptp(item) == 0 for item in steps)


def test_a_steps_gradient_is_that_of_the_error_it_makes() -> None:
    """Inside the range d(y)/d(log step) is y - x; where clipped it is y (LSQ, equation 3, times the step)."""
    x = torch.tensor([0.26, 0.74, 9.0, -3.0], requires_grad=True)
    log_step = torch.tensor(0.1).log().requires_grad_()
    y = grids.activation(x, log_step, 10)  # from -1.0 to 24.5
    torch.testing.assert_close(y, torch.tensor([0.3, 0.7, 9.0, -1.0]))
    y.sum().backward()
    assert x.grad is not None
    assert log_step.grad is not None
    assert x.grad.tolist() == [1.0, 1.0, 1.0, 0.0]
    assert float(log_step.grad) == pytest.approx((0.3 - 0.26) + (0.7 - 0.74) + 0.0 + -1.0, abs=1e-5)


def test_onnxruntime_exports_the_trained_file(begun: Prepared, tmp_path: Path) -> None:
    artifact = RUNTIMES.get("onnxruntime").export(begun.exportable(), tmp_path)
    assert artifact.precision == "int8"
    found = RUNTIMES.get("onnxruntime").load(artifact, 1)(IMAGES[:4])
    np.testing.assert_array_equal(found, in_onnxruntime(begun.network.file(), IMAGES[:4]))
    assert "classify" in artifact.module_of.values()
    assert {"input", "output"} == {v.name for g in [onnx.load(artifact.files[0]).graph] for v in (*g.input, *g.output)}


def test_what_cannot_be_trained_is_named() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sin(x)

    with pytest.raises(ExportError, match=r"operator 'Sin'"):
        prepare(Candidate(Odd().eval(), Preprocessing(SIZE, SIZE)), IMAGES)
    with pytest.raises(UsageError, match="weights of 1 bits"):
        WeightGrid(1)
    with pytest.raises(ExportError, match="no observer 'best'"):
        prepare(candidate(), IMAGES, Rounding(observer="best"))
