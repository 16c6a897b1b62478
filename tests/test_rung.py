import torch
from torch import nn

from flyweight.contracts import LayerTime, LayerTimes
from flyweight.profile import profile_module
from flyweight.rung import layer_rows


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(self.conv(x)))


PROFILE = profile_module(Two().eval(), torch.zeros(1, 3, 4, 4))


def times(*rows: tuple[str, str | None, float]) -> LayerTimes:
    made = tuple(LayerTime(name, "Conv", module, us) for name, module, us in rows)
    return LayerTimes("onnxruntime", "1", 1, 10, made, sum(row.median_us for row in made))


def test_a_row_per_module_with_its_counts_and_summed_times() -> None:
    rows, rest = layer_rows(PROFILE, times(("a", "conv", 5.0), ("b", "conv", 2.0), ("reorder", None, 1.5)))
    assert [(row.module, row.macs, row.params, row.time_us) for row in rows] == [
        ("conv", 4 * 4 * 8 * 3 * 3 * 3, 8 * 3 * 3 * 3 + 8, 7.0),
        ("norm", 0, 8 + 8, None),  # fused away: no time of its own
        ("", 0, 0, None),
    ]
    assert rest == 1.5


def test_time_of_a_module_that_the_graph_lacks_is_not_lost() -> None:
    assert layer_rows(PROFILE, times(("a", "nowhere", 3.0)))[1] == 3.0


def test_without_times_no_row_has_one() -> None:
    assert {row.time_us for row in layer_rows(PROFILE, None)[0]} == {None}
