"""One loaded .tflite file, for one image at a time; needs numpy and ai_edge_litert only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flyweight.errors import FileError

if TYPE_CHECKING:
    from flyweight.contracts import Array


class Net:
    """LiteRT's interpreter with XNNPACK, arithmetic in float32 unless the file is int8.

    Raises:
        FileError: LiteRT can't read the file, or its input or output isn't what was exported.
    """

    def __init__(self, path: Path, threads: int, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        from ai_edge_litert.interpreter import Interpreter

        try:
            self.interpreter = Interpreter(str(path), num_threads=threads)
            self.interpreter.allocate_tensors()
            given, made = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise FileError(f"{path}: LiteRT can't read it ({error}). Export it again.") from error
        found = [(tuple(map(int, each["shape"])), np.dtype(each["dtype"]).name) for each in (*given, *made)]
        if found != [(input_shape, "float32"), (output_shape, "float32")]:
            raise FileError(f"{path}: takes and gives {found}, which was not exported. Export it again.")
        self.given, self.made = given[0]["index"], made[0]["index"]

    def run(self, image: Array) -> Array:
        """Return the output for one image ``(1, C, H, W)``."""
        self.interpreter.set_tensor(self.given, np.ascontiguousarray(image, np.float32))
        self.interpreter.invoke()
        out: Array = self.interpreter.get_tensor(self.made)  # a copy
        return out
