"""Fewer or more blocks in a row."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from flyweight.build import stage_builder
from flyweight.errors import TransformError
from flyweight.spec import ArchSpec, HeadSpec, StageSpec, Value, settings
from flyweight.transforms._edit import SpecEdit


@dataclass(frozen=True)
class ScaleDepth(SpecEdit):
    """Multiply the number of blocks in every run by ``factor``, rounded up; at least the first stays.

    A run is stages in a row of the same block and width, of which only the first may have a stride. What goes is taken
    from its end; what comes is copies of its last stage, with new weights. A stage alone is a run where it has no
    stride and its block makes longer runs elsewhere, unless it is the first. ``stages``: only the runs that these are
    in; none for all.

    What reads the end of a run (a skip, a head, a cell that reads the stage before its predecessor) reads the new end.

    Source: Tan and Le 2019, EfficientNet (arXiv 1905.11946), section 3.3; rounding as in its efficientnet_model.py.
    """

    factor: float
    stages: tuple[str, ...] = ()
    name: ClassVar[str] = "scale_depth"

    def edit(self, spec: ArchSpec) -> ArchSpec:
        """Return the spec with the new numbers of blocks."""
        if not 0 < self.factor <= 64:  # NaN is refused too
            raise TransformError(f"factor is {self.factor!r}; allowed are numbers above 0, at most 64.")
        names = {stage.name for stage in spec.stages}
        for run in self._runs(spec):
            spec = _resized(spec, run, max(1, math.ceil(round(self.factor * len(run), 9))), names)
        return spec

    def layers(self, spec: ArchSpec) -> tuple[str, ...]:
        """The stages of the runs that change."""
        runs = [run for run in self._runs(spec) if math.ceil(round(self.factor * len(run), 9)) != len(run)]
        return tuple(itertools.chain.from_iterable(runs))

    def _runs(self, spec: ArchSpec) -> list[tuple[str, ...]]:
        found = runs(spec)
        for name in self.stages:
            spec.stage(name)
            if not any(name in run for run in found):
                known = ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else run[0] for run in found) or "none"
                raise TransformError(f"stage '{name}' is in no run of equal blocks. Runs: {known}.")
        if not found:
            raise TransformError(f"spec '{spec.name}': no two stages in a row have the same block and width.")
        return [run for run in found if not self.stages or set(run) & set(self.stages)]

    @classmethod
    def example(cls) -> ScaleDepth:
        """Return an instance for every network with runs of blocks."""
        return cls(factor=0.5)


def runs(spec: ArchSpec) -> list[tuple[str, ...]]:
    """Return the runs of a spec, as names of stages."""
    found: list[list[StageSpec]] = []
    for stage in spec.stages:
        goes_on = found and stage.stride == 1 and _kind(found[-1][0]) == _kind(stage)
        found = [*found[:-1], [*found[-1], stage]] if goes_on else [*found, [stage]]
    repeated = {run[0].block for run in found if len(run) > 1}
    return [
        tuple(stage.name for stage in run)
        for index, run in enumerate(found)
        if len(run) > 1 or (run[0].block in repeated and run[0].stride == 1 and index > 0)
    ]


def _kind(stage: StageSpec) -> tuple[str, int]:
    return stage.block, stage.out_channels


def _resized(spec: ArchSpec, run: Sequence[str], count: int, taken: set[str]) -> ArchSpec:
    """Return the spec with ``count`` stages in a run; ``taken`` are the names in use, and grows."""
    old = [stage.name for stage in spec.stages]
    start, end = old.index(run[0]), old.index(run[0]) + len(run)
    model = spec.stages[end - 1]
    names = [*old[: start + min(count, len(run))], *_fresh(model.name, count - len(run), taken), *old[end:]]
    grown = count - len(run)
    # what stands behind the run reads as far from its end as before
    moved = {name: names[max(old.index(name) + grown, 0)] for name in run}
    return spec.replace(
        stages=(
            *spec.stages[: start + min(count, len(run))],
            *(_copy(model, place, old, names) for place in range(end, end + grown)),
            *(_reading(stage, moved) for stage in spec.stages[end:]),
        ),
        head=_reading_head(spec.head, moved),
    )


def _fresh(name: str, count: int, taken: set[str]) -> list[str]:
    """Return ``count`` new names: the old one with _2, _3 … behind it."""
    found = list(itertools.islice((n for i in itertools.count(2) if (n := f"{name}_{i}") not in taken), max(count, 0)))
    taken.update(found)
    return found


def _copy(model: StageSpec, place: int, old: Sequence[str], names: Sequence[str]) -> StageSpec:
    """Return the copy that stands at ``place``; what the model reads one or two stages back, it reads as far back."""
    back = {name: names[place - distance] for distance in (1, 2) if (name := _before(old, model.name, distance))}
    return _reading(model, back).replace(name=names[place])


def _before(names: Sequence[str], name: str, distance: int) -> str:
    place = names.index(name) - distance
    return names[place] if place >= 0 else ""


def _reading(stage: StageSpec, moved: Mapping[str, str]) -> StageSpec:
    reads = stage_builder(stage).reads
    return stage.with_settings(**{name: _renamed(value, moved) for name, value in stage.settings if name in reads})


def _reading_head(head: HeadSpec, moved: Mapping[str, str]) -> HeadSpec:
    skips = tuple(
        skip if skip.source not in moved else type(skip)(moved[skip.source], skip.target) for skip in head.skips
    )
    chosen = settings(**{name: _renamed(value, moved) for name, value in head.settings})
    return head.replace(skips=skips, settings=chosen)


def _renamed(value: Value, moved: Mapping[str, str]) -> Value:
    """Return a setting with stages' names replaced, inside lists too."""
    if isinstance(value, tuple):
        return tuple(_renamed(item, moved) for item in value)
    return moved.get(value, value) if isinstance(value, str) else value


MEMBERS = {ScaleDepth.name: ScaleDepth}
