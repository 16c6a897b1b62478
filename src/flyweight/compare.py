"""Two networks layer by layer: pruned, quantized, re-sized, with blocks dropped or added, or of another architecture.

Layers are aligned as sequences (Needleman & Wunsch 1970): in order, each with one of the other network at most, so that
what the pairs have in common is greatest: module path, operator, feature map, parameters. A pair that has little in
common is none: its layers stand in one network only.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flyweight.profile import Profile

_Matrix: TypeAlias = NDArray[np.float64]
# The same path; the same but for its numbers, as features.3.conv and features.4.conv; the same last name.
SAME_PATH, SAME_PLACE, SAME_NAME = 1.0, 0.5, 0.25
OTHER_OPERATOR = -0.5  # a pair of one name may have it: an activation that was swapped
LEAST = 1.25  # what a pair must have in common: more than one of path, map and parameters


@dataclass(frozen=True)
class Layer:
    """One module of one network; sums over its operators.

    Attributes:
        ops: its operators, each once, in order.
        macs: of the operators that have a formula; ``uncounted`` is how many have none.
        time_us: measured; None where it was not.
    """

    module: str
    ops: tuple[str, ...]
    output_shape: tuple[int, ...]
    macs: int
    params: int
    param_bytes: int
    bytes_moved: int
    uncounted: int = 0
    time_us: float | None = None


@dataclass(frozen=True)
class Pair:
    """A layer of the first network and its like in the second; None where one of them has none."""

    a: Layer | None
    b: Layer | None

    @property
    def same(self) -> bool:
        """Whether all that is counted is equal."""
        if self.a is None or self.b is None:
            return False
        return all(getattr(self.a, name) == getattr(self.b, name) for name in ("ops", "output_shape", *COUNTED))

    @property
    def title(self) -> str:
        """The path, or both where they differ."""
        if self.a is None or self.b is None or self.a.module == self.b.module:
            return (self.a or self.b or _NONE).module or "(root)"
        return f"{self.a.module or '(root)'} → {self.b.module or '(root)'}"


@dataclass(frozen=True)
class Totals:
    """Sums over a network. ``time_ms`` is the measured median of the whole network, None where it was not measured."""

    layers: int
    macs: int
    params: int
    param_bytes: int
    bytes_moved: int
    peak_bytes: int
    uncounted: int
    time_ms: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Two networks, aligned."""

    name_a: str
    name_b: str
    input_a: tuple[int, ...]
    input_b: tuple[int, ...]
    pairs: tuple[Pair, ...]
    total_a: Totals
    total_b: Totals
    notes: tuple[str, ...] = field(default=())

    @property
    def only_a(self) -> tuple[Layer, ...]:
        """Layers that the second network lacks."""
        return tuple(pair.a for pair in self.pairs if pair.a is not None and pair.b is None)

    @property
    def only_b(self) -> tuple[Layer, ...]:
        """Layers that the first network lacks."""
        return tuple(pair.b for pair in self.pairs if pair.b is not None and pair.a is None)

    @property
    def different(self) -> tuple[Pair, ...]:
        """Pairs of layers that are not counted alike."""
        return tuple(pair for pair in self.pairs if pair.a is not None and pair.b is not None and not pair.same)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "a": {"name": self.name_a, "input_shape": list(self.input_a), **asdict(self.total_a)},
            "b": {"name": self.name_b, "input_shape": list(self.input_b), **asdict(self.total_b)},
            "layers": [{"a": _plain(pair.a), "b": _plain(pair.b)} for pair in self.pairs],
            "notes": list(self.notes),
        }


COUNTED = ("macs", "params", "param_bytes", "bytes_moved", "uncounted")
_NONE = Layer("", (), (), 0, 0, 0, 0)


def _plain(layer: Layer | None) -> dict[str, Any] | None:
    if layer is None:
        return None
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(layer).items()}


def compare(
    a: Profile,
    b: Profile,
    names: tuple[str, str] = ("A", "B"),
    times_us: tuple[Mapping[str, float] | None, Mapping[str, float] | None] = (None, None),
    times_ms: tuple[float | None, float | None] = (None, None),
    notes: Sequence[str] = (),
) -> Comparison:
    """Align the layers of two networks.

    Args:
        a, b: their profiles.
        names: what to call them.
        times_us: measured time per module path.
        times_ms: measured time of the whole networks.
        notes: what a reader must know of the measurement.
    """
    first, second = layers_of(a, times_us[0]), layers_of(b, times_us[1])
    return Comparison(
        names[0], names[1], _input(a), _input(b), align(first, second, _area(a), _area(b)),
        _totals(a, first, times_ms[0]), _totals(b, second, times_ms[1]), tuple(notes),
    )  # fmt: skip


def layers_of(profile: Profile, times_us: Mapping[str, float] | None = None) -> tuple[Layer, ...]:
    """Return a network's modules in order of their first operator."""
    groups: dict[str, list[Any]] = {}
    for row in profile.rows:
        groups.setdefault(row.module, []).append(row)
    return tuple(
        Layer(
            module=module,
            ops=tuple(dict.fromkeys(row.op for row in rows)),
            output_shape=tuple(rows[-1].output_shape),
            macs=sum(row.macs or 0 for row in rows),
            params=sum(row.params for row in rows),
            param_bytes=sum(row.param_bytes for row in rows),
            bytes_moved=sum(row.bytes_moved for row in rows),
            uncounted=sum(not row.known for row in rows),
            time_us=None if times_us is None else times_us.get(module),
        )
        for module, rows in groups.items()
    )


def _totals(profile: Profile, layers: Sequence[Layer], time_ms: float | None) -> Totals:
    total = profile.total
    return Totals(
        layers=len(layers), macs=total.macs, params=total.params, param_bytes=total.param_bytes,
        bytes_moved=total.bytes_moved, peak_bytes=profile.peak_activation_bytes, uncounted=total.unknown,
        time_ms=time_ms,
    )  # fmt: skip


def _input(profile: Profile) -> tuple[int, ...]:
    return tuple(profile.graph.tensors[profile.graph.inputs[0]].shape) if profile.graph.inputs else ()


def _area(profile: Profile) -> float:
    return float(np.prod(_input(profile)[2:]))


def align(a: Sequence[Layer], b: Sequence[Layer], area_a: float = 1.0, area_b: float = 1.0) -> tuple[Pair, ...]:
    """Return the layers of both in order, paired where they have most in common.

    Args:
        a, b: the layers.
        area_a, area_b: pixels of the networks' inputs, so that re-sized ones are told by their place in the network.
    """
    gain = _common(a, b, area_a, area_b) - LEAST
    best = np.zeros((len(a) + 1, len(b) + 1))
    for i in range(len(a)):
        best[i + 1, 1:] = np.maximum.accumulate(np.maximum(best[i, 1:], best[i, :-1] + gain[i]))
    pairs: list[Pair] = []
    i, j = len(a), len(b)
    while i or j:
        if i and j and gain[i - 1, j - 1] > 0 and best[i, j] == best[i - 1, j - 1] + gain[i - 1, j - 1]:
            i, j = i - 1, j - 1
            pairs.append(Pair(a[i], b[j]))
        elif j and best[i, j] == best[i, j - 1]:
            j -= 1
            pairs.append(Pair(None, b[j]))
        else:
            i -= 1
            pairs.append(Pair(a[i], None))
    return tuple(reversed(pairs))


def _common(a: Sequence[Layer], b: Sequence[Layer], area_a: float, area_b: float) -> _Matrix:
    """Return how much each layer of the one has in common with each of the other: path, feature map, parameters."""
    path = _equal([x.module for x in a], [x.module for x in b])
    place = _equal([_place(x.module) for x in a], [_place(x.module) for x in b])
    name = _equal([x.module.rpartition(".")[2] for x in a], [x.module.rpartition(".")[2] for x in b])
    operator = _equal([x.ops[0] for x in a], [x.ops[0] for x in b])
    sizes = _alike([_pixels(x) / area_a for x in a], [_pixels(x) / area_b for x in b])
    params = _alike([x.params for x in a], [x.params for x in b])
    called = np.maximum.reduce([SAME_PATH * path, SAME_PLACE * place, SAME_NAME * name])
    common = called + np.where(sizes > 0.8, 1.0, sizes) + params
    allowed = np.where(operator > 0, common, common + OTHER_OPERATOR)
    return np.where((operator > 0) | (name > 0), allowed, -np.inf)


def _place(module: str) -> str:
    return re.sub(r"\d+", "#", module)


def _pixels(layer: Layer) -> float:
    return float(np.prod(layer.output_shape[2:])) if len(layer.output_shape) > 2 else 0.0


def _equal(a: Sequence[Hashable], b: Sequence[Hashable]) -> _Matrix:
    numbers: dict[Hashable, int] = {}
    first, second = (np.array([numbers.setdefault(x, len(numbers)) for x in side], int) for side in (a, b))
    equal: _Matrix = (first[:, None] == second[None, :]).astype(float)
    return equal


def _alike(a: Sequence[float], b: Sequence[float]) -> _Matrix:
    """Return the smaller over the larger of each two numbers; two zeros are alike."""
    first, second = np.array(a, float)[:, None], np.array(b, float)[None, :]
    largest = np.maximum(first, second)
    return np.where(largest > 0, np.minimum(first, second) / np.where(largest > 0, largest, 1), 1.0)
