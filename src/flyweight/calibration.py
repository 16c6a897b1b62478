"""Latency estimates for this machine: candidate -> Estimate, and the whole networks that calibrate them."""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

from flyweight.contracts import BUSY, Artifact, Candidate, Preprocessing, Progress, Silent
from flyweight.errors import FileError
from flyweight.evaluate import example_input
from flyweight.latency import Calibration, Estimate, Sample, calibrated
from flyweight.measure import measure
from flyweight.measure.kernels import RUNTIME, KernelTable, footprint_of, keep_table, load_table
from flyweight.profile import profile_module
from flyweight.runtimes import RUNTIMES
from flyweight.saved import fresh_candidate
from flyweight.zoo import ZOO

# of different blocks, sizes and numbers of kernels; each takes a few seconds
NETWORKS = (
    "mobilenet_v1_0.5_160", "mobilenet_v2_1.0", "mobilenet_v3_small_1.0", "mobilenet_v4_conv_small",
    "shufflenet_v2_1.0", "squeezenet_1.1", "mnasnet_a1_1.0", "efficientnet_lite0", "mobileone_s0_deploy", "googlenet",
    "resnet_18",
)  # fmt: skip
RUNS, PROCESSES = 40, 3


def estimate(candidate: Candidate, threads: int = 1, *, progress: Progress | None = None) -> Estimate:
    """Return the estimated latency of a network, float or int8, in ONNX Runtime on this machine.

    Kernels that the table lacks are measured, and kept. The first estimate on a machine calibrates: a minute.

    Raises:
        RuntimeMissingError, ExportError, MeasurementError: as exporting and measuring say.
    """
    calibration = calibrate(threads, progress=progress)
    with tempfile.TemporaryDirectory() as scratch:
        artifact = RUNTIMES.get(RUNTIME).export(candidate, Path(scratch))
        return estimate_file(artifact, macs_of(candidate), calibration, threads)


def estimate_file(artifact: Artifact, macs: int, calibration: Calibration, threads: int = 1) -> Estimate:
    """Return the estimated latency of an exported network.

    Raises:
        MeasurementError: a kernel can't be measured, or the file is not for ONNX Runtime.
        FileError: it is not what was exported.
    """
    footprint, table, measured = footprint_of(artifact, macs, load_table(threads))
    if measured:
        _keep(table)
    return calibration.estimate(footprint, measured)


def macs_of(candidate: Candidate) -> int:
    """Return the counted MACs of a network."""
    return profile_module(candidate.module, example_input(candidate)).macs


def calibrate(threads: int = 1, *, anew: bool = False, progress: Progress | None = None) -> Calibration:
    """Return the calibration of this machine: the one on file, else measured now, a network after the other.

    What was measured before an interruption is not measured again.

    Args:
        anew: measure every kernel and network again.

    Raises:
        RuntimeMissingError, ExportError, MeasurementError: as exporting and measuring say.
    """
    progress = progress or Silent()
    table = KernelTable(threads) if anew else load_table(threads)
    known = {sample.name: sample for sample in table.samples}
    missing = [name for name in NETWORKS if name not in known]
    if missing:
        progress.start("calibrate", len(missing))
        for name in missing:
            known[name], table = _sample(name, table)
            table = replace(table, samples=(*table.samples, known[name]))
            _keep(table)
            progress.advance(1, name)
        progress.finish()
    return calibrated([known[name] for name in NETWORKS])


def _sample(name: str, table: KernelTable) -> tuple[Sample, KernelTable]:
    """Return a measured network of the zoo, and the table with its kernels."""
    spec = ZOO.get(name).spec
    candidate = fresh_candidate(spec, Preprocessing(spec.input.height, spec.input.width), 0)
    with tempfile.TemporaryDirectory() as scratch:
        artifact = RUNTIMES.get(RUNTIME).export(candidate, Path(scratch))
        footprint, table, _ = footprint_of(artifact, macs_of(candidate), table)
        us, busy = whole_us(artifact, table.threads)
    return Sample(name, footprint, us, busy), table


def whole_us(artifact: Artifact, threads: int) -> tuple[float, float]:
    """Return the median µs of a whole network, and how busy the machine was: the median of three fresh processes.

    At one thread the CPU's clock counts, which other processes disturb less.
    """
    found = [measure(artifact, threads, n=RUNS) for _ in range(PROCESSES)]
    if sum(each.busy > BUSY for each in found) > PROCESSES // 2:
        found += [measure(artifact, threads, n=RUNS) for _ in range(PROCESSES)]
        found = sorted(found, key=lambda each: each.busy)[:PROCESSES]
    times = [each.cpu_median_ms if threads == 1 else each.median_ms for each in found]
    return 1e3 * statistics.median(times), statistics.median(each.busy for each in found)


def _keep(table: KernelTable) -> None:
    try:
        keep_table(table)
    except FileError:  # a home that can't be written to: it is measured again next time
        return
