"""Squeeze-and-excitation with another ratio, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from flyweight.errors import TransformError
from flyweight.spec import ArchSpec, StageSpec, Value
from flyweight.transforms._setting_edit import SettingEdit


@dataclass(frozen=True)
class SetSqueezeExcite(SettingEdit):
    """Set the squeeze ratio of stages, by name, or of all that have squeeze-and-excitation; 0 takes it out.

    Stages without it get one only where they are named. What stays of the weights is inherited.

    Source: EfficientNet-Lite leaves squeeze-and-excitation out (tensorflow/tpu models/official/efficientnet/lite).
    """

    ratio: float
    stages: tuple[str, ...] = ()
    name: ClassVar[str] = "set_squeeze_excite"
    word: ClassVar[str] = "squeeze-and-excitation"

    def edit(self, spec: ArchSpec) -> ArchSpec:
        """Return the spec with the new ratios."""
        if not 0 <= self.ratio <= 1:  # NaN is refused too
            raise TransformError(f"ratio is {self.ratio!r}; allowed are ratios from 0 (none) to 1. Most have 0.25.")
        return super().edit(spec)

    def about(self, name: str, value: Value) -> bool:
        """Return whether a setting is the squeeze ratio."""
        return name == "se" and isinstance(value, int | float) and not isinstance(value, bool)

    def changed(self, stage: StageSpec, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the new ratio, where there is one or the stage was named."""
        stays = values["se"] == 0 and stage.name not in self.stages
        return {} if stays else {"se": float(self.ratio)}

    @classmethod
    def example(cls) -> SetSqueezeExcite:
        """Return an instance for MobileNetV3: without it."""
        return cls(ratio=0.0)


MEMBERS = {SetSqueezeExcite.name: SetSqueezeExcite}
