"""Quantization-aware training: a trained network goes on on the grids of its int8 file (Jacob et al. 2018, 1712.05877).

``prepare`` turns a candidate into one whose module is the exported file's own graph, rounding where that file will;
``flyweight.train.train`` trains it like any other; ``Prepared.exportable`` is what the runtimes export. ``train_qat``
does all of it in a folder, resumably.
"""

from flyweight.qat._grid import WeightGrid
from flyweight.qat._network import FakeQuantized
from flyweight.qat._prepare import Prepared, Rounding, prepare

__all__ = ["FakeQuantized", "Prepared", "Rounding", "WeightGrid", "prepare"]
