"""How small the ImageNet weights of EfficientNet-Lite0 get at what fidelity: flyweight pack beside nncodec and others.

    python -m benchmarks.codec_rate --efficientnet-lite0 DIR --stamps DIR --nncodec PYTHON

The weights are those of ``pretrained.py``, the images the composites of ``composites.py``: those of every second
object choose the rounding (each twice, at other sizes and places), the others judge it. Fidelity: the ratio of the
float network's logits to their error, and how many images keep their class. PYTHON is that of a virtual environment as
``_nncodec.py`` wants it; zstd and gcc must be installed. Some fifteen CPU-minutes. Writes
``benchmarks/results/codec_rate.json``.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import _plain_codes
from benchmarks._claims import claimed
from benchmarks.composites import GROUNDS, composite
from benchmarks.pretrained import composites_of, logits, one_file
from flyweight import codec, files
from flyweight.contracts import Candidate
from flyweight.evaluate import preprocess
from flyweight.flow import environment
from flyweight.packing import Packer
from flyweight.packing._neutral import restored
from flyweight.pretrained import import_weights
from flyweight.zoo import ZOO

COMMAND = "python -m benchmarks.codec_rate --efficientnet-lite0 DIR --stamps DIR --nncodec PYTHON"
ROOT = Path(__file__).parents[1]
NOISE_DB = {"images": (8.0, 12.0, 16.0, 20.0, 24.0, 28.0, 36.0, 46.0), "data-free": (16.0, 20.0, 24.0, 28.0, 32.0)}
TIMED_DB = 20.0
QPS = tuple(range(-44, -25, 3))
SETTINGS: tuple[dict[str, Any], ...] = (
    *({"qp": qp} for qp in QPS),
    *({"qp": qp, "opt_qp": True, "nonweight_qp": -50} for qp in range(-46, -30, 2)),
    {"qp": -43, "opt_qp": True}, {"qp": -38, "opt_qp": True}, {"qp": -38, "use_dq": False},
    {"qp": -40, "opt_qp": True, "nonweight_qp": -50, "lambda_scale": 1.0},
)  # fmt: skip
GRID_DB = tuple(range(9, 25))  # where every method's curve is compared
Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Judge:
    """What fidelity is measured with: the float network, images that no method saw, and its logits."""

    candidate: Candidate
    images: NDArray[np.uint8]
    wanted: NDArray[np.float32]

    def row(self, method: str, setting: str, size: int, module: torch.nn.Module, **more: Any) -> dict[str, Any]:
        """Return a method's figures."""
        found = logits(Candidate(module, self.candidate.preprocessing), self.candidate.preprocessing, self.images)
        error = float(np.square(self.wanted.astype(np.float64) - found).sum())
        snr = 10 * np.log10(float(np.square(self.wanted.astype(np.float64)).sum()) / error)
        same = round(100 * float((found.argmax(1) == self.wanted.argmax(1)).mean()), 2)
        row = {"method": method, "setting": setting, "bytes": size, "snr_db": round(float(snr), 3), "agreement": same}
        row |= more
        print(row, flush=True)
        return row

    def plain(self, method: str, setting: str, size: int, tensors: Tensors, **more: Any) -> dict[str, Any]:
        """Return the figures of tensors by their names in the float network."""
        module = copy.deepcopy(self.candidate.module)
        module.load_state_dict({n: torch.from_numpy(np.asarray(t)) for n, t in tensors.items()}, strict=False)
        return self.row(method, setting, size, module, **more)


def main(arguments: Sequence[str]) -> int:
    """Code, decode, compare, write."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    spec = ZOO.get("efficientnet_lite0").spec
    weights = one_file(options.efficientnet_lite0, "efficientnet-lite0-57934424.pth")
    candidate = import_weights(spec, weights, "efficientnet_pytorch", class_names=()).candidate
    images, _, objects = composites_of(options.stamps)
    names = list(dict.fromkeys(objects))
    judged = np.array([names.index(name) % 2 == 0 for name in objects])
    wanted = logits(candidate, candidate.preprocessing, images[judged])
    judge = Judge(candidate, images[judged], wanted)
    again = [composite(options.stamps / name, ground, 224, seed=1)[0] for name in names[1::2] for ground in GROUNDS]
    inputs = preprocess(np.concatenate([images[~judged], np.stack(again)]), candidate.preprocessing)
    rows = _ours(judge, "images", inputs) + _ours(judge, "data-free", None)
    floats = {n: t.numpy() for n, t in candidate.module.state_dict().items() if t.dtype == torch.float32}
    rows += _nncodec(judge, floats, options.nncodec) + _others(judge, floats)
    now = {**environment(0), "command": COMMAND}
    result = {
        "name": "codec_rate", "command": COMMAND, "date": now["date"], "environment": now, "network": spec.name,
        "float_bytes": sum(t.nbytes for t in floats.values()), "threads": options.threads,
        "data": {"objects_judged_on": len(names[::2]), "images_judged_on": int(judged.sum()), "grounds": list(GROUNDS),
                 "images_rounded_by": len(inputs)},
        "rows": rows, "curve": _curve(rows), "claims": _claims(rows),
    }  # fmt: skip
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print("holds" if claim["holds"] else "FAILS", claim["claim"], claim["value"], claim["unit"], claim["goal"])
    return 0


# ---- methods ----------------------------------------------------------------------------------------------------


def _ours(judge: Judge, name: str, inputs: NDArray[np.float32] | None) -> list[dict[str, Any]]:
    begin = time.perf_counter()
    packer = Packer(judge.candidate, inputs)
    prepared = time.perf_counter() - begin
    rows = []
    for noise_db in NOISE_DB[name]:
        begin = time.perf_counter()
        quantized = packer.quantized(noise_db)
        data = codec.encode(quantized, packer.description)
        encode_s = prepared + time.perf_counter() - begin
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "net.fly"
            path.write_bytes(data)
            tensors, decode_s = _decoded(path, native=True)
            _, python_s = _decoded(path, native=False)
            c_mb_s = _c_decoder(path, Path(scratch)) if noise_db == TIMED_DB else None
        assert judge.candidate.spec is not None
        payloads = sum(r.bytes for r in codec_records(data))
        rows.append(judge.row(
            f"flyweight, {name}", f"noise {noise_db:g} dB", len(data), restored(judge.candidate.spec, tensors),
            encode_s=encode_s, decode_s=decode_s, python_decode_s=python_s, c_mb_s=c_mb_s,
            ideal_bytes=quantized.ideal_bytes, coded_bytes=payloads, weights=packer.weights,
        ))  # fmt: skip
    return rows


def _decoded(path: Path, *, native: bool) -> tuple[dict[str, NDArray[Any]], float]:
    """Return a file's tensors and the median time of five decodings, from opening it on."""
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        tensors = dict(codec.open_container(path, native=native).tensors())
        seconds.append(time.perf_counter() - begin)
    return tensors, sorted(seconds)[2]


def codec_records(data: bytes) -> tuple[codec.Record, ...]:
    """Return the records of a file's bytes."""
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "x.fly").write_bytes(data)
        return codec.open_container(Path(scratch) / "x.fly").records


def _c_decoder(path: Path, scratch: Path) -> float:
    """Return the MB of float32 a second that the C decoder gives: the best of five, its own clock."""
    built = scratch / "flydec"
    source = ROOT / "decoder" / "flydec.c"
    subprocess.run(["gcc", "-std=c99", "-O2", "-DFLYDEC_MAIN", str(source), "-o", str(built)], check=True)
    speeds = []
    for _ in range(5):
        told = subprocess.run([str(built), str(path), str(scratch / "out")], check=True, capture_output=True, text=True)
        found = re.search(r"(\d+) bytes in ([\d.]+) s", told.stdout)
        assert found is not None
        speeds.append(int(found[1]) / 1e6 / max(float(found[2]), 1e-6))
    return max(speeds)


def _nncodec(judge: Judge, floats: Tensors, python: Path) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        np.savez(folder / "weights.npz", **floats)  # type: ignore[arg-type]
        (folder / "settings.json").write_text(json.dumps(SETTINGS), encoding="utf-8")
        script = Path(__file__).with_name("_nncodec.py")
        command = [str(python), str(script), str(folder / "weights.npz"), str(folder / "settings.json"), str(folder)]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": ""})
        figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
        return [
            judge.plain(
                "nncodec", json.dumps(options), figure.pop("bytes"), dict(np.load(folder / f"{i}.npz")), **figure
            )
            for i, (options, figure) in enumerate(zip(SETTINGS, figures, strict=True))
        ]


def _others(judge: Judge, floats: Tensors) -> list[dict[str, Any]]:
    rows = []
    for method, setting, code in (
        ("int8 + zstd", "per channel, zstd -19", _plain_codes.int8_zstd),
        ("float16 + zstd", "zstd -19", _plain_codes.half_zstd),
        ("k-means + Huffman", "5 bits", lambda t: _plain_codes.kmeans_huffman(t, 5)),
        ("k-means + Huffman", "8 bits", lambda t: _plain_codes.kmeans_huffman(t, 8)),
    ):  # fmt: skip
        begin = time.perf_counter()
        size, tensors = code(floats)
        rows.append(judge.plain(method, setting, size, tensors, encode_s=time.perf_counter() - begin))
    return rows


# ---- the curve and the claims -----------------------------------------------------------------------------------


def bytes_at(points: Sequence[tuple[float, float]], snr_db: float) -> float | None:
    """Return the least bytes at a ratio, on the straight line between any two points; None outside them."""
    found = [size for snr, size in points if snr >= snr_db]
    for (low, small), (high, large) in combinations(sorted(points), 2):
        if low <= snr_db <= high and low < high:
            found.append(small + (large - small) * (snr_db - low) / (high - low))
    inside = any(snr <= snr_db for snr, _ in points) and any(snr >= snr_db for snr, _ in points)
    return min(found) if inside else None


def _points(rows: Sequence[Mapping[str, Any]], method: str) -> list[tuple[float, float]]:
    return [(row["snr_db"], row["bytes"]) for row in rows if row["method"] == method]


def _curve(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the bytes of each method at equal ratios, each by its best settings."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    return [{"snr_db": snr, **{m: bytes_at(_points(rows, m), snr) for m in methods}} for snr in GRID_DB]


def _claims(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    ours, free = _against(rows, "flyweight, images", "nncodec"), _against(rows, "flyweight, data-free", "nncodec")
    timed = next(r for r in rows if r["method"] == "flyweight, images" and r["setting"] == f"noise {TIMED_DB:g} dB")
    peer = [r for r in rows if r["method"] == "nncodec"]
    near = min(peer, key=lambda r: abs(r["bytes"] - timed["bytes"]))
    megabytes = 4 * timed["weights"] / 1e6
    claims = [
        _at_least("smaller than nncodec's best at equal SNR, least over the curve", min(ours.values()), "%", 20),
        _at_least(
            "smaller than nncodec's best at equal SNR, mean over the curve",
            float(np.mean(list(ours.values()))),
            "%",
            20,
        ),
        _at_least(
            "data-free: smaller than nncodec's best at equal SNR, least over the curve", min(free.values()), "%", 0
        ),
        _at_most(
            "file over the ideal code length of its own model",
            100 * (timed["bytes"] / timed["ideal_bytes"] - 1),
            "%",
            2,
        ),
        _at_most("encode, sensitivity included", timed["encode_s"], "s", 60),
        _at_least("decode in Python, MB of float32 a second", megabytes / timed["decode_s"], "MB/s", 20),
        _at_least("the same without the compiled decoder", megabytes / timed["python_decode_s"], "MB/s", 20),
        _at_least("decode in Python, times as fast as nncodec", near["decode_s"] / timed["decode_s"], "x", 5),
        _at_least("decode in C, MB of float32 a second", timed["c_mb_s"], "MB/s", 100),
    ]
    for other in ("int8 + zstd", "float16 + zstd", "k-means + Huffman"):
        claims.append(_smaller(rows, other))
    return claims


def _against(rows: Sequence[Mapping[str, Any]], method: str, other: str) -> dict[float, float]:
    """Return by how many percent a method's file is smaller, at every ratio that both reach."""
    found = {}
    for snr in GRID_DB:
        own, peer = bytes_at(_points(rows, method), snr), bytes_at(_points(rows, other), snr)
        if own is not None and peer is not None:
            found[float(snr)] = 100 * (1 - own / peer)
    return found


def _smaller(rows: Sequence[Mapping[str, Any]], other: str) -> dict[str, Any]:
    """Return the claim that at the ratio of each of another method's settings, or above it, the file is smaller."""
    gains = []
    for snr, size in _points(rows, other):
        fit = [s for reached, s in _points(rows, "flyweight, images") if reached >= snr]
        own = bytes_at(_points(rows, "flyweight, images"), snr) or (min(fit) if fit else None)
        if own is not None:
            gains.append(100 * (1 - own / size))
    return _at_least(f"smaller than {other}, at its SNR (where this reaches it)", min(gains, default=-100.0), "%", 0)


def _at_least(text: str, value: float, unit: str, goal: float) -> dict[str, Any]:
    return claimed(text, value, unit, f">= {goal:g}")


def _at_most(text: str, value: float, unit: str, goal: float) -> dict[str, Any]:
    return claimed(text, value, unit, f"<= {goal:g}")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Bytes against fidelity: flyweight pack beside nncodec and others.")
    parser.add_argument("--efficientnet-lite0", type=Path, required=True, help="folder with the weights below")
    parser.add_argument("--stamps", type=Path, required=True, help="folder share/tuxpaint/stamps of the Debian package")
    parser.add_argument("--nncodec", type=Path, required=True, help="the Python that has nncodec 2.1.3")
    parser.add_argument("--threads", type=int, default=2, help="threads (default 2)")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/codec_rate.json"), help="file to write")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
