"""``flyweight slim``: the whole ladder, from images to a report in which every rung is exported, scored and timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from flyweight.cli._budget import size
from flyweight.cli._command import command, counts, names
from flyweight.cli._progress import shown


@command(
    "slim",
    "flyweight slim blue_marble --short --out runs/short",
    "flyweight slim photos/ --steps 500 --rungs v0,v1 --threads 1",
    "flyweight slim blue_marble --auto --max-ms 1.5 --max-bytes 4MB --max-drop 1",
    "flyweight slim blue_marble --dry-run",
)
@click.argument("data")
@click.option("--plan", default="ladder", help="The list of rungs to climb.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    show_default="runs/PLAN",
    help="Folder for artifacts and report; a run that lies there goes on.",
)
@click.option("--short", is_flag=True, help="Fewer rungs and training steps, for a first look.")
@click.option(
    "--steps",
    type=click.IntRange(1, 1_000_000),
    show_default="120, short 80",
    help="Training steps per rung, of 16 images.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, help="Seed of weights and batches.")
@click.option(
    "--rungs",
    callback=names,
    metavar="NAMES",
    show_default="all",
    help="Only these rungs and those they come from, e.g. v0,v1.",
)
@click.option("--threads", callback=counts, metavar="COUNTS", default="1,2", help="Thread counts to time at.")
@click.option(
    "--runtimes", callback=names, metavar="NAMES", default="onnxruntime,ncnn", help="Runtimes to export to and time in."
)
@click.option("--auto", is_flag=True, help="Walk to the budget by advice instead of the plan's rungs.")
@click.option("--max-ms", type=click.FloatRange(min=0, min_open=True), help="Budget of --auto: time of one image, ms.")
@click.option("--max-bytes", callback=size, metavar="SIZE", help="Budget of --auto: size of the file: 4MB, 512KiB.")
@click.option(
    "--max-drop", type=click.FloatRange(0, 100), help="Budget of --auto: points it may be below the first rung."
)
@click.option(
    "--final-steps",
    type=click.IntRange(1, 1_000_000),
    show_default="8 times --steps",
    help="Steps of --auto's last training, from new weights.",
)
@click.option("--dry-run", is_flag=True, help="Read the data, print what would be done, and stop.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def slim(
    data: str,
    plan: str,
    out: Path | None,
    short: bool,
    steps: int | None,
    seed: int,
    rungs: tuple[str, ...] | None,
    threads: tuple[int, ...],
    runtimes: tuple[str, ...],
    auto: bool,
    max_ms: float | None,
    max_bytes: int | None,
    max_drop: float | None,
    final_steps: int | None,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Slim a network on DATA, rung by rung.

    Each rung is an edit of the one before: trained, exported, scored as the
    exported file, and timed side by side with the first. Stopped at any point,
    the same command goes on.

    DATA is an embedded sample (blue_marble), or a folder with images/ and
    masks/.

    With --auto the edits are found: from the plan's first rung it tries those
    that the measured layers advise, keeps what pays, and ends when the budget
    of --max-ms, --max-bytes and --max-drop holds or nothing pays. Then it ends
    with the nearest network, and exit code 3.

    The table goes to stdout; report.json and report.html lie in --out.
    """
    from flyweight import flow
    from flyweight.cli._report import print_report

    limits = {"max_ms": max_ms, "max_bytes": max_bytes, "max_drop": max_drop}
    _check_auto(auto, {**limits, "final_steps": final_steps}, rungs)
    if auto:
        given = {"plan": plan, "short": short, "steps": steps, "final_steps": final_steps}
        measured = {"seed": seed, "threads": threads, "runtimes": runtimes}
        _auto(data, out or Path("runs") / f"auto-{plan}", limits, given, measured, dry_run, quiet)
        return
    if dry_run:
        _print_plan(data, flow.plan_lines(plan, short=short, steps=steps, rungs=rungs))
        return
    folder = out or Path("runs") / plan
    with shown(quiet) as progress:
        report = flow.slim(
            data, folder, plan=plan, short=short, seed=seed, steps=steps, rungs=rungs, threads=threads,
            runtimes=runtimes, progress=progress,
        )  # fmt: skip
    print_report(report, folder)


def _check_auto(auto: bool, given: Mapping[str, Any], rungs: tuple[str, ...] | None) -> None:
    """Refuse options of the one way of walking with the other."""
    if not auto and (extra := [name for name, value in given.items() if value is not None]):
        raise click.UsageError(f"--{extra[0].replace('_', '-')} is for --auto. Add --auto, or leave it out.")
    if auto and rungs:
        raise click.UsageError("--rungs names rungs of a plan, but --auto finds its own. Leave one of them out.")


def _auto(
    data: str,
    out: Path,
    limits: Mapping[str, Any],
    given: Mapping[str, Any],
    measured: Mapping[str, Any],
    dry_run: bool,
    quiet: bool,
) -> None:
    """Walk to the budget, print the report and the verdicts; exit with 3 where the budget is not kept."""
    from flyweight.auto import Goal, auto_lines, check_auto, slim_auto
    from flyweight.cli._report import print_report
    from flyweight.cli._tables import say
    from flyweight.errors import OverBudgetError

    goal = Goal(**limits)
    check_auto(goal, measured["runtimes"])
    if dry_run:
        _print_plan(data, auto_lines(goal, **given))
        return
    with shown(quiet) as progress:
        found = slim_auto(data, out, goal, **given, **measured, progress=progress)
    print_report(found.report, out)
    say()
    say(f"{found.chosen}: {found.why}")
    for verdict in found.verdicts:
        say(verdict.line)
    if not found.reached:
        raise OverBudgetError(
            f"the budget can't be kept: {found.chosen} is the nearest that was found. It would keep: {found.nearest}."
        )


def _print_plan(data: str, lines: Sequence[str]) -> None:
    """Print what the data holds and what each rung would be."""
    from flyweight.cli._tables import print_table, say
    from flyweight.data import load_dataset

    found = load_dataset(data)
    shares = [f"{name} {share * 100:.1f} %" for name, share in zip(found.class_names, found.class_shares, strict=True)]
    say(f"{found.name}: {len(found.train)} images to train on, {len(found.val)} to validate, {len(found.test)} to test")
    say(f"classes, by share of the training pixels: {', '.join(shares)}")
    say()
    print_table(["rung", "what would be done"], [line.split(maxsplit=1) for line in lines], left=2)


MEMBERS = {"slim": slim}
