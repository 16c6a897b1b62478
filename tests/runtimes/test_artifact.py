import tempfile
from pathlib import Path

import pytest

from flyweight.errors import FileError
from flyweight.runtimes import _artifact


def test_folder_for_working_files_is_gone_afterwards() -> None:
    with _artifact.scratch() as folder:
        (folder / "file").write_text("x")
    assert not folder.exists()


def test_no_room_for_working_files_is_a_file_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(FileError, match="can't write working files"), _artifact.scratch():
        pass


def test_names_what_is_missing_without_importing_it() -> None:
    assert _artifact.missing_packages("some", ("json", "no_such_package")) == (
        "runtime 'some' needs no_such_package. Install it with: pip install \"flyweight[some]\""
    )
    assert _artifact.missing_packages("some", ("json",)) is None
