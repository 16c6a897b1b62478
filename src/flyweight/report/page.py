"""The report as one HTML page: a single file that loads nothing; without scripts, in the dark and on paper too."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from importlib import resources

from flyweight.report import _figures as figures
from flyweight.report import _format as fmt
from flyweight.report import _remarks, _sections, _tables
from flyweight.report._bench import NAME, TITLE, bench_section
from flyweight.report._html import paragraph, section
from flyweight.report.bench_value import Bench
from flyweight.report.value import Report

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
LINKS = {
    "ladder": "Ladder",
    "steps": "Step by step",
    "plots": "Plots",
    "layers": "Layers",
    "tiles": "Test tiles",
    "networks": "Networks",
    "timings": "Timings",
    NAME: TITLE,
    "scores": "Scores",
    "training": "Training",
    "method": "Meaning",
    "notes": "Notes",
}


def render_page(report: Report, pictures: Mapping[str, str] | None = None, bench: Bench | None = None) -> str:
    """Return the whole page as HTML.

    Args:
        report: what is shown; a ladder that is still growing is shown as far as it has got.
        pictures: SVG of networks, by the name of their rung.
        bench: the run's networks in many runtimes, where they were put side by side.
    """
    sections = "".join(
        (
            _sections.ladder(report),
            _sections.steps(report),
            _sections.plots(report),
            _sections.layers(report),
            _sections.tiles(report),
            networks(pictures or {}),
            _tables.timings(report),
            bench_section(bench),
            _tables.scores(report),
            _tables.training(report),
            _tables.method(report),
            _tables.notes(report),
        )
    )
    return document(report.title, _header(report), LINKS, sections, _footer(report))


def document(title: str, header: str, links: Mapping[str, str], sections: str, footer: str) -> str:
    """Return a whole page; ``title`` is text, the rest HTML. ``links``: words by the name of a section."""
    shown = "".join(
        f'<a href="#{name}">{words}</a>' for name, words in links.items() if f'<section id="{name}"' in sections
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{fmt.esc(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{fmt.esc(POLICY)}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" '
        'content="light dark">'
        f"<style>{_own('page.css')}</style></head><body><main>{header}<nav "
        f'aria-label="Sections">{shown}</nav>{sections}'
        f"{footer}</main><script>{_own('page.js')}</script></body></html>\n"
    )


def _own(name: str) -> str:
    """Return a file that lies beside this one: the page's style sheet, or its script, which sorts and folds tables."""
    return (resources.files("flyweight.report") / name).read_text("utf-8")


def _header(report: Report) -> str:
    headline = _remarks.headline(report)
    return heading("Flyweight report", report.title, headline.sentence, headline.figures)


def heading(kicker: str, title: str, sentence: str, figures_and_words: Iterable[tuple[str, str]]) -> str:
    """Return what stands at the top of a page; all is text."""
    items = "".join(
        f"<div><dt>{fmt.esc(words)}</dt><dd>{fmt.esc(figure)}</dd></div>" for figure, words in figures_and_words
    )
    strip = f'<dl class="figures">{items}</dl>' if items else ""
    lede = paragraph(sentence, "lede")
    return f'<header><p class="kicker">{fmt.esc(kicker)}</p><h1>{fmt.esc(title)}</h1>{lede}{strip}</header>'


def networks(pictures: Mapping[str, str]) -> str:
    """Embed the pictures as images, so that nothing in them can run, load or restyle the page."""
    parts = []
    for name, svg in pictures.items():
        data = base64.b64encode(svg.encode("utf-8", "replace")).decode("ascii")
        label = fmt.esc(f"network of {name}")
        parts.append(
            f'<div class="picture" tabindex="0" role="region" aria-label="{label}"><img '
            f'src="data:image/svg+xml;base64,{data}" alt="{label}"></div>'
        )
    hint = paragraph("Every operator that runs, from the traced graph. Wide pictures scroll in their frame.", "hint")
    return section("networks", "The networks", hint, *parts) if parts else ""


def _footer(report: Report) -> str:
    packages = report.environment.get("packages")
    version = packages.get("flyweight") if isinstance(packages, Mapping) else None
    made = f"Made by Flyweight{f' {version}' if version else ''}"
    held = f"{len(figures.ladder(report))} rungs, {len(figures.controls(report))} controls"
    return f"<footer>{fmt.esc(made)}. report.json is the truth; this page is drawn from it: {held}.</footer>"
