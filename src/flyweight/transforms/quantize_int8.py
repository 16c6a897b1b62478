"""int8 post-training quantization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from flyweight.contracts import DEFAULT_METHOD, Candidate, Change, Env, Int8Method, Quantization
from flyweight.errors import TransformError
from flyweight.evaluate import preprocess


@dataclass(frozen=True)
class QuantizeInt8:
    """Have the artifacts quantized to int8, with ranges from the first ``images`` calibration images.

    The module stays float; each runtime's exporter writes its own int8 format from the same calibration inputs.
    Source: Jacob et al. 2018 (arXiv 1712.05877), section 3; weights per output channel as in Krishnamoorthi 2018
    (arXiv 1806.08342), section 3.1.
    """

    images: int = 64
    method: Int8Method = DEFAULT_METHOD
    name: ClassVar[str] = "quantize_int8"
    exact: ClassVar[bool] = False
    tolerance: ClassVar[float] = 0.0

    def requires(self, candidate: Candidate) -> None:
        """Raise TransformError where the candidate is quantized already."""
        if candidate.quantization:
            raise TransformError(
                "transform 'quantize_int8': the candidate is quantized already. Start from its float parent."
            )

    def apply(self, candidate: Candidate, env: Env) -> Candidate:
        """Return the candidate with its calibration inputs attached."""
        self.requires(candidate)
        if not env.calibration_images:
            raise TransformError(
                "transform 'quantize_int8' needs calibration images. Pass some of the training images in env."
            )
        images = np.stack(list(env.calibration_images[: self.images]))
        inputs = preprocess(images, candidate.preprocessing)
        change = Change(
            transform=self.name,
            settings={"images": len(images), "method": self.method},
            layers=tuple(name for name, _ in candidate.module.named_parameters() if name.endswith("weight")),
            before="float32",
            after=f"int8 weights per channel, uint8 activations per tensor ({self.method} over {len(images)} images)",
        )
        return candidate.having(change, quantization=Quantization(inputs, self.method))

    @classmethod
    def example(cls) -> QuantizeInt8:
        """Return an instance with few images."""
        return cls(images=4)


MEMBERS = {QuantizeInt8.name: QuantizeInt8}
