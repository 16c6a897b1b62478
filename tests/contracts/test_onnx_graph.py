"""An exported file has the counts, the memory and the receptive fields of the network it was exported from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from flyweight.field import Field, receptive_fields
from flyweight.graph import Graph
from flyweight.memory import peak_activation
from flyweight.onnx_graph import read_onnx
from flyweight.profile import profile
from flyweight.runtimes import RUNTIMES
from flyweight.testing import _networks as networks
from flyweight.testing._zoo_runs import enough_pixels, sized, slim
from flyweight.trace import trace
from flyweight.transforms.fold_bn import FoldBatchNorm
from flyweight.zoo import ZOO
from tests.contracts.test_zoo import EXPORTED

SOME = ("mobilenet_v3_small_0.5_torchvision", "shufflenet_v2_0.5")
OTHERS = sorted(set(EXPORTED) - set(SOME))
PADS_BEFORE_POOLING = ("nasnet_mobile",)  # the file's pooling pads by itself, so that its peak is lower
# one operator in PyTorch, several in the file, which hold more at once: x·Φ(x), x·σ(x), a shift, pooling to 7 × 7
IN_PIECES = ("alexnet", "efficientnet_b0", "repvit_m0.9_deploy", "shiftnet_b")


def fields(graph: Graph) -> list[tuple[str, Field | None]]:
    known = receptive_fields(graph)
    return sorted(((n.module, known[n.outputs[0]]) for n in graph.nodes if n.op.startswith("conv")), key=str)


@pytest.mark.parametrize("name", [*SOME, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_a_file_is_counted_as_the_network_with_folded_norms(name: str, tmp_path: Path) -> None:
    spec = ZOO.get(name).spec
    candidate = networks.seasoned(slim(sized(spec, enough_pixels(spec, networks.PIXELS))))
    with torch.no_grad():
        for bias in (p for n, p in candidate.module.named_parameters() if n.endswith("bias")):
            bias.uniform_(0.1, 1.0)  # the exporter leaves out biases of zero
    if any(isinstance(module, networks.NORMS) for module in candidate.module.modules()):
        candidate = FoldBatchNorm().apply(candidate, networks.NO_ENV)
    RUNTIMES.get("onnxruntime").export(candidate, tmp_path)
    module, file = trace(candidate.module, torch.zeros(candidate.input_shape)), read_onnx(tmp_path / "model.onnx")
    of_module, of_file = profile(module, strict=True), profile(file, strict=True)
    assert (of_file.macs, of_file.total.bias_adds) == (of_module.macs, of_module.total.bias_adds)
    assert of_file.params == of_module.params
    assert fields(file) == fields(module)
    peaks = [peak_activation(graph, in_place=True).bytes for graph in (file, module)]
    if name in PADS_BEFORE_POOLING:
        assert peaks[0] < peaks[1]
    elif name in IN_PIECES:
        assert peaks[0] > peaks[1]
    else:
        assert peaks[0] == peaks[1]
