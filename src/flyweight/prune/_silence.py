"""What pruning is exact against: the network as it was, with the channels that went made zero where they are made."""

from __future__ import annotations

import copy
from collections.abc import Collection

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flyweight._channels import depthwise
from flyweight._meta import tensors_in
from flyweight.coupling import Coupling, ParamAxis
from flyweight.graph import Node
from flyweight.narrow import tensor_of

__all__ = ["difference", "silenced"]

_LAYERS = ("conv", "conv_transpose", "linear")
# of operators that give zero for zeros, whatever their settings
_PRESERVING = """
    neg abs sqrt square sin tan atan erf tanh sign floor ceil round trunc relu sinh asinh atanh erfinv sgn hardshrink
    softshrink relu6 prelu leaky_relu dropout elu selu celu silu hardswish gelu mish mul div max_pool avg_pool
    adaptive_avg_pool adaptive_max_pool upsample_nearest upsample_bilinear upsample_bicubic pixel_shuffle
    pixel_unshuffle channel_shuffle instance_norm view reshape flatten unflatten transpose permute cat stack chunk split
    slice select unbind contiguous clone expand squeeze unsqueeze mean sum amax amin max min narrow pad maximum minimum
    add sub
"""
_ZERO_STAYS = frozenset(_PRESERVING.split())


def silenced(module: nn.Module, coupling: Coupling, removed: Collection[int]) -> nn.Module:
    """Return a copy of a network whose ``removed`` channels are zero: filters, biases, scales and shifts.

    Where something makes a number of that zero before a layer reads it (a sigmoid, an addition of a constant), that
    layer's weights for those channels are zero, too.

    Args:
        module: left as it is.
        coupling: of its graph. removed: numbers of channels.
    """
    gone = np.zeros(len(coupling.group_of) + 1, bool)  # the last: what has no channel
    gone[np.asarray(list(removed), int)] = True
    new = copy.deepcopy(module)
    zero: dict[str, bool] = {}  # whether the removed channels of a tensor are zero
    with torch.no_grad():
        for node in coupling.graph.nodes:
            if node.op in _LAYERS:
                _silence_layer(new, coupling, node, gone, zero)
            else:
                _silence_scales(new, coupling, node, gone)
            made = _zero_after(node, zero)
            zero |= dict.fromkeys(node.outputs, made)
    return new


def _zero_after(node: Node, zero: dict[str, bool]) -> bool:
    own = [zero.get(name, False) for name in node.operands if name in node.inputs]
    if node.op in _LAYERS or node.op == "batch_norm":
        return True
    if node.op not in _ZERO_STAYS or (node.op in ("add", "sub", "maximum", "minimum") and node.attr("other")):
        return False
    if node.op == "pad":
        return bool(own) and all(own) and not node.attr("value")
    return any(own) if node.op == "mul" else own[0] if node.op == "div" and own else all(own)


def _silence_layer(
    module: nn.Module, coupling: Coupling, node: Node, gone: NDArray[np.bool_], zero: dict[str, bool]
) -> None:
    transposed, through = node.op == "conv_transpose", depthwise(node, coupling.graph)
    for axis in coupling.params.get(node.operands[1], ()):
        makes = axis.dim == (1 if transposed and not through else 0)
        if makes or not zero.get(node.operands[0], False):
            _blank(tensor_of(module, axis.param), axis, gone)
    for name in node.operands[2:]:
        for axis in coupling.params.get(name, ()):
            _blank(tensor_of(module, name), axis, gone)


def _silence_scales(module: nn.Module, coupling: Coupling, node: Node, gone: NDArray[np.bool_]) -> None:
    """Make a norm's scale and shift zero, or what else an operator has a number per channel of."""
    learned = [param.name for param in node.params if param.kind == "parameter"]
    means = [param.name for param in node.params if node.op == "batch_norm" and not learned][:1]  # zero minus zero
    for name in learned + means:
        for axis in coupling.params.get(name, ()):
            _blank(tensor_of(module, name), axis, gone)


def _blank(tensor: Tensor, axis: ParamAxis, gone: NDArray[np.bool_]) -> None:
    blocks = tensor.chunk(len(axis.ids), dim=0) if len(axis.ids) > 1 else (tensor,)
    for block, ids in zip(blocks, axis.ids, strict=True):
        block.index_fill_(axis.dim, torch.from_numpy(np.flatnonzero(gone[ids])).to(tensor.device), 0.0)


def difference(first: nn.Module, second: nn.Module, inputs: Tensor | tuple[object, ...]) -> float:
    """Return how far the outputs of two networks are apart: the largest difference over the largest value.

    Infinite where they differ in number or shape.
    """
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    with torch.inference_mode():
        ours, theirs = (list(tensors_in(m.eval()(*arguments))) for m in (first, second))
    if [tensor.shape for tensor in ours] != [tensor.shape for tensor in theirs]:
        return float("inf")
    return max((_apart(a.double(), b.double()) for a, b in zip(ours, theirs, strict=True)), default=0.0)


def _apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / a.abs().max().clamp(min=1e-30)) if a.numel() else 0.0
