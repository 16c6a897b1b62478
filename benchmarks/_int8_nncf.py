"""Run by a Python that has NNCF: quantize an OpenVINO file in the ways that NNCF offers for convolutional networks.

    PYTHON _int8_nncf.py make FLOAT.xml CALIBRATION.npy

Prints method, path and seconds of each file, separated by tabs.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

FLOAT_BELOW = 16  # input channels, as in flyweight.runtimes._onnx_int8


def main(arguments: list[str]) -> None:
    """Quantize, write, tell."""
    import nncf  # type: ignore[import-not-found,unused-ignore]  # only where this runs
    import openvino

    nncf.set_log_level(logging.ERROR)
    source, calibration = Path(arguments[1]), np.load(arguments[2])
    graph = openvino.Core().read_model(source)
    stay = nncf.IgnoredScope(names=_small_ends(graph))
    ways: dict[str, dict[str, Any]] = {
        "NNCF, default": {},
        "NNCF, mixed": {"preset": nncf.QuantizationPreset.MIXED},
        "NNCF, mixed, accurate bias correction": {
            "preset": nncf.QuantizationPreset.MIXED, "fast_bias_correction": False,
        },
        "NNCF, mixed, ends in float": {"preset": nncf.QuantizationPreset.MIXED, "ignored_scope": stay},
    }  # fmt: skip
    for name, way in ways.items():
        begin = time.perf_counter()
        images = nncf.Dataset([image[None] for image in calibration])
        made = nncf.quantize(openvino.Core().read_model(source), images, subset_size=len(calibration), **way)
        path = source.with_name(f"openvino_theirs_{name.replace(', ', '_').replace(' ', '_').lower()}.xml")
        openvino.save_model(made, path, compress_to_fp16=False)
        print("made", name, path, time.perf_counter() - begin, sep="\t", flush=True)


def _small_ends(graph: Any) -> list[str]:
    """Return the names of what stays float in our files: a first or last convolution of fewer than 16 channels."""
    found = [op for op in graph.get_ordered_ops() if op.get_type_name() == "Convolution"]
    return [op.get_friendly_name() for op in {id(op): op for op in (found[0], found[-1])}.values()
            if op.input_value(0).get_partial_shape()[1].get_length() < FLOAT_BELOW]  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
