"""The only plug-in loader: a folder of files becomes names becomes objects.

A member is one file in the family's package. What it offers stands in its ``MEMBERS``, a mapping from name to object.
Packages outside Flyweight join by an entry point of the family's group whose value is such a module.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import entry_points
from types import ModuleType
from typing import Generic, TypeVar, cast

from flyweight.errors import UsageError, unknown_name

T = TypeVar("T")


class Family(Generic[T]):
    """All members of one kind.

    Args:
        package: the package whose files are the members, e.g. ``"flyweight.runtimes"``; files whose name begins with
            an underscore are helpers, not members.
        kind: the word for one member in messages, e.g. ``"runtime"``.
    """

    def __init__(self, package: str, kind: str) -> None:
        self.package = package
        self.kind = kind

    @cached_property
    def files(self) -> tuple[str, ...]:
        """The members' module names, found without importing one of them."""
        folder = importlib.import_module(self.package)
        own = [f"{self.package}.{m.name}" for m in pkgutil.iter_modules(folder.__path__) if not m.name.startswith("_")]
        foreign = [point.value for point in entry_points(group=self.package)]
        return tuple(sorted(own) + sorted(foreign))

    @cached_property
    def members(self) -> Mapping[str, T]:
        """Every member by name.

        Raises:
            UsageError: two files offer the same name, or a file offers none.
        """
        return {name: member for name, (_, member) in self._found.items()}

    @cached_property
    def origins(self) -> Mapping[str, str]:
        """From every member's name to the module that offers it; errors as ``members``."""
        return {name: file for name, (file, _) in self._found.items()}

    @cached_property
    def _found(self) -> Mapping[str, tuple[str, T]]:
        found: dict[str, tuple[str, T]] = {}
        for file in self.files:
            for name, member in _members_of(importlib.import_module(file)).items():
                if name in found:
                    raise UsageError(
                        f"two {self.kind}s are named '{name}': in {found[name][0]} and {file}. Rename one."
                    )
                found[name] = (file, cast(T, member))
        return found

    def names(self) -> tuple[str, ...]:
        """Return all names, sorted."""
        return tuple(sorted(self.members))

    def get(self, name: str) -> T:
        """Return the member called ``name``; only its own file is imported if the file has that name too.

        Raises:
            UsageError: no such name; the nearest ones are listed.
        """
        file = f"{self.package}.{name}"
        if file in self.files:
            offered = _members_of(importlib.import_module(file))
            if name in offered:
                return cast(T, offered[name])
        if name not in self.members:
            raise unknown_name(self.kind, name, self.members)
        return self.members[name]


def _members_of(module: ModuleType) -> Mapping[str, object]:
    members = getattr(module, "MEMBERS", None)
    if not isinstance(members, Mapping) or not members:
        raise UsageError(f"{module.__name__} has no MEMBERS. Add: MEMBERS = {{'its_name': its_object}}.")
    return members
