"""``flyweight new``: a spec file to start an architecture of one's own from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flyweight.cli._architectures import facts, settings_text
from flyweight.cli._command import command, model_options
from flyweight.errors import UsageError

if TYPE_CHECKING:
    from flyweight.spec import ArchSpec

FIELDS: Mapping[str, str] = {
    "task": "classify, segment or detect; the head must fit it",
    "padding": "same: TensorFlow's, on an even size only right and bottom; symmetric: PyTorch's, on all sides",
    "norm_eps": "of every batch norm",
    "norm_momentum": "of every batch norm, in PyTorch's sense: 1 - decay",
    "divisor": "channels that a block or an edit computes are rounded to its multiples; 1: cut off, at least 8",
    "input": "pixels",
}


@command(
    "new",
    "flyweight new my_net.toml",
    "flyweight new my_net.toml --from mobilenet_v3_small_1.0 --resolution 160",
    "flyweight profile my_net.toml --no-time",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--from", "model", default="mobilenet_v2_1.0", metavar="MODEL", help="Architecture to start from.")
@model_options
@click.option("--force", is_flag=True, help="Overwrite FILE if it is there.")
def new(file: Path, model: str, resolution: int | None, classes: int | None, force: bool) -> None:
    """Write FILE.toml, an architecture to edit.

    It is that of MODEL, a line for each stage, with comments that say which
    blocks, settings and heads there are. The commands show, profile and export
    take the file as MODEL.
    """
    from flyweight import files, flow
    from flyweight.cli._tables import say

    if file.suffix != ".toml":
        raise UsageError(f"{file}: the file must end in .toml, by which the other commands know it: {file.stem}.toml.")
    if file.exists() and not force:
        raise UsageError(f"{file}: it is there already. Choose another name, or overwrite it with --force.")
    spec = flow.open_spec(model, resolution=resolution, classes=classes).replace(name=file.stem)
    files.write_text(file, commented(spec, model, file))
    say(f"{file}: {len(spec.stages)} stages, from {model}. Edit it, then: flyweight show {file}")


def commented(spec: ArchSpec, model: str, file: Path) -> str:
    """Return the spec as TOML with comments."""
    return "\n".join(_lines(spec, model, file)) + "\n"


def _lines(spec: ArchSpec, model: str, file: Path) -> Iterator[str]:
    yield from _introduction(model, file)
    for line in spec.dumps_toml().splitlines():
        if line == "stages = [":
            yield from _about_stages(spec)
        field = line.partition(" = ")[0]
        yield f"{line}  # {FIELDS[field]}" if field in FIELDS else line
        if line == "[head]":
            yield from _about_head(spec)


def _introduction(model: str, file: Path) -> Iterator[str]:
    name = _one_line(file.name)
    yield "# An architecture for Flyweight. Edit it, then:"
    for example in (f"show {name}", f"profile {name} --no-time", f"export {name} --to onnx"):
        yield f"#   flyweight {example}"
    yield f"# Made from {_one_line(model)}."
    for line in facts(model):
        yield f"#   {_one_line(line)}"
    yield ""


def _about_stages(spec: ArchSpec) -> Iterator[str]:
    from flyweight.blocks import BLOCKS
    from flyweight.blocks._layers import ACTIVATIONS

    yield "# A stage reads what the one before it gives: out_channels maps, height and width divided by stride."
    yield "# Settings that a stage leaves out are its block's (the other blocks: flyweight list blocks):"
    for name in dict.fromkeys(stage.block for stage in spec.stages):
        yield f"#   {name}: {settings_text(BLOCKS.members[name])}"
    yield f"# Activations: {', '.join(ACTIVATIONS)}."


def _about_head(spec: ArchSpec) -> Iterator[str]:
    from flyweight.blocks import BLOCKS

    yield "# What stands behind the last stage. Settings that it leaves out (the other heads: flyweight list blocks):"
    yield f"#   {spec.head.kind}: {settings_text(BLOCKS.members[spec.head.kind])}"


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


MEMBERS = {"new": new}
