"""What a bench found: one row per network, runtime, precision and number of threads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flyweight.contracts import Measurement

BENCH_VERSION = 1


@dataclass(frozen=True)
class Fidelity:
    """What an artifact computes on ``images`` images, beside PyTorch and beside the truth.

    Attributes:
        largest, mean: absolute difference of the outputs over PyTorch's largest output; None without PyTorch's network.
        agreement: share of images (classes) or pixels (masks) to which both give the same class; None for boxes.
        accuracy: value of ``metric`` on these images, 0 to 1; None where the data's truth isn't the network's task.
    """

    images: int
    largest: float | None = None
    mean: float | None = None
    agreement: float | None = None
    metric: str = ""
    accuracy: float | None = None


@dataclass(frozen=True)
class BenchRow:
    """One line of the table. ``refused``: why there is no measurement, in one sentence; '' where there is one."""

    model: str
    runtime: str
    runtime_version: str
    precision: str
    threads: int
    bytes: int | None = None
    sha256: str = ""
    notes: tuple[str, ...] = ()
    fidelity: Fidelity | None = None
    measurement: Measurement | None = None
    refused: str = ""


@dataclass(frozen=True)
class Bench:
    """All rows, and what a reader must know beside them.

    Attributes:
        inputs: by model, what its outputs were compared on: ``'16 images of blue_marble'``.
        pytorch: by model, the accuracy of the PyTorch module on the same images, where there is one.
    """

    rows: tuple[BenchRow, ...]
    inputs: Mapping[str, str]
    pytorch: Mapping[str, Fidelity]
    environment: Mapping[str, Any]

    @property
    def busy(self) -> tuple[BenchRow, ...]:
        """The rows that were measured while the machine did something else."""
        return tuple(row for row in self.rows if row.measurement and row.measurement.doubt == "busy")

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "version": BENCH_VERSION, "environment": dict(self.environment), "inputs": dict(self.inputs),
            "pytorch": {model: dataclasses.asdict(value) for model, value in self.pytorch.items()},
            "rows": [dataclasses.asdict(row) for row in self.rows],
        }  # fmt: skip
