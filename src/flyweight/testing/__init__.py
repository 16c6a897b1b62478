"""Contract tests: what every member of a family must keep, as classes that a test file takes over.

A member that is dropped into its folder is tested by Flyweight's own suite without another line. A package with members
of its own takes the class over::

    import pytest
    from flyweight.testing import TransformContract
    from mypackage.my_transform import MyTransform

    @pytest.mark.parametrize("transform", [MyTransform.example()])
    class TestMyTransform(TransformContract): ...

The fixtures of a class (``candidate``, ``unfit``, ``images`` …) may be overridden where a member needs other ones.
Needs pytest.
"""

from flyweight.testing.runtimes import RuntimeContract
from flyweight.testing.transforms import TransformContract
from flyweight.testing.zoo import ZooContract, ZooEditsContract, ZooExportContract

__all__ = ["RuntimeContract", "TransformContract", "ZooContract", "ZooEditsContract", "ZooExportContract"]
