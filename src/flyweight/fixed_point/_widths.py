"""How wide a layer's sums get, and whether a processor without VNNI would saturate inside them.

x86 without VNNI multiplies unsigned by signed bytes with ``vpmaddubsw``, which adds two neighbouring products in 16
bits and saturates: 255 * (w0 + w1) must stay within 32767. Weights of 7 bits (``reduce_range``) always do; so does
every processor with VNNI (``vpdpbusd`` sums in 32 bits) and Arm. Depthwise convolutions take 16-bit products: safe.
Source: ONNX Runtime, "Quantize ONNX models", "When to use reduce-range"; MLAS ``qgemm_kernel_avx2``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flyweight.errors import FileError
from flyweight.files import read_bytes
from flyweight.fixed_point._kernels import Convolution, Kernel, MatrixProduct
from flyweight.fixed_point._read import Program

CPUINFO = Path("/proc/cpuinfo")
PAIR_LIMIT = 32767 // 255  # of the sum of two weights of one sign


@dataclass(frozen=True)
class Width:
    """Of one layer's accumulator: bits in the worst case (sign included), and whether pairs may saturate."""

    bits: int
    pairs_saturate: bool


def width_of(kernel: Kernel) -> Width | None:
    """Return the width of a layer's sums, over all inputs there can be; None for a layer without weights."""
    if isinstance(kernel, Convolution):
        filters = kernel.weight.reshape(kernel.weight.shape[0], -1)
        depthwise = kernel.weight.shape[1] == 1
    elif isinstance(kernel, MatrixProduct):
        filters, depthwise = kernel.weight.T, False
    else:
        return None
    reach = max(kernel.zero_point, 255 - kernel.zero_point) if kernel.zero_point >= 0 else 255
    most = np.abs(filters.astype(np.int64)).sum(axis=1) * reach + np.abs(kernel.bias.astype(np.int64))
    ordered = np.sort(filters, axis=1)
    pairs = filters.shape[1] > 1 and (
        (ordered[:, -2:].sum(axis=1) > PAIR_LIMIT).any() or (ordered[:, :2].sum(axis=1) < -PAIR_LIMIT).any()
    )
    return Width(int(most.max(initial=0)).bit_length() + 1, bool(pairs and not depthwise))


def saturating_layers(program: Program) -> tuple[str, ...]:
    """Return the names of the layers whose sums of two products may exceed 16 bits."""
    widths = ((step.name, width_of(step.kernel)) for step in program.steps)
    return tuple(name for name, width in widths if width is not None and width.pairs_saturate)


def cpu_has_vnni() -> bool | None:
    """Return whether this x86 processor has VNNI; None where that can't be known or is not asked (Arm, macOS)."""
    try:
        text = read_bytes(CPUINFO, 1 << 24).decode(errors="replace")
    except FileError:
        return None
    flags = {word for line in text.splitlines() if line.startswith("flags") for word in line.split()}
    return bool(flags & {"avx512_vnni", "avx_vnni"}) if flags else None
