"""Small pieces of HTML: tables, sections, lists of facts. Everything that comes from outside is escaped here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flyweight.report import _format as fmt

_IMAGE = re.compile(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/]+={0,2}")


@dataclass(frozen=True)
class Cell:
    """One cell; ``sort`` is what the table is sorted by, ``kind`` a class of the style sheet, ``flag`` marks it."""

    text: str
    sort: float | None = None
    kind: str = ""
    flag: bool = False


@dataclass(frozen=True)
class Head:
    """One column's head; ``group`` names what it is: counted, measured, or nothing. ``about`` explains it."""

    title: str
    group: str = ""
    left: bool = False
    about: str = ""


def table(caption: str, heads: Sequence[Head], rows: Iterable[tuple[str, Sequence[Cell]]]) -> str:
    """Return a sortable table in its own scroll container; every row is (class, cells), its first cell is its head."""
    body = "".join(f"<tr{_class(kind)}>{_cells(cells)}</tr>" for kind, cells in rows)
    titles = "".join(
        f'<th scope="col"{_class("t" if head.left else "")}{_about(head)}>{_lines(head.title)}</th>' for head in heads
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{fmt.esc(caption)}"><table class="sortable">'
        f"<caption>{fmt.esc(caption)}</caption><thead>{_groups(heads)}<tr>{titles}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _about(head: Head) -> str:
    return f' title="{fmt.esc(head.about)}"' if head.about else ""


def _lines(title: str) -> str:
    return fmt.esc(title).replace("\n", "<br>")


def _groups(heads: Sequence[Head]) -> str:
    """Return a row that says of neighbouring columns what they are; nothing where no column says so."""
    if not any(head.group for head in heads):
        return ""
    runs: list[tuple[str, int]] = []
    for head in heads:
        if runs and runs[-1][0] == head.group:
            runs[-1] = (head.group, runs[-1][1] + 1)
        else:
            runs.append((head.group, 1))
    cells = (
        f'<th scope="colgroup" colspan="{n}"><span>{fmt.esc(g)}</span></th>' if g else f'<td colspan="{n}"></td>'
        for g, n in runs
    )
    return f'<tr class="kinds">{"".join(cells)}</tr>'


def _cells(cells: Sequence[Cell]) -> str:
    parts = []
    for i, cell in enumerate(cells):
        tag = 'th scope="row"' if i == 0 else "td"
        kind = " ".join(filter(None, (cell.kind, "flag" if cell.flag else "")))
        value = (
            ""
            if cell.sort is None and cell.text != fmt.MISSING
            else f' data-v="{"" if cell.sort is None else repr(cell.sort)}"'
        )
        parts.append(f"<{tag}{_class(kind)}{value}>{fmt.esc(cell.text)}</{tag[:2]}>")
    return "".join(parts)


def section(name: str, title: str, *content: str) -> str:
    """Return a section with a heading; '' where there is no content. ``content`` is HTML, ``title`` is text."""
    inner = "".join(content)
    return (
        f'<section id="{name}" aria-labelledby="{name}-h"><h2 id="{name}-h">{fmt.esc(title)}</h2>{inner}</section>'
        if inner
        else ""
    )


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of escaped text."""
    return f"<p{_class(kind)}>{fmt.esc(text)}</p>" if text else ""


def facts(items: Iterable[tuple[str, str, str]]) -> str:
    """Return a list of (term, kind, text)."""
    rows = "".join(
        f"<dt>{fmt.esc(term)}{f' <small>{fmt.esc(kind)}</small>' if kind else ''}</dt><dd>{fmt.esc(text)}</dd>"
        for term, kind, text in items
    )
    return f'<dl class="facts">{rows}</dl>' if rows else ""


def plain(value: object, depth: int = 0) -> str:
    """Return any JSON value in words; numbers with up to six digits."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(item, depth + 1)}" for key, item in value.items()) if depth < 3 else "…"
    if isinstance(value, list | tuple):
        return (
            ", ".join(f"({plain(v, depth + 1)})" if isinstance(v, list | tuple) else plain(v, depth + 1) for v in value)
            if depth < 3
            else "…"
        )
    if isinstance(value, float):
        return f"{value:.6g}"
    return (
        {True: "yes", False: "no"}[value] if isinstance(value, bool) else fmt.MISSING if value is None else str(value)
    )


def image(uri: str, alt: str) -> str:
    """Return an image from a data URI; anything else, an address above all, is not loaded."""
    if not _IMAGE.fullmatch(uri):
        return '<span class="absent">no picture</span>'
    return f'<img src="{uri}" alt="{fmt.esc(alt)}">'
