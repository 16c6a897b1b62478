"""Running ncnn's files: as float32 or int8, and nothing that ncnn chooses by itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight.errors import ExportError, FileError
from flyweight.runtimes._ncnn_file import parse_param, weight_count

if TYPE_CHECKING:
    from flyweight.contracts import Array


def load_net(param: Path, weights: Path, threads: int, *, keep_blobs: bool = False) -> Any:
    """Return a net in float32 (or int8 as its weights say): nothing is left to what ncnn chooses by itself.

    Raises:
        FileError: ncnn can't read the files, or they claim more weights than there are bytes.
    """
    import ncnn

    check_claims(param, weights)

    net = ncnn.Net()
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage", "vulkan_compute"):
        setattr(net.opt, f"use_{option}", False)
    net.opt.num_threads = threads
    net.opt.openmp_blocktime = 0  # waiting threads sleep
    net.opt.lightmode = not keep_blobs
    if net.load_param(str(param)) or net.load_model(str(weights)):
        raise FileError(f"{param}: ncnn can't load it or its weights. Export it again.")
    return net


def check_claims(param: Path, weights: Path) -> None:
    """Check that no more weights are claimed than the file has bytes: ncnn would set the memory aside before it reads.

    Raises:
        FileError: they are; or the text isn't ncnn's.
    """
    size = weights.stat().st_size
    try:
        claimed = sum(weight_count(layer) for layer in parse_param(param.read_text("utf-8", "replace")))
    except (ExportError, ValueError) as error:
        raise FileError(f"{param}: ncnn can't load it ({str(error).rstrip('.')}). Export it again.") from error
    if claimed > size:
        raise FileError(f"{param}: claims {claimed} weights, but {weights.name} has {size} bytes. Export it again.")


def run_net(net: Any, image: Array, blobs: tuple[str, ...]) -> list[Array]:
    """Run one image ``(C, H, W)`` and return the named blobs, each without its batch."""
    import ncnn

    extractor = net.create_extractor()
    given = ncnn.Mat(image)  # shares the array's memory, so the array must live as long as the extractor
    extractor.input("in0", given)
    found: list[Array] = []
    for blob in blobs:
        code, mat = extractor.extract(blob)
        if code:
            raise FileError(f"ncnn can't compute blob '{blob}' (code {code}). Export it again.")
        found.append(np.array(mat, dtype=np.float32))
    return found
