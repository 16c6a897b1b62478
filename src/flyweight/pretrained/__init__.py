"""Weights from elsewhere: one file per source, which says how the source names the layers of the zoo's networks.

A name decides nothing by itself: every tensor of the file must fill exactly one place, every place must be filled, and
shapes must agree. What else belongs to the weights (padding, epsilon and momentum of the norms, how images become
inputs) comes from the source too, since the same names were used for weights of different origin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flyweight import files
from flyweight.build import build
from flyweight.contracts import Candidate, Change, Preprocessing
from flyweight.errors import FileError, UsageError
from flyweight.family import Family
from flyweight.pretrained._class_names import (
    IMAGENET_CLASSES,
    IMAGENET_PACKAGE,
    imagenet_class_names,
    read_class_names,
)
from flyweight.pretrained._match import ImportedLayer, filled
from flyweight.pretrained._naming import Layers, Source
from flyweight.pretrained._read import read_tensors
from flyweight.spec import ArchSpec

if TYPE_CHECKING:
    from torch import Tensor

PRETRAINED: Family[Source] = Family("flyweight.pretrained", "source of weights")


@dataclass(frozen=True)
class Imported:
    """A candidate with the weights of a file, its spec, and for each of its layers where the weights came from."""

    candidate: Candidate
    spec: ArchSpec
    layers: tuple[ImportedLayer, ...]


def import_weights(
    spec: ArchSpec,
    weights: Path | Mapping[str, Tensor],
    source: str,
    *,
    class_names: Sequence[str] = (),
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
) -> Imported:
    """Fill the network of ``spec`` with weights that ``source`` names.

    The candidate's spec is ``spec`` with the padding and the norms' epsilon and momentum of the source; its
    preprocessing has the source's mean and standard deviation, at the spec's input size.

    Args:
        weights: a ``.safetensors`` file, or one of ``torch.save`` (``.pth``, ``.pt``, ``.bin``), which is read as plain
            tensors; or the tensors themselves, by name.
        source: a member of ``PRETRAINED``, e.g. ``"torchvision"``.
        class_names: one for each class, or none.
        mean, std: of images scaled to 0..1, where the weights want others than the source's.

    Raises:
        UsageError: no such source, one that doesn't name this network, or a wrong number of class names.
        FileError: the file can't be read, or a tensor is missing, left over, of another shape or not finite.
    """
    rule = PRETRAINED.get(source).rule_for(spec)
    if class_names and len(class_names) != spec.classes:
        raise UsageError(f"{len(class_names)} class names for {spec.classes} classes. Give one for each, or none.")
    tensors = read_tensors(weights) if isinstance(weights, Path) else dict(weights)
    origin = rule.origin
    spec = spec.replace(padding=origin.padding, norm_eps=origin.norm_eps, norm_momentum=origin.norm_momentum)
    module = build(spec)
    layers = Layers.of(module)
    try:
        state, rows = filled(module.state_dict(), rule.names(layers), tensors, rule.linear)
    except FileError as error:
        where = str(weights) if isinstance(weights, Path) else "the weights"
        raise FileError(f"{where}: {error}{_other_sources(source, spec, layers, tensors)}") from error
    module.load_state_dict(state)
    size = spec.input
    preprocessing = Preprocessing(size.height, size.width, mean or origin.mean, std or origin.std, tuple(class_names))
    candidate = Candidate(module.eval(), preprocessing, spec)
    return Imported(candidate.having(_change(source, weights, spec, rows)), spec, rows)


def export_weights(candidate: Candidate, source: str) -> dict[str, Tensor]:
    """Return a candidate's tensors under the names of ``source``: the way back of ``import_weights``.

    Raises:
        UsageError: no such source, one that doesn't name this network, or a candidate without a spec.
    """
    if candidate.spec is None:
        raise UsageError("only a network built from a spec has names that are known elsewhere; this module has none.")
    rule, state = PRETRAINED.get(source).rule_for(candidate.spec), candidate.module.state_dict()
    names = rule.names(Layers.of(candidate.module))
    tensors = {}
    for place, tensor in state.items():
        layer, _, leaf = place.rpartition(".")
        flat = layer in rule.linear and tensor.dim() == 4
        tensors[f"{names[layer]}.{leaf}"] = (tensor.flatten(1) if flat else tensor).detach().clone()
    return tensors


def _change(
    source: str, weights: Path | Mapping[str, Tensor], spec: ArchSpec, rows: tuple[ImportedLayer, ...]
) -> Change:
    known = {"file": weights.name, "sha256": files.sha256_of(weights)} if isinstance(weights, Path) else {}
    stages = tuple(stage.name for stage in spec.stages)
    after = f"{sum(row.tensors for row in rows)} tensors of {len(rows)} layers"
    return Change("import_weights", {"from": source, **known}, stages, "untrained", after)


def _other_sources(tried: str, spec: ArchSpec, layers: Layers, tensors: Mapping[str, Tensor]) -> str:
    """Return a sentence that tells whose names these are, where others' fit and those that were tried don't."""
    present = {name.rpartition(".")[0] for name in tensors}
    fit = []
    for name, source in PRETRAINED.members.items():
        with suppress(UsageError):  # it doesn't name this network
            if set(source.rule_for(spec).names(layers).values()) <= present:
                fit.append(name)
    return f" The names are those of {' or '.join(fit)}." if fit and tried not in fit else ""


__all__ = [
    "IMAGENET_CLASSES",
    "IMAGENET_PACKAGE",
    "PRETRAINED",
    "Imported",
    "ImportedLayer",
    "Source",
    "export_weights",
    "imagenet_class_names",
    "import_weights",
    "read_class_names",
]
