"""How often `flyweight targets` says what the real compilers do: Arm's Vela for Ethos-U, ONNX Runtime, ncnn.

    python -m venv /tmp/vela && /tmp/vela/bin/pip install ethos-u-vela==5.2.0
    python -m benchmarks.targets --vela /tmp/vela/bin/vela
    python -m benchmarks.targets --runtimes ncnn --result benchmarks/results/targets_ncnn.json
    python -m benchmarks.targets --runtimes onnxruntime --result benchmarks/results/targets_onnxruntime.json

Flyweight's own environment needs flatbuffers (which onnxruntime brings) and the packages of the runtimes.

Vela: three sets, each written as an int8 TensorFlow Lite file (``_tflite_graph``) and compiled for ethos-u55-128.
*networks*: two members of every family of the zoo that have at most ``MOST_PARAMS``; *limits*: single operators around
the published limits, by which some rules were mended; *drawn*: single operators with settings by chance, by which none
was. An operator is left to the CPU where the compiled file still has it, taken where it is inside Vela's own. Where
Vela ends with an error, the file counts as one operator, and 'rejected' is the right verdict.

Runtimes: the operators of *limits*, float32, through the exporter, converter and runtime themselves, outputs held
against PyTorch's; each behind a 1x1 convolution, from which converters learn which axis is the batch (ncnn ends in
a fault where the first layer works in place on the network's input). Right is a file that runs and is equal where every
layer is native, and none where a layer is rejected. What is 'unknown' is counted apart: nothing was claimed.

Writes ``benchmarks/results/targets.json``, or where ``--result`` says.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks._limits import Case, cases, drawn
from benchmarks._tflite import left_over
from benchmarks._tflite_graph import NoFormError, Writer
from flyweight import files
from flyweight.contracts import Candidate, Preprocessing
from flyweight.device import get_device
from flyweight.errors import FlyweightError
from flyweight.flow import environment
from flyweight.graph import Graph
from flyweight.placement import Placement, place
from flyweight.profile import profile_spec
from flyweight.runtimes import RUNTIMES
from flyweight.trace import trace
from flyweight.zoo import ZOO

ACCELERATOR = "ethos-u55-128"
MOST_PARAMS = 6_000_000
SEED, DRAWS = 1, 150  # seed 0 was looked at while the rules were mended
COMPILE_S, EXPORT_S = 300, 120
_VERDICT_OF = {True: "fallback", False: "native"}


@dataclass(frozen=True)
class Row:
    """One comparison: of an operator with Vela, of a file with a runtime."""

    case: str
    operator: str
    ours: str
    theirs: str
    why_ours: str = ""
    why_theirs: str = ""

    @property
    def agrees(self) -> bool:
        """Whether both say the same."""
        return self.ours == self.theirs


def main(arguments: Sequence[str]) -> int:
    """Compile, compare; write and print."""
    parser = argparse.ArgumentParser(description="Verdicts beside the real compilers'.")
    parser.add_argument("--vela", default="", help="Vela's program; left out: no Ethos-U")
    parser.add_argument("--runtimes", default="", help="runtimes, apart by commas")
    parser.add_argument("--draws", type=int, default=DRAWS, help="operators drawn by chance")
    parser.add_argument("--networks", help="networks, apart by commas (default: two of every family of the zoo)")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/targets.json"), help="file to write")
    options = parser.parse_args(arguments)
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    parts: dict[str, Any] = {}
    if options.vela:
        names = options.networks.split(",") if options.networks else two_of_each_family()
        sets = {
            "networks": networks(names),
            "limits": map(traced, cases()),
            "drawn": map(traced, drawn(options.draws, SEED)),
        }
        for name, graphs in sets.items():
            parts[f"ethos_u, {name}"] = told(f"ethos_u, {name}", vela_rows(graphs, options.vela))
    for runtime in filter(None, options.runtimes.split(",")):
        parts[f"{runtime}, limits"] = told(f"{runtime}, limits", runtime_rows(cases(), runtime))
    now = environment(0)
    shown = "--vela vela" if options.vela else f"--runtimes {options.runtimes} --result {options.result}"
    result = {
        "name": options.result.stem,
        "command": f"python -m benchmarks.targets {shown}",
        "date": now["date"],
        "environment": {**now, "command": f"targets.py {shown}"},
        "vela": version_of(options.vela) if options.vela else None,
        "accelerator": ACCELERATOR if options.vela else None,
        "seed": SEED,
        "draws": options.draws,
        "parts": parts,
        "claims": claims(parts),
    }
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print(claim)
    return 0


def told(name: str, rows: Iterable[Row]) -> dict[str, Any]:
    """Return what stands in the result of one set: counts, and every disagreement."""
    kept = list(rows)
    left_out = [row for row in kept if row.theirs == "no form"]
    unknown = [row for row in kept if row.ours == "unknown" and row.theirs != "no form"]
    compared = [row for row in kept if row not in left_out and row not in unknown]
    wrong = [row for row in compared if not row.agrees]
    counts = Counter(f"{row.ours}, and {row.theirs}" for row in compared)
    print(f"{name}: {len(compared) - len(wrong)} of {len(compared)}", flush=True)
    for row in wrong:
        print(f"  {row}", flush=True)
    return {
        "cases": len({row.case for row in compared}),
        "compared": len(compared),
        "agree": len(compared) - len(wrong),
        "verdicts": dict(sorted(counts.items())),
        "disagreements": [asdict(row) for row in wrong],
        "unknown": [asdict(row) for row in unknown],
        "left_out": [asdict(row) for row in left_out],
    }


def claims(parts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the sets show."""
    found: list[dict[str, Any]] = []
    for name, part in parts.items():
        device, _, what = name.partition(", ")
        share = 100 * part["agree"] / max(part["compared"], 1)
        judge = "Vela's" if device == "ethos_u" else "what happens"
        found.append(
            {
                "claim": f"{device}'s verdict is {judge}, {what} ({part['agree']} of {part['compared']})",
                "value": round(share, 2), "unit": "%", "goal": ">= 95", "holds": share >= 95,
            }
        )  # fmt: skip
    return found


# ---- what is compared ----------------------------------------------------------------------------------------------


def two_of_each_family() -> list[str]:
    """Return the first and the last network of every file of the zoo that is small enough to compile many."""
    found: list[str] = []
    for file in ZOO.files:
        small = [
            name for name, origin in ZOO.origins.items()
            if origin == file and (ZOO.get(name).params or 0) <= MOST_PARAMS
        ]  # fmt: skip
        found += dict.fromkeys([*small[:1], *small[-1:]])
    return found


def networks(names: Sequence[str]) -> Iterator[tuple[str, Graph]]:
    """Yield networks of the zoo at their own size; those with more weights than they published are left out."""
    for name in names:
        profile = profile_spec(ZOO.get(name).spec)
        if profile.params <= MOST_PARAMS:
            yield name, profile.graph


def traced(case: Case) -> tuple[str, Graph]:
    """Return the graph of a single operator."""
    return case.text, trace(case.network.eval(), torch.zeros(1, case.channels, case.size, case.size))


# ---- Vela ----------------------------------------------------------------------------------------------------------


def vela_rows(graphs: Iterable[tuple[str, Graph]], program: str) -> Iterator[Row]:
    """Yield a row for every operator of some networks."""
    for name, graph in graphs:
        writer = Writer(graph)
        placed = place(graph, get_device("ethos_u"))
        try:
            content = writer.file()
        except NoFormError as error:
            yield Row(name, graph.nodes[0].op, worst(placed), "no form", why_theirs=str(error))
            continue
        left, text = compiled(content, program)
        if left is None:
            yield Row(name, graph.nodes[0].op, worst(placed), "rejected", reasons(placed), text)
            continue
        yield from against(name, placed, writer, left, text)


def against(name: str, placed: Placement, writer: Writer, left: set[str], text: str) -> Iterator[Row]:
    """Yield a row for every operator of one network that Vela compiled."""
    for layer in placed.layers:
        made = set(writer.made.get(layer.node.name, ()))
        if layer.silent or not made:
            continue
        theirs = _VERDICT_OF[bool(made & left)]
        operator = f"{layer.node.module}/{layer.node.op}".lstrip("/")
        yield Row(name, operator, layer.verdict, theirs, layer.reason, text if theirs == "fallback" else "")


def compiled(content: bytes, program: str) -> tuple[set[str] | None, str]:
    """Return the tensors that the CPU still makes behind Vela, None where it ended with an error; and its reasons."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "net.tflite"
        source.write_bytes(content)
        call = [program, str(source), "--accelerator-config", ACCELERATOR, "--output-dir", folder]
        run = subprocess.run(call, capture_output=True, text=True, timeout=COMPILE_S, cwd=folder)
        made = Path(folder) / "net_vela.tflite"
        if run.returncode or not made.exists():
            return None, (run.stderr.strip().splitlines() or ["no output"])[-1].replace(folder, "")
        return left_over(made.read_bytes())[0], "; ".join(re.findall(r"^Reason: (.*)$", run.stdout, re.MULTILINE))


def version_of(program: str) -> str:
    """Return Vela's version."""
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()


# ---- runtimes ------------------------------------------------------------------------------------------------------


def runtime_rows(some: Iterable[Case], name: str) -> Iterator[Row]:
    """Yield a row for every single operator: exported to a runtime, loaded, and its outputs held against PyTorch's."""
    device = get_device(name)
    for case in some:
        network = behind_a_convolution(case)
        graph = trace(network, torch.zeros(1, case.channels, case.size, case.size))
        placed = place(graph, device, "fp32")
        size = (0.0,) * case.channels, (1.0,) * case.channels
        candidate = Candidate(network, Preprocessing(case.size, case.size, *size))
        failed = exported(candidate, name)
        theirs = "native" if failed is None else "rejected"
        yield Row(case.text, graph.nodes[-1].op, worst(placed), theirs, reasons(placed), failed or "")


def behind_a_convolution(case: Case) -> nn.Module:
    """Return a case behind a 1x1 convolution, whose outputs stay near 1 where the case isn't defined below 0."""
    first = nn.Conv2d(case.channels, case.channels, 1)
    network = nn.Sequential(first, case.network).eval()
    with torch.no_grad():
        if not network(torch.randn(1, case.channels, case.size, case.size)).isfinite().all():
            first.weight.mul_(0.1)
            assert first.bias is not None
            first.bias.fill_(1.0)
    return network


def exported(candidate: Candidate, name: str) -> str | None:
    """Export to a runtime and check the outputs, in a process of its own, since a runtime may crash; why it failed."""
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    child = fork.Process(target=_export, args=(candidate, name, sender))
    child.start()
    sender.close()
    child.join(EXPORT_S)
    if child.is_alive():
        child.kill()
        return f"not done after {EXPORT_S} s"
    if child.exitcode or not receiver.poll():
        return f"the process ended with {child.exitcode}"
    text: str = receiver.recv()
    return text or None


def _export(candidate: Candidate, name: str, sender: Connection) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            RUNTIMES.get(name).export(candidate, Path(folder) / "out")
        except FlyweightError as error:
            sender.send(one_line(error))
        else:
            sender.send("")


def one_line(error: Exception) -> str:
    """Return the beginning of an error's message, without this machine's folders."""
    line = " ".join(str(error).split())
    return re.sub(rf"{re.escape(tempfile.gettempdir())}{os.sep}\S+", "FILE", line)[:200]


def worst(placed: Placement) -> str:
    """Return the worst verdict of a network; one of nothing but silent layers is native."""
    order = ("native", "unknown", "fallback", "rejected")
    return max((layer.verdict for layer in placed.layers), key=order.index, default="native")


def reasons(placed: Placement) -> str:
    """Return why layers aren't native."""
    return "; ".join(layer.reason for layer in placed.layers if layer.reason and not layer.silent)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
