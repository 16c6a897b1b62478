"""Profiles: rows, sums, and the published figures of MobileNetV1."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from flyweight.build import build, skeleton
from flyweight.errors import UnknownOperatorError, UsageError
from flyweight.graph import Graph, Node, TensorInfo
from flyweight.profile import COLUMNS, Profile, profile, profile_module, profile_spec
from flyweight.trace import trace
from flyweight.zoo import mobilenet_v1

IMAGE = torch.zeros(1, 3, 8, 8)


def small() -> nn.Module:
    block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(nn.Conv2d(3, 4, 1), block, nn.Flatten(), nn.Linear(256, 2))


@pytest.mark.parametrize("width", [1.0, 0.5])
def test_mobilenet_v1_has_its_exact_macs_and_parameters(width: float) -> None:
    expected = {1.0: (568_740_352, 4_231_976), 0.5: (149_497_088, 1_331_592)}[width]
    found = profile(build(mobilenet_v1.mobilenet_v1(width, 224)), torch.zeros(1, 3, 224, 224), strict=True)
    assert (found.macs, found.params) == expected
    assert found.unknown == ()


def test_totals_are_sums_of_rows() -> None:
    found = profile(small(), IMAGE)
    assert found.macs == 8 * 8 * 4 * 3 + 8 * 8 * 4 * 9 + 256 * 2
    assert found.params == (4 * 3 + 4) + 4 * 9 + (4 + 4) + (256 * 2 + 2)
    assert found.total.buffers == 4 + 4  # running mean and variance; the counter of batches is never read
    assert found.param_bytes == 4 * found.params
    for column in ("macs", "params", "bytes_moved", "bias_adds", "elementwise"):
        assert getattr(found.total, column) == sum(getattr(row, column) for row in found.rows)


def test_parameters_equal_those_of_the_module() -> None:
    net = small()
    assert profile(net, IMAGE).params == sum(p.numel() for p in net.parameters())


def test_frozen_parameters_count_too() -> None:
    assert profile(small().requires_grad_(False), IMAGE).params == profile(small(), IMAGE).params


def test_a_shared_layer_has_its_parameters_in_the_first_row_only() -> None:
    shared = nn.Conv2d(3, 3, 1)
    found = profile(nn.Sequential(shared, shared), IMAGE)
    assert [row.params for row in found.rows] == [12, 0]
    assert [row.macs for row in found.rows] == [8 * 8 * 9] * 2


def test_sums_by_module_cut_paths_at_the_depth() -> None:
    found = profile(small(), IMAGE)
    assert [(row.module, row.nodes) for row in found.by_module(1)] == [("0", 1), ("1", 3), ("2", 1), ("3", 1)]
    assert [row.module for row in found.by_module()] == ["0", "1.0", "1.1", "1.2", "2", "3"]
    (everything,) = found.by_module(0)
    assert everything == found.total
    assert sum(row.macs for row in found.by_module(1)) == found.macs


def test_top_gives_the_largest_rows_first() -> None:
    found = profile(small(), IMAGE)
    assert [row.module for row in found.top("macs", 2)] == ["1.0", "0"]
    assert [row.module for row in found.top("params", 1)] == ["3"]


def test_an_unknown_column_and_a_negative_depth_are_refused() -> None:
    found = profile(small(), IMAGE)
    with pytest.raises(UsageError, match=r"no column is named 'mac'. Did you mean macs"):
        found.top("mac")
    with pytest.raises(UsageError, match="depth is -1"):
        found.by_module(-1)


def test_every_column_can_be_ranked() -> None:
    found = profile(small(), IMAGE)
    for column in COLUMNS:
        assert len(found.top(column, 3)) == 3


def unknown_graph() -> Graph:
    tensors = (TensorInfo("x", (1, 4)), TensorInfo("y", (1, 4)))
    return Graph(("x",), ("y",), (Node("n", "aten.mystery", ("x",), ("y",), "head"),), tensors)


def test_unknown_operators_are_visible_rows_and_errors_under_strict() -> None:
    found = profile(unknown_graph())
    assert [(row.op, row.macs, row.bytes_moved) for row in found.unknown] == [("aten.mystery", None, 2 * 16)]
    assert found.total.unknown == 1
    assert found.top("macs") == ()
    with pytest.raises(UnknownOperatorError, match="layer 'head'"):
        profile(unknown_graph(), strict=True)


def test_a_graph_and_a_module_give_the_same_profile() -> None:
    net = small()
    assert profile(trace(net, IMAGE)) == profile(net, IMAGE) == profile_module(net, IMAGE)


def test_a_spec_is_counted_as_its_network_is_and_without_weights() -> None:
    spec = mobilenet_v1.mobilenet_v1(0.25, 128)
    network, example = skeleton(spec)
    assert {p.device.type for p in (*network.parameters(), *network.buffers(), example)} == {"meta"}
    assert profile_spec(spec) == profile(build(spec), torch.zeros(1, 3, 128, 128))


def test_a_module_without_an_example_and_a_graph_with_one_are_refused() -> None:
    with pytest.raises(UsageError, match="needs an example input"):
        profile(small())
    with pytest.raises(UsageError, match="leave the example out"):
        profile(unknown_graph(), IMAGE)


def test_unused_parameters_are_named_and_not_counted() -> None:
    net = small()
    net.register_parameter("spare", nn.Parameter(torch.zeros(5)))
    found = profile(net, IMAGE)
    assert [info.name for info in found.unused] == ["spare"]
    assert found.params == profile(small(), IMAGE).params


def test_rows_carry_the_receptive_field_the_stride_and_the_live_bytes() -> None:
    row = profile(nn.Conv2d(3, 4, 3, stride=2), IMAGE).rows[0]
    assert (row.receptive_field_px, row.stride_px) == ((3, 3), (2.0, 2.0))
    assert row.live_bytes == 4 * (3 * 64 + 4 * 9)


def test_the_peak_names_its_layer() -> None:
    found = profile(small(), IMAGE)
    assert found.peak is not None
    assert (found.peak_activation_bytes, found.peak.node.module) == (4 * 2 * 256, "1.0")


def test_a_network_that_computes_nothing_has_an_empty_profile() -> None:
    found = profile(nn.Identity(), IMAGE)
    assert (found.rows, found.macs, found.peak, found.peak_activation_bytes) == ((), 0, None, 0)


def test_json_carries_rows_and_sums() -> None:
    found = profile(small(), IMAGE)
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["total"]["macs"] == found.macs
    assert data["rows"][0]["output_shape"] == [1, 4, 8, 8]
    assert data["peak_activation"]["module"] == "1.0"


def test_profiles_are_read_and_summed_without_torch() -> None:
    program = "import sys, flyweight.profile; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"


@pytest.mark.slow
def test_two_hundred_convolutions_are_profiled_within_two_seconds_of_cpu_time() -> None:
    layers = [nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()) for _ in range(200)]
    start = time.process_time()
    found: Profile = profile(nn.Sequential(*layers), IMAGE.expand(1, 3, 8, 8).repeat(1, 3, 1, 1)[:, :8])
    assert len(found.rows) == 600
    assert time.process_time() - start < 2.0
