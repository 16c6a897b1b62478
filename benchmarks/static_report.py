"""How long a static report of a network of 200 convolutions takes, and what others count and how long they take.

    python -m venv --system-site-packages peers
    peers/bin/pip install --no-deps fvcore iopath yacs portalocker tabulate termcolor tqdm pyyaml ptflops torchinfo \\
        calflops accelerate "transformers<5" "huggingface_hub<1" torchview graphviz onnx-tool
    python -m benchmarks.static_report --peers peers/bin/python [--rounds 3] [--keep FOLDER] [--stop-after SECONDS]

``--no-deps``, since some would bring a torch of their own. Each is asked by ``benchmarks.peers`` in a fresh process of
one thread, which imports it, makes the network and asks three times: the first answer and the median are timed, and
the whole process. They take turns. On the ONNX file of the same network: this toolkit and onnx-tool.

What both can do is compared: MACs and parameters by module. This toolkit's report holds memory and receptive fields
besides; torchview draws and counts nothing. The last table asks all that count about the awkward networks of
``tests/contracts/awkward.py``: how often each fails, counts fewer MACs than there are (conventions only ever add:
norms, activations), or other parameters.

Finished parts are kept in the folder, so that an interrupted run goes on. Writes
``benchmarks/results/static_report.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._claims import claimed
from benchmarks.peers import FILES, PEERS
from flyweight import files

COUNTING = ("flyweight", "fvcore", "ptflops", "torchinfo", "calflops")
COMMAND = "flyweight profile --no-time"
NET = "from benchmarks.peers import deep\n"


def main(arguments: Sequence[str]) -> int:
    """Ask all; write and print."""
    parser = argparse.ArgumentParser(description="Static reports, side by side.")
    parser.add_argument("--peers", type=Path, required=True, help="interpreter that has the peers")
    parser.add_argument("--rounds", type=int, default=3, help="fresh processes of each (default 3)")
    parser.add_argument("--keep", type=Path, default=Path("runs/static_report"), help="folder of what is done already")
    parser.add_argument("--stop-after", type=float, default=float("inf"), help="seconds after which none begins")
    parser.add_argument(
        "--result", type=Path, default=Path("benchmarks/results/static_report.json"), help="file to write"
    )
    options = parser.parse_args(arguments)
    end = time.monotonic() + options.stop_after
    prepare(options.keep)
    found: dict[str, dict[str, Any]] = {}
    for what in parts(options.rounds):
        if time.monotonic() > end:
            print(f"{len(found)} parts done; the same command goes on")
            return 0
        done = options.keep / f"{'.'.join(what)}.json"
        if not done.is_file():
            files.write_json(done, answer(what, options))
            print(what, flush=True)
        found[".".join(what)] = files.read_json(done)
    write(options, found)
    return 0


def parts(rounds: int) -> list[tuple[str, ...]]:
    """Return what is asked of whom, by turns."""
    taking_turns = [
        (task, peer, str(turn))
        for turn in range(rounds)
        for task, peers in (("command", ["flyweight"]), ("report", list(PEERS)), ("file", list(FILES)))
        for peer in peers
    ]
    return [*taking_turns, *(("awkward", peer) for peer in COUNTING)]


def prepare(keep: Path) -> None:
    """Write the network's file, and its ONNX file."""
    keep.mkdir(parents=True, exist_ok=True)
    (keep / "deep.py").write_text(NET)
    if not (keep / "deep.onnx").is_file():
        import torch

        from benchmarks.peers import deep, example

        torch.onnx.export(deep(), (example(),), keep / "deep.onnx", dynamo=True, external_data=False, verbose=False)


def answer(what: tuple[str, ...], options: argparse.Namespace) -> dict[str, Any]:
    """Ask one peer in a fresh process."""
    task, peer = what[:2]
    if task == "command":
        program = [sys.executable, "-m", *COMMAND.split(), f"{options.keep}/deep.py:deep", "--resolution", "224"]
    else:
        given = str(options.keep / "deep.onnx") if task == "file" else task
        program = [str(options.peers), "-m", "benchmarks.peers", peer, given]
    started = time.perf_counter()
    done = subprocess.run(
        program, check=True, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    process_s = time.perf_counter() - started
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if task != "command" else {"peer": peer}
    return {**found, "process_s": process_s}


def write(options: argparse.Namespace, found: dict[str, dict[str, Any]]) -> None:
    """Write the result and print its claims."""
    from flyweight.flow import environment

    times = {
        task: {peer: summary(found, task, peer, options.rounds) for peer in peers}
        for task, peers in (("report", PEERS), ("file", FILES), ("command", ["flyweight"]))
    }
    right = truth()
    awkward = {peer: judged(found[f"awkward.{peer}"]["answer"], right) for peer in COUNTING}
    command = f"python -m benchmarks.static_report --peers PYTHON --rounds {options.rounds}"
    now = {**environment(0), "command": command}  # without the folder of the peers
    result = {
        "name": "static_report", "command": command,
        "date": now["date"], "environment": now, "times": times, "awkward": awkward, "claims": claims(times, awkward),
    }  # fmt: skip
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print(claim)


def summary(found: dict[str, dict[str, Any]], task: str, peer: str, rounds: int) -> dict[str, Any]:
    """Return one peer's counts and the medians of its times."""
    own = [found[f"{task}.{peer}.{turn}"] for turn in range(rounds)]
    said = {"process_s": statistics.median(row["process_s"] for row in own)}
    if task == "command":
        return said
    said |= {key: statistics.median(row["answer"][key] for row in own) for key in ("first_s", "median_s")}
    return {"version": own[0]["version"], **{key: own[0]["answer"][key] for key in ("macs", "params")}, **said}


def truth() -> dict[str, tuple[int, int]]:
    """Return MACs and parameters of the awkward networks, as spelt out there."""
    from tests.contracts.awkward import CASES

    return {name: (case.macs, case.params) for name, case in CASES.items()}


def judged(rows: Sequence[dict[str, Any]], right: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """Return what a peer said of every awkward network, and in which it is wrong."""
    said = [row for row in rows if row.get("macs") is not None]  # some say nothing instead of an error
    failed = [row["network"] for row in rows if row not in said]
    fewer = [row["network"] for row in said if row["macs"] < right[row["network"]][0]]
    params = [row["network"] for row in said if row["params"] != right[row["network"]][1]]
    table = [{**row, **dict(zip(("right_macs", "right_params"), right[row["network"]], strict=True))} for row in rows]
    return {"networks": len(rows), "fails": failed, "fewer_macs": fewer, "other_params": params, "said": table}


def claims(times: dict[str, dict[str, Any]], awkward: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the figures show."""
    own, file = times["report"]["flyweight"], times["file"]
    others = {peer: row for peer, row in times["report"].items() if peer != "flyweight"}
    slower = [peer for peer, row in others.items() if row["first_s"] > own["first_s"]]
    slower += ["onnx-tool"] if file["onnx-tool"]["first_s"] > file["flyweight"]["first_s"] else []
    wrong = {peer: len({*row["fails"], *row["fewer_macs"]}) for peer, row in awkward.items()}
    least = min(count for peer, count in wrong.items() if peer != "flyweight")
    made = [
        (f"{COMMAND}, 200 convolutions, a fresh process", times["command"]["flyweight"]["process_s"], "s", "<= 3"),
        ("the same within a process, the first time", own["first_s"], "s", "<= 3"),
        (f"peers that take longer to answer the first time: {', '.join(slower)}", len(slower), "of 6", ">= 4"),
        ("awkward networks on which this toolkit fails or counts fewer MACs", wrong["flyweight"], "networks", "<= 0"),
        ("awkward networks on which the best peer fails or counts fewer MACs", least, "networks", ">= 1"),
    ]
    return [claimed(*one) for one in made]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
