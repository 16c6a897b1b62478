"""Another expansion inside inverted residuals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from flyweight.errors import TransformError
from flyweight.spec import ArchSpec, StageSpec, Value
from flyweight.transforms._setting_edit import SettingEdit


@dataclass(frozen=True)
class SetExpansion(SettingEdit):
    """Set the expansion ratio (channels inside over input channels) of stages, by name, or of all that expand.

    Stages whose ratio is 1 have no expansion layer; they get one only where they are named. Inherited channels are the
    first.

    Source: Sandler et al. 2018, MobileNetV2 (arXiv 1801.04381), section 3.3: the expansion as a setting.
    """

    expand: float
    stages: tuple[str, ...] = ()
    name: ClassVar[str] = "set_expansion"
    word: ClassVar[str] = "expand"

    def edit(self, spec: ArchSpec) -> ArchSpec:
        """Return the spec with the new ratios."""
        if not 0 < self.expand <= 64:  # NaN is refused too
            raise TransformError(
                f"expand is {self.expand!r}; allowed are ratios above 0, at most 64. Most have 3 to 6."
            )
        return super().edit(spec)

    def about(self, name: str, value: Value) -> bool:
        """Return whether a setting is the expansion ratio."""
        return name == "expand"

    def changed(self, stage: StageSpec, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the new ratio, where there is one."""
        stays = values["expand"] == 1 and stage.name not in self.stages
        return {} if stays else {"expand": float(self.expand)}

    @classmethod
    def example(cls) -> SetExpansion:
        """Return an instance for MobileNetV2, whose ratio is 6."""
        return cls(expand=4.0)


MEMBERS = {SetExpansion.name: SetExpansion}
