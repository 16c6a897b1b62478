"""flyweight.labels says of a moved tensor what PyTorch's own operator says of an index."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from flyweight import labels as lb
from flyweight.graph import Node
from flyweight.trace import trace


class Moves(nn.Module):
    """Applies a function, so that it can be traced."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def carried(function: Any, index: Tensor, known: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """Return the labels of what a function makes of a tensor, whose own are ``known``."""
    graph = trace(Moves(function), index)
    labels = {graph.inputs[0]: known}
    for node in graph.nodes:
        shapes = [graph.tensors[name].shape for name in node.operands]
        made = [graph.tensors[name].shape for name in node.outputs]
        found = lb.moved(node, [labels[name] for name in node.operands], shapes, made)
        assert found is not None, node.op
        labels |= dict(zip(node.outputs, found, strict=True))
    return [np.broadcast_to(labels[name], graph.tensors[name].shape) for name in graph.outputs]


MOVES = {
    "shuffle": lambda x: x.reshape(1, 2, 6, 2, 3).transpose(1, 2).reshape(1, 12, 2, 3),
    "flatten": lambda x: x.flatten(1),
    "rows": lambda x: x.permute(0, 2, 3, 1).reshape(1, -1, 4),
    "halves": lambda x: x.chunk(2, dim=1),
    "parts": lambda x: torch.split_with_sizes(x, [3, 4, 5], dim=1),
    "both": lambda x: torch.cat([x[:, 4:], x, x[:, :2]], dim=1),
    "every other": lambda x: x[:, 1::2],
    "one": lambda x: x[:, 5],
    "stack": lambda x: torch.stack([x, x.flip(1)], dim=2),
    "roll": lambda x: x.roll(5, 1),
    "repeat": lambda x: x.repeat(1, 2, 1, 1),
    "unbind": lambda x: x.unbind(1)[3:5],
    "expand": lambda x: x[:, :, :1, :1].expand(1, 12, 4, 5),
    "squeeze": lambda x: x[:, 2:3].squeeze(1).unsqueeze(0),
}


@pytest.mark.parametrize("name", MOVES)
def test_labels_move_like_the_elements(name: str) -> None:
    index = torch.arange(12).reshape(1, 12, 1, 1).expand(1, 12, 2, 3).contiguous()
    truth = MOVES[name](index)
    truth = truth if isinstance(truth, tuple) else (truth,)
    found = carried(MOVES[name], index, np.arange(12).reshape(1, 12, 1, 1))
    for ours, theirs in zip(found, truth, strict=True):
        assert np.array_equal(ours, theirs.numpy())


SIZES = st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=4)


@given(SIZES, st.data())
def test_reshaped_labels_are_those_of_the_reshaped_tensor(old: list[int], data: st.DataObject) -> None:
    total = int(np.prod(old))
    new: list[int] = []
    while total > 1 or not new:
        divisors = [d for d in range(1, total + 1) if total % d == 0]
        new.append(data.draw(st.sampled_from(divisors)))
        total //= new[-1]
        if len(new) > 5:
            new.append(total)
            break
    varies = [data.draw(st.booleans()) for _ in old]
    known = np.arange(np.prod([s if v else 1 for s, v in zip(old, varies, strict=True)]))
    known = known.reshape([s if v else 1 for s, v in zip(old, varies, strict=True)])
    found = lb.reshaped(known, tuple(old), tuple(new))
    assert np.array_equal(np.broadcast_to(found, new), np.broadcast_to(known, old).reshape(new))


def test_a_dimension_along_which_nothing_changes_has_size_one() -> None:
    nan = float("nan")
    assert lb.compressed(np.array([[1.0, 1.0], [nan, nan]])).shape == (2, 1)


def test_an_operator_that_computes_is_not_a_move() -> None:
    node = Node("n", "add", ("a", "b"), ("c",))
    assert lb.moved(node, [np.zeros((1, 1))] * 2, [(2, 2)] * 2, [(2, 2)]) is None
