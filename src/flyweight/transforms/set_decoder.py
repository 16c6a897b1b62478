"""Another width for a segmentation decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flyweight.errors import TransformError
from flyweight.spec import ArchSpec
from flyweight.transforms._edit import SpecEdit


@dataclass(frozen=True)
class SetDecoder(SpecEdit):
    """Set the channels of each transposed convolution of the decoder.

    The 2ⁿ rule: with n stages of ×2, 2ⁿ channels in the first, halved per stage (16, 8, 4, 2 for four).
    """

    widths: tuple[int, ...]
    name: ClassVar[str] = "set_decoder"

    def edit(self, spec: ArchSpec) -> ArchSpec:
        """Return the spec with the new decoder widths."""
        if spec.head.kind != "deconv_decoder":
            raise TransformError(f"spec '{spec.name}' has the head '{spec.head.kind}', not a decoder: nothing to set.")
        return spec.replace(head=spec.head.replace(widths=self.widths))

    def layers(self, spec: ArchSpec) -> tuple[str, ...]:
        """The decoder's stages."""
        return tuple(f"head.up{index}" for index in range(len(spec.head.widths)))

    @classmethod
    def example(cls) -> SetDecoder:
        """Return an instance by the 2ⁿ rule for four stages."""
        return cls(widths=(16, 8, 4, 2))


MEMBERS = {SetDecoder.name: SetDecoder}
