"""A device: which operators it runs itself, within which limits, with the source of every rule. Read from TOML.

``devices/<name>.toml`` holds one device or family of devices; a file of a user's own is given by its path. A rule::

    [[rule]]
    ops = ["conv"]                       # Flyweight's names; "*" is every one; "mul/broadcast" one form of it
    when = { form = ["depthwise"] }      # traits that choose the nodes it speaks of; left out: all
    limits = { stride = { max = 3 } }    # traits that these must have, see ``flyweight.traits``
    verdict = "native"                   # where the limits hold (the default)
    otherwise = "fallback"               # where one is broken (default: the device's)
    source = "vela"                      # a key of [sources]

All rules that speak of a node count, and the worst verdict wins. An operator without a rule gets ``unlisted``, which is
``unknown`` unless the vendor says what becomes of it. ``lowering`` names the operators that a converter makes of one.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from flyweight import files
from flyweight.errors import UsageError, unknown_name
from flyweight.operators import OPERATORS
from flyweight.traits import FORMS, TRAITS, Trait

Verdict: TypeAlias = Literal["native", "unknown", "fallback", "rejected"]  # from best to worst
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
FOLDER = Path(__file__).parent / "devices"
KNOWN_OPS = frozenset(OPERATORS.values()) | {"conv_transpose"}  # a convolution that tracing tells apart
EVERY = "*"
TIERS = (1, 2, 3, 4, 5)
_WITNESSES = ("vendor", "community", "measurement")
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """Where a rule comes from: text with version, the address if there is one, and whose word it is."""

    text: str
    by: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """What a trait may be: between ``least`` and ``most``, one of ``allowed``, a multiple. A tuple must hold in each.

    A trait that a node doesn't have breaks nothing.
    """

    trait: str
    least: float | None = None
    most: float | None = None
    allowed: tuple[int | float | str, ...] = ()
    multiple: int = 0

    def holds(self, value: Trait) -> bool:
        """Return whether a value is allowed."""
        if value is None:
            return True
        if isinstance(value, tuple):
            return all(self.holds(one) for one in value)
        if self.allowed:
            return value in self.allowed
        if isinstance(value, str):
            return False
        enough = self.least is None or value >= self.least
        enough = enough and (self.most is None or value <= self.most)
        return enough and (not self.multiple or value % self.multiple == 0)

    def __str__(self) -> str:
        """Return what is allowed, in words."""
        parts = [
            *([" or ".join(str(one) for one in self.allowed)] if self.allowed else []),
            *([f"at least {self.least:g}"] if self.least is not None else []),
            *([f"at most {self.most:g}"] if self.most is not None else []),
            *(["whole numbers"] if self.multiple == 1 else []),
            *([f"multiples of {self.multiple}"] if self.multiple > 1 else []),
        ]
        return " and ".join(parts)


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of some operators; see the module's text. ``forms``: where an operator is named with one."""

    ops: frozenset[str]
    forms: frozenset[tuple[str, str]]
    source: Source
    when: tuple[Limit, ...] = ()
    limits: tuple[Limit, ...] = ()
    verdict: Verdict = "native"
    otherwise: Verdict = "fallback"
    note: str = ""
    precisions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """On-chip memory for activations and weights in bytes; None where it isn't stated. More is fetched from outside."""

    source: Source
    activation_bytes: int | None = None
    weight_bytes: int | None = None
    both_bytes: int | None = None


@dataclass(frozen=True)
class Device:
    """A device or a family of them.

    Attributes:
        name: the file's. title: in words.
        kind: ``runtime`` (software on a CPU), ``accelerator``, or ``tier`` (a class of hardware).
        tier: of hardware, 1 (a microcontroller) to 5 (a small GPU), see docs/targets.md; None where it isn't stated.
        precisions: of weights and activations that it computes in, the usual one first.
        fallback: where operators go that it doesn't run itself; '' where such a network is refused.
        partitions: how many parts of a network it takes at most; 0 is any number.
        channel_multiple: channels are computed this many at a time; 1 where nothing is stated.
        unlisted: verdict of an operator without a rule.
        caveat: what its rules can't tell.
    """

    name: str
    title: str
    kind: str
    precisions: tuple[str, ...]
    rules: tuple[Rule, ...]
    sources: Mapping[str, Source]
    unlisted: Verdict = "unknown"
    unlisted_source: Source | None = None
    fallback: str = ""
    partitions: int = 0
    partitions_source: Source | None = None
    channel_multiple: int = 1
    channel_source: Source | None = None
    memory: Memory | None = None
    lowering: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lowering_source: Source | None = None
    tier: int | None = None
    caveat: str = ""

    def rules_for(self, op: str, form: Trait, precision: str) -> tuple[Rule, ...]:
        """Return the rules that name an operator, in this form or in all, at this precision."""
        return tuple(
            rule
            for rule in self.rules
            if (op in rule.ops or (op, form) in rule.forms) and (not rule.precisions or precision in rule.precisions)
        )

    def precision_or_default(self, precision: str | None) -> str:
        """Return a precision that it computes in.

        Raises:
            UsageError: it doesn't compute in that one.
        """
        if precision is None:
            return self.precisions[0]
        if precision not in self.precisions:
            raise UsageError(f"{self.name} computes in {' or '.join(self.precisions)}, not in {precision}.")
        return precision


def device_names() -> tuple[str, ...]:
    """Return the names of all devices that Flyweight knows, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml") if not path.stem.startswith("_")))


def get_device(name: str) -> Device:
    """Return a device by name, or one of the user's own by the path of its file (which ends in ``.toml``).

    Raises:
        UsageError: no such device, or its file says what it can't mean; names the file and the entry.
        FileError: the file can't be read.
    """
    if name.endswith(".toml"):
        return read_device(Path(name))
    if name not in device_names():
        raise unknown_name("target", name, device_names())
    return read_device(FOLDER / f"{name}.toml")


def get_tier(tier: int) -> Device:
    """Return what networks for a class of hardware should use, as a device of kind ``tier``.

    Raises:
        UsageError: there is no such tier.
    """
    if tier not in TIERS:
        raise UsageError(f"tier is {tier}; allowed are {TIERS[0]} (a microcontroller) to {TIERS[-1]} (a small GPU).")
    return read_device(FOLDER / f"_tier{tier}.toml")


@functools.lru_cache(maxsize=64)
def read_device(path: Path) -> Device:
    """Read one file; errors as in ``get_device``."""
    data = _load(path)
    if "extends" in data:
        shared = _load(FOLDER / f"{data.pop('extends')}.toml")
        data = {**shared, **data, "sources": {**shared.get("sources", {}), **data.get("sources", {})}}
    return _Reader(path, data).device()


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(files.read_bytes(path, _MAX_BYTES).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML ({error}). See src/flyweight/devices for examples.") from error


class _Reader:
    """Turns a file's tables into a Device; whatever isn't understood is an error, nothing is left aside."""

    def __init__(self, path: Path, data: dict[str, Any]) -> None:
        self.path, self.data = path, data
        tables = self._table(data, "sources", {})
        self.sources = {key: self._source(key, value) for key, value in tables.items()}

    def device(self) -> Device:
        data = self.data
        fields = {
            "title", "kind", "tier", "precisions", "rule", "sources", "unlisted", "unlisted_source",
            "fallback", "partitions", "partitions_source", "channel_multiple", "channel_source", "memory", "lowering",
            "lowering_source", "caveat",
        }  # fmt: skip
        self._only("the file", data, fields)
        for name in ("title", "kind", "precisions", "rule"):
            if name not in data:
                raise self._error(f"has no '{name}'")
        if data["kind"] not in ("runtime", "accelerator", "tier"):
            raise self._error(f"kind is {data['kind']!r}; allowed are runtime, accelerator and tier")
        if data.get("tier") not in (None, *TIERS):
            raise self._error(f"tier is {data['tier']!r}; allowed are numbers from 1 to 5")
        return Device(
            name=self.path.stem,
            title=str(data["title"]),
            kind=str(data["kind"]),
            precisions=self._words("precisions", data["precisions"], ("fp32", "fp16", "int8")),
            rules=tuple(self._rule(index, rule) for index, rule in enumerate(data["rule"], 1)),
            sources=self.sources,
            unlisted=self._verdict("unlisted", data.get("unlisted", "unknown")),
            unlisted_source=self._cited_if(data, "unlisted", "unlisted_source"),
            fallback=str(data.get("fallback", "")),
            partitions=int(data.get("partitions", 0)),
            partitions_source=self._cited_if(data, "partitions", "partitions_source"),
            channel_multiple=int(data.get("channel_multiple", 1)),
            channel_source=self._cited_if(data, "channel_multiple", "channel_source"),
            memory=self._memory(),
            lowering={op: self._lowered(op, parts) for op, parts in data.get("lowering", {}).items()},
            lowering_source=self._cited_if(data, "lowering", "lowering_source"),
            tier=data.get("tier"),
            caveat=str(data.get("caveat", "")),
        )

    def _rule(self, index: int, data: Mapping[str, Any]) -> Rule:
        where = f"rule {index} ({', '.join(map(str, data.get('ops', [])))[:60]})"
        self._only(where, data, {"ops", "when", "limits", "verdict", "otherwise", "source", "note", "precisions"})
        if not data.get("ops"):
            raise self._error(f"{where} has no ops")
        ops, forms = set[str](), set[tuple[str, str]]()
        for word in data["ops"]:
            op, _, form = self._op(where, word).partition("/")
            if form:
                forms.add((op, form))
            else:
                ops |= KNOWN_OPS if op == EVERY else {op}
        return Rule(
            frozenset(ops),
            frozenset(forms),
            self._cited(data, "source", where),
            self._limits(where, data.get("when", {})),
            self._limits(where, data.get("limits", {})),
            self._verdict(where, data.get("verdict", "native")),
            self._verdict(where, data.get("otherwise", "fallback" if self.data.get("fallback") else "rejected")),
            str(data.get("note", "")),
            self._words(where, data.get("precisions", []), ("fp32", "fp16", "int8")),
        )

    def _op(self, where: str, word: object) -> str:
        op, _, form = str(word).partition("/")
        if op != EVERY and op not in KNOWN_OPS:
            raise self._error(f"{where}: {unknown_name('operator', op, KNOWN_OPS)}")
        if form and form not in FORMS:
            raise self._error(f"{where}: {unknown_name('form', form, FORMS)}")
        return str(word)

    def _lowered(self, op: str, parts: Sequence[str]) -> tuple[str, ...]:
        return tuple(self._op(f"lowering of {op}", part) for part in (self._op("lowering", op), *parts))[1:]

    def _limits(self, where: str, data: Mapping[str, Any]) -> tuple[Limit, ...]:
        return tuple(self._limit(where, name, value) for name, value in data.items())

    def _limit(self, where: str, name: str, value: Any) -> Limit:
        if name not in TRAITS:
            raise self._error(f"{where}: {unknown_name('trait', name, TRAITS)}")
        if isinstance(value, list):
            return Limit(name, allowed=tuple(value))
        if not isinstance(value, dict) or not value:
            raise self._error(f"{where}: {name} is {value!r}; write e.g. {{ max = 3 }} or a list of what is allowed")
        self._only(f"{where}, {name}", value, {"min", "max", "multiple"})
        return Limit(name, value.get("min"), value.get("max"), (), int(value.get("multiple", 0)))

    def _memory(self) -> Memory | None:
        data = self._table(self.data, "memory", None)
        if data is None:
            return None
        self._only("memory", data, {"source", "activation_bytes", "weight_bytes", "both_bytes"})
        sizes = {name: int(data[name]) for name in data if name != "source"}
        return Memory(self._cited(data, "source", "memory"), **sizes)

    def _source(self, key: str, data: Mapping[str, Any]) -> Source:
        self._only(f"source {key}", data, {"text", "by", "url"})
        if data.get("by") not in _WITNESSES or not data.get("text"):
            raise self._error(f"source {key} needs a text, and 'by' one of {', '.join(_WITNESSES)}")
        return Source(str(data["text"]), str(data["by"]), str(data.get("url", "")))

    def _cited(self, data: Mapping[str, Any], name: str, where: str) -> Source:
        key = data.get(name)
        if key not in self.sources:
            raise self._error(f"{where} names no source ({name} is {key!r}; there are {', '.join(self.sources)})")
        return self.sources[str(key)]

    def _cited_if(self, data: Mapping[str, Any], name: str, source: str) -> Source | None:
        return self._cited(data, source, name) if name in data else None

    def _words(self, where: str, value: Sequence[str], allowed: Sequence[str]) -> tuple[str, ...]:
        for word in value:
            if word not in allowed:
                raise self._error(f"{where}: {word!r} is not one of {', '.join(allowed)}")
        return tuple(value)

    def _verdict(self, where: str, value: object) -> Verdict:
        for verdict in VERDICTS:
            if verdict == value:
                return verdict
        raise self._error(f"{where}: verdict {value!r} is not one of {', '.join(VERDICTS)}")

    def _only(self, where: str, data: Mapping[str, Any], allowed: set[str]) -> None:
        for name in data:
            if name not in allowed:
                raise self._error(f"{where}: {unknown_name('entry', name, allowed)}")

    @staticmethod
    def _table(data: Mapping[str, Any], name: str, default: Any) -> Any:
        return data.get(name, default)

    def _error(self, text: str) -> UsageError:
        return UsageError(f"{self.path}: {text}." if not text.endswith(".") else f"{self.path}: {text}")
