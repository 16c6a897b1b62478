"""The operators of an exported ONNX file in PyTorch, so that the file's own graph can be trained, at any batch size.

Source: the operators' specification, github.com/onnx/onnx/blob/main/docs/Operators.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from flyweight.errors import ExportError

Settings = Mapping[str, Any]
Value = Tensor | None
Operator = Callable[[Sequence[Any], Settings], Any]


def operator(op: str, node: str) -> Operator:
    """Return an operator: a function of its inputs (None: left out) and settings that gives its output or outputs.

    Raises:
        ExportError: it isn't known here; names the node.
    """
    found = OPERATORS.get(op)
    if found is None:
        raise ExportError(
            f"training with int8 in mind: node '{node}' is an operator '{op}', which has no gradient here. Known: "
            f"{', '.join(sorted(OPERATORS))}."
        )
    return found


def _whole(value: Any) -> list[int]:
    return [int(item) for item in torch.as_tensor(value).reshape(-1)]


def _padded(x: Tensor, settings: Settings, fill: float = 0.0) -> tuple[Tensor, tuple[int, int]]:
    """Return the image, padded unless both ends of each side get the same, and the padding that is left."""
    auto = settings.get("auto_pad", b"NOTSET")
    if auto not in (b"NOTSET", b"VALID"):
        raise ExportError(f"training with int8 in mind: auto_pad {auto.decode()} isn't supported; give pads.")
    top, left, bottom, right = settings.get("pads") or (0, 0, 0, 0)
    if (top, left) == (bottom, right):
        return x, (top, left)
    return F.pad(x, (left, right, top, bottom), value=fill), (0, 0)


def _pair(settings: Settings, name: str) -> tuple[int, int]:
    first, second = settings.get(name) or (1, 1)
    return int(first), int(second)


def _conv(inputs: Sequence[Any], settings: Settings) -> Tensor:
    x, pads = _padded(inputs[0], settings)
    bias = inputs[2] if len(inputs) > 2 else None
    strides, dilations = _pair(settings, "strides"), _pair(settings, "dilations")
    return F.conv2d(x, inputs[1], bias, strides, pads, dilations, int(settings.get("group", 1)))


def _conv_transpose(inputs: Sequence[Any], settings: Settings) -> Tensor:
    top, left, bottom, right = settings.get("pads") or (0, 0, 0, 0)
    more = settings.get("output_padding") or (0, 0)
    if (top, left) != (bottom, right):
        raise ExportError("training with int8 in mind: a transposed convolution with uneven pads isn't supported.")
    bias = inputs[2] if len(inputs) > 2 else None
    strides, dilations = _pair(settings, "strides"), _pair(settings, "dilations")
    group = int(settings.get("group", 1))
    return F.conv_transpose2d(inputs[0], inputs[1], bias, strides, (top, left), tuple(more), group, dilations)


def _gemm(inputs: Sequence[Any], settings: Settings) -> Tensor:
    a = inputs[0].t() if settings.get("transA") else inputs[0]
    b = inputs[1].t() if settings.get("transB") else inputs[1]
    made: Tensor = a @ b * float(settings.get("alpha", 1.0))
    return made + inputs[2] * float(settings.get("beta", 1.0)) if len(inputs) > 2 else made


def _batch_norm(inputs: Sequence[Any], settings: Settings) -> Tensor:
    x, scale, offset, mean, variance = inputs
    return F.batch_norm(x, mean, variance, scale, offset, False, 0.0, float(settings.get("epsilon", 1e-5)))


def _clip(inputs: Sequence[Any], settings: Settings) -> Tensor:
    low, high = (float(item) if item is not None else None for item in [*inputs[1:], None, None][:2])
    return torch.clamp(inputs[0], low, high)


def _max_pool(inputs: Sequence[Any], settings: Settings) -> Tensor:
    x, pads = _padded(inputs[0], settings, -torch.inf)
    kernel, ceil = _pair(settings, "kernel_shape"), bool(settings.get("ceil_mode", 0))
    return F.max_pool2d(x, kernel, _pair(settings, "strides"), pads, _pair(settings, "dilations"), ceil)


def _average_pool(inputs: Sequence[Any], settings: Settings) -> Tensor:
    x, pads = _padded(inputs[0], settings)
    counted = bool(settings.get("count_include_pad", 0))
    if x is not inputs[0] and not counted:
        raise ExportError("training with int8 in mind: a mean with uneven pads that don't count isn't supported.")
    kernel, ceil = _pair(settings, "kernel_shape"), bool(settings.get("ceil_mode", 0))
    return F.avg_pool2d(x, kernel, _pair(settings, "strides"), pads, ceil, counted)


def _reduce(inputs: Sequence[Any], settings: Settings, function: Callable[..., Tensor]) -> Tensor:
    axes = _whole(inputs[1]) if len(inputs) > 1 and inputs[1] is not None else settings.get("axes")
    chosen = axes or list(range(inputs[0].dim()))
    return function(inputs[0], dim=list(chosen), keepdim=bool(settings.get("keepdims", 1)))


def _reshape(inputs: Sequence[Any], settings: Settings) -> Tensor:
    """Reshape; the file's batch of 1, where it stays in front, is whatever the batch is."""
    x: Tensor = inputs[0]
    shape = _whole(inputs[1])
    shape = [x.shape[i] if size == 0 else size for i, size in enumerate(shape)]
    if shape and shape[0] == 1:
        shape[0] = len(x)
    return x.reshape(shape)


def _flatten(inputs: Sequence[Any], settings: Settings) -> Tensor:
    if int(settings.get("axis", 1)) != 1:
        raise ExportError("training with int8 in mind: a Flatten of another axis than 1 isn't supported.")
    x: Tensor = inputs[0]
    return x.flatten(1)


def _transpose(inputs: Sequence[Any], settings: Settings) -> Tensor:
    x: Tensor = inputs[0]
    return x.permute(*settings["perm"]) if "perm" in settings else x.permute(*range(x.dim() - 1, -1, -1))


def _slice(inputs: Sequence[Any], settings: Settings) -> Tensor:
    x: Tensor = inputs[0]
    starts, ends = _whole(inputs[1]), _whole(inputs[2])
    axes = _whole(inputs[3]) if len(inputs) > 3 and inputs[3] is not None else list(range(len(starts)))
    steps = _whole(inputs[4]) if len(inputs) > 4 and inputs[4] is not None else [1] * len(starts)
    parts: list[slice] = [slice(None)] * x.dim()
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        parts[axis] = slice(start, end, step)
    return x[tuple(parts)]


def _split(inputs: Sequence[Any], settings: Settings) -> tuple[Tensor, ...]:
    x: Tensor = inputs[0]
    axis = int(settings.get("axis", 0))
    if len(inputs) > 1 and inputs[1] is not None:
        return torch.split(x, _whole(inputs[1]), axis)
    if "split" in settings:
        return torch.split(x, list(settings["split"]), axis)
    return tuple(x.chunk(int(settings["num_outputs"]), axis))


def _depth_to_space(inputs: Sequence[Any], settings: Settings) -> Tensor:
    x, block = inputs[0], int(settings["blocksize"])
    if settings.get("mode", b"DCR") == b"CRD":
        return F.pixel_shuffle(x, block)
    n, c, h, w = x.shape
    return F.pixel_shuffle(x.reshape(n, block**2, c // block**2, h, w).transpose(1, 2).reshape(n, c, h, w), block)


def _pad(inputs: Sequence[Any], settings: Settings) -> Tensor:
    x: Tensor = inputs[0]
    pads, fill = _whole(inputs[1]), float(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else 0.0
    axes = _whole(inputs[3]) if len(inputs) > 3 and inputs[3] is not None else list(range(x.dim()))
    ends = {axis % x.dim(): (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    flat = [end for axis in range(x.dim() - 1, -1, -1) for end in ends.get(axis, (0, 0))]
    mode = settings.get("mode", b"constant").decode()
    if mode == "constant":
        return F.pad(x, flat, value=fill)
    return F.pad(x, flat[:4], mode={"edge": "replicate", "reflect": "reflect"}[mode])


def _resize(inputs: Sequence[Any], settings: Settings) -> Tensor:
    x: Tensor = inputs[0]
    if len(inputs) > 3 and inputs[3] is not None:
        size = _whole(inputs[3])[2:]
    else:
        size = [int(n * float(s)) for n, s in zip(x.shape[2:], torch.as_tensor(inputs[2]).reshape(-1)[2:], strict=True)]
    mode, how = settings.get("mode", b"nearest"), settings.get("coordinate_transformation_mode", b"half_pixel")
    if mode == b"nearest" and (how, settings.get("nearest_mode")) == (b"asymmetric", b"floor"):
        return F.interpolate(x, size)
    if mode == b"linear" and how in (b"half_pixel", b"pytorch_half_pixel", b"align_corners"):
        return F.interpolate(x, size, mode="bilinear", align_corners=how == b"align_corners")
    raise ExportError(f"training with int8 in mind: Resize by {mode.decode()}, {how.decode()} isn't supported.")


def _hard_sigmoid(inputs: Sequence[Any], settings: Settings) -> Tensor:
    x: Tensor = inputs[0]
    return (x * float(settings.get("alpha", 0.2)) + float(settings.get("beta", 0.5))).clamp(0, 1)


def _gather(inputs: Sequence[Any], settings: Settings) -> Tensor:
    x, axis, at = inputs[0], int(settings.get("axis", 0)), inputs[1]
    chosen: Tensor = x.index_select(axis, at.reshape(-1))
    return chosen if at.dim() == 1 else chosen.reshape(*x.shape[:axis], *at.shape, *x.shape[axis % x.dim() + 1 :])


def _gelu(inputs: Sequence[Any], settings: Settings) -> Tensor:
    return F.gelu(inputs[0], approximate=settings.get("approximate", b"none").decode())


def _unsqueeze(inputs: Sequence[Any], settings: Settings) -> Tensor:
    x: Tensor = inputs[0]
    for axis in sorted(_whole(inputs[1])):
        x = x.unsqueeze(axis)
    return x


def _softmax(inputs: Sequence[Any], settings: Settings) -> Tensor:
    return F.softmax(inputs[0], int(settings.get("axis", -1)))


def _plain(function: Callable[..., Tensor], count: int = 1) -> Operator:
    return lambda inputs, settings: function(*inputs[:count])


OPERATORS: dict[str, Operator] = {
    "Conv": _conv, "ConvTranspose": _conv_transpose, "Gemm": _gemm, "MatMul": _plain(torch.matmul, 2),
    "BatchNormalization": _batch_norm,
    "Add": _plain(torch.add, 2), "Sub": _plain(torch.sub, 2), "Mul": _plain(torch.mul, 2),
    "Div": _plain(torch.div, 2), "Pow": _plain(torch.pow, 2), "Max": _plain(torch.maximum, 2),
    "Min": _plain(torch.minimum, 2), "Sqrt": _plain(torch.sqrt), "Exp": _plain(torch.exp), "Erf": _plain(torch.erf),
    "Neg": _plain(torch.neg), "Abs": _plain(torch.abs), "Reciprocal": _plain(torch.reciprocal),
    "Identity": lambda inputs, settings: inputs[0], "Dropout": lambda inputs, settings: inputs[0],
    "Relu": _plain(F.relu), "Clip": _clip, "Sigmoid": _plain(torch.sigmoid), "Tanh": _plain(torch.tanh),
    "HardSigmoid": _hard_sigmoid, "HardSwish": _plain(F.hardswish), "Gelu": _gelu,
    "LeakyRelu": lambda inputs, settings: F.leaky_relu(inputs[0], float(settings.get("alpha", 0.01))),
    "Elu": lambda inputs, settings: F.elu(inputs[0], float(settings.get("alpha", 1.0))),
    "PRelu": lambda inputs, settings: torch.where(inputs[0] >= 0, inputs[0], inputs[0] * inputs[1]),
    "Softmax": _softmax, "Softplus": _plain(F.softplus),
    "MaxPool": _max_pool, "AveragePool": _average_pool,
    "GlobalAveragePool": lambda inputs, settings: inputs[0].mean((2, 3), keepdim=True),
    "ReduceMean": lambda inputs, settings: _reduce(inputs, settings, torch.mean),
    "ReduceSum": lambda inputs, settings: _reduce(inputs, settings, torch.sum),
    "ReduceMax": lambda inputs, settings: _reduce(inputs, settings, torch.amax),
    "Concat": lambda inputs, settings: torch.cat(list(inputs), int(settings["axis"])),
    "Reshape": _reshape, "Flatten": _flatten, "Transpose": _transpose, "Slice": _slice, "Split": _split,
    "Squeeze": lambda inputs, settings: inputs[0].squeeze(tuple(_whole(inputs[1]))),
    "Unsqueeze": _unsqueeze, "DepthToSpace": _depth_to_space, "Pad": _pad, "Resize": _resize, "Gather": _gather,
}  # fmt: skip
