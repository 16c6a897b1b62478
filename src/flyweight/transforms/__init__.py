"""Edits of a candidate: one file per method. A member is a frozen dataclass whose fields are its settings."""

from flyweight.contracts import Transform
from flyweight.family import Family

TRANSFORMS: Family[type[Transform]] = Family("flyweight.transforms", "transform")
