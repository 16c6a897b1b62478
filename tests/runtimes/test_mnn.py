from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from flyweight.contracts import Artifact
from flyweight.errors import ExportError, FileError
from flyweight.runtimes.mnn import Mnn
from tests.runtimes import nets

RUNTIME = Mnn()
pytestmark = pytest.mark.skipif(RUNTIME.missing() is not None, reason=str(RUNTIME.missing()))


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return RUNTIME.export(nets.small(), tmp_path_factory.mktemp("mnn"))


def test_nothing_is_printed_installed_or_reported(artifact: Artifact, capfd: pytest.CaptureFixture[str]) -> None:
    RUNTIME.load(artifact, 1)(nets.images(1))
    assert capfd.readouterr().out == ""
    assert not any(name.startswith(("aliyun", "MNN.tools")) for name in sys.modules)


def test_operators_belong_to_modules(artifact: Artifact) -> None:
    times = RUNTIME.layer_times(artifact, 1, 5)
    assert times is not None
    assert {"stem.1", "depthwise", "pointwise", "up", "classify"} <= set(times.by_module())
    assert times.attributed == 1.0


def test_int8_is_refused_and_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="runtime 'mnn' has no int8 here, only fp32 and fp16"):
        RUNTIME.export(nets.quantized(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_of_another_network_is_refused(artifact: Artifact) -> None:
    from dataclasses import replace

    with pytest.raises(FileError, match="which was not exported"):
        RUNTIME.load(replace(artifact, input_shape=(1, 3, 16, 16)), 1)


def test_stdout_is_open_again_afterwards(artifact: Artifact, capfd: pytest.CaptureFixture[str]) -> None:
    RUNTIME.load(artifact, 1)
    os.write(1, b"still here")
    assert capfd.readouterr().out == "still here"


def test_outputs_are_pytorchs(artifact: Artifact) -> None:
    wanted = nets.outputs(nets.small(), nets.images(2))
    found = RUNTIME.load(artifact, 2)(nets.images(2))
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()
