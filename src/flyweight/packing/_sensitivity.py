"""How errors of the weights show at the output: the Gauss-Newton matrix of each weight, from random projections.

With J the derivative of the output by one tensor's weights, the squared error at the output that small errors e cause
is e' (J' J) e. For random signs s, J' s has J' J as its mean square (Hutchinson 1989). Of a matrix D (rows, columns) of
such derivatives two parts are kept, whose Kronecker product is near J' J: the mean of D' D between columns, and the
mean square of each row (Gupta et al. 2018, arXiv 1802.09568; Martens & Grosse 2015, arXiv 1503.05671). A depthwise
kernel's weights have a matrix of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from flyweight.codec import matrix_shape
from flyweight.contracts import Preprocessing, Progress, Silent

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.float64]

DRAWS = 2  # random projections of the outputs of each batch of inputs
BATCH = 8
BATCH_PIXELS = BATCH * 256 * 256  # fewer inputs at once where they are larger: their activations are kept
BLOCK = 1280  # columns whose errors are seen together; a wider tensor has several blocks
KERNEL = 49  # columns of a tensor whose rows get a matrix each
SEED = 0


@dataclass(frozen=True)
class Sensitivity:
    """How errors in one tensor's weights, a matrix ``(rows, columns)``, show at the output.

    Attributes:
        rows: mean squared derivative of the output by a row's weights ``(rows,)``.
        blocks: per block of columns the mean of D' D over rows ``(columns, columns)``; or for a depthwise tensor one
            array ``(rows, columns, columns)``, each row's own; or for one row its squares ``(columns,)``.
    """

    rows: Floats
    blocks: tuple[NDArray[np.float32], ...]

    @property
    def columns(self) -> Floats:
        """Mean squared derivative of the output by a column's weights ``(columns,)``."""
        parts = [
            b if b.ndim == 1 else np.einsum("...cc->...c", b).reshape(-1, b.shape[-1]).mean(0) for b in self.blocks
        ]
        return np.concatenate(parts).astype(np.float64)


@dataclass(frozen=True)
class Measured:
    """The sensitivity of every tensor, and what the outputs' error is to be compared with.

    Attributes:
        tensors: by name.
        power: mean over inputs of the output's sum of squares.
        outputs: the outputs, flat ``(n, values)``.
    """

    tensors: Mapping[str, Sensitivity]
    power: float
    outputs: NDArray[np.float32]


def synthetic(p: Preprocessing, count: int) -> Tensor:
    """Return inputs ``(count, C, height, width)`` for want of images: smooth noise, as much of it in every octave."""
    rng = np.random.default_rng(SEED)
    total = torch.zeros(count, len(p.mean), p.height, p.width)
    for cells in (2, 4, 8, 16, 32, 64):
        grid = rng.normal(size=(count, 1, cells, cells)) + 0.3 * rng.normal(size=(count, len(p.mean), cells, cells))
        total += nn.functional.interpolate(
            torch.from_numpy(grid.astype(np.float32)), (p.height, p.width), mode="bicubic", align_corners=False
        )
    total = total / total.std(dim=(1, 2, 3), keepdim=True) * 0.25 + 0.5  # pixels from 0 to 1
    mean, std = (torch.tensor(v).reshape(1, -1, 1, 1) for v in (p.mean, p.std))
    return ((total.clamp(0, 1) - mean) / std).contiguous()


def measure(module: nn.Module, inputs: Tensor, progress: Progress | None = None) -> Measured:
    """Measure the sensitivity of every parameter.

    Args:
        module: in eval mode; its output a tensor, or a tuple of them.
        inputs: ``(n, C, H, W)``.
        progress: told of every batch.
    """
    progress = progress or Silent()
    generator = torch.Generator().manual_seed(SEED)
    weights = {name: p for name, p in module.named_parameters() if p.numel()}
    sums = {name: Sums(p) for name, p in weights.items()}
    outputs = []
    parts = batches(inputs)
    progress.start("sensitivity of the output to each weight", len(parts))
    for batch in parts:
        out = flat(module(batch))
        outputs.append(out.detach())
        for draw in range(DRAWS):
            signs = torch.randint(0, 2, out.shape, generator=generator).to(out.dtype) * 2 - 1
            found = torch.autograd.grad(
                (out * signs).sum(), list(weights.values()), retain_graph=draw + 1 < DRAWS, allow_unused=True
            )
            for each, gradient in zip(sums.values(), found, strict=True):
                if gradient is not None:
                    each.add(gradient)
        progress.advance()
    progress.finish()
    every = torch.cat(outputs)
    tensors = {name: each.mean(DRAWS * len(inputs)) for name, each in sums.items()}
    return Measured(tensors, float(every.double().square().sum(1).mean()), every.numpy())


def batches(inputs: Tensor) -> tuple[Tensor, ...]:
    """Return inputs ``(n, C, H, W)`` a few at a time."""
    size = max(1, min(BATCH, BATCH_PIXELS // (inputs.shape[2] * inputs.shape[3])))
    return tuple(inputs[i : i + size] for i in range(0, len(inputs), size))


def flat(output: Any) -> Tensor:
    """Return a network's output as ``(n, values)``."""
    parts = output if isinstance(output, tuple | list) else (output,)
    return torch.cat([part.flatten(1) for part in parts], 1)


class Sums:
    """Sums of squares and products of one parameter's derivatives."""

    def __init__(self, parameter: Tensor) -> None:
        self.shape = matrix_shape(tuple(parameter.shape))
        rows, columns = self.shape
        self.rows = torch.zeros(rows, dtype=torch.float64)
        self.own = rows > 1 and columns <= KERNEL and parameter.dim() > 2 and parameter.shape[1] == 1
        self.cuts = list(range(0, columns, BLOCK))
        sizes = [min(BLOCK, columns - cut) for cut in self.cuts]
        if rows == 1:
            self.blocks = [torch.zeros(columns)]
        elif self.own:
            self.blocks = [torch.zeros(rows, columns, columns)]
        else:
            self.blocks = [torch.zeros(size, size) for size in sizes]

    def add(self, derivative: Tensor) -> None:
        """Add a draw."""
        matrix = derivative.reshape(self.shape)
        self.rows += matrix.double().square().mean(1)
        if self.shape[0] == 1:
            self.blocks[0] += matrix[0].square()
        elif self.own:
            self.blocks[0].baddbmm_(matrix[:, :, None], matrix[:, None, :])
        else:
            for block, cut in zip(self.blocks, self.cuts, strict=True):
                part = matrix[:, cut : cut + BLOCK]
                block.addmm_(part.T, part)

    def mean(self, count: int) -> Sensitivity:
        """Return the means over ``count`` inputs and draws."""
        each = count if self.shape[0] == 1 or self.own else count * self.shape[0]
        return Sensitivity((self.rows / count).numpy(), tuple((block / each).numpy() for block in self.blocks))
