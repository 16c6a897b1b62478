"""Architectures on the command line: listed by what they cost, shown with their sources, written as files to edit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flyweight.cli import main
from flyweight.cli.new import commented
from flyweight.profile import profile_spec
from flyweight.spec import ArchSpec
from flyweight.zoo import ZOO

SMALL = "mobilenet_v1_0.25_128"


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args], prog_name="flyweight")


def listed(*args: object) -> list[str]:
    result = run("list", "architectures", *args)
    assert result.exit_code == 0, result.stderr
    return [line.split()[0] for line in result.stdout.splitlines()[1:]]


def test_every_architecture_is_listed_with_what_was_published_of_it() -> None:
    lines = run("list", "architectures").stdout.splitlines()
    assert lines[0].split() == ["architectures", "task", "input", "params", "MACs", "top-1", "%"]
    assert [line.split()[0] for line in lines[1:]] == sorted(ZOO.origins)
    line = next(line for line in lines if line.startswith(f"{SMALL} "))
    assert line.split() == [SMALL, "classify", "3x128x128", "470", "k", "13.6", "M", "41.5"]


def test_listing_architectures_loads_no_torch() -> None:
    code = (
        "import sys; from flyweight.cli import main\n"
        "try: main(['list', 'architectures'])\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_filters_choose_by_pattern_size_and_family_together() -> None:
    found = listed("mobilenet_v?_*", "--resolution", 128, "--family", "mobilenet_v2")
    assert found == [name for name in sorted(ZOO.origins) if name.startswith("mobilenet_v2_") and name.endswith("_128")]
    assert len(found) == 4  # at widths 0.35, 0.5, 0.75 and 1.0


def test_limits_hold_for_every_figure_listed() -> None:
    found = listed("mobilenet_v1_*", "--max-macs", "49.2M", "--max-params", "1M")
    assert found == [name for name in sorted(ZOO.origins) if name.startswith("mobilenet_v1_0.25_")]  # 0.5 at 128: 1.3 M


def test_figure_that_was_not_published_is_counted_for_a_limit_and_marked() -> None:
    spec = ZOO.get("mobilenet_v1_deconv").spec
    assert ZOO.get("mobilenet_v1_deconv").macs is None
    counted = profile_spec(spec).macs
    lines = run("list", "architectures", "mobilenet_v1_deconv", "--max-macs", str(counted)).stdout.splitlines()
    assert lines[1].split()[-2].endswith("*")
    below = run("list", "architectures", "mobilenet_v1_deconv", "--max-macs", str(counted - 1))
    assert (below.exit_code, below.stdout) == (2, "")


def test_task_leaves_only_networks_of_that_task() -> None:
    assert {ZOO.get(name).spec.task for name in listed("--task", "segment")} == {"segment"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("architectures", "mobilenet_v9*"), "no architecture fits 'mobilenet_v9*'. See all of them"),
        (("architectures", "--max-params", "10"), "no architecture fits --max-params 10."),
        (
            ("architectures", "--family", "mobilenet_v22"),
            "no family is named 'mobilenet_v22'. Did you mean mobilenet_v2",
        ),
        (("architectures", "--max-macs", "many"), "'many' is not a number such as 300M"),
        (("architectures", "--max-macs", "-1M"), "'-1M' is not a number such as 300M"),
        (("architectures", "--task", "sort"), "'sort' is not one of 'classify'"),
        (("runtimes", "--task", "classify"), "--task classify chooses among architectures. Use: flyweight list arch"),
        (("--max-macs", "3M"), "chooses among architectures"),
        (("runtimes", "x*"), "none of the runtimes is named like 'x*'"),
    ],
)
def test_what_can_not_be_listed_says_why(args: tuple[str, ...], message: str) -> None:
    result = run("list", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_pattern_chooses_among_other_kinds_too() -> None:
    lines = run("list", "transforms", "scale_*").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["transforms", "scale_depth", "scale_width"]


def test_blocks_are_listed_with_their_settings() -> None:
    lines = run("list", "blocks").stdout.splitlines()
    assert (
        next(line for line in lines if line.startswith("separable "))
        .split(maxsplit=1)[1]
        .startswith('settings: activation = "relu6", kernel = 3')
    )
    assert "pool_classifier" in [line.split()[0] for line in lines if " head; " in line]


def test_show_tells_published_figures_and_their_source() -> None:
    lines = run("show", "xception").stdout.splitlines()
    entry = ZOO.get("xception")
    assert lines[1].startswith(f"published: {entry.params:,} parameters")
    assert f"top-1 {entry.top1:g} % on ImageNet" in lines[1]
    assert lines[2:4] == [f"source: {entry.source}", f"source of top-1: {entry.top1_source}"]


@pytest.mark.parametrize(("option", "read"), [("--json", ArchSpec.loads), ("--toml", ArchSpec.loads_toml)])
def test_show_as_text_is_the_spec(option: str, read: object) -> None:
    assert callable(read)
    assert read(run("show", SMALL, option).stdout) == ZOO.get(SMALL).spec


def test_show_as_both_is_wrong_use() -> None:
    assert run("show", SMALL, "--json", "--toml").exit_code == 2


def test_new_file_is_shown_profiled_and_exported(tmp_path: Path) -> None:
    file = tmp_path / "my_net.toml"
    made = run("new", file, "--from", SMALL, "--resolution", 64, "--classes", 7)
    assert made.exit_code == 0, made.stderr
    spec = ArchSpec.loads_toml(file.read_text())
    assert spec == ZOO.get(SMALL).spec.replace(name="my_net", classes=7, input=type(spec.input)(64, 64))
    assert "my_net: classify, 7 classes, input 3x64x64" in run("show", file).stdout
    assert "my_net.toml, input 3x64x64: " in run("profile", file, "--no-time").stdout
    exported = run("export", file, "--to", "onnx", "--out", tmp_path / "out")
    assert exported.exit_code == 0, exported.stderr
    assert (tmp_path / "out" / "fp32" / "onnxruntime" / "model.onnx").is_file()


def test_new_from_a_file_by_hand_goes_on_from_it(tmp_path: Path) -> None:
    run("new", tmp_path / "first.toml", "--from", SMALL)
    text = (tmp_path / "first.toml").read_text()
    (tmp_path / "first.toml").write_text(text.replace("out_channels = 64,", "out_channels = 80,"))
    run("new", tmp_path / "second.toml", "--from", tmp_path / "first.toml")
    spec = ArchSpec.loads_toml((tmp_path / "second.toml").read_text())
    assert (spec.name, spec.stage("conv3_1").out_channels) == (
        "second",
        ZOO.get(SMALL).spec.stage("conv3_1").out_channels,
    )
    assert spec.stages == ArchSpec.loads_toml((tmp_path / "first.toml").read_text()).stages


def test_new_does_not_overwrite_unless_it_is_told_to(tmp_path: Path) -> None:
    file = tmp_path / "my_net.toml"
    file.write_text("mine")
    refused = run("new", file)
    assert (refused.exit_code, file.read_text()) == (2, "mine")
    assert "my_net.toml: it is there already. Choose another name, or overwrite it with --force." in refused.stderr
    assert run("new", file, "--force").exit_code == 0
    assert ArchSpec.loads_toml(file.read_text()).name == "my_net"
    assert list(tmp_path.iterdir()) == [file]  # nothing half-written beside it


@pytest.mark.parametrize("name", ["my_net.json", "my_net"])
def test_new_file_of_another_kind_is_refused(name: str, tmp_path: Path) -> None:
    result = run("new", tmp_path / name)
    assert result.exit_code == 2
    assert "the file must end in .toml" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(ZOO.origins))
def test_comments_leave_every_architecture_as_it_is(name: str) -> None:
    spec = ZOO.get(name).spec
    assert ArchSpec.loads_toml(commented(spec, name, Path("net.toml"))) == spec


def test_comments_hold_whatever_the_names_hold() -> None:
    spec = ZOO.get(SMALL).spec.replace(name="a\nstages = [\n[head]")
    assert ArchSpec.loads_toml(commented(spec, "b\nc = 1\x00", Path("d\ne = 1.toml"))) == spec
