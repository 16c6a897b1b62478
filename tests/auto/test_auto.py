"""``slim --auto`` on a tiny network and tiny images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from flyweight import flow
from flyweight.auto import AutoResult, Goal, _walk, slim_auto
from flyweight.contracts import Progress, Silent
from flyweight.errors import UsageError
from flyweight.report import load_report
from tests import tiny


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """One thread, and one try a step: most of a walk's time is export."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_walk, "TRIES", 1)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.paint(tmp_path_factory.mktemp("discs"))


def walked(data: Path, out: Path, goal: Goal, steps: int = 2, progress: Progress | None = None) -> AutoResult:
    return slim_auto(
        str(data), out, goal, plan="tiny", steps=steps, final_steps=3, short=True, threads=(1,),
        runtimes=("onnxruntime",), progress=progress,
    )  # fmt: skip


def written(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (out / "rungs").rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(quick: None, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AutoResult]:
    """A walk to fewer bytes than int8 alone has, with one try a step."""
    out = tmp_path_factory.mktemp("auto") / "run"
    return out, walked(data, out, Goal(max_bytes=14_000))


def test_the_rung_that_ships_keeps_the_budget_and_stands_last_on_the_ladder(whole: tuple[Path, AutoResult]) -> None:
    out, found = whole
    assert found.reached
    assert all(verdict.holds for verdict in found.verdicts)
    ladder = [rung for rung in found.report.rungs if not rung.control]
    assert (ladder[0].name, ladder[-1].name) == ("v0", found.chosen)
    artifact = ladder[-1].artifacts["onnxruntime"]
    assert (out / artifact.file).stat().st_size == artifact.bytes <= 14_000
    assert all(rung.parent in {"", *(other.name for other in ladder)} for rung in ladder)


def test_the_report_is_as_after_a_plan_and_says_what_was_tried(whole: tuple[Path, AutoResult]) -> None:
    out, found = whole
    assert load_report(out) == found.report
    assert (out / "report.html").stat().st_size > 1000
    assert found.report.notes[0].startswith("The budget is kept by ")
    assert any("kept" in note for note in found.report.notes[1:])


def test_the_same_call_does_nothing_twice(data: Path, whole: tuple[Path, AutoResult]) -> None:
    out, found = whole
    assert (before := written(out)) != {}
    assert walked(data, out, Goal(max_bytes=14_000)).report.rungs == found.report.rungs
    assert written(out) == before


def test_its_rungs_open_like_those_of_a_plan(whole: tuple[Path, AutoResult]) -> None:
    out, found = whole
    shown = found.report.rung(found.chosen)
    candidate = flow.open_model(f"{out}:{found.chosen}")
    assert candidate.spec is not None
    assert candidate.spec.to_json() == shown.spec


def test_a_folder_of_another_budget_is_refused(data: Path, whole: tuple[Path, AutoResult]) -> None:
    with pytest.raises(UsageError, match="holds a run with plan auto tiny to 14000 B"):
        walked(data, whole[0], Goal(max_bytes=9_000))


def test_without_a_limit_there_is_nothing_to_walk_to(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--auto needs a budget"):
        walked(data, tmp_path, Goal(max_drop=1.0))


@pytest.mark.slow
def test_an_impossible_budget_ends_with_the_nearest_network_and_says_which_it_would_keep(
    data: Path, tmp_path: Path
) -> None:
    found = walked(data, tmp_path / "run", Goal(max_ms=1e-6, max_bytes=10), steps=1)
    assert not found.reached
    chosen = found.report.rung(found.chosen).artifacts["onnxruntime"]
    assert chosen.bytes < found.report.rung("v0").artifacts["onnxruntime"].bytes
    assert f"--max-bytes {chosen.bytes}" in found.nearest
    assert found.report.notes[0].startswith("The budget can't be kept")


class Stops(Silent):
    """Ctrl-C when a rung of that name is whole."""

    def __init__(self, name: str) -> None:
        self.name = name

    def advance(self, n: int = 1, note: str = "") -> None:
        if note == self.name:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_walk_that_was_stopped_goes_on_to_the_same_networks(
    data: Path, whole: tuple[Path, AutoResult], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    for name in ("v0.int8", "a1", "final"):
        with pytest.raises(KeyboardInterrupt):
            walked(data, out, Goal(max_bytes=14_000), progress=Stops(name))
    again = walked(data, out, Goal(max_bytes=14_000))
    assert (again.chosen, again.reached, again.why) == (whole[1].chosen, True, whole[1].why)
    digests = [
        [(rung.name, rung.control, rung.artifacts["onnxruntime"].sha256) for rung in found.report.rungs]
        for found in (again, whole[1])
    ]
    assert digests[0] == digests[1]
