"""Whether exported files compute on an Arm processor what they compute here: correctness, under qemu; never speed.

    python -m benchmarks.arm_check --arm FOLDER --make     # once: Debian's Python for Arm, qemu, the wheels
    python -m benchmarks.arm_check --arm FOLDER

FOLDER is filled by ``--make`` (``benchmarks/_arm.py``; on Debian, with apt, dpkg and pip; nothing of the system is
changed). Networks of several families are exported to ONNX Runtime and ncnn in fp32, fp16 and int8; each file is run
on the same images here and by Flyweight's own measuring process in an aarch64 Python under ``qemu-aarch64-static``,
with the aarch64 wheels of the versions that are installed here. What qemu takes says nothing of a device.

The networks have random weights: int8 is judged by how far the outputs on Arm are from PyTorch's, beside how far they
are here. Writes ``benchmarks/results/arm_check.json``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks import _arm
from benchmarks._claims import claimed
from flyweight import files, flow
from flyweight.bench._images import inputs_of
from flyweight.contracts import Artifact, Candidate
from flyweight.errors import FlyweightError
from flyweight.evaluate import torch_predict
from flyweight.runtimes import RUNTIMES

RESULT = Path("benchmarks/results/arm_check.json")
NETWORKS = (
    "mobilenet_v1_0.25_128", "squeezenet_1.1", "shufflenet_v2_0.5", "mobilenet_v3_small_1.0", "ghostnet_1.0",
    "mobilenet_v1_deconv", "efficientnet_lite0",
)  # fmt: skip
RUNTIME_NAMES = ("onnxruntime", "ncnn")
PRECISIONS = ("fp32", "fp16", "int8")
DATA, IMAGES = "blue_marble", 4
ANSWER_TIMEOUT_S = 600.0
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """One file, its inputs, what it computes here, and what PyTorch does."""

    network: str
    artifact: Artifact
    inputs: Path
    here: Array
    torch: Array


def main(arguments: Sequence[str]) -> int:
    """Export, run here and on Arm, compare; write and print."""
    parser = argparse.ArgumentParser(description="Exported files on Arm, under qemu.")
    parser.add_argument("--arm", type=Path, required=True, help="folder with Debian for Arm, qemu and the wheels")
    parser.add_argument("--make", action="store_true", help="fill that folder, and stop")
    parser.add_argument("--names", default=",".join(NETWORKS), help="networks of the zoo")
    parser.add_argument("--result", type=Path, default=RESULT, help="file to write")
    options = parser.parse_args(arguments)
    if options.make:
        _arm.make(options.arm)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        cases = [case for name in options.names.split(",") for case in exported(name, Path(scratch))]
        rows = [row for runtime in RUNTIME_NAMES for row in compared(cases, runtime, options.arm, Path(scratch))]
    environment = {**flow.environment(0), "arm": f"qemu-aarch64-static -cpu {_arm.PROCESSOR}"}
    command = "python -m benchmarks.arm_check --arm FOLDER"
    files.write_json(options.result, {
        "name": "arm_check", "command": command, "date": environment["date"], "environment": environment,
        "images": f"{IMAGES} of {DATA}", "rows": rows, "claims": claims(rows),
    })  # fmt: skip
    for claim in claims(rows):
        print(claim)
    return 0


def exported(network: str, scratch: Path) -> list[Case]:
    """Return a network's files that there are."""
    candidate = flow.open_model(network)
    inputs, _ = inputs_of(candidate.preprocessing, DATA, IMAGES, sample=False)
    path = scratch / f"{network}.npy"
    np.save(path, inputs, allow_pickle=False)
    reference = one_by_one(torch_predict(candidate.module), inputs)
    found = []
    for precision in PRECISIONS:
        for runtime in RUNTIME_NAMES:
            artifact = made(candidate, scratch / network / precision, runtime, precision)
            if artifact is not None:
                here = one_by_one(RUNTIMES.get(runtime).load(artifact, 1), inputs)
                found.append(Case(network, artifact, path, here, reference))
    print(network, flush=True)
    return found


def made(candidate: Candidate, folder: Path, runtime: str, precision: str) -> Artifact | None:
    """Return the exported file, or None where the exporter refuses, with its reason printed."""
    try:
        return flow.export(candidate, folder, (runtime,), precision=precision, data=DATA)[0]
    except FlyweightError as error:
        print(f"{runtime} {precision}: {error}", flush=True)
        return None


def one_by_one(predict: Any, inputs: Array) -> Array:
    """Return the outputs, an image at a time, as the measuring process computes them."""
    return np.concatenate([predict(inputs[i : i + 1]) for i in range(len(inputs))])


# ---- on Arm --------------------------------------------------------------------------------------------------------


class ArmProcess:
    """Flyweight's measuring process in an aarch64 Python; it loads one file after the other."""

    def __init__(self, arm: Path) -> None:
        self.process = subprocess.Popen(
            _arm.command(arm, "-m", "flyweight.measure._worker"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=_arm.environment(arm),
        )  # fmt: skip

    def ask(self, task: str, **settings: Any) -> dict[str, Any]:
        """Return its answer; ``{'error': ...}`` where it died."""
        assert self.process.stdin and self.process.stdout  # both are pipes
        try:
            self.process.stdin.write(json.dumps({"task": task, **settings}).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return {"error": "the process is gone"}
        line = self.process.stdout.readline()
        return cast("dict[str, Any]", json.loads(line)) if line else {"error": f"it died ({self.process.wait()})"}

    def outputs(self, case: Case, target: Path) -> Array | str:
        """Return what a file computes there, or why that isn't known."""
        folder = str(case.artifact.files[0].parent)
        loaded = self.ask("load", artifact=case.artifact.to_json(), folder=folder, threads=1)
        answer = loaded if "error" in loaded else self.ask("outputs", inputs=str(case.inputs), outputs=str(target))
        return str(answer["error"]) if "error" in answer else np.load(target, allow_pickle=False)

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


def compared(cases: Sequence[Case], runtime: str, arm: Path, scratch: Path) -> list[dict[str, Any]]:
    """Return a row for each of a runtime's files; a process that died is started anew for the next."""
    rows, process = [], ArmProcess(arm)
    for case in (case for case in cases if case.artifact.runtime == runtime):
        there = process.outputs(case, scratch / "outputs.npy")
        rows.append(row(case, there))
        print(rows[-1], flush=True)
        if process.process.poll() is not None:
            process = ArmProcess(arm)
    process.stop()
    return rows


def row(case: Case, there: Array | str) -> dict[str, Any]:
    """Return the differences, over PyTorch's largest output; ``refused`` where there are none."""
    told = {"network": case.network, "runtime": case.artifact.runtime, "precision": case.artifact.precision}
    if isinstance(there, str):
        return {**told, "refused": there}
    scale = float(np.abs(case.torch).max())
    arm, here = (float(np.abs(each - case.torch).mean()) / scale for each in (there, case.here))
    return {
        **told, "refused": "", "largest_from_here": float(np.abs(there - case.here).max()) / scale,
        "equal_elements": float((there == case.here).mean()), "mean_from_torch": arm, "mean_from_torch_here": here,
        "largest_from_torch": float(np.abs(there - case.torch).max()) / scale,
        "same_class_as_here": float((there.argmax(1) == case.here.argmax(1)).mean()),
    }  # fmt: skip


def claims(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what is claimed of the rows."""
    ran = [each for each in rows if not each["refused"]]
    wide = [each["largest_from_here"] for each in ran if each["precision"] != "int8"]
    floats = [each["largest_from_torch"] for each in ran if each["precision"] == "fp32"]
    int8 = [each["mean_from_torch"] / each["mean_from_torch_here"] for each in ran if each["precision"] == "int8"]
    return [
        claimed(f"files that ran on Arm, of {len(rows)}", len(ran), "files", f">= {len(rows)}"),
        claimed(f"fp32 on Arm from PyTorch, at worst of {len(floats)}, relative", max(floats), "share", "<= 1e-4",
                None),
        claimed(f"fp32 and fp16 on Arm from the same file here, at worst of {len(wide)}, relative", max(wide), "share",
                "<= 1e-4", None),
        claimed(f"int8 on Arm: its mean distance from PyTorch over that here, at worst of {len(int8)}", max(int8),
                "times", "<= 1.1"),
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
