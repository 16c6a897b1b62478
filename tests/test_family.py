"""flyweight.family: a folder of files becomes names becomes objects."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from itertools import count
from pathlib import Path

import pytest

from flyweight import family
from flyweight.errors import UsageError
from flyweight.family import Family

_NUMBER = count()


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Make a package of these files and return its family."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def of(**sources: str) -> Family[object]:
        name = f"made_family_{next(_NUMBER)}"  # a name of its own: Python remembers what it imported
        (tmp_path / name).mkdir()
        for file, source in {"__init__": "", **sources}.items():
            (tmp_path / name / f"{file}.py").write_text(source)
        return Family(name, "bird")

    return of


def test_every_file_is_a_member_by_its_name(make) -> None:  # type: ignore[no-untyped-def]
    birds = make(owl="MEMBERS = {'owl': 1}", wren="MEMBERS = {'wren': 2}")
    assert (birds.names(), birds.get("owl"), birds.get("wren")) == (("owl", "wren"), 1, 2)


def test_file_may_offer_several_members(make) -> None:  # type: ignore[no-untyped-def]
    birds = make(owl="MEMBERS = {'barn_owl': 1, 'eagle_owl': 2}")
    assert birds.names() == ("barn_owl", "eagle_owl")
    assert birds.get("eagle_owl") == 2


def test_origin_of_a_member_is_its_file(make) -> None:  # type: ignore[no-untyped-def]
    birds = make(owl="MEMBERS = {'barn_owl': 1, 'eagle_owl': 2}", wren="MEMBERS = {'wren': 3}")
    owl, wren = f"{birds.package}.owl", f"{birds.package}.wren"
    assert birds.origins == {"barn_owl": owl, "eagle_owl": owl, "wren": wren}


def test_file_with_an_underscore_is_a_helper_and_no_member(make) -> None:  # type: ignore[no-untyped-def]
    assert make(_nest="raise RuntimeError('imported')", owl="MEMBERS = {'owl': 1}").names() == ("owl",)


def test_get_imports_only_the_file_of_that_name(make) -> None:  # type: ignore[no-untyped-def]
    birds = make(owl="MEMBERS = {'owl': 1}", wren="MEMBERS = {'wren': 2}")
    birds.get("owl")
    assert (f"{birds.package}.owl" in sys.modules, f"{birds.package}.wren" in sys.modules) == (True, False)


def test_files_are_found_without_importing_them(make) -> None:  # type: ignore[no-untyped-def]
    birds = make(owl="raise RuntimeError('imported')")
    assert birds.files == (f"{birds.package}.owl",)


def test_unknown_name_lists_the_nearest_first_and_then_all(make) -> None:  # type: ignore[no-untyped-def]
    birds = make(owl="MEMBERS = {'owl': 1}", wren="MEMBERS = {'wren': 2}")
    with pytest.raises(UsageError, match=r"no bird is named 'wrem'\. Did you mean wren\? Known: owl, wren\."):
        birds.get("wrem")


def test_name_in_two_files_is_an_error_that_names_both(make) -> None:  # type: ignore[no-untyped-def]
    birds = make(owl="MEMBERS = {'owl': 1}", wren="MEMBERS = {'owl': 2}")
    with pytest.raises(UsageError, match=r"two birds are named 'owl': in \w+\.owl and \w+\.wren"):
        birds.names()


@pytest.mark.parametrize("source", ["", "MEMBERS = {}", "MEMBERS = ['owl']"])
def test_file_that_offers_nothing_is_an_error_that_names_it(make, source: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=r"\.owl has no MEMBERS\. Add: MEMBERS = "):
        make(owl=source).names()


def test_package_outside_joins_by_its_entry_point(make, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    birds, outside = make(owl="MEMBERS = {'owl': 1}"), make(kiwi="MEMBERS = {'kiwi': 3}")
    point = EntryPoint("kiwi", f"{outside.package}.kiwi", birds.package)
    monkeypatch.setattr(family, "entry_points", lambda group: [point] if group == birds.package else [])
    assert (birds.names(), birds.get("kiwi")) == (("kiwi", "owl"), 3)
