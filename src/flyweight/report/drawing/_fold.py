"""Less to draw: modules below a depth as one box each, and equal modules one behind the other drawn once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from flyweight.report.drawing._fuse import WEIGHTED
from flyweight.report.drawing._units import Diagram, Group, Part, Unit, units_in


def to_depth(found: Diagram, depth: int) -> Diagram:
    """Return the diagram with every module below ``depth`` names as one unit; 0 leaves all as it is."""
    if depth < 1:
        return found
    readers = _unit_readers(found)
    return replace(found, root=_cut(found.root, depth, readers))


def _unit_readers(found: Diagram) -> Mapping[str, list[Unit]]:
    readers: dict[str, list[Unit]] = {}
    for unit in found.units:
        for name in unit.inputs:
            readers.setdefault(name, []).append(unit)
    return readers


def _cut(group: Group, depth: int, readers: Mapping[str, list[Unit]]) -> Group:
    children: list[Part] = []
    for child in group.children:
        if isinstance(child, Unit):
            children.append(child)
        elif child.path.count(".") + 1 >= depth:
            children.append(_as_unit(child, readers))
        else:
            children.append(_cut(child, depth, readers))
    return replace(group, children=tuple(children))


def _as_unit(group: Group, readers: Mapping[str, list[Unit]]) -> Unit:
    units = list(units_in(group))
    own = {id(unit) for unit in units}
    made = {name for unit in units for name in unit.outputs}
    inputs = tuple(dict.fromkeys(name for unit in units for name in unit.inputs if name not in made))
    outputs = tuple(
        name for unit in units for name in unit.outputs if any(id(r) not in own for r in readers.get(name, ()))
    )
    names = _counted(unit.words for unit in units if any(node.op in WEIGHTED for node in unit.nodes))
    nodes = tuple(node for unit in units for node in unit.nodes)
    last = units[-1].outputs[-1:]
    return Unit(
        f"{len(units)} layers", names, group.path, group.path.rpartition(".")[0], nodes, inputs, outputs or last
    )


def _counted(words: Iterable[str]) -> str:
    """Return the kinds of operators, without their channels, each counted: ``2 × 1×1 conv · 3×3 depthwise conv``."""
    counts: dict[str, int] = {}
    for text in words:
        kind = text.partition(",")[0]
        counts[kind] = counts.get(kind, 0) + 1
    return " · ".join(f"{n} × {kind}" if n > 1 else kind for kind, n in counts.items())


def folded(found: Diagram) -> Diagram:
    """Return the diagram with equal modules that stand one behind the other drawn once, with their number."""
    renamed: dict[str, str] = {}
    root = _folded(found.root, found, _unit_readers(found), renamed)
    return replace(found, root=_renamed(root, renamed))


def _folded(group: Group, found: Diagram, readers: Mapping[str, list[Unit]], renamed: dict[str, str]) -> Group:
    children: list[Part] = []
    run: list[Group] = []
    for child in (*group.children, None):
        if run and not (isinstance(child, Group) and _repeats(run[-1], child, found, readers)):
            children.append(_folded(_merged(run, renamed), found, readers, renamed))
            run = []
        if isinstance(child, Group):
            run.append(child)
        elif child is not None:
            children.append(child)
    return replace(group, children=tuple(children))


def _repeats(first: Group, second: Group, found: Diagram, readers: Mapping[str, list[Unit]]) -> bool:
    """Whether ``second`` is ``first`` once more, and reads nothing but what ``first`` alone hands on to it."""
    if _signature(first, found) != _signature(second, found):
        return False
    own = {id(unit) for unit in units_in(second)}
    entering, leaving = _crossing(second)[0], _leaving(first, readers)
    return entering == leaving and all(id(reader) in own for name in leaving for reader in readers.get(name, ()))


def _crossing(group: Group) -> tuple[tuple[str, ...], set[str]]:
    units = list(units_in(group))
    made = {name for unit in units for name in unit.outputs}
    return tuple(dict.fromkeys(name for unit in units for name in unit.inputs if name not in made)), made


def _leaving(group: Group, readers: Mapping[str, list[Unit]]) -> tuple[str, ...]:
    own = {id(unit) for unit in units_in(group)}
    made = [name for unit in units_in(group) for name in unit.outputs]
    return tuple(name for name in made if any(id(reader) not in own for reader in readers.get(name, ())))


def _signature(group: Group, found: Diagram) -> tuple[object, ...]:
    """Return what two equal modules have in common: words, shapes, wiring, and the names within."""
    number: dict[str, int] = {}
    rows: list[object] = []
    for unit in units_in(group):
        wired = tuple(number.setdefault(name, len(number)) for name in (*unit.inputs, *unit.outputs))
        shapes = tuple(found.shapes[name] for name in (*unit.inputs, *unit.outputs))
        own = unit.path.removeprefix(group.path), unit.group.removeprefix(group.path)
        rows.append((unit.words, unit.notes, own, wired, shapes, unit.times))
    return tuple(rows)


def _merged(run: Sequence[Group], renamed: dict[str, str]) -> Group:
    if len(run) == 1:
        return run[0]
    others = [list(units_in(group)) for group in run[1:]]
    for members in others:
        for unit, first in zip(members, units_in(run[0]), strict=True):
            renamed.update(zip(unit.outputs, first.outputs, strict=True))
    columns = iter(zip(*others, strict=True))
    return replace(_gathered(run[0], columns, len(run)), times=len(run), last=run[-1].path)


def _gathered(group: Group, others: Iterator[tuple[Unit, ...]], times: int) -> Group:
    """Return ``group`` with the nodes of the units that it stands for added to its own."""
    children: list[Part] = []
    for child in group.children:
        if isinstance(child, Group):
            children.append(_gathered(child, others, times))
        else:
            nodes = (*child.nodes, *(node for unit in next(others) for node in unit.nodes))
            children.append(replace(child, nodes=nodes, times=child.times * times))
    return replace(group, children=tuple(children))


def _renamed(group: Group, renamed: Mapping[str, str]) -> Group:
    """Return the tree with the tensors of modules that are not drawn replaced by those of the one that is."""

    def final(name: str) -> str:
        while name in renamed:
            name = renamed[name]
        return name

    children: list[Part] = []
    for child in group.children:
        if isinstance(child, Group):
            children.append(_renamed(child, renamed))
        else:
            children.append(replace(child, inputs=tuple(dict.fromkeys(map(final, child.inputs)))))
    return replace(group, children=tuple(children))
