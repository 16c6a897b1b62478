"""The latency estimate's arithmetic: models fitted to networks that were measured as a whole, intervals, gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyweight.contracts import BUSY
from flyweight.errors import FileError, MeasurementError
from flyweight.latency import COUNT, KERNELS, LEAST_NETWORKS, MACS, ONE, WEIGHTS, Footprint, Sample, calibrated


def samples(coefficients: Sequence[float] = (1.1, 2.0, 1e-4), noise: float = 0.0, count: int = 12) -> list[Sample]:
    """Return networks whose time is a · kernels' sum + b · their number + c · bytes of weights, and a share of noise.

    Their MACs have little to do with it.
    """
    rng = np.random.default_rng(0)
    a, b, c = coefficients
    found = []
    for number in range(count):
        kernels, weights = int(rng.integers(20, 200)), int(rng.integers(1, 40) * 1_000_000)
        kernels_us = float(rng.uniform(500, 20_000))
        us = (a * kernels_us + b * kernels + c * weights) * (1 + noise * float(rng.standard_normal()))
        footprint = Footprint(kernels, kernels_us, weights, int(rng.integers(50, 5000) * 1_000_000))
        found.append(Sample(f"net{number}", footprint, us))
    return found


def test_the_law_behind_the_times_is_found() -> None:
    """1.1 · 10,000 µs + 2 · 100 kernels + 1e-4 · 20 MB = 11,000 + 200 + 2,000 = 13,200 µs."""
    found = calibrated(samples())
    assert dict(found.table.coefficients) == pytest.approx({KERNELS: 1.1, COUNT: 2.0, WEIGHTS: 1e-4}, rel=1e-6)
    estimate = found.estimate(Footprint(100, 10_000.0, 20_000_000, 1))
    assert estimate.ms == pytest.approx(13.2)
    assert estimate.high_ms - estimate.low_ms < 1e-6


def test_terms_that_explain_nothing_count_nothing() -> None:
    found = dict(calibrated(samples((1.2, 0.0, 0.0))).table.coefficients)
    assert found.pop(KERNELS) == pytest.approx(1.2)
    assert all(value < 1e-9 for value in found.values())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(1.0, 1e5), min_size=LEAST_NETWORKS, max_size=12))
def test_no_term_is_negative_whatever_was_measured(times: list[float]) -> None:
    made = [Sample(each.name, each.footprint, us) for each, us in zip(samples(), times, strict=False)]
    found = calibrated(made)
    assert min([*found.table.coefficients.values(), *found.macs.coefficients.values()]) >= 0
    estimate = found.estimate(made[0].footprint)
    assert 0 <= estimate.low_ms <= estimate.ms <= estimate.high_ms


def test_ninety_percent_of_other_networks_lie_in_the_interval() -> None:
    """Calibrated by 12, asked about 988 others of the same kind, 5 % noise: 90 %, give or take what 12 can't tell."""
    every = samples(noise=0.05, count=1000)
    found = calibrated(every[:12])
    estimates = [(found.estimate(each.footprint), each.us / 1e3) for each in every[12:]]
    held = sum(each.low_ms <= ms <= each.high_ms for each, ms in estimates) / len(estimates)
    assert 0.85 < held < 0.99


def test_macs_alone_are_fitted_to_the_same_networks() -> None:
    """Times of 1 µs a MMAC and 300 µs a network: 2,000 MMAC take 2,300 µs."""
    made = [Sample(each.name, each.footprint, each.footprint.macs / 1e6 + 300) for each in samples()]
    found = calibrated(made)
    assert dict(found.macs.coefficients) == pytest.approx({MACS: 1e-6, ONE: 300.0})
    assert found.estimate(Footprint(1, 1.0, 1, 2_000_000_000)).macs_ms == pytest.approx(2.3)


def test_interval_of_a_model_that_knows_nothing_stays_positive_and_finite() -> None:
    rng = np.random.default_rng(1)
    made = [Sample(each.name, each.footprint, float(10 ** rng.uniform(0, 6))) for each in samples(count=LEAST_NETWORKS)]
    estimate = calibrated(made).estimate(made[0].footprint)
    assert 0 <= estimate.low_ms <= estimate.high_ms < 1e12


def test_too_few_networks_are_refused() -> None:
    with pytest.raises(MeasurementError, match=r"4 networks can't calibrate an estimate; 5 are the least"):
        calibrated(samples(count=LEAST_NETWORKS - 1))


def test_networks_measured_on_a_busy_machine_are_named() -> None:
    made = samples()
    made[3] = Sample("disturbed", made[3].footprint, made[3].us, busy=BUSY + 0.1)
    assert calibrated(made).doubtful == ("disturbed",)


def test_a_sample_survives_json() -> None:
    for sample in samples():
        assert Sample.from_json(sample.to_json()) == sample


@pytest.mark.parametrize(
    ("change", "said"),
    [({"us": 0}, "not positive"), ({"us": -1.0}, "not positive"), ({"macs": float("inf")}, "not positive"),
     ({"kernels": "many"}, "not as it was written"), ({"name": ...}, "not as it was written")],
)  # fmt: skip
def test_a_damaged_sample_is_refused(change: dict[str, Any], said: str) -> None:
    data = {**samples()[0].to_json(), **change}
    data = {key: value for key, value in data.items() if value is not ...}
    with pytest.raises(FileError, match=said):
        Sample.from_json(data)
