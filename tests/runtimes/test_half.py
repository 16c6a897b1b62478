"""fp16, asked for: weights in half precision in every runtime's own file, arithmetic in float32."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from flyweight.contracts import Runtime
from flyweight.errors import ExportError
from flyweight.runtimes import RUNTIMES
from flyweight.runtimes.onnxruntime import OnnxRuntime
from tests.runtimes import nets


def usable(name: str) -> object:
    reason = RUNTIMES.get(name).missing()
    if name == "coreml" or "fp16" not in RUNTIMES.get(name).precisions:
        reason = reason or "it can't be run here, or not in half precision"
    return pytest.param(RUNTIMES.get(name), id=name, marks=[pytest.mark.skip(reason=reason)] if reason else [])


@pytest.mark.parametrize("runtime", [usable(name) for name in RUNTIMES.names()])
def test_half_the_weights_bytes_and_nearly_the_same_outputs(runtime: Runtime, tmp_path: Path) -> None:
    candidate, inputs = nets.small(), nets.images(2)
    whole = runtime.export(candidate, tmp_path / "fp32")
    half = runtime.export(replace(candidate, half=True), tmp_path / "fp16")
    assert half.precision == "fp16"
    weights = 4 * sum(p.numel() for p in candidate.module.parameters() if p.ndim > 1)
    assert whole.bytes - half.bytes > 0.25 * weights  # half of them, less what tells of the widening
    wanted = nets.outputs(candidate, inputs)
    error = np.abs(runtime.load(half, 1)(inputs) - wanted).max() / np.abs(wanted).max()
    assert 1e-5 < error < 5e-3  # rounded by up to 2^-11 = 4.9e-4 each, so not equal; and not far off


def test_a_weight_beyond_half_precision_is_named(tmp_path: Path) -> None:
    candidate = nets.small()
    with torch.no_grad():
        candidate.module.classify.weight[0, 0] = 70_000.0  # type: ignore[union-attr,index]
    with pytest.raises(ExportError, match=r"fp16: 'classify\.weight' holds 7e\+04; half precision ends at 65504"):
        OnnxRuntime().export(replace(candidate, half=True), tmp_path)
