"""What the families of inverted residuals have in common: tables of rows become named stages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from flyweight.spec import StageSpec, Value, round_channels, settings


@dataclass(frozen=True)
class Row:
    """A row of a paper's table: ``repeats`` equal blocks, of which the first has the stride. ``se``: squeeze ratio."""

    kernel: int
    expand: float
    channels: int
    repeats: int
    stride: int
    se: float = 0.0


def eights(channels: float) -> int:
    """Return a width rounded to multiples of 8, as all these families do."""
    return round_channels(channels, 8, 8)


def inverted(
    name: str, kernel: int, expand: float, channels: int, stride: int, se: float = 0.0, **chosen: Value
) -> StageSpec:
    """Return one inverted residual; of ``chosen``, what begins with ``se_`` is left out where ``se`` is 0."""
    if not se:
        chosen = {key: value for key, value in chosen.items() if not key.startswith("se_")}
    own = {"kernel": kernel, "expand": float(expand)} | ({"se": se} if se else {})
    return StageSpec(name, "inverted_residual", channels, stride, settings(**own, **chosen))


def stages_of(rows: Iterable[Row], scaled: Callable[[int], int], **chosen: Value) -> tuple[StageSpec, ...]:
    """Return the blocks of all rows, named ``block<row>_<number>``, from 1."""
    return tuple(
        inverted(
            f"block{index}_{number + 1}",
            row.kernel,
            row.expand,
            scaled(row.channels),
            row.stride if number == 0 else 1,
            row.se,
            **chosen,
        )
        for index, row in enumerate(rows, start=1)
        for number in range(row.repeats)
    )


def coded(codes: str) -> tuple[StageSpec, ...]:
    """Return one block per code, named ``block<number>`` from 1.

    A code is what the searches that found these networks print: ``k7s2e3:16`` is kernel 7, stride 2, expansion 3, 16
    channels.
    """
    blocks = []
    for index, code in enumerate(codes.split(), start=1):
        kernel, stride, expand, channels = map(int, re.split("[kse:]", code)[1:])
        blocks.append(inverted(f"block{index}", kernel, expand, channels, stride))
    return tuple(blocks)


def conv(name: str, channels: int, stride: int = 1, kernel: int = 3, activation: str = "relu6") -> StageSpec:
    """Return a plain convolution with norm and activation: a stem, or the last one before pooling."""
    return StageSpec(name, "conv", channels, stride, settings(kernel=kernel, activation=activation))
