"""Files that lie: their records fit them, so that only the runtime's own reading stands between them and a crash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flyweight import files
from flyweight.bench import bench
from flyweight.contracts import Artifact, Quantization, Runtime
from flyweight.errors import ExportError, FileError, TransformError
from flyweight.runtimes.ncnn import Ncnn
from flyweight.runtimes.onnxruntime import OnnxRuntime
from tests.bench.test_bench import QUICK, by_runtime, copied, exported
from tests.runtimes import nets

__all__ = ["copied", "exported"]  # fixtures


def recorded(folder: Path, **changes: object) -> None:
    """Make the record fit the files again, as somebody would who wants them to be read."""
    record = folder / "artifact.json"
    data = files.read_json(record)
    contents = [(folder / name).read_bytes() for name in data["files"]]
    digest = hashlib.sha256(b"".join(contents)).hexdigest()
    files.write_json(record, {**data, "bytes": sum(map(len, contents)), "sha256": digest, **changes})


def cut(folder: Path) -> None:
    """Keep the first half of the main file, or of ncnn's weights."""
    path = next(iter([*folder.glob("*.bin"), *folder.glob("*.onnx")]))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    recorded(folder)


def claim_100_gb(folder: Path) -> None:
    """State 25e9 weights (100 GB of float32) where there are a few."""
    if (folder / "model.ncnn.param").exists():
        path = folder / "model.ncnn.param"
        path.write_text(re.sub(r" 6=\d+", " 6=25000000000", path.read_text(), count=1))
    else:
        import onnx

        path = folder / "model.onnx"
        model = onnx.load(path)
        tensor = next(each for each in model.graph.initializer if len(each.dims) == 4)
        tensor.dims[0] = 25_000_000_000 // int(np.prod(tensor.dims[1:]))
        path.write_bytes(model.SerializeToString())
    recorded(folder)


def another_input(folder: Path) -> None:
    """Say that the network takes 16 x 16 pixels, which it doesn't."""
    preprocessing = files.read_json(folder / "artifact.json")["preprocessing"]
    shape = [1, 3, 16, 16]
    recorded(folder, input_shape=shape, preprocessing={**preprocessing, "height": 16, "width": 16})


def noise(folder: Path) -> None:
    """Replace the main file by bytes that mean nothing."""
    path = next(iter([*folder.glob("*.param"), *folder.glob("*.onnx")]))
    path.write_bytes(np.random.default_rng(0).bytes(4096))
    recorded(folder)


@pytest.mark.parametrize("damage", [cut, claim_100_gb, another_input, noise])
@pytest.mark.parametrize("runtime", ["onnxruntime", "ncnn"])
def test_a_file_that_lies_is_one_sentence_and_the_other_row_is_unharmed(
    runtime: str, damage: Callable[[Path], None], copied: Path
) -> None:
    damage(copied / "fp32" / runtime)
    rows = by_runtime(bench([str(copied)], QUICK))
    bad, good = rows.pop(runtime), next(iter(rows.values()))
    assert bad.measurement is None
    said = bad.refused.replace(str(copied), "")
    assert 20 < len(said) < 500 and "\n" not in said, said
    assert good.measurement is not None and good.refused == ""


@pytest.mark.parametrize("runtime", [OnnxRuntime(), Ncnn()], ids=["onnxruntime", "ncnn"])
def test_a_claim_of_100_gb_sets_no_memory_aside(runtime: Runtime, copied: Path) -> None:
    folder = copied / "fp32" / runtime.name
    claim_100_gb(folder)
    with pytest.raises(FileError):
        runtime.load(Artifact.from_json(files.read_json(folder / "artifact.json"), folder), 1)


@pytest.mark.parametrize("runtime", [OnnxRuntime(), Ncnn()], ids=["onnxruntime", "ncnn"])
def test_nan_or_nothing_to_calibrate_on_is_an_error_before_anything_is_written(
    runtime: Runtime, tmp_path: Path
) -> None:
    with_nan = nets.images(2)
    with_nan[1, 0, 0, 0] = np.nan
    for calibration, words in ((with_nan, "NaN"), (nets.images(2)[:0], "calibration")):
        with pytest.raises((ExportError, TransformError), match=words):
            runtime.export(replace(nets.small(), quantization=Quantization(calibration)), tmp_path / "out")
    assert not (tmp_path / "out").exists()
