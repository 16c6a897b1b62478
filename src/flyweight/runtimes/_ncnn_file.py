"""ncnn's two files as data: the text that lists the layers, and the weights behind each other.

Source: ncnn's docs/developer-guide/param-and-model-file-structure.md, and ``load_model`` of src/layer/*.cpp.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from flyweight.errors import ExportError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flyweight.contracts import Array

MAGIC = "7767517"
FLOAT_TAG = 0
INT8_TAG = 0x000D4B38

# layer type -> numbers of its settings: outputs, whether there is a bias, count of weights, groups
_WEIGHTED = {
    "Convolution": (0, 5, 6, None),
    "ConvolutionDepthWise": (0, 5, 6, 7),
    "Deconvolution": (0, 5, 6, None),
    "DeconvolutionDepthWise": (0, 5, 6, 7),
    "InnerProduct": (0, 1, 2, None),
}
# layer types that hold no weights, as far as pnnx writes them for convolutional networks
_WEIGHTLESS = frozenset(
    {
        "AbsVal", "BinaryOp", "Cast", "Clip", "Concat", "Crop", "Dropout", "ELU", "Eltwise", "Exp", "Flatten",
        "GELU", "HardSigmoid", "HardSwish", "Input", "Interp", "Log", "Mish", "Noop", "Packing", "Padding",
        "Permute", "PixelShuffle", "Pooling", "Power", "ReLU", "Reduction", "Reorg", "Reshape", "SELU",
        "ShuffleChannel", "Sigmoid", "Slice", "Softmax", "Softplus", "Split", "Squeeze", "Swish", "TanH",
        "UnaryOp", "ExpandDims",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """One line of the text: type, name, blobs read and made, and settings by number (arrays as ``-23300 - number``)."""

    type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: tuple[tuple[int, str], ...] = ()

    def setting(self, number: int, default: int = 0) -> int:
        """Return one whole-number setting."""
        return int(dict(self.settings).get(number, default))

    def having(self, number: int, value: int) -> Layer:
        """Return a copy with one setting changed or added."""
        return replace(self, settings=tuple({**dict(self.settings), number: str(value)}.items()))

    def line(self) -> str:
        """Return the line as ncnn reads it."""
        blobs = [str(len(self.inputs)), str(len(self.outputs)), *self.inputs, *self.outputs]
        return " ".join([f"{self.type:24s} {self.name:24s}", *blobs, *(f"{n}={v}" for n, v in self.settings)])


def parse_param(text: str) -> tuple[Layer, ...]:
    """Read the text form.

    Raises:
        ExportError: it is none.
    """
    lines = text.split("\n")
    if lines[0].strip() != MAGIC:
        raise ExportError(f"not an ncnn param file: it begins with {lines[0][:20]!r} instead of {MAGIC}.")
    return tuple(_parse_line(line) for line in lines[2:] if line.strip())


def _parse_line(line: str) -> Layer:
    try:
        kind, name, inputs, outputs, *rest = line.split()
        count, made = int(inputs), int(outputs)
        blobs = rest[: count + made]
        pairs = [item.split("=", 1) for item in rest[count + made :]]
        if count < 0 or made < 0 or len(blobs) != count + made:
            raise ValueError("fewer blobs than stated")
        return Layer(kind, name, tuple(blobs[:count]), tuple(blobs[count:]), tuple((int(n), v) for n, v in pairs))
    except ValueError as error:
        raise ExportError(f"not a layer of an ncnn param file: {line[:80]!r} ({error}).") from error


def format_param(layers: Sequence[Layer]) -> str:
    """Write the text form."""
    blobs = {name for layer in layers for name in layer.outputs}
    return "\n".join([MAGIC, f"{len(layers)} {len(blobs)}", *(layer.line() for layer in layers)]) + "\n"


@dataclass(frozen=True)
class Weights:
    """A layer's float weights, ``(outputs, rest)``, and its bias."""

    weight: Array
    bias: Array | None


def read_weights(layers: Sequence[Layer], data: bytes) -> dict[str, Weights]:
    """Read float weights by layer name.

    Raises:
        ExportError: a layer's weights are not understood, or the data doesn't end where the layers do.
    """
    found: dict[str, Weights] = {}
    at = 0
    for layer in layers:
        if layer.type in _WEIGHTED:
            found[layer.name], at = _read_one(layer, data, at)
        elif layer.type not in _WEIGHTLESS:
            raise ExportError(f"ncnn int8: layer '{layer.name}' ({layer.type}) is not understood. Export it as fp32.")
    if at != len(data):
        raise ExportError(f"ncnn int8: the layers have {at} bytes of weights, but the file has {len(data)}.")
    return found


def _read_one(layer: Layer, data: bytes, at: int) -> tuple[Weights, int]:
    outputs, bias, size, _ = _WEIGHTED[layer.type]
    count, filters = layer.setting(size), layer.setting(outputs)
    needed = 4 + 4 * count + 4 * filters * layer.setting(bias)
    if at + needed > len(data) or struct.unpack_from("<I", data, at) != (FLOAT_TAG,):
        raise ExportError(f"ncnn: layer '{layer.name}' has no {count} float weights at byte {at}.")
    weight = np.frombuffer(data, "<f4", count, at + 4).reshape(filters, -1)
    end = at + 4 + 4 * count
    if not layer.setting(bias):
        return Weights(weight, None), end
    return Weights(weight, np.frombuffer(data, "<f4", filters, end)), end + 4 * filters


def float_bytes(weights: Weights) -> bytes:
    """Return a layer's weights and bias as float."""
    return struct.pack("<I", FLOAT_TAG) + weights.weight.astype("<f4").tobytes() + _bias_bytes(weights)


def int8_bytes(weights: Weights, codes: NDArray[np.int8], scales: Sequence[Array]) -> bytes:
    """Return a layer's weights as int8 codes (filled up to four bytes), its bias as float, and the scales."""
    packed = codes.tobytes()
    filled = packed + bytes(-len(packed) % 4)
    tail = b"".join(np.asarray(scale, "<f4").tobytes() for scale in scales)
    return struct.pack("<I", INT8_TAG) + filled + _bias_bytes(weights) + tail


def _bias_bytes(weights: Weights) -> bytes:
    return b"" if weights.bias is None else weights.bias.astype("<f4").tobytes()


def groups_of(layer: Layer) -> int:
    """Return how many groups a weighted layer has."""
    number = _WEIGHTED[layer.type][3]
    return layer.setting(number, 1) if number is not None else 1


def is_weighted(layer: Layer) -> bool:
    """Tell whether a layer's weights can be read and written."""
    return layer.type in _WEIGHTED


def weight_count(layer: Layer) -> int:
    """Return how many weights a layer says that it has, at a byte each at least; 0 for a layer without.

    Raises:
        ExportError: fewer than none.
    """
    if layer.type not in _WEIGHTED:
        return 0
    outputs, bias, size, _ = _WEIGHTED[layer.type]
    numbers = (layer.setting(size), layer.setting(outputs), layer.setting(bias))
    if min(numbers) < 0:
        raise ExportError(f"layer '{layer.name}' claims {min(numbers)} weights.")
    return max(numbers[0], numbers[1])
