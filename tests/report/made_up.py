"""A made-up report, for the tests of the renderings only: no figure in it was measured.

The counts follow from the layers' shapes; times, scores and sizes are invented so that they look like a real run.
"""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flyweight.graph import Graph, Node, TensorInfo
from flyweight.report import value
from flyweight.report.value import LayerRow, Report, Rung, RungArtifact, RungTiming

CLASS_NAMES = ["sea", "land", "lake"]
CLASS_COLORS = [[28, 74, 122], [196, 178, 128], [64, 196, 210]]
ENCODER = [  # stage, channels, stride: MobileNetV1
    ("conv2_1", 64, 1),
    ("conv2_2", 128, 2),
    ("conv3_1", 128, 1),
    ("conv3_2", 256, 2),
    ("conv4_1", 256, 1),
    ("conv4_2", 512, 2),
    ("conv5_1", 512, 1),
    ("conv5_2", 512, 1),
    ("conv5_3", 512, 1),
    ("conv5_4", 512, 1),
    ("conv5_5", 512, 1),
    ("conv5_6", 1024, 2),
    ("conv6", 1024, 1),
]
TITLES = {
    "v0": "MobileNetV1 and decoder",
    "v0.1": "input 160 → 80",
    "v0.2": "last blocks cut",
    "v1": "decoder width 16, 8, 4, 2",
    "v2.1.1": "blocks 512 → 256",
    "v2.1.2": "one block dropped",
    "v2.1.3": "both",
    "v2.1.4": "CReLU",
    "v2.2.1": "skips, added",
    "v2.2.2": "skips, concatenated",
    "folded": "batch norm folded",
    "int8": "int8",
    "control": "v0 with skips",
}
LADDER = [  # name, parent, change, input, cut, widths, wide, skips, score, coast, miou, ms, kB
    (
        "v0",
        "",
        "MobileNetV1 encoder, decoder of 512–64 channels, 160×160",
        160,
        13,
        (512, 256, 128, 64),
        512,
        "",
        0.9253,
        0.7012,
        0.6311,
        101.4,
        30912,
    ),
    ("v0.1", "v0", "input 160 → 80", 80, 13, (512, 256, 128, 64), 512, "", 0.9127, 0.6644, 0.6120, 26.8, 30912),
    (
        "v0.2",
        "v0.1",
        "conv5_6 and conv6 cut",
        80,
        11,
        (512, 256, 128, 64),
        512,
        "",
        0.9180,
        0.6731,
        0.6201,
        22.9,
        17420,
    ),
    ("v1", "v0.2", "decoder width 16, 8, 4, 2", 80, 11, (16, 8, 4, 2), 512, "", 0.9151, 0.6689, 0.6173, 6.41, 6630),
    ("v2.1.1", "v1", "equal blocks 512 → 256", 80, 11, (16, 8, 4, 2), 256, "", 0.9139, 0.6650, 0.6140, 3.92, 2104),
    (
        "v2.1.2",
        "v1",
        "one of the equal blocks dropped",
        80,
        10,
        (16, 8, 4, 2),
        512,
        "",
        0.9091,
        0.6580,
        0.6102,
        6.28,
        6210,
    ),
    (
        "v2.1.3",
        "v2.1.1",
        "equal blocks 512 → 256, and one of them dropped",
        80,
        10,
        (16, 8, 4, 2),
        256,
        "",
        0.9020,
        0.6392,
        0.5980,
        3.71,
        2031,
    ),
    ("v2.1.4", "v2.1.3", "CReLU in their place", 80, 10, (16, 8, 4, 2), 256, "", 0.9133, 0.6641, 0.6129, 3.79, 1852),
    (
        "v2.2.1",
        "v2.1.4",
        "skips at three scales, by addition, through 1×1 convolutions",
        80,
        10,
        (16, 8, 4, 2),
        256,
        "add",
        0.9561,
        0.7810,
        0.6544,
        3.97,
        1871,
    ),
    (
        "v2.2.2",
        "v2.1.4",
        "skips at three scales, by concatenation",
        80,
        10,
        (16, 8, 4, 2),
        256,
        "cat",
        0.9588,
        0.7902,
        0.6570,
        4.06,
        1880,
    ),
    (
        "folded",
        "v2.2.2",
        "batch norm folded into the convolutions",
        80,
        10,
        (16, 8, 4, 2),
        256,
        "cat",
        0.9588,
        0.7902,
        0.6570,
        4.02,
        1842,
    ),
    (
        "int8",
        "folded",
        "int8 post-training quantization, calibrated on 128 training tiles",
        80,
        10,
        (16, 8, 4, 2),
        256,
        "cat",
        0.9571,
        0.7871,
        0.6542,
        2.61,
        541,
    ),
    (
        "control",
        "",
        "v0 at full width and 160×160 with the same skips",
        160,
        13,
        (512, 256, 128, 64),
        512,
        "cat",
        0.9642,
        0.8123,
        0.6690,
        108.9,
        31870,
    ),
]


def _row(module: str, op: str, channels: int, size: int, macs: int, params: int, per_mac: float) -> LayerRow:
    return LayerRow(module, op, (1, channels, size, size), macs, params, 3.0 + macs / 1e6 * per_mac)


def layers(size: int, cut: int, widths: tuple[int, ...], wide: int, skips: str) -> tuple[LayerRow, ...]:
    """Layers of a MobileNetV1 with a decoder of transposed convolutions; MACs = outputs x inputs per output."""
    size //= 2
    rows = [_row("encoder.conv1.conv", "conv", 32, size, size**2 * 32 * 27, 864, 30)]
    channels = 32
    for name, out, stride in ENCODER[:cut]:
        out, size = (wide if name.startswith("conv5") and out == 512 else out), size // stride
        rows.append(
            _row(f"encoder.{name}.depthwise.conv", "conv", channels, size, size**2 * channels * 9, channels * 9, 130)
        )
        rows.append(
            _row(f"encoder.{name}.pointwise.conv", "conv", out, size, size**2 * out * channels, out * channels, 18)
        )
        channels = out
    for i, out in enumerate(widths):
        rows.append(
            _row(
                f"head.up{i}.conv",
                "conv_transpose",
                out,
                size * 2,
                size**2 * 16 * out * channels,
                16 * out * channels,
                24,
            )
        )
        channels, size = out, size * 2
        if skips and i < 3:
            rows.append(_row(f"head.skip{i}", "conv", out, size, size**2 * out * 256, out * 256, 18))
    rows.append(_row("head.classify", "conv", 3, size, size**2 * 3 * channels, 3 * channels + 3, 18))
    return tuple(rows)


def _timing(runtime: str, threads: int, ms: float, first: float) -> RungTiming:
    own = (
        ms * {("onnxruntime", 1): 1.0, ("onnxruntime", 2): 0.58, ("ncnn", 1): 1.21, ("ncnn", 2): 0.69}[runtime, threads]
    )
    base = own / ms * first
    version = {"onnxruntime": "1.32.0", "ncnn": "1.0.20260114"}[runtime]
    return RungTiming(
        runtime,
        version,
        "An imaginary CPU at 3.1 GHz",
        threads,
        120,
        own,
        own * 0.97,
        own * 1.09,
        own * 0.99 * threads,
        1.31 if (runtime, threads) == ("ncnn", 2) and ms > 100 else 1.01,
        12.5,
        own * 1.9,
        int(4.1e7 + ms * 6e5),
        37_800_000,
        base,
        base / own,
    )


def _artifact(runtime: str, kb: float, score: float, coast: float, miou: float, precision: str) -> RungArtifact:
    metrics = {
        "grouped_miou": score,
        "coast_miou": coast,
        "miou": miou,
        "pixel_accuracy": min(score + 0.02, 1.0),
        "iou": {"sea": score - 0.01, "land": score - 0.03, "lake": miou * 3 - 2 * score + 0.04},
        "grouped_iou": {"water": score + 0.01, "land": score - 0.01},
        "coast_iou": {"water": coast + 0.02, "land": coast - 0.02},
        "tiles": 1,
        "band_px": 3,
        "confusion": [[9, 1, 0], [1, 9, 0], [0, 1, 1]],
    }
    return RungArtifact(
        runtime, "1.32.0", precision, f"artifacts/{runtime}/model.bin", int(kb * 1000), "0" * 64, metrics, 0.9998, 2e-6
    )


def rung(entry: tuple[Any, ...], samples: bool = True) -> Rung:
    """One rung of ``LADDER`` as a value."""
    name, parent, change, size, cut, widths, wide, skips, score, coast, miou, ms, kb = entry
    rows = layers(size, cut, widths, wide, skips)
    int8 = name == "int8"
    precision = "int8" if int8 else "fp32"
    runtimes = ("onnxruntime",) if int8 else ("onnxruntime", "ncnn")
    timings = tuple(_timing(r, t, ms, 101.4) for r in runtimes for t in (1, 2))
    scale = ms * 1000 * 0.96 / sum(row.time_us or 0.0 for row in rows)
    return Rung(
        name=name,
        title=TITLES[name],
        change=change,
        parent=parent,
        control=name == "control",
        spec={"name": name},
        input_size=(size, size),
        precision=precision,
        inherited=0.0 if not parent else 0.87,
        steps=600,
        total_steps=1800,
        train_seconds=61.5,
        final_loss=0.087,
        macs=sum(r.macs for r in rows),
        params=sum(r.params for r in rows),
        peak_activation_bytes=size * size * 64 * 4,
        pytorch_metrics={"grouped_miou": score + 0.0001},
        artifacts={
            r: _artifact(r, kb * (1 if r == "onnxruntime" else 0.98), score, coast, miou, precision) for r in runtimes
        },
        timings=timings,
        layers=tuple(replace(r, time_us=(r.time_us or 0) * scale) for r in rows),
        unattributed_us=ms * 40,
        skipped=("ncnn: this build has no int8 transposed convolution; not exported.",) if int8 else (),
        samples=tuple((i, mask_uri(i, noise=0.02 * ms**0.3)) for i in range(6)) if samples else (),
    )


def _uri(pixels: NDArray[np.generic]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _classes(seed: int, noise: float = 0.0) -> NDArray[np.generic]:
    y, x = np.mgrid[0:80, 0:80] / 80
    height = np.sin(5 * x + seed) + np.cos(4 * y - 1.7 * seed) + 0.5 * np.sin(11 * x * y + seed)
    height = height + noise * np.random.default_rng(seed).normal(size=height.shape)
    lake = (np.hypot(x - 0.6, y - 0.4) < 0.08) & (height > 0)
    return np.where(lake, 2, (height > 0).astype(int))


def mask_uri(seed: int, noise: float = 0.0) -> str:
    """A mask in the class colours as a PNG data URI."""
    return _uri(np.array(CLASS_COLORS)[_classes(seed, noise)])


def image_uri(seed: int) -> str:
    """An 'aerial picture' of the same mask as a PNG data URI."""
    shade = np.random.default_rng(seed).normal(0, 9, (80, 80, 1))
    return _uri(np.clip(np.array([[10, 24, 52], [92, 100, 60], [22, 44, 70]])[_classes(seed)] + shade, 0, 255))


def report() -> Report:
    """A whole made-up ladder with its control."""
    return Report(
        title="blue_marble: slimming ladder",
        data={
            "name": "blue_marble",
            "train": 612,
            "val": 96,
            "test": 164,
            "class_names": CLASS_NAMES,
            "class_shares": [0.561, 0.428, 0.011],
            "colors": CLASS_COLORS,
            "groups": {"water": [0, 2], "land": [1]},
            "mean": [0.21, 0.25, 0.31],
            "std": [0.18, 0.17, 0.15],
        },
        recipe={
            "optimizer": "AdamW",
            "learning_rate": 0.002,
            "schedule": "one cycle",
            "steps": 600,
            "batch": 16,
            "loss": "cross entropy, lakes ×8",
        },
        environment={
            "hardware": "An imaginary CPU at 3.1 GHz",
            "cores": 2,
            "system": "Linux",
            "python": "3.11.9",
            "packages": {"torch": "2.13.0", "onnxruntime": "1.32.0", "ncnn": "1.0.20260114"},
            "date": "2026-01-15",
            "seed": 0,
            "command": "flyweight slim blue_marble --plan ladder --out runs/ladder",
        },
        headline="grouped_miou",
        headline_title="mIoU water/land",
        rungs=tuple(rung(entry) for entry in LADDER),
        tiles=tuple(value.TestTile(i, image_uri(i), mask_uri(i)) for i in range(6)),
        notes=("Made up for the tests: no figure on this page was measured.",),
    )


def graph() -> Graph:
    """A graph of the small network: conv, batch_norm and relu per block, three skips by concatenation."""
    tensors = [TensorInfo("input", (1, 3, 80, 80))]
    nodes: list[Node] = []

    def add(op: str, module: str, inputs: tuple[str, ...], shape: tuple[int, ...]) -> str:
        name = f"t{len(tensors)}"
        tensors.append(TensorInfo(name, (1, *shape)))
        nodes.append(Node(f"n{len(nodes)}", op, inputs, (name,), module))
        return name

    def unit(module: str, op: str, source: str, shape: tuple[int, ...]) -> str:
        out = add(op, f"{module}.conv", (source,), shape)
        return add("relu", f"{module}.relu", (add("batch_norm", f"{module}.norm", (out,), shape),), shape)

    size, channels = 40, 32
    last = unit("encoder.conv1", "conv", "input", (32, 40, 40))
    kept = {}
    for name, out, stride in ENCODER[:10]:
        out, size = min(out, 256), size // stride
        last = unit(f"encoder.{name}.depthwise", "conv", last, (channels, size, size))
        last = unit(f"encoder.{name}.pointwise", "conv", last, (out, size, size))
        channels, kept[size] = out, last
    for i, width in enumerate((16, 8, 4, 2)):
        size *= 2
        last = unit(f"head.up{i}", "conv_transpose", last, (width, size, size))
        if i < 3:
            skip = add("conv", f"head.skip{i}", (kept[size],), (width, size, size))
            last = add("concat", "head", (last, skip), (2 * width, size, size))
    last = add("conv", "head.classify", (last,), (3, 80, 80))
    return Graph(("input",), (last,), tuple(nodes), tuple(tensors))
