"""Named architectures: one file a family, with published facts and their source inside the file."""

from flyweight.family import Family
from flyweight.zoo._entry import ZooEntry

ZOO: Family[ZooEntry] = Family("flyweight.zoo", "architecture")

__all__ = ["ZOO", "ZooEntry"]
