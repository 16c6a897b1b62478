"""Fewer stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flyweight.errors import TransformError
from flyweight.spec import ArchSpec
from flyweight.transforms._edit import SpecEdit


@dataclass(frozen=True)
class DropBlocks(SpecEdit):
    """Take stages out, by name. The stage behind a gap keeps the weights that still fit.

    Skips whose source is dropped, or would no longer meet their decoder stage, are an error: drop or re-add them first.
    """

    stages: tuple[str, ...]
    name: ClassVar[str] = "drop_blocks"

    def edit(self, spec: ArchSpec) -> ArchSpec:
        """Return the spec without the stages."""
        for name in self.stages:
            spec.stage(name)
        if orphan := [skip.source for skip in spec.head.skips if skip.source in self.stages]:
            raise TransformError(f"stage '{orphan[0]}' feeds a skip and can't be dropped. Remove the skip first.")
        return spec.replace(stages=tuple(stage for stage in spec.stages if stage.name not in self.stages))

    def layers(self, spec: ArchSpec) -> tuple[str, ...]:
        """The stages that go."""
        return self.stages

    @classmethod
    def example(cls) -> DropBlocks:
        """Return an instance for MobileNetV1: its last two blocks."""
        return cls(stages=("conv5_6", "conv6"))


MEMBERS = {DropBlocks.name: DropBlocks}
