"""``flyweight list``: the names that other commands take."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

import click

from flyweight.cli._command import command


def _architectures() -> Iterable[tuple[str, str]]:
    from flyweight.cli._tables import dims, si
    from flyweight.zoo import ZOO

    for name in ZOO.names():
        entry = ZOO.get(name)
        size = dims((entry.spec.input.channels, entry.spec.input.height, entry.spec.input.width))
        known = [f"{si(value)} {unit}" for value, unit in ((entry.macs, "MACs"), (entry.params, "params")) if value]
        yield name, ", ".join([entry.spec.task, size, *known])


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
    "architectures": _architectures,
    "data": _data_sets,
    "plans": _plans,
    "runtimes": _runtimes,
    "transforms": _transforms,
}


@command("list", "flyweight list", "flyweight list architectures")
@click.argument("kind", type=click.Choice(sorted(KINDS)), required=False)
def list_names(kind: str | None) -> None:
    """List the names that commands take.

    Of one KIND, or of all. Beside an architecture stand its published MACs and
    parameters, where there are any; beside a runtime its version, or how to
    install it.
    """
    from flyweight.cli._tables import print_table, say

    for index, name in enumerate([kind] if kind else sorted(KINDS)):
        if index:
            say()
        print_table([name, ""], [list(row) for row in KINDS[name]()], left=2)


MEMBERS = {"list": list_names}
