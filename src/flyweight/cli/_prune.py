"""The steps of ``flyweight prune``, and what it prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from flyweight.cli._tables import si
from flyweight.errors import UsageError

if TYPE_CHECKING:
    from flyweight.contracts import Candidate, Progress
    from flyweight.prune import Evidence, Goal, Layer, Measure, Plan, Scope

COLUMNS = ("layer", "channels", "left", "%")
BATCH = 16


@dataclass(frozen=True)
class Images:
    """Where a criterion's images come from, how many, and the seed of the random one."""

    data: str | None
    count: int
    seed: int


@dataclass(frozen=True)
class Where:
    """Whose time counts."""

    runtime: str
    threads: int


@dataclass(frozen=True)
class Measured:
    """Time of one image before and after pruning, measured on the exported files."""

    before_us: float
    after_us: float
    reached: bool
    where: Where


@dataclass(frozen=True)
class Done:
    """A pruned network.

    Attributes:
        module: the network. plan: what went.
        difference: of its outputs from the original's with those channels at zero, over the largest; measured.
        time: of both, where the goal is a time.
    """

    module: Any
    plan: Plan
    difference: float
    time: Measured | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        plan = self.plan
        return {
            "goal": asdict(plan.goal), "criterion": plan.criterion, "share": plan.share, "reached": self.reached,
            "macs": plan.macs, "params": plan.params, "layers": [asdict(layer) for layer in plan.layers],
            "difference_from_zeroed": self.difference, **({"time": asdict(self.time)} if self.time else {}),
        }  # fmt: skip

    @property
    def reached(self) -> bool:
        """Whether as little is left as was asked for."""
        return self.time.reached if self.time else self.plan.reached


def goal(
    keep_macs: float | None, keep_params: float | None, keep_time: float | None, scope: str | None, multiple: int
) -> Goal:
    """Return what the options ask for; more than one share is wrong use."""
    from flyweight.prune import Goal

    shares = {"macs": keep_macs, "params": keep_params, "time": keep_time}
    given = {measure: share for measure, share in shares.items() if share is not None}
    if len(given) > 1:
        names = " and ".join(f"--keep-{measure}" for measure in given)
        raise UsageError(f"{names} are {len(given)} goals. Give one of them.")
    measure, share = next(iter(given.items()), ("macs", 0.5))
    where = scope or ("gain" if measure == "time" else "global")
    return Goal(share, cast("Measure", measure), cast("Scope", where), multiple)


def path_for(candidate: Candidate, model: str, out: Path | None) -> Path:
    """Return the file to write; a network without a spec can't be saved."""
    if candidate.spec is None:
        raise UsageError(
            f"{model} has no spec, so that its file could not be opened again. Add --dry-run to see what would go, or "
            "prune it in Python: flyweight.prune.prune."
        )
    return out or Path(f"{candidate.spec.name}-pruned.safetensors")


def pruned(
    candidate: Candidate, wanted: Goal, criterion: str, images: Images, progress: Progress, where: Where
) -> Done:
    """Return the network without its least important channels, compared with the one that has them at zero."""
    from flyweight.evaluate import example_input
    from flyweight.flow import check_runtimes
    from flyweight.prune import inexactness, prune
    from flyweight.prune_time import prune_to_time

    example, time = example_input(candidate), None
    if wanted.measure == "time":
        check_runtimes((where.runtime,))
        given = _evidence(candidate, criterion, images, progress)
        done = prune_to_time(
            candidate, wanted, criterion, given, runtime=where.runtime, threads=where.threads, progress=progress
        )
        found, time = done.pruned, Measured(done.before_us, done.after_us, done.reached, where)
    else:
        found = prune(candidate.module, example, wanted, criterion, _evidence(candidate, criterion, images, progress))
    return Done(found.module, found.plan, inexactness(candidate.module, example, found, images.seed), time)


def _evidence(candidate: Candidate, criterion: str, images: Images, progress: Progress) -> Evidence:
    """Return images spread evenly over the training split, and their task's loss, where the criterion needs them."""
    from flyweight.prune import CRITERIA, Evidence

    if not CRITERIA[criterion].needs_data:
        return Evidence(seed=images.seed)
    if images.data is None:
        raise UsageError(f"--criterion {criterion} looks at images and their targets. Add --data.")
    import numpy as np

    from flyweight.build import box_code
    from flyweight.data import load_dataset
    from flyweight.evaluate import preprocess
    from flyweight.tasks import TASKS

    dataset, spec = load_dataset(images.data), candidate.spec
    if spec is not None and spec.task != dataset.task:
        raise UsageError(f"MODEL is of task '{spec.task}', but '{dataset.name}' is for '{dataset.task}'.")
    task = TASKS.get(dataset.task).fitted(box_code(spec) if spec is not None and spec.task == "detect" else None)
    chosen = np.unique(np.linspace(0, len(dataset.train) - 1, min(images.count, len(dataset.train))).astype(int))
    batches = []
    for at in range(0, len(chosen), BATCH):
        pairs = [dataset.train[int(i)] for i in chosen[at : at + BATCH]]
        inputs = np.concatenate([preprocess(image[None], candidate.preprocessing) for image, _ in pairs])
        batches.append((inputs, task.batch([target for _, target in pairs])))
    progress.say(f"judged by {len(chosen)} training images of {dataset.name}")
    return Evidence(batches, lambda outputs, targets: task.loss(outputs, targets), images.seed)


def save(path: Path, candidate: Candidate, done: Done) -> None:
    """Write the pruned network with its spec, as ``flyweight train`` does."""
    from flyweight.contracts import Change
    from flyweight.saved import save_candidate

    plan = done.plan
    if plan.removed:
        change = Change(
            transform="prune_channels",
            settings={**asdict(plan.goal), "criterion": plan.criterion},
            layers=tuple(layer.layer for layer in plan.layers if layer.after < layer.before),
            before=f"{plan.params[0]:,} parameters",
            after=f"{plan.params[1]:,} parameters; {len(plan.removed)} channels pruned, chosen by {plan.criterion}",
        )
        candidate = candidate.having(change, module=done.module)
    save_candidate(path, candidate)


def rows(plan: Plan) -> list[list[str]]:
    """Return a row for every layer that makes channels."""
    return [
        [layer.layer, str(layer.before), str(layer.after), f"{100 * layer.after / layer.before:.0f}"]
        for layer in plan.layers
    ]


def lines(done: Done, path: Path | None) -> Iterator[str]:
    """Yield the sums, how exact it is, and what was left whole."""
    plan = done.plan
    for name, (before, after) in (("MACs", plan.macs), ("parameters", plan.params)):
        yield f"{name}, counted: {si(before)} -> {si(after)}, {100 * after / before:.1f} % left"
    if done.time:
        whole, left, on = done.time.before_us, done.time.after_us, done.time.where
        yield (
            f"time, measured: {whole / 1e3:.3g} -> {left / 1e3:.3g} ms, {100 * left / whole:.0f} % left "
            f"({on.runtime}, {on.threads} thread{'s' * (on.threads > 1)}, the exported files)"
        )
    narrower = sum(layer.after < layer.before for layer in plan.layers)
    yield f"{len(plan.removed):,} channels of {narrower} of {len(plan.layers)} layers, chosen by {plan.criterion}"
    yield (
        f"outputs differ by {done.difference:.1e} of the largest from those with these channels at zero "
        "(measured, one image of noise)"
    )
    for layers in _alike(plan):
        more = f" ({len(layers) - 1} more alike)" if len(layers) > 1 else ""
        yield f"left whole: {layers[0].layer}: {layers[0].why}{more}"
    yield f"written: {path}" if path else "nothing was written"


def _alike(plan: Plan) -> list[list[Layer]]:
    """Return the layers left whole, by their reasons; those that only name other layers are alike."""
    found: dict[str, list[Layer]] = {}
    for layer in plan.left_whole:
        found.setdefault(re.sub(r"'[^']*'", "''", layer.why), []).append(layer)
    return list(found.values())


def shortfall(done: Done) -> str:
    """Say that the goal was not reached, and what may help."""
    plan = done.plan
    if done.time:
        share = done.time.after_us / done.time.before_us
        return (
            f"{100 * share:.0f} % of the time is left, measured, not {100 * plan.goal.share:g} %: every layer keeps at "
            "least a tenth of its channels, some can't lose any, and every kernel takes some time however narrow it is."
        )
    of = {"macs": "MACs", "params": "parameters"}[plan.goal.measure]
    finer = " A smaller --multiple leaves less." if plan.goal.multiple > 1 else ""
    return (
        f"{100 * plan.share:.1f} % of the {of} are left, not {100 * plan.goal.share:g} %: every layer keeps at least a "
        f"tenth of its channels, and some can't lose any.{finer}"
    )
