"""Once-for-all: a space of MobileNetV3-like networks that share one set of weights, and its ends as members.

``subnet`` gives the spec of any network of the space. Every one is cut from the supernet without training: the first
blocks of a stage, the first channels of an expansion, the centre of a kernel (times a learned matrix).

Source: Cai et al. 2019 (arXiv 1908.09791), section 3 and 4.1; definition from mit-han-lab/once-for-all ofa/
imagenet_classification/elastic_nn/networks/ofa_mbv3.py: symmetric padding, batch norm with epsilon 1e-5, and a hidden
layer behind the pooling that has neither bias nor norm.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.zoo._entry import ZooEntry
from flyweight.zoo._inverted import conv, eights, inverted

_SOURCE = "arXiv 1908.09791; mit-han-lab/once-for-all ofa/imagenet_classification/elastic_nn/networks/ofa_mbv3.py"
WIDTHS = (1.0, 1.2)
KERNELS = (3, 5, 7)
EXPANSIONS = (3, 4, 6)
DEPTHS = (2, 3, 4)
RESOLUTIONS = range(128, 225, 4)
MOST_BLOCKS = 4


@dataclass(frozen=True)
class _Stage:
    channels: int
    stride: int
    activation: str
    se: float


_STAGES = (
    _Stage(24, 2, "relu", 0.0),
    _Stage(40, 2, "relu", 0.25),
    _Stage(80, 2, "hard_swish", 0.0),
    _Stage(112, 1, "hard_swish", 0.25),
    _Stage(160, 2, "hard_swish", 0.25),
)
BLOCKS = MOST_BLOCKS * len(_STAGES)


def subnet(
    kernels: int | Sequence[int],
    expansions: int | Sequence[int],
    depths: int | Sequence[int],
    resolution: int = 224,
    width: float = 1.0,
    name: str = "ofa_mobilenet_v3_subnet",
) -> ArchSpec:
    """Return the spec of one network of the space.

    Args:
        kernels, expansions: one for all, or 20: four for each of the five stages, of which a shallower stage uses the
            first.
        depths: blocks per stage; one for all, or 5.
        resolution: side of the input in pixels, 128 to 224 in steps of 4.
        width: 1.0 or 1.2, which supernet.

    Raises:
        SpecError: a choice that the supernet doesn't offer; says where, and what it offers.
    """
    every_kernel = _choices("kernels", kernels, BLOCKS, KERNELS)
    every_expansion = _choices("expansions", expansions, BLOCKS, EXPANSIONS)
    every_depth = _choices("depths", depths, len(_STAGES), DEPTHS)
    _check("resolution", resolution, RESOLUTIONS, "128, 132, 136 … 224")
    _check("width", width, WIDTHS, _listed(WIDTHS))
    stem = eights(16 * width)
    chain = [conv("stem", stem, 2, activation="hard_swish"), inverted("block1_1", 3, 1, stem, 1, activation="relu")]
    for index, (stage, depth) in enumerate(zip(_STAGES, every_depth, strict=True)):
        first = index * MOST_BLOCKS
        chosen = zip(every_kernel[first : first + depth], every_expansion[first : first + depth], strict=True)
        chain += _blocks(f"block{index + 2}", stage, chosen, width)
    return ArchSpec(
        name=name,
        task="classify",
        input=InputSpec(resolution, resolution),
        classes=1000,
        stages=(*chain, conv("last", eights(960 * width), kernel=1, activation="hard_swish")),
        head=HeadSpec(
            "pool_classifier",
            widths=(eights(1280 * width),),
            settings=settings(activation="hard_swish", hidden_bias=False),
        ),
    )


def _blocks(name: str, stage: _Stage, chosen: Iterable[tuple[int, int]], width: float) -> list[StageSpec]:
    return [
        inverted(
            f"{name}_{number + 1}",
            kernel,
            expansion,
            eights(stage.channels * width),
            stage.stride if number == 0 else 1,
            stage.se,
            activation=stage.activation,
        )
        for number, (kernel, expansion) in enumerate(chosen)
    ]


def _choices(what: str, given: int | Sequence[int], count: int, allowed: Sequence[int]) -> tuple[int, ...]:
    values = (given,) * count if isinstance(given, int) else tuple(given)
    if len(values) != count:
        raise SpecError(f"once-for-all: {len(values)} {what}; give one for all, or {count}.")
    for index, value in enumerate(values):
        _check(what if isinstance(given, int) else f"{what}[{index}]", value, allowed, _listed(allowed))
    return values


def _check(what: str, value: float, allowed: Container[float], listed: str) -> None:
    if isinstance(value, bool) or value not in allowed:
        raise SpecError(f"once-for-all: {what} is {value!r}; the supernet offers {listed}.")


def _listed(values: Sequence[float]) -> str:
    return ", ".join(map(str, values))


def largest(width: float = 1.0) -> ArchSpec:
    """Return the network of which all others are part, at 224 pixels."""
    return subnet(7, 6, 4, 224, width, name=f"ofa_mobilenet_v3_{width}_largest")


def smallest(width: float = 1.0) -> ArchSpec:
    """Return the smallest network, at 224 pixels as the largest, so that the two compare."""
    return subnet(3, 3, 2, 224, width, name=f"ofa_mobilenet_v3_{width}_smallest")


_BASIS = "weights of the network itself, without the matrices by which the supernet makes smaller kernels"
_ENTRIES = (
    ZooEntry(largest(1.0), _SOURCE, 7_664_760, 566_170_656, params_basis=_BASIS),
    ZooEntry(smallest(1.0), _SOURCE, 3_410_792, 121_278_672, params_basis=_BASIS),
    ZooEntry(largest(1.2), _SOURCE, 10_701_632, 843_101_040, params_basis=_BASIS),
    ZooEntry(smallest(1.2), _SOURCE, 4_602_456, 193_078_200, params_basis=_BASIS),
)
MEMBERS = {entry.spec.name: entry for entry in _ENTRIES}
