"""A shared network as a file, and what its bytes are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from flyweight import codec
from flyweight.codec import SharedSizes
from flyweight.compress._settings import LayerReport, Settings, Stage
from flyweight.contracts import Candidate
from flyweight.errors import UsageError
from flyweight.narrow import check_built_by
from flyweight.packing import VERSION
from flyweight.packing._neutral import simplified, stored
from flyweight.share import Sharing, bits_within, default_bits, to_codec
from flyweight.sparse import layer_kinds

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 64


def check(candidate: Candidate) -> None:
    """Raise UsageError where no file can give the network back."""
    if candidate.spec is None:
        raise UsageError(
            "this module has no spec, without which one file does not give back a running network. Compress a network "
            "of the zoo, of a spec file, or saved weights; or use flyweight.sparse and flyweight.share on the module."
        )
    if candidate.quantization is not None:
        raise UsageError("the network is quantized to int8 already. Compress the float network that it was made from.")
    check_built_by(candidate.module, candidate.spec)


def index_bits(module: nn.Module, settings: Settings) -> dict[str, int]:
    """Return the bits of every layer's relative indices."""
    widths = {"conv": settings.conv_index_bits, "fc": settings.fc_index_bits}
    return {name: widths[kind] for name, kind in layer_kinds(module).items()}


def file_of(
    candidate: Candidate,
    sharings: Mapping[str, Sharing],
    settings: Settings,
    books: Mapping[str, NDArray[np.float32]] | None = None,
) -> bytes:
    """Return the file's bytes: shared layers as Deep Compression codes them, all other tensors as they are.

    Args:
        candidate: plain weights; those of ``sharings`` are taken from there.
        books: the centroids after training.
    """
    assert candidate.spec is not None
    widths = index_bits(candidate.module, settings)
    few = {n: to_codec(s, widths[n], books[n] if books else None) for n, s in sharings.items()}
    others = {n: t for n, t in stored(simplified(candidate)).items() if n not in few}
    description = {
        "flyweight": VERSION, "spec": candidate.spec.to_json(), "preprocessing": candidate.preprocessing.to_json(),
        "history": [asdict(change) for change in candidate.history], "images": 0,
    }  # fmt: skip
    return codec.encode(codec.quantize(others, {}), description, few)


def bits_for(candidate: Candidate, settings: Settings, more: int = 0) -> dict[str, int]:
    """Return the bits of every layer: as set, ``more`` added to each, or as fit into the wanted bytes."""
    module = candidate.module
    if settings.max_bytes is None:
        wanted = default_bits(module, settings.conv_bits, settings.fc_bits)
        return {name: min(8, bits + more) for name, bits in wanted.items()}
    rest = len(file_of(candidate, {}, settings)) - sum(p.numel() * 4 for p in _coded(module))
    names = 40 * len(layer_kinds(module))  # a record's name, shape and checksum, about
    return bits_within(module, settings.max_bytes - rest - names, start=settings.start,
                       index_bits=index_bits(module, settings))  # fmt: skip


def _coded(module: nn.Module) -> list[nn.Parameter]:
    return [p for name, p in module.named_parameters() if name in layer_kinds(module)]


def layer_reports(
    sizes: tuple[SharedSizes, ...], before: Mapping[str, NDArray[np.float32]], books: Mapping[str, NDArray[np.float32]]
) -> tuple[LayerReport, ...]:
    """Return every layer from stage to stage; ``before``: pruned weights, not yet shared."""
    return tuple(_layer(s, before[s.name], books[s.name]) for s in sizes)


def _layer(s: SharedSizes, weight: NDArray[np.float32], book: NDArray[np.float32]) -> LayerReport:
    kept = weight[weight != 0]
    counts, edges = np.histogram(kept, BINS) if len(kept) else (np.zeros(0, int), np.zeros(0))
    stages = {
        "float32": 4.0 * s.values, "pruned": s.entries * (32 + s.index_bits) / 8, "shared": s.bytes_before_huffman,
        "coded": float(s.bytes),
    }  # fmt: skip
    return LayerReport(
        s.name, s.values, s.left, s.entries, s.bits, s.index_bits, s.weights_bits / s.entries,
        s.indices_bits / s.entries, stages, tuple(map(float, edges)), tuple(map(int, counts)), tuple(map(float, book)),
    )  # fmt: skip


def stages_of(
    layers: tuple[LayerReport, ...], float_bytes: int, file_bytes: int, metrics: Mapping[str, float]
) -> tuple[Stage, ...]:
    """Return the paper's table: parameters left, bits of a weight and of an index, bytes, metric.

    What is not shared (biases, norms) stays in float32 in every stage; the last is the file, with all that is in it.
    """
    values, entries = sum(each.values for each in layers), max(sum(each.entries for each in layers), 1)
    left, total = sum(each.left for each in layers), float_bytes // 4
    others = float_bytes - 4 * values

    def of(what: str) -> float:
        return sum(each.bytes[what] for each in layers) + others

    def mean(width: Any) -> float:
        return float(sum(width(each) * each.entries for each in layers)) / entries

    kept, index = left + total - values, mean(lambda e: e.index_bits)
    bits, coded = mean(lambda e: e.bits), mean(lambda e: e.coded_weight_bits)
    return (
        Stage("given", total, total, 32.0, None, float(float_bytes), metrics["given"]),
        Stage("pruned", kept, total, 32.0, index, of("pruned"), metrics["pruned"]),
        Stage("shared", kept, total, bits, index, of("shared"), metrics["shared"]),
        Stage("Huffman", kept, total, coded, mean(lambda e: e.coded_index_bits), of("coded"), None),
        Stage("the file", kept, total, coded, mean(lambda e: e.coded_index_bits), float(file_bytes), None),
    )
