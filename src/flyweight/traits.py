"""Traits of a node: what the rules of a device speak of. No torch.

A trait is a number, several (one per spatial axis), a word, or None where the operator has no such thing. ``form`` is
the word that tells variants of one operator apart:

- convolutions: ``dense``, ``depthwise`` (as many groups as input channels), ``grouped``;
- pooling and reductions: ``global`` (over the whole map), ``window``, ``uneven`` (adaptive, where the output's size
  doesn't divide the input's), ``axis`` (another reduction);
- arithmetic of two operands: ``same`` shapes, ``broadcast``, ``constant``;
- batch norm: ``folded`` (behind a convolution that nothing else reads), ``alone``;
- padding: ``zero``, ``constant``, ``reflect``, ``replicate``, ``none``;
- resizing: ``half_pixel`` or ``align_corners``; slices: ``whole`` or ``strided``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from flyweight.graph import AttrValue, Graph, Node

Trait: TypeAlias = "int | float | str | tuple[int | float, ...] | None"
_Rule: TypeAlias = "Callable[[Node, Graph], Trait]"

CONVOLUTIONS = ("conv", "conv_transpose")
_PRODUCTS = (*CONVOLUTIONS, "linear")
_ADAPTIVE = ("adaptive_avg_pool", "adaptive_max_pool")
_WINDOWED = ("max_pool", "avg_pool")
_REDUCTIONS = ("mean", "sum", "amax", "amin", "max", "min", "prod", "argmax", "argmin")
_BINARY = ("add", "sub", "mul", "div", "maximum", "minimum")
_RESIZES = ("upsample_nearest", "upsample_bilinear", "upsample_bicubic")
SPATIAL_FROM = 2  # dimensions before it are batch and channels


def trait(name: str, node: Node, graph: Graph) -> Trait:
    """Return one trait of a node; None where its operator has no such thing.

    Args:
        name: one of ``TRAITS``.
        node: a node of ``graph``.
        graph: gives the shapes.
    """
    return TRAITS[name](node, graph)


def rides_along(node: Node, graph: Graph) -> bool:
    """Return whether an exported file has no operator for a node: weights, renamings, and norms that are folded."""
    if node.attr("weight") or node.op in _NOTHING:
        return True
    if node.op == "pad" and _form(node, graph) == "none":
        return True
    if node.op in _ADAPTIVE and _shape(node, graph) == _made(node, graph):
        return True
    if node.op == "copy":  # of the same kind of numbers: nothing is left of it
        return graph.info(node.inputs[0]).dtype == graph.info(node.outputs[0]).dtype if node.inputs else True
    return node.op == "batch_norm" and _form(node, graph) == "folded"


_NOTHING = frozenset({"alias", "detach", "dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"})


# ---- shapes and settings -------------------------------------------------------------------------------------------


def _shape(node: Node, graph: Graph) -> tuple[int, ...]:
    """Shape of the first activation that is read."""
    return graph.info(node.inputs[0]).shape if node.inputs else ()


def _made(node: Node, graph: Graph) -> tuple[int, ...]:
    return graph.info(node.outputs[0]).shape


def _numbers(value: AttrValue) -> tuple[int, ...]:
    if isinstance(value, tuple):
        return tuple(int(v) for v in value if isinstance(v, int | float))
    return (int(value),) if isinstance(value, int | float) else ()


def _per_axis(node: Node, graph: Graph, name: str) -> tuple[int, ...]:
    """A setting with one number per spatial axis; one for all is repeated."""
    axes = max(len(_shape(node, graph)) - SPATIAL_FROM, 1)
    numbers = _numbers(node.attr(name))
    return numbers * axes if len(numbers) == 1 else numbers


def _kernel(node: Node, graph: Graph) -> Trait:
    if node.op in CONVOLUTIONS or node.op in _WINDOWED:
        return _per_axis(node, graph, "kernel_size") or None
    if node.op in _ADAPTIVE and _form(node, graph) != "uneven":
        pairs = zip(_shape(node, graph)[SPATIAL_FROM:], _made(node, graph)[SPATIAL_FROM:], strict=True)
        return tuple(-(-before // max(after, 1)) for before, after in pairs)
    if node.op in ("mean", "amax") and _form(node, graph) == "global":
        return _shape(node, graph)[SPATIAL_FROM:]
    return None


def _stride(node: Node, graph: Graph) -> Trait:
    if node.op in CONVOLUTIONS or node.op in _WINDOWED:
        return _per_axis(node, graph, "stride") or _kernel(node, graph)  # pooling: by default its kernel
    return _kernel(node, graph) if node.op in _ADAPTIVE and _form(node, graph) == "window" else None


def _dilation(node: Node, graph: Graph) -> Trait:
    return (_per_axis(node, graph, "dilation") or (1,)) if node.op in (*CONVOLUTIONS, "max_pool") else None


def _channels(node: Node, graph: Graph) -> tuple[int, int, int] | None:
    """Input channels, output channels and groups of a convolution or fully connected layer."""
    if node.op not in _PRODUCTS or len(node.operands) < 2:
        return None
    first, second = graph.info(node.operands[1]).shape[:2]
    groups = _numbers(node.attr("groups", 1))[0]
    return (first, second * groups, groups) if node.op == "conv_transpose" else (second * groups, first, groups)


def _input_channels(node: Node, graph: Graph) -> Trait:
    found = _channels(node, graph)
    shape = _shape(node, graph)
    return found[0] if found else shape[1] if len(shape) > 1 else None


def _output_channels(node: Node, graph: Graph) -> Trait:
    found = _channels(node, graph)
    shape = _made(node, graph)
    return found[1] if found else shape[1] if len(shape) > 1 else None


def _groups(node: Node, graph: Graph) -> Trait:
    found = _channels(node, graph)
    return found[2] if found else None


def _padding(node: Node, graph: Graph) -> Trait:
    """``valid`` (none), ``same`` (TensorFlow's, which depends on the size) or ``explicit`` (an operator of its own).

    An average that leaves out the padding where TensorFlow's would be elsewhere is ``uncounted``: it has no such form.
    """
    if node.op in _ADAPTIVE:
        return "valid" if _form(node, graph) == "window" else None
    if node.op not in (*CONVOLUTIONS, *_WINDOWED):
        return None
    given = _per_axis(node, graph, "padding")
    if not any(given):
        return "valid"
    if node.op == "conv_transpose" or node.attr("ceil_mode"):
        return "explicit"
    same = all(_is_same(node, graph, axis, pad) for axis, pad in enumerate(given))
    if node.op == "avg_pool":  # TensorFlow's leaves the padding out of the average
        return "explicit" if node.attr("count_include_pad", True) else "same" if same else "uncounted"
    return "same" if same else "explicit"


def _padding_share(node: Node, graph: Graph) -> Trait:
    """Padding over kernel, the largest of the axes: from 1 on, a padding lies outside of the window."""
    kernel = _kernel(node, graph)
    if node.op not in (*CONVOLUTIONS, *_WINDOWED) or not isinstance(kernel, tuple):
        return None
    return max(pad / size for pad, size in zip(_per_axis(node, graph, "padding"), kernel, strict=True))


def _is_same(node: Node, graph: Graph, axis: int, padding: int) -> bool:
    size = _shape(node, graph)[SPATIAL_FROM + axis]
    kernel, stride, dilation = (_axis(rule(node, graph), axis) for rule in (_kernel, _stride, _dilation))
    reach = (kernel - 1) * (dilation or 1) + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return (total // 2, total - total // 2) == (padding, padding)


def _axis(value: Trait, axis: int) -> int:
    numbers = value if isinstance(value, tuple) else (value,) if isinstance(value, int) else (1,)
    return int(numbers[min(axis, len(numbers) - 1)])


def _scale(node: Node, graph: Graph) -> Trait:
    """Output over input size of a resize, per axis; with aligned corners of the distances between them."""
    if node.op not in _RESIZES:
        return None
    less = 1 if node.attr("align_corners") else 0
    pairs = zip(_shape(node, graph)[SPATIAL_FROM:], _made(node, graph)[SPATIAL_FROM:], strict=True)
    return tuple((after - less) / max(before - less, 1) for before, after in pairs)


def _dims(node: Node, graph: Graph) -> tuple[int, ...]:
    rank = len(_shape(node, graph))
    return tuple(sorted(d % rank for d in _numbers(node.attr("dim")))) if rank else ()


def _axis_word(node: Node, graph: Graph) -> Trait:
    """Along which kind of dimension a concat, split, slice or softmax works: batch, channel or spatial."""
    dims = _dims(node, graph)
    return None if not dims else ("batch", "channel", "spatial")[min(dims[0], 2)]


def _behind(node: Node, graph: Graph) -> Trait:
    """Operator whose result is read; padding, folded norms and what leaves no operator are skipped."""
    source = graph.producers.get(node.inputs[0]) if node.inputs else None
    while source is not None and source.inputs and (source.op == "pad" or rides_along(source, graph)):
        source = graph.producers.get(source.inputs[0])
    return source.op if source is not None else "input"


# ---- form ----------------------------------------------------------------------------------------------------------


def _form(node: Node, graph: Graph) -> Trait:
    rule = _FORMS.get(node.op)
    return rule(node, graph) if rule else None


def _form_of_convolution(node: Node, graph: Graph) -> Trait:
    found = _channels(node, graph)
    if found is None or found[2] == 1:
        return "dense"
    return "depthwise" if found[2] == found[0] else "grouped"


def _form_of_pool(node: Node, graph: Graph) -> Trait:
    before, after = _shape(node, graph)[SPATIAL_FROM:], _made(node, graph)[SPATIAL_FROM:]
    if node.op in _WINDOWED:
        return "window"
    if all(size == 1 for size in after):
        return "global"
    return "window" if all(b % max(a, 1) == 0 for b, a in zip(before, after, strict=True)) else "uneven"


def _form_of_reduction(node: Node, graph: Graph) -> Trait:
    rank = len(_shape(node, graph))
    return "global" if rank > SPATIAL_FROM and _dims(node, graph) == tuple(range(SPATIAL_FROM, rank)) else "axis"


def _form_of_binary(node: Node, graph: Graph) -> Trait:
    if len(node.inputs) < 2 or any(_is_weight(name, graph) for name in node.inputs):
        return "constant"
    return "same" if len({graph.info(name).shape for name in node.inputs}) == 1 else "broadcast"


def _is_weight(name: str, graph: Graph) -> bool:
    source = graph.producers.get(name)
    return source is not None and bool(source.attr("weight"))


def _form_of_norm(node: Node, graph: Graph) -> Trait:
    source = graph.producers.get(node.inputs[0]) if node.inputs else None
    if source is None or source.op not in _PRODUCTS or len(graph.consumers[node.inputs[0]]) > 1:
        return "alone"
    return "alone" if node.inputs[0] in graph.outputs else "folded"


def _form_of_pad(node: Node, graph: Graph) -> Trait:
    aten = str(node.attr("aten", ""))
    if not any(_numbers(node.attr("pad", node.attr("padding")))):
        return "none"
    for word in ("reflect", "replicat"):
        if aten.startswith(word):
            return {"reflect": "reflect", "replicat": "replicate"}[word]
    return "zero" if not node.attr("value") else "constant"


def _form_of_resize(node: Node, graph: Graph) -> Trait:
    return "align_corners" if node.attr("align_corners") else "half_pixel"


def _form_of_slice(node: Node, graph: Graph) -> Trait:
    return "strided" if _numbers(node.attr("step", 1)) != (1,) else "whole"


_FORMS: Mapping[str, _Rule] = MappingProxyType(
    {
        **dict.fromkeys(CONVOLUTIONS, _form_of_convolution),
        **dict.fromkeys((*_WINDOWED, *_ADAPTIVE), _form_of_pool),
        **dict.fromkeys(_REDUCTIONS, _form_of_reduction),
        **dict.fromkeys(_BINARY, _form_of_binary),
        **dict.fromkeys(_RESIZES, _form_of_resize),
        "batch_norm": _form_of_norm, "pad": _form_of_pad, "slice": _form_of_slice,
    }
)  # fmt: skip

_ALL_FORMS = """
    dense depthwise grouped global window uneven axis same broadcast constant folded alone zero reflect replicate none
    half_pixel align_corners whole strided
"""
FORMS = frozenset(_ALL_FORMS.split())

TRAITS: Mapping[str, _Rule] = MappingProxyType(
    {
        "form": _form,
        "behind": _behind,
        "axis": _axis_word,
        "padding": _padding,
        "padding_share": _padding_share,
        "kernel": _kernel,
        "kernel_height": lambda node, graph: _first(_kernel(node, graph)),
        "kernel_width": lambda node, graph: _last(_kernel(node, graph)),
        "kernel_area": lambda node, graph: _product(_kernel(node, graph)),
        "stride": _stride,
        "stride_ratio": lambda node, graph: _ratio(_stride(node, graph)),
        "dilation": _dilation,
        "groups": _groups,
        "input_channels": _input_channels,
        "output_channels": _output_channels,
        "dilated_channels": lambda node, graph: _times(_largest(_dilation(node, graph)), _input_channels(node, graph)),
        "kernel_blocks_16": lambda node, graph: _times(
            _product(_kernel(node, graph)), _ceil_div(_input_channels(node, graph), 16)
        ),
        "output_padding": lambda node, graph: (
            _per_axis(node, graph, "output_padding") if node.op == "conv_transpose" else None
        ),
        "scale": _scale,
        "scale_ratio": lambda node, graph: _ratio(_scale(node, graph)),
        "map": lambda node, graph: math.prod(_shape(node, graph)[SPATIAL_FROM:]),
        "smallest_side": lambda node, graph: min(_shape(node, graph)[1:], default=None),
        "transposed": lambda node, graph: _transposed(node, graph),
        "inputs": lambda node, graph: len(node.inputs),
        "outputs": lambda node, graph: len(node.outputs),
        "rank": lambda node, graph: max(
            (len(graph.info(name).shape) for name in (*node.inputs, *node.outputs)), default=0
        ),
        "dims_above_1": lambda node, graph: max(
            (sum(size > 1 for size in graph.info(name).shape) for name in (*node.inputs, *node.outputs)), default=0
        ),
        "input_px": lambda node, graph: max(
            (size for name in node.inputs if name in graph.inputs for size in graph.info(name).shape[SPATIAL_FROM:]),
            default=None,
        ),
        "batch": lambda node, graph: _shape(node, graph)[0] if _shape(node, graph) else None,
    }
)


def _transposed(node: Node, graph: Graph) -> Trait:
    """Elements of all but the two shortest sides of what a transposition moves; None of up to three sides above 1."""
    shape = _shape(node, graph)
    if node.op == "channel_shuffle":
        groups = _numbers(node.attr("groups"))[0]
        shape = (shape[0], groups, shape[1] // groups, *shape[SPATIAL_FROM:])
    elif node.op not in ("transpose", "permute"):
        return None
    return math.prod(sorted(shape)[2:]) if sum(size > 1 for size in shape) > 3 else None


def _ratio(value: Trait) -> Trait:
    """The largest of several over the smallest: 1 where all are equal."""
    numbers = [float(one) for one in value if one] if isinstance(value, tuple) else []
    return max(numbers) / min(numbers) if numbers else None


def _first(value: Trait) -> Trait:
    return value[0] if isinstance(value, tuple) else value


def _last(value: Trait) -> Trait:
    return value[-1] if isinstance(value, tuple) else value


def _product(value: Trait) -> Trait:
    return math.prod(value) if isinstance(value, tuple) else value


def _largest(value: Trait) -> Trait:
    return max(value) if isinstance(value, tuple) else value


def _times(a: Trait, b: Trait) -> Trait:
    return a * b if isinstance(a, int | float) and isinstance(b, int | float) else None


def _ceil_div(value: Trait, by: int) -> Trait:
    return -(-value // by) if isinstance(value, int) else None
