"""The rows of EfficientNet-B0, and how the members of EfficientNet and EfficientNet-Lite are scaled from them.

Source: Tan and Le 2019 (arXiv 1905.11946), table 1 and section 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyweight.zoo._inverted import Row

ROWS = (
    Row(3, 1, 16, 1, 1, 0.25), Row(3, 6, 24, 2, 2, 0.25), Row(5, 6, 40, 2, 2, 0.25), Row(3, 6, 80, 3, 2, 0.25),
    Row(5, 6, 112, 3, 1, 0.25), Row(5, 6, 192, 4, 2, 0.25), Row(3, 6, 320, 1, 1, 0.25),
)  # fmt: skip


@dataclass(frozen=True)
class Scaling:
    """How a member is scaled: width and depth multipliers, resolution in pixels, dropout of the head."""

    width: float
    depth: float
    resolution: int
    dropout: float
