"""Print the figures of docs/data.md and draw its pictures.

    python tools/tile_page.py [FOLDER]

Writes ``blue_marble_tiles.png`` (tiles with their masks) and ``blue_marble_split.png`` (which part of the Earth is in
which split) into FOLDER, by default ``docs/images``, and prints the table of counts and class shares.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from flyweight.contracts import DataSet
from flyweight.data import blue_marble, load_dataset
from flyweight.data._arrays import ArraySplit
from flyweight.tasks.segment import colorize, draw

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPLITS = ("train", "val", "test")
COLUMNS, ROWS, GAP_PX, TITLE_PX = 8, 2, 6, 26
MAP_SHRINK = 4
SPLIT_COLORS = {"train": (90, 200, 120), "val": (255, 210, 60), "test": (235, 70, 60)}


def main(arguments: Sequence[str]) -> int:
    """Print the table and write both pictures."""
    folder = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    data = load_dataset("blue_marble")
    print(table(data))
    print(statistics_line(data))
    tiles_page(data).quantize(256).save(folder / "blue_marble_tiles.png", optimize=True)
    split_map(data).quantize(128).save(folder / "blue_marble_split.png", optimize=True)
    return 0


def table(data: DataSet) -> str:
    """Return counts and class shares per split as a Markdown table; shares in percent of the split's pixels."""
    classes = " | ".join(f"{name} %" for name in data.class_names)
    lines = [
        f"| split | tiles | with two classes or more | with a lake | {classes} |",
        "|---|--:|--:|--:|" + "--:|" * len(data.class_names),
    ]
    for name in SPLITS:
        masks = split_of(data, name).targets
        present = np.stack([(masks == index).any(axis=(1, 2)) for index in range(len(data.class_names))])
        shares = [f"{(masks == index).mean() * 100:.2f}" for index in range(len(data.class_names))]
        counts = (len(masks), int((present.sum(axis=0) > 1).sum()), int(present[2].sum()))
        lines.append(f"| {name} | {' | '.join(map(str, counts))} | {' | '.join(shares)} |")
    return "\n".join(lines)


def statistics_line(data: DataSet) -> str:
    """Return mean and standard deviation of the training images, red, green, blue, from 0 to 1."""
    mean, std = (", ".join(f"{value:.3f}" for value in values) for values in (data.mean, data.std))
    return f"Training images (red, green, blue; 0 to 1): mean {mean}; standard deviation {std}."


def split_of(data: DataSet, name: str) -> ArraySplit:
    """Return a split, which ``blue_marble`` holds in arrays."""
    split = getattr(data, name)
    assert isinstance(split, ArraySplit)
    return split


def tiles_page(data: DataSet) -> Image.Image:
    """Draw test tiles, evenly chosen among those with the most lake and those with a coast: picture, mask, both."""
    split, size = split_of(data, "test"), blue_marble.TILE_PX
    chosen = shown_tiles(split)
    cell, block = size + GAP_PX, 3 * size + 2 * GAP_PX + TITLE_PX
    page = Image.new("RGB", (COLUMNS * cell - GAP_PX, ROWS * block), "white")
    pen = ImageDraw.Draw(page)
    for place, index in enumerate(chosen):
        left, top = place % COLUMNS * cell, place // COLUMNS * block
        image, mask = split[index]
        pen.text((left + 2, top + 6), where(split.tiles[index]), fill="black", font=ImageFont.load_default(13))
        for row, picture in enumerate((image, colorize(mask, data.colors), draw(image, mask, data.colors))):
            page.paste(Image.fromarray(picture), (left, top + TITLE_PX + row * (size + GAP_PX // 2)))
    return page


def shown_tiles(split: ArraySplit) -> list[int]:
    """Return the indices of the page's tiles: half of them the ones with most lake, the others by most coast."""
    half = COLUMNS * ROWS // 2
    lakes = (split.targets == 2).sum(axis=(1, 2))
    land = split.targets == 1
    coast = (land[:, 1:] != land[:, :-1]).sum(axis=(1, 2)) + (land[:, :, 1:] != land[:, :, :-1]).sum(axis=(1, 2))
    first = list(np.argsort(-lakes, kind="stable")[:half])
    rest = [index for index in np.argsort(-coast, kind="stable") if index not in first]
    return sorted(int(index) for index in first + rest[: COLUMNS * ROWS - half])


def where(corner: tuple[int, int]) -> str:
    """Return a tile's centre in degrees."""
    half = blue_marble.TILE_PX / 2
    latitude = (blue_marble.GRID_ROWS * blue_marble.TILE_PX / 2 - corner[0] - half) / 15
    longitude = (corner[1] + half) / 15 - 180
    return f"{abs(latitude):.0f}° {'NS'[latitude < 0]}, {abs(longitude):.0f}° {'EW'[longitude < 0]}"


def split_map(data: DataSet) -> Image.Image:
    """Draw the Earth: training, validation and test pixels in their colours; what no split uses stays dark."""
    picture = blue_marble.world()[0]
    height, width = (side // MAP_SHRINK for side in picture.shape[:2])
    small = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX)).astype(np.float64) * 0.6
    for name in SPLITS:
        covered = np.zeros(picture.shape[:2], np.bool_)
        for y, x in split_of(data, name).tiles:
            covered[y : y + blue_marble.TILE_PX, x : x + blue_marble.TILE_PX] = True
        here: NDArray[np.bool_] = covered[::MAP_SHRINK, ::MAP_SHRINK]
        small[here] = small[here] * 0.75 + np.array(SPLIT_COLORS[name]) * 0.35
    return Image.fromarray(np.clip(small, 0, 255).astype(np.uint8))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
