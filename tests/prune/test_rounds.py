"""Pruning in rounds: each takes its part, and what one leaves too much the next makes up for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flyweight.errors import UsageError
from flyweight.profile import profile_module
from flyweight.prune import Goal, prune_in_rounds
from tests.prune.awkward import conv, image, normed, seasoned


def net() -> nn.Module:
    torch.manual_seed(0)
    return seasoned(nn.Sequential(normed(3, 48), normed(48, 48, 3), conv(48, 4)))


def test_four_rounds_end_at_the_goal_each_a_fourth_root_smaller_and_each_trained_on() -> None:
    seen: list[int] = []

    def tune(module: nn.Module, number: int) -> nn.Module:
        seen.append(profile_module(module, image()).macs)
        return module

    whole = profile_module(net(), image()).macs
    made = prune_in_rounds(net(), image(), Goal(0.4), tune)
    assert made.share == pytest.approx(seen[-1] / whole)
    assert 0.36 < made.share <= 0.4
    assert [round(macs / whole, 1) for macs in seen] == [0.8, 0.6, 0.5, 0.4]  # 0.4 ** (1/4) is 0.795


def test_no_round_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one"):
        prune_in_rounds(net(), image(), Goal(0.4), lambda module, _: module, rounds=0)
