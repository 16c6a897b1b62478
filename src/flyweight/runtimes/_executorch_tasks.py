"""What is done in ExecuTorch's own environment: a network as a .pte file for XNNPACK, and running one.

Runs in the worker only; torch and executorch are that environment's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from flyweight.runtimes._executorch_net import Net
from flyweight.runtimes._frames import Arrays
from flyweight.runtimes._loaded import Loaded

SPLITS = ("aten.chunk.default", "aten.split.Tensor", "aten.split_with_sizes.default")


def sliced(name: str, arguments: list[Any], keywords: dict[str, Any]) -> list[Any]:
    """Return the parts of a split as slices: XNNPACK takes those, and no split, which would cut the network in two."""
    from flyweight.runtimes._program import aten

    whole, dim = arguments[0], keywords.get("dim", arguments[2] if len(arguments) > 2 else 0)
    parts, start = [], 0
    for part in aten(name)(*arguments, **keywords):
        end = start + part.shape[dim]
        parts.append(whole.narrow(dim, start, end - start))
        start = end
    return parts


def export(message: Mapping[str, Any], arrays: Arrays) -> tuple[Mapping[str, Any], Arrays]:
    """Return the file as bytes, and how many parts XNNPACK takes and which operators stay outside them."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    from flyweight.runtimes._program import from_plain

    plain = message["plain"]
    with torch.no_grad():
        rewrites = dict.fromkeys(SPLITS, sliced)
        program = torch.export.export(from_plain(plain, arrays, rewrites), (torch.zeros(plain["shape"]),))
        edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        outside: dict[str, int] = {}
        parts = 0
        for node in edge.exported_program().graph.nodes:
            name = getattr(node.target, "__name__", str(node.target))
            if node.op != "call_function" or name == "getitem":
                continue
            if "executorch_call_delegate" in name:
                parts += 1
            else:
                outside[name] = outside.get(name, 0) + 1
        made = edge.to_executorch().buffer
    return {"parts": parts, "outside": outside}, {"model.pte": np.frombuffer(made, np.uint8)}


_LOADED = Loaded(Net)
TASKS = {"export": export, "load": _LOADED.load, "run": _LOADED.run}
