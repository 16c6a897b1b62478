"""``flyweight list``: the names that other commands take."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

import click

from flyweight.cli._architectures import COLUMNS, TASKS, Filter, amount, rows, settings_text
from flyweight.cli._command import command
from flyweight.errors import UsageError


def _blocks() -> Iterable[tuple[str, str]]:
    from flyweight.blocks import BLOCKS
    from flyweight.blocks._layers import HeadBuilder

    for name in BLOCKS.names():
        builder = BLOCKS.get(name)
        head = "head; " if isinstance(builder, HeadBuilder) else ""
        yield name, f"{head}settings: {settings_text(builder)}"


def _data_sets() -> Iterable[tuple[str, str]]:
    from flyweight.data import DATASETS

    for name in DATASETS.names():
        shown = "FOLDER" if name == "image_masks" else name
        yield shown, _first_line(sys.modules[DATASETS.get(name).__module__])


def _plans() -> Iterable[tuple[str, str]]:
    from flyweight.ladder import PLANS

    for name, plan in sorted(PLANS.items()):
        yield name, f"{plan.architecture}: {', '.join(rung.name for rung in plan.rungs)}"


def _runtimes() -> Iterable[tuple[str, str]]:
    from flyweight.runtimes import RUNTIMES

    for name in RUNTIMES.names():
        runtime = RUNTIMES.get(name)
        missing = runtime.missing()
        yield name, missing if missing else runtime.version()


def _transforms() -> Iterable[tuple[str, str]]:
    from flyweight.transforms import TRANSFORMS

    for name in TRANSFORMS.names():
        shown = "FOLDER" if name == "image_masks" else name
        yield shown, _first_line(TRANSFORMS.get(name))


def _first_line(value: object) -> str:
    text = (value.__doc__ or "").strip()
    return text.splitlines()[0].replace("``", "") if text else ""


KINDS: dict[str, Callable[[], Iterable[tuple[str, str]]]] = {
    "blocks": _blocks,
    "data": _data_sets,
    "plans": _plans,
    "runtimes": _runtimes,
    "transforms": _transforms,
}


@command(
    "list",
    "flyweight list",
    "flyweight list architectures --max-macs 100M --task classify",
    "flyweight list architectures 'mobilenet_v?_*' --resolution 128",
    "flyweight list architectures --target edge_tpu --max-macs 100M",
)
@click.argument("kind", type=click.Choice(["architectures", *sorted(KINDS)]), required=False)
@click.argument("pattern", required=False)
@click.option("--max-macs", metavar="NUMBER", callback=amount, help="At most so many MACs, e.g. 300M.")
@click.option("--max-params", metavar="NUMBER", callback=amount, help="At most so many parameters, e.g. 4.2M.")
@click.option("--resolution", type=click.IntRange(1, 8192), help="Input height or width, px.")
@click.option("--task", type=click.Choice(TASKS), help="What the network does.")
@click.option("--family", help="File of the zoo, e.g. mobilenet_v2.")
@click.option("--target", help="Device that runs it wholly natively, see: flyweight targets.")
@click.option("--tier", type=click.IntRange(1, 5), help="Hardware it suits: 1 microcontroller, 5 small GPU.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def list_names(
    kind: str | None,
    pattern: str | None,
    max_macs: int | None,
    max_params: int | None,
    resolution: int | None,
    task: str | None,
    family: str | None,
    target: str | None,
    tier: int | None,
    quiet: bool,
) -> None:
    """List the names that commands take.

    Of one KIND, or of all; with PATTERN (* is any text, ? any letter) only the
    names that match it. The options choose among architectures: beside each
    stand its published parameters, MACs (multiply-accumulates) and ImageNet
    top-1 accuracy. A figure that an option asks for is counted where none was
    published, and marked *. Beside a runtime stands its version, or how to
    install it; beside a block or head its settings with their defaults.
    """
    from flyweight.cli._progress import shown
    from flyweight.cli._tables import print_table, say

    chosen = Filter(pattern, max_macs, max_params, resolution, task, family, target, tier)
    if chosen.asked and kind != "architectures":
        asked = " ".join(chosen.asked)
        raise UsageError(f"{asked} chooses among architectures. Use: flyweight list architectures {asked}.")
    for index, name in enumerate([kind] if kind else ["architectures", *sorted(KINDS)]):
        if index:
            say()
        if name == "architectures":
            with shown(quiet) as progress:
                found = rows(chosen, progress)
            print_table(COLUMNS, found, left=3)
        else:
            print_table([name, ""], _matching(name, pattern), left=2)


def _matching(kind: str, pattern: str | None) -> list[list[str]]:
    found = [list(row) for row in KINDS[kind]() if pattern is None or fnmatchcase(row[0], pattern)]
    if not found:
        raise UsageError(f"none of the {kind} is named like '{pattern}'. See all of them with: flyweight list {kind}.")
    return found


MEMBERS = {"list": list_names}
