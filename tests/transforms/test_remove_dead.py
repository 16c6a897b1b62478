"""remove_dead: what is dead goes, what is tied goes with it, and the outputs stay as they were."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from flyweight.contracts import Candidate, Env, Preprocessing
from flyweight.errors import TransformError
from flyweight.evaluate import preprocess
from flyweight.health import anatomy
from flyweight.testing import _networks as networks
from flyweight.testing._planted import planted
from flyweight.transforms.remove_dead import RemoveDead, removed
from flyweight.transforms.resize_input import ResizeInput
from tests.wirings import BLOCKS, network


def outputs(module: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        out: Tensor = module(x)
    return out


def difference(before: Candidate, after: Candidate, x: Tensor) -> float:
    """Return the largest difference over the largest output."""
    old, new = outputs(before.module, x), outputs(after.module, x)
    return float((old - new).abs().max() / old.abs().max())


def small(*layers: nn.Module) -> Candidate:
    torch.manual_seed(0)
    return Candidate(nn.Sequential(*layers).eval(), Preprocessing(6, 6))


def test_dead_filter_takes_its_norm_its_depthwise_kernel_and_its_readers_column_along() -> None:
    candidate = small(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 2, 1)
    )
    with torch.no_grad():
        candidate.module.get_parameter("1.weight")[2] = 0  # and its shift is 0: relu gives 0
    edited = RemoveDead().apply(candidate, Env())
    shapes = {name: tuple(p.shape) for name, p in edited.module.named_parameters()}
    assert [shapes[n] for n in ("0.weight", "1.weight", "3.weight", "4.weight")] == [
        (3, 3, 1, 1), (3,), (3, 1, 3, 3), (2, 3, 1, 1),
    ]  # fmt: skip
    assert edited.module.get_submodule("3").groups == 3
    assert edited.module.get_buffer("1.running_mean").shape == (3,)


def test_constant_goes_into_the_bias_of_its_reader() -> None:
    candidate = small(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 3, bias=False))
    with torch.no_grad():
        candidate.module.get_parameter("0.weight")[1] = 0
        candidate.module.get_parameter("0.bias")[1] = 0.5
    edited = RemoveDead().apply(candidate, Env())
    taps = candidate.module.get_parameter("2.weight")[:, 1].sum((1, 2))  # all nine of them see the constant
    assert torch.allclose(edited.module.get_parameter("2.bias"), 0.5 * taps)
    assert difference(candidate, edited, torch.randn(2, 3, 6, 6)) <= 1e-6


def test_dead_filter_that_is_added_to_a_live_one_stays() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.c(self.a(x) + self.b(x))
            return out

    candidate = small(Sum())
    with torch.no_grad():
        candidate.module.get_parameter("0.a.weight")[1] = 0
    with pytest.raises(TransformError, match="no channel can be removed"):
        RemoveDead().apply(candidate, Env())
    with torch.no_grad():
        candidate.module.get_parameter("0.b.weight")[1] = 0
    edited = RemoveDead().apply(candidate, Env())
    assert edited.module.get_parameter("0.c.weight").shape == (2, 3, 1, 1)


def test_a_layer_is_not_left_without_channels() -> None:
    candidate = small(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    with torch.no_grad():
        candidate.module.get_parameter("0.weight").zero_()
        candidate.module.get_parameter("0.bias").zero_()
    edited = RemoveDead().apply(candidate, Env())
    assert edited.module.get_parameter("0.weight").shape == (1, 3, 1, 1)


def test_code_that_fixes_a_number_of_channels_keeps_them() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
            self.c = nn.Linear(4 * 36, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.c(self.b(self.a(x)).view(-1, 4 * 36))
            return out

    candidate = small(Fixed())
    with torch.no_grad():
        for name in ("a", "b"):
            candidate.module.get_parameter(f"0.{name}.weight")[1] = 0
            candidate.module.get_parameter(f"0.{name}.bias")[1] = 0
    edited = RemoveDead().apply(candidate, Env())
    assert edited.module.get_parameter("0.a.weight").shape[0] == 3
    assert edited.module.get_parameter("0.b.weight").shape[0] == 4
    assert difference(candidate, edited, torch.randn(2, 3, 6, 6)) <= 1e-6


def test_what_is_dead_on_images_only_goes_only_when_asked_and_is_equal_on_those() -> None:
    candidate, truth = planted(networks.inverted(), ("negative",))
    with pytest.raises(TransformError, match="no channel"):
        RemoveDead().apply(candidate, Env())
    images = networks.synthetic_images(8, networks.PIXELS)
    edited = RemoveDead(on_images=True).apply(candidate, Env(calibration_images=images))
    seen = torch.from_numpy(preprocess(np.stack(images), candidate.preprocessing))
    assert difference(candidate, edited, seen) <= 1e-5
    assert "8 images, and equal on those" in edited.history[-1].before
    assert truth


def test_on_images_without_images_is_refused() -> None:
    with pytest.raises(TransformError, match="needs images"):
        RemoveDead(on_images=True).apply(networks.withered(), Env())


def test_an_edit_of_the_spec_behind_it_is_refused() -> None:
    edited = RemoveDead().apply(networks.withered(), Env())
    with pytest.raises(TransformError, match="before folding it, taking channels out"):
        ResizeInput(height=32, width=32).requires(edited)


@settings(max_examples=60)
@given(st.lists(st.sampled_from(sorted(BLOCKS)), min_size=1, max_size=5), st.integers(0, 10**6))
def test_whatever_is_zero_and_however_it_is_wired_outputs_are_equal(names: list[str], seed: int) -> None:
    module = network(names, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, param in module.named_parameters():
            if name.endswith("weight"):
                param[torch.rand(len(param), generator=generator) < 0.4] = 0  # filters and scales; biases stay
    found = anatomy(module, torch.zeros(1, 3, 4, 4, dtype=torch.float64))
    smaller, plan = removed(found, torch.zeros(1, 3, 4, 4, dtype=torch.float64))
    event("removes" if plan.ids.size else "removes nothing")
    event("folds" if plan.folds else "folds nothing")
    x = torch.randn(3, 3, 4, 4, dtype=torch.float64)
    assert torch.allclose(outputs(smaller, x), outputs(module, x), rtol=1e-6, atol=1e-6)  # constants are float32's
