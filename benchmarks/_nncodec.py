"""Weights through nncodec 2.1.3, the reference software of ISO NNC (DeepCABAC): a script for a Python of its own.

    PYTHON benchmarks/_nncodec.py WEIGHTS.npz SETTINGS.json OUT

That Python needs ``pip install --no-deps nncodec==2.1.3 "numpy<2"`` and torch. What else nncodec imports serves its
training and its data sets, and is replaced by empty modules here. Writes OUT/N.npz with the decoded weights of setting
N, and OUT/figures.json: bytes, seconds to encode and to decode.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

STUBBED = ("torchvision", "pandas", "cv2", "h5py", "flwr", "wandb", "ptflops", "torchmetrics", "sklearn")


class Empty(MagicMock):
    """A module in which everything is found and nothing works."""

    __path__: Sequence[str] = []
    __spec__ = None


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives an empty module for every name below STUBBED."""

    def find_spec(self, name: str, *_: Any) -> importlib.machinery.ModuleSpec | None:
        """Return how to load such a module; None for others."""
        return (
            importlib.machinery.ModuleSpec(name, Finder(), is_package=True) if name.split(".")[0] in STUBBED else None
        )

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Return an empty module."""
        return Empty()

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing."""


def main(arguments: Sequence[str]) -> int:
    """Encode and decode the weights with every setting."""
    import numpy as np

    sys.meta_path.insert(0, Finder())
    nnc = importlib.import_module("nncodec.nnc")

    source, settings, out = (Path(argument) for argument in arguments)
    weights = dict(np.load(source))
    figures = []
    for index, options in enumerate(json.loads(settings.read_text(encoding="utf-8"))):
        given = {name: tensor.copy() for name, tensor in weights.items()}
        start = time.perf_counter()
        stream = nnc.compress(given, bitstream_path=str(out / "x.nnc"), return_bitstream=True, **options)
        encoded = time.perf_counter()
        decoded = nnc.decompress(stream)
        figures.append({"bytes": len(stream), "encode_s": encoded - start, "decode_s": time.perf_counter() - encoded})
        np.savez(out / f"{index}.npz", **decoded)
    (out / "figures.json").write_text(json.dumps(figures), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
