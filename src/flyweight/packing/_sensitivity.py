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

BATCH = 8
BATCH_PIXELS = BATCH * 256 * 256  # fewer inputs at once where they are larger: their activations are kept
BLOCK = 1280  # columns whose errors are seen together; a wider tensor has several blocks
KERNEL = 49  # columns of a tensor whose rows get a matrix each
SEED = 0
FEW = 256  # inputs, that are looked at from both sides
LEAVES = 120  # of a made-up image


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
    """Return inputs ``(count, C, height, width)`` for want of images: discs and boxes of any size one over the other.

    Edges, plain areas and textures at all scales, as photographs have them. Source: dead leaves, Lee, Mumford & Huang
    2001; learning from them as from photographs, Baradad et al. 2021 (arXiv 2106.05963).
    """
    rng = np.random.default_rng(SEED)
    pixels = np.stack([_leaves(rng, len(p.mean), p.height, p.width) for _ in range(count)])
    mean, std = (np.asarray(v, np.float32).reshape(1, -1, 1, 1) for v in (p.mean, p.std))
    return torch.from_numpy((pixels - mean) / std)


def _leaves(rng: np.random.Generator, channels: int, height: int, width: int) -> NDArray[np.float32]:
    """Return one such image ``(channels, height, width)``, 0 to 1."""
    image = np.broadcast_to(rng.uniform(0, 1, (channels, 1, 1)), (channels, height, width)).astype(np.float32)
    for _ in range(LEAVES):
        size = 0.6 * max(height, width) * np.exp(-rng.uniform(0, 3.5))
        cy, cx, angle, flatness = (
            rng.uniform(0, height),
            rng.uniform(0, width),
            rng.uniform(0, np.pi),
            rng.uniform(0.3, 1),
        )
        rows = slice(max(int(cy - 1.5 * size), 0), int(cy + 1.5 * size) + 1)
        columns = slice(max(int(cx - 1.5 * size), 0), int(cx + 1.5 * size) + 1)
        part = image[:, rows, columns]
        y, x = np.arange(part.shape[1])[:, None] + rows.start - cy, np.arange(part.shape[2])[None] + columns.start - cx
        along, across = (x * np.cos(angle) + y * np.sin(angle)) / size, (y * np.cos(angle) - x * np.sin(angle)) / size
        inside = np.maximum(abs(along), abs(across) / flatness) < 1
        if rng.random() < 0.6:
            inside = along**2 + (across / flatness) ** 2 < 1
        color = rng.uniform(0, 1, (channels, 1, 1))
        shade = (color + color.mean()) / 2 + rng.normal(0, 0.3) * along
        grain = rng.normal(0, rng.uniform(0, 0.12), part.shape[1:])
        np.copyto(part, shade + grain, where=inside, casting="same_kind")
    return image.clip(0, 1)


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
    parts, views = batches(inputs), 2 if len(inputs) <= FEW else 1
    progress.start("sensitivity of the output to each weight", len(parts))
    for batch in parts:
        for view in (batch, batch.flip(-1))[:views]:  # mirrored, they are inputs as likely
            out = flat(module(view))
            if view is batch:
                outputs.append(out.detach())
            signs = torch.randint(0, 2, out.shape, generator=generator).to(out.dtype) * 2 - 1
            found = torch.autograd.grad((out * signs).sum(), list(weights.values()), allow_unused=True)
            for each, gradient in zip(sums.values(), found, strict=True):
                if gradient is not None:
                    each.add(gradient)
        progress.advance()
    progress.finish()
    every = torch.cat(outputs)
    tensors = {name: each.mean(views * len(inputs)) for name, each in sums.items()}
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
