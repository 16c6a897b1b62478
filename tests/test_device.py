"""Devices: every file says what it means, with a source for each rule, and what can't be meant is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight.device import FOLDER, KNOWN_OPS, Device, Limit, device_names, get_device, read_device
from flyweight.errors import UsageError
from flyweight.runtimes._onnx_file import SUPPORTED as ONNX
from flyweight.runtimes.ncnn import _SUPPORTED as NCNN

GOOD = """
title = "Mine"
kind = "accelerator"
precisions = ["int8"]
fallback = "the CPU"
[sources.me]
text = "my data sheet, version 3"
by = "vendor"
[[rule]]
ops = ["conv/dense"]
limits = { stride = { max = 2 } }
source = "me"
"""
WANTED = {
    "onnxruntime", "ncnn", "tflite", "tflite_micro", "ethos_u", "edge_tpu", "hexagon_htp", "amd_dpu", "coreml_ane",
    "rknn", "stm32n6",
}  # fmt: skip


@pytest.mark.parametrize("name", device_names())
def test_file_of_a_device_parses_and_every_rule_has_a_source(name: str) -> None:
    device = get_device(name)
    assert device.name == name
    assert device.rules
    for rule in device.rules:
        assert rule.source in device.sources.values()
        assert rule.ops | {op for op, _ in rule.forms} <= KNOWN_OPS
        assert rule.source.url.startswith("https://") or rule.source.by == "measurement", rule.source.text
    assert device.unlisted == "unknown" or device.unlisted_source
    assert device.kind == "runtime" or device.caveat or device.unlisted_source
    if "rejected" not in {device.unlisted, *(rule.otherwise for rule in device.rules)}:
        assert device.fallback or device.unlisted == "unknown"


@pytest.mark.parametrize("name", device_names())
def test_every_source_of_a_device_is_used(name: str) -> None:
    text = (FOLDER / f"{name}.toml").read_text()
    for key in re.findall(r"^\[sources\.(\w+)\]", text, re.MULTILINE):
        assert f'ource = "{key}"' in text, key


def test_the_devices_of_the_field_are_there() -> None:
    assert set(device_names()) >= WANTED


@pytest.mark.parametrize(("name", "supported"), [("onnxruntime", ONNX), ("ncnn", NCNN)])
def test_rules_of_a_runtime_are_what_its_own_file_exports(name: str, supported: frozenset[str]) -> None:
    device = get_device(name)
    silent = {"dropout", "detach", "alias"}  # nothing is left of them in a file

    def runs(op: str) -> bool:
        rules = device.rules_for(op, None, "fp32")
        return bool(rules) and all(rule.verdict == "native" for rule in rules)

    assert {op for op in KNOWN_OPS - silent if runs(op)} == (supported & KNOWN_OPS) - silent


def test_unlisted_operator_is_unknown_where_the_vendor_says_nothing() -> None:
    assert get_device("ncnn").unlisted == "unknown"
    assert get_device("ethos_u").unlisted == "fallback"  # 'any other TFLite operator … scheduled on the CPU'


def test_own_device_is_read_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    device = get_device(str(path))
    assert isinstance(device, Device)
    assert (device.name, device.rules[0].limits) == ("mine", (Limit("stride", most=2),))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("conv/dense", "convolution/dense", "no operator is named 'convolution'"),
        ("conv/dense", "conv/thick", "no form is named 'thick'"),
        ("stride = ", "strides = ", "no trait is named 'strides'. Did you mean stride"),
        ("max = 2", "most = 2", "no entry is named 'most'"),
        ('source = "me"', 'source = "you"', "names no source"),
        ('source = "me"', "", "names no source"),
        ('by = "vendor"', 'by = "hearsay"', "'by' one of vendor, community, measurement"),
        ('["int8"]', '["int7"]', "'int7' is not one of fp32, fp16, int8"),
        ('"accelerator"', '"toaster"', "kind is 'toaster'"),
        ("[[rule]]", "verdict = 3\n[[rule]]", "no entry is named 'verdict'"),
        ("[[rule]]", "[[rule", "not TOML"),
    ],
)
def test_file_that_can_not_be_meant_is_refused_by_name_and_entry(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(UsageError, match=re.escape(told)) as error:
        read_device(path)
    assert "mine.toml" in str(error.value)


def test_unknown_device_lists_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no target is named 'ethos'\. Did you mean ethos_u"):
        get_device("ethos")


@given(st.integers(-10, 100), st.integers(-10, 100), st.integers(-10, 100), st.integers(1, 8))
def test_limit_holds_for_a_tuple_exactly_where_it_holds_for_each(low: int, high: int, value: int, factor: int) -> None:
    limit = Limit("kernel", least=low, most=high, multiple=factor)
    assert limit.holds(value) == (low <= value <= high and value % factor == 0)
    assert limit.holds((value, high)) == (limit.holds(value) and limit.holds(high))
    assert limit.holds(None)  # what a node doesn't have breaks nothing
