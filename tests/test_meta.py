"""Every shape rule against PyTorch's own."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flyweight._meta import RULES, output_like

aten = torch.ops.aten
X, Y = torch.rand(2, 6, 9, 7), torch.rand(2, 6, 9, 7)
_NAMES = "relu relu6 sigmoid silu hardswish hardsigmoid gelu mish tanh neg abs exp sqrt rsqrt softplus elu leaky_relu"
ACTIVATIONS = frozenset(_NAMES.split())
CASES: list[tuple[Any, tuple[Any, ...]]] = [
    *((func, (X.clone(),)) for func in RULES if func._schema.name.removeprefix("aten::").rstrip("_") in ACTIVATIONS),
    (aten.hardtanh.default, (X, 0, 6)),
    (aten.clamp.default, (X, 0, 1)),
    (aten.add.Tensor, (X, Y)),
    (aten.mul.Tensor, (X, torch.rand(6, 1, 1))),
    (aten.sub.Tensor, (torch.rand(7), X)),
    (aten.div.Tensor, (X, 2)),
    (aten.add_.Tensor, (X.clone(), torch.rand(7))),
    (aten.batch_norm.default, (X, None, None, torch.zeros(6), torch.ones(6), False, 0.1, 1e-5, False)),
    (aten.layer_norm.default, (X, [9, 7])),
    (aten.linear.default, (X, torch.rand(4, 7), torch.rand(4))),
    (aten.cat.default, ([X, torch.rand(2, 1, 9, 7)], 1)),
    (aten.cat.default, ([X, X], -1)),
    (aten.mean.dim, (X, [2, 3])),
    (aten.mean.dim, (X, [-1], True)),
    (aten.adaptive_avg_pool2d.default, (X, [3, 2])),
    (aten.max_pool2d.default, (X, [3, 3], [2, 2], [1, 1])),
    (aten.max_pool2d.default, (X, [2], [], [0], [2])),
    (aten.upsample_bilinear2d.vec, (X, None, False, [2.0, 1.5])),
    (aten.upsample_bilinear2d.vec, (X, [5, 4], True, None)),
]  # fmt: skip


def on_meta(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to("meta")
    return [on_meta(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("func", "args"), CASES, ids=[f"{case[0]}-{i}" for i, case in enumerate(CASES)])
def test_a_rule_gives_the_shape_and_dtype_of_the_real_operator(func: Any, args: tuple[Any, ...]) -> None:
    made = output_like(func, tuple(on_meta(a) for a in args), {})
    assert made is not None
    real = func(*args)
    assert (made.shape, made.dtype) == (real.shape, real.dtype)


@given(
    sizes=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2)),
    window=st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 3), st.integers(1, 2)),
    transposed=st.booleans(),
    extra=st.integers(0, 1),
)
def test_the_rule_of_convolutions_gives_the_real_shape_or_leaves_it_to_pytorch(
    sizes: tuple[int, int],
    channels: tuple[int, int, int],
    window: tuple[int, int, int, int],
    transposed: bool,
    extra: int,
) -> None:
    (inputs, outputs, groups), (kernel, stride, padding, dilation) = channels, window
    x = torch.rand(2, inputs * groups, *sizes)
    first, second = (inputs * groups, outputs) if transposed else (outputs * groups, inputs)
    weight = torch.rand(first, second, kernel, kernel)
    extra = extra if transposed and extra < max(stride, dilation) else 0
    rest = ([stride] * 2, [padding] * 2, [dilation] * 2, transposed, [extra] * 2, groups)
    made = output_like(aten.convolution.default, (x.to("meta"), weight.to("meta"), None, *rest), {})
    try:
        real = aten.convolution.default(x, weight, None, *rest)
    except RuntimeError:
        assert made is None
        return
    assert real.numel() == 0 if made is None else made.shape == real.shape


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (aten.linear.default, (X, torch.rand(4, 8))),
        (aten.add.Tensor, (X, torch.rand(5))),
        (aten.add.Tensor, (X, torch.zeros(7, dtype=torch.int64))),
        (aten.cat.default, ([X, torch.rand(2, 1, 8, 7)], 1)),
        (aten.relu.default, (torch.zeros(3, dtype=torch.int64),)),
        (aten.layer_norm.default, (X, [8])),
        (aten.mean.dim, (X, None)),
        (aten.max_pool2d.default, (X, [2, 2], [2, 2], [0, 0], [1, 1], True)),
        (aten.softmax.int, (X, 1)),
    ],
)
def test_what_does_not_fit_a_rule_is_left_to_pytorch(func: Any, args: tuple[Any, ...]) -> None:
    assert output_like(func, tuple(on_meta(a) for a in args), {}) is None


def test_tracing_a_convolutional_network_imports_neither_sympy_nor_the_compiler() -> None:
    program = """
import sys, torch
from torch import nn
from flyweight.trace import trace
stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU6(), nn.MaxPool2d(2))
head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
trace(nn.Sequential(stem, head), torch.zeros(1, 3, 16, 16))
print([name for name in ("sympy", "torch._dynamo") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
