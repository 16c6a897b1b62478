"""Layers summed over modules, and written as CSV."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from flyweight.cli._profile import as_csv, summed
from flyweight.report.value import LayerRow

ROWS = (
    LayerRow("encoder.conv1.conv", "conv", (1, 8, 32, 32), 1000, 216, 10.0),
    LayerRow("encoder.conv1.norm", "batch_norm", (1, 8, 32, 32), 0, 16, None),
    LayerRow("encoder.conv2.conv", "conv", (1, 16, 16, 16), 500, 72, 2.5),
    LayerRow("head", "linear", (1, 3), 48, 51, None),
)

paths = st.lists(st.sampled_from(["a", "b", "c"]), min_size=0, max_size=4).map(".".join)
rows = st.lists(
    st.builds(
        LayerRow,
        module=paths,
        op=st.just("conv"),
        output_shape=st.just((1, 2)),
        macs=st.integers(0, 10**9),
        params=st.integers(0, 10**9),
        time_us=st.none() | st.integers(0, 10**6).map(float),  # whole numbers, so that sums are exact
    )
)


def test_depth_0_leaves_every_layer() -> None:
    assert summed(ROWS, 0) == ROWS


def test_depth_2_sums_the_layers_of_a_block() -> None:
    first, second, head = summed(ROWS, 2)
    assert first == LayerRow("encoder.conv1", "2 layers", (1, 8, 32, 32), 1000 + 0, 216 + 16, 10.0)
    assert (second.module, second.op, second.time_us) == ("encoder.conv2", "conv", 2.5)
    assert (head.module, head.time_us) == ("head", None)


def test_depth_1_takes_the_output_of_the_last_layer() -> None:
    encoder = summed(ROWS, 1)[0]
    assert encoder.output_shape == (1, 16, 16, 16)
    assert encoder.time_us == 10.0 + 2.5


@given(rows, st.integers(0, 5))
def test_sums_lose_nothing(layers: list[LayerRow], depth: int) -> None:
    groups = summed(layers, depth)
    for field in ("macs", "params"):
        assert sum(getattr(g, field) for g in groups) == sum(getattr(row, field) for row in layers)
    assert sum(g.time_us or 0 for g in groups) == sum(row.time_us or 0 for row in layers)
    if depth:
        assert len({group.module for group in groups}) == len(groups)


def test_csv_has_a_row_per_layer_and_no_time_where_none_was_measured() -> None:
    read = list(csv.DictReader(io.StringIO(as_csv(ROWS))))
    assert len(read) == 4
    assert read[0] == {
        "module": "encoder.conv1.conv", "op": "conv", "output_shape": "1x8x32x32", "macs": "1000", "params": "216",
        "time_us": "10.000",
    }  # fmt: skip
    assert read[1]["time_us"] == ""
