"""What a phone and a board are given to run."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyweight import files
from flyweight.runtimes.ncnn import Ncnn
from flyweight.runtimes.onnxruntime import OnnxRuntime
from tests.runtimes import nets


@pytest.fixture(scope="package")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``flyweight export`` leaves it."""
    folder = tmp_path_factory.mktemp("exported")
    for runtime in (OnnxRuntime(), Ncnn()):
        artifact = runtime.export(nets.small(), folder / runtime.name)
        files.write_json(folder / runtime.name / "artifact.json", artifact.to_json())
    return folder
