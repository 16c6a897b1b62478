from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flyweight.data import load_dataset
from flyweight.errors import DataError


def paint(path: Path, value: int = 100, size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, value in (("cat", 50), ("dog", 150)):
        for index in range(10):
            paint(tmp_path / name / f"{index}.png", value)
    return tmp_path


def test_each_folder_is_a_class_and_the_split_is_drawn_for_each(folder: Path) -> None:
    data = load_dataset(folder)
    assert data.task == "classify" and data.class_names == ("cat", "dog") and data.size == (6, 8)
    for split, count in ((data.train, 12), (data.val, 4), (data.test, 4)):  # of 10: 15 % is 2, for val and test each
        labels = [int(split[i][1]) for i in range(len(split))]
        assert labels.count(0) == labels.count(1) == count // 2
    assert data.class_shares == (0.5, 0.5)
    assert data.mean == pytest.approx([100 / 255] * 3, abs=1e-6)  # (50 + 150) / 2


def test_an_image_keeps_its_label(folder: Path) -> None:
    data = load_dataset(folder)
    for index in range(len(data.train)):
        image, label = data.train[index]
        assert image[0, 0, 0] == (50, 150)[int(label)]


def test_a_split_that_the_folder_brings_is_taken(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        for name in ("a", "b"):
            for index in range(count):
                paint(tmp_path / split / name / f"{index}.jpg")
    data = load_dataset(tmp_path)
    assert (len(data.train), len(data.val), len(data.test)) == (6, 2, 4)


def test_images_may_differ_in_size(folder: Path) -> None:
    paint(folder / "cat" / "large.png", size=(20, 30))
    assert load_dataset(folder).size is None


def broken(folder: Path) -> None:
    (folder / "cat" / "0.png").write_bytes(b"no picture")


def empty(folder: Path) -> None:
    (folder / "bird").mkdir()


def text(folder: Path) -> None:
    (folder / "cat" / "notes.txt").write_text("")


def lone(folder: Path) -> None:
    for path in (folder / "dog").iterdir():
        path.unlink()
    (folder / "dog").rmdir()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (broken, r"cat/0\.png: not readable as PNG or JPEG"),
        (empty, r"bird: the class has no image"),
        (text, r"notes\.txt: allowed here are files that end in \.png, \.jpg, \.jpeg"),
        (lone, r"1 folders of images; a class needs its own, and there must be two"),
    ],
)
def test_what_is_wrong_is_said_by_name(spoil, message: str, folder: Path) -> None:
    spoil(folder)
    with pytest.raises(DataError, match=message):
        load_dataset(folder)


def test_a_class_that_only_one_split_has_is_an_error(tmp_path: Path) -> None:
    for place in ("train/a", "train/b", "val/a", "val/b", "test/a", "test/c"):
        paint(tmp_path / place / "0.png")
    with pytest.raises(DataError, match="train/ and test/ need the same classes"):
        load_dataset(tmp_path)


def test_a_missing_split_is_an_error(tmp_path: Path) -> None:
    for place in ("train/a", "train/b", "val/a", "val/b"):
        paint(tmp_path / place / "0.png")
    with pytest.raises(DataError, match=r"test: missing, but train/ is there"):
        load_dataset(tmp_path)


def test_labels_are_numbers_without_axes(folder: Path) -> None:
    label = load_dataset(folder).train[0][1]
    assert label.shape == () and label.dtype == np.int64
