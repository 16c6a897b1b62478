"""Which weights stay: the largest, per layer or over the whole network, alone, in blocks, or N of M."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from flyweight.errors import UsageError

Masks: TypeAlias = "Mapping[str, Tensor]"  # bool, by the weight's name and of its shape; False: pruned
Scope: TypeAlias = Literal["layer", "global", "deviation", "lamp"]
SCOPES: tuple[Scope, ...] = ("layer", "global", "deviation", "lamp")
_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_TINY = 1e-30


@dataclass(frozen=True)
class Block:
    """Weights go in blocks of ``rows`` outputs and ``columns`` inputs, judged by their sum of magnitudes.

    Blocks of 2 or 4 outputs by 1 input are what sparse 1 × 1 kernels take (Elsen et al. 2019, arXiv 1911.09723, section
    3.3). A block at a border may be smaller.
    """

    rows: int = 1
    columns: int = 1

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1:
            raise UsageError(f"blocks of {self.rows} x {self.columns}; both must be at least 1.")


@dataclass(frozen=True)
class NOfM:
    """Of every ``of`` weights that follow one another along the inputs, the ``keep`` largest stay.

    2 of 4 is what NVIDIA's sparse tensor cores take (Mishra et al. 2021, arXiv 2104.08378). At a layer's end fewer than
    ``of`` may be left; ``keep`` of them stay.
    """

    keep: int = 2
    of: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.keep <= self.of:
            raise UsageError(f"{self.keep} of {self.of} weights can't stay; e.g. 2 of 4 can.")


Pattern: TypeAlias = "Block | NOfM"
DENSE = Block()
LARGE_BLOCK = Block(4, 1)


def weights_of(module: nn.Module, *, depthwise: bool = False) -> dict[str, nn.Parameter]:
    """Return the weights that are pruned, by name: of convolutions and fully connected layers, each tensor once.

    Args:
        depthwise: those of depthwise convolutions too. They have few weights, and each of them matters.
    """
    owners = {id(layer.weight): layer for layer in module.modules() if isinstance(layer, (*_CONVS, nn.Linear))}
    found = {}
    for name, parameter in module.named_parameters():
        layer = owners.get(id(parameter))
        if layer is None or (_is_depthwise(layer) and not depthwise):
            continue
        found[name] = parameter
    return found


def _is_depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, _CONVS) and layer.groups > 1 and layer.groups == layer.in_channels


def layer_kinds(module: nn.Module) -> dict[str, Literal["conv", "fc"]]:
    """Return for each weight of ``weights_of`` whether it is a convolution's; a 1 × 1 convolution is one too."""
    return {name: "conv" if weight.dim() > 2 else "fc" for name, weight in weights_of(module, depthwise=True).items()}


def magnitude(
    module: nn.Module,
    density: float | Mapping[str, float],
    scope: Scope = "layer",
    pattern: Pattern = DENSE,
    *,
    least: float = 0.0,
) -> dict[str, Tensor]:
    """Return masks that keep the largest weights.

    Args:
        density: the share that stays; by name for ``layer``: layers that are not named are left whole.
        scope: ``layer``: the same share of each; ``global``: magnitudes compared over the network; ``deviation``: as
            multiples of their layer's standard deviation (Han et al. 2015, arXiv 1506.02626, section 3); ``lamp``: as
            the share of what is left of the layer if smaller ones are gone (Lee et al. 2021, arXiv 2010.07611).
        pattern: weights alone, in blocks, or N of M; the last leaves the same share everywhere, whatever is asked for.
        least: of every layer at least this share stays.

    Raises:
        UsageError: a density outside 0 to 1, an unknown layer or scope, or densities by layer with another scope.
    """
    weights = weights_of(module, depthwise=isinstance(density, Mapping))
    _check(density, scope, weights, least)
    if isinstance(pattern, NOfM):
        names = density if isinstance(density, Mapping) else weights
        return {name: _n_of_m(weights[name].detach(), pattern) for name in names}
    if isinstance(density, Mapping):
        return {name: _largest(weights[name].detach(), share, pattern) for name, share in density.items()}
    if scope == "layer":
        return {name: _largest(weight.detach(), max(density, least), pattern) for name, weight in weights.items()}
    scores = {name: _comparable(_blocks(w.detach(), pattern), scope) for name, w in weights.items()}
    sizes = {name: _blocks(torch.ones_like(w), pattern) for name, w in weights.items()}
    kept = _largest_of_all(scores, sizes, density, least)
    return {name: _spread(kept[name], weight, pattern) for name, weight in weights.items()}


def _check(density: float | Mapping[str, float], scope: str, weights: Mapping[str, nn.Parameter], least: float) -> None:
    if scope not in SCOPES:
        raise UsageError(f"there is no scope '{scope}'. Choose from: {', '.join(SCOPES)}.")
    if isinstance(density, Mapping):
        if scope != "layer":
            raise UsageError(f"densities by layer are for the scope 'layer', not '{scope}'.")
        if unknown := [name for name in density if name not in weights]:
            raise UsageError(f"there is no weight '{unknown[0]}' to prune. There are: {', '.join(weights)}.")
    for share in (*(density.values() if isinstance(density, Mapping) else (density,)), least):
        if not 0 <= share <= 1:
            raise UsageError(f"a density is {share}; allowed are 0 (nothing is left) to 1.")


def density(masks: Masks) -> float:
    """Return the share of all masked layers' weights that stays."""
    total = sum(mask.numel() for mask in masks.values())
    return sum(int(mask.sum()) for mask in masks.values()) / max(total, 1)


def _matrix(weight: Tensor) -> Tensor:
    """Return a weight as ``(outputs, inputs and places of the kernel)``."""
    return weight.reshape(weight.shape[0], -1)


def _blocks(weight: Tensor, pattern: Block) -> Tensor:
    """Return the sum of magnitudes of every block of the matrix of outputs × the rest ``(rows, columns)``."""
    matrix = _matrix(weight).abs().double()
    if (pattern.rows, pattern.columns) == (1, 1):
        return matrix
    down, across = -matrix.shape[0] % pattern.rows, -matrix.shape[1] % pattern.columns
    padded = functional.pad(matrix, (0, across, 0, down))
    high, wide = padded.shape[0] // pattern.rows, padded.shape[1] // pattern.columns
    return padded.reshape(high, pattern.rows, wide, pattern.columns).sum((1, 3))


def _spread(kept: Tensor, weight: Tensor, pattern: Block) -> Tensor:
    """Return a mask of blocks as one of weights."""
    matrix = _matrix(weight)
    spread = kept.repeat_interleave(pattern.rows, 0).repeat_interleave(pattern.columns, 1)
    return spread[: matrix.shape[0], : matrix.shape[1]].reshape(weight.shape).clone()


def _largest(weight: Tensor, share: float, pattern: Block) -> Tensor:
    scores = _blocks(weight, pattern)
    count = round(share * scores.numel()) if share else 0
    kept = torch.zeros(scores.numel(), dtype=torch.bool)
    kept[scores.reshape(-1).argsort(descending=True, stable=True)[:count]] = True
    return _spread(kept.reshape(scores.shape), weight, pattern)


def _comparable(scores: Tensor, scope: Scope) -> Tensor:
    """Return scores that may be compared between layers."""
    if scope == "deviation":
        return scores / max(float(scores.square().mean().sqrt()), _TINY)
    if scope == "lamp":
        squares, order = scores.reshape(-1).square().sort(stable=True)
        following = squares.flip(0).cumsum(0).flip(0)  # itself and all that are larger
        lamp = torch.empty_like(squares)
        lamp[order] = squares / following.clamp_min(_TINY)
        return lamp.reshape(scores.shape)
    return scores


def _largest_of_all(
    scores: Mapping[str, Tensor], sizes: Mapping[str, Tensor], share: float, least: float
) -> dict[str, Tensor]:
    """Return which blocks stay: at least ``least`` of each layer, then the best of all until ``share`` is reached."""
    flat = {name: score.reshape(-1).clone() for name, score in scores.items()}
    for score in flat.values():
        count = math.ceil(least * len(score))
        score[score.argsort(descending=True, stable=True)[:count]] = math.inf
    together = torch.cat(list(flat.values()))
    weighed = torch.cat([size.reshape(-1) for size in sizes.values()])
    order = together.argsort(descending=True, stable=True)
    wanted = share * float(weighed.sum())
    kept = torch.zeros(len(together), dtype=torch.bool)
    kept[order[weighed[order].cumsum(0) <= wanted + 0.5]] = True
    kept |= together == math.inf
    parts = torch.split(kept, [len(score) for score in flat.values()])
    return {name: part.reshape(scores[name].shape) for name, part in zip(scores, parts, strict=True)}


def _n_of_m(weight: Tensor, pattern: NOfM) -> Tensor:
    """Return a mask of N of M along the second axis, for every output and every place of the kernel."""
    along = weight.detach().abs().movedim(1, -1) if weight.dim() > 1 else weight.detach().abs()
    missing = -along.shape[-1] % pattern.of
    padded = functional.pad(along, (0, missing), value=-1.0)
    groups = padded.reshape(-1, pattern.of)
    order = groups.argsort(dim=1, descending=True, stable=True)[:, : pattern.keep]
    kept = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, order, torch.ones_like(order, dtype=torch.bool))
    whole = kept.reshape(padded.shape)[..., : along.shape[-1]]
    return (whole.movedim(-1, 1) if weight.dim() > 1 else whole).contiguous()
