"""Any module that a user brings: counted exactly, shown as unknown, or refused with a sentence that helps."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from flyweight.errors import GraphError, UnknownOperatorError
from flyweight.profile import profile_module
from tests.contracts.awkward import CASES, Awkward, Net, attention, image, tokens

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # of one of the networks
EVERY = pytest.mark.parametrize("case", CASES.values(), ids=[name.replace(" ", "-") for name in CASES])


def called(net: nn.Module, example: Any) -> Any:
    if isinstance(example, dict):
        return net(**example)
    return net(*example) if isinstance(example, tuple) else net(example)


def dispatched_macs(net: nn.Module, example: Any) -> int:
    """Return what PyTorch's own counter sees in a real run; it knows attention only as matrix products."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            called(net.eval(), example)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    assert counter.get_total_flops() % 2 == 0
    return int(counter.get_total_flops()) // 2


@EVERY
def test_macs_and_parameters_are_those_spelt_out(case: Awkward) -> None:
    found = profile_module(case.make(), case.example, strict=True)
    assert (found.macs, found.params) == (case.macs, case.params)


@EVERY
def test_macs_are_those_seen_at_dispatch(case: Awkward) -> None:
    if case.dispatched:
        assert dispatched_macs(case.make(), case.example) == case.macs


def state_of(net: nn.Module) -> tuple[Any, ...]:
    modules = list(net.modules())
    kept = [sorted(vars(module)) for module in modules]
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in modules]
    grads = [(p.requires_grad, p.grad is None) for p in net.parameters()]
    values = {name: value.tolist() for name, value in net.state_dict().items()}
    rng = (torch.get_rng_state().tolist(), random.getstate(), torch.is_grad_enabled())
    return [module.training for module in modules], kept, hooks, grads, values, rng


@EVERY
def test_the_module_is_left_as_it_was_also_by_a_failure_and_says_the_same_again(case: Awkward) -> None:
    net = case.make()
    before, first = state_of(net), profile_module(net, case.example)
    with pytest.raises(GraphError):
        profile_module(net, {"no_such_argument": 1})
    assert profile_module(net, case.example) == first
    assert state_of(net) == before


def calls(function: Callable[..., Any]) -> nn.Module:
    return Net(lambda net, *args: function(*args))


@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (torch.fft.fft2, "_fft_c2c"),
        (lambda x: torch.cdist(x, x), "_cdist_forward"),
        (lambda x: torch.linalg.svd(x)[1], "_linalg_svd"),
        (lambda x: torch.linalg.inv(x @ x.mT), "linalg_inv_ex"),
        (torch.special.i0, "i0"),
    ],
    ids=["fft", "cdist", "svd", "inverse", "bessel"],
)
def test_an_operator_without_a_formula_is_a_row_and_an_error_under_strict(
    function: Callable[..., Any], operator: str
) -> None:
    net = nn.Sequential(calls(function))
    unknown = [row for row in profile_module(net, tokens()).rows if not row.known]
    assert [(row.module, row.op, row.macs) for row in unknown] == [("0", f"aten.{operator}", None)]
    with pytest.raises(UnknownOperatorError, match=rf"layer '0': no formula for operator 'aten.{operator}'"):
        profile_module(net, tokens(), strict=True)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (calls(lambda x: x if x.sum() > 0 else -x), r"layer '0' decides by the values of a tensor.*Decide by shapes"),
        (calls(lambda x: x[x > 0]), r"layer '0' decides by the values of a tensor"),
        (calls(lambda x: torch.from_numpy(x.numpy())), r"layer '0' failed.*keep .numpy\(\), .tolist\(\)"),
        (calls(lambda x: x.tolist()), r"Tracing has shapes, not values"),
        (calls(lambda x: x.to_sparse()), r"_to_sparse.*Analyse the float, dense network"),
        (calls(lambda x: torch.autograd.grad(x.sum(), x)), r"computes gradients inside forward"),
        (Net(lambda net, x: net(x)), r"Does it call itself without an end\?"),
        (Net(lambda net, x, y: x), r"Pass all arguments"),
        (nn.Linear(7, 2), r"layer '0' failed on an example input of shape \(1, 5, 8\).*accept this input\?"),
    ],
    ids=["if", "mask", "numpy", "tolist", "sparse", "gradients", "recursion", "arguments", "shape"],
)
def test_what_cannot_be_analysed_is_refused_with_what_to_do(net: nn.Module, message: str) -> None:
    with pytest.raises(GraphError, match=message) as refused:
        profile_module(nn.Sequential(net), tokens())
    assert len(str(refused.value)) < 400


def test_attention_is_the_same_on_the_fast_path_that_hides_it() -> None:
    """In eval mode and without gradients PyTorch runs one fused operator; a counter that waits for it sees nothing."""
    net = attention(need_weights=False).eval()
    assert profile_module(net, tokens()).macs == CASES["nn.MultiheadAttention"].macs


def test_a_real_run_before_and_after_gives_equal_outputs() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True)).eval()
    x = image() + 1
    before: Tensor = net(x.clone())
    profile_module(net, x)
    assert torch.equal(net(x.clone()), before)
