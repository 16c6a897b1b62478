"""What a chain is asked to do, and what it found: plain values, kept as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from flyweight.errors import UsageError
from flyweight.share import STARTS, Start
from flyweight.sparse import SCOPES, Scope
from flyweight.train import Recipe

ROUNDS = (0.5, 0.3, 0.2, 0.12, 0.08, 0.05)  # densities, one after the other
PRUNE_RECIPE = Recipe(steps=400, batch=32, learning_rate=1e-3, weight_decay=1e-4, flips="none")
SHARE_RECIPE = Recipe(steps=100, batch=32, learning_rate=1e-4, weight_decay=0.0, flips="none")


@dataclass(frozen=True)
class Settings:
    """How a network is compressed.

    Attributes:
        densities: shares of the weights that are left, one round of training after the other; each begins with the
            weights of the one before.
        max_drop: points of the headline metric on the validation images that may be lost; the chain goes back to the
            last round that keeps to it. None: nothing is refused.
        scope: how weights of different layers are compared.
        conv_bits, fc_bits: of a shared weight. conv_index_bits, fc_index_bits: of a relative index.
        max_bytes: of the whole file; the bits are then chosen layer by layer.
        prune, share: the training in each round, and that of the centroids.
        seed: of batches and k-means.
    """

    densities: tuple[float, ...] = ROUNDS
    max_drop: float | None = None
    scope: Scope = "lamp"
    start: Start = "linear"
    conv_bits: int = 8
    fc_bits: int = 5
    conv_index_bits: int = 8
    fc_index_bits: int = 5
    max_bytes: int | None = None
    prune: Recipe = PRUNE_RECIPE
    share: Recipe = SHARE_RECIPE
    seed: int = 0

    def __post_init__(self) -> None:
        falling = all(a > b for a, b in zip((1.01, *self.densities), self.densities, strict=False))
        if not self.densities or not falling or not all(0 < d <= 1 for d in self.densities):
            raise UsageError(
                f"densities are {', '.join(map(str, self.densities)) or 'missing'}; wanted: above 0, at most 1, each "
                "smaller than the one before."
            )
        bits = (self.conv_bits, self.fc_bits, self.conv_index_bits, self.fc_index_bits)
        if not all(1 <= b <= 8 for b in bits) or self.scope not in SCOPES or self.start not in STARTS:
            raise UsageError(
                f"bits {bits}, scope '{self.scope}', start '{self.start}'. Wanted: 1 to 8 bits; {', '.join(SCOPES)}; "
                f"{', '.join(STARTS)}."
            )

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        plain = asdict(self) | {"prune": self.prune.to_json(), "share": self.share.to_json()}
        return plain | {"densities": list(self.densities)}


@dataclass(frozen=True)
class Stage:
    """A row of the paper's table.

    Attributes:
        name: what was done. left: weights that are not zero. total: all numbers, of biases and norms too.
        weight_bits, index_bits: of each weight that is sent, on average; None: not there.
        bytes: of all weights, those that were not pruned in float32; of the last stage, of the whole file.
        metric: on the validation images, 0 to 1; None: as the stage before, since nothing of the network changed.
    """

    name: str
    left: int
    total: int
    weight_bits: float
    index_bits: float | None
    bytes: float
    metric: float | None


@dataclass(frozen=True)
class LayerReport:
    """A layer from stage to stage: bytes by stage, its weights' histogram, its centroids."""

    name: str
    values: int
    left: int
    entries: int
    bits: int
    index_bits: int
    coded_weight_bits: float
    coded_index_bits: float
    bytes: Mapping[str, float]
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    book: tuple[float, ...] = ()


@dataclass(frozen=True)
class CurvePoint:
    """A file's size and metric; ``name`` says how it came about."""

    name: str
    bytes: int
    metric: float
    trained: bool


@dataclass(frozen=True)
class Compressed:
    """What a chain made.

    Attributes:
        stages: the paper's table. layers: one by one. curve: sizes and metrics on the way.
        headline: the metric's name. images: of validation.
        before, after: the metric on the validation images, of the network that was given and of the file's.
        test_before, test_after: on the test images.
        file_bytes: of the file. float_bytes: of the network's tensors in float32.
        seconds: of all training.
        refused: rounds and sharings that lost too much, in words.
    """

    name: str
    data: str
    settings: Mapping[str, Any]
    headline: str
    images: int
    stages: tuple[Stage, ...]
    layers: tuple[LayerReport, ...]
    curve: tuple[CurvePoint, ...]
    before: float
    after: float
    test_before: float
    test_after: float
    file_bytes: int
    float_bytes: int
    seconds: float
    refused: tuple[str, ...] = field(default=())

    @property
    def ratio(self) -> float:
        """How many times smaller the file is than the network in float32."""
        return self.float_bytes / self.file_bytes

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self) | {"ratio": self.ratio}
