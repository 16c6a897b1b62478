"""docs/zoo.md says what the specs give. Each family is a test of its own, so that the cores share them."""

import re

import pytest

from flyweight.device import device_names
from flyweight.profile import profile_spec
from flyweight.zoo import ZOO
from tools import zoo_page

PAGE = zoo_page.PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("file", zoo_page.zoo_files())
def test_family_on_the_page_is_what_its_file_says(file: str) -> None:
    assert zoo_page.section(file) in PAGE, "stale: run python tools/zoo_page.py"


def test_page_has_the_families_and_nothing_else() -> None:
    assert PAGE.startswith(zoo_page.head()), "stale: run python tools/zoo_page.py"
    assert re.findall(r"^## .*", PAGE, re.MULTILINE) == [zoo_page.heading(file) for file in zoo_page.zoo_files()]
    assert re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE) == [
        name for file in zoo_page.zoo_files() for name in zoo_page.members_of(file)
    ]


def test_row_gives_counted_figures_and_marks_the_published_ones() -> None:
    row = zoo_page.row(
        "mobilenet_v1_1.0_224", ZOO.get("mobilenet_v1_1.0_224"), {ZOO.get("mobilenet_v1_1.0_224").source: "a"}
    )
    # two maps of 64 x 112 x 112 float32 are live at the peak: 64 * 112 * 112 * 4 * 2 = 6,422,528 bytes, and what waits
    peak = profile_spec(ZOO.get("mobilenet_v1_1.0_224").spec).peak_activation_bytes
    assert row.split(" | ")[1:] == [
        "224x224",
        "4,231,976 p",
        "568,740,352 p",
        f"{peak / 1e6:.2f}",
        "315",
        "70.9",
        "all",
        "a |",
    ]


def test_field_of_a_network_that_squeezes_is_the_whole_image() -> None:
    assert zoo_page.field_text(zoo_page.figures(ZOO.get("mobilenet_v3_small_1.0")).field) == "all"


def test_what_was_not_published_has_no_mark() -> None:
    entry = ZOO.get("mobilenet_v1_deconv")
    cells = zoo_page.row("mobilenet_v1_deconv", entry, {entry.source: "a"}).split(" | ")
    assert [cell for cell in cells if cell.endswith(" p")] == []
    assert cells[-3] == zoo_page.MISSING


def test_targets_are_named_or_where_they_are_most_the_ones_left_out() -> None:
    every = device_names()
    assert zoo_page.targets_text(every) == "all"
    assert zoo_page.targets_text([name for name in every if name != "edge_tpu"]) == "all but TPU"
    assert zoo_page.targets_text(["ncnn", "onnxruntime"]) == "ncnn, ORT"
    assert zoo_page.targets_text([]) == zoo_page.MISSING
