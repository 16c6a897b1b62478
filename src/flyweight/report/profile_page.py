"""A profile as one HTML page that loads nothing: modules, memory over time, roofline, findings, the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flyweight.profile import Profile
from flyweight.report import _format as fmt
from flyweight.report._curves import memory_curve, roofline_plot
from flyweight.report._html import paragraph, section
from flyweight.report._tree import tree, tree_table
from flyweight.report.page import document, heading, networks
from flyweight.report.picture import counted_costs, drawn, measured_costs
from flyweight.report.value import LayerRow
from flyweight.roofline import Machine, RooflinePoint

LINKS = {
    "modules": "Modules", "memory": "Memory", "roofline": "Roofline", "guidelines": "Guidelines", "advice": "Advice",
    "networks": "Picture", "method": "Meaning",
}  # fmt: skip


@dataclass(frozen=True)
class Profiled:
    """What a profile's page shows.

    Attributes:
        title: the model. input_shape: batch first. rows: its layers. ms: measured median of the whole, if it was.
        how: the runtime, its version and threads, where layers were timed.
        points, machine: the roofline, where it was asked for.
        findings: sentences by the name of a section (``guidelines``, ``advice``). notes: what was counted and measured.
    """

    title: str
    input_shape: tuple[int, ...]
    rows: Sequence[LayerRow]
    profile: Profile
    ms: float | None = None
    how: str = ""
    points: Sequence[RooflinePoint] = ()
    machine: Machine | None = None
    findings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: Sequence[str] = ()


def render_profile(found: Profiled) -> str:
    """Return the page as HTML; all that comes from outside is escaped."""
    live: dict[str, int] = {}
    for row in found.profile.rows:
        live[row.module] = max(live.get(row.module, 0), row.live_bytes)
    hint = "Click a heading to sort, a module to fold. Bars: against the dearest module two names deep."
    sections = "".join(
        (
            section("modules", "Modules", paragraph(hint, "hint"), tree_table(tree(found.rows, live))),
            section("memory", "Memory over time", _card(memory_curve(found.profile.rows), MEMORY)),
            _roofline(found),
            *(section(name, LINKS[name], _list(lines)) for name, lines in found.findings.items() if lines),
            networks({found.title: _picture(found)}),
            section("method", "Meaning", _list(found.notes)),
        )
    )
    return document(found.title, _header(found), LINKS, sections, f"<footer>{fmt.esc(FOOTER)}</footer>")


MEMORY = (
    "Counted: bytes of the tensors that are alive while each operator runs, batch 1, before a runtime fuses anything. "
    "Weights are not in it."
)
FOOTER = "Made by Flyweight. The same figures: flyweight profile --json, --csv, --markdown."


def _header(found: Profiled) -> str:
    counted = found.profile
    figures = [
        (fmt.count(counted.macs), "MACs, counted"),
        (fmt.count(counted.params), "parameters, counted"),
        (f"{fmt.count(counted.peak_activation_bytes)}B", "peak activations, counted"),
    ]
    if found.ms is not None:
        figures.insert(0, (f"{fmt.significant(found.ms)} ms", "one inference, measured"))
    doubts = [note for note in found.notes if note.startswith("doubtful")]
    how = f"Layers: {found.how}." if found.how else "Counted; nothing was measured."
    sentence = " ".join((f"Input {fmt.shape(found.input_shape)}.", how, *doubts))
    return heading("Flyweight profile", found.title, sentence, figures)


def _roofline(found: Profiled) -> str:
    if found.machine is None:
        return ""
    machine = found.machine
    words = (
        f"{machine.hardware}, threads {machine.threads}: peak {machine.peak_gmacs_per_s:.3g} GMAC/s, memory "
        f"{machine.bandwidth_gb_per_s:.3g} GB/s, measured on {machine.date[:10]}. "
        "A disc is a layer, its area its time; "
        "open discs stand left of the ridge, where memory is the limit. Above the slope: the bytes came from caches."
    )
    return section("roofline", "Roofline", _card(roofline_plot(found.points, machine), words))


def _card(plot: str, words: str) -> str:
    caption = f"<figcaption>{fmt.esc(words)}</figcaption>"
    return f'<figure class="card"><div class="wide">{plot}</div>{caption}</figure>' if plot else ""


def _list(lines: Sequence[str]) -> str:
    return f'<ul class="named">{"".join(f"<li>{fmt.esc(line)}</li>" for line in lines)}</ul>' if lines else ""


def _picture(found: Profiled) -> str:
    times = {row.module: row.time_us for row in found.rows if row.time_us}
    graph = found.profile.graph
    costs = measured_costs(graph, times, found.how) if times else counted_costs(found.profile, "macs")
    return drawn(graph, found.title, costs).svg()
