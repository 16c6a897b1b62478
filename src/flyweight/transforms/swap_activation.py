"""Another activation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from flyweight.blocks import BLOCKS
from flyweight.blocks._layers import ACTIVATIONS, HeadBuilder
from flyweight.errors import TransformError
from flyweight.spec import ArchSpec, HeadSpec, StageSpec, Value
from flyweight.transforms._setting_edit import SettingEdit


@dataclass(frozen=True)
class SwapActivation(SettingEdit):
    """Put the activation ``new`` wherever ``old`` is: in all stages and the head, or in stages by name.

    Squeeze-and-excitation's activation and gate are swapped too. All weights are inherited. For runtimes and for int8,
    where ReLU is cheap and swish is not.

    Source: EfficientNet-Lite swaps swish for ReLU6 (tensorflow/tpu models/official/efficientnet/lite).
    """

    old: str
    new: str
    stages: tuple[str, ...] = ()
    name: ClassVar[str] = "swap_activation"
    word: ClassVar[str] = "activation"

    def edit(self, spec: ArchSpec) -> ArchSpec:
        """Return the spec with the new activations."""
        self._check_names()
        edited = super().edit(spec).replace(head=self._head(spec))
        if edited == spec and self.old != self.new:
            raise TransformError(
                f"spec '{spec.name}': nothing has activation '{self.old}'. It has {self.described(spec)}."
            )
        return edited

    def layers(self, spec: ArchSpec) -> tuple[str, ...]:
        """The stages that change, and the head if it does."""
        return super().layers(spec) + (("head",) if self._head(spec) != spec.head else ())

    def about(self, name: str, value: Value) -> bool:
        """Return whether a setting is an activation or a gate."""
        return name.endswith(("activation", "gate")) and isinstance(value, str) and value in ACTIVATIONS

    def changed(self, stage: StageSpec, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the settings that are ``old`` now."""
        return {name: self.new for name, value in values.items() if value == self.old}

    def _head(self, spec: ArchSpec) -> HeadSpec:
        builder = BLOCKS.members.get(spec.head.kind)
        if self.stages or not isinstance(builder, HeadBuilder):
            return spec.head
        idle = spec.task == "classify" and not spec.head.widths  # its activations are those of hidden layers
        values = {**({} if idle else builder.settings), **dict(spec.head.settings)}
        return spec.head.with_settings(
            **{name: self.new for name, value in values.items() if self.about(name, value) and value == self.old}
        )

    def _check_names(self) -> None:
        for name in (self.old, self.new):
            if name not in ACTIVATIONS:
                raise TransformError(f"no activation is named '{name}'. Known: {', '.join(ACTIVATIONS)}.")
        if self.new == "crelu":
            raise TransformError(
                "CReLU halves the filters before it. Use transform 'crelu', which says in which stages."
            )

    @classmethod
    def example(cls) -> SwapActivation:
        """Return an instance for MobileNetV1 and V2."""
        return cls(old="relu6", new="relu")


MEMBERS = {SwapActivation.name: SwapActivation}
