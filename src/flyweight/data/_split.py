"""Splits drawn for data that brings none."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from flyweight.errors import DataError

SPLITS = ("train", "val", "test")
VAL_SHARE = TEST_SHARE = 0.15


def drawn(folder: Path, names: Sequence[str], seed: int) -> dict[str, list[str]]:
    """Draw the splits: names sorted by a hash of seed and name, then cut; at least one for val and for test.

    Raises:
        DataError: fewer than three names.
    """
    if len(names) < len(SPLITS):
        raise DataError(f"{folder}: {len(names)} images leave a split empty. Give at least 3, better 100.")
    shuffled = sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    test = max(1, round(len(names) * TEST_SHARE))
    val = max(1, round(len(names) * VAL_SHARE))
    return {"test": shuffled[:test], "val": shuffled[test : test + val], "train": sorted(shuffled[test + val :])}
