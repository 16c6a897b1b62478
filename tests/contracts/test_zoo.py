"""Every architecture of the zoo keeps the zoo's contract.

What takes long is done without ``slow`` for some: edits for one member of those that differ only in widths, settings
and input size, export for a slim form of one member of every file, and of one with every head.
"""

from collections.abc import Callable, Hashable, Iterable

import pytest

from flyweight.spec import ArchSpec
from flyweight.testing import ZooContract, ZooEditsContract, ZooExportContract
from flyweight.testing._zoo_runs import slim
from flyweight.testing.zoo import EVERY_EDIT, SOME_EDITS
from flyweight.zoo import ZOO


def _params(names: Iterable[str]) -> list[object]:
    return [pytest.param(ZOO.get(name), id=name) for name in names]


def _cheapest(kind: Callable[[str], Hashable]) -> set[str]:
    """Return of every kind of members the name with fewest published MACs; any where none are."""
    kinds: dict[Hashable, list[str]] = {}
    for name in ZOO.origins:
        kinds.setdefault(kind(name), []).append(name)
    return {min(names, key=lambda name: ZOO.get(name).macs or float("inf")) for names in kinds.values()}


def _structure(name: str) -> Hashable:
    """Return what members share that differ in widths, input size, settings and number of classes alone."""
    spec = ZOO.get(name).spec
    blocks = tuple((stage.block, stage.stride) for stage in spec.stages)
    return ZOO.origins[name], blocks, spec.head.kind, spec.padding


def _head(name: str) -> Hashable:
    return ZOO.get(name).spec.head.kind


STRUCTURES = sorted(_cheapest(_structure))
EXPORTED = sorted(_cheapest(lambda name: ZOO.origins[name]) | _cheapest(_head))


@pytest.mark.parametrize("entry", _params(ZOO.origins), scope="class")
class TestEveryArchitecture(ZooContract):
    """The contract, per member."""


@pytest.mark.parametrize("edit", SOME_EDITS, ids=str)
@pytest.mark.parametrize("entry", _params(STRUCTURES), scope="class")
class TestEveryStructureEdited(ZooEditsContract):
    """The contract of edits, some edits of every structure."""


@pytest.mark.slow
@pytest.mark.parametrize("edit", EVERY_EDIT, ids=str)
@pytest.mark.parametrize("entry", _params(ZOO.origins), scope="class")
class TestEveryArchitectureEdited(ZooEditsContract):
    """The contract of edits, every edit of every member."""


@pytest.mark.parametrize("entry", _params(EXPORTED), scope="class")
class TestEveryFileExported(ZooExportContract):
    """The contract of export, a slim form of one member of every file, and of one with every head."""

    @classmethod
    def exported(cls, spec: ArchSpec) -> ArchSpec:
        return slim(super().exported(spec))


@pytest.mark.slow
@pytest.mark.parametrize("entry", _params(ZOO.origins), scope="class")
class TestEveryArchitectureExported(ZooExportContract):
    """The contract of export, per member."""


@pytest.mark.parametrize("name", ZOO.names())
def test_architecture_is_registered_under_its_specs_name(name: str) -> None:
    assert ZOO.get(name).spec.name == name
