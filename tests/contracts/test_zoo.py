"""Every architecture of the zoo keeps the zoo's contract."""

import pytest

from flyweight.testing import ZooContract
from flyweight.zoo import ZOO


@pytest.mark.parametrize("entry", [pytest.param(entry, id=name) for name, entry in ZOO.members.items()])
class TestEveryArchitecture(ZooContract):
    """The contract, per member."""


@pytest.mark.parametrize("name", ZOO.names())
def test_architecture_is_registered_under_its_specs_name(name: str) -> None:
    assert ZOO.get(name).spec.name == name
