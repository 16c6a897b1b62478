"""How far estimated latencies lie from measured ones, over networks that the calibration never saw.

    python -m benchmarks.latency [--keep FOLDER] [--networks NAME,NAME] [--stop-after SECONDS]

ONNX Runtime, float32, one thread. The kernel table and the calibration are made anew, in the kept folder; then every
network is estimated, and after that measured as a whole. Exported files and finished rows are kept in the folder, so
that an interrupted run goes on. Writes ``benchmarks/results/latency.json``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._claims import claimed
from flyweight import calibration, files, flow
from flyweight.contracts import BUSY, Artifact, Preprocessing
from flyweight.latency import Calibration, Sample
from flyweight.measure.kernels import footprint_of, keep_table, load_table
from flyweight.measure.machine import machine
from flyweight.saved import fresh_candidate
from flyweight.spec import ArchSpec
from flyweight.zoo import ZOO

HELD_OUT = (
    "mobilenet_v1_1.0_224", "mobilenet_v2_0.5_160", "mobilenet_v3_large_1.0", "mobilenet_v3_small_minimalistic_1.0",
    "mnasnet_b1_1.0", "shufflenet_v1_g3_1.0", "shufflenet_v2_0.5", "ghostnet_1.0", "efficientnet_b0",
    "proxylessnas_mobile", "mcunet_in3", "pp_lcnet_1.0", "starnet_s1", "repvit_m0.9_deploy", "repvgg_a0_deploy",
    "squeezenet_1.0", "resnet_50", "densenet_121", "xception", "inception_v3", "fd_mobilenet_1.0",
    "lraspp_mobilenet_v3_large",
)  # fmt: skip
assert not set(HELD_OUT) & set(calibration.NETWORKS)


def main(arguments: Sequence[str]) -> int:
    """Export, calibrate, estimate, measure; write and print."""
    parser = argparse.ArgumentParser(description="Estimated latencies against measured ones.")
    parser.add_argument("--keep", type=Path, default=Path("runs/latency"), help="folder of what is done already")
    parser.add_argument("--networks", help="only these, apart by commas")
    parser.add_argument("--stop-after", type=float, default=float("inf"), help="seconds after which no network begins")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/latency.json"), help="file to write")
    options = parser.parse_args(arguments)
    names = options.networks.split(",") if options.networks else list(HELD_OUT)
    end = time.monotonic() + options.stop_after
    os.environ["XDG_CACHE_HOME"] = str((options.keep / "cache").absolute())  # where the table is kept
    samples: list[Sample] = []
    for name in names:
        if time.monotonic() > end:
            print(f"{len(samples)} of {len(names)} done; the same command goes on")
            return 0
        samples.append(sample_of(name, options.keep))
        print(samples[-1], flush=True)
    fitted = calibration.calibrate(1)
    rows = [row_of(sample, fitted) for sample in samples]
    now = flow.environment(0)
    result = {
        "name": "latency",
        "command": "python -m benchmarks.latency" + (f" --networks {options.networks}" if options.networks else ""),
        "date": now["date"],
        "environment": now,
        "runtime": "onnxruntime",
        "threads": 1,
        "machine": machine(1).to_json(),
        "calibration": [sample.to_json() for sample in fitted.samples],
        "coefficients": {"kernels": dict(fitted.table.coefficients), "macs": dict(fitted.macs.coefficients)},
        "networks": rows,
        "claims": claims(rows, len(fitted.samples)),
    }
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print(claim)
    return 0


def sample_of(name: str, keep: Path) -> Sample:
    """Return a network's kernels, timed one by one, and its time as a whole; from the folder if they are there."""
    done = keep / "samples" / f"{name}.json"
    if done.is_file():
        return Sample.from_json(files.read_json(done))
    calibration.calibrate(1)
    artifact, macs = exported(ZOO.get(name).spec, keep / name)
    footprint, table, _ = footprint_of(artifact, macs, load_table(1))
    keep_table(table)
    us, busy = calibration.whole_us(artifact, 1)
    sample = Sample(name, footprint, us, busy)
    files.write_json(done, sample.to_json())
    return sample


def row_of(sample: Sample, fitted: Calibration) -> dict[str, Any]:
    """Return what is estimated of a network beside what was measured."""
    estimate = fitted.estimate(sample.footprint)
    return {
        "network": sample.name, **vars(sample.footprint), "estimated_ms": estimate.ms, "low_ms": estimate.low_ms,
        "high_ms": estimate.high_ms, "by_macs_ms": estimate.macs_ms, "measured_ms": sample.us / 1e3,
        "busy": sample.busy,
    }  # fmt: skip


def exported(spec: ArchSpec, folder: Path) -> tuple[Artifact, int]:
    """Return a network's file for ONNX Runtime, with random weights, and its MACs."""
    candidate = fresh_candidate(spec, Preprocessing(spec.input.height, spec.input.width), 0)
    (artifact,) = flow.export(candidate, folder)
    return artifact, calibration.macs_of(candidate)


def claims(rows: Sequence[dict[str, Any]], calibrated_by: int) -> list[dict[str, Any]]:
    """Return the claims, each with its goal and whether it holds."""
    errors = [abs(row["estimated_ms"] / row["measured_ms"] - 1) for row in rows]
    by_macs = [abs(row["by_macs_ms"] / row["measured_ms"] - 1) for row in rows]
    within = [row["low_ms"] <= row["measured_ms"] <= row["high_ms"] for row in rows]
    count = f"{len(rows)} networks, calibrated by {calibrated_by} others"
    mean, mean_macs = 100 * statistics.fmean(errors), 100 * statistics.fmean(by_macs)
    made = [
        (f"mean error of estimated latency, {count}", mean, "%", "<= 8"),
        (f"worst error of estimated latency, {count}", 100 * max(errors), "%", "<= 15"),
        (f"measured latencies within the 90 % interval, {count}", 100 * statistics.fmean(within), "%", ">= 85"),
        (f"mean error over that of MACs alone ({mean_macs:.1f} %), {count}", mean / mean_macs, "ratio", "<= 1"),
        ("worst error over that of MACs alone", max(errors) / max(by_macs), "ratio", "<= 1"),
        ("networks measured while the machine was busy", sum(row["busy"] > BUSY for row in rows), "networks", "<= 0"),
    ]  # fmt: skip
    return [claimed(*one) for one in made]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
