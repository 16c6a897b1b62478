"""CReLU: the same width from half the filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flyweight.spec import ArchSpec
from flyweight.transforms._edit import SpecEdit


@dataclass(frozen=True)
class UseCReLU(SpecEdit):
    """Put concat(relu(x), relu(-x)) behind the last convolution of stages, and give it half the filters.

    ``widen`` multiplies the stages' output channels first: with 2, a stage keeps its filters and doubles its output.
    Source: Shang et al. 2016 (arXiv 1603.05201).
    """

    stages: tuple[str, ...]
    widen: float = 1.0
    name: ClassVar[str] = "crelu"

    def edit(self, spec: ArchSpec) -> ArchSpec:
        """Return the spec with CReLU in those stages."""
        for name in self.stages:
            spec.stage(name)
        return spec.replace(
            stages=tuple(
                stage.replace(out_channels=int(stage.out_channels * self.widen)).with_settings(activation="crelu")
                if stage.name in self.stages
                else stage
                for stage in spec.stages
            )
        )

    def layers(self, spec: ArchSpec) -> tuple[str, ...]:
        """The stages that get CReLU."""
        return self.stages

    @classmethod
    def example(cls) -> UseCReLU:
        """Return an instance for MobileNetV1's run of equal blocks."""
        return cls(stages=tuple(f"conv5_{i}" for i in range(1, 6)))


MEMBERS = {UseCReLU.name: UseCReLU}
