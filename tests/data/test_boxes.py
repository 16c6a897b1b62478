import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from flyweight.data import load_dataset
from flyweight.data._annotations import MAX_XML_BYTES, read_coco, read_voc
from flyweight.errors import DataError, FileError, FlyweightError, UsageError

CAT = "<object><name>cat</name><bndbox><xmin>3</xmin><ymin>1</ymin><xmax>8</xmax><ymax>4</ymax></bndbox></object>"
DOG = (
    "<object><name>dog</name><difficult>1</difficult>"
    "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>10</xmax><ymax>8</ymax></bndbox></object>"
)
SIZE = "<size><width>10</width><height>8</height><depth>3</depth></size>"


def xml(*parts: str) -> str:
    return f"<?xml version='1.0'?>\n<annotation>{''.join(parts)}</annotation>\n"


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Ten images of 10x8: all but the last with a cat, the even ones with a difficult dog."""
    for name in ("images", "annotations"):
        (tmp_path / name).mkdir()
    for number in range(10):
        Image.new("RGB", (10, 8), (number * 10, 100, 200)).save(tmp_path / f"images/{number:02}.png")
        text = xml(SIZE, CAT if number < 9 else "", "" if number % 2 else DOG)
        (tmp_path / f"annotations/{number:02}.xml").write_text(text)
    return tmp_path


def coco_of(images: int = 10) -> dict[str, Any]:
    """The same as COCO writes it, with ids of its own."""
    entries = [{"id": 100 + n, "file_name": f"{n:02}.png", "width": 10, "height": 8} for n in range(images)]
    cats = [{"id": n, "image_id": 100 + n, "category_id": 17, "bbox": [2, 0, 6, 4]} for n in range(images - 1)]
    dogs = [{"image_id": 100 + n, "category_id": 5, "bbox": [0, 0, 10, 8], "iscrowd": 1} for n in range(0, images, 2)]
    return {
        "images": entries, "annotations": [*cats, *dogs],
        "categories": [{"id": 17, "name": "cat"}, {"id": 5, "name": "dog", "supercategory": "animal"}],
    }  # fmt: skip


@pytest.fixture
def coco(voc: Path) -> Path:
    for path in (voc / "annotations").iterdir():
        path.unlink()
    (voc / "annotations").rmdir()
    write(voc, coco_of())
    return voc


def write(folder: Path, data: Any) -> None:
    (folder / "annotations.json").write_text(json.dumps(data))


def refused(folder: Path, *parts: str) -> None:
    """Check that loading fails with a message that holds all these parts."""
    with pytest.raises((DataError, FileError)) as caught:
        load_dataset(folder)
    for part in parts:
        assert part in str(caught.value)


def split_of(folder: Path, first: str, **others: str) -> None:
    for name, text in {"train": first, "val": "01", "test": "02", **others}.items():
        (folder / f"{name}.txt").write_text(text)


def test_a_folder_of_xml_becomes_three_splits_that_share_no_image(voc: Path) -> None:
    data = load_dataset(voc)
    assert (data.task, data.class_names, data.size) == ("detect", ("cat", "dog"), (8, 10))
    names = [{image.stem for image, _ in split.pairs} for split in (data.train, data.val, data.test)]  # type: ignore[attr-defined]
    assert [len(split) for split in names] == [6, 2, 2]
    assert len(set.union(*names)) == 10


def test_corners_of_xml_are_the_first_and_last_pixels_counted_from_one(voc: Path) -> None:
    split_of(voc, "00\n09")
    data = load_dataset(voc)
    image, target = data.train[0]
    assert image.shape == (8, 10, 3) and target.dtype == np.float32
    assert target[0] == pytest.approx([0, 2 / 10, 0, 8 / 10, 4 / 8, 0])
    assert target[1] == pytest.approx([1, 0, 0, 1, 1, 1])  # difficult: ignored
    assert data.train[1][1].shape == (0, 6)  # an image of nothing
    assert data.class_shares == (0.5, 0.5)
    assert data.mean[0] == pytest.approx(45 / 255, abs=1e-6)


def test_boxes_of_coco_are_corner_and_size_counted_from_zero(coco: Path) -> None:
    split_of(coco, "00\n09")
    data = load_dataset(coco)
    assert data.class_names == ("dog", "cat")  # in the order of their ids
    assert data.train[0][1].tolist() == pytest.approx(
        [pytest.approx([1, 0.2, 0, 0.8, 0.5, 0]), pytest.approx([0, 0, 0, 1, 1, 1])]
    )
    assert data.train[1][1].shape == (0, 6)


def test_classes_can_be_listed_in_their_order(voc: Path) -> None:
    (voc / "classes.txt").write_text("dog\n\nbird\ncat\n")
    data = load_dataset(voc)
    assert data.class_names == ("dog", "bird", "cat")
    assert data.class_shares[1] == 0


def test_images_may_differ_in_size(voc: Path) -> None:
    Image.new("RGB", (20, 8)).save(voc / "images/03.png")
    (voc / "annotations/03.xml").write_text(xml(CAT))  # and without a <size>
    split_of(voc, "03\n04")
    data = load_dataset(voc)
    assert data.size is None
    assert data.train[0][1][0] == pytest.approx([0, 0.1, 0, 0.4, 0.5, 0])


def test_a_box_that_reaches_a_pixel_beyond_its_image_is_cut_off(voc: Path) -> None:
    (voc / "annotations/03.xml").write_text(xml(CAT.replace("<xmin>3", "<xmin>0").replace("<xmax>8", "<xmax>11")))
    split_of(voc, "03")
    assert load_dataset(voc).train[0][1][0] == pytest.approx([0, 0, 0, 1, 0.5, 0])


# ---- what a person does wrong -----------------------------------------------------------------------------------


def test_missing_and_lonely_files_are_named(voc: Path) -> None:
    (voc / "annotations/07.xml").rename(voc / "annotations/77.xml")
    refused(voc, "images/07.png: no 07.xml in annotations/", "Add it, or remove the image")
    Image.new("RGB", (10, 8)).save(voc / "images/77.png")
    (voc / "images/07.png").unlink()
    (voc / "annotations/88.xml").write_text(xml(CAT))
    refused(voc, "annotations/88.xml: no image '88' in images/")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation>", "not readable as XML"),
        ("", "not readable as XML"),
        ("<html></html>", "its element is <html>; wanted: <annotation>"),
        (xml(CAT.replace(">3<", ">three<")), "object 1 ('cat'): xmin is 'three'; wanted: a number of pixels"),
        (xml(CAT.replace(">3<", ">nan<")), "xmin is 'nan'"),
        (xml(CAT.replace(">3<", f">{'9' * 5000}<")), "xmin is '9999"),
        (xml(CAT.replace("<xmin>3</xmin>", "")), "xmin is ''"),
        (xml("<object><name>cat</name></object>"), "object 1 ('cat') has no <bndbox>"),
        (xml(CAT.replace("cat", " ")), "object 1 has no <name>"),
        (xml(DOG.replace(">1</difficult>", ">yes</difficult>")), "difficult is 'yes'; allowed are 0 and 1"),
        (xml(CAT.replace("<xmax>8", "<xmax>2")), "object 1 ('cat'): its box has no area"),
        (xml(CAT.replace("<xmax>8", "<xmax>12")), "reaches from 2, 0 to 12, 4, beyond its image of 10x8"),
        (xml(SIZE.replace("10", "11"), CAT), "10x8, but"),
        (xml(SIZE.replace("10", "?"), CAT), "size: width is '?'"),
    ],
)
def test_what_is_wrong_with_an_xml_file_is_named(voc: Path, text: str, message: str) -> None:
    (voc / "annotations/05.xml").write_text(text)
    refused(voc, "05.xml", message)


BOMB = "<!DOCTYPE a [<!ENTITY b 'bang'>" + "".join(
    f"<!ENTITY {name} '{f'&{before};' * 10}'>" for before, name in zip("bcdefgh", "cdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        f"<?xml version='1.0'?>{BOMB}]><annotation>&i;</annotation>",
        "<!DOCTYPE annotation SYSTEM 'file:///etc/passwd'><annotation/>",
        "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><annotation><object><name>&x;</name></object></annotation>",
        "<!DOCTYPE annotation><annotation></annotation>",
    ],
    ids=["bomb", "external", "external entity", "empty"],
)
def test_document_types_and_entities_are_refused_unread(voc: Path, text: str) -> None:
    (voc / "annotations/05.xml").write_text(text)
    refused(voc, "05.xml: declares a document type or entities")


@pytest.mark.parametrize("encoding", ["utf-16", "cp037", "latin-1"])
def test_no_encoding_hides_a_document_type(voc: Path, encoding: str) -> None:
    text = f"<?xml version='1.0' encoding='{encoding}'?><!DOCTYPE a><annotation>ä</annotation>"
    (voc / "annotations/05.xml").write_bytes(text.encode(encoding))
    refused(voc, "05.xml")
    (voc / "annotations/05.xml").write_bytes(
        f"<?xml version='1.0' encoding='{encoding}'?>".encode()
        + "<!DOCTYPE a><annotation>ä</annotation>".encode(encoding)
    )
    refused(voc, "05.xml")


def test_large_and_deep_files_are_refused_or_read_but_harm_nothing(voc: Path) -> None:
    path = voc / "annotations/05.xml"
    path.write_text(xml("<a>" * 100_000 + "</a>" * 100_000))
    assert read_voc(path).objects == ()
    path.write_text(xml(" " * MAX_XML_BYTES))
    refused(voc, "05.xml", f"at most {MAX_XML_BYTES} are read")


@given(data=st.binary(max_size=60), cut=st.integers(0, 400))
def test_no_bytes_make_the_xml_reader_fail_unexpectedly(data: bytes, cut: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.xml"
        for content in (data, xml(SIZE, CAT, DOG).encode()[:cut] + data, b"<annotation><object>" + data):
            path.write_bytes(content)
            try:
                read_voc(path)
            except FlyweightError as error:
                assert str(path) in str(error)


def test_a_name_that_is_not_listed_is_named(voc: Path) -> None:
    (voc / "classes.txt").write_text("cta\ndog\n")
    refused(voc, "00.xml: object 1 ('cat') is no class in classes.txt: cta, dog")
    (voc / "classes.txt").write_text("cat\ncat\n")
    refused(voc, "classes.txt: 2 names of classes, 1 of them different")
    (voc / "classes.txt").write_bytes(b"\xff\xfe")
    refused(voc, "classes.txt: not a text file in UTF-8")


def test_a_training_split_without_boxes_is_refused(voc: Path) -> None:
    (voc / "annotations/09.xml").write_text(xml())
    split_of(voc, "09")
    refused(voc, "no image of the training split has a box")


def changed(**values: Any) -> dict[str, Any]:
    """COCO data with some fields of the first annotation changed."""
    data = coco_of()
    data["annotations"][0].update(values)
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "holds a list; wanted: an object with images, annotations, categories"),
        ({"images": []}, "'categories' is no list"),
        ({**coco_of(), "annotations": [3]}, "annotations[0] is '3'; wanted: an object"),
        ({**coco_of(), "categories": []}, "no category"),
        ({**coco_of(), "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "two categories have the id 1"),
        ({**coco_of(), "categories": [{"id": True, "name": "a"}]}, "categories[0]: id is 'True'"),
        ({**coco_of(), "images": coco_of()["images"] * 2}, "images[10]: id 100 is that of an earlier image"),
        (changed(bbox=[1, 2, 3]), "annotations[0]: bbox is [1, 2, 3]; wanted: [x, y, width, height]"),
        (changed(bbox=[1, 2, "3", None]), "annotations[0]: bbox is 'None'; wanted: a number"),
        (changed(bbox=[1, 2, 3, 10**400]), "wanted: a number of pixels"),
        (changed(bbox=[1, 2, 0, 3]), "annotations[0] ('cat'): its box has no area"),
        (changed(bbox=[5, 2, 7, 3]), "beyond its image of 10x8"),
        (changed(image_id=7), "annotations[0]: image_id is 7, but no image has this id"),
        (changed(category_id=1), "annotations[0]: category_id is 1; known are 5, 17"),
        (changed(iscrowd="no"), "annotations[0]: iscrowd is 'no'; allowed are 0 and 1"),
        (coco_of(9), "images/09.png: not among the images of annotations.json"),
        (coco_of(11), "no file '10.png' in images/"),
    ],
)
def test_what_is_wrong_with_a_coco_file_is_named(coco: Path, data: Any, message: str) -> None:
    write(coco, data)
    refused(coco, message)


def test_a_coco_size_that_is_not_the_images_is_named(coco: Path) -> None:
    data = coco_of()
    data["images"][4]["width"] = 12
    write(coco, data)
    refused(coco, "images/04.png: 10x8, but", "annotations.json says 12x8")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 200) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "image_id", "category_id", "bbox", "file_name", "name", "iscrowd"]), inner
        )
    ),
    max_leaves=12,
)


@given(images=json_values, annotations=json_values, categories=json_values)
def test_no_json_makes_the_coco_reader_fail_unexpectedly(images: Any, annotations: Any, categories: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.json"
        for data in (
            {"images": images, "annotations": annotations, "categories": categories},
            {**coco_of(), "annotations": annotations},
            {**coco_of(), "images": images},
        ):
            path.write_text(json.dumps(data))
            try:
                read_coco(path)
            except FlyweightError as error:
                assert str(path) in str(error)


def test_two_kinds_of_annotations_and_no_folder_are_refused(coco: Path) -> None:
    (coco / "annotations").mkdir()
    refused(coco, "both annotations/ and annotations.json; keep one")
    with pytest.raises(UsageError, match="'boxes' is for a folder of yours"):
        load_dataset("boxes")
