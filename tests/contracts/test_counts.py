"""Counts of every architecture of the zoo equal a count at dispatch that shares nothing with Flyweight's."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from flyweight.build import skeleton
from flyweight.profile import profile_module
from flyweight.zoo import ZOO
from tests.contracts.test_zoo import EXPORTED

OTHERS = sorted(set(ZOO.origins) - set(EXPORTED))


@pytest.mark.parametrize("name", [*EXPORTED, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_macs_are_those_that_pytorch_sees_at_dispatch(name: str) -> None:
    """One member of every file, all of them under ``slow``."""
    net, x = skeleton(ZOO.get(name).spec)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        net(x)
    assert 2 * profile_module(net, x, strict=True).macs == counter.get_total_flops()
