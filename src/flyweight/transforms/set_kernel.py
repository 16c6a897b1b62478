"""Another kernel size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from flyweight.blocks._layers import AS_SPEC
from flyweight.errors import TransformError
from flyweight.spec import ArchSpec, StageSpec, Value
from flyweight.transforms._setting_edit import SettingEdit


@dataclass(frozen=True)
class SetKernel(SettingEdit):
    """Set the kernel of stages, by name, or of all whose kernel is larger than 1×1.

    Where a stage gives its own padding, that changes too, so that every map keeps its size. Inherited weights are the
    middle of the kernel; taps around it start at zero, so that a larger kernel computes what the smaller one did.

    Source: the elastic kernels of Cai et al. 2020, Once-for-All (arXiv 1908.09791), section 3.3.
    """

    kernel: int
    stages: tuple[str, ...] = ()
    name: ClassVar[str] = "set_kernel"
    word: ClassVar[str] = "kernel"

    def edit(self, spec: ArchSpec) -> ArchSpec:
        """Return the spec with the new kernels."""
        if not 1 <= self.kernel <= 31 or self.kernel % 2 == 0:
            raise TransformError(f"kernel is {self.kernel}; allowed are the odd numbers from 1 to 31.")
        return super().edit(spec)

    def about(self, name: str, value: Value) -> bool:
        """Return whether a setting is a kernel's size; 0 stands for a layer that isn't there."""
        return (name == "kernel" or name.endswith("_kernel")) and isinstance(value, int) and value > 0

    def changed(self, stage: StageSpec, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the kernels above 1×1 (of a stage that was named, 1×1 ones too), and the padding that keeps sizes."""
        least = 1 if stage.name in self.stages else 2
        new: dict[str, Value] = {name: self.kernel for name, value in values.items() if int(str(value)) >= least}
        padding = stage.setting("padding", AS_SPEC)
        if padding != AS_SPEC and "kernel" in new:
            new["padding"] = _padding(stage, padding, self.kernel - int(str(values["kernel"])))
        return new

    @classmethod
    def example(cls) -> SetKernel:
        """Return an instance for every network with 3×3 kernels."""
        return cls(kernel=5)


def _padding(stage: StageSpec, padding: int, larger: int) -> int:
    if larger % 2 or padding + larger // 2 < 0:
        raise TransformError(
            f"stage '{stage.name}': its padding is {padding}, and its kernel would be larger by {larger}: no padding "
            "keeps the size of its output. Leave this stage out, or set its padding to -1, as the spec has it."
        )
    return padding + larger // 2


MEMBERS = {SetKernel.name: SetKernel}
