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


def main(arguments: list[str]) -> None:
    """Quantize, write, tell."""
    import nncf  # type: ignore[import-not-found,unused-ignore]  # only where this runs
    import openvino

    nncf.set_log_level(logging.ERROR)
    source, calibration = Path(arguments[1]), np.load(arguments[2])
    ways: dict[str, dict[str, Any]] = {
        "NNCF, default": {},
        "NNCF, mixed": {"preset": nncf.QuantizationPreset.MIXED},
        "NNCF, mixed, accurate bias correction": {
            "preset": nncf.QuantizationPreset.MIXED, "fast_bias_correction": False,
        },
    }  # fmt: skip
    for name, way in ways.items():
        begin = time.perf_counter()
        images = nncf.Dataset([image[None] for image in calibration])
        made = nncf.quantize(openvino.Core().read_model(source), images, subset_size=len(calibration), **way)
        path = source.with_name(f"openvino_theirs_{name.replace(', ', '_').replace(' ', '_').lower()}.xml")
        openvino.save_model(made, path, compress_to_fp16=False)
        print("made", name, path, time.perf_counter() - begin, sep="\t", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
