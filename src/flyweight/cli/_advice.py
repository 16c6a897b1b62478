"""Advice in the terminal: the findings as a table, why, and what was measured beside what was predicted."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flyweight.cli._tables import print_table, say, si

if TYPE_CHECKING:
    from flyweight.advise import Advice, Finding
    from flyweight.verify import Verified

RISKS = {"none": "exact", "images": "calibrate", "retrain": "retrain"}


def print_findings(title: str, advice: Advice, findings: Sequence[Finding]) -> None:
    """Print findings, what each would buy, and below the reasons."""
    say(
        f"{title}: {advice.time_ms:.3g} ms measured; {si(advice.macs)} MACs and {si(advice.weight_bytes)}B of weights "
        "counted"
    )
    say()
    if not findings:
        say("No edit is known that would buy time here.")
        return
    print_table(
        ["", "edit", "ms saved", "90 %", "MACs saved", "weights saved", "accuracy"],
        [_row(index, finding) for index, finding in enumerate(findings, 1)], left=2, last_is_text=True,
    )  # fmt: skip
    say()
    for index, finding in enumerate(findings, 1):
        say(f"{index:>2}  {'for accuracy: ' * finding.wins}{finding.reason}")
    say()
    say("ms saved: estimated from the measured layers, with its 90 % interval, and each edit alone; MACs and weights:")
    say("counted. retrain: the edited network must be trained again; calibrate: int8 needs sample images; exact: the")
    say("outputs stay equal.")


def _row(index: int, finding: Finding) -> list[str]:
    return [
        str(index), finding.words, signed(finding.gain_ms), f"{signed(finding.low_ms)} to {signed(finding.high_ms)}",
        _si(finding.macs), _si(finding.bytes) + "B", RISKS[finding.risk],
    ]  # fmt: skip


def signed(value: float) -> str:
    """Return milliseconds with three digits; the minus is one that can't be taken for a dash."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}".replace("-", "−")


def _si(value: int) -> str:
    return ("−" if value < 0 else "") + si(abs(value)) + ("" if abs(value) >= 999.5 else " ")


def print_verified(found: Sequence[Verified]) -> None:
    """Print predicted beside measured, and the sums."""
    print_table(
        ["", "edit", "predicted ms", "90 %", "measured ms", "off by", "sign"],
        [_checked(index, each) for index, each in enumerate(found, 1)], left=2, last_is_text=True,
    )  # fmt: skip
    done = [each for each in found if not each.failed]
    say()
    for each in found:
        if each.failed:
            say(f"not measured: {each.finding.words}: {each.failed}")
    if done:
        right = sum(each.sign_right for each in done)
        say(
            f"sign right in {right} of {len(done)}; median error of the predicted gain "
            f"{statistics.median(each.error for each in done):.0%}; {sum(each.inside for each in done)} of {len(done)} "
            "inside the interval"
        )
    if doubts := {each.doubt for each in done if each.doubt}:
        say(f"the machine was {' and '.join(sorted(doubts))}: measure again on a quiet one")
    say("measured: side by side with the original in fresh processes; untrained, since time does not depend on weights")


def _checked(index: int, each: Verified) -> list[str]:
    finding = each.finding
    interval = f"{signed(finding.low_ms)} to {signed(finding.high_ms)}"
    if each.failed:
        return [str(index), finding.words, signed(finding.gain_ms), interval, "–", "–", "not measured"]
    return [
        str(index), finding.words, signed(finding.gain_ms), interval, signed(each.measured_ms), f"{each.error:.0%}",
        "right" if each.sign_right else "WRONG",
    ]  # fmt: skip


def as_json(
    title: str, advice: Advice, findings: Sequence[Finding], found: Sequence[Verified] | None
) -> dict[str, Any]:
    """Return advice as plain data."""
    items = [each.to_json() for each in found] if found is not None else [finding.to_json() for finding in findings]
    return {
        "name": title, "measured": {"time_ms": advice.time_ms},
        "counted": {"macs": advice.macs, "weight_bytes": advice.weight_bytes}, "findings": items,
    }  # fmt: skip
