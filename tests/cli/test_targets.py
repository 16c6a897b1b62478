"""flyweight targets: devices, one network on all, its layers on one; and the filters of flyweight list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flyweight.cli import main
from flyweight.device import device_names, get_device
from flyweight.placement import place
from flyweight.profile import profile_spec
from flyweight.transforms import TRANSFORMS
from flyweight.zoo import ZOO

NETWORK = "mobilenet_v3_small_1.0"


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [*map(str, args)], prog_name="flyweight")


def test_without_a_model_every_device_is_listed_and_with_a_name_its_rules_and_sources() -> None:
    lines = run("targets").stdout.splitlines()
    assert [line.split()[0] for line in lines[1 : len(device_names()) + 1]] == list(device_names())
    told = run("targets", "--target", "ethos_u").stdout
    device = get_device("ethos_u")
    for source in device.sources.values():
        assert source.text in told
    assert "stride at most 3" in told
    assert "an operator without a rule: fallback" in told


def test_a_network_gets_an_answer_on_every_device() -> None:
    lines = run("targets", NETWORK).stdout.splitlines()
    answers = {line.split()[0]: line for line in lines if line.split()[:1] and line.split()[0] in device_names()}
    assert set(answers) == set(device_names())
    assert " yes " in answers["ethos_u"]
    assert "19 hardswish: fallback" in answers["edge_tpu"]


def test_one_device_shows_the_cut_the_reason_the_source_and_the_fix() -> None:
    told = run("targets", NETWORK, "--target", "amd_dpu").stdout
    assert "9 fall back to the Arm cores beside the FPGA, of 127 layers" in told
    assert "19 parts" in told  # nine products between ten parts
    assert "`set_squeeze_excite` ratio=0" in told
    assert "[pytorch] AMD UG1414 3.5, Operators Supported by PyTorch (vendor)" in told
    assert told.count("encoder.block1.se ") >= 2  # first and last layer of its part
    every = run("targets", NETWORK, "--target", "amd_dpu", "--all").stdout
    assert every.count("two maps of unequal shapes") == 9


def test_json_has_every_layer_and_strict_ends_with_three(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    result = run("targets", NETWORK, "--target", "edge_tpu", "--json", path, "--strict")
    assert result.exit_code == 3
    assert result.stderr == "Error: not every layer runs natively on edge_tpu.\n"
    found = json.loads(path.read_text())["targets"][0]
    assert (found["target"], found["wholly_native"], len(found["layers"])) == ("edge_tpu", False, 127)
    assert sum(len(part["layers"]) for part in found["parts"]) == 127
    assert run("targets", NETWORK, "--target", "ethos_u", "--strict").exit_code == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--strict",), "--strict needs a MODEL."),
        ((NETWORK, "--target", "etos_u"), "no target is named 'etos_u'. Did you mean ethos_u"),
        ((NETWORK, "--target", "ethos_u", "--precision", "fp32"), "ethos_u computes in int8, not in fp32."),
    ],
)
def test_what_can_not_be_asked_says_why(args: tuple[str, ...], message: str) -> None:
    result = run("targets", *args)
    assert result.exit_code == 2
    assert message in result.stderr


def test_width_that_the_alignment_proposes_aligns() -> None:
    told = run("targets", "mobilenet_v2_1.0", "--target", "hexagon_htp").stdout
    assert "`scale_width` factor=1 divisor=32 aligns them" in told
    scale: Any = TRANSFORMS.get("scale_width")
    spec, device = ZOO.get("mobilenet_v2_1.0").spec, get_device("hexagon_htp")
    before = place(profile_spec(spec).graph, device)
    after = place(profile_spec(scale(stages=(), factor=1.0, divisor=32).edit(spec)).graph, device)
    assert len(before.unaligned) == 9
    assert after.unaligned == ()


def test_list_has_what_runs_wholly_on_a_target_and_nothing_else() -> None:
    lines = run("list", "architectures", "mobilenet_v[123]*", "--max-macs", "60M", "--target", "edge_tpu", "-q")
    found = {line.split()[0] for line in lines.stdout.splitlines()[1:]}
    assert "mobilenet_v3_small_1.0" not in found  # hard swish
    assert found >= {"mobilenet_v1_0.25_224", "mobilenet_v2_0.35_96", "mobilenet_v3_small_minimalistic_1.0"}
    for name in found:
        assert place(profile_spec(ZOO.get(name).spec).graph, get_device("edge_tpu")).wholly_native


def test_list_by_tier_leaves_out_what_is_for_larger_hardware() -> None:
    def listed(tier: int) -> set[str]:
        lines = run("list", "architectures", "mobilenet_v*", "--max-macs", "60M", "--tier", tier, "-q").stdout
        return {line.split()[0] for line in lines.splitlines()[1:]}

    small, large = listed(2), listed(5)
    assert "mobilenet_v2_0.35_96" in small & large
    assert "mobilenet_v3_small_1.0" in large - small  # squeeze-and-excitation and 5×5 kernels


def test_list_refuses_an_unknown_target_and_one_for_other_kinds() -> None:
    assert "no target is named 'npu'" in run("list", "architectures", "--target", "npu").stderr
    assert "--target ncnn chooses among architectures" in run("list", "runtimes", "--target", "ncnn").stderr
