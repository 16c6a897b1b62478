"""A network's layers as a tree of modules, and the table that shows it: foldable, sortable, with bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flyweight.report import _format as fmt
from flyweight.report.value import LayerRow


@dataclass
class Module:
    """A module with all that is in it.

    Attributes:
        name: its own part of the path. own: the row of the module itself, where it has one.
        live_bytes: the most activations that are alive while something in it runs.
    """

    path: str
    name: str
    own: LayerRow | None = None
    macs: int = 0
    params: int = 0
    time_us: float | None = None
    live_bytes: int = 0
    children: dict[str, Module] = field(default_factory=dict)


def tree(rows: Sequence[LayerRow], live_bytes: Mapping[str, int]) -> Module:
    """Return the root: sums of MACs, parameters and times, and the peak of live activations, module by module."""
    root = Module("", "")
    for row in rows:
        parts = [part for part in row.module.split(".") if part]
        chain = [root]
        for depth, part in enumerate(parts, 1):
            here = ".".join(parts[:depth])
            chain.append(chain[-1].children.setdefault(part, Module(here, part)))
        for module in chain:
            module.macs += row.macs
            module.params += row.params
            module.live_bytes = max(module.live_bytes, live_bytes.get(row.module, 0))
            if row.time_us is not None:
                module.time_us = (module.time_us or 0.0) + row.time_us
        chain[-1].own = row
    return root


@dataclass(frozen=True)
class _Column:
    title: str
    kind: str
    value: Callable[[Module], float | None]
    text: Callable[[float], str]


def tree_table(root: Module, open_to: int = 1) -> str:
    """Return the table; modules deeper than ``open_to`` are folded at first, where scripts run."""
    columns = [
        _Column("MACs", "counted", lambda m: m.macs, fmt.count),
        _Column("parameters", "counted", lambda m: m.params, fmt.count),
        _Column("live activations", "counted", lambda m: m.live_bytes, lambda v: f"{fmt.count(v)}B"),
    ]
    if root.time_us is not None:
        columns.insert(0, _Column("µs", "measured", lambda m: m.time_us, fmt.significant))
    heads = "".join(f'<th scope="col">{c.title}<br><small>{c.kind}</small></th>' for c in columns)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Modules">'
        f'<table class="tree" data-open="{open_to}"><thead><tr><th scope="col" class="t">module</th>'
        f'<th scope="col" class="t">operator</th><th scope="col" class="t">output</th>{heads}</tr></thead>'
        f"<tbody>{''.join(_rows(root, columns))}</tbody></table></div>"
    )


def _rows(root: Module, columns: Sequence[_Column]) -> Iterator[str]:
    tops = root.children.values()
    compared = [below for top in tops for below in top.children.values()] or list(tops)
    most = [max((column.value(m) or 0.0 for m in compared), default=0.0) for column in columns]

    def below(module: Module, depth: int) -> Iterator[str]:
        for child in module.children.values():
            yield _row(child, depth, columns, most)
            yield from below(child, depth + 1)

    if root.own:  # what runs in the network itself
        yield _row(Module("", "(root)", root.own, root.own.macs, root.own.params, root.own.time_us), 0, columns, most)
    yield from below(root, 0)


def _row(module: Module, depth: int, columns: Sequence[_Column], most: Sequence[float]) -> str:
    own = module.own
    cells = "".join(_cell(c, c.value(module), top) for c, top in zip(columns, most, strict=True))
    operator = fmt.esc(own.op) if own and not module.children else ""
    shape = fmt.shape(own.output_shape) if own and not module.children else ""
    indent = f"padding-left:{26 + 16 * depth}px"
    return (
        f'<tr data-depth="{depth}"><th scope="row" title="{fmt.esc(module.path)}" style="{indent}">'
        f'{fmt.esc(module.name)}</th><td class="t">{operator}</td><td class="t">{shape}</td>{cells}</tr>'
    )


def _cell(column: _Column, value: float | None, most: float) -> str:
    if value is None:
        return f'<td data-v="">{fmt.MISSING}</td>'
    share = min(100.0, 100 * value / most) if most else 0.0
    bar = f'<i class="share {column.kind}" style="width:{share:.1f}%"></i>' if share >= 0.05 else ""
    return f'<td data-v="{value!r}">{bar}{column.text(value)}</td>'
