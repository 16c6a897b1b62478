"""Magnitude pruning: which weights are zero, and how they stay zero while the network trains on.

Zeros that stand anywhere make a file smaller, not a network faster: runtimes multiply them like other numbers. Zeros in
blocks or of N:M can be faster, on runtimes and chips with kernels for them.
"""

from flyweight.sparse._hold import Gradual, applied, attach, held, holding, zeros
from flyweight.sparse._masks import (
    DENSE,
    LARGE_BLOCK,
    SCOPES,
    Block,
    Masks,
    NOfM,
    Pattern,
    Scope,
    density,
    layer_kinds,
    magnitude,
    weights_of,
)
from flyweight.sparse._schedule import Cubic, OneShot, Schedule
from flyweight.sparse._sensitivity import Sensitivity, densities_within, scan

__all__ = [
    "DENSE", "LARGE_BLOCK", "SCOPES", "Block", "Cubic", "Gradual", "Masks", "NOfM", "OneShot", "Pattern", "Schedule",
    "Scope", "Sensitivity", "applied", "attach", "densities_within", "density", "held", "holding", "layer_kinds",
    "magnitude", "scan", "weights_of", "zeros",
]  # fmt: skip
