"""Limits as options: how they are read, and what happens when one is exceeded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from flyweight.budget import Budget, Verdict
    from flyweight.compare import Comparison
    from flyweight.flow import ModelProfile

F = TypeVar("F", bound=Callable[..., Any])


def _reader(name: str) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """Return a callback that reads an option by a function of ``flyweight.budget``; wrong text is wrong use."""

    def read(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
        if value is None:
            return None
        from flyweight import budget
        from flyweight.errors import UsageError

        try:
            return getattr(budget, name)(value)
        except UsageError as error:
            raise click.BadParameter(str(error), ctx, param) from error

    return read


count = _reader("read_count")
size = _reader("read_bytes")
percentage = _reader("read_percent")


def budget_options(body: F) -> F:
    """Add the options that limit what a network may cost; each is exceeded with exit code 3."""
    options = (
        click.option("--max-macs", callback=count, help="Exit with 3 above so many MACs: 300M."),
        click.option("--max-params", callback=count, help="Exit with 3 above so many parameters: 3.5M."),
        click.option("--max-bytes", callback=size, help="Exit with 3 above this size of the weights: 6MB."),
        click.option("--max-peak", callback=size, help="Exit with 3 above this peak of activations: 512KiB."),
        click.option("--max-ms", type=click.FloatRange(min=0, min_open=True), help="Exit with 3 above this time, ms."),
    )
    for option in reversed(options):
        body = option(body)
    return body


def budget_of(limits: Mapping[str, Any], timed: bool) -> Budget:
    """Return the budget that the options of a command set; a limit on a time that isn't measured is wrong use."""
    from flyweight.budget import Budget

    if limits["max_ms"] is not None and not timed:
        raise click.UsageError("--max-ms needs a measurement. Leave --no-time out.")
    return Budget(limits["max_macs"], limits["max_params"], limits["max_bytes"], limits["max_peak"], limits["max_ms"])


def judged(found: ModelProfile, budget: Budget) -> tuple[Verdict, ...]:
    """Return the verdicts on a profiled network."""
    from flyweight.budget import Figures, check

    profile, timing = found.profile, found.measurement
    figures = Figures(
        macs=found.macs, params=found.params, weight_bytes=profile.param_bytes, peak_bytes=found.peak_activation_bytes,
        uncounted=len(profile.unknown), median_ms=timing.median_ms if timing else None,
        doubt=timing.doubt if timing else "",
    )  # fmt: skip
    return check(budget, figures)


def relative(found: Comparison, slower: float | None, larger: float | None, doubt: str) -> tuple[Verdict, ...]:
    """Return the verdicts on how much slower and larger than the first the second network is, in percent."""
    from flyweight.budget import DOUBTS, more

    a, b = found.total_a, found.total_b
    verdicts = []
    if slower is not None:
        note = DOUBTS.get(doubt, "")
        verdicts.append(more("more time", "measured", a.time_ms or 0.0, b.time_ms or 0.0, slower, note))
    if larger is not None:
        verdicts.append(more("more weights", "counted", a.param_bytes, b.param_bytes, larger))
    return tuple(verdicts)


def enforce(verdicts: Sequence[Verdict]) -> None:
    """Print the verdicts on stdout.

    Raises:
        OverBudgetError: a limit is exceeded; names them.
    """
    from flyweight.errors import OverBudgetError

    for verdict in verdicts:
        click.echo(verdict.line)
    if over := [verdict.name for verdict in verdicts if not verdict.holds]:
        raise OverBudgetError(f"over budget: {', '.join(over)}.")
