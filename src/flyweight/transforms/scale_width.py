"""Another width for some stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flyweight.spec import ArchSpec, round_channels
from flyweight.transforms._edit import SpecEdit


@dataclass(frozen=True)
class ScaleWidth(SpecEdit):
    """Multiply the output channels of stages by ``factor``, rounded to a multiple of ``divisor``.

    Source: the width multiplier of MobileNets (arXiv 1704.04861, section 3.3), per stage. Inherited channels are the
    first.
    """

    stages: tuple[str, ...]
    factor: float
    divisor: int = 8
    name: ClassVar[str] = "scale_width"

    def edit(self, spec: ArchSpec) -> ArchSpec:
        """Return the spec with the new widths."""
        for name in self.stages:
            spec.stage(name)
        return spec.replace(
            stages=tuple(
                stage.replace(out_channels=round_channels(stage.out_channels * self.factor, self.divisor, self.divisor))
                if stage.name in self.stages
                else stage
                for stage in spec.stages
            )
        )

    def layers(self, spec: ArchSpec) -> tuple[str, ...]:
        """The stages that get another width."""
        return self.stages

    @classmethod
    def example(cls) -> ScaleWidth:
        """Return an instance for MobileNetV1: its run of equal blocks at half width."""
        return cls(stages=tuple(f"conv5_{i}" for i in range(1, 6)), factor=0.5)


MEMBERS = {ScaleWidth.name: ScaleWidth}
