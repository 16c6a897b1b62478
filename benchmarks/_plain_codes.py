"""Simple codes that a better one has to beat: rounding to int8 or float16 with zstd, and k-means with Huffman."""

from __future__ import annotations

import heapq
import subprocess
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensors = Mapping[str, NDArray[Any]]
Coded = tuple[int, dict[str, NDArray[Any]]]  # bytes, and what decoding gives
ROUNDS = 30


def _zstd(data: bytes) -> int:
    done = subprocess.run(["zstd", "-19", "-q", "-c"], input=data, capture_output=True, check=True)
    return len(done.stdout)


def half_zstd(tensors: Tensors) -> Coded:
    """Return float16 tensors, low bytes before high ones, through zstd -19."""
    halves = {name: tensor.astype(np.float16) for name, tensor in tensors.items()}
    planes = b"".join(np.frombuffer(h.tobytes(), np.uint8).reshape(-1, 2).T.tobytes() for h in halves.values())
    return _zstd(planes), {name: half.astype(np.float32) for name, half in halves.items()}


def int8_zstd(tensors: Tensors) -> Coded:
    """Return weights as int8 with a float32 scale a channel, and all else as float32, through zstd -19."""
    parts, decoded = [], {}
    for name, tensor in tensors.items():
        if tensor.ndim < 2:
            parts.append(tensor.tobytes())
            decoded[name] = tensor
            continue
        matrix = tensor.reshape(len(tensor), -1)
        scale = np.maximum(np.abs(matrix).max(1, keepdims=True) / 127, 1e-12).astype(np.float32)
        whole = np.rint(matrix / scale).astype(np.int8)
        parts += [whole.tobytes(), scale.tobytes()]
        decoded[name] = (whole * scale).reshape(tensor.shape)
    return _zstd(b"".join(parts)), decoded


def kmeans_huffman(tensors: Tensors, bits: int) -> Coded:
    """Return weights shared by k-means per layer, started evenly, then Huffman (Han et al. 2016); all else float32."""
    size, decoded = 0, {}
    for name, tensor in tensors.items():
        if tensor.ndim < 2:
            size, decoded[name] = size + tensor.nbytes, tensor
            continue
        which, centres = _kmeans(tensor.reshape(-1), 2**bits)
        counts = np.bincount(which, minlength=len(centres))
        size += (_huffman_bits(counts) + 7) // 8 + 4 * len(centres) + len(centres)  # codebook, and code lengths
        decoded[name] = centres[which].reshape(tensor.shape)
    return size, decoded


def _kmeans(values: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return each value's centre, and the centres, sorted."""
    centres = np.linspace(float(values.min()), float(values.max()), k)
    for _ in range(ROUNDS):
        which = np.searchsorted((centres[1:] + centres[:-1]) / 2, values)
        counts = np.bincount(which, minlength=k)
        means = np.bincount(which, weights=values, minlength=k) / np.maximum(counts, 1)
        centres = np.sort(np.where(counts > 0, means, centres))
    return np.searchsorted((centres[1:] + centres[:-1]) / 2, values), centres.astype(np.float32)


def _huffman_bits(counts: NDArray[np.int64]) -> int:
    """Return the bits of all symbols by Huffman's code: the sum of all merged counts."""
    heap = [int(count) for count in counts if count]
    if len(heap) == 1:
        return heap[0]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total
