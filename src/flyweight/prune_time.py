"""Pruning to a share of the time that a network takes on this machine, measured before, in between and at the end."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flyweight.contracts import Candidate, LayerTimes, Progress, Silent
from flyweight.errors import UsageError
from flyweight.evaluate import example_input
from flyweight.measure import measure_layers
from flyweight.prune import Evidence, Goal, Pruned, Timing, prune
from flyweight.runtimes import RUNTIMES

WIDTHS = (0.75, 0.5, 0.25)  # of every layer's channels, at which its kernels are timed
SAMPLES, PROCESSES = 40, 2  # the faster process counts: what disturbs only adds
CLOSE = 1.01  # so much of the goal is reached
TRIES = 4


@dataclass(frozen=True)
class Timed:
    """A network pruned to a time.

    Attributes:
        pruned: the network, and the plan by which its channels went.
        before_us, after_us: measured, of one image; its kernels' sum scaled to the whole run.
        timings: all that were made, the last of them the network's own.
    """

    pruned: Pruned
    before_us: float
    after_us: float
    timings: tuple[Timing, ...]

    @property
    def share(self) -> float:
        """The share of the time that is left, measured."""
        return self.after_us / self.before_us

    @property
    def reached(self) -> bool:
        """Whether as little is left as the goal says, to a hundredth of it."""
        return self.share <= CLOSE * self.pruned.plan.goal.share


def prune_to_time(
    candidate: Candidate,
    goal: Goal,
    criterion: str = "l1",
    evidence: Evidence | None = None,
    *,
    runtime: str = "onnxruntime",
    threads: int = 1,
    timings: Sequence[Timing] = (),
    progress: Progress | None = None,
) -> Timed:
    """Return a network of which the goal's share of the time is left, measured on the exported file.

    Its layers are timed at several widths, which tells what each channel costs. If the network that the timings lead to
    takes longer than they say, it becomes one of them, and others are chosen.

    Args:
        goal: ``measure`` must be ``time``; scope ``gain`` compares what is lost by the time that it saves.
        runtime: one that tells the time of single layers. threads: of it.
        timings: what ``timed`` made before, so that it is not measured again.

    Raises:
        UsageError: the goal is none of time, the runtime tells no layers' times, or as ``plan`` says.
        RuntimeMissingError, ExportError, MeasurementError: as exporting and measuring say.
    """
    if goal.measure != "time":
        raise UsageError(f"pruning to a time needs a goal of measure 'time', not '{goal.measure}'.")
    progress = progress or Silent()
    known = list(timings) or list(timed(candidate, runtime, threads, multiple=goal.multiple, progress=progress))
    example, given, wanted = example_input(candidate), evidence or Evidence(), goal.share
    best: Timed | None = None
    progress.start("prune", TRIES)
    for _ in range(TRIES):
        found = prune(candidate.module, example, replace(goal, share=wanted), criterion, given, known)
        found = replace(found, plan=replace(found.plan, goal=goal))
        known.append(_timing(replace(candidate, module=found.module), runtime, threads, found.plan.removed))
        made = Timed(found, known[0].total_us, known[-1].total_us, tuple(known))
        progress.advance(1, f"{100 * made.share:.0f} % of the time is left")
        if best is None or _better(made, best):
            best = made
        if made.reached and made.share > 0.97 * goal.share:
            break
        wanted = min(max(wanted * goal.share / made.share, 0.05 * goal.share), 0.99)
    progress.finish()
    assert best is not None  # TRIES is not 0
    return best


def timed(
    candidate: Candidate,
    runtime: str = "onnxruntime",
    threads: int = 1,
    widths: Sequence[float] = WIDTHS,
    multiple: int = 8,
    progress: Progress | None = None,
) -> tuple[Timing, ...]:
    """Return the measured times of a network's layers, at full width first, then at shares of its channels.

    Raises:
        UsageError: the runtime tells no layers' times.
        RuntimeMissingError, ExportError, MeasurementError: as exporting and measuring say.
    """
    progress, example = progress or Silent(), example_input(candidate)
    progress.start("time the layers", 1 + len(widths))
    found = [_timing(candidate, runtime, threads, ())]
    progress.advance(1, "as they are")
    for width in widths:
        goal = Goal(width**2, scope="local", multiple=multiple)
        made = prune(candidate.module, example, goal)
        found.append(_timing(replace(candidate, module=made.module), runtime, threads, made.plan.removed))
        progress.advance(1, f"with {100 * width:.0f} % of the channels")
    progress.finish()
    return tuple(found)


def _timing(candidate: Candidate, runtime: str, threads: int, removed: tuple[int, ...]) -> Timing:
    """Export and measure; kernels are scaled to sum to a whole run without a profiler."""
    with tempfile.TemporaryDirectory() as scratch:
        artifact = RUNTIMES.get(runtime).export(candidate, Path(scratch))
        found = [measure_layers(artifact, threads, SAMPLES) for _ in range(PROCESSES)]
    seen = [times for times in found if times is not None]
    if not seen:
        raise UsageError(f"{runtime} doesn't tell the time of single layers. onnxruntime, openvino and mnn do.")
    times = min(seen, key=_run_us)
    total = _run_us(times)
    return Timing(removed, {name: us * total / times.kernels_us for name, us in times.by_module().items()})


def _run_us(times: LayerTimes) -> float:
    """Return the time of a run: at one thread CPU time, which other processes disturb less."""
    return times.cpu_us if times.threads == 1 and times.cpu_us else times.run_us


def _better(new: Timed, old: Timed) -> bool:
    """Whether a network comes nearer to its goal: within it the slower one, else the faster one."""
    if new.reached and old.reached:
        return new.after_us > old.after_us
    return new.reached or (not old.reached and new.after_us < old.after_us)
