"""Channels taken out of a module's parameters, wherever ``flyweight.coupling`` says that they run."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flyweight.coupling import Coupling, ParamAxis
from flyweight.errors import TransformError
from flyweight.narrow import fit, replace_tensor, tensor_of


def without(
    module: nn.Module,
    coupling: Coupling,
    removed: Collection[int],
    folds: Mapping[str, NDArray[np.float64]] | None = None,
) -> nn.Module:
    """Return a copy of ``module`` without some channels: filters, the norms behind them, the inputs of their readers.

    Args:
        module: left as it is.
        coupling: of its graph.
        removed: numbers of the channels; whole groups.
        folds: what to add to a layer's bias, ``(K,)`` as it is before, by the node's name. A layer without a bias gets
            one.

    Raises:
        TransformError: not whole groups, or a grouped convolution would be left with uneven groups; names the layer.
    """
    gone = np.zeros(len(coupling.group_of) + 1, bool)  # the last: what has no channel
    gone[np.asarray(list(removed), int)] = True
    if not np.array_equal(np.flatnonzero(gone[:-1]), coupling.closed(list(removed))):
        raise TransformError("channels that are tied to others can't be removed alone. Remove whole groups.")
    new = copy.deepcopy(module)
    for name, amounts in (folds or {}).items():
        _add_to_bias(new, coupling, name, amounts)
    for name, axes in coupling.params.items():
        if any(gone[axis.ids].any() for axis in axes):
            replace_tensor(new, name, _cut(tensor_of(new, name), axes, gone))
    for name in folds or {}:
        _cut_new_bias(new, coupling, name, gone)
    for part in new.modules():
        fit(part)
    return new


def _cut(tensor: Tensor, axes: Sequence[ParamAxis], gone: NDArray[np.bool_]) -> Tensor:
    """Return the entries whose channels stay. Blocks are cut before the dimension that they are blocks of."""
    values = tensor.detach()
    for axis in sorted(axes, key=lambda a: -len(a.ids)):
        left = [torch.from_numpy(np.flatnonzero(~gone[row])) for row in axis.ids]
        if len({len(row) for row in left}) > 1:
            raise TransformError(
                f"'{axis.param}': groups would keep {sorted({len(row) for row in left})} channels each. They need "
                "equally many."
            )
        if len(left) == 1:
            values = values.index_select(axis.dim, left[0])
        else:
            blocks = values.chunk(len(left), dim=0)
            values = torch.cat([b.index_select(axis.dim, row) for b, row in zip(blocks, left, strict=True)])
    return values.clone()


def _add_to_bias(module: nn.Module, coupling: Coupling, node_name: str, amounts: NDArray[np.float64]) -> None:
    node = next(node for node in coupling.graph.nodes if node.name == node_name)
    owner = module.get_submodule(node.operands[1].rpartition(".")[0])
    if len(node.operands) > 2:
        old = tensor_of(module, node.operands[2])
        added = (old.detach().double() + torch.from_numpy(amounts)).to(old.dtype)
        replace_tensor(module, node.operands[2], added)
    else:
        weight = owner.weight
        assert isinstance(weight, Tensor)
        owner.bias = nn.Parameter(torch.from_numpy(amounts).to(weight.dtype), requires_grad=weight.requires_grad)


def _cut_new_bias(module: nn.Module, coupling: Coupling, node_name: str, gone: NDArray[np.bool_]) -> None:
    """Cut a bias that the layer did not have, so that the graph does not know of it."""
    node = next(node for node in coupling.graph.nodes if node.name == node_name)
    source = coupling.source(node_name)
    if len(node.operands) > 2 or source is None:
        return
    name = f"{node.operands[1].rpartition('.')[0]}.bias".lstrip(".")
    bias = tensor_of(module, name).detach()
    replace_tensor(module, name, bias[torch.from_numpy(~gone[source.ids.start : source.ids.stop])].clone())
