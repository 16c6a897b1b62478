"""Another input resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flyweight.spec import ArchSpec
from flyweight.transforms._edit import SpecEdit


@dataclass(frozen=True)
class ResizeInput(SpecEdit):
    """Set the input's height and width in pixels. All weights are inherited."""

    height: int
    width: int
    name: ClassVar[str] = "resize_input"

    def edit(self, spec: ArchSpec) -> ArchSpec:
        """Return the spec at the new resolution."""
        size = type(spec.input)(height=self.height, width=self.width, channels=spec.input.channels)
        return spec.replace(input=size)

    def layers(self, spec: ArchSpec) -> tuple[str, ...]:
        """Every stage works at another size."""
        return tuple(stage.name for stage in spec.stages)

    @classmethod
    def example(cls) -> ResizeInput:
        """Return an instance that every zoo network allows."""
        return cls(height=96, width=96)


MEMBERS = {ResizeInput.name: ResizeInput}
