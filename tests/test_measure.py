import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight import measure as measure_module
from flyweight.contracts import Artifact, Measurement
from flyweight.errors import FileError, MeasurementError, RuntimeMissingError
from flyweight.measure import hardware, measure, measure_group, measure_layers, measure_pair
from flyweight.measure._process import LoadedWorker
from flyweight.runtimes.onnxruntime import OnnxRuntime
from tests.runtimes import nets


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return OnnxRuntime().export(nets.small(), tmp_path_factory.mktemp("measured"))


def ended(pid: int) -> bool:
    """Tell whether a process is gone, or only waits to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_until_ended(pid: int, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if ended(pid):
            return True
        time.sleep(0.02)
    return False


# ---- figures -------------------------------------------------------------------------------------------------------


def test_figures_are_in_order(artifact: Artifact) -> None:
    found = measure(artifact, threads=1, n=23, rounds=4)
    assert (found.n, found.threads, found.runtime) == (23, 1, "onnxruntime")
    assert 0 < found.p10_ms <= found.median_ms <= found.p90_ms
    assert found.cpu_median_ms > 0
    assert found.load_ms > 0 and found.first_ms > 0
    assert found.peak_rss_bytes > found.baseline_rss_bytes > 1_000_000


def test_pair_gives_the_reference_first(artifact: Artifact) -> None:
    there, here = measure_pair(replace(artifact, runtime_version="reference"), artifact, threads=2, n=7, rounds=3)
    assert (there.runtime_version, here.runtime_version) == ("reference", artifact.runtime_version)
    assert there.n == here.n == 7
    assert here.busy >= 1


def test_only_one_of_a_pair_computes_at_a_time_and_the_order_alternates(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []
    real = LoadedWorker.ask

    def ask(self: LoadedWorker, task: str, **settings: int) -> dict[str, object]:
        if task == "run":
            asked.append((self.artifact.runtime_version, settings["n"]))
        return real(self, task, **settings)  # returns only when the other side has answered

    monkeypatch.setattr(LoadedWorker, "ask", ask)
    measure_pair(replace(artifact, runtime_version="a"), replace(artifact, runtime_version="b"), n=5, rounds=2)
    assert asked == [("a", 3), ("b", 3), ("b", 2), ("a", 2)]  # there, and back again


def test_one_of_a_group_that_dies_costs_only_its_own_place(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    real = LoadedWorker.ask

    def ask(self: LoadedWorker, task: str, **settings: int) -> dict[str, object]:
        if task == "run" and self.artifact.runtime_version == "dies":
            self.process.kill()
            self.process.wait()
        return real(self, task, **settings)

    monkeypatch.setattr(LoadedWorker, "ask", ask)
    dying, broken = replace(artifact, runtime_version="dies"), replace(artifact, sha256="0" * 64)
    first, second, third = measure_group((dying, artifact, broken), n=6, rounds=3)
    assert isinstance(first, MeasurementError) and "killed by signal 9" in str(first)
    assert isinstance(second, Measurement) and second.n == 6
    assert isinstance(third, FileError) and "not what was exported" in str(third)


def test_layers_are_measured_in_a_fresh_process(artifact: Artifact) -> None:
    times = measure_layers(artifact, threads=1, n=5)
    assert times is not None
    assert {"depthwise", "up"} <= set(times.by_module())


@given(st.integers(1, 1000), st.integers(1, 50))
def test_turns_sum_to_n_and_differ_by_one_at_most(n: int, rounds: int) -> None:
    turns = measure_module._turns(n, rounds)
    assert sum(turns) == n
    assert max(turns) - min(turns) <= 1
    assert len(turns) == min(n, rounds)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30).map(sorted), st.sampled_from([0.1, 0.9]))
def test_quantiles_lie_between_the_extremes(values: list[float], share: float) -> None:
    assert values[0] <= measure_module._quantile(values, share) <= values[-1]


def test_quantile_is_interpolated() -> None:
    assert measure_module._quantile([1.0, 2.0, 3.0, 4.0, 5.0], 0.1) == pytest.approx(1.4)  # place 0.4 between 1 and 2


@pytest.mark.parametrize(
    ("threads", "others", "busy"),
    [(1, 0.0, 1.5), (2, 0.0, 1.0), (2, 1.0, 1.5), (4, 0.5, 1 + 2.5 / 4)],  # 2 cores: 2 + 1 - 2 cores lack, over 2
)
def test_busy_is_what_other_processes_took(
    threads: int, others: float, busy: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert measure_module._busy([{"wall_ns": [3, 3], "cpu_ns": [2, 2]}], threads, others) == pytest.approx(busy)


@pytest.mark.parametrize(
    ("busy", "p10_ms", "p90_ms", "doubt"),
    [(1.2, 2, 3, ""), (1.21, 2, 3, "busy"), (1.2, 2, 3.1, "unsteady"), (1.21, 2, 3.1, "busy")],  # 3 / 2 is 1.5
)
def test_a_time_is_doubted_above_a_fifth_of_load_or_half_again_of_spread(
    artifact: Artifact, busy: float, p10_ms: float, p90_ms: float, doubt: str
) -> None:
    assert replace(measure(artifact, n=2), busy=busy, p10_ms=p10_ms, p90_ms=p90_ms).doubt == doubt


def test_hardware_tells_the_cores() -> None:
    assert "core" in hardware()


# ---- processes -----------------------------------------------------------------------------------------------------


def test_measuring_process_does_not_load_torch() -> None:
    code = (
        "import sys, flyweight.measure._worker as worker; worker.RUNTIMES.members;"
        "print('torch' in sys.modules, 'onnx' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.split() == ["False", "False"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def test_process_that_is_killed_is_an_error_that_names_the_artifact(artifact: Artifact) -> None:
    with LoadedWorker(artifact, 1, 60) as worker:
        os.kill(worker.process.pid, signal.SIGKILL)
        with pytest.raises(MeasurementError, match=r"model\.onnx in onnxruntime.*signal 9"):
            worker.ask("run", n=1)


def test_process_that_does_not_answer_is_an_error_and_is_ended(artifact: Artifact) -> None:
    with LoadedWorker(artifact, 1, 60) as worker:
        worker.timeout_s = 0.2
        with pytest.raises(MeasurementError, match=r"no answer to 'run' within 0\.2 s"):
            worker.ask("run", n=10**7)
        assert ended(worker.process.pid)


def test_what_goes_wrong_in_the_process_is_told(artifact: Artifact) -> None:
    with pytest.raises(MeasurementError, match=r"failed at 'load'.*were exported"):
        LoadedWorker(replace(artifact, bytes=artifact.bytes + 1), 1, 60)


def test_crash_is_told_with_its_last_words(artifact: Artifact) -> None:
    with LoadedWorker(artifact, 1, 60) as worker, pytest.raises(MeasurementError, match=r"exit code 1[\s\S]*KeyError"):
        worker.ask("no such task")


@pytest.mark.parametrize("task", ["nothing", "run"])
def test_process_ends_when_the_one_that_asked_is_killed(artifact: Artifact, tmp_path: Path, task: str) -> None:
    code = (
        "import json, pathlib, sys, threading\n"
        "from flyweight.contracts import Artifact\n"
        "from flyweight.measure._process import LoadedWorker\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "worker = LoadedWorker(Artifact.from_json(json.loads(sys.argv[2]), folder), 1, 600)\n"
        "print(worker.process.pid, flush=True)\n"
        "worker.ask('run', n=10**8) if sys.argv[3] == 'run' else threading.Event().wait()\n"
    )
    import json

    arguments = [str(artifact.files[0].parent), json.dumps(artifact.to_json()), task]
    parent = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, env=environment())
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert wait_until_ended(pid)


def test_file_in_the_current_folder_does_not_pass_for_a_module(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path)
    assert measure(artifact, n=1).n == 1


# ---- refusals ------------------------------------------------------------------------------------------------------


def test_artifact_that_was_changed_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(artifact.files[0].read_bytes()[:-1] + b"?")
    with pytest.raises(FileError, match="not what was exported"):
        measure(replace(artifact, files=(path,)))


def test_runtime_that_is_not_installed_is_told(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxRuntime, "missing", lambda self: "runtime 'onnxruntime' needs onnx")
    with pytest.raises(RuntimeMissingError, match="needs onnx"):
        measure(artifact)


@pytest.mark.parametrize(("threads", "n"), [(0, 1), (1, 0)])
def test_no_threads_or_no_inferences_are_refused(artifact: Artifact, threads: int, n: int) -> None:
    with pytest.raises(MeasurementError, match="at least 1"):
        measure(artifact, threads=threads, n=n)
