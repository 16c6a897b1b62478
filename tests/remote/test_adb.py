"""A phone over adb, played by a folder: what is pushed and run, and every way in which it can fail."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from flyweight import files
from flyweight.bench import Settings, bench
from flyweight.contracts import Artifact
from flyweight.errors import MeasurementError, UsageError
from flyweight.remote import open_device, parse_device
from flyweight.remote.adb import AdbDevice
from flyweight.report.bench_value import ProgramTimes
from tests.remote.test_programs import BENCHNCNN

FAKE = Path(__file__).with_name("fake_adb.py")
TELLS = f"#!/bin/sh\n[ -f model/model.ncnn.param ] || exit 3\ncat <<'END' >&2\n{BENCHNCNN}END\n"


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is the phone; adb is found first on the path."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "phone").mkdir()
    (tmp_path / "bin" / "adb").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n')
    (tmp_path / "bin" / "adb").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_PHONE", str(tmp_path / "phone"))
    return tmp_path / "phone"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return written(tmp_path, TELLS)


def written(folder: Path, text: str) -> Path:
    path = folder / "benchncnn"
    path.write_text(text)
    return path


def artifact(exported: Path) -> Artifact:
    folder = exported / "ncnn"
    return Artifact.from_json(files.read_json(folder / "artifact.json"), folder)


def refusal(exported: Path, program: Path, timeout_s: float = 30.0) -> str:
    with AdbDevice("fake", {"ncnn": program}, timeout_s) as device:
        (taken,) = device.measure([artifact(exported)], 2, 50)
    assert isinstance(taken, MeasurementError) and "\n" not in str(taken)
    return str(taken)


def test_the_program_and_the_files_are_pushed_run_pulled_read_and_cleared_away(
    phone: Path, program: Path, exported: Path
) -> None:
    (program.parent / "libomp.so").write_bytes(b"a library that lies beside it")
    with AdbDevice("fake", {"ncnn": program}) as device:
        (taken,) = device.measure([artifact(exported)], 2, 50)
        names = {path.name for path in phone.rglob("*") if path.is_file()}
    assert isinstance(taken, ProgramTimes)
    assert (taken.mean_ms, taken.n, taken.median_ms, taken.hardware) == (9.0, 50, None, "Maker Phone 3 arm64-v8a")
    assert {"benchncnn", "libomp.so", "model.ncnn.param", "model.ncnn.bin", "out.txt"} <= names
    assert list(phone.iterdir()) == []


def test_a_bench_has_a_row_of_the_phone_and_one_that_says_what_is_missing(
    phone: Path, program: Path, exported: Path
) -> None:
    settings = Settings(images=2, n=50, device="adb:fake", programs=(("ncnn", program),))
    rows = {row.runtime: row for row in bench([str(exported)], settings).rows}
    assert rows["ncnn"].typical_ms == 9.0 and rows["ncnn"].measurement is None
    assert rows["ncnn"].fidelity is not None  # computed here
    assert any("half precision" in note for note in rows["ncnn"].notes)
    assert "--binary onnxruntime=PATH" in rows["onnxruntime"].refused


@pytest.mark.parametrize(
    ("mode", "words"),
    [("unauthorized", "Unlock it"), ("offline", "Plug it in again")],
)
def test_a_phone_that_cannot_be_used_is_one_sentence_with_what_to_do(
    mode: str, words: str, phone: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_MODE", mode)
    with pytest.raises(MeasurementError, match=f"^adb:fake: .*{words}") as caught:
        open_device("adb:fake", "", {"ncnn": program})
    assert "\n" not in str(caught.value)


def test_no_adb_no_phone_and_no_program_are_told_before_anything_is_exported(
    phone: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MeasurementError, match="no such phone"):
        open_device("adb:another", "", {"ncnn": program})
    with pytest.raises(MeasurementError, match="nowhere: no program there"):
        open_device("adb:fake", "", {"ncnn": Path("nowhere")})
    with pytest.raises(UsageError, match="openvino"):
        open_device("adb:fake", "", {"openvino": program})
    monkeypatch.setenv("PATH", str(phone))
    with pytest.raises(MeasurementError, match=r"no adb here\. Install"):
        open_device("adb:fake", "", {"ncnn": program})


def test_a_program_for_another_processor_is_told_from_one_that_fails(
    phone: Path, exported: Path, tmp_path: Path
) -> None:
    said = refusal(exported, written(tmp_path, "#!/no/such/loader\n"))
    assert "can't be started on this phone" in said and "Build it for Maker Phone 3 arm64-v8a" in said
    said = refusal(exported, written(tmp_path, "#!/bin/sh\necho out of memory >&2\nexit 9\n"))
    assert "benchncnn ended with exit code 9. It wrote: out of memory" in said
    said = refusal(exported, written(tmp_path, "#!/bin/sh\necho hello\n"))
    assert "told no times. Its last line: hello" in said


def test_a_phone_that_hangs_or_is_unplugged_in_the_middle_costs_its_own_row(
    phone: Path, program: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_MODE", "hangs")
    assert "no answer to 'adb shell' within 0.5 s" in refusal(exported, program, 0.5)
    monkeypatch.setenv("FAKE_MODE", "unplugged")
    assert "there is no such phone" in refusal(exported, program)


@pytest.mark.parametrize("text", ["adb", "adb:", "usb:1", "ssh:-oProxyCommand=x", "board"])
def test_devices_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="ssh:HOST or adb:SERIAL"):
        parse_device(text)
