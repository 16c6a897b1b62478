import dataclasses
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from flyweight.report.value import Report, Rung
from tests.report import made_up


@pytest.fixture(scope="module")
def ladder() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "ladder.py"
    spec = importlib.util.spec_from_file_location("benchmark_ladder", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def like(rung: Rung, name: str, score: float, miou: float, size: int, ms: float) -> Rung:
    """Return a rung with another name and these figures in ONNX Runtime."""
    artifact = rung.artifacts["onnxruntime"]
    metrics = {**artifact.metrics, "grouped_miou": score, "miou": miou}
    artifacts = {"onnxruntime": dataclasses.replace(artifact, metrics=metrics, bytes=size)}
    timings = tuple(dataclasses.replace(t, median_ms=ms, speedup=30.0 / ms) for t in rung.timings)
    return dataclasses.replace(rung, name=name, artifacts=artifacts, timings=timings, total_steps=240)


def made(last_score: float = 0.96, last_ms: float = 1.0, last_bytes: int = 1000) -> Report:
    base = made_up.report()
    first = base.rung("v0")
    rungs = (
        like(first, "v0", 0.90, 0.60, 60_000, 30.0),
        like(first, "control", 0.965, 0.70, 60_000, 30.0),
        like(first, "v3.2", last_score, 0.60, last_bytes, last_ms),
    )
    return dataclasses.replace(base, rungs=rungs)


def test_claims_are_computed_from_the_exported_files(ladder: ModuleType) -> None:
    claims = ladder.claims([made()])
    assert [(c["value"], c["holds"]) for c in claims] == [
        (30.0, True),  # 30 ms / 1 ms
        (60.0, True),  # 60,000 / 1,000 bytes
        (pytest.approx(6.0), True),  # 96.0 - 90.0 points
        (pytest.approx(0.5), True),  # 96.5 - 96.0
        (pytest.approx(10.0), False),  # 70 - 60 on three classes
    ]


@pytest.mark.parametrize(
    ("changed", "place"), [({"last_ms": 2.5}, 0), ({"last_bytes": 1300}, 1), ({"last_score": 0.89}, 2)]
)
def test_a_goal_that_is_missed_is_said_to_fail(ladder: ModuleType, changed: dict[str, float], place: int) -> None:
    assert ladder.claims([made(**changed)])[place]["holds"] is False


def test_claims_are_means_over_seeds_with_every_seed_kept(ladder: ModuleType) -> None:
    claim = ladder.claims([made(last_ms=1.0), made(last_ms=2.0)])[0]
    assert (claim["value"], claim["seeds"]) == (22.5, [30.0, 15.0])
