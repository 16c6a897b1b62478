"""What a bench found: one row per network, runtime, precision and number of threads; read back from its JSON file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyweight import files
from flyweight.contracts import Measurement
from flyweight.errors import FileError
from flyweight.report._read import READERS, Reader, mapping, optional, record, sequence

BENCH_VERSION = 2
MOST_BYTES = 1 << 26
SAME = 0.05  # share by which two medians of interleaved runs may differ and be called the same


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
class ProgramTimes:
    """What a runtime's own benchmark program told on a phone; None where it doesn't tell. Times are of one inference.

    Attributes:
        program: its file name. hardware: the phone, as it calls itself. n: timed inferences.
        load_ms: of the model; first_ms: of the first inference. peak_bytes: of the process, in memory.
    """

    program: str
    hardware: str
    n: int
    mean_ms: float
    min_ms: float | None = None
    max_ms: float | None = None
    median_ms: float | None = None
    p90_ms: float | None = None
    load_ms: float | None = None
    first_ms: float | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True)
class BenchRow:
    """One line of the table. ``refused``: why there is no measurement, in one sentence; '' where there is one.

    ``measurement`` is Flyweight's own, ``program`` that of a runtime's own program on a phone: a row has one at most.
    """

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
    program: ProgramTimes | None = None

    @property
    def n(self) -> int | None:
        """Timed inferences; None where nothing was measured."""
        return self.measurement.n if self.measurement else self.program.n if self.program else None

    @property
    def typical_ms(self) -> float | None:
        """The median; the mean where a phone's program tells no median; None where nothing was measured."""
        if self.measurement:
            return self.measurement.median_ms
        if self.program:
            return self.program.mean_ms if self.program.median_ms is None else self.program.median_ms
        return None

    @property
    def range_ms(self) -> tuple[float, float] | None:
        """10th and 90th percentile; least and largest where a phone's program tells no more; None if not even that."""
        if self.measurement:
            return self.measurement.p10_ms, self.measurement.p90_ms
        if self.program and self.program.min_ms is not None and self.program.max_ms is not None:
            return self.program.min_ms, self.program.max_ms
        return None


@dataclass(frozen=True)
class Bench:
    """All rows, and what a reader must know beside them.

    Attributes:
        inputs: by model, what its outputs were compared on: ``'16 images of blue_marble'``.
        pytorch: by model, the accuracy of the PyTorch module on the same images, where there is one.
        device: where the times are from: ``'ssh:pi@board'``, ``'adb:0123'``; '' for this machine.
    """

    rows: tuple[BenchRow, ...]
    inputs: Mapping[str, str]
    pytorch: Mapping[str, Fidelity]
    environment: Mapping[str, Any]
    device: str = field(default="", kw_only=True)

    @property
    def models(self) -> tuple[str, ...]:
        """The networks, in order."""
        return tuple(dict.fromkeys(row.model for row in self.rows))

    @property
    def where(self) -> str:
        """What the times are from: the device, where it is another one, and the hardware as it calls itself."""
        told = dict.fromkeys(each.hardware for row in self.rows if (each := row.measurement or row.program))
        hardware = ", ".join(told) or str(self.environment.get("hardware", "unknown hardware"))
        return f"{self.device}: {hardware}" if self.device else hardware

    @property
    def busy(self) -> tuple[BenchRow, ...]:
        """The rows that were measured while the machine did something else."""
        return tuple(row for row in self.rows if row.measurement and row.measurement.doubt == "busy")

    def in_float(self, row: BenchRow) -> BenchRow | None:
        """Return the fp32 row of the same network, runtime and threads; None for itself, or where none was measured."""
        if row.precision == "fp32":
            return None
        same = (row.model, row.runtime, row.threads, "fp32")
        found = (each for each in self.rows if (each.model, each.runtime, each.threads, each.precision) == same)
        return next((each for each in found if each.typical_ms), None)

    def over_float(self, row: BenchRow) -> float | None:
        """Return the row's time over that of the same network in fp32; None where there are not both."""
        reference, own = self.in_float(row), row.typical_ms
        return own / reference.typical_ms if reference and reference.typical_ms and own is not None else None

    def verdict(self, row: BenchRow) -> str:
        """Return 'slower' or 'no faster' for an int8 row that gains no time over fp32, else ''.

        'no faster': within SAME of each other. Nothing is said of rows that were measured on a busy machine.
        """
        reference, ratio = self.in_float(row), self.over_float(row)
        if row.precision != "int8" or ratio is None or any(each in self.busy for each in (row, reference)):
            return ""
        return "slower" if ratio > 1 + SAME else "no faster" if ratio >= 1 - SAME else ""

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON; ``over_float`` and ``verdict`` are told beside each row."""
        return {
            "version": BENCH_VERSION, "environment": dict(self.environment), "device": self.device,
            "inputs": dict(self.inputs),
            "pytorch": {model: dataclasses.asdict(value) for model, value in self.pytorch.items()},
            "rows": [
                {**dataclasses.asdict(row), "over_float": self.over_float(row), "verdict": self.verdict(row)}
                for row in self.rows
            ],
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Any) -> Bench:
        """Read what ``to_json`` wrote.

        Raises:
            FileError: damaged, or of another version.
        """
        if not isinstance(data, dict) or data.get("version") != BENCH_VERSION or not isinstance(data.get("rows"), list):
            raise FileError(f"not a Flyweight bench of version {BENCH_VERSION}. Run flyweight bench again.")
        known = {name: value for name, value in data.items() if name != "version"}
        known["rows"] = [_without(row, ("over_float", "verdict")) for row in data["rows"]]
        return record(cls, known, "bench", _READERS)


def _without(row: Any, derived: tuple[str, ...]) -> Any:
    return {name: value for name, value in row.items() if name not in derived} if isinstance(row, dict) else row


def _of(kind: type[Any]) -> Reader:
    return lambda data, where: record(kind, data, where, {"int | None": optional(READERS["int"]), **_INNER})


_INNER: dict[str, Reader] = {}
_INNER |= {
    "Fidelity | None": optional(_of(Fidelity)),
    "Measurement | None": optional(_of(Measurement)),
    "ProgramTimes | None": optional(_of(ProgramTimes)),
}
_READERS: Mapping[str, Reader] = {
    "tuple[BenchRow, ...]": sequence(_of(BenchRow)),
    "Mapping[str, str]": mapping(READERS["str"]),
    "Mapping[str, Fidelity]": mapping(_of(Fidelity)),
}


def load_bench(path: Path) -> Bench:
    """Read a bench's JSON file.

    Raises:
        FileError: missing, damaged, or of another version.
    """
    try:
        return Bench.from_json(files.read_json(path, MOST_BYTES))
    except FileError as error:
        raise error if str(path) in str(error) else FileError(f"{path}: {error}") from error


def bench_beside(folder: Path) -> Bench | None:
    """Return the bench that lies in a run's folder as ``bench.json``; None where there is none.

    Raises:
        FileError: it is damaged, or of another version.
    """
    return load_bench(folder / "bench.json") if (folder / "bench.json").exists() else None
