"""``flyweight slim``: the whole ladder, from images to a report in which every rung is exported, scored and timed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from flyweight.cli._command import command, counts, names
from flyweight.cli._progress import shown


@command(
    "slim",
    "flyweight slim blue_marble --short --out runs/short",
    "flyweight slim photos/ --steps 500 --rungs v0,v1 --threads 1",
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
    dry_run: bool,
    quiet: bool,
) -> None:
    """Slim a network on DATA, rung by rung.

    Each rung is an edit of the one before: trained, exported, scored as the
    exported file, and timed side by side with the first. Stopped at any point,
    the same command goes on.

    DATA is an embedded sample (blue_marble), or a folder with images/ and
    masks/.

    The table goes to stdout; report.json and report.html lie in --out.
    """
    from flyweight import flow
    from flyweight.cli._report import print_report

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
