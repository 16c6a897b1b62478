"""Calibration that can't be used costs int8 alone: the float rows of the same network are made all the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flyweight import files, int8
from flyweight.bench import _child
from flyweight.bench._made import one_line
from flyweight.contracts import Artifact
from flyweight.data import load_dataset
from flyweight.transforms import quantize_int8

NETWORK = """
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.Conv2d(16, 16, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""


def of_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one calibration input hold a NaN, as a picture does whose preprocessing divides by zero."""
    real = quantize_int8.preprocess

    def preprocess(*given: Any) -> Any:
        inputs = real(*given)
        inputs[-1, 0, 0, 0] = np.nan
        return inputs

    monkeypatch.setattr(quantize_int8, "preprocess", preprocess)


def of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the data no training image."""
    monkeypatch.setattr(int8, "load_dataset", lambda name: replace(load_dataset(name), train=()))


@pytest.mark.parametrize(("spoil", "words"), [(of_nan, "NaN"), (of_nothing, "calibration images")])
def test_calibration_that_cannot_be_used_costs_int8_alone(
    spoil: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch)
    (tmp_path / "net.py").write_text(NETWORK)
    jobs = [
        {"runtime": runtime, "precision": precision, "folder": str(tmp_path / runtime / precision)}
        for runtime in ("onnxruntime", "ncnn")
        for precision in ("int8", "fp32")
    ]
    for job in jobs:
        Path(job["folder"]).mkdir(parents=True)
    _child.main({
        "model": f"{tmp_path}/net.py:build", "resolution": 32, "classes": None, "data": "blue_marble", "sample": True,
        "images": 1, "jobs": jobs,
    })  # fmt: skip
    for job in jobs:
        answer = files.read_json(Path(job["folder"]) / _child.ANSWER)
        if job["precision"] == "int8":
            assert words in answer["error"] and len(one_line(answer["error"])) < 300
            assert not list(Path(job["folder"]).glob("*/model*"))
        else:
            assert Artifact.from_json(answer["artifact"], Path(job["folder"]) / job["runtime"]).files[0].is_file()
