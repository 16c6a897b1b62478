"""Limits on what a network may cost, and a verdict for each: check(budget, figures) -> Verdict lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from flyweight.errors import UsageError

Kind: TypeAlias = Literal["counted", "measured"]

_SI = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_BYTES = {
    "": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}  # fmt: skip
_NUMBER = r"(\d{1,15}(?:\.\d{1,15})?)"


@dataclass(frozen=True)
class Budget:
    """What a network may cost; None sets no limit.

    Attributes:
        max_macs, max_params: counted, batch 1.
        max_weight_bytes: counted, of all parameters as they are stored.
        max_peak_bytes: counted, of live activations.
        max_ms: measured, median of one inference.
    """

    max_macs: int | None = None
    max_params: int | None = None
    max_weight_bytes: int | None = None
    max_peak_bytes: int | None = None
    max_ms: float | None = None

    @property
    def empty(self) -> bool:
        """Whether there is no limit at all."""
        return self == Budget()


@dataclass(frozen=True)
class Figures:
    """What a network costs.

    Attributes:
        uncounted: operators without a formula, so that MACs are a lower bound.
        median_ms: measured; None where it was not. doubt: 'busy' or 'unsteady' where it is to be read with care.
    """

    macs: int
    params: int
    weight_bytes: int
    peak_bytes: int
    uncounted: int = 0
    median_ms: float | None = None
    doubt: str = ""


@dataclass(frozen=True)
class Verdict:
    """One limit and whether it is kept."""

    name: str
    kind: Kind
    value: float
    limit: float
    unit: str
    holds: bool
    note: str = ""

    @property
    def line(self) -> str:
        """The verdict in words."""
        share = f" ({self.value / self.limit:.0%} of it)" if self.limit and self.value >= 0 else ""
        word = "kept" if self.holds else "EXCEEDED"
        note = f"; {self.note}" if self.note else ""
        value, limit = _text(self.value, self.unit), _text(self.limit, self.unit)
        return f"{word}: {self.name} {value}, limit {limit}{share}, {self.kind}{note}"


def check(budget: Budget, figures: Figures) -> tuple[Verdict, ...]:
    """Return a verdict for each limit of ``budget``, in its order.

    Raises:
        UsageError: a limit on the time, and no time was measured.
    """
    return tuple(_verdicts(budget, figures))


def _verdicts(budget: Budget, figures: Figures) -> Iterator[Verdict]:
    if budget.max_macs is not None:
        note = f"{figures.uncounted} operators have no formula, so that there are more" if figures.uncounted else ""
        held = figures.macs <= budget.max_macs and not figures.uncounted
        yield Verdict("MACs", "counted", figures.macs, budget.max_macs, "", held, note)
    counted = (
        ("parameters", figures.params, budget.max_params, ""),
        ("weights", figures.weight_bytes, budget.max_weight_bytes, "B"),
        ("peak activations", figures.peak_bytes, budget.max_peak_bytes, "B"),
    )
    for name, value, limit, unit in counted:
        if limit is not None:
            yield Verdict(name, "counted", value, limit, unit, value <= limit)
    if budget.max_ms is not None:
        if figures.median_ms is None:
            raise UsageError("a limit on the time needs a measurement. Leave --no-time out, or the limit.")
        note = DOUBTS.get(figures.doubt, "")
        yield Verdict(
            "time", "measured", figures.median_ms, budget.max_ms, "ms", figures.median_ms <= budget.max_ms, note
        )


DOUBTS = {
    "busy": "the machine was busy: measure again on a quiet one",
    "unsteady": "the time was unsteady: measure again on a quiet machine",
}


def more(name: str, kind: Kind, before: float, after: float, percent: float, note: str = "") -> Verdict:
    """Return the verdict on a limit of how many percent ``after`` may be above ``before``.

    Raises:
        UsageError: there is nothing to compare with.
    """
    if before <= 0:
        raise UsageError(f"{name} of the first model is {before:g}; a limit in percent needs a positive number.")
    return Verdict(name, kind, (after / before - 1) * 100, percent, "%", after <= before * (1 + percent / 100), note)


def _text(value: float, unit: str) -> str:
    if unit in ("ms", "%"):
        return f"{value:.3g} {unit}"
    for factor, prefix in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if abs(value) >= factor:
            return f"{value / factor:.4g}{prefix}{unit}"
    return f"{value:.0f} {unit}".rstrip()


def read_count(text: str) -> int:
    """Read a number that may have an SI prefix: 300M, 3.5M, 500k.

    Raises:
        UsageError: it is none.
    """
    match = re.fullmatch(rf"{_NUMBER}([kMG]?)", text, re.ASCII)
    if match is None:
        raise UsageError(f"'{text}' is not a number such as 300M, 3.5M or 500k (k: thousand, M: million, G: 10^9).")
    return round(float(match[1]) * _SI[match[2]])


def read_bytes(text: str) -> int:
    """Read a size: 6MB (10^6 bytes each), 512KiB (2^10 bytes each), 100000.

    Raises:
        UsageError: it is none.
    """
    match = re.fullmatch(rf"{_NUMBER} ?([kKMG]?i?B|)", text, re.ASCII)
    if match is None or match[2] not in _BYTES:
        raise UsageError(f"'{text}' is not a size such as 6MB, 512KiB or 100000 (kB, MB, GB: powers of 1000).")
    return round(float(match[1]) * _BYTES[match[2]])


def read_percent(text: str) -> float:
    """Read a share in percent: 5%, 0.5%, 5.

    Raises:
        UsageError: it is none.
    """
    match = re.fullmatch(rf"{_NUMBER} ?%?", text, re.ASCII)
    if match is None:
        raise UsageError(f"'{text}' is not a percentage such as 5% or 0.5%.")
    return float(match[1])
