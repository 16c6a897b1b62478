"""The roofline, its figures computed by hand on a made-up machine: 50 GMAC/s, 20 GB/s, so the ridge stands at 2.5."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from flyweight.contracts import LayerTime, LayerTimes
from flyweight.errors import FileError
from flyweight.profile import Profile, profile_module
from flyweight.roofline import Machine, RooflinePoint, explain, roofline

MACHINE = Machine("made up", 1, 50.0, 20.0, 80.0, 32 << 20, 16, 2.0, "none", "2026-01-01")


def counted(*layers: nn.Module, channels: int = 16, pixels: int = 32) -> Profile:
    with torch.device("meta"):
        return profile_module(nn.Sequential(*layers).to("meta").eval(), torch.zeros(1, channels, pixels, pixels))


def measured(**us: float) -> LayerTimes:
    rows = tuple(LayerTime(f"kernel{name}", "Conv", name.removeprefix("m"), time) for name, time in us.items())
    return LayerTimes("onnxruntime", "1", 1, 10, rows, sum(us.values()))


def point(profile: Profile, us: float, machine: Machine = MACHINE) -> RooflinePoint:
    return roofline(profile, measured(m0=us), machine)[0]


def test_ridge_is_peak_over_bandwidth() -> None:
    assert MACHINE.ridge_macs_per_byte == 50 / 20


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_roof_rises_with_intensity_and_ends_at_the_peak(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert MACHINE.attainable_gmacs_per_s(low) <= MACHINE.attainable_gmacs_per_s(high) <= MACHINE.peak_gmacs_per_s


def test_point_has_the_layers_macs_bytes_and_speed() -> None:
    found = point(counted(nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)), 100)
    macs, moved = 32 * 32 * 16 * 9, 4 * (2 * 32 * 32 * 16 + 16 * 9)
    assert (found.macs, found.bytes_moved, found.kind) == (macs, moved, "depthwise 3×3")
    assert found.intensity_macs_per_byte == macs / moved
    assert found.gmacs_per_s == pytest.approx(macs / 100 / 1e3)  # per µs, so /1e3 gives 10⁹ per second
    assert found.memory_bound  # 1.12 MACs per byte
    assert found.attainable_gmacs_per_s == pytest.approx(20 * macs / moved)


def test_norm_and_activation_in_a_convolutions_module_move_nothing() -> None:
    class Fused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(16, 16, 1, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(nn.functional.conv2d(x, self.weight))

    assert point(counted(Fused()), 9).bytes_moved == 4 * (2 * 32 * 32 * 16 + 16 * 16)


def test_layer_without_macs_has_its_bytes_and_no_intensity() -> None:
    found = point(counted(nn.MaxPool2d(2)), 10)
    assert (found.macs, found.intensity_macs_per_byte, found.memory_bound) == (0, 0, True)
    assert found.gb_per_s == pytest.approx(4 * 16 * (32 * 32 + 16 * 16) / 10 / 1e3)


def test_module_without_time_has_no_point() -> None:
    both = counted(nn.Conv2d(16, 16, 1), nn.BatchNorm2d(16))
    assert [p.name for p in roofline(both, measured(m0=5, nowhere=3), MACHINE)] == ["0"]


@pytest.mark.parametrize(
    ("layer", "us", "reason"),
    [
        (nn.Conv2d(16, 16, 3, groups=16), 400, "used 9 times at most"),
        (nn.Conv2d(16, 24, 1), 400, "24 channels leave part of the vectors of 16 empty"),
        (nn.Conv2d(16, 12, 1), 400, "16 to 12 channels, where a vector holds 16"),
        (nn.Conv2d(16, 16, 1), 15, "a kernel of 15 µs, of which starting any kernel takes 2"),
        (nn.ReLU(), 100, "no MACs; it moves 131 kB at 1.31 GB/s, 6.6 % of the memory's 20"),
    ],
)
def test_reason_is_told_from_the_layers_figures(layer: nn.Module, us: float, reason: str) -> None:
    profile = counted(layer)
    (sentence,) = explain([point(profile, us)], profile, MACHINE)
    assert sentence.startswith("0 (")
    assert "100.0 % of the time" in sentence
    assert reason in sentence


def test_fully_connected_layer_is_told_that_its_weights_are_used_once() -> None:
    profile = counted(nn.Flatten(), nn.Linear(16 * 32 * 32, 1000))
    points = roofline(profile, measured(m1=65_536_000 / 20 / 1e3), MACHINE)  # at the memory's speed
    (sentence,) = explain(points, profile, MACHINE)
    assert "memory-bound" in sentence
    assert "0.25 MACs per byte, where the ridge stands at 2.5" in sentence


def test_layer_near_the_peak_needs_no_reason() -> None:
    profile = counted(nn.Conv2d(16, 16, 3, padding=1))
    assert explain([point(profile, 32 * 32 * 16 * 16 * 9 / 40e3)], profile, MACHINE) == ()  # 40 of 50 GMAC/s


def test_machine_written_is_read_back_equal() -> None:
    assert Machine.from_json(MACHINE.to_json()) == MACHINE


@pytest.mark.parametrize(
    "change", [{"lanes": "16"}, {"peak_gmacs_per_s": 0.0}, {"threads": True}, {"extra": 1}, {"date": None}]
)
def test_machine_that_was_not_measured_is_an_error(change: dict[str, Any]) -> None:
    with pytest.raises(FileError):
        Machine.from_json({**MACHINE.to_json(), **change})
