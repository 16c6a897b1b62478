"""docs/data.md says what the code gives."""

from pathlib import Path

import numpy as np
from PIL import Image

from flyweight.data import blue_marble, load_dataset
from tools import tile_page

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_states_the_counts_shares_and_statistics_that_the_code_gives():
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    data = load_dataset("blue_marble")
    assert tile_page.table(data) in page
    assert tile_page.statistics_line(data) in page


def test_the_page_states_the_number_of_blocks():
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    assert (len(blue_marble.TEST_BLOCKS), len(blue_marble.VAL_BLOCKS)) == (6, 6)
    assert "Six blocks of the Earth are for testing" in page and "Six smaller blocks are for validation" in page


def test_both_pictures_are_drawn(tmp_path: Path):
    assert tile_page.main([str(tmp_path)]) == 0
    for name in ("blue_marble_tiles.png", "blue_marble_split.png"):
        with Image.open(tmp_path / name) as drawn, Image.open(ROOT / "docs" / "images" / name) as kept:
            assert drawn.size == kept.size
            difference = np.abs(np.asarray(drawn.convert("RGB"), int) - np.asarray(kept.convert("RGB"), int))
            assert difference.mean() < 3  # the same picture, whatever decoder and palette


def test_a_tile_is_named_by_its_centre():
    # row 960 is the equator, column 2700 the meridian of Greenwich; the centre lies 80 pixels = 5.33 degrees further
    assert tile_page.where((960, 2700)) == "5° S, 5° E"
    assert tile_page.where((640, 2400)) == "16° N, 15° W"
