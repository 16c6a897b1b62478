import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from flyweight import files, flow
from flyweight.errors import FileError, FlyweightError, SpecError, UsageError
from flyweight.report import load_report
from flyweight.report.value import Report
from flyweight.spec import ArchSpec
from flyweight.zoo import ZOO
from tests import tiny


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.paint(tmp_path_factory.mktemp("discs"))


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """An unbroken run of all five rungs."""
    out = tmp_path_factory.mktemp("whole") / "run"
    torch.set_num_threads(1)
    return out, tiny.run(data, out)


def test_every_rung_is_an_exported_scored_and_timed_artifact(whole: tuple[Path, Report]) -> None:
    out, report = whole
    assert [rung.name for rung in report.rungs] == ["v0", "control", "v1", "v2", "v3"]
    for rung in report.rungs:
        artifact = rung.artifacts["onnxruntime"]
        assert (out / artifact.file).stat().st_size == artifact.bytes
        assert artifact.metrics["tiles"] == report.data["test"]
        assert rung.timings[0].median_ms > 0
        assert rung.timings[0].speedup == rung.timings[0].reference_median_ms / rung.timings[0].median_ms
        assert rung.timings[0].peak_rss_bytes > rung.timings[0].baseline_rss_bytes > 0
        assert len(rung.slowest()) == 5


def test_float_artifacts_agree_with_pytorch_and_int8_nearly(whole: tuple[Path, Report]) -> None:
    for rung in whole[1].rungs:
        assert rung.artifacts["onnxruntime"].agreement > (0.9999 if rung.precision == "fp32" else 0.97)


def test_folding_changes_neither_score_nor_macs(whole: tuple[Path, Report]) -> None:
    before, after = whole[1].rung("v1"), whole[1].rung("v2")
    assert after.macs == before.macs
    assert after.artifacts["onnxruntime"].metrics["miou"] == pytest.approx(
        before.artifacts["onnxruntime"].metrics["miou"], abs=1e-3
    )


def test_half_the_resolution_has_a_quarter_of_the_macs(whole: tuple[Path, Report]) -> None:
    assert whole[1].rung("v0").macs == 4 * whole[1].rung("v1").macs


def test_every_rung_is_scored_on_the_full_mask(whole: tuple[Path, Report]) -> None:
    for rung in whole[1].rungs:
        pixels = sum(sum(row) for row in rung.artifacts["onnxruntime"].metrics["confusion"])
        assert pixels == whole[1].data["test"] * 64 * 64


def test_the_written_report_is_the_one_returned(whole: tuple[Path, Report]) -> None:
    assert load_report(whole[0]) == whole[1]


def test_the_page_is_one_offline_file_under_two_megabytes(whole: tuple[Path, Report]) -> None:
    text = (whole[0] / "report.html").read_text()
    assert len(text) < 2_000_000
    assert "http://" not in text.replace("http://www.w3.org/", "") and "https://" not in text


def test_a_second_run_does_nothing_twice_and_ends_with_the_same_report(data: Path, whole: tuple[Path, Report]) -> None:
    out, report = whole
    before = {path: path.stat().st_mtime_ns for path in (out / "rungs").rglob("*") if path.is_file()}
    assert tiny.run(data, out).rungs == report.rungs
    assert {path: path.stat().st_mtime_ns for path in (out / "rungs").rglob("*") if path.is_file()} == before


def test_an_altered_artifact_is_exported_anew(data: Path, whole: tuple[Path, Report], tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole[0], out)
    model = out / "rungs/v1/onnxruntime/model.onnx"
    expected = model.read_bytes()
    model.write_bytes(expected[:-1] + b"?")
    (out / "rungs/v1/rung.json").unlink()
    assert tiny.run(data, out).rung("v1") == whole[1].rung("v1")
    assert model.read_bytes() == expected


def test_a_folder_with_another_run_is_refused_with_what_differs(data: Path, whole: tuple[Path, Report]) -> None:
    with pytest.raises(UsageError, match=r"holds a run with steps 45, but 7 is asked for. Choose another --out"):
        tiny.run(data, whole[0], steps=7)


def test_rungs_can_be_added_to_a_run_and_none_is_lost(data: Path, whole: tuple[Path, Report], tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert [rung.name for rung in tiny.run(data, out, ("v0",)).rungs] == ["v0"]
    done = (out / "rungs/v0/rung.json").stat().st_mtime_ns
    assert [rung.name for rung in tiny.run(data, out, ("v1",)).rungs] == ["v0", "v1"]
    assert [rung.name for rung in tiny.run(data, out, ("v0",)).rungs] == ["v0", "v1"]
    assert (out / "rungs/v0/rung.json").stat().st_mtime_ns == done


def test_a_folder_that_another_process_works_in_is_refused(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with files.held(out), pytest.raises(FileError, match="another process is at work there"):
        tiny.run(data, out)
    assert not (out / "run.json").exists()


def test_a_rung_of_a_run_opens_as_a_model(whole: tuple[Path, Report]) -> None:
    candidate = flow.open_model(f"{whole[0]}:v1")
    assert candidate.input_shape == (1, 3, 32, 32)
    assert candidate.preprocessing.class_names


def test_an_unfinished_rung_is_refused_with_those_there_are(whole: tuple[Path, Report]) -> None:
    with pytest.raises(UsageError, match=r"has no finished rung 'v9'. It has: v0, control, v1, v2, v3"):
        flow.open_model(f"{whole[0]}:v9")


@pytest.mark.parametrize(("suffix", "write"), [("json", ArchSpec.dumps), ("toml", ArchSpec.dumps_toml)])
def test_spec_file_opens_as_a_model_at_another_resolution(
    suffix: str, write: Callable[[ArchSpec], str], tmp_path: Path
) -> None:
    spec = ZOO.get("mobilenet_v1_0.25_128").spec
    (tmp_path / f"net.{suffix}").write_text(write(spec))
    candidate = flow.open_model(f"{tmp_path}/net.{suffix}", resolution=32)
    assert candidate.input_shape == (1, 3, 32, 32)
    assert candidate.spec is not None and candidate.spec.stages == spec.stages


def test_spec_opens_alone_without_its_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "fresh_candidate", None)  # nothing may be built
    spec = flow.open_spec("mobilenet_v1_0.25_128", resolution=32, classes=7)
    assert (spec.input.height, spec.input.width, spec.classes) == (32, 32, 7)
    with pytest.raises(UsageError, match="no architecture is named 'mobilenet_v9'"):
        flow.open_spec("mobilenet_v9")


@pytest.mark.parametrize("suffix", ["json", "toml"])
def test_spec_file_that_is_none_is_an_error_that_names_it(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"net.{suffix}").write_text("spec: 1")
    with pytest.raises(SpecError, match=rf"net\.{suffix}: the spec is not {suffix.upper()}"):
        flow.open_model(f"{tmp_path}/net.{suffix}")


def test_a_function_in_a_file_opens_as_a_model_and_is_counted(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import torch\n\ndef net():\n    return torch.nn.Conv2d(3, 4, 3, padding=1)\n")
    profile = flow.profile_model(flow.open_model(f"{tmp_path}/mine.py:net", resolution=10), timed=False)
    assert profile.macs == 10 * 10 * 4 * 3 * 3 * 3  # H*W*K * C*R*S


def test_plan_lines_say_parents_and_steps_without_doing_anything() -> None:
    lines = flow.plan_lines("tiny", steps=10)
    assert lines[1] == "control  with skips; from v0; 10 steps (20 in all); control"
    assert "not trained" in lines[4]


@pytest.mark.parametrize("runtime", ["onnxruntime"])
def test_int8_export_without_images_says_what_to_give(whole: tuple[Path, Report], tmp_path: Path, runtime: str) -> None:
    with pytest.raises(UsageError, match=r"int8 needs images to calibrate on. Name a data set"):
        flow.export(flow.open_model(f"{whole[0]}:v1"), tmp_path, [runtime], precision="int8")


# ---- killed, full, unwritable -------------------------------------------------------------------------------------


def kill_in(step: str, data: Path, out: Path) -> None:
    """Run the tiny plan in a process of its own and kill -9 it in the middle of ``step``."""
    command = [sys.executable, "-m", "tests.tiny", str(data), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout
        assert any(line.strip() == step for line in process.stdout), f"ended before '{step}'"
        time.sleep(KILLS[step])
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# a step, and how many seconds after its beginning the kill comes
KILLS = {
    "v0: train": 1.0,
    "v1: export": 0.2,
    "v3: export": 0.2,
    "control: score in onnxruntime": 0.02,
    "v1: time in onnxruntime": 0.2,
    "v2: time per layer": 0.2,
}


@pytest.mark.slow
@pytest.mark.parametrize("step", KILLS)
def test_killed_the_same_run_goes_on_and_ends_with_the_same_report(
    step: str, data: Path, whole: tuple[Path, Report], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    kill_in(step, data, out)
    done = {path: path.stat().st_mtime_ns for path in out.rglob("rung.json")}
    done |= {path: path.stat().st_mtime_ns for path in out.rglob("weights.safetensors")}
    report = tiny.run(data, out)
    assert tiny.facts(report) == tiny.facts(whole[1])
    assert {path: path.stat().st_mtime_ns for path in done} == done  # nothing finished was done again
    assert not list(out.rglob("*.part"))


def test_a_full_disk_is_a_clear_error_and_leaves_no_half_written_file(
    data: Path, whole: tuple[Path, Report], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole[0], out)
    for path in out.rglob("report*"):
        path.unlink()
    (out / "report.json.part").symlink_to("/dev/full")  # every write to it says that no space is left on the device
    with pytest.raises(FileError, match=r"report\.json: can't write: the disk is full"):
        tiny.run(data, out)
    assert not (out / "report.json").exists()
    assert tiny.run(data, out).rungs == whole[1].rungs


def test_an_output_folder_that_is_a_file_is_a_clear_error(data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(FileError, match=r"can't (read|write): a part of the path is a file"):
        tiny.run(data, tmp_path / "out")


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a file system that nobody may write to")
def test_a_file_system_that_takes_no_files_is_a_clear_error(data: Path) -> None:
    with pytest.raises(FileError, match=r"/sys/kernel/run.*can't write: "):
        tiny.run(data, Path("/sys/kernel/run"))


def test_a_full_disk_in_an_export_leaves_no_half_written_artifact(
    data: Path, whole: tuple[Path, Report], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole[0], out)
    (out / "rungs/v1/rung.json").unlink()
    folder = out / "rungs/v1/onnxruntime"
    for path in folder.iterdir():
        path.unlink()
    (folder / "model.onnx.part").symlink_to("/dev/full")
    with pytest.raises(FileError, match=r"model\.onnx: can't write: the disk is full"):
        tiny.run(data, out)
    assert not list(folder.iterdir())
    assert tiny.run(data, out).rung("v1").artifacts == whole[1].rung("v1").artifacts


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_output_folder_is_a_clear_error(data: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(FileError, match="permission denied"):
        tiny.run(data, tmp_path / "out")


@pytest.mark.parametrize("text", ["", "[]", '{"report_version": 9}', "{"])
def test_a_damaged_report_is_a_named_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(FlyweightError, match=r"report\.json"):
        flow.render(tmp_path)


@pytest.mark.parametrize("name", ["x/../../escaped", "..", "", "a b"])
def test_a_report_whose_rung_is_named_like_a_path_writes_nothing(
    name: str, whole: tuple[Path, Report], tmp_path: Path
) -> None:
    text = (whole[0] / "report.json").read_text()
    (tmp_path / "report.json").write_text(text.replace('"name": "v3"', f'"name": "{name}"'))
    with pytest.raises(FileError, match="a rung is named"):
        flow.render(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".html"] == []
    assert not list(tmp_path.parent.glob("*escaped*"))


@pytest.mark.parametrize("text", ["[]", "{}", '{"data": 3}', "null"])
def test_damaged_run_settings_are_a_named_error(text: str, data: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(FileError, match=r"run\.json: "):
        tiny.run(data, tmp_path)


@pytest.mark.parametrize("name", ["artifact.json", "score.json", "timings-1.json", "layers.json"])
def test_a_damaged_record_of_a_step_is_made_anew(
    name: str, data: Path, whole: tuple[Path, Report], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole[0], out)
    (out / "rungs/v1/rung.json").unlink()
    (out / "rungs/v1/onnxruntime" / name).write_text("[1")
    again = tiny.run(data, out).rung("v1")
    assert again.artifacts == whole[1].rung("v1").artifacts


def test_a_rung_whose_weights_are_gone_is_not_trained_again_to_be_opened(
    whole: tuple[Path, Report], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole[0], out)
    (out / "rungs/v1/weights.safetensors").unlink()
    with pytest.raises(FileError, match=r"the rung's weights are gone"):
        flow.open_model(f"{out}:v2")


def test_the_run_notes_its_settings_first(whole: tuple[Path, Report]) -> None:
    assert json.loads((whole[0] / "run.json").read_text())["plan"] == "tiny"
