"""Advice on a network that is measured here, and its check: each edit alone, exported, timed beside the original.

The time of a network does not depend on its weights, so nothing is trained for it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flyweight import files
from flyweight.advise import Advice, Finding, advise
from flyweight.contracts import Artifact, Candidate, Env, LayerTime, LayerTimes, Measurement, Progress, Silent
from flyweight.errors import FlyweightError, UsageError
from flyweight.evaluate import example_input
from flyweight.measure import hardware, measure_layers, measure_pair
from flyweight.profile import profile_module
from flyweight.rung import LAYER_RUNTIME, exported, kept
from flyweight.transforms.quantize_int8 import QuantizeInt8

NOISE_IMAGES = 8
LANES = {"AVX-512": 16, "AVX": 8}  # float32 numbers in a vector register, by the instructions; else 4


@dataclass(frozen=True)
class Verified:
    """A finding beside what was measured; ``failed``: why there is no measurement.

    ``measured_ms``: what the edit saved: the original's median minus that of the edited network, from the same minutes;
    at one thread medians of CPU time, which other processes disturb less. ``before_ms``: the original's.
    """

    finding: Finding
    before_ms: float = 0.0
    measured_ms: float = 0.0
    failed: str = ""
    doubt: str = ""

    @property
    def sign_right(self) -> bool:
        """Whether the network became faster where that was predicted, or slower where that was."""
        return not self.failed and self.measured_ms * self.finding.gain_ms > 0

    @property
    def error(self) -> float:
        """|predicted − measured| over |measured|."""
        return abs(self.finding.gain_ms - self.measured_ms) / max(abs(self.measured_ms), 1e-9)

    @property
    def inside(self) -> bool:
        """Whether the measured gain lies in the predicted interval."""
        return self.finding.low_ms <= self.measured_ms <= self.finding.high_ms

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON: the finding, and what was measured."""
        measured = {
            "before_ms": self.before_ms, "gain_ms": self.measured_ms, "sign_right": self.sign_right,
            "relative_error": self.error, "inside_interval": self.inside, "doubt": self.doubt,
        }  # fmt: skip
        return {**self.finding.to_json(), "measured": {"failed": self.failed} if self.failed else measured}


def lanes() -> int:
    """Return how many float32 numbers this machine's vector registers hold."""
    words = hardware()
    return next((count for name, count in LANES.items() if name in words), 4)


def advice_on(candidate: Candidate, folder: Path, *, threads: int = 1, n: int = 40) -> Advice:
    """Export and measure a network layer by layer, and return the advice on it.

    Args:
        folder: gets the exported original and its layer times; where they lie already they are taken from there.

    Raises:
        UsageError: a module without a spec, which no edit can change.
        ExportError, MeasurementError: as each step says.
    """
    if candidate.spec is None:
        raise UsageError(
            "advice needs an architecture whose stages it can edit, but this module has no spec. See what is slow "
            "with: flyweight profile."
        )
    profile = profile_module(candidate.module, example_input(candidate))
    return advise(candidate.spec, profile, _layers(candidate, folder, threads, n), lanes=lanes())


def _layers(candidate: Candidate, folder: Path, threads: int, n: int) -> LayerTimes:
    artifact = original(candidate, folder)

    def measured() -> Any:
        times = measure_layers(artifact, threads=threads, n=n)
        return dataclasses.asdict(times) if times else None

    data = kept(artifact.files[0].parent / f"layers-{threads}.json", f"{artifact.sha256}, n {n}", measured)
    return LayerTimes(**{**data, "rows": tuple(LayerTime(**row) for row in data["rows"])})


def original(candidate: Candidate, folder: Path) -> Artifact:
    """Return the network's artifact in ``folder``, exported where it does not lie there yet."""
    return exported(candidate, LAYER_RUNTIME, folder / "original")


def verify(
    candidate: Candidate,
    findings: Iterable[Finding],
    folder: Path,
    *,
    threads: int = 1,
    n: int = 60,
    progress: Progress | None = None,
) -> Iterator[Verified]:
    """Apply each finding's edits alone, export, and measure beside the original; yield them one by one.

    Args:
        folder: gets what is exported and measured; what lies there already is not done again.
    """
    progress = progress or Silent()
    findings = list(findings)
    before = original(candidate, folder)
    progress.start("verify", len(findings))
    for index, finding in enumerate(findings):
        found = _verified(candidate, before, finding, _folder(folder, index), threads, n)
        progress.advance(1, finding.words)
        yield found
    progress.finish()


def prepare(candidate: Candidate, findings: Iterable[Finding], folder: Path, progress: Progress | None = None) -> None:
    """Export what ``verify`` measures, so that it only measures: its minutes can be chosen to be quiet ones."""
    progress = progress or Silent()
    findings = list(findings)
    original(candidate, folder)
    progress.start("export", len(findings))
    for index, finding in enumerate(findings):
        with contextlib.suppress(FlyweightError):  # verify meets the same error, and tells it
            _edited_artifact(candidate, finding, _folder(folder, index))
        progress.advance(1, finding.words)
    progress.finish()


def _folder(folder: Path, index: int) -> Path:
    return folder / f"{index + 1:02}"


def _verified(candidate: Candidate, before: Artifact, finding: Finding, folder: Path, threads: int, n: int) -> Verified:
    try:
        artifact = _edited_artifact(candidate, finding, folder)
    except FlyweightError as error:  # one edit that can't be exported must not hide the others
        return Verified(finding, failed=str(error))

    def measured() -> Any:
        return [dataclasses.asdict(m) for m in measure_pair(before, artifact, threads=threads, n=n)]

    of = f"{artifact.sha256} beside {before.sha256}, {threads} threads, n {n}"
    there, here = (Measurement(**data) for data in kept(folder / f"timings-{threads}.json", of, measured))
    return Verified(finding, before_ms=_ms(there), measured_ms=_ms(there) - _ms(here), doubt=there.doubt or here.doubt)


def _ms(measured: Measurement) -> float:
    return measured.cpu_median_ms if measured.threads == 1 else measured.median_ms


def _edited_artifact(candidate: Candidate, finding: Finding, folder: Path) -> Artifact:
    wanted = folder / "edit.json"
    if not wanted.exists() or files.read_json(wanted) != finding.to_json()["edits"]:
        (folder / "artifact.json").unlink(missing_ok=True)  # of another edit
    env = noise(candidate)
    for edit in finding.edits:
        candidate = edit.apply(candidate, env)
    artifact = exported(candidate, LAYER_RUNTIME, folder)
    files.write_json(wanted, finding.to_json()["edits"])
    return artifact


def noise(candidate: Candidate) -> Env:
    """Return an environment whose calibration images are noise: enough for a time, never for an accuracy."""
    _, channels, height, width = candidate.input_shape
    rng = np.random.default_rng(0)
    return Env(tuple(rng.integers(0, 256, (height, width, channels), dtype=np.uint8) for _ in range(NOISE_IMAGES)))


def quantizes(finding: Finding) -> bool:
    """Return whether a finding is about int8."""
    return any(isinstance(edit, QuantizeInt8) for edit in finding.edits)
