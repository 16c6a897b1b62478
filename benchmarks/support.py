"""Every network of the zoo in every runtime, in float: exported and equal to PyTorch, or refused and why.

    python -m benchmarks.support [--runtimes onnxruntime,ncnn] [--names squeezenet_1.1] [--per-family 1] [--limit-s 600]

Each network is built at its own input size, with norms as after training, exported to each runtime, and the file is
compared with PyTorch on noise and on two tiles of ``blue_marble``. A network's rows come from a process of its own;
where a runtime crashes it, another process makes the rest. Every row is written into
``benchmarks/results/support.json`` as it is done; a row that is there with the same versions is not made again, unless
it tells of a crash: so the matrix can be filled little by little. ``python tools/support_page.py`` makes
``docs/support.md`` of it.

``--result benchmarks/results/support_mobile.json`` is for the runtimes that live in environments of their own, and for
others that not the whole zoo is run in: members of many families.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flyweight import files
from flyweight.errors import FlyweightError, ParityError, RuntimeMissingError
from flyweight.flow import environment
from flyweight.runtimes import RUNTIMES
from flyweight.zoo import ZOO

RESULT = Path("benchmarks/results/support.json")
ALLOWED = 1e-4  # largest difference to PyTorch over the largest output
ROW_TIMEOUT_S = 900
TILES = 2
FAMILIES = 12  # the least that a runtime is to be shown on
Row = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Fill what is missing of the matrix; write after every row."""
    parser = argparse.ArgumentParser(description="The zoo in every runtime.")
    parser.add_argument("--runtimes", default="onnxruntime,ncnn", help="apart by commas")
    parser.add_argument("--names", help="networks, apart by commas (default: all, the smallest of each family first)")
    parser.add_argument("--per-family", type=int, default=1000, help="at most so many networks of each family")
    parser.add_argument("--limit-s", type=float, default=float("inf"), help="begin no network after so many seconds")
    parser.add_argument("--result", type=Path, default=RESULT, help="file to write")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    runtimes = tuple(options.runtimes.split(","))
    if options.one:
        return child(options.one, runtimes)
    if absent := [reason for name in runtimes if (reason := RUNTIMES.get(name).missing())]:
        print("\n".join(absent), file=sys.stderr)
        return 2
    begun = time.monotonic()
    rows = kept(options.result)
    for name in options.names.split(",") if options.names else ordered(options.per_family):
        wanted = [each for each in runtimes if (name, each) not in rows]
        if wanted and time.monotonic() - begun < options.limit_s:
            for row in asked(name, wanted):
                rows[row["network"], row["runtime"]] = row
                write(options.result, list(rows.values()))
                print({key: value for key, value in row.items() if key != "families"}, flush=True)
    return 0


def ordered(per_family: int) -> list[str]:
    """Return networks, the smallest of every family first, then the second of each, and so on."""
    families: dict[str, list[str]] = {}
    for name, origin in sorted(ZOO.origins.items()):
        families.setdefault(origin, []).append(name)
    ranked = []
    for names in families.values():
        by_size = sorted(names, key=lambda name: (size_of(name), name))
        ranked += [(rank, name) for rank, name in enumerate(by_size[:per_family])]
    return [name for _, name in sorted(ranked)]


def size_of(name: str) -> float:
    """Return the published number of MACs, else of parameters; infinity where neither was published."""
    entry = ZOO.get(name)
    return float(entry.macs or entry.params or "inf")


def kept(result: Path) -> dict[tuple[str, str], Row]:
    """Return the rows on file that were made with the versions that are installed, or of what isn't installed here."""
    if not result.exists():
        return {}
    rows = files.read_json(result)["rows"]
    here = {runtime: version_of(runtime) for runtime in {row["runtime"] for row in rows}}
    sound = [row for row in rows if here[row["runtime"]] in ("", row["version"]) and row["outcome"] != "crashed"]
    return {(row["network"], row["runtime"]): row for row in sound}


def version_of(runtime: str) -> str:
    """Return a runtime's version, '' where it is not installed."""
    found = RUNTIMES.get(runtime)
    return "" if found.missing() else found.version()


def asked(name: str, runtimes: Sequence[str]) -> Iterator[Row]:
    """Yield a row per runtime; a runtime that ends the process gets a row that says so."""
    left = list(runtimes)
    while left:
        command = [sys.executable, "-m", "benchmarks.support", "--one", name, "--runtimes", ",".join(left)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=ROW_TIMEOUT_S * len(left))
            lines, code, last = done.stdout.splitlines(), done.returncode, done.stderr.strip().splitlines()[-1:]
        except subprocess.TimeoutExpired as expired:
            text: Any = expired.stdout or b""
            lines, code = (text.decode() if isinstance(text, bytes) else str(text)).splitlines(), -9
            last = [f"no end within {ROW_TIMEOUT_S} s"]
        rows = [json.loads(line.removeprefix("ROW ")) for line in lines if line.startswith("ROW ")]
        yield from rows
        left = left[len(rows) :]
        if left:
            ended = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
            reason = f"the process that exported it: {ended}. {' '.join(last)}".strip()
            yield {**described(name, left.pop(0)), "outcome": "crashed", "reason": reason}


def described(name: str, runtime: str) -> Row:
    """Return what is known of a row before it is made."""
    spec = ZOO.get(name).spec
    return {
        "network": name, "family": ZOO.origins[name].rpartition(".")[2], "runtime": runtime,
        "version": version_of(runtime), "input": [spec.input.channels, spec.input.height, spec.input.width],
    }  # fmt: skip


def child(name: str, runtimes: Sequence[str]) -> int:
    """Print a row per runtime, in a process of its own."""
    import torch

    from flyweight.testing import _networks as networks

    torch.set_num_threads(1)
    candidate = networks.seasoned(ZOO.get(name).spec)
    for runtime in runtimes:
        row = {**described(name, runtime), **outcome(candidate, runtime)}
        print("ROW " + json.dumps(row), flush=True)
    return 0


def outcome(candidate: Any, runtime: str) -> Row:
    """Return how an export went: the largest difference to PyTorch, or the reason of the refusal."""
    from flyweight.data import load_dataset
    from flyweight.evaluate import parity, preprocess, torch_predict
    from flyweight.runtimes._torch import probes

    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            inputs = probes(candidate)
            artifact = RUNTIMES.get(runtime).export(candidate, Path(scratch))
            if len(candidate.preprocessing.mean) == 3:
                tiles = load_dataset("blue_marble").test
                photos = [preprocess(tiles[index][0][None], candidate.preprocessing) for index in range(TILES)]
                inputs = np.concatenate([inputs, *photos])
            predict = RUNTIMES.get(runtime).load(artifact, 1)
            largest, mean = parity(torch_predict(candidate.module), predict, inputs)
        except RuntimeMissingError as error:  # Core ML: made and read back, but it can't be run here
            seconds = round(time.monotonic() - begun, 1)
            told = {"bytes": artifact.bytes, "seconds": seconds}
            return {"outcome": "converted", "reason": one_line(error), **told}
        except ParityError as error:
            reason = one_line(f"{error} {own_rounding(candidate, inputs)}")
            return {"outcome": "differs", "reason": reason, "seconds": round(time.monotonic() - begun, 1)}
        except FlyweightError as error:
            return {"outcome": "refused", "reason": one_line(error), "seconds": round(time.monotonic() - begun, 1)}
    rounding: Row = {} if largest <= ALLOWED else {"reason": own_rounding(candidate, inputs)}
    return {
        "outcome": "equal" if largest <= ALLOWED else "differs", **rounding,
        "largest_difference": float(f"{largest:.2e}"), "mean_difference": float(f"{mean:.2e}"),
        "images": len(inputs), "bytes": artifact.bytes, "seconds": round(time.monotonic() - begun, 1),
    }  # fmt: skip


def own_rounding(candidate: Any, inputs: Any) -> str:
    """Say how far PyTorch's own float32 is from float64 on these inputs: random weights may amplify any rounding."""
    import copy

    import torch

    from flyweight.evaluate import torch_predict

    exact = copy.deepcopy(candidate.module).double().eval()
    with torch.inference_mode():
        wanted = np.concatenate([exact(torch.from_numpy(one[None]).double()).numpy() for one in inputs])
    found = torch_predict(candidate.module)(inputs)
    return f"PyTorch's own float32 is {np.abs(found - wanted).max() / np.abs(wanted).max():.1e} from its float64 here."


def one_line(error: object) -> str:
    """Return a message on one line, at most 400 characters of it, and no path of this machine."""
    text = " ".join(str(error).split()).replace(str(Path.cwd()) + "/", "")
    return text if len(text) <= 400 else text[:399] + "…"


def write(result: Path, rows: Sequence[Row]) -> None:
    """Write the matrix and its claims."""
    now, some = environment(0), result.name != RESULT.name
    runtimes = ",".join(dict.fromkeys(row["runtime"] for row in rows))
    asked_for = f" --runtimes {runtimes} --result {RESULT.parent / result.name}" if some else ""
    command = f"python -m benchmarks.support{asked_for}"
    files.write_json(
        result,
        {
            "name": result.stem, "command": command, "date": now["date"],
            "environment": {**now, "command": command}, "allowed": ALLOWED,
            "rows": sorted(rows, key=lambda row: (row["network"], row["runtime"])),
            "claims": claims(rows) + (family_claims(rows) if some else []),
        },
    )  # fmt: skip


def family_claims(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return on how many families each runtime was shown."""
    found = []
    for runtime in dict.fromkeys(row["runtime"] for row in rows):
        sound = {r["family"] for r in rows if r["runtime"] == runtime and r["outcome"] in ("equal", "converted")}
        what = "converted and read back" if runtime == "coreml" else "equal to PyTorch"
        found.append({
            "claim": f"{runtime}: families of which a network is {what}", "value": len(sound), "unit": "families",
            "goal": f">= {FAMILIES}", "holds": len(sound) >= FAMILIES,
        })  # fmt: skip
    return found


def claims(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return what the matrix shows: how much of it is measured, and what is neither equal nor refused by name."""
    found = []
    for runtime in dict.fromkeys(row["runtime"] for row in rows):
        own = [row for row in rows if row["runtime"] == runtime]
        wrong = sum(row["outcome"] not in ("equal", "refused", "converted") for row in own)
        found.append({
            "claim": f"{runtime}: networks of the zoo that are neither equal to PyTorch within 1e-4 nor refused",
            "value": wrong, "unit": f"networks of {len(own)} measured", "goal": "<= 0", "holds": wrong <= 0,
        })  # fmt: skip
        if runtime in ("onnxruntime", "ncnn"):
            found.append({
                "claim": f"{runtime}: networks of the zoo measured", "value": len(own), "unit": "networks",
                "goal": f">= {len(ZOO.names())}", "holds": len(own) >= len(ZOO.names()),
            })  # fmt: skip
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
