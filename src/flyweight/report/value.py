"""The Report value: every rung of a ladder as plain data. ``report.json`` is the truth, the rest are renderings.

Everything in here is JSON-able data: a report that was written is read back equal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyweight import files
from flyweight.contracts import Measurement
from flyweight.errors import FileError
from flyweight.report import _read

REPORT_VERSION = 1


@dataclass(frozen=True)
class RungTiming(Measurement):
    """Measured: one artifact in one runtime at a number of threads, interleaved with the first rung's artifact.

    ``speedup`` is reference median over own median, both from the same minutes (``reference_median_ms``).
    """

    reference_median_ms: float
    speedup: float


@dataclass(frozen=True)
class RungArtifact:
    """One exported artifact: its file, its score on the test split, and its agreement with PyTorch on the same
    tiles.
    """

    runtime: str
    runtime_version: str
    precision: str
    file: str  # relative to the report's folder
    bytes: int
    sha256: str
    metrics: Mapping[str, Any]  # what tasks/segment.py's SegmentMetrics.to_json gives
    agreement: float  # share of test pixels with the same class as PyTorch's
    max_difference: float  # largest |artifact - PyTorch| over the largest |PyTorch| output, on the compared tiles
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerRow:
    """One module of a rung: counted figures and, where it was measured, its time in ONNX Runtime at 1 thread."""

    module: str
    op: str
    output_shape: tuple[int, ...]
    macs: int
    params: int
    time_us: float | None = None


@dataclass(frozen=True)
class Rung:
    """One rung of the ladder.

    Attributes:
        name: short and unique, e.g. ``v2.2.1``. title: a few words. change: what was edited, in words.
        parent: the rung whose weights it inherited; '' for the first. control: not part of the ladder, stands beside
        it.
        spec: the architecture as JSON data. inherited: share of its weights that came from the parent.
        steps: training steps of this rung; total_steps: along its whole lineage.
        macs, params, peak_activation_bytes: counted (batch 1, its own input size).
        artifacts: by runtime. timings: per runtime and threads. layers: in execution order; unattributed_us: time of
            kernels that belong to no module. skipped: what was not measured and why.
        samples: indices of test tiles and the predicted masks, as PNG data URIs, for the page.
    """

    name: str
    title: str
    change: str
    parent: str
    control: bool
    spec: Mapping[str, Any]
    input_size: tuple[int, int]
    precision: str
    inherited: float
    steps: int
    total_steps: int
    train_seconds: float
    final_loss: float | None
    macs: int
    params: int
    peak_activation_bytes: int
    pytorch_metrics: Mapping[str, Any]
    artifacts: Mapping[str, RungArtifact]
    timings: tuple[RungTiming, ...]
    layers: tuple[LayerRow, ...]
    unattributed_us: float
    skipped: tuple[str, ...] = ()
    samples: tuple[tuple[int, str], ...] = ()

    def timing(self, runtime: str, threads: int) -> RungTiming | None:
        """Return the timing in ``runtime`` at ``threads``, or None."""
        return next((t for t in self.timings if (t.runtime, t.threads) == (runtime, threads)), None)

    def slowest(self, count: int = 5) -> tuple[LayerRow, ...]:
        """Return the ``count`` slowest measured layers, slowest first."""
        timed = [row for row in self.layers if row.time_us is not None]
        return tuple(sorted(timed, key=lambda row: -(row.time_us or 0.0))[:count])


@dataclass(frozen=True)
class TestTile:
    """A test tile shown on the page: image and true mask as PNG data URIs."""

    __test__ = False  # pytest takes a class called Test… for a test case

    index: int
    image: str
    truth: str


@dataclass(frozen=True)
class Report:
    """A finished (or still growing) ladder. ``headline``: the key of the metric that is quoted, e.g.
    ``grouped_miou``.
    """

    title: str
    data: Mapping[str, Any]  # name, counts per split, class names, class shares, class colours
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]  # hardware, cores, system, python, package versions, seed, date, command
    headline: str
    headline_title: str
    rungs: tuple[Rung, ...]
    tiles: tuple[TestTile, ...] = ()
    notes: tuple[str, ...] = ()

    def rung(self, name: str) -> Rung:
        """Return the rung called ``name``."""
        return next(rung for rung in self.rungs if rung.name == name)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"report_version": REPORT_VERSION, **rung_json(self)}

    @classmethod
    def from_json(cls, data: Any) -> Report:
        """Read what ``to_json`` wrote.

        Raises:
            FileError: it is not a report, or one of another version.
        """
        if not isinstance(data, Mapping) or "report_version" not in data:
            raise FileError("not a Flyweight report: it has no report_version.")
        if data["report_version"] != REPORT_VERSION:
            raise FileError(f"report version {data['report_version']!r}; this Flyweight reads {REPORT_VERSION}.")
        return _read.record(cls, {k: v for k, v in data.items() if k != "report_version"}, "report", _READERS)


def rung_json(value: Any) -> Any:
    """Return a rung (or a whole report) as plain data for JSON."""
    if dataclasses.is_dataclass(value):
        return {f.name: rung_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: rung_json(item) for key, item in value.items()}
    return [rung_json(item) for item in value] if isinstance(value, tuple | list) else value


def rung_from_json(data: Mapping[str, Any]) -> Rung:
    """Read one rung that ``rung_json`` wrote.

    Raises:
        FileError: a field is missing, unknown or of another type.
    """
    return _read.record(Rung, data, "rung", _READERS)


def _record_of(kind: type[Any]) -> _read.Reader:
    return lambda data, where: _read.record(kind, data, where, _READERS)


_READERS: Mapping[str, _read.Reader] = {
    "Mapping[str, RungArtifact]": _read.mapping(_record_of(RungArtifact)),
    "tuple[RungTiming, ...]": _read.sequence(_record_of(RungTiming)),
    "tuple[LayerRow, ...]": _read.sequence(_record_of(LayerRow)),
    "tuple[Rung, ...]": _read.sequence(_record_of(Rung)),
    "tuple[TestTile, ...]": _read.sequence(_record_of(TestTile)),
}


def load_report(path: Path) -> Report:
    """Read ``report.json``, or the ``report.json`` in a run folder.

    Raises:
        FileError: it is missing, damaged, or not a report.
    """
    path = path / "report.json" if path.is_dir() else path
    try:
        return Report.from_json(files.read_json(path))
    except FileError as error:
        raise error if str(path) in str(error) else FileError(f"{path}: {error}") from error
