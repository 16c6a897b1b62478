"""Squeeze-and-excitation: channels weighted by what the whole map shows.

Source: Hu et al. 2017, Squeeze-and-Excitation Networks (arXiv 1709.01507), section 3. Which width the ratio is taken
of, how the result is rounded, and the two activations differ from network to network, so they are settings.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from flyweight.blocks._layers import activation
from flyweight.errors import SpecError
from flyweight.spec import StageSpec, Value, round_channels

# What a block that takes squeeze-and-excitation adds to its own settings, with MobileNetV3's values.
SE_SETTINGS: Mapping[str, Value] = {"se": 0.0, "se_activation": "relu", "se_divisor": 8, "se_gate": "hard_sigmoid"}


class SqueezeExcite(nn.Module):
    """Mean of every channel, 1×1 to ``squeezed``, activation, 1×1 back, gate; the map is multiplied by that.

    Both convolutions have a bias and no norm: ``2·C·S + S + C`` parameters.
    """

    def __init__(
        self,
        channels: int,
        squeezed: int,
        *,
        where: str,
        act: str = "relu",
        gate: str = "hard_sigmoid",
    ) -> None:
        super().__init__()
        if "crelu" in (act, gate):
            raise SpecError(f"{where}: CReLU doubles channels, which squeeze-and-excitation can't pass on. Use relu.")
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.act = activation(act, where)
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = activation(gate, where)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to the same shape."""
        out: Tensor = x * self.gate(self.expand(self.act(self.reduce(self.pool(x)))))
        return out


def squeezed_width(channels: int, ratio: float, divisor: int) -> int:
    """Return the squeezed width: rounded to multiples of ``divisor``; 1 cuts off to a whole number, at least 1."""
    width = channels * ratio
    return max(1, int(width)) if divisor == 1 else round_channels(width, divisor, divisor)


def squeeze_excite(stage: StageSpec, channels: int, of: int) -> SqueezeExcite | None:
    """Return the module that a stage's ``SE_SETTINGS`` ask for on ``channels``, None where ``se`` is 0.

    ``of`` is the width that the ratio ``se`` is taken of: ``channels`` itself (MobileNetV3), or the block's input
    (EfficientNet).

    Raises:
        SpecError: a setting is outside its range; names the stage.
    """
    where = f"stage '{stage.name}'"
    ratio, divisor = stage.setting("se", 0.0), stage.setting("se_divisor", 8)
    if not 0 <= ratio <= 1:
        raise SpecError(f"{where}: se is {ratio!r}; allowed are ratios up to 1, e.g. 0.25, and 0 for none.")
    if not 1 <= divisor <= 256:
        raise SpecError(f"{where}: se_divisor is {divisor}; allowed are 1 (no rounding) to 256. Most networks have 8.")
    if ratio == 0:
        return None
    return SqueezeExcite(
        channels,
        squeezed_width(of, ratio, divisor),
        where=where,
        act=stage.setting("se_activation", "relu"),
        gate=stage.setting("se_gate", "hard_sigmoid"),
    )
