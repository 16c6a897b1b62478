"""Fake quantization: values rounded to the grids of the exported file, with gradients for values and for steps.

Forward is what the file computes: clip to the range, round half to even. Backward takes rounding as identity (the
straight-through estimator; Bengio et al. 2013, arXiv 1308.3432) inside the range, and zero outside. A step's gradient
follows from that (LSQ: Esser et al. 2020, arXiv 1902.08153, equation 3); steps are trained as their logarithms, in
which Adam's updates are relative (TQT: Jain et al. 2019, arXiv 1903.08066, section 5.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from flyweight.errors import UsageError

LEVELS = 255  # steps of uint8
LEAST_STEP = 1e-12
BIAS_STEPS = 2.0**30  # a bias must fit into int32 with the sums that it is added to
WEIGHT_BITS = (2, 3, 4, 5, 6, 7, 8)


@dataclass(frozen=True)
class WeightGrid:
    """Integers that weights may take: symmetric, of ``bits`` with the sign, per output channel or per tensor.

    Fewer than 8 bits are stored as int8 all the same: a limit on values, for hardware and coders that gain by it.
    """

    bits: int = 8
    per_channel: bool = True

    def __post_init__(self) -> None:
        """Check the bits."""
        if self.bits not in WEIGHT_BITS:
            raise UsageError(f"weights of {self.bits} bits; possible are {WEIGHT_BITS[0]} to {WEIGHT_BITS[-1]}.")

    @property
    def levels(self) -> int:
        """Return the largest integer: 127 for 8 bits, 7 for 4."""
        return (1 << (self.bits - 1)) - 1

    def steps(self, weight: Tensor) -> Tensor:
        """Return steps ``(o,)`` that reach the largest weight, of each channel or of all."""
        largest = weight.detach().reshape(len(weight), -1).abs().amax(1)
        reach = largest if self.per_channel else largest.amax().expand(len(weight))
        return (reach / self.levels).clamp(min=LEAST_STEP)


class _Activation(torch.autograd.Function):
    """``(clip(round(x / step) + zero, 0, 255) - zero) · step`` with gradients for ``x`` and ``log(step)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, log_step: Tensor, zero: int) -> Tensor:
        step = float(log_step.exp())
        y = torch.fake_quantize_per_tensor_affine(x, step, zero, 0, LEVELS)
        ctx.save_for_backward(x, y)
        ctx.range = -zero * step, (LEVELS - zero) * step
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, y = ctx.saved_tensors
        inside = torch.ops.aten.hardtanh_backward(grad, x, *ctx.range)
        # step · dy/dstep is y - x inside and y outside, where x has no gradient
        return inside, (grad * y).sum() - (inside * x).sum(), None


def activation(x: Tensor, log_step: Tensor, zero: int) -> Tensor:
    """Return ``x`` on the uint8 grid of step ``exp(log_step)`` and that zero point."""
    found: Tensor = _Activation.apply(x, log_step, zero)  # type: ignore[no-untyped-call]
    return found


def weight(value: Tensor, steps: Tensor, levels: int) -> Tensor:
    """Return a weight ``(o, ...)`` on the grid of steps ``(o,)`` times integers from ``-levels`` to ``levels``."""
    shaped = steps.reshape(-1, *[1] * (value.dim() - 1))
    return _through(F.hardtanh(value / shaped, -levels, levels)) * shaped


def bias(value: Tensor, steps: Tensor) -> Tensor:
    """Return a bias ``(o,)`` on the grid of its int32 sums."""
    return _through(value / steps) * steps


def _through(x: Tensor) -> Tensor:
    """Return ``x`` rounded half to even, with the gradient of ``x``."""
    return x + (x.round() - x).detach()
