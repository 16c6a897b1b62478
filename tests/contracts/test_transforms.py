"""Every registered transform keeps the transforms' contract."""

import pytest

from flyweight.testing import TransformContract
from flyweight.transforms import TRANSFORMS


@pytest.mark.parametrize(
    "transform", [pytest.param(kind.example(), id=name) for name, kind in TRANSFORMS.members.items()]
)
class TestEveryTransform(TransformContract):
    """The contract, per member."""


@pytest.mark.parametrize("name", TRANSFORMS.names())
def test_transform_is_registered_under_its_own_name(name: str) -> None:
    assert TRANSFORMS.get(name).name == name
