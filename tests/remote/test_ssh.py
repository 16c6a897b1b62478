"""A board over ssh, played by an sshd of this machine; without one these tests are skipped."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from flyweight import files
from flyweight.bench import Settings, bench
from flyweight.contracts import Artifact, Measurement
from flyweight.errors import MeasurementError
from flyweight.remote.ssh import SshDevice
from flyweight.runtimes.onnxruntime import OnnxRuntime
from tests.runtimes import nets

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))
ROOT = Path(__file__).parents[2]
why_not = (
    "no sshd (Debian: apt install openssh-server)" if SSHD is None
    else "sshd needs the folder /run/sshd" if os.getuid() == 0 and not Path("/run/sshd").is_dir()
    else ""
)  # fmt: skip
pytestmark = pytest.mark.skipif(bool(why_not), reason=why_not)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with an ssh that reaches a daemon of this machine as 'board', and a Python that has Flyweight."""
    folder = tmp_path_factory.mktemp("ssh")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
        "StrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\n"
    )
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "config").write_text(
        f"Host board\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {folder}/user\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {folder}/known\nHost nowhere\n  HostName 127.0.0.1\n  Port 1\n"
    )
    script(folder / "bin" / "ssh", f'exec {shutil.which("ssh")} -F {folder}/config "$@"')
    path = os.pathsep.join([str(ROOT / "src"), *filter(None, sys.path)])
    script(folder / "python", f'PYTHONPATH="{path}" exec "{sys.executable}" "$@"')
    assert SSHD is not None
    daemon = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield folder
    finally:
        daemon.terminate()
        daemon.wait()


def script(path: Path, line: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("sshd does not listen")


@pytest.fixture(autouse=True)
def reached(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{board / 'bin'}{os.pathsep}{os.environ['PATH']}")


def artifact(exported: Path, runtime: str) -> Artifact:
    return Artifact.from_json(files.read_json(exported / runtime / "artifact.json"), exported / runtime)


def test_a_bench_over_ssh_computes_and_times_over_there(board: Path, exported: Path) -> None:
    found = bench([str(exported)], Settings(images=2, n=4, device="ssh:board", python=str(board / "python")))
    assert [row.refused for row in found.rows] == ["", ""]
    for row in found.rows:
        assert isinstance(row.measurement, Measurement) and row.measurement.n == 4
        assert row.fidelity is not None and row.fidelity.images == 2
    assert found.device == "ssh:board"


def test_outputs_come_back_as_they_are_computed_here(board: Path, exported: Path) -> None:
    inputs = nets.images(2)
    sent = artifact(exported, "onnxruntime")
    with SshDevice("board", str(board / "python")) as device:
        there = device.outputs(sent, inputs)
    assert np.array_equal(there, OnnxRuntime().load(sent, 1)(inputs))


def test_what_fails_over_there_costs_its_own_row(board: Path, exported: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(exported, copied)
    path = copied / "ncnn" / "model.ncnn.param"
    path.write_text(path.read_text()[:-30])
    damaged = artifact(copied, "ncnn")
    with SshDevice("board", str(board / "python")) as device:
        bad, good = device.measure([damaged, artifact(exported, "onnxruntime")], 1, 2)
    assert isinstance(good, Measurement)
    assert isinstance(bad, Exception) and "Export it again" in str(bad)


def test_a_connection_that_ends_in_the_middle_is_one_sentence(board: Path, exported: Path) -> None:
    with SshDevice("board", str(board / "python")) as device:
        device.process.kill()
        bad = device.measure([artifact(exported, "ncnn")], 1, 2)[0]
        again = device.measure([artifact(exported, "ncnn")], 1, 2)[0]
    for each in (bad, again):
        assert isinstance(each, MeasurementError) and str(each).startswith("ssh:board: ") and "\n" not in str(each)


@pytest.mark.parametrize(
    ("host", "python", "words"),
    [
        ("nowhere", "python3", "can't connect .*Connection refused.* Try: ssh nowhere true"),
        ("board", "/no/python", "there is no '/no/python'. Name the Python"),
        ("board", "/usr/bin/env python3 -I", "there is no"),  # one word, not a command line
        ("board", "/bin/echo", "what answers there isn't Flyweight"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_exported(host: str, python: str, words: str) -> None:
    with pytest.raises(MeasurementError, match=f"^ssh:{host}: .*{words}") as caught:
        SshDevice(host, python)
    assert "\n" not in str(caught.value)


def test_a_python_without_flyweight_is_told(board: Path) -> None:
    script(board / "bare", f'exec "{sys.executable}" -I -S "$@"')
    with pytest.raises(MeasurementError, match="has no Flyweight"):
        SshDevice("board", str(board / "bare"))


def test_a_machine_that_does_not_answer_is_told(board: Path) -> None:
    script(board / "sleeps", "sleep 30")
    with pytest.raises(MeasurementError, match=r"no answer to 'hello' within 1 s"):
        SshDevice("board", str(board / "sleeps"), hello_timeout_s=1)
