"""Receptive fields as counted and as found by gradients, for every layer.

    python -m benchmarks.field [--networks NAME,NAME] [--keep FOLDER]

Residual, concatenating and dilated networks of the zoo, a decoder, and one that dilates, concatenates and enlarges.
Weights are made positive, with a sum of ½ for each output channel, so that no gradient is cut off by an activation or
cancels; maximum pooling is averaging over the same window, as a gradient through a maximum reaches one pixel only.
Double precision.

For every module whose output is a map, the pixels that one of its positions depends on are those of the input with a
gradient. Their first and last row and column are compared with the counted ones, cut at the image's border, for a
position in the middle, its neighbour and the first. The image is long and low, then narrow and high, so that large
fields lie within it at few MACs. Where all of an axis is seen (behind squeeze-and-excitation, say) all must have a
gradient.

Finished networks are kept in the folder, so that an interrupted run goes on. Writes ``benchmarks/results/field.json``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flyweight import files, flow
from flyweight.axis import Axis
from flyweight.build import build
from flyweight.field import axes_seen
from flyweight.graph import Graph
from flyweight.trace import trace
from flyweight.zoo import ZOO

SIZES = ((32, 576), (576, 32))  # pixels, height and width
UNPADDED = ("squeezenet_1.1",)  # a pixel less, so that windows without padding reach the last one


class Dilated(nn.Module):
    """Dilated residual blocks, branches of several rates concatenated, enlarged and joined with an early map."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.blocks = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=rate, dilation=rate) for rate in (1, 2, 4, 8))
        self.down = nn.Conv2d(4, 4, 3, 2, 1)
        self.rates = nn.ModuleList(nn.Conv2d(4, 2, (3, 5), padding=(rate, 2 * rate), dilation=rate) for rate in (2, 5))
        self.near = nn.Conv2d(4, 2, 1)
        self.join = nn.Conv2d(6, 4, 1)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.deconv = nn.ConvTranspose2d(8, 4, 4, 2, 1)
        self.last = nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the input's size."""
        early = self.stem(x)
        deep = early
        for block in self.blocks:
            deep = deep + block(deep)
        deep = self.down(deep)
        deep = self.join(torch.cat([self.near(deep), *(rate(deep) for rate in self.rates)], 1))
        out: Tensor = self.last(self.deconv(torch.cat((self.up(deep), early), 1)))
        return out


OWN = {"dilated and enlarged": Dilated}
NETWORKS = (
    "resnet_18", "mobilenet_v2_0.35", "mobilenet_v3_small_0.5_torchvision", "googlenet", "squeezenet_1.1",
    "shufflenet_v2_0.5", "ghostnet_0.5", "mobilenet_v1_deconv", *OWN,
)  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Compare; write and print."""
    parser = argparse.ArgumentParser(description="Receptive fields against gradients.")
    parser.add_argument("--networks", help="only these, apart by commas")
    parser.add_argument("--keep", type=Path, default=Path("runs/field"), help="folder of what is done already")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/field.json"), help="file to write")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = []
    for name in options.networks.split(",") if options.networks else NETWORKS:
        done = options.keep / f"{name}.json"
        if not done.is_file():
            files.write_json(done, compared(name))
        rows.append(files.read_json(done))
        print(rows[-1], flush=True)
    now = flow.environment(0)
    result = {
        "name": "field",
        "command": "python -m benchmarks.field" + (f" --networks {options.networks}" if options.networks else ""),
        "date": now["date"],
        "environment": now,
        "networks": rows,
        "claims": claims(rows),
    }
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print(claim)
    return 0


def compared(name: str) -> dict[str, Any]:
    """Compare every layer of a network at both sizes."""
    started = time.perf_counter()
    net = positive(OWN[name]() if name in OWN else build(ZOO.get(name).spec))
    layers: set[str] = set()
    inside: dict[str, int] = {}  # by layer: extent of a field that lies within the image
    positions, different = 0, []
    for size in [(h - (name in UNPADDED), w - (name in UNPADDED)) for h, w in SIZES]:
        x = torch.rand(1, 3, *size, dtype=torch.double).requires_grad_()
        graph = trace(net, x.detach())
        seen = axes_seen(graph)
        for module, output in outputs(net, x).items():
            tensor = last_output(graph, module)
            if tensor is None or graph.tensors[tensor].shape != tuple(output.shape):
                continue
            layers.add(module)
            for at in places(output):
                counted, found = counted_box(seen[tensor], at, size), box(output, at, x)
                positions += 1
                if counted != found:
                    different.append({"layer": module, "size": size, "at": at, "counted": counted, "found": found})
                for (first, last), pixels in zip(found, size, strict=True):
                    if 0 < first <= last < pixels - 1:
                        inside[module] = max(inside.get(module, 0), last - first + 1)
    return {
        "network": name, "layers": len(layers), "positions": positions, "different": different,
        "layers_with_a_field_inside_the_image": len(inside), "largest_of_them_px": max(inside.values(), default=0),
        "seconds": round(time.perf_counter() - started, 1),
    }  # fmt: skip


def positive(net: nn.Module) -> nn.Module:
    """Return the network with positive weights whose gradients neither vanish nor cancel, in double precision."""
    for path, module in list(net.named_modules()):
        if isinstance(module, nn.MaxPool2d):
            parent, _, name = path.rpartition(".")
            mean = nn.AvgPool2d(module.kernel_size, module.stride, module.padding, module.ceil_mode)
            setattr(net.get_submodule(parent), name, mean)
    net = net.double().eval()
    for module in net.modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and isinstance(weight, Tensor):
            inputs = [0, 2, 3] if isinstance(module, nn.ConvTranspose2d) else list(range(1, weight.ndim))
            weight.data.uniform_(0.5, 1.0)
            weight.data.div_(2 * weight.data.sum(inputs, keepdim=True))
            if module.bias is not None:
                module.bias.data.zero_()
    return net


def outputs(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return the map that every module makes; of one that runs several times the last."""
    found: dict[str, Tensor] = {}

    def keep(path: str, out: Any) -> None:
        if isinstance(out, Tensor) and out.ndim == 4 and min(out.shape[2:]) > 0:
            found[path] = out

    hooks = [
        module.register_forward_hook(lambda _, __, out, path=path: keep(path, out))
        for path, module in net.named_modules()
    ]
    net(x)
    for hook in hooks:
        hook.remove()
    return found


def last_output(graph: Graph, module: str) -> str | None:
    """Return the first output of the last node that ran within a module."""
    inside = [n for n in graph.nodes if not module or n.module == module or n.module.startswith(f"{module}.")]
    return inside[-1].outputs[0] if inside else None


def places(output: Tensor) -> list[tuple[int, int]]:
    """Return a position in the middle, its neighbour along the image, and the first."""
    height, width = output.shape[2:]
    middle = (height // 2, width // 2)
    beside = (middle[0] + (height > 4), middle[1] + (width > 4))  # what a low map is padded with sees no pixel
    return list(dict.fromkeys([middle, beside, (0, 0)]))


def counted_box(axes: tuple[Axis, ...] | None, at: Sequence[int], size: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first and last pixel that a position sees, per axis, within the image."""
    if axes is None:
        return []
    seen = [(0, n - 1) if axis.whole else axis.at(i) for axis, i, n in zip(axes, at, size, strict=True)]
    return [(max(low, 0), min(high, n - 1)) for (low, high), n in zip(seen, size, strict=True)]


def box(output: Tensor, at: Sequence[int], x: Tensor) -> list[tuple[int, int]]:
    """Return the first and last pixel with a gradient, per axis."""
    (gradient,) = torch.autograd.grad(output[0, :, at[0], at[1]].sum(), x, retain_graph=True)
    touched = gradient[0].ne(0).any(0)
    lines = [touched.any(1 - axis).nonzero().flatten() for axis in (0, 1)]
    return [(int(line[0]), int(line[-1])) if len(line) else (-1, -1) for line in lines]


def claims(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the rows show."""
    layers = sum(row["layers"] for row in rows)
    inside = sum(row["layers_with_a_field_inside_the_image"] for row in rows)
    different = len({(row["network"], each["layer"]) for row in rows for each in row["different"]})
    largest = max(row["largest_of_them_px"] for row in rows)
    what = f"layers whose receptive field differs from the one found by gradients, of {layers} in {len(rows)} networks"
    return [
        {"claim": what, "value": different, "unit": "layers", "goal": "<= 0", "holds": different == 0},
        {"claim": f"layers whose field lies within the image, up to {largest} px", "value": inside, "unit": "layers",
         "goal": ">= 1", "holds": inside >= 1},
    ]  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
