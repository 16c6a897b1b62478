"""Skips from the encoder to a segmentation decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from flyweight.blocks.deconv_decoder import up_sizes
from flyweight.build import feature_maps
from flyweight.errors import TransformError
from flyweight.spec import ArchSpec, SkipSpec
from flyweight.transforms._edit import SpecEdit


@dataclass(frozen=True)
class AddSkips(SpecEdit):
    """Join encoder maps to the first ``scales`` decoder stages through 1×1 convolutions, by addition or concatenation.

    The source of each skip is the last encoder stage at the decoder stage's resolution.
    Source: Long et al. 2015 (arXiv 1411.4038), section 4.2; Ronneberger et al. 2015 (arXiv 1505.04597).
    """

    join: Literal["add", "concat"] = "add"
    scales: int = 3
    name: ClassVar[str] = "add_skips"

    def edit(self, spec: ArchSpec) -> ArchSpec:
        """Return the spec with the skips."""
        if spec.head.kind != "deconv_decoder":
            raise TransformError(f"spec '{spec.name}' has the head '{spec.head.kind}'; skips need a deconv_decoder.")
        if not 1 <= self.scales <= len(spec.head.widths):
            raise TransformError(
                f"spec '{spec.name}': {self.scales} skips, but the decoder has {len(spec.head.widths)} stages. "
                f"Use 1 to {len(spec.head.widths)}."
            )
        maps = feature_maps(spec)
        at_size = {(feature.height, feature.width): name for name, feature in maps.items()}
        skips = []
        for target, size in enumerate(up_sizes(maps, spec, len(spec.head.widths))[: self.scales]):
            if size not in at_size:
                raise TransformError(
                    f"spec '{spec.name}': no encoder stage has the {size[0]}x{size[1]} pixels of decoder stage "
                    f"{target}. Use fewer scales than {self.scales}."
                )
            skips.append(SkipSpec(at_size[size], target))
        return spec.replace(head=spec.head.replace(skips=tuple(skips), skip_join=self.join))

    def layers(self, spec: ArchSpec) -> tuple[str, ...]:
        """The decoder stages that a skip joins."""
        return tuple(f"head.up{index}" for index in range(self.scales))

    @classmethod
    def example(cls) -> AddSkips:
        """Return the story's instance: three scales, by addition."""
        return cls()


MEMBERS = {AddSkips.name: AddSkips}
