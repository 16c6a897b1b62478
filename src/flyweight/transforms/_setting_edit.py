"""What the edits have in common that change one kind of setting wherever a stage's block has it."""

from __future__ import annotations

import abc
from collections import Counter
from collections.abc import Mapping
from typing import ClassVar

from flyweight.blocks import BLOCKS
from flyweight.blocks._layers import StageBuilder
from flyweight.build import stage_builder
from flyweight.errors import TransformError
from flyweight.spec import ArchSpec, StageSpec, Value
from flyweight.transforms._edit import SpecEdit


class SettingEdit(SpecEdit):
    """An edit of settings by their name. Subclasses have a field ``stages``: which; none for all that have one."""

    word: ClassVar[str]  # the setting, as messages and users call it
    stages: tuple[str, ...]

    @abc.abstractmethod
    def changed(self, stage: StageSpec, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the settings of ``stage`` that change, with their new values; ``values`` are those of now.

        Raises:
            TransformError: it can't be; names the stage.
        """

    @abc.abstractmethod
    def about(self, name: str, value: Value) -> bool:
        """Return whether the edit is about a setting, by its name and what it is now."""

    def edit(self, spec: ArchSpec) -> ArchSpec:
        """Return the spec with the new values."""
        for name in self.stages:
            self._check(spec.stage(name), spec)
        if not self.stages and not any(map(self.values, spec.stages)):
            raise TransformError(
                f"spec '{spec.name}': no stage has {self.word} to set. Blocks that have one: {self._blocks()}."
            )
        return spec.replace(stages=tuple(stage.with_settings(**self._changed(stage)) for stage in spec.stages))

    def layers(self, spec: ArchSpec) -> tuple[str, ...]:
        """The stages that change."""
        return tuple(stage.name for stage in spec.stages if self._changed(stage))

    def described(self, spec: ArchSpec) -> str:
        """Return how many stages have which value, e.g. 'kernel: 3 in 12 stages, 5 in 2'."""
        counts = Counter(str(value) for stage in spec.stages for value in self.values(stage).values())
        return f"{self.word}: " + ", ".join(f"{value} in {count}" for value, count in sorted(counts.items()))

    def _changed(self, stage: StageSpec) -> dict[str, Value]:
        values = self.values(stage)
        if (self.stages and stage.name not in self.stages) or not values:
            return {}
        new = self.changed(stage, values)
        return {name: value for name, value in new.items() if value != values_of(stage)[name]}

    def values(self, stage: StageSpec) -> dict[str, Value]:
        """Return the settings of a stage that the edit is about."""
        return {name: value for name, value in values_of(stage).items() if self.about(name, value)}

    def _check(self, stage: StageSpec, spec: ArchSpec) -> None:
        if not self.values(stage):
            having = ", ".join(s.name for s in spec.stages if self.values(s)) or "none"
            raise TransformError(
                f"stage '{stage.name}': its block '{stage.block}' has no {self.word}. Stages that have one: {having}."
            )

    def _blocks(self) -> str:
        builders = sorted(BLOCKS.members.items())
        return ", ".join(
            name
            for name, b in builders
            if isinstance(b, StageBuilder) and any(self.about(*item) for item in b.settings.items())
        )


def values_of(stage: StageSpec) -> dict[str, Value]:
    """Return all settings of a stage that count: its own, else its block's defaults.

    A setting ``se_gate`` is left out where there is a setting ``se`` and it is off.
    """
    values = {**stage_builder(stage).settings, **dict(stage.settings)}
    return {
        name: value for name, value in values.items() if "_" not in name or values.get(name.partition("_")[0], True)
    }
