"""Deep Compression as one chain: prune, train on, share, train on, code. Killed at any point, it goes on.

Source: Han et al. 2016 (arXiv 1510.00149).
"""

from flyweight.compress._chain import FILE, RECORD, compress, plan_lines
from flyweight.compress._code import file_of
from flyweight.compress._score import HEADLINES, for_channels, metric
from flyweight.compress._settings import (
    PRUNE_RECIPE,
    ROUNDS,
    SHARE_RECIPE,
    Compressed,
    CurvePoint,
    LayerReport,
    Settings,
    Stage,
)

__all__ = [
    "FILE", "HEADLINES", "PRUNE_RECIPE", "RECORD", "ROUNDS", "SHARE_RECIPE", "Compressed", "CurvePoint", "LayerReport",
    "Settings", "Stage", "compress", "file_of", "for_channels", "metric", "plan_lines",
]  # fmt: skip
