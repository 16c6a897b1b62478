"""Predicted times from measured layers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight.advise._time import TimeModel, fit, time_model
from flyweight.advise._work import Work
from flyweight.contracts import LayerTime, LayerTimes


def work(module: str, macs: float, moved: float, kind: str = "dense") -> Work:
    return Work(module, kind, macs, moved, fused=False, signature=((kind, macs, moved),))


def model(**us: float) -> TimeModel:
    """A model of layers of 100 MACs a microsecond."""
    works = {name: work(name, 100 * time, 0) for name, time in us.items()}
    rows = tuple(LayerTime(name, "Conv", name, time) for name, time in us.items())
    return time_model(works, LayerTimes("onnxruntime", "1", 1, 10, rows, run_us=sum(us.values())))


@given(
    st.floats(1e-6, 1e-3),
    st.lists(st.tuples(st.floats(1e6, 1e9), st.floats(1e3, 1e4)), min_size=3, max_size=8, unique=True),
)
def test_a_cost_that_layers_follow_exactly_is_found_again(us_per_mac: float, sizes: list[tuple[float, float]]) -> None:
    pairs = [(work(str(i), macs, moved), us_per_mac * macs) for i, (macs, moved) in enumerate(sizes)]
    cost = fit(pairs, fixed_us=0.0)
    assert all(cost.of(each) == pytest.approx(max(us, 0.5), rel=0.02) for each, us in pairs)


def test_layers_that_an_edit_leaves_alone_keep_their_measured_time() -> None:
    there = model(a=10.0, b=30.0)
    assert there.predict(there.works).us == pytest.approx(40)


def test_half_the_macs_take_half_of_what_the_layer_takes_above_the_least_kernel() -> None:
    there = model(a=1.0, b=101.0)  # no kernel is faster than 1 µs
    after = there.predict({"a": there.works["a"], "b": work("b", 100 * 101 / 2, 0)})
    assert after.by_module["a"] == 1.0
    assert after.by_module["b"] == pytest.approx(1 + 100 / 2, rel=0.02)


def test_a_layer_that_is_gone_takes_no_time_and_one_of_no_module_stays() -> None:
    there = replace(model(a=10.0, b=30.0), measured={"a": 10.0, "b": 30.0, "(unattributed)": 5.0})
    assert there.predict({"a": there.works["a"]}).us == 15.0


def test_layers_are_scaled_to_the_run() -> None:
    rows = (LayerTime("a", "Conv", "a", 8.0), LayerTime("b", "Conv", "b", 8.0))
    works = {"a": work("a", 100, 0), "b": work("b", 100, 0)}
    found = time_model(works, LayerTimes("onnxruntime", "1", 1, 10, rows, run_us=24.0, cpu_us=20.0))
    assert (found.total_us, dict(found.measured)) == (20.0, {"a": 10.0, "b": 10.0})  # 16 µs of kernels in a run of 20
