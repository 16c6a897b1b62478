"""What tracing runs: a copy of the module on the meta device, and shape rules for its commonest operators.

PyTorch has such rules itself, but in Python that imports sympy and the compiler: 1.6 s before the first convolution is
seen, ten times what tracing takes. A rule that doesn't fit its arguments leaves them to PyTorch, and so do all other
operators.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from flyweight.errors import GraphError
from flyweight.graph import Kind, TensorInfo


@dataclass
class Stage:
    """The copy that runs: its module, its arguments, and the name of every tensor it owns, by ``id``."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    owned: dict[int, TensorInfo]
    real: dict[int, Tensor]  # the values behind a copy, for networks that read a number from a buffer
    keep: list[Tensor]


class _MetaCopies(TorchFunctionMode):
    """Inside, ``copy.deepcopy`` of a tensor gives one of the meta device."""

    def __init__(self, stand_in: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.stand_in = stand_in

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__deepcopy__:
            tensor, memo = args
            memo[id(tensor)] = self.stand_in(tensor)
            return memo[id(tensor)]
        return func(*args, **(kwargs or {}))


def staged(module: nn.Module, example: object) -> Stage:
    """Copy ``module`` and ``example`` (a tensor, a tuple of arguments or a mapping of them) to the meta device.

    Raises:
        GraphError: the module can't be copied.
    """
    pairs: list[tuple[Tensor, Tensor]] = []

    def stand_in(tensor: Tensor) -> Tensor:
        pairs.append((tensor, stand_in_for(tensor)))
        return pairs[-1][1]

    memo: dict[int, Any] = {}
    try:
        for tensor in (*module.parameters(), *module.buffers()):
            memo[id(tensor)] = stand_in(tensor)
        with _MetaCopies(stand_in):
            copied = copy.deepcopy(module, memo)
            given = copy.deepcopy(example, memo)
    except Exception as error:
        raise GraphError(
            f"{type(module).__name__} can't be copied, which tracing needs in order to leave it untouched: {error}. "
            "Keep open files, locks and generators out of the module, or give it a __deepcopy__."
        ) from error
    kept = [*copied.parameters(), *copied.buffers()]  # a ScriptModule makes them anew unless they are held
    owned = _owned(copied)
    inverse = {id(copy_): original for original, copy_ in pairs}
    owned |= {id(inverse[i]): info for i, info in owned.items() if i in inverse}  # closures may reach the originals
    args = () if isinstance(given, Mapping) else given if isinstance(given, tuple) else (given,)
    kwargs = dict(given) if isinstance(given, Mapping) else {}
    return Stage(copied, args, kwargs, owned, inverse, [*kept, *(t for pair in pairs for t in pair)])


def stand_in_for(tensor: Tensor) -> Tensor:
    """Return a tensor of the meta device with the same shape, strides and dtype."""
    if tensor.layout != torch.strided:
        made = torch.empty_like(tensor, device="meta")
    else:
        made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    return nn.Parameter(made, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made


def _owned(module: nn.Module) -> dict[int, TensorInfo]:
    owned: dict[int, TensorInfo] = {}

    def add(name: str, tensor: Tensor, kind: Kind) -> None:
        owned.setdefault(id(tensor), info_of(name, tensor, kind))

    for name, parameter in module.named_parameters():
        add(name, parameter, "parameter")
    for name, buffer in module.named_buffers():
        add(name, buffer, "buffer")
    for path, child in module.named_modules():
        for name, value in vars(child).items():
            if isinstance(value, Tensor):
                add(f"{path}.{name}".lstrip("."), value, "constant")
    return owned


def info_of(name: str, tensor: Tensor, kind: Kind = "activation") -> TensorInfo:
    """Describe a tensor."""
    return TensorInfo(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), kind)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested tuples, lists, mappings and dataclasses, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors_in(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for entry in dataclasses.fields(value):
            yield from tensors_in(getattr(value, entry.name))


def output_like(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """Return a meta tensor like the output of ``func``, or None where no rule fits."""
    rule = RULES.get(func)
    tensors = [value for value in args if isinstance(value, Tensor)]
    if rule is None or not all(t.is_meta and t.is_floating_point() and t.dtype == tensors[0].dtype for t in tensors):
        return None
    return rule(*args, **kwargs)


def _new(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device="meta")


def _same(x: Tensor) -> Tensor:
    return _new(x, tuple(x.shape)) if x.is_contiguous() else torch.empty_like(x)  # the latter imports sympy


def _unary(x: Tensor, *settings: Any, **named: Any) -> Tensor | None:
    plain = not any(isinstance(setting, Tensor) for setting in settings)
    return _same(x) if plain else None


def _unary_in_place(x: Tensor, *settings: Any, **named: Any) -> Tensor | None:
    return None if any(isinstance(setting, Tensor) for setting in settings) else x


def _binary(x: Tensor, y: Any, *settings: Any, **named: Any) -> Tensor | None:
    if not isinstance(y, Tensor):
        return _same(x) if isinstance(y, int | float) else None
    if x.shape == y.shape:
        return _same(x)
    try:
        return _new(x, np.broadcast_shapes(tuple(x.shape), tuple(y.shape)))
    except ValueError:
        return None


def _binary_in_place(x: Tensor, y: Any, *settings: Any, **named: Any) -> Tensor | None:
    made = _binary(x, y)
    return x if made is not None and made.shape == x.shape else None


def _batch_norm(x: Tensor, weight: Any, bias: Any, mean: Any, *settings: Any) -> Tensor | None:
    return _same(x) if isinstance(mean, Tensor) and x.dim() > 1 and mean.shape == x.shape[1:2] else None


def _layer_norm(x: Tensor, shape: list[int], *settings: Any) -> Tensor | None:
    return _same(x) if tuple(x.shape[-len(shape) :]) == tuple(shape) else None


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
    fits = weight.dim() == 2 and x.dim() > 0 and x.shape[-1] == weight.shape[1]
    return _new(x, (*x.shape[:-1], weight.shape[0])) if fits else None


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> Tensor | None:
    dims = weight.dim() - 2
    all_given = all(len(setting) == dims for setting in (stride, padding, dilation, output_padding))
    channels = weight.shape[0] if transposed else weight.shape[1] * groups
    if not all_given or x.dim() != dims + 2 or x.shape[1] != channels or weight.shape[0] % groups:
        return None
    sizes = []
    axes = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, output_padding, strict=True)
    for n, k, s, p, d, extra in axes:
        reach = d * (k - 1)
        sizes.append((n - 1) * s - 2 * p + reach + extra + 1 if transposed else (n + 2 * p - reach - 1) // s + 1)
    filters = weight.shape[1] * groups if transposed else weight.shape[0]
    return _new(x, (x.shape[0], filters, *sizes)) if min(sizes, default=0) > 0 else None


def _cat(tensors: list[Tensor], dim: int = 0) -> Tensor | None:
    first = tensors[0]
    rank = first.dim()
    same = all(t.is_meta and t.dtype == first.dtype and t.dim() == rank for t in tensors)
    if not same or not rank or not -rank <= dim < rank:
        return None
    shape = list(first.shape)
    shape[dim] = sum(t.shape[dim] for t in tensors)
    others = {tuple(n for i, n in enumerate(t.shape) if i != dim % rank) for t in tensors}
    return _new(first, tuple(shape)) if len(others) == 1 else None


def _mean(x: Tensor, dims: list[int] | None, keepdim: bool = False, **named: Any) -> Tensor | None:
    rank = x.dim()
    if not dims or named or any(not -rank <= d < rank for d in dims):
        return None
    gone = {d % rank for d in dims}
    kept = [1 if i in gone else n for i, n in enumerate(x.shape) if keepdim or i not in gone]
    return _new(x, tuple(kept))


def _adaptive_pool(x: Tensor, size: list[int]) -> Tensor | None:
    return _new(x, (*x.shape[: -len(size)], *size)) if x.dim() == len(size) + 2 and min(size) > 0 else None


def _max_pool(
    x: Tensor,
    kernel: list[int],
    stride: list[int] | None = None,
    padding: tuple[int, ...] | list[int] = (0,),
    dilation: tuple[int, ...] | list[int] = (1,),
    ceil_mode: bool = False,
) -> Tensor | None:
    kernel, stride, padding, dilation = (list(s) * (2 // len(s)) for s in (kernel, stride or kernel, padding, dilation))
    if x.dim() != 4 or ceil_mode or any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        return None
    windows = zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
    sizes = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in windows]
    return _new(x, (*x.shape[:2], *sizes)) if min(sizes) > 0 else None


def _upsample(
    x: Tensor, size: list[int] | None, align_corners: bool, scales: list[float] | None = None
) -> Tensor | None:
    if x.dim() != 4 or (size is None) == (scales is None):
        return None
    sizes = size or [math.floor(n * factor) for n, factor in zip(x.shape[2:], scales or (), strict=True)]
    return _new(x, (*x.shape[:2], *sizes)) if min(sizes) > 0 else None


def _both(names: str, rule: Callable[..., Any], in_place: Callable[..., Any], overload: str) -> dict[Any, Any]:
    aten, found = torch.ops.aten, {}
    for name in names.split():
        for spelled, chosen in ((name, rule), (name + "_", in_place)):
            if hasattr(aten, spelled) and hasattr(getattr(aten, spelled), overload):
                found[getattr(getattr(aten, spelled), overload)] = chosen
    return found


_UNARY = (
    "relu relu6 hardtanh clamp sigmoid silu hardswish hardsigmoid leaky_relu elu "
    "gelu mish softplus tanh neg abs exp sqrt rsqrt"
)
RULES: Mapping[Any, Callable[..., Tensor | None]] = MappingProxyType(
    {
        **_both(_UNARY, _unary, _unary_in_place, "default"),
        **_both("add sub mul div", _binary, _binary_in_place, "Tensor"),
        torch.ops.aten.batch_norm.default: _batch_norm,
        torch.ops.aten.layer_norm.default: _layer_norm,
        torch.ops.aten.linear.default: _linear,
        torch.ops.aten.convolution.default: _convolution,
        torch.ops.aten.cat.default: _cat,
        torch.ops.aten.mean.dim: _mean,
        torch.ops.aten.adaptive_avg_pool2d.default: _adaptive_pool,
        torch.ops.aten.max_pool2d.default: _max_pool,
        torch.ops.aten.upsample_bilinear2d.vec: _upsample,
    }
)
