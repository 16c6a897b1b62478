"""Write and read TensorFlow Lite files, as far as a compiler's verdict on int8 operators needs it. Needs flatbuffers.

Numbers of slots, operators and options: tensorflow/compiler/mlir/lite/schema/schema.fbs, version 3 of the format.
Flatbuffers ships no types, so that its builder is ``Any`` here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from flatbuffers import encode, number_types, packer
from flatbuffers.table import Table  # type: ignore[import-untyped]

Setting: TypeAlias = "int | float | bool"
VERSION, IDENTIFIER = 3, b"TFL3"
TYPES: Mapping[str, int] = MappingProxyType({"float32": 0, "int32": 2, "int8": 9})
SAME, VALID = 0, 1
# operator -> its code, its kind of options (0: none), and their fields by slot: i int32, b int8, t bool, f float32
_OPERATORS: Mapping[str, tuple[int, int, str]] = MappingProxyType(
    {
        "ABS": (101, 78, ""),
        "ADD": (0, 11, "b_activation"),
        "ARG_MAX": (56, 40, "b_output_type"),
        "AVERAGE_POOL_2D": (1, 5, "b_padding i_stride_w i_stride_h i_kernel_w i_kernel_h b_activation"),
        "CONCATENATION": (2, 10, "i_axis b_activation"),
        "CONV_2D": (3, 1, "b_padding i_stride_w i_stride_h b_activation i_dilation_w i_dilation_h"),
        "CUMSUM": (128, 102, "t_exclusive t_reverse"),
        "DEPTHWISE_CONV_2D": (
            4, 2, "b_padding i_stride_w i_stride_h i_multiplier b_activation i_dilation_w i_dilation_h"
        ),
        "DIV": (42, 29, "b_activation"),
        "ELU": (111, 0, ""),
        "EXP": (47, 33, ""),
        "FULLY_CONNECTED": (9, 8, "b_activation b_format t_keep_dims"),
        "GELU": (150, 116, "t_approximate"),
        "HARD_SWISH": (117, 91, ""),
        "LEAKY_RELU": (98, 75, "f_alpha"),
        "LOG": (73, 0, ""),
        "LOGISTIC": (14, 0, ""),
        "MAXIMUM": (55, 39, ""),
        "MAX_POOL_2D": (17, 5, "b_padding i_stride_w i_stride_h i_kernel_w i_kernel_h b_activation"),
        "MEAN": (40, 27, "t_keep_dims"),
        "MINIMUM": (57, 39, ""),
        "MIRROR_PAD": (100, 77, "b_mode"),
        "MUL": (18, 21, "b_activation"),
        "NEG": (59, 42, ""),
        "PACK": (83, 59, "i_count i_axis"),
        "PAD": (34, 22, ""),
        "PADV2": (60, 43, ""),
        "PRELU": (54, 0, ""),
        "REDUCE_MAX": (82, 27, "t_keep_dims"),
        "REDUCE_MIN": (89, 27, "t_keep_dims"),
        "RELU": (19, 0, ""),
        "RELU6": (21, 0, ""),
        "RESHAPE": (22, 0, ""),
        "RESIZE_BILINEAR": (23, 15, "i_height i_width t_align_corners t_half_pixel_centers"),
        "RESIZE_NEAREST_NEIGHBOR": (97, 74, "t_align_corners t_half_pixel_centers"),
        "REVERSE_V2": (105, 81, ""),
        "RSQRT": (76, 0, ""),
        "SLICE": (65, 47, ""),
        "SOFTMAX": (25, 9, "f_beta"),
        "SPLIT": (49, 35, "i_splits"),
        "SQRT": (75, 0, ""),
        "STRIDED_SLICE": (45, 32, "i_begin_mask i_end_mask i_ellipsis_mask i_new_axis_mask i_shrink_axis_mask"),
        "SUB": (41, 28, "b_activation"),
        "SUM": (74, 27, "t_keep_dims"),
        "TANH": (28, 0, ""),
        "TILE": (69, 0, ""),
        "TRANSPOSE": (39, 26, ""),
        "TRANSPOSE_CONV": (67, 49, "b_padding i_stride_w i_stride_h b_activation"),
        "UNPACK": (88, 64, "i_count i_axis"),
    }
)  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """A tensor; ``data`` where it is constant. ``scales``: one, or one per channel along ``axis``, or none."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "int8"
    scales: tuple[float, ...] = ()
    zero: int = 0
    axis: int = 0
    data: bytes | None = None


@dataclass(frozen=True)
class Operator:
    """An operator: its name in the schema, indices of tensors, settings by their names in ``_OPERATORS``."""

    code: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    settings: Mapping[str, Setting] = field(default_factory=dict)


def model(
    tensors: Sequence[Tensor], operators: Sequence[Operator], inputs: Sequence[int], outputs: Sequence[int]
) -> bytes:
    """Return the file: one subgraph."""
    b: Any = flatbuffers.Builder(1024)
    b.ForceDefaults(True)
    kept = [tensor.data for tensor in tensors if tensor.data is not None]
    buffers = _offsets(b, [_table(b, 1, []), *(_table(b, 1, [(0, "o", b.CreateByteVector(data))]) for data in kept)])
    filled = iter(range(1, len(kept) + 1))
    made = [_tensor(b, tensor, 0 if tensor.data is None else next(filled)) for tensor in tensors]
    codes = list(dict.fromkeys(op.code for op in operators))
    ops = [_operator(b, op, codes.index(op.code)) for op in operators]
    slots = [(0, "o", _offsets(b, made)), (1, "o", _integers(b, inputs)), (2, "o", _integers(b, outputs))]
    graph = _table(b, 6, [*slots, (3, "o", _offsets(b, ops))])
    named = _offsets(b, [_code(b, _OPERATORS[code][0]) for code in codes])
    graphs = _offsets(b, [graph])
    root = _table(b, 8, [(0, "u", VERSION), (1, "o", named), (2, "o", graphs), (4, "o", buffers)])
    b.Finish(root, IDENTIFIER)
    return bytes(b.Output())


def left_over(content: bytes) -> tuple[set[str], int]:
    """Return the names of what the builtin operators of a file make, and the number of its custom operators."""
    root = _root(content)
    builtin = [_number(code, 3, number_types.Int32Flags) for code in _tables(root, 1)]
    graph = _tables(root, 2)[0]
    tensors = _tables(graph, 0)
    names: set[str] = set()
    custom = 0
    for op in _tables(graph, 3):
        if builtin[_number(op, 0, number_types.Uint32Flags)] == 32:  # CUSTOM
            custom += 1
        else:
            names.update(_text(tensors[index], 3) for index in _numbers(op, 2))
    return names, custom


# ---- writing -------------------------------------------------------------------------------------------------------

_PUT = {"o": "UOffsetTRelative", "i": "Int32", "u": "Uint32", "b": "Int8", "c": "Uint8", "t": "Bool", "f": "Float32"}


def _table(b: Any, slots: int, filled: Sequence[tuple[int, str, Any]]) -> int:
    b.StartObject(slots)
    for slot, kind, value in filled:
        getattr(b, f"Prepend{_PUT[kind]}Slot")(slot, value, 0)
    return int(b.EndObject())


def _offsets(b: Any, offsets: Sequence[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return int(b.EndVector())


def _integers(b: Any, values: Sequence[int]) -> int:
    return int(b.CreateNumpyVector(np.asarray(values, np.int32)))


def _tensor(b: Any, tensor: Tensor, buffer: int) -> int:
    name, shape = b.CreateString(tensor.name), _integers(b, tensor.shape)
    slots = [(0, "o", shape), (1, "b", TYPES[tensor.dtype]), (2, "u", buffer), (3, "o", name)]
    if tensor.scales:
        scale = b.CreateNumpyVector(np.asarray(tensor.scales, np.float32))
        zero = b.CreateNumpyVector(np.full(len(tensor.scales), tensor.zero, np.int64))
        slots.append((4, "o", _table(b, 7, [(2, "o", scale), (3, "o", zero), (6, "i", tensor.axis)])))
    return _table(b, 10, slots)


def _operator(b: Any, op: Operator, code: int) -> int:
    _, kind, fields = _OPERATORS[op.code]
    read, made = _integers(b, op.inputs), _integers(b, op.outputs)
    slots = [(0, "u", code), (1, "o", read), (2, "o", made), (3, "c", kind)]
    if kind:
        named = [(slot, name[0], op.settings.get(name[2:], 0)) for slot, name in enumerate(fields.split())]
        slots.append((4, "o", _table(b, max(len(named), 1), named)))
    return _table(b, 14, slots)


def _code(b: Any, code: int) -> int:
    return _table(b, 4, [(0, "b", min(code, 127)), (2, "i", 1), (3, "i", code)])


# ---- reading -------------------------------------------------------------------------------------------------------


def _root(content: bytes) -> Any:
    return Table(content, encode.Get(packer.uoffset, content, 0))


def _at(table: Any, slot: int) -> int:
    offset = int(table.Offset(4 + 2 * slot))
    return offset + int(table.Pos) if offset else 0


def _number(table: Any, slot: int, flags: Any) -> int:
    where = _at(table, slot)
    return int(table.Get(flags, where)) if where else 0


def _tables(table: Any, slot: int) -> list[Any]:
    if not _at(table, slot):
        return []
    start = table.Vector(_at(table, slot) - table.Pos)
    count = table.VectorLen(_at(table, slot) - table.Pos)
    return [Table(table.Bytes, table.Indirect(start + 4 * index)) for index in range(count)]


def _numbers(table: Any, slot: int) -> list[int]:
    offset = _at(table, slot) - table.Pos
    start = table.Vector(offset)
    return [int(table.Get(number_types.Int32Flags, start + 4 * index)) for index in range(table.VectorLen(offset))]


def _text(table: Any, slot: int) -> str:
    return bytes(table.String(_at(table, slot))).decode()
