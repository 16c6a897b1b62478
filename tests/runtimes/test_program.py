"""A network as plain data computes the same when it is built again."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from flyweight.contracts import Candidate, Preprocessing
from flyweight.errors import ExportError
from flyweight.runtimes._executorch_tasks import SPLITS, sliced
from flyweight.runtimes._litert_tasks import cropped_transposed_convolution
from flyweight.runtimes._program import from_plain, to_plain
from flyweight.testing import _networks as networks
from flyweight.zoo import ZOO
from tests.runtimes import nets

SMALL = Preprocessing(8, 8, (0.0,), (1.0,))


@pytest.mark.parametrize("name", ["shufflenet_v2_0.5", "mobilenet_v3_small_0.5_torchvision"])
def test_network_built_again_computes_the_very_same(name: str) -> None:
    candidate = networks.seasoned(networks.narrow(ZOO.get(name).spec))
    plain, tensors = to_plain(candidate, "litert")
    image = torch.randn(candidate.input_shape)
    again = from_plain(json.loads(json.dumps(plain)), tensors)
    with torch.no_grad():
        assert torch.equal(again(image), candidate.module(image))


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda y: y + 1, lambda y: y - 1, (x,))


class Two(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x + 1, x - 1


@pytest.mark.parametrize(("module", "said"), [(Branches(), "can't express"), (Two(), "1 inputs and 2 outputs")])
def test_what_is_no_chain_of_operators_is_refused(module: nn.Module, said: str) -> None:
    with pytest.raises(ExportError, match=said):
        to_plain(Candidate(module.eval(), SMALL), "litert")


@pytest.mark.parametrize("name", ["os.system", "prims.add.default", "aten.add", "aten..x"])
def test_only_aten_operators_can_be_named(name: str) -> None:
    plain = {"input": "x", "output": "y", "nodes": [{"name": "y", "op": name, "args": [], "kwargs": {}}]}
    with pytest.raises((KeyError, AttributeError)):
        from_plain(plain, {})


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "extra"), [(3, 2, 1, 1), (5, 2, 2, 1), (4, 2, 1, 0), (3, 3, 1, 1)]
)
def test_transposed_convolution_without_output_padding_is_exact(
    kernel: int, stride: int, padding: int, extra: int
) -> None:
    module = nn.ConvTranspose2d(3, 4, kernel, stride, padding, output_padding=extra)
    plain, tensors = to_plain(Candidate(module.eval(), Preprocessing(9, 9)), "litert")
    (node,) = plain["nodes"]
    image = torch.randn(1, 3, 9, 9)
    again = from_plain(plain, tensors, {node["op"]: cropped_transposed_convolution})
    with torch.no_grad():
        wanted = module(image)
        assert again(image).shape == wanted.shape
        assert np.abs((again(image) - wanted).numpy()).max() <= 1e-6 * float(wanted.abs().max())


class Splits(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        one, two, three = x.chunk(3, dim=1)  # 2, 2 and 1 of five channels
        left, right = x.split([3, 6], dim=-1)
        top, _, bottom = torch.split(x, 4, 2)
        return one.sum() + two.mean() - three.amax() + left.sum() * right.mean() + top.amax() - bottom.sum() + 0 * x


def test_slices_in_the_place_of_splits_are_exact() -> None:
    plain, tensors = to_plain(Candidate(Splits().eval(), Preprocessing(9, 9, (0.0,) * 5, (1.0,) * 5)), "executorch")
    assert {node["op"] for node in plain["nodes"]} >= set(SPLITS)
    image = torch.randn(1, 5, 9, 9)
    again = from_plain(plain, tensors, dict.fromkeys(SPLITS, sliced))
    assert torch.equal(again(image), Splits()(image))


def test_plain_data_holds_every_weight() -> None:
    candidate = nets.small()
    _, tensors = to_plain(candidate, "litert")
    sizes = sum(value.numel() for value in candidate.module.parameters())
    assert sum(array.size for array in tensors.values()) >= sizes
