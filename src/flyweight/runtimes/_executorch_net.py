"""One loaded .pte file, for one image at a time; needs executorch, whose Python package needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from flyweight.errors import FileError

if TYPE_CHECKING:
    from flyweight.contracts import Array


class Net:
    """ExecuTorch's runtime with XNNPACK.

    Raises:
        FileError: ExecuTorch can't read the file, or its input or output isn't what was exported.
    """

    def __init__(self, path: Path, threads: int, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> None:
        import torch

        # what executorch.runtime stands on; that one imports the converter too: seconds, and 150 MB that no phone takes
        from executorch.extension.pybindings import _C as bindings

        bindings._unsafe_reset_threadpool(threads)
        self.torch: Any = torch
        self.path = path
        try:
            self.module = bindings._load_for_executorch(str(path))
            told = self.module.method_meta("forward")
            tensors = [told.input_tensor_meta(0), told.output_tensor_meta(0)]
        except (RuntimeError, ValueError, IndexError) as error:
            raise FileError(f"{path}: ExecuTorch can't read it ({error}). Export it again.") from error
        found = [tuple(map(int, each.sizes())) for each in tensors]
        if found != [input_shape, output_shape]:
            raise FileError(f"{path}: takes and gives {found}, which was not exported. Export it again.")

    def run(self, image: Array) -> Array:
        """Return the output for one image ``(1, C, H, W)``."""
        given = self.torch.from_numpy(np.ascontiguousarray(image, np.float32))
        try:
            (out,) = self.module.forward((given,))
        except RuntimeError as error:
            raise FileError(f"{self.path}: ExecuTorch can't run it ({error}). Export it again.") from error
        return cast("Array", out.numpy().copy())  # its memory is the runtime's, for the next run
