"""Converting to MNN's format and running it, without what its package prints, installs and reports.

MNN's command-line entry points run ``pip install`` and tell Alibaba of every conversion. Neither is done by what is
used here: ``_tools.mnnconvert``, the converter itself, and ``MNN``, the engine.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight.errors import ExportError, FileError
from flyweight.runtimes import _artifact

if TYPE_CHECKING:
    from flyweight.contracts import Array

TIMEOUT_S = 600
_CONVERT = "import sys, _tools; sys.exit(0 if _tools.mnnconvert(sys.argv[1:]) else 1)"
_NO_ERROR = 0


def to_mnn(onnx: bytes, half: bool) -> bytes:
    """Return an ONNX file as MNN's; ``half``: weights in half precision.

    The converter runs in a process of its own: what it can't read may end it.

    Raises:
        ExportError: MNN can't read it.
    """
    with _artifact.scratch() as folder:
        source, target = folder / "model.onnx", folder / "model.mnn"
        source.write_bytes(onnx)
        arguments = ["-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(target), "--bizCode", "flyweight"]
        command = [sys.executable, "-P", "-c", _CONVERT, "mnnconvert", *arguments, *(["--fp16"] if half else [])]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise ExportError(f"mnn can't convert this network: its converter took over {TIMEOUT_S} s.") from error
        if done.returncode or not target.exists():
            said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-3:]
            raise ExportError(f"mnn can't convert this network: {' '.join(said)}. Choose another runtime.")
        return target.read_bytes()


class Net:
    """One loaded file, for one image at a time; float32 arithmetic whatever the processor has.

    Raises:
        FileError: MNN can't read the file, or its input or output isn't what was exported.
    """

    def __init__(self, path: Path, threads: int, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> None:
        with quiet():
            import MNN

            self.engine = MNN
            self.interpreter = MNN.Interpreter(str(path))
            config = {"backend": "CPU", "numThread": threads, "precision": "high"}
            self.session = self.interpreter.createSession(config)
            self.input = self.interpreter.getSessionInput(self.session, "input")
            self.output = self.interpreter.getSessionOutput(self.session, "output")
        shapes = [tuple(tensor.getShape()) for tensor in (self.input, self.output)]
        if shapes[0] != input_shape or int(np.prod(shapes[1])) != int(np.prod(output_shape)):
            raise FileError(f"{path}: takes {shapes[0]}, gives {shapes[1]}, which was not exported. Export it again.")
        self.output_shape = output_shape

    def run(self, image: Array) -> Array:
        """Return the output for one image ``(1, C, H, W)``."""
        self.fill(image)
        self.check(self.interpreter.runSession(self.session))
        return self.read(self.output).reshape(self.output_shape)

    def watched(self, image: Array, begin: Callable[[Any, Any], bool], end: Callable[[Any, Any], bool]) -> None:
        """Run one image; ``begin`` and ``end`` are called around every operator with its tensors and what it is."""
        self.fill(image)
        self.check(self.interpreter.runSessionWithCallBackInfo(self.session, begin, end))

    def fill(self, image: Array) -> None:
        """Hand over the input."""
        given = np.ascontiguousarray(image, np.float32)
        kind = self.engine.Tensor_DimensionType_Caffe
        self.input.copyFrom(self.engine.Tensor(given.shape, self.engine.Halide_Type_Float, given, kind))

    def read(self, tensor: Any) -> Array:
        """Return what a tensor holds, in channels before rows, whatever order MNN keeps it in."""
        shape = tuple(tensor.getShape())
        kind = self.engine.Tensor_DimensionType_Caffe
        host = self.engine.Tensor(shape, self.engine.Halide_Type_Float, np.zeros(shape, np.float32), kind)
        tensor.copyToHostTensor(host)
        return np.array(host.getNumpyData(), np.float32)

    def check(self, code: int) -> None:
        """Raise FileError where a run failed."""
        if code != _NO_ERROR:
            raise FileError(f"MNN can't run the file (code {code}). Export it again.")


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what MNN's library prints on stdout, which belongs to whoever uses Flyweight."""
    sys.stdout.flush()
    library = ctypes.CDLL(None)
    library.fflush(None)
    kept = os.dup(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 1)
        yield
    finally:
        library.fflush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)
