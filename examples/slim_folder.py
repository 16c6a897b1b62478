"""Slim a network on your own images: a folder with images/ and masks/, from Python.

    python examples/slim_folder.py [FOLDER] [OUT]

Without a folder it paints a small one, so that the example runs anywhere in a minute.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from flyweight import slim


def paint(folder: Path, count: int = 24) -> Path:
    """Make images of bright discs on dark ground, with their masks (0 ground, 1 disc)."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:160, :160]
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    (folder / "classes.json").write_text('[{"name": "ground", "index": 0}, {"name": "disc", "index": 1}]')
    for index in range(count):
        y, x, radius = rng.integers(40, 120), rng.integers(40, 120), rng.integers(15, 40)
        disc = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        image = rng.integers(0, 90, (160, 160, 3), dtype=np.uint8)
        image[disc] += 120
        Image.fromarray(image).save(folder / "images" / f"{index:03}.png")
        Image.fromarray(disc.astype(np.uint8)).save(folder / "masks" / f"{index:03}.png")
    return folder


def main() -> None:
    """Slim with a few training steps and three rungs, timed in ONNX Runtime at one thread."""
    scratch = Path(tempfile.mkdtemp())
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else paint(scratch / "discs")
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else scratch / "run"
    report = slim(str(folder), out, rungs=("v0.1",), steps=2, threads=(1,), runtimes=("onnxruntime",))
    for rung in report.rungs:
        artifact, timing = rung.artifacts["onnxruntime"], rung.timings[0]
        print(f"{rung.name}: {artifact.bytes / 1e6:.1f} MB, {timing.median_ms:.1f} ms, {timing.speedup:.1f}x")


if __name__ == "__main__":
    main()
