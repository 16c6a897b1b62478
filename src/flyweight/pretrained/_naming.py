"""How a source says which of its layers is which: rules from a built network's layers to the source's names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeAlias

from torch import nn

from flyweight.errors import UsageError
from flyweight.spec import ArchSpec, Padding

Pair: TypeAlias = tuple[str, str]  # a layer here, the same layer there; their tensors have the same last names

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)  # as mean and deviation: pixels from -1 to 1


@dataclass(frozen=True)
class Origin:
    """What belongs to weights besides them: as ``ArchSpec`` and ``Preprocessing`` have it."""

    padding: Padding = "symmetric"
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


@dataclass(frozen=True)
class Layers:
    """The layers with tensors of a network that was built from a spec, by name, in its order.

    A stage's layers are called ``encoder.<stage>.…``, those of the head ``head.…``.
    """

    names: tuple[str, ...]

    @classmethod
    def of(cls, module: nn.Module) -> Layers:
        """Return those of a module."""
        return cls(tuple(dict.fromkeys(name.rpartition(".")[0] for name in module.state_dict())))

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that have a layer with tensors (pooling has none)."""
        return tuple(dict.fromkeys(name.split(".")[1] for name in self.names if name.startswith("encoder.")))

    def parts(self, path: str) -> tuple[str, ...]:
        """Return the names directly below ``path`` that have layers: ``("expand", "depthwise", "project")``."""
        inside = [name.removeprefix(f"{path}.") for name in self.names if name.startswith(f"{path}.")]
        return tuple(dict.fromkeys(name.split(".")[0] for name in inside))


@dataclass(frozen=True)
class Rule:
    """The names of one architecture.

    Attributes:
        members: the specs that it is for, as patterns of their names: ``mobilenet_v2_*``.
        pairs: from a network's layers to all pairs, in any order.
        linear: layers that are fully connected in the source and 1×1 convolutions here.
    """

    members: tuple[str, ...]
    pairs: Callable[[Layers], Iterable[Pair]]
    origin: Origin
    linear: tuple[str, ...] = ()

    def fits(self, spec: ArchSpec) -> bool:
        """Return whether the rule is for this spec."""
        return any(fnmatchcase(spec.name, pattern) for pattern in self.members)

    def names(self, layers: Layers) -> dict[str, str]:
        """Return the source's name of every layer, in the network's order.

        Raises:
            UsageError: a layer has no name there, or not one of its own: the network is not the rule's.
        """
        try:
            listed = list(self.pairs(layers))
        except (KeyError, ValueError, IndexError) as error:
            raise UsageError(f"{_EDITED} ({type(error).__name__}: {error}).") from error
        names = dict(listed)
        if odd := sorted(set(names) ^ set(layers.names)):
            raise UsageError(f"{_EDITED}, e.g. '{odd[0]}'.")
        if len(listed) != len(names) or len(set(names.values())) != len(names):
            raise UsageError(f"{_EDITED}: two layers would have one name.")
        return {layer: names[layer] for layer in layers.names}


_EDITED = "the network's stages are not those that the source knows (was the spec edited?)"


@dataclass(frozen=True)
class Source:
    """A place that weights come from: ``about`` is a line for the reader; the first rule that fits counts."""

    name: str
    about: str
    rules: tuple[Rule, ...]

    @property
    def members(self) -> tuple[str, ...]:
        """The patterns of all names of specs that it has a rule for."""
        return tuple(pattern for rule in self.rules for pattern in rule.members)

    def rule_for(self, spec: ArchSpec) -> Rule:
        """Return the rule for ``spec``.

        Raises:
            UsageError: there is none.
        """
        for rule in self.rules:
            if rule.fits(spec):
                return rule
        raise UsageError(
            f"'{self.name}' does not name the layers of '{spec.name}'. It does for: {', '.join(self.members)}."
        )


def conv_norm(here: str, conv: str, norm: str) -> Iterator[Pair]:
    """Yield the pairs of a convolution and the norm behind it."""
    yield f"{here}.conv", conv
    yield f"{here}.norm", norm


def row_and_number(stage: str) -> tuple[int, int]:
    """Return the row of the paper's table and the block's place in it, both from 0: (1, 0) of ``block2_1``."""
    row, _, number = stage.removeprefix("block").partition("_")
    return int(row) - 1, int(number) - 1
