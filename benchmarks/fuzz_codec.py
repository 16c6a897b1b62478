"""Damaged .fly files by the ten thousand, in Python's decoder and in the C decoder under sanitizers.

    python -m benchmarks.fuzz_codec [--cases 52000]

Every byte of a small file flipped in turn and every truncation; then edits drawn by chance: bytes changed, taken out,
put in, copied elsewhere, mostly with checksums mended, so that they reach the code behind them. Each case must give
values or a clear error, in both decoders the same. Needs gcc. Some three CPU-minutes. Writes
``benchmarks/results/fuzz_codec.json``.
"""

from __future__ import annotations

import argparse
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from flyweight import codec, files
from flyweight.errors import FileError
from flyweight.flow import environment
from tests.codec.test_hostile import HARNESS, SOURCE, cases, resealed, small

COMMAND = "python -m benchmarks.fuzz_codec"
CHUNK = 5000
NOT_IN_C = ("description", "name")  # C reads neither JSON nor UTF-8


def main(arguments: Sequence[str]) -> int:
    """Damage, decode in both, compare, write."""
    options = _options(arguments)
    rng = np.random.default_rng(options.seed)
    found: Counter[str] = Counter()
    slowest, before = 0.0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        harness = _built(folder)
        stream = islice(_all_cases(small(), rng), options.cases)
        while chunk := list(islice(stream, CHUNK)):
            told, seconds = _c(harness, chunk)
            found["c_crashes"] += told is None
            found["c_s"] += round(seconds)
            for index, data in enumerate(chunk):
                verdict, took = _python(folder / "x.fly", data)
                slowest = max(slowest, took)
                found["cases"] += 1
                found[verdict.split(":")[0]] += 1
                found["differ"] += told is not None and _differs(verdict, told[index])
            print(dict(found), flush=True)
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    now = {**environment(options.seed), "command": COMMAND}
    files.write_json(options.result, {
        "name": "fuzz_codec", "command": COMMAND, "date": now["date"], "environment": now, "file_bytes": len(small()),
        "counts": dict(found), "slowest_case_s": slowest, "memory_grown_mb": grown_mb,
        "claims": _claims(found, slowest, grown_mb),
    })  # fmt: skip
    for claim in _claims(found, slowest, grown_mb):
        print("holds" if claim["holds"] else "FAILS", claim["claim"], claim["value"], claim["unit"], claim["goal"])
    return 0


def _all_cases(data: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    yield from cases(data)
    while True:
        hurt = _edited(data, rng)
        yield resealed(hurt) if rng.random() < 0.8 and len(hurt) > 40 else hurt


def _edited(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the file with one to four edits drawn by chance."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        place, length = int(rng.integers(0, len(out))), int(rng.integers(1, 9))
        match int(rng.integers(0, 5)):
            case 0:
                out[place] = int(rng.integers(0, 256))
            case 1:
                out[place] = (0, 1, 127, 128, 255)[int(rng.integers(0, 5))]
            case 2:
                del out[place : place + length]
            case 3:
                out[place:place] = rng.bytes(length)
            case _:
                source = int(rng.integers(0, len(out)))
                out[place : place + length] = out[source : source + length]
        if not out:
            return b""
    return bytes(out)


def _built(folder: Path) -> Path:
    """Return the C decoder's harness under the address and undefined-behaviour sanitizers."""
    (folder / "harness.c").write_text(HARNESS, encoding="utf-8")
    flags = ["-std=c99", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{SOURCE.parent}"]
    subprocess.run(["gcc", *flags, str(folder / "harness.c"), "-o", str(folder / "harness")], check=True)
    return folder / "harness"


def _c(harness: Path, chunk: Sequence[bytes]) -> tuple[bytes | None, float]:
    """Return one byte a case, 0 where it was decoded; None where the decoder crashed, hung or was stopped."""
    fed, begin = b"".join(struct.pack("<I", len(data)) + data for data in chunk), time.perf_counter()
    try:
        done = subprocess.run([str(harness)], input=fed, capture_output=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        return None, time.perf_counter() - begin
    whole = done.returncode == 0 and not done.stderr and len(done.stdout) == len(chunk)
    return done.stdout if whole else None, time.perf_counter() - begin


def _python(path: Path, data: bytes) -> tuple[str, float]:
    """Return ``decoded``, ``refused: why`` or ``crashed: what``, and seconds."""
    path.write_bytes(data)
    begin = time.perf_counter()
    try:
        for _ in codec.open_container(path, native=False).tensors():
            pass
        verdict = "decoded"
    except FileError as error:
        verdict = f"refused: {error}"
    except Exception as error:  # what is looked for
        verdict = f"crashed: {type(error).__name__}: {error}"
        print(verdict)
    return verdict, time.perf_counter() - begin


def _differs(verdict: str, error: int) -> bool:
    if verdict.startswith("refused"):
        return not error and not any(word in verdict for word in NOT_IN_C)
    return bool(error)


def _claims(found: Counter[str], slowest: float, grown_mb: float) -> list[dict[str, Any]]:
    rows = (
        ("cases, in Python and in C", found["cases"], "cases", ">= 50000", found["cases"] >= 50000),
        ("Python: anything but values or a clear error", found["crashed"], "cases", "<= 0", not found["crashed"]),
        ("C under sanitizers: runs that crashed, hung or were stopped", found["c_crashes"], "runs", "<= 0",
         not found["c_crashes"]),
        ("cases that the two decoders judge differently", found["differ"], "cases", "<= 0", not found["differ"]),
        ("slowest case in Python", round(slowest, 3), "s", "<= 1", slowest <= 1),
        ("memory that all cases together made Python grow by", round(grown_mb, 1), "MB", "<= 100", grown_mb <= 100),
    )  # fmt: skip
    return [dict(zip(("claim", "value", "unit", "goal", "holds"), row, strict=True)) for row in rows]


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Damaged .fly files in both decoders.")
    parser.add_argument("--cases", type=int, default=52_000, help="how many (default 52000)")
    parser.add_argument("--seed", type=int, default=0, help="of the edits (default 0)")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/fuzz_codec.json"), help="file to write")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
