"""``slim --auto``: walk towards a budget by advice, each step an edit where the time is, trained, exported, measured.

The walk (``_walk``) judges measured figures; here the rungs are made. Accuracy is judged on the validation split; the
report has that of the test split, as for every run.
"""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from flyweight import files
from flyweight.advise import Advice, Finding, advise, chosen
from flyweight.auto._walk import MARGIN, ROUNDS, TRIES, Goal, Outcome, State, Walk
from flyweight.budget import Verdict
from flyweight.contracts import Artifact, Progress, Silent
from flyweight.data import load_dataset
from flyweight.errors import ExportError, TrainingError, TransformError, UsageError
from flyweight.evaluate import predict_masks, score
from flyweight.flow import (
    FULL_SAMPLES,
    FULL_STEPS,
    SHORT_SAMPLES,
    SHORT_STEPS,
    check_runtimes,
    claim,
    empty_report,
    fingerprint,
    render,
    rung_line,
    shown_tiles,
)
from flyweight.ladder import AUTO, Plan, PlannedRung, plan_named, write_plan
from flyweight.profile import profile_spec
from flyweight.report.value import Report, Rung
from flyweight.rung import LAYER_RUNTIME, Context, kept, layer_times, make_rung
from flyweight.runtimes import RUNTIMES
from flyweight.spec import ArchSpec
from flyweight.train import Recipe
from flyweight.transforms.fold_bn import FoldBatchNorm
from flyweight.transforms.quantize_int8 import QuantizeInt8
from flyweight.verify import lanes

FINAL = 8  # the last training has so many times the steps of a rung
INT8 = ".int8"


@dataclass
class Rungs:
    """The rungs of a walk: made, judged, and reported. A ``Maker`` for the walk."""

    context: Context
    goal: Goal
    report: Report
    final_steps: int
    made: dict[str, Rung] = field(default_factory=dict)
    tried: int = 0
    digests: dict[str, str] = field(default_factory=dict)
    specs: set[str] = field(default_factory=set)
    advised: dict[str, Advice] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    # ---- what the walk asks for

    def start(self) -> State:
        """Make the plan's first rung."""
        write_plan(self.context.plan, self.context.folder)
        return self._state(self.context.plan.rungs[0])

    def proposals(self, state: State, need: float) -> Sequence[Finding]:
        """Return the edits that the advice has, those first that come nearest to the goal with the mildest cut."""
        advice = self._advice(state)
        share = state.ms / advice.time_ms
        found = [f for f in chosen(advice.findings, need * advice.time_ms) if not f.wins]

        def after(finding: Finding) -> tuple[float, int]:
            size = state.bytes * (1 - finding.bytes / max(advice.weight_bytes, 1))
            over = self.goal.over(replace(state, ms=share * finding.time_ms, bytes=round(size)))
            return max(over, need * self.goal.over(state)), finding.macs

        return sorted(found, key=after)

    def wins(self, state: State) -> Sequence[Finding]:
        """Return the edits that win accuracy, the largest first."""
        found = [finding for finding in self._advice(state).findings if finding.wins]
        return sorted(found, key=lambda f: f.gain_ms)

    def make(self, state: State, edit: Finding) -> State | None:
        """Apply a finding's edits, train briefly, export and measure."""
        if edit.spec is None or edit.spec.dumps() in self.specs:
            return None
        self.tried += 1
        change = f"{edit.words}: {edit.reason}"
        planned = PlannedRung(f"a{self.tried}", edit.words, change, parent=state.name, edits=edit.edits)
        return self._tried(planned)

    def compressed(self, state: State) -> State | None:
        """Fold batch norm and quantize."""
        edits = (FoldBatchNorm(), QuantizeInt8())
        planned = PlannedRung(
            state.name + INT8, f"{state.name} in int8", "batch norm folded, int8 post-training", parent=state.name,
            edits=edits, trained=False,
        )  # fmt: skip
        return self._tried(planned)

    def retrained(self, state: State) -> State | None:
        """Train from new weights, in one go."""
        planned = PlannedRung(
            "final", f"{state.name} trained in one go", f"{state.name} from new weights, in one go", parent=state.name,
            fresh=True, steps=self.final_steps,
        )  # fmt: skip
        return self._tried(planned)

    def judged(self, state: State, kept: bool, why: str) -> None:
        """Note what became of a rung: one that is left stands beside the ladder."""
        self.made[state.name] = replace(self.made[state.name], control=not kept)
        line = f"{state.name}, {self.made[state.name].title}: {why}"
        self.notes.append(line)
        self.context.progress.say(line)
        self._write()

    # ---- how

    def _tried(self, planned: PlannedRung) -> State | None:
        before = self.context
        plan = replace(before.plan, rungs=(*before.plan.rungs, planned))
        self.context = replace(before, plan=plan)
        write_plan(plan, before.folder)
        self._claim_folder(planned)
        try:
            return self._state(planned)
        except (ExportError, TransformError, TrainingError) as error:  # one edit that can't be made ends no walk
            self.notes.append(f"{planned.name}, {planned.title}: left out: {error}")
            self.context.progress.say(self.notes[-1])
            self.context = before
            write_plan(before.plan, before.folder)
            return None

    def _claim_folder(self, planned: PlannedRung) -> None:
        """Clear a rung's folder where it is of other edits, as after a change of the advice."""
        made_of = (self.digests.get(planned.parent, ""), planned.edits, planned.steps, planned.trained, planned.fresh)
        self.digests[planned.name] = hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]
        folder = self.context.rung_folder(planned.name)
        record = folder / "made-of.json"
        if record.exists() and files.read_json(record) == self.digests[planned.name]:
            return
        if folder.exists():
            shutil.rmtree(folder)
        files.write_json(record, self.digests[planned.name])

    def _state(self, planned: PlannedRung) -> State:
        rung = make_rung(planned, self.context)
        self.made[rung.name] = rung
        self.specs.add(ArchSpec.from_json(rung.spec).dumps())
        self.context.progress.advance(1, rung.name)
        self.context.progress.say(rung_line(rung, self.report.headline))
        self._write()
        first = rung.artifacts[self.context.runtimes[0]]
        return State(rung.name, time_of(rung, self.context), first.bytes, self._accuracy(rung))

    def _accuracy(self, rung: Rung) -> float:
        """Return the exported file's score on the validation split, in points."""
        context, artifact = self.context, self._artifact(rung, self.context.runtimes[0])

        def scored() -> float:
            predict = RUNTIMES.get(artifact.runtime).load(artifact, max(context.threads))
            label = f"{rung.name}: validate"
            masks = predict_masks(predict, context.data.val, artifact.preprocessing, context.progress, label)
            return 100 * float(score(masks, context.data.val, context.data).to_json()[self.report.headline])

        found = kept(context.rung_folder(rung.name) / "validation.json", artifact.sha256, scored)
        return float(found)

    def _artifact(self, rung: Rung, runtime: str) -> Artifact:
        folder = self.context.rung_folder(rung.name) / runtime
        return Artifact.from_json(files.read_json(folder / "artifact.json"), folder)

    def _advice(self, state: State) -> Advice:
        if state.name not in self.advised:
            rung, planned = self.made[state.name], self.context.planned(state.name)
            times = layer_times(planned, self._artifact(rung, LAYER_RUNTIME), self.context)
            if times is None:
                raise UsageError("the runtime told the time of no layer, by which the edits are chosen.")
            spec = ArchSpec.from_json(rung.spec)
            self.advised[state.name] = advise(spec, profile_spec(spec), times, lanes=lanes())
        return self.advised[state.name]

    def _write(self, notes: Iterable[str] = ()) -> None:
        self.report = replace(self.report, rungs=tuple(self.made.values()), notes=(*notes, *self.notes))
        files.write_json(self.context.folder / "report.json", self.report.to_json())

    def end(self, outcome: Outcome) -> tuple[Verdict, ...]:
        """Put the chosen rung at the ladder's end, and write the verdict above the notes."""
        name = outcome.chosen.name
        lineage = {name}
        for planned in reversed(self.context.plan.rungs):
            lineage |= {planned.parent} if planned.name in lineage else set()
        order = sorted(self.made.values(), key=lambda rung: rung.name == name)
        self.made = {rung.name: replace(rung, control=rung.name not in lineage) for rung in order}
        found = verdicts(self.goal, outcome.chosen, self._state_of_start())
        word = "The budget is kept" if outcome.reached else "The budget can't be kept: this is the nearest"
        self._write([f"{word} by {name}; {outcome.why}.", *(v.line for v in found)])
        return found

    def _state_of_start(self) -> State:
        first = self.context.plan.rungs[0].name
        return State(first, 0.0, 0, self._accuracy(self.made[first]))


def time_of(rung: Rung, context: Context) -> float:
    """Return a rung's time in ms, in the first runtime at the first number of threads.

    At one thread it is CPU time, which other processes disturb less.
    """
    timing = rung.timing(context.runtimes[0], context.threads[0])
    assert timing is not None  # every rung is timed
    return timing.cpu_median_ms if timing.threads == 1 else timing.median_ms


def verdicts(goal: Goal, state: State, start: State) -> tuple[Verdict, ...]:
    """Return one verdict for each limit."""
    drop = start.accuracy - state.accuracy
    rows: tuple[tuple[str, float, float | None, str], ...] = (
        ("time", state.ms, goal.max_ms, "ms"), ("file", state.bytes, goal.max_bytes, "B"),
        ("points lost on the validation split", drop, goal.max_drop, "points"),
    )  # fmt: skip
    return tuple(
        Verdict(name, "measured", value, limit, unit, value <= limit)
        for name, value, limit, unit in rows
        if limit is not None
    )


@dataclass(frozen=True)
class AutoResult:
    """The report, the rung that ships, whether the budget is kept, why the walk ended, a verdict for each limit, and
    options that would have been kept.
    """

    report: Report
    chosen: str
    reached: bool
    verdicts: tuple[Verdict, ...]
    why: str
    nearest: str


def slim_auto(
    data: str,
    out: Path | str,
    goal: Goal,
    *,
    plan: str = "ladder",
    short: bool = False,
    seed: int = 0,
    steps: int | None = None,
    final_steps: int | None = None,
    threads: tuple[int, ...] = (1, 2),
    runtimes: tuple[str, ...] = ("onnxruntime", "ncnn"),
    progress: Progress | None = None,
) -> AutoResult:
    """Walk from a plan's first rung towards a budget; write artifacts, ``report.json`` and ``report.html``.

    Killed at any point, the same call goes on where it was. An impossible budget ends with the nearest network.

    Args:
        data, short, seed, steps, runtimes, threads: as for ``flow.slim``; the budget is of the first runtime at the
            first number of threads. plan: whose first rung is the start.
        final_steps: of the last training, from new weights; default 8 times those of a rung.

    Raises:
        UsageError: no limit, an unknown name, or ``out`` holds a run with other settings.
        DataError, ExportError, TrainingError, FileError: as each step says.
    """
    check_auto(goal, runtimes)
    dataset = load_dataset(data)
    first = plan_named(plan)
    recipe = Recipe(steps=steps or (SHORT_STEPS if short else FULL_STEPS))
    last = final_steps or FINAL * recipe.steps
    own = Plan(f"{AUTO} {plan} to {_words(goal)}, last {last} steps", first.architecture, first.rungs[:1], short=())
    context = Context(
        folder=Path(out), plan=own, data=dataset, recipe=recipe, seed=seed, runtimes=runtimes, threads=threads,
        samples_n=SHORT_SAMPLES if short else FULL_SAMPLES, tiles=shown_tiles(dataset), progress=progress or Silent(),
    )  # fmt: skip
    if dataset.task != context.start.task:
        raise UsageError(f"plan '{plan}' is of task '{context.start.task}', but '{data}' is for '{dataset.task}'.")
    settings = {
        "data": data if dataset.name == data else str(Path(data).resolve()), "plan": own.name, "seed": seed,
        "steps": recipe.steps, "threads": list(threads), "runtimes": list(runtimes), "rungs": [],
        "samples_n": context.samples_n, "made_of": fingerprint(own, recipe, dataset),
    }  # fmt: skip
    with files.held(context.folder):
        claim(context.folder, settings)
        return _walked(Rungs(context, goal, empty_report(context), last))


def _walked(rungs: Rungs) -> AutoResult:
    progress, folder = rungs.context.progress, rungs.context.folder
    progress.start(f"slim towards {_words(rungs.goal)}", 0)
    outcome = Walk(rungs, rungs.goal).run()
    found = rungs.end(outcome)
    progress.finish()
    render(folder)
    return AutoResult(
        rungs.report, outcome.chosen.name, outcome.reached, found, outcome.why, _options(rungs.goal, outcome.chosen)
    )


def _options(goal: Goal, state: State) -> str:
    """Return the limits of a goal at which a network would keep it."""
    ms = math.ceil(100 * state.ms / MARGIN) / 100
    return ", ".join(
        word
        for word, limit in ((f"--max-ms {ms:g}", goal.max_ms), (f"--max-bytes {state.bytes}", goal.max_bytes))
        if limit is not None
    )


def check_auto(goal: Goal, runtimes: tuple[str, ...]) -> None:
    """Raise UsageError where a goal sets no limit on time or size, or no runtime tells the times of layers."""
    if goal.max_ms is None and goal.max_bytes is None:
        raise UsageError("--auto needs a budget to walk to: --max-ms, --max-bytes, or both.")
    check_runtimes(runtimes)
    if LAYER_RUNTIME not in runtimes:
        raise UsageError(f"--auto chooses edits by the times of layers, which need {LAYER_RUNTIME} among --runtimes.")


def _words(goal: Goal) -> str:
    parts = (
        None if goal.max_ms is None else f"{goal.max_ms:g} ms",
        None if goal.max_bytes is None else f"{goal.max_bytes} B",
        None if goal.max_drop is None else f"{goal.max_drop:g} points",
    )
    return ", ".join(filter(None, parts))


def auto_lines(
    goal: Goal,
    plan: str = "ladder",
    *,
    short: bool = False,
    steps: int | None = None,
    final_steps: int | None = None,
) -> list[str]:
    """Return what a walk would do, without doing it: the edits themselves depend on what is measured.

    Raises:
        UsageError: an unknown plan.
    """
    own = steps or (SHORT_STEPS if short else FULL_STEPS)
    first = plan_named(plan).rungs[0]
    return [
        f"{first.name:8} {first.change}; new weights; {own} steps",
        f"steps    at most {ROUNDS}, each trying at most {TRIES} edits where the time is, {own} steps each",
        "forms    every network that is kept also with batch norm folded, in int8",
        f"final    from new weights in one go, {final_steps or FINAL * own} steps",
        f"until    {_words(goal)}; {MARGIN:.0%} of the time is aimed at",
    ]


__all__ = ["AutoResult", "Goal", "auto_lines", "check_auto", "slim_auto"]
