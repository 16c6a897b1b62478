"""Findings on networks whose layers are said to take a microsecond for ten thousand MACs."""

from __future__ import annotations

import pytest

from flyweight.advise import Advice, advise, chosen, edited
from flyweight.contracts import LayerTime, LayerTimes
from flyweight.errors import UsageError
from flyweight.profile import Profile, profile_spec
from flyweight.spec import ArchSpec
from flyweight.zoo import ZOO


def spec(name: str) -> ArchSpec:
    found = ZOO.get(name).spec
    return found.replace(input=found.input.__class__(64, 64))


def times(profile: Profile) -> LayerTimes:
    sums: dict[str, int] = {}
    for row in profile.rows:
        sums[row.module] = sums.get(row.module, 0) + (row.macs or 0)
    rows = tuple(LayerTime(name, "Conv", name, macs / 1e4 + 1) for name, macs in sums.items() if macs)
    return LayerTimes("onnxruntime", "1", 1, 10, rows, run_us=sum(row.median_us for row in rows))


def advice(name: str) -> Advice:
    profile = profile_spec(spec(name))
    return advise(spec(name), profile, times(profile))


@pytest.fixture(scope="module")
def mobile() -> Advice:
    return advice("mobilenet_v3_small_1.0")


def test_findings_stand_by_what_they_buy(mobile: Advice) -> None:
    gains = [finding.gain_ms for finding in mobile.findings]
    assert gains == sorted(gains, reverse=True)
    assert min(gains) >= 0.02 * mobile.time_ms


def test_macs_and_bytes_are_those_of_the_edited_network(mobile: Advice) -> None:
    before = profile_spec(spec("mobilenet_v3_small_1.0"))
    for finding in mobile.findings[:5]:
        after = profile_spec(edited(spec("mobilenet_v3_small_1.0"), finding.edits))
        assert (finding.macs, finding.bytes) == (before.macs - after.macs, before.param_bytes - after.param_bytes)


def test_where_time_follows_macs_the_predicted_gain_does_too(mobile: Advice) -> None:
    for finding in mobile.findings:
        assert finding.gain_ms * 1e7 == pytest.approx(finding.macs, rel=0.35, abs=2.5e5)  # 1 µs a kernel, too
        assert finding.low_ms <= finding.gain_ms <= finding.high_ms


def test_every_finding_says_where_and_why(mobile: Advice) -> None:
    assert all(finding.layers and finding.words and "%" in finding.reason for finding in mobile.findings)


def test_of_each_idea_the_mildest_form_that_reaches_the_target_is_chosen(mobile: Advice) -> None:
    mild = chosen(mobile.findings, target_ms=0.99 * mobile.time_ms)
    strong = chosen(mobile.findings, target_ms=0.0)
    assert len({(f.idea, f.layers) for f in strong}) == len(strong)
    size = {f.idea: f.gain_ms for f in strong}
    assert all(f.gain_ms <= size[f.idea] for f in mild if f.idea == "resolution")


def test_a_decoder_is_advised_upon_and_skips_are_for_accuracy_alone() -> None:
    found = chosen(advice("mobilenet_v1_deconv").findings)
    assert any(finding.idea == "decoder" and finding.gain_ms > 0 for finding in found)
    assert [finding.idea for finding in found if finding.wins] == ["skips"]


def test_without_measured_kernels_there_is_no_advice() -> None:
    profile = profile_spec(spec("mobilenet_v3_small_1.0"))
    with pytest.raises(UsageError, match="advice needs measured layers"):
        advise(spec("mobilenet_v3_small_1.0"), profile, LayerTimes("onnxruntime", "1", 1, 1, (), 0.0))
