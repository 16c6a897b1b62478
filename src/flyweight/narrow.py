"""Networks whose layers have fewer channels than their spec builds: how wide each layer is, its tensors say.

A network that channels were taken out of keeps its spec, its layers and their names. Its file holds the tensors as they
are; opened again, the spec's layers are made as narrow as those, and the network must run and give what the spec says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn

from flyweight.build import skeleton
from flyweight.errors import FlyweightError, UsageError
from flyweight.spec import ArchSpec
from flyweight.trace import trace

__all__ = ["Shapes", "check_built_by", "fit", "narrow", "replace_tensor", "tensor_of"]

Shapes: TypeAlias = "Mapping[str, tuple[int, ...]]"
_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
_ANY_WIDTH = 2  # the first dimensions of a weight run along channels; the others are the kernel's


def fit(part: nn.Module) -> None:
    """Make a layer's own numbers of channels those of its weights."""
    if isinstance(part, _CONVS):
        filters, per_group = part.weight.shape[:2]
        if part.groups > 1 and part.groups == part.in_channels:
            part.groups = filters // (part.out_channels // part.in_channels)
        part.in_channels, part.out_channels = per_group * part.groups, filters
    elif isinstance(part, _TRANSPOSED):
        inputs, per_group = part.weight.shape[:2]
        if part.groups > 1 and part.groups == part.in_channels:
            part.groups = inputs
        part.in_channels, part.out_channels = inputs, per_group * part.groups
    elif isinstance(part, nn.Linear):
        part.out_features, part.in_features = part.weight.shape
    elif isinstance(part, _NORMS):
        kept = [tensor for tensor in (*part.parameters(), *part.buffers()) if tensor.dim() == 1]
        part.num_features = kept[0].shape[0] if kept else part.num_features
    elif isinstance(part, nn.PReLU) and part.num_parameters > 1:
        part.num_parameters = part.weight.shape[0]


def tensor_of(module: nn.Module, name: str) -> Tensor:
    """Return a parameter or buffer by its qualified name."""
    owner, _, own = name.rpartition(".")
    found = getattr(module.get_submodule(owner), own)
    assert isinstance(found, Tensor)
    return found


def replace_tensor(module: nn.Module, name: str, new: Tensor) -> None:
    """Put ``new`` in the place of a parameter or buffer, everywhere it is registered."""
    old = tensor_of(module, name)
    if isinstance(old, nn.Parameter):
        new = nn.Parameter(new, requires_grad=old.requires_grad)
    for part in module.modules():
        for kept in (part._parameters, part._buffers):
            for own, tensor in kept.items():
                if tensor is old:
                    kept[own] = new  # type: ignore[assignment]


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a module, by name."""
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def narrow(module: nn.Module, spec: ArchSpec, shapes: Shapes) -> bool:
    """Make the layers of a network, newly built from ``spec``, as narrow as ``shapes`` has it; return whether any was.

    Tensors that are made narrower have no values afterwards; a layer of a norm takes the width of any of its tensors
    that ``shapes`` names.

    Raises:
        UsageError: a tensor is missing there that is no norm's, or one too many; a shape that no channels taken out
            account for; or the network does not run with them, or gives another shape. Names the tensor.
    """
    own = shapes_of(module)
    wanted = {**own, **_norms_of(module, own, shapes), **shapes}
    for name in wanted:
        _check(module, name, wanted[name], own.get(name))
    changed = [name for name in wanted if wanted[name] != own.get(name)]
    for name in changed:
        _narrow(module, name, wanted[name])
    for part in module.modules():
        fit(part)
    if changed:
        _check_runs(module, spec, wanted)
    return bool(changed)


def _norms_of(module: nn.Module, own: Shapes, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Return shapes of the norms' tensors that ``shapes`` leaves out, where it has another one of the same norm."""
    found: dict[str, tuple[int, ...]] = {}
    for path, part in module.named_modules():
        names = [f"{path}.{n}".lstrip(".") for n in part.state_dict()] if isinstance(part, _NORMS) else []
        given = next((shapes[n] for n in names if len(shapes.get(n, ())) == 1), None)
        found |= {n: given for n in names if given is not None and len(own[n]) == 1}
    return found


def _check(module: nn.Module, name: str, wanted: tuple[int, ...], built: tuple[int, ...] | None) -> None:
    if built is None:
        owner, _, own = name.rpartition(".")
        part = dict(module.named_modules()).get(owner)
        if own == "bias" and isinstance(part, (*_CONVS, *_TRANSPOSED, nn.Linear)) and len(wanted) == 1:
            return  # a constant that was folded into a layer without a bias
    narrower = built is not None and len(wanted) == len(built)
    narrower = narrower and all(1 <= w <= b for w, b in zip(wanted, built or (), strict=True))
    if not narrower or wanted[_ANY_WIDTH:] != (built or ())[_ANY_WIDTH:]:
        raise UsageError(f"'{name}' is {wanted}, but {built or 'missing'} in the network that the spec builds.")


def _narrow(module: nn.Module, name: str, shape: tuple[int, ...]) -> None:
    owner, _, own = name.rpartition(".")
    part = module.get_submodule(owner)
    if own == "bias" and part._parameters.get("bias") is None:
        weight = tensor_of(module, f"{owner}.weight".lstrip("."))
        part.bias = nn.Parameter(weight.new_zeros(shape), requires_grad=weight.requires_grad)
        return
    replace_tensor(module, name, torch.zeros_like(tensor_of(module, name)).new_zeros(shape))


def _check_runs(module: nn.Module, spec: ArchSpec, wanted: Shapes) -> None:
    whole, example = skeleton(spec)
    try:
        found, built = (trace(m.eval(), x) for m, x in ((module, _like(module, example)), (whole, example)))
    except FlyweightError as error:
        raise UsageError(f"with the widths of its tensors the network does not run: {error}") from error
    ours, theirs = ([graph.tensors[name].shape for name in graph.outputs] for graph in (found, built))
    operators = [[node.op for node in graph.nodes] for graph in (found, built)]
    if ours != theirs or operators[0] != operators[1]:
        raise UsageError(f"with the widths of its tensors the network gives {ours}, but its spec says {theirs}.")
    for name, shape in wanted.items():
        if tuple(tensor_of(module, name).shape) != shape:
            raise UsageError(f"'{name}' is {shape}, but shares its values with a tensor of another shape.")


def _like(module: nn.Module, example: Tensor) -> Tensor:
    first = next(module.parameters(), example)
    return torch.zeros(example.shape, dtype=first.dtype, device=first.device)


def check_built_by(module: nn.Module, spec: ArchSpec) -> None:
    """Raise UsageError, naming a tensor, where a module can't be had from its spec by taking channels out.

    It is built again without values, as when its file is opened, and must have the same groups of convolutions.
    """
    built, _ = skeleton(spec)
    shapes = shapes_of(module)
    for name in {**shapes_of(built), **shapes}:
        if name not in shapes:
            raise UsageError(
                f"'{name}' is missing, but {shapes_of(built)[name]} in the network that the spec builds: norms were "
                "folded, or layers changed. Save it before that, or export it."
            )
    narrow(built, spec, shapes)
    again = dict(built.named_modules())
    for path, part in module.named_modules():
        if isinstance(part, (*_CONVS, *_TRANSPOSED)) and part.groups != getattr(again.get(path), "groups", None):
            raise UsageError(f"'{path}' has {part.groups} groups, which the network's spec and widths don't give.")
