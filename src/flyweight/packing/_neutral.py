"""Norms made neutral: what they scale is folded into the layers before them, so that it need not be coded.

The network keeps the layers that its spec builds, and computes the same: a folded norm has mean 0, variance 1 - epsilon
and scale 1, and its shift is the layer's bias. So a decoded network can be trained, edited and exported like any other.
Source of the folding: Jacob et al. 2018 (arXiv 1712.05877), section 3.2.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from flyweight.build import build
from flyweight.contracts import Candidate
from flyweight.errors import FileError, UsageError
from flyweight.narrow import narrow
from flyweight.spec import ArchSpec
from flyweight.transforms.fold_bn import Foldable, FoldBatchNorm, folded

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONSTANTS = ("weight", "running_mean", "running_var", "num_batches_tracked")  # of a norm; not stored where neutral


def neutral(candidate: Candidate) -> nn.Module:
    """Return a copy of the candidate's module that computes the same, with as little as possible left to its norms."""
    module = copy.deepcopy(candidate.module).requires_grad_(True)
    with torch.no_grad():
        for layer, norm in FoldBatchNorm().pairs(candidate):
            _fold(module.get_submodule(layer), module.get_submodule(norm))
        for each in _norms(module):
            _simplify(each)
    return module


def simplified(candidate: Candidate) -> nn.Module:
    """Return a copy of the candidate's module that computes the same, its layers as they are, its norms two numbers."""
    module = copy.deepcopy(candidate.module)
    with torch.no_grad():
        for each in _norms(module):
            _simplify(each)
    return module


def _norms(module: nn.Module) -> list[_BatchNorm]:
    return [m for m in module.modules() if isinstance(m, _BatchNorm) and m.affine and m.running_mean is not None]


def _fold(layer: nn.Module, norm: nn.Module) -> None:
    assert isinstance(layer, Foldable) and isinstance(norm, _BatchNorm)  # pairs() has checked it
    if not norm.affine:
        return  # nowhere to put the shift
    made = folded(layer, norm)  # type: ignore[arg-type]
    layer.weight.copy_(made.weight)  # type: ignore[arg-type]
    if layer.bias is not None:
        layer.bias.zero_()
    _make_neutral(norm)
    norm.bias.copy_(made.bias)  # type: ignore[arg-type]


def _simplify(norm: _BatchNorm) -> None:
    """Turn four numbers a channel into scale and shift."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    if _is_neutral(norm):
        return
    shift = norm.bias.double() - norm.running_mean.double() * scale
    _make_neutral(norm)
    norm.weight.copy_(scale)
    norm.bias.copy_(shift)


def _make_neutral(norm: _BatchNorm) -> None:
    """Make a norm compute its input."""
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
    norm.weight.fill_(1)
    norm.bias.zero_()


def _is_neutral(norm: _BatchNorm) -> bool:
    assert norm.running_mean is not None and norm.running_var is not None
    unit = torch.full_like(norm.running_var, 1 - norm.eps)
    return bool((norm.running_mean == 0).all() and (norm.running_var == unit).all())


def stored(module: nn.Module) -> dict[str, NDArray[Any]]:
    """Return the tensors of a neutral module that a file must hold, by name: all that ``restored`` can't know."""
    known = _known(module)
    state = {n: t for n, t in module.state_dict().items() if n not in known}
    return {name: tensor.detach().contiguous().numpy() for name, tensor in state.items()}


def _known(module: nn.Module) -> set[str]:
    """Return the names of tensors that are constants of a neutral norm, or another name of a tensor named before."""
    own = {name for name, _ in (*module.named_parameters(), *module.named_buffers())}
    known = {name for name in module.state_dict() if name not in own}
    for path, norm in module.named_modules():
        if isinstance(norm, _BatchNorm) and norm.affine and norm.running_mean is not None and _is_neutral(norm):
            unit = bool((norm.weight == 1).all())
            known |= {f"{path}.{name}" for name in CONSTANTS if name != "weight" or unit}
    return known


def restored(spec: ArchSpec, tensors: Mapping[str, NDArray[Any]]) -> nn.Module:
    """Return the network of a spec with the tensors that ``stored`` gave.

    Raises:
        SpecError: the spec can't be built.
        FileError: tensors are missing, too many, or of another shape than the spec says.
    """
    module = build(spec)
    try:
        narrow(module, spec, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    except UsageError as error:
        raise FileError(str(error)) from error
    with torch.no_grad():
        for norm in _norms(module):
            _make_neutral(norm)
    known, state = _known(module), module.state_dict()
    for name in (*state, *tensors):
        own, given = state.get(name), tensors.get(name)
        if own is None or (given is None and name not in known) or (given is not None and given.shape != own.shape):
            shapes = [None if t is None else tuple(t.shape) for t in (given, own)]
            raise FileError(
                f"'{name}' is {shapes[0] or 'missing'}, but {shapes[1] or 'not wanted'} by the file's spec."
            )
    module.load_state_dict({n: torch.from_numpy(t) for n, t in tensors.items()}, strict=False)
    return module.eval()
