"""What ``flyweight profile`` tells besides its table: roofline, guidelines, and how far the times can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from flyweight.contracts import Candidate
    from flyweight.flow import ModelProfile
    from flyweight.guidelines import Finding
    from flyweight.roofline import Machine, RooflinePoint

F = TypeVar("F", bound=Callable[..., Any])

GUIDELINES = {
    "G1": "equal channel widths: memory access over the least at these MACs",
    "G2": "few groups: memory access over that of an ungrouped convolution",
    "G3": "few parallel branches",
    "G4": "few element-wise operators: their share of the block's memory access",
    "SE": "squeeze-and-excitation: its share of the block's memory access",
    "width": "widths the target computes at once: MACs after padding over MACs",
}


def analysis_options(body: F) -> F:
    """Add the options of this module."""
    options = (
        click.option("--runtime", default="onnxruntime", show_default=True, help="Runtime to measure in."),
        click.option("--strict", is_flag=True, help="Refuse unknown operators, and times of a busy machine."),
        click.option("--roofline", is_flag=True, help="Compare each layer with this machine's peak and bandwidth."),
        click.option("--remeasure", is_flag=True, help="Measure peak and bandwidth again, which are kept on file."),
        click.option("--resolutions", is_flag=True, help="List input sizes that fit: k times the network's stride."),
        click.option("--guidelines", is_flag=True, help="Check the guidelines of ShuffleNetV2 on every layer."),
        click.option(
            "--multiple", type=click.IntRange(1, 1024), default=8, show_default=True,
            help="Channels that the target computes at once, for --guidelines.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        body = option(body)
    return body


@dataclass(frozen=True)
class Asked:
    """The values of this module's options."""

    runtime: str
    strict: bool
    roofline: bool
    remeasure: bool
    resolutions: bool
    guidelines: bool
    multiple: int

    @classmethod
    def of(cls, options: dict[str, Any], timed: bool) -> Asked:
        """Take this module's options out of ``options``.

        Raises:
            UsageError: a roofline is asked for, but no time.
        """
        asked = cls(**{name: options.pop(name) for name in cls.__dataclass_fields__})
        if asked.roofline and not timed:
            raise click.UsageError("--roofline needs a measurement. Leave --no-time out.")
        return asked


class Analysis:
    """Roofline and guidelines of a profiled network, where they were asked for."""

    def __init__(self, asked: Asked, found: ModelProfile) -> None:
        self.asked, self.found = asked, found
        self.machine: Machine | None = None
        self.points: tuple[RooflinePoint, ...] = ()
        self.findings: tuple[Finding, ...] = ()
        if asked.roofline:
            self._measure()
        if asked.guidelines:
            from flyweight.guidelines import guidelines

            self.findings = guidelines(found.profile, asked.multiple)

    def _measure(self) -> None:
        from flyweight.errors import UsageError
        from flyweight.measure.machine import machine
        from flyweight.roofline import roofline

        times = self.found.times
        if times is None:
            raise UsageError(f"--roofline needs times of single layers. {untimed(self.asked.runtime)}")
        self.machine = machine(times.threads, remeasure=self.asked.remeasure)
        self.points = roofline(self.found.profile, times, self.machine)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON, with a key for what was asked for."""
        data: dict[str, Any] = {}
        if self.machine:
            data["roofline"] = {"machine": self.machine.to_json(), "points": [asdict(p) for p in self.points]}
        if self.asked.guidelines:
            data["guidelines"] = [{**asdict(finding), "broken": finding.broken} for finding in self.findings]
        return data

    def print(self, top: int, every: bool) -> None:
        """Print what was asked for; lists have ``top`` rows, or every one."""
        if self.machine:
            self._print_roofline(self.machine, top, every)
        if self.asked.guidelines:
            self._print_guidelines(top, every)

    def _print_roofline(self, machine: Machine, top: int, every: bool) -> None:
        from flyweight.cli._tables import print_table, say
        from flyweight.roofline import explain

        say()
        for line in _machine_lines(machine):
            say(line)
        say()
        total = sum(point.time_us for point in self.points)
        dearest = sorted(self.points, key=lambda point: -point.time_us)
        headers = ("layer", "kind", "ms", "time %", "MACs/byte", "GMAC/s", "of peak", "of roof", "limit")
        print_table(headers, [_point_row(p, machine, total) for p in (self.points if every else dearest[:top])], left=2)
        bound = [point for point in self.points if point.memory_bound]
        share = sum(point.time_us for point in bound) / total if total else 0.0
        say()
        say(f"memory-bound: {len(bound)} of {len(self.points)} layers, {share:.1%} of the time".replace("%", " %"))
        reasons = explain(self.points, self.found.profile, machine)
        if reasons:
            say("far from the peak, and why:")
        for sentence in reasons if every else reasons[:top]:
            say(f"  {sentence}")

    def _print_guidelines(self, top: int, every: bool) -> None:
        from flyweight.cli._tables import print_table, say
        from flyweight.guidelines import LIMITS, broken

        say()
        rows = []
        for name, meaning in GUIDELINES.items():
            own = [finding for finding in self.findings if finding.guideline == name]
            worst = f"{max(finding.figure for finding in own):.2f}" if own else "–"
            kept = f"{sum(not finding.broken for finding in own)} of {len(own)}"
            rows.append((name, kept, worst, f"{LIMITS[name]:.2f}", meaning))  # type: ignore[index]
        print_table(("", "kept", "worst", "limit", "guideline (counted)"), rows, last_is_text=True)
        worst_first = broken(self.findings)
        shown = worst_first if every else _most_of_each(worst_first, top)
        say()
        for finding in shown:
            say(f"  {finding.guideline:5} {finding.layer or '(root)'}: {finding.sentence}")
        if len(shown) < len(worst_first):
            say(f"  … and {len(worst_first) - len(shown)} more; --all lists them.")


def _most_of_each(findings: Sequence[Finding], top: int) -> list[Finding]:
    """Return at most ``top`` of every guideline, in their order."""
    groups = {name: [f for f in findings if f.guideline == name][:top] for name in GUIDELINES}
    return [finding for group in groups.values() for finding in group]


def _machine_lines(machine: Machine) -> list[str]:
    from flyweight.contracts import BUSY

    caches = f", caches {machine.cache_bandwidth_gb_per_s:.3g} GB/s" if machine.cache_bandwidth_gb_per_s else ""
    lines = [
        f"roofline, {machine.threads} thread{'s' * (machine.threads > 1)}: peak {machine.peak_gmacs_per_s:.3g} GMAC/s "
        f"({machine.runtime}), memory {machine.bandwidth_gb_per_s:.3g} GB/s{caches}; ridge at "
        f"{machine.ridge_macs_per_byte:.2g} MACs per byte",
        f"measured: peak and bandwidths on {machine.date[:10]}, {machine.hardware}; ms and GMAC/s now. "
        "counted: MACs/byte",
    ]
    if machine.busy > BUSY:
        lines.append("doubtful: the machine was busy meanwhile. Measure it again: --remeasure")
    return lines


def _point_row(point: RooflinePoint, machine: Machine, total_us: float) -> tuple[str, ...]:
    from flyweight.report._format import percent, significant

    macs = point.macs > 0
    return (
        point.name or "(root)",
        point.kind,
        significant(point.time_us / 1000),
        percent(point.time_us / total_us),
        significant(point.intensity_macs_per_byte) if macs else "–",
        significant(point.gmacs_per_s) if macs else "–",
        percent(point.gmacs_per_s / machine.peak_gmacs_per_s) if macs else "–",
        percent(point.share) if macs else "–",
        "memory" if point.memory_bound else "arithmetic",
    )


def print_resolutions(candidate: Candidate | None, name: str) -> None:
    """Print the input sizes that fit a network, the present one marked.

    Raises:
        UsageError: a file, whose size is settled, or a network that makes no map.
        GraphError: it runs at none of the sizes.
    """
    from flyweight.cli._tables import print_table, say, si
    from flyweight.errors import UsageError
    from flyweight.resolution import resolutions

    if candidate is None:
        raise UsageError(f"{name}: a file's input size is settled. Leave --resolutions out, or name its model.")
    say()
    found = resolutions(candidate.module, candidate.input_shape)
    rows = []
    for each in found:
        height, width = each.map_px
        shown = f"{each.input_px}{' (now)' if each.input_px == candidate.input_shape[2] else ''}"
        rows.append((shown, f"{height}×{width}", f"{each.effective:.1f} of {height * width}", si(each.macs)))
    print_table(("input, px", "last map", "effective pixels", "MACs"), rows, left=0)
    stride = found[0].stride_px
    say(f"counted: the last map has a stride of {stride} px, so sizes that fit are k × {stride}")


# ---- trust ---------------------------------------------------------------------------------------------------------


def busy(found: ModelProfile) -> float:
    """Return how much longer the wall clock ran than on an idle machine, over all that was measured."""
    return max([1.0, *(measured.busy for measured in (found.measurement, found.times) if measured)])


def check_busy(found: ModelProfile) -> None:
    """Refuse times that a busy machine gave.

    Raises:
        MeasurementError: wall clock over CPU time is above BUSY.
    """
    from flyweight.contracts import BUSY
    from flyweight.errors import MeasurementError

    if busy(found) > BUSY:
        raise MeasurementError(
            f"the machine was busy: the wall clock ran {busy(found):.2f} × the CPU time; --strict allows {BUSY:g}. "
            "Stop what else runs and measure again, or leave --strict out."
        )


def time_lines(found: ModelProfile, runtime: str) -> list[str]:
    """Return the lines that say how layers were timed, what of it belongs to none, and whether to doubt it."""
    from flyweight.contracts import BUSY

    lines = []
    if times := found.times:
        told = f"{times.kernels_us:.0f} µs in {len(times.rows)} kernels"
        if times.cpu_us:
            told += f", {100 * times.kernels_us / times.cpu_us:.1f} % of a run's CPU time ({times.cpu_us:.0f} µs)"
        threads = "1 thread" if times.threads == 1 else f"{times.threads} threads"
        lines.append(
            f"measured: layers, medians of {times.n} runs in {times.runtime} {times.runtime_version}, {threads}: {told}"
        )
        share = found.unattributed_us / times.kernels_us if times.kernels_us else 0.0
        lines.append(f"in no layer: {found.unattributed_us:.0f} µs, {100 * share:.1f} % of the kernels' time")
    elif found.measurement:
        lines.append(f"not measured: layers. {untimed(runtime)}")
    if busy(found) > BUSY:
        lines.append(
            f"doubtful: the machine was busy (wall clock {busy(found):.2f} × CPU time; up to {BUSY:g} is well). "
            "Times are too long, and not all by as much."
        )
    return lines


def untimed(runtime: str) -> str:
    """Return why a runtime's layers can't be timed, in a sentence."""
    if runtime == "ncnn":
        return (
            "ncnn's package has no timers, and taking out one layer's result after the other sums to as much as "
            "181 % of the run, so that only the whole network is timed."
        )
    return f"{runtime} doesn't tell the time of single layers, so that only the whole network is timed."
