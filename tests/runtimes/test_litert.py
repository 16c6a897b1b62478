"""What is particular to LiteRT; its contract is kept in tests/contracts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from flyweight.contracts import Artifact, Candidate, Measurement, Preprocessing, Quantization
from flyweight.errors import ExportError
from flyweight.runtimes import _elsewhere
from flyweight.runtimes.litert import LiteRt
from tests.runtimes import nets

RUNTIME = LiteRt()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(RUNTIME.missing() is not None, reason=str(RUNTIME.missing())),
]


class Decoder(nn.Sequential):
    """A transposed convolution with output padding, which LiteRT's converter can't express."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU6(), nn.ConvTranspose2d(8, 4, 3, 2, 1, output_padding=1), nn.Hardswish()
        )


def test_transposed_convolution_with_output_padding_is_exported(tmp_path: Path) -> None:
    candidate = Candidate(Decoder().eval(), Preprocessing(16, 16))
    artifact = RUNTIME.export(candidate, tmp_path)
    inputs = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
    wanted = nets.outputs(candidate, inputs)
    assert np.abs(RUNTIME.load(artifact, 1)(inputs) - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_quantized_network_takes_and_gives_float(tmp_path: Path) -> None:
    artifact = RUNTIME.export(nets.quantized(), tmp_path)
    wanted = nets.outputs(nets.quantized(), nets.images(4))
    found = RUNTIME.load(artifact, 1)(nets.images(4))
    assert found.dtype == np.float32
    assert nets.signal_to_noise_db(wanted, found) > 30
    assert np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()  # 0.26 with the quantizer's own average of ranges


def test_fitted_weights_are_written_into_every_layer_but_the_transposed(tmp_path: Path) -> None:
    wanted = nets.outputs(nets.small(), nets.images(4))
    artifact = RUNTIME.export(replace(nets.small(), quantization=Quantization(nets.images(32, 7), "best")), tmp_path)
    assert "5 of 5 layers have fitted weights" in artifact.notes
    assert nets.signal_to_noise_db(wanted, RUNTIME.load(artifact, 1)(nets.images(4))) > 36


def test_operator_that_is_not_there_is_told_and_the_next_network_is_made() -> None:
    plain = {
        "input": "x", "output": "y", "shape": [1, 3, 8, 8],
        "nodes": [{"name": "y", "op": "aten.bincount.default", "args": [{"node": "x"}], "kwargs": {}}],
    }  # fmt: skip
    whole = {**plain, "nodes": [{**plain["nodes"][0], "op": "aten.relu.default"}]}  # type: ignore[dict-item]
    with _elsewhere.start("litert") as worker:
        with pytest.raises(ExportError, match="litert can't do it"):
            worker.ask("export", {"plain": plain, "precision": "fp32"})
        _, made = worker.ask("export", {"plain": whole, "precision": "fp32"})
    assert made["model.tflite"].size > 100


def test_artifact_is_timed_where_it_can_be_run(tmp_path: Path) -> None:
    from flyweight.measure import measure_group

    artifact: Artifact = RUNTIME.export(nets.small(), tmp_path)
    (found,) = measure_group([artifact], 1, 20)
    assert isinstance(found, Measurement), found
    assert found.median_ms > 0
    assert found.runtime_version == RUNTIME.version()
