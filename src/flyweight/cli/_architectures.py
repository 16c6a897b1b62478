"""What the commands say of the zoo's architectures: which of them fit a filter, and what was published of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import click

from flyweight.cli._tables import MISSING, dims, si
from flyweight.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from flyweight.contracts import Progress
    from flyweight.zoo import ZooEntry

TASKS = ("classify", "segment", "detect")
COLUMNS = ("architectures", "task", "input", "params", "MACs", "top-1 %")
_COUNTED = "*"
_PREFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


def amount(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Read a number that may have an SI prefix: 300M, 4.2M, 500k. For an option's ``callback``."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)([kMG]?)", value, re.ASCII)
    if match is None:
        message = f"{value!r} is not a number such as 300M, 4.2M or 500k (k: thousand, M: million, G: 10^9)."
        raise click.BadParameter(message, ctx, param)
    return round(float(match[1]) * _PREFIXES[match[2]])


@dataclass(frozen=True)
class Filter:
    """What an architecture must be; None asks nothing.

    ``family`` is a file of the zoo, ``target`` a device that runs every layer itself, ``tier`` a class of hardware that
    the network suits.
    """

    pattern: str | None = None
    max_macs: int | None = None
    max_params: int | None = None
    resolution: int | None = None
    task: str | None = None
    family: str | None = None
    target: str | None = None
    tier: int | None = None

    @property
    def asked(self) -> list[str]:
        """The options that ask for something, as they were given."""
        names = ("max_macs", "max_params", "resolution", "task", "family", "target", "tier")
        return [f"--{n.replace('_', '-')} {getattr(self, n)}" for n in names if getattr(self, n) is not None]


def rows(chosen: Filter, progress: Progress) -> list[list[str]]:
    """Return a row for every architecture that fits, by name.

    A figure that a filter needs and that was not published is counted, and marked by a star.

    Raises:
        UsageError: no family or device has that name, or nothing fits.
    """
    from flyweight.zoo import ZOO

    families = {file.rpartition(".")[2] for file in ZOO.files}
    if chosen.family is not None and chosen.family not in families:
        raise unknown_name("family", chosen.family, families)
    entries = [(name, ZOO.get(name), origin.rpartition(".")[2]) for name, origin in sorted(ZOO.origins.items())]
    candidates = [(name, entry) for name, entry, family in entries if _is_of(name, entry, family, chosen)]
    found = []
    for name, entry in _running(candidates, chosen, progress):
        if (figures := _figures(entry, chosen)) is not None:
            found.append([name, entry.spec.task, _input(entry), *figures, _top1(entry)])
    if not found:
        asked = " ".join([*([repr(chosen.pattern)] if chosen.pattern else []), *chosen.asked])
        raise UsageError(f"no architecture fits {asked}. See all of them with: flyweight list architectures.")
    return found


def facts(name: str) -> Iterator[str]:
    """Yield lines on what was published of an architecture; none for what is not of the zoo."""
    from flyweight.zoo import ZOO

    if name not in ZOO.members:
        return
    entry = ZOO.members[name]
    basis = f" ({entry.params_basis})" if entry.params_basis else ""
    known = [
        *([f"{entry.params:,} parameters{basis}"] if entry.params else []),
        *([f"{entry.macs:,} MACs"] if entry.macs else []),
        *([f"top-1 {entry.top1:g} % on ImageNet"] if entry.top1 else []),
    ]
    if known:
        yield f"published: {', '.join(known)}"
    yield f"source: {entry.source}"
    if entry.top1_source:
        yield f"source of top-1: {entry.top1_source}"
    if entry.note:
        yield f"note: {entry.note}"


def settings_text(builder: object) -> str:
    """Return a block's settings with their defaults, as TOML has them; 'none' where it has none."""
    from flyweight.spec import toml_value

    settings = getattr(builder, "settings", {})
    return ", ".join(f"{name} = {toml_value(value)}" for name, value in settings.items()) or "none"


def _is_of(name: str, entry: ZooEntry, family: str, chosen: Filter) -> bool:
    size = entry.spec.input
    return (
        (chosen.pattern is None or fnmatchcase(name, chosen.pattern))
        and chosen.task in (None, entry.spec.task)
        and chosen.family in (None, family)
        and chosen.resolution in (None, size.height, size.width)
    )


def _running(
    candidates: list[tuple[str, ZooEntry]], chosen: Filter, progress: Progress
) -> Iterator[tuple[str, ZooEntry]]:
    """Yield the architectures that the device and the tier asked for take, the cheap limits asked first."""
    from flyweight.device import get_device, get_tier

    devices = [
        *([get_device(chosen.target)] if chosen.target else []),
        *([get_tier(chosen.tier)] if chosen.tier else []),
    ]
    if not devices:
        yield from candidates
        return
    from flyweight.placement import place
    from flyweight.profile import profile_spec

    within = [(name, entry) for name, entry in candidates if _figures(entry, chosen) is not None]
    progress.start("tracing architectures", len(within))
    for name, entry in within:
        graph = profile_spec(entry.spec).graph
        progress.advance(note=name)
        if all(place(graph, device).wholly_native for device in devices):
            yield name, entry
    progress.finish()


def _figures(entry: ZooEntry, chosen: Filter) -> tuple[str, str] | None:
    """Return parameters and MACs as text, or None where one is above its limit."""
    limits = {"params": chosen.max_params, "macs": chosen.max_macs}
    published: Mapping[str, int | None] = {"params": entry.params, "macs": entry.macs}
    missing = [name for name, limit in limits.items() if limit is not None and published[name] is None]
    counted = _counted(entry) if missing else {}
    texts = []
    for name, limit in limits.items():
        value = published[name] or counted.get(name)
        if limit is not None and (value is None or value > limit):
            return None
        texts.append(si(value) + (_COUNTED if published[name] is None and value is not None else ""))
    return texts[0], texts[1]


def _counted(entry: ZooEntry) -> dict[str, int]:
    from flyweight.profile import profile_spec

    found = profile_spec(entry.spec)
    return {"params": found.params, "macs": found.macs}


def _input(entry: ZooEntry) -> str:
    size = entry.spec.input
    return dims((size.channels, size.height, size.width))


def _top1(entry: ZooEntry) -> str:
    return MISSING if entry.top1 is None else f"{entry.top1:.1f}"
