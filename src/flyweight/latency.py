"""Latency without running the network: its kernels' own times, summed and calibrated by a few whole networks. No torch.

Kernels are timed alone, one after the other (``flyweight.measure.kernels``), so that their inputs lie in the caches and
nothing else is started between them: their sum is 5 to 25 % low, the more so the smaller the kernels and the larger the
weights. The calibration learns that from networks that were timed as a whole:

    t = a · Σ kernels + b · number of kernels + c · bytes of weights

with no negative term, relative errors counting alike. How well each calibration network is predicted from the others
gives the interval. (To choose among models by that, too, would make it too narrow.)

Beside it stands what MACs alone would say, ``t = a · MACs + b``, fitted to the same networks in the same way.

Source of the idea: nn-Meter (Zhang et al., MobiSys 2021), which sums kernels; the calibration is ours.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyweight.contracts import BUSY
from flyweight.errors import FileError, MeasurementError

LEAST_NETWORKS = 5  # for a calibration: three coefficients, and something left to tell the spread from
# 95 % quantiles of Student's t by degrees of freedom 1, 2, ... (two-sided 90 %); above 30 nearly the normal's
T95 = (
    6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812, 1.796, 1.782, 1.771, 1.761, 1.753, 1.746,
    1.740, 1.734, 1.729, 1.725, 1.721, 1.717, 1.714, 1.711, 1.708, 1.706, 1.703, 1.701, 1.699, 1.697,
)  # fmt: skip
T95_LARGE = 1.645
KERNELS, COUNT, WEIGHTS, MACS, ONE = "kernels_us", "kernels", "weight_bytes", "macs", "one"
TABLE_MODEL = (KERNELS, COUNT, WEIGHTS)
MACS_MODEL = (MACS, ONE)


@dataclass(frozen=True)
class Footprint:
    """What an estimate is made from.

    Attributes:
        kernels: number of kernels that the runtime runs. kernels_us: their own times, measured alone, summed.
        weight_bytes: of all constants that they read. macs: counted.
    """

    kernels: int
    kernels_us: float
    weight_bytes: int
    macs: int

    def feature(self, name: str) -> float:
        """Return one of the figures by its name; ``one`` is 1."""
        return 1.0 if name == ONE else float(getattr(self, name))


@dataclass(frozen=True)
class Sample:
    """A network that was measured as a whole: its footprint, its time, and how busy the machine was (1: not at all)."""

    name: str
    footprint: Footprint
    us: float
    busy: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"name": self.name, "us": self.us, "busy": self.busy, **vars(self.footprint)}

    @classmethod
    def from_json(cls, data: Any) -> Sample:
        """Read what ``to_json`` wrote.

        Raises:
            FileError: a field is missing or not a positive number.
        """
        try:
            numbers = {key: float(data[key]) for key in ("us", "busy", KERNELS, COUNT, WEIGHTS, MACS)}
            name = str(data["name"])
        except (TypeError, KeyError, ValueError) as error:
            raise FileError(f"a calibration network is not as it was written: {error}") from error
        if not all(math.isfinite(value) and value >= 0 for value in numbers.values()) or not numbers["us"]:
            raise FileError(f"calibration network '{name}' has figures that are not positive. Calibrate again.")
        footprint = Footprint(int(numbers[COUNT]), numbers[KERNELS], int(numbers[WEIGHTS]), int(numbers[MACS]))
        return cls(name, footprint, numbers["us"], numbers["busy"])


@dataclass(frozen=True)
class Model:
    """``t = Σ coefficient · figure`` in µs.

    Attributes:
        spread: standard deviation of the relative errors of networks left out of the fit. freedom: its degrees.
    """

    coefficients: Mapping[str, float]
    spread: float
    freedom: int

    def us(self, footprint: Footprint) -> float:
        """Return the modelled time."""
        return sum(value * footprint.feature(name) for name, value in self.coefficients.items())

    @property
    def half(self) -> float:
        """Half width of the 90 % interval, as a share of the modelled time."""
        quantile = T95[self.freedom - 1] if self.freedom <= len(T95) else T95_LARGE
        return quantile * self.spread


@dataclass(frozen=True)
class Estimate:
    """A modelled latency and its 90 % interval, and beside it what MACs alone would say.

    Attributes:
        footprint: what it was made from. networks: how many calibrated it. measured: kernels timed for it just now.
    """

    ms: float
    low_ms: float
    high_ms: float
    macs_ms: float
    macs_low_ms: float
    macs_high_ms: float
    footprint: Footprint
    networks: int
    measured: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {**vars(self), "footprint": vars(self.footprint)}


@dataclass(frozen=True)
class Calibration:
    """Both models, fitted to the same networks."""

    samples: tuple[Sample, ...]
    table: Model
    macs: Model

    @property
    def doubtful(self) -> tuple[str, ...]:
        """Names of the networks that were measured while the machine did something else."""
        return tuple(sample.name for sample in self.samples if sample.busy > BUSY)

    def estimate(self, footprint: Footprint, measured: int = 0) -> Estimate:
        """Return the estimate of a network."""
        low, high = _interval(self.table, footprint)
        macs_low, macs_high = _interval(self.macs, footprint)
        return Estimate(
            self.table.us(footprint) / 1e3, low, high, self.macs.us(footprint) / 1e3, macs_low, macs_high,
            footprint, len(self.samples), measured,
        )  # fmt: skip


def calibrated(samples: Sequence[Sample]) -> Calibration:
    """Fit both models.

    Raises:
        MeasurementError: fewer than LEAST_NETWORKS networks.
    """
    if len(samples) < LEAST_NETWORKS:
        raise MeasurementError(f"{len(samples)} networks can't calibrate an estimate; {LEAST_NETWORKS} are the least.")
    return Calibration(tuple(samples), _fitted(samples, TABLE_MODEL), _fitted(samples, MACS_MODEL))


def _interval(model: Model, footprint: Footprint) -> tuple[float, float]:
    """Return the ends of the 90 % interval in ms: a measured time lies within ``half`` of itself from the modelled."""
    modelled = model.us(footprint) / 1e3
    return modelled / (1 + model.half), modelled / max(1 - model.half, 0.01)


def _fitted(samples: Sequence[Sample], names: tuple[str, ...]) -> Model:
    """Return the model of these terms, with the spread of its errors on networks left out."""
    spread, values = _left_out(samples, names), _solve(samples, names)
    if spread is None or values is None:
        raise MeasurementError("no model fits the calibration networks: their times are not positive. Calibrate again.")
    return Model(dict(zip(names, values.tolist(), strict=True)), spread, len(samples) - len(names))


def _left_out(samples: Sequence[Sample], names: tuple[str, ...]) -> float | None:
    """Return the root mean square of the relative errors of networks left out; None where that can't be solved."""
    squares = 0.0
    for index, sample in enumerate(samples):
        values = _solve([*samples[:index], *samples[index + 1 :]], names)
        if values is None:
            return None
        modelled = sum(value * sample.footprint.feature(name) for name, value in zip(names, values, strict=True))
        squares += (modelled / sample.us - 1) ** 2
    return math.sqrt(squares / len(samples))


def _solve(samples: Sequence[Sample], names: tuple[str, ...]) -> NDArray[np.float64] | None:
    """Return coefficients of least relative squares, none negative; all subsets are tried, there are few."""
    rows = np.array([[sample.footprint.feature(name) / sample.us for name in names] for sample in samples])
    best, least = None, math.inf
    for size in range(1, len(names) + 1):
        for used in itertools.combinations(range(len(names)), size):
            part = rows[:, used]
            scale = np.linalg.norm(part, axis=0)
            if not (scale > 0).all():
                continue
            solution = np.linalg.lstsq(part / scale, np.ones(len(samples)), rcond=None)[0] / scale
            error = float(np.sum((part @ solution - 1) ** 2))
            if (solution >= 0).all() and error < least:
                best, least = np.zeros(len(names)), error
                best[list(used)] = solution
    return best
