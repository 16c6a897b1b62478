"""Steps by what a weight does to the output, and rounding whose errors later weights make good.

At small errors, a file is smallest for its error where every weight's share of the error is the same: steps go as one
over the root of the sensitivity (reverse water-filling: Cover & Thomas, Elements of Information Theory, section 10.3).
The error of one weight is made up for by those after it, as far as the output sees both alike: Hassibi & Stork 1992
(optimal brain surgeon); Frantar et al. 2022 (arXiv 2210.17323, GPTQ), section 3. What then counts of a weight is the
part of its effect that no later weight can imitate, which is what its step is chosen by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from flyweight.codec import Steps
from flyweight.packing._sensitivity import Sensitivity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Singles = NDArray[np.float32]

MOST_HALVES = 10  # a row's or column's step differs from its tensor's by no more than 2 ** (10 / 2)
LEAST = 1e-30  # sensitivity of what does nothing
STRIP = 64  # columns between two updates of all later ones


@dataclass(frozen=True)
class Trust:
    """How far measured sensitivities are believed: inputs are few, and what none woke must not be woken by noise.

    Attributes:
        rows, columns: least sensitivity of a row and a column, of the tensor's mean.
        shrink: of the products between columns.
    """

    rows: float
    columns: float
    shrink: float


REAL = Trust(0.25, 0.06, 0.12)  # by benchmarks/codec_rate.py's images
MADE_UP = Trust(0.4, 0.25, 0.3)


@dataclass(frozen=True)
class Effect:
    """What a tensor's weights ``(rows, columns)`` do to the output, once later columns make good for earlier ones.

    Attributes:
        rows, columns: squared error of the output by that of weight (i, j) is ``rows[i] * columns[j]``.
        feedback: per block, what a column's error of 1 takes from each later column: upper triangular ``(c, c)`` with 1
            on the diagonal, or ``(rows, c, c)``; empty where nothing is made good.
    """

    rows: Floats
    columns: Floats
    feedback: tuple[Singles, ...]


def effect(found: Sensitivity, trust: Trust = REAL) -> Effect:
    """Return the effect of a tensor's weights."""
    rows = _at_least(found.rows, trust.rows)
    if found.blocks[0].ndim == 1:
        return Effect(np.ones(1), _at_least(found.columns, trust.rows), ())
    feedback, parts, own_rows = [], [], rows
    for block in found.blocks:
        kept, left = _triangular(torch.from_numpy(block).double(), trust)
        feedback.append(left)
        if block.ndim == 3:  # a geometric rank-one fit of what each row's columns have left
            own_rows = np.exp(np.log(kept).mean(1))
            parts.append(np.exp(np.log(kept / own_rows[:, None]).mean(0)))
        else:
            parts.append(kept / max(float(rows.mean()), LEAST))
    return Effect(own_rows, np.concatenate(parts), tuple(feedback))


def _at_least(sensitivity: Floats, share: float) -> Floats:
    floored: Floats = np.maximum(sensitivity, max(float(sensitivity.mean()) * share, LEAST))
    return floored


def _triangular(products: torch.Tensor, trust: Trust) -> tuple[Floats, Singles]:
    """Return what each column has of its own beside later ones ``(..., c)``, and the feedback ``(..., c, c)``."""
    diagonal = torch.diagonal(products, dim1=-2, dim2=-1)
    least = diagonal.mean(-1, keepdim=True) * trust.columns
    if products.dim() == 3:  # a depthwise kernel that no input woke
        least = torch.maximum(least, diagonal.mean() * trust.rows)
    shrunk = products * (1 - trust.shrink) + torch.diag_embed(diagonal * trust.shrink + least + LEAST)
    upper = torch.linalg.cholesky(shrunk.flip(-1, -2)).flip(-1, -2)  # products = upper @ upper'
    own = torch.diagonal(upper, dim1=-2, dim2=-1)
    return (own**2).numpy(), (upper / own[..., None, :]).float().numpy()


def steps_for(tensors: Mapping[str, Singles], effects: Mapping[str, Effect], noise: float) -> dict[str, Steps]:
    """Return the steps at which the rounding of every weight adds ``noise`` to the squared error of the output."""
    return {name: _steps(tensor, effects[name], noise) for name, tensor in tensors.items()}


def _steps(tensor: Singles, found: Effect, noise: float) -> Steps:
    """Return one tensor's steps: step² / 12 times what a weight does is ``noise``."""
    halves, typical = [], 1.0
    for side in (found.rows, found.columns):
        octaves = -np.log2(
            np.maximum(side, float(np.max(side)) * 1e-9 + 1e-38)
        )  # half an octave of step: one of effect
        middle = float(np.median(octaves)) if len(side) > 1 else float(octaves[0])
        halves.append(np.clip(np.rint(octaves - middle), -MOST_HALVES, MOST_HALVES).astype(np.int32))
        typical *= 2.0**-middle
    largest = float(np.abs(tensor).max(initial=0)) or 1.0
    step = min(float(np.sqrt(12 * noise / typical)), largest / 2)  # no step swallows a whole tensor
    return Steps(max(step, largest * 2.0**-20), halves[0], halves[1])


@dataclass(frozen=True)
class Rounding:
    """Rounds one tensor, column after column; see ``codec.Rounding``.

    Attributes:
        found: what its weights do.
        steps: of the tensor.
        shape: of the tensor as a matrix.
    """

    found: Effect
    steps: Steps
    shape: tuple[int, int]

    def __call__(self, scaled: Floats, classes: NDArray[np.uint8], bits: Singles, slope: float) -> NDArray[np.int32]:
        """Return whole numbers ``(rows, columns)`` for weights in steps; a bit is worth ``slope`` squared steps."""
        rows, columns = np.exp2(self.steps.rows / 2), np.exp2(self.steps.columns / 2)  # type: ignore[operator]
        prices = self._prices(rows, columns, slope)
        chosen = np.empty(scaled.shape, np.int32)
        cut = 0
        for feedback in self.found.feedback:
            size = feedback.shape[-1]
            here = slice(cut, cut + size)
            inside = (feedback * (columns[here, None] / columns[None, here])).astype(np.float32)
            _round_block(
                torch.from_numpy(scaled[:, here].astype(np.float32)), torch.from_numpy(inside),
                torch.from_numpy(classes[:, here].astype(np.int64)), torch.from_numpy(bits),
                (torch.from_numpy(prices[0]), torch.from_numpy(prices[1][here])), torch.from_numpy(chosen[:, here]),
            )  # fmt: skip
            cut += size
        return chosen

    def _prices(self, rows: Floats, columns: Floats, slope: float) -> tuple[Singles, Singles]:
        """Return what a bit is worth in squared steps, as a product of rows' and columns' parts."""
        weight = [side * step**2 for side, step in ((self.found.rows, rows), (self.found.columns, columns))]
        usual = [np.exp(np.log(part).mean()) for part in weight]
        return (slope * usual[0] / weight[0]).astype(np.float32), (usual[1] / weight[1]).astype(np.float32)


def _round_block(
    scaled: torch.Tensor, feedback: torch.Tensor, classes: torch.Tensor, bits: torch.Tensor,
    prices: tuple[torch.Tensor, torch.Tensor], out: torch.Tensor,
) -> None:  # fmt: skip
    """Round a block's columns in turn, each with the errors of those before it taken off; ``out`` takes the numbers."""
    wanted, last, row_prices, own = scaled.clone(), bits.shape[1] - 1, prices[0], feedback.dim() == 3
    table = bits.reshape(-1)
    errors = torch.zeros_like(scaled)
    for begin in range(0, scaled.shape[1], STRIP):
        end = min(begin + STRIP, scaled.shape[1])
        for j in range(begin, end):
            x = wanted[:, j]
            near = x.round()
            size, large = x.abs(), near.abs()
            less = (large - 1).clamp_min(0)
            place = classes[:, j] * (last + 1)
            saved = table[place + large.clamp_max(last).long()] - table[place + less.clamp_max(last).long()]
            worth = (size - less) ** 2 - (size - large) ** 2 < saved * row_prices * prices[1][j]
            number = torch.where(worth, less, large) * near.sign()
            out[:, j] = number.to(out.dtype)
            errors[:, j] = number - scaled[:, j]
            if own:
                wanted[:, j + 1 :] -= errors[:, j, None] * feedback[:, j, j + 1 :]
            elif j + 1 < end:
                wanted[:, j + 1 : end].addr_(errors[:, j], feedback[j, j + 1 : end], alpha=-1)
        if not own and end < scaled.shape[1]:
            wanted[:, end:].addmm_(errors[:, begin:end], feedback[begin:end, end:], alpha=-1)
