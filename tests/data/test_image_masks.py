import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flyweight.data import load_dataset
from flyweight.data._classes import Classes, read_classes
from flyweight.data._pictures import MAX_PIXELS, read_image, read_mask
from flyweight.errors import DataError, FileError, FlyweightError, UsageError

CLASSES = [
    {"name": "soil", "index": 0, "color": [100, 60, 0]},
    {"name": "leaf", "index": 1, "color": [0, 160, 0]},
    {"name": "nothing", "index": 255, "color": [255, 255, 255]},
]
TWO = Classes(("soil", "leaf"), {(100, 60, 0): 0, (0, 160, 0): 1, (255, 255, 255): 255}, "classes.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images of 6x4 with masks: the left half soil, the right half leaf."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for number in range(10):
        Image.new("RGB", (6, 4), (number * 10, 100, 200)).save(tmp_path / f"images/{number:02}.png")
        Image.fromarray(half()).save(tmp_path / f"masks/{number:02}.png")
    (tmp_path / "classes.json").write_text(json.dumps(CLASSES))
    return tmp_path


def half() -> np.ndarray:
    mask = np.zeros((4, 6), np.uint8)
    mask[:, 3:] = 1
    return mask


def refused(folder: Path, *parts: str) -> None:
    """Check that loading fails with a message that holds all these parts."""
    with pytest.raises(DataError) as caught:
        load_dataset(folder)
    for part in parts:
        assert part in str(caught.value)


def test_a_folder_becomes_three_splits_that_share_no_image(folder: Path):
    data = load_dataset(folder)
    names = [{image.stem for image, _ in split.pairs} for split in (data.train, data.val, data.test)]  # type: ignore[attr-defined]
    assert [len(split) for split in names] == [6, 2, 2]  # 15 % of 10, rounded, is 2
    assert len(set.union(*names)) == 10
    assert (data.class_names, data.size, data.colors) == (("soil", "leaf"), (4, 6), ((100, 60, 0), (0, 160, 0)))


def test_images_and_masks_are_read_as_they_lie_there(folder: Path):
    (folder / "train.txt").write_text("03\n")
    (folder / "val.txt").write_text("01\n")
    (folder / "test.txt").write_text("02\n\n")
    image, mask = load_dataset(str(folder)).train[0]
    assert image.shape == (4, 6, 3) and image[0, 0].tolist() == [30, 100, 200]
    assert np.array_equal(mask, half())


def test_mean_std_and_shares_are_those_of_the_training_split(folder: Path):
    data = load_dataset(folder)
    images = np.stack([data.train[i][0] for i in range(len(data.train))]) / 255
    assert data.mean == pytest.approx(images.mean(axis=(0, 1, 2)), abs=1e-6)
    assert data.std[0] == pytest.approx(images[..., 0].std(), abs=1e-6)
    assert data.std[1] == pytest.approx(1 / 255, abs=1e-6)  # one colour alone has no spread; never divided by zero
    assert data.class_shares == (0.5, 0.5)


def test_the_same_seed_draws_the_same_split_and_another_seed_another(folder: Path):
    def drawn(seed: int) -> list[Path]:
        return [image for image, _ in load_dataset(folder, seed=seed).test.pairs]  # type: ignore[attr-defined]

    assert drawn(1) == drawn(1)
    assert len({tuple(drawn(seed)) for seed in range(5)}) > 1


def test_masks_in_colours_are_read_by_the_palette_of_the_classes(folder: Path):
    picture = np.full((4, 6, 3), (0, 160, 0), np.uint8)
    picture[0, :2] = (100, 60, 0)
    picture[3, 5] = 255
    Image.fromarray(picture).save(folder / "masks/00.png")
    mask = read_mask(folder / "masks/00.png", read_classes(folder))
    assert mask[0].tolist() == [0, 0, 1, 1, 1, 1] and mask[3, 5] == 255


def test_a_mask_with_a_palette_holds_indices_whatever_its_colours(folder: Path):
    picture = Image.fromarray(half())
    picture.putpalette([9, 9, 9, 200, 100, 0])
    picture.save(folder / "masks/00.png")
    assert np.array_equal(read_mask(folder / "masks/00.png", TWO), half())


def test_a_black_and_white_mask_holds_0_and_1(folder: Path):
    Image.fromarray(half().astype(bool)).save(folder / "masks/00.png")
    assert np.array_equal(read_mask(folder / "masks/00.png", TWO), half())


def test_classes_can_stand_in_toml(folder: Path):
    (folder / "classes.json").unlink()
    (folder / "classes.toml").write_text(
        '[[classes]]\nname = "leaf"\nindex = 1\n[[classes]]\nname = "soil"\nindex = 0\ncolor = [1, 2, 3]\n'
    )
    classes = read_classes(folder)
    assert (classes.names, classes.index_of_color, classes.colors) == (("soil", "leaf"), {(1, 2, 3): 0}, ())


def test_a_photo_is_turned_upright_like_its_mask(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side: turn it by 90 degrees clockwise
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=exif.tobytes())
    assert read_image(tmp_path / "a.jpg").shape == (8, 4, 3)


# ---- what a person does wrong -----------------------------------------------------------------------------------


def test_a_missing_mask_is_named(folder: Path):
    (folder / "masks/07.png").unlink()
    refused(folder, "images/07.png: no mask 07.png in masks/", "Add it, or remove the image")


def test_a_mask_without_image_is_named(folder: Path):
    Image.fromarray(half()).save(folder / "masks/99.png")
    refused(folder, "masks/99.png: no image '99' in images/")


def test_a_mask_of_another_size_is_named(folder: Path):
    Image.fromarray(half()[:3]).save(folder / "masks/02.png")
    refused(folder, "masks/02.png: 6x3, but its image is 6x4. Every mask needs its image's size.")


def test_an_unknown_index_is_named_with_its_place(folder: Path):
    mask = half()
    mask[2, 4] = 7
    Image.fromarray(mask).save(folder / "masks/05.png")
    refused(folder, "masks/05.png: index 7 at row 2, column 4; allowed are 0 to 1 (soil, leaf) and 255", "classes.json")


def test_an_unknown_colour_is_named_with_its_place(folder: Path):
    picture = np.full((4, 6, 3), (0, 160, 0), np.uint8)
    picture[1, 3] = (1, 2, 3)
    Image.fromarray(picture).save(folder / "masks/05.png")
    refused(folder, "masks/05.png: colour (1, 2, 3) at row 1, column 3", "(100, 60, 0)")


def test_a_mask_in_colours_needs_classes_with_colours(folder: Path):
    (folder / "classes.json").write_text('[{"name": "a", "index": 0}, {"name": "b", "index": 1}]')
    Image.new("RGB", (6, 4)).save(folder / "masks/05.png")
    refused(folder, "masks/05.png: a mask in colours, but classes.json gives the classes no colours")


@pytest.mark.parametrize("name", ["images/04.png", "masks/04.png"])
@pytest.mark.parametrize("content", [b"", b"not a picture", None])
def test_an_unreadable_file_is_named(folder: Path, name: str, content: bytes | None):
    path = folder / name
    Image.effect_noise((6, 4), 9).save(path)
    path.write_bytes(path.read_bytes()[:60] if content is None else content)  # None: cut off in the middle
    refused(folder, f"{name}: not readable as PNG", "Replace it, or take it out")


@pytest.mark.parametrize("empty", ["train", "val", "test"])
def test_an_empty_split_is_named(folder: Path, empty: str):
    for place, split in enumerate(("train", "val", "test")):
        (folder / f"{split}.txt").write_text("\n" if split == empty else f"0{place}\n")
    refused(folder, f"{empty}.txt: the split is empty")


def test_too_few_images_to_split_are_refused(folder: Path):
    for number in range(2, 10):
        (folder / f"images/{number:02}.png").unlink()
        (folder / f"masks/{number:02}.png").unlink()
    refused(folder, "2 images leave a split empty")


def test_a_training_split_without_any_truth_is_refused(folder: Path):
    for path in (folder / "masks").iterdir():
        Image.fromarray(np.full((4, 6), 255, np.uint8)).save(path)
    refused(folder, "the training split has no pixel with a class")


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"train": "00", "val": "01"}, "test.txt: missing, but train.txt is there"),
        ({"train": "00", "val": "01", "test": "00"}, "test.txt: '00' is listed in train.txt already"),
        ({"train": "00\n00", "val": "01", "test": "02"}, "train.txt: '00' is listed in train.txt already"),
        ({"train": "00", "val": "01", "test": "../../etc/passwd"}, "test.txt: '../../etc/passwd' is no image"),
        ({"train": "00", "val": "01", "test": b"\xff\xfe\xff"}, "test.txt: not a text file in UTF-8"),
    ],
)
def test_lists_that_make_no_split_are_refused(folder: Path, lists: dict[str, Any], message: str):
    for split, content in lists.items():
        (folder / f"{split}.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(folder, message)


def test_an_image_of_another_kind_is_named(folder: Path):
    (folder / "images/scan.bmp").write_bytes(b"BM")
    refused(folder, "images/scan.bmp: ends in '.bmp'; allowed here are .png, .jpg, .jpeg")


def test_a_lossy_mask_is_refused(folder: Path):
    Image.fromarray(half()).save(folder / "masks/00.jpg")
    refused(folder, "masks/00.jpg: ends in '.jpg'; allowed here are .png")


def test_two_images_of_one_name_are_refused(folder: Path):
    Image.new("RGB", (6, 4)).save(folder / "images/00.jpg")
    refused(folder, "images/00.png: 00.jpg has the same name")


def test_an_empty_image_folder_is_refused(folder: Path):
    for path in (folder / "images").iterdir():
        path.unlink()
    refused(folder, "images: no image in it")


def test_a_missing_folder_is_named(folder: Path):
    (folder / "masks").rename(folder / "labels")
    with pytest.raises(FileError, match=r"masks: can't read the folder: it does not exist"):
        load_dataset(folder)


def test_a_deep_image_is_refused_rather_than_clipped(folder: Path):
    Image.fromarray(np.full((4, 6), 40000, np.uint16)).save(folder / "images/00.png")
    refused(folder, "images/00.png: more than 8 bits a channel")


def test_a_deep_mask_is_refused(folder: Path):
    Image.fromarray(half().astype(np.uint16)).save(folder / "masks/00.png")
    refused(folder, "masks/00.png: a mask of mode 'I;16'")


@pytest.mark.parametrize("side", [8000, 12000, 40000])
def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path: Path, side: int):
    small = io.BytesIO()
    Image.new("1", (8, 8)).save(small, "PNG")
    path = tmp_path / "bomb.png"
    path.write_bytes(_with_size(small.getvalue(), side))  # says it is huge; a decoder would reserve the memory
    assert side**2 > MAX_PIXELS
    with pytest.raises(DataError, match=r"bomb\.png"):
        read_image(path)


def _with_size(png: bytes, side: int) -> bytes:
    import struct
    import zlib

    header = b"IHDR" + struct.pack(">II", side, side) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "holds no list of classes"),
        ("[1]", "a class is 1"),
        ('[{"name": "a"}]', "wanted: name, index"),
        ('[{"name": "a", "index": 0, "colour": [1, 2, 3]}]', "wanted: name, index"),
        ('[{"name": "", "index": 0}]', "a class's name is ''"),
        ('[{"name": "a", "index": 256}]', "index 256; allowed are 0 to 254"),
        ('[{"name": "a", "index": true}]', "index True"),
        ('[{"name": "a", "index": 0, "color": [0, 0]}]', "color [0, 0]"),
        ('[{"name": "a", "index": 0}, {"name": "b", "index": 2}]', "indices [0, 2]; wanted: 0, 1, 2"),
        ('[{"name": "a", "index": 0}]', "at least two"),
        ('[{"name": "a", "index": 0}, {"name": "a", "index": 1}]', "the same name or index"),
        ('[{"name": "a", "index": 0, "color": [1,1,1]}, {"name": "b", "index": 1, "color": [1,1,1]}]', "same colour"),
    ],
)
def test_classes_that_make_no_sense_are_refused(folder: Path, content: str, message: str):
    (folder / "classes.json").write_text(content)
    refused(folder, "classes.json", message)


def test_without_classes_the_message_shows_how_to_write_them(folder: Path):
    (folder / "classes.json").unlink()
    refused(folder, 'no classes.json. Write one like: [{"name": "background", "index": 0}')


def test_a_name_that_is_neither_data_set_nor_folder_lists_the_data_sets():
    with pytest.raises(UsageError, match=r"'blue_marbel' is neither a folder nor a data set.* blue_marble"):
        load_dataset("blue_marbel")


def test_image_masks_is_asked_for_by_its_folder():
    with pytest.raises(UsageError, match="Give the folder's path"):
        load_dataset("image_masks")


# ---- hostile input ----------------------------------------------------------------------------------------------


def _pictures() -> list[bytes]:
    found = []
    noise = np.random.default_rng(0).integers(0, 3, (9, 7), dtype=np.uint8)
    for mode, kind in (("L", "PNG"), ("P", "PNG"), ("RGB", "PNG"), ("RGB", "JPEG"), ("1", "PNG")):
        exif = Image.Exif()
        exif[0x0112] = 6
        buffer = io.BytesIO()
        Image.fromarray(noise).convert(mode).save(buffer, kind, exif=exif.tobytes())
        found.append(buffer.getvalue())
    return found


def _read_both(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "x.png"
        path.write_bytes(content)
        for read in (read_image, lambda p: read_mask(p, TWO)):
            try:
                result = read(path)
            except DataError as error:
                assert "x.png" in str(error)
            else:
                assert result.dtype == np.uint8 and result.size <= MAX_PIXELS * 3


@settings(max_examples=150)
@given(st.binary(max_size=300))
def test_random_bytes_are_a_picture_or_a_data_error(content: bytes):
    _read_both(content)


@settings(max_examples=300)
@given(
    st.sampled_from(_pictures()),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    st.integers(0, 9),
)
def test_damaged_pictures_are_a_picture_or_a_data_error(content: bytes, changes: list[tuple[int, int]], lost: int):
    damaged = bytearray(content)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    _read_both(bytes(damaged[: len(damaged) - lost * lost]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | st.text(max_size=3) | st.just("a"),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["name", "index", "color", "classes"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=200)
@given(JSON | st.binary(max_size=40), st.sampled_from(["classes.json", "classes.toml"]))
def test_any_file_of_classes_is_read_or_refused_by_name(content: Any, name: str):
    with tempfile.TemporaryDirectory() as scratch:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (Path(scratch) / name).write_bytes(data)
        try:
            classes = read_classes(Path(scratch))
        except FlyweightError as error:
            assert name in str(error)
        else:
            assert len(classes.names) >= 2
