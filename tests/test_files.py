"""flyweight.files: whole files or none."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight import files
from flyweight.errors import FileError

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(value=JSON_VALUES)
def test_json_is_read_back_equal(value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("json") / "value.json"
    files.write_json(path, value)
    assert files.read_json(path) == value


@given(data=st.binary(max_size=4096))
def test_bytes_are_read_back_equal_and_hash_alike(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("bytes") / "data"
    files.write_bytes(path, data)
    assert files.read_bytes(path) == data
    assert files.sha256_of(path) == hashlib.sha256(data).hexdigest()


@given(data=st.binary(max_size=200))
def test_reading_json_from_any_bytes_gives_a_value_or_a_file_error(
    data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / "any.json"
    path.write_bytes(data)
    try:
        value = files.read_json(path)
    except FileError as error:
        assert str(path) in str(error)
    else:
        assert json.loads(data) == value or value != value  # NaN differs from itself


def test_json_nested_a_hundred_thousand_deep_is_a_file_error(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(FileError, match=r"deep\.json: not readable as JSON"):
        files.read_json(tmp_path / "deep.json")


def test_json_number_of_five_thousand_digits_is_a_file_error(tmp_path: Path) -> None:
    (tmp_path / "long.json").write_text("1" * 5000)
    with pytest.raises(FileError, match=r"long\.json: not readable as JSON"):
        files.read_json(tmp_path / "long.json")


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a" / "b" / "c.txt", "there")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "there"


def test_no_part_file_stays_after_a_write(tmp_path: Path) -> None:
    files.write_text(tmp_path / "x.txt", "there")
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_failure_while_writing_keeps_the_old_file_and_leaves_no_part(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), files.replacing(path) as part:
        part.write_text("half of the n")
        raise KeyboardInterrupt
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("x.txt", "old")]


def test_part_file_of_a_killed_process_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "x.txt.part").write_text("half of something longer than the new text")
    files.write_text(tmp_path / "x.txt", "new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("x.txt", "new")]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full. Free some space"),
        (errno.EDQUOT, "disk quota is used up"),
        (errno.EROFS, "read-only. Choose another folder"),
        (errno.EACCES, "permission denied. Choose a folder you may write to"),
    ],
)
def test_reason_of_a_failed_write_is_said_and_the_old_file_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")

    def fail(self: Path, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(FileError) as caught:
        files.write_text(path, "new")
    assert str(caught.value).startswith(f"{path}: can't write: ") and words in str(caught.value)
    assert path.read_text() == "old"


def test_write_below_a_file_says_that_a_part_of_the_path_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("a file")
    with pytest.raises(FileError, match="file"):
        files.write_text(tmp_path / "x" / "y.txt", "new")


def test_write_onto_a_folder_is_a_file_error_and_keeps_the_folder(tmp_path: Path) -> None:
    (tmp_path / "x" / "inside").mkdir(parents=True)
    with pytest.raises(FileError, match="folder"):
        files.write_text(tmp_path / "x", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("read", [files.read_bytes, files.read_json, files.sha256_of])
def test_missing_file_is_named(tmp_path: Path, read: Any) -> None:
    with pytest.raises(FileError, match=r"nowhere: can't read: it does not exist\. Check the path\."):
        read(tmp_path / "nowhere")


def test_file_larger_than_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert files.read_bytes(tmp_path / "x", max_bytes=5) == b"12345"
    with pytest.raises(FileError, match="5 bytes, but at most 4 are read"):
        files.read_bytes(tmp_path / "x", max_bytes=4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_are_not_written_as_json(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "x.json", {"loss": value})
    assert list(tmp_path.iterdir()) == []
