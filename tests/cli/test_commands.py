"""Every command for real: a tiny ladder slimmed, reported, profiled, exported and shown."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from flyweight import flow
from flyweight.cli import main
from flyweight.contracts import Artifact
from flyweight.spec import ArchSpec
from flyweight.zoo import ZOO
from tests import tiny

SLIM = ("--plan", "tiny", "--rungs", "v1", "--steps", "3", "--threads", "1", "--runtimes", "onnxruntime")
SMALL = "mobilenet_v1_0.25_128"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args], prog_name="flyweight")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.paint(tmp_path_factory.mktemp("discs"))


@pytest.fixture(scope="module")
def slimmed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("slimmed") / "run"
    return out, run("slim", data, *SLIM, "--out", out)


def test_slim_prints_the_table_and_names_the_page(slimmed: tuple[Path, Result]) -> None:
    out, result = slimmed
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    table = lines[: next(i for i, line in enumerate(lines) if line.startswith("counted: "))]
    assert [line.split()[0] for line in table if line.startswith("v")] == ["v0", "v1"]
    assert lines[-2:] == [str(out / "report.html"), str(out / "report.json")]
    assert (out / "report.html").stat().st_size > 10_000


def test_slim_tells_each_finished_rung_on_stderr(slimmed: tuple[Path, Result]) -> None:
    lines = slimmed[1].stderr.splitlines()
    assert [line.partition(":")[0] for line in lines if line.startswith(("v0:", "v1:"))] == ["v0", "v1"]
    assert "\x1b" not in slimmed[1].stderr


def test_slim_again_is_quiet_quick_and_prints_the_same_table(data: Path, slimmed: tuple[Path, Result]) -> None:
    out, first = slimmed
    again = run("slim", data, *SLIM, "--out", out, "--quiet")
    assert (again.exit_code, again.stderr) == (0, "")
    assert again.stdout == first.stdout


def test_slim_with_other_settings_into_the_same_folder_is_refused(data: Path, slimmed: tuple[Path, Result]) -> None:
    result = run("slim", data, *SLIM, "--out", slimmed[0], "--seed", "5")
    assert result.exit_code == 2
    assert "seed" in result.stderr


def test_slim_to_a_folder_that_is_a_file_is_an_error(data: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("kept")
    result = run("slim", data, *SLIM, "--out", tmp_path / "taken")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert "taken" in result.stderr
    assert (tmp_path / "taken").read_text() == "kept"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("slim", "blue_marbel"), "Did you mean blue_marble or blue_marble_coasts?"),
        (("slim", "blue_marble", "--plan", "laddr"), "Did you mean ladder?"),
        (("slim", "blue_marble", "--rungs", "v0,v9"), "no rung of plan 'ladder' is named 'v9'"),
        (("slim", "blue_marble", "--runtimes", "onxruntime"), "Did you mean onnxruntime?"),
        (("profile", "mobilenet_v1_deconf"), "Did you mean mobilenet_v1_deconv"),
        (("profile", "nowhere.json"), "nowhere.json: can't read: it does not exist"),
        (("profile", "nowhere.py:build"), "nowhere.py: it does not exist"),
        (("export", SMALL, "--to", "onx"), "no runtime is named 'onx'"),
        (("export", SMALL, "--precision", "int4"), "no precision is named 'int4'. Did you mean int8?"),
        (("export", SMALL, "--precision", "fp32,int8"), "--precision int8 needs images"),
        (("export", SMALL, "--method", "mze"), "no method is named 'mze'. Did you mean mse?"),
        (("report", "nowhere"), "nowhere: can't read: it does not exist"),
    ],
)
def test_wrong_names_are_wrong_use_with_the_way_out(
    args: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_dry_run_writes_nothing(data: Path, tmp_path: Path) -> None:
    result = run("slim", data, *SLIM, "--out", tmp_path / "run", "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert "3 steps (6 in all)" in result.stdout  # v1 is v0's child: 3 + 3
    assert not (tmp_path / "run").exists()


def test_help_states_the_steps_that_flow_takes() -> None:
    words = " ".join(run("slim", "--help").stdout.split())
    assert f"[default: ({flow.FULL_STEPS}, short {flow.SHORT_STEPS});" in words


def test_report_prints_the_same_table_and_draws_the_page_anew(slimmed: tuple[Path, Result]) -> None:
    out, first = slimmed
    (out / "report.html").unlink()
    result = run("report", out)
    assert result.stdout == first.stdout
    assert (out / "report.html").stat().st_size > 10_000


def test_report_as_json_is_the_file(slimmed: tuple[Path, Result]) -> None:
    result = run("report", slimmed[0], "--json")
    assert json.loads(result.stdout) == json.loads((slimmed[0] / "report.json").read_text())


def test_profile_writes_every_layer_whose_sums_are_the_published_counts(tmp_path: Path) -> None:
    result = run("profile", SMALL, "--no-time", "--json", tmp_path / "p.json", "--csv", tmp_path / "p.csv")
    assert result.exit_code == 0, result.stderr
    entry = ZOO.get(SMALL)
    rows = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    assert sum(int(row["macs"]) for row in rows) == entry.macs
    assert sum(int(row["params"]) for row in rows) == entry.params
    read = json.loads((tmp_path / "p.json").read_text())
    assert (read["counted"]["macs"], read["counted"]["params"]) == (entry.macs, entry.params)
    assert read["measured"] is None
    assert len(read["layers"]) == len(rows)


def test_profile_measures_a_rung(slimmed: tuple[Path, Result], tmp_path: Path) -> None:
    result = run("profile", f"{slimmed[0]}:v1", "--json", tmp_path / "p.json")
    assert result.exit_code == 0, result.stderr
    assert "5 slowest" in result.stdout
    assert "measured: whole network" in result.stdout
    read = json.loads((tmp_path / "p.json").read_text())
    assert read["input_shape"] == [1, 3, 32, 32]
    assert read["measured"]["threads"] == 1
    timed = sum(layer["time_us"] or 0 for layer in read["layers"]) + read["measured_layers"]["unattributed_us"]
    assert 0 < timed <= 3 * read["measured_layers"]["run_us"]  # medians of the parts, and of the whole; a busy machine


def test_profile_at_another_resolution_has_its_input(tmp_path: Path) -> None:
    result = run("profile", SMALL, "--no-time", "--resolution", "64", "--classes", "7", "--all")
    assert "input 3x64x64" in result.stdout
    assert next(line for line in result.stdout.splitlines() if line.startswith("head.classify")).split()[2] == "1×7"


def test_profile_to_a_file_that_can_not_be_written_is_an_error(tmp_path: Path) -> None:
    result = run("profile", SMALL, "--no-time", "--csv", tmp_path)
    assert result.exit_code == 2
    assert f"Error: {tmp_path}: can't write" in result.stderr


def test_export_writes_files_with_their_preprocessing(slimmed: tuple[Path, Result], tmp_path: Path) -> None:
    result = run("export", f"{slimmed[0]}:v1", "--to", "onnx", "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    folder = tmp_path / "fp32" / "onnxruntime"
    artifact = Artifact.from_json(json.loads((folder / "artifact.json").read_text()), folder)
    assert artifact.files[0].stat().st_size == artifact.bytes
    assert artifact.preprocessing.class_names == ("ground", "disc")
    assert str(artifact.files[0]) in result.stdout


def test_export_in_both_precisions_keeps_them_apart(slimmed: tuple[Path, Result], data: Path, tmp_path: Path) -> None:
    arguments = ("--to", "onnx", "--precision", "fp32,int8", "--data", data, "--out", tmp_path)
    result = run("export", f"{slimmed[0]}:v1", *arguments)
    assert result.exit_code == 0, result.stderr
    for precision in ("fp32", "int8"):
        record = json.loads((tmp_path / precision / "onnxruntime" / "artifact.json").read_text())
        assert record["precision"] == precision


def test_show_prints_json_that_is_read_as_a_model(tmp_path: Path) -> None:
    result = run("show", SMALL, "--json")
    (tmp_path / "net.json").write_text(result.stdout)
    assert ArchSpec.loads(result.stdout) == ZOO.get(SMALL).spec
    assert "conv5_6" in run("show", tmp_path / "net.json").stdout


def test_show_of_a_module_without_spec_says_what_to_do_instead(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text("from torch import nn\ndef build():\n    return nn.Conv2d(3, 4, 3)\n")
    result = run("show", f"{file}:build")
    assert result.exit_code == 2
    assert "flyweight profile" in result.stderr


@pytest.mark.parametrize("kind", ["blocks", "data", "plans", "runtimes", "transforms"])
def test_list_names_one_kind(kind: str) -> None:
    known = {
        "blocks": "separable", "data": "blue_marble", "plans": "ladder", "runtimes": "onnxruntime",
        "transforms": "fold_bn",
    }  # fmt: skip
    lines = run("list", kind).stdout.splitlines()
    assert lines[0] == kind
    assert known[kind] in {line.split()[0] for line in lines[1:] if line}


def test_ctrl_c_stops_a_run_that_then_goes_on(data: Path, tmp_path: Path) -> None:
    code = (  # the handler is set, as a job that a shell puts in the background ignores the signal, and passes that on
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from tests import tiny;"
        f"from flyweight.cli import main; main({['slim', str(data), *SLIM, '--out', 'run']!r})"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path]), "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "run.json").exists() and started.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 130, errors
    assert errors.strip().endswith("Stopped; run the same command again to go on.")
    assert "Traceback" not in errors
    assert not list(tmp_path.rglob("*.part"))
    assert run("slim", data, *SLIM, "--out", tmp_path / "run").exit_code == 0
