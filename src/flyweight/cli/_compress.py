"""The options of ``flyweight compress``, and what it prints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flyweight.cli._pack import size
from flyweight.cli._tables import MISSING, print_table, say
from flyweight.errors import UsageError

if TYPE_CHECKING:
    from flyweight.compress import Compressed, Settings, Stage

COLUMNS = ("stage", "left", "%", "weight bits", "index bits", "kB", "ratio", "val %")
SHARED_RATE = 0.1  # of the rounds' learning rate, for centroids


def settings(chosen: Mapping[str, Any]) -> Settings:
    """Return what the options ask for."""
    from flyweight.compress import PRUNE_RECIPE, SHARE_RECIPE, Settings

    steps, shares, rate = chosen["steps"], chosen["share_steps"], chosen["learning_rate"]
    common = {"batch": chosen["batch"], "flips": chosen["flips"]}
    prune = replace(PRUNE_RECIPE, steps=steps, learning_rate=rate, warmup_steps=min(20, steps // 4), **common)
    share = replace(SHARE_RECIPE, steps=shares, learning_rate=SHARED_RATE * rate, warmup_steps=min(20, shares // 4),
                    **common)  # fmt: skip
    limit = chosen["max_bytes"]
    return Settings(
        densities=_densities(chosen["densities"]), max_drop=chosen["max_drop"], scope=chosen["scope"],
        start=chosen["start"], conv_bits=chosen["conv_bits"], fc_bits=chosen["fc_bits"],
        max_bytes=None if limit is None else size(limit), prune=prune, share=share, seed=chosen["seed"],
    )  # fmt: skip


def _densities(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--densities is {text!r}; write shares apart by commas: 0.5,0.3,0.1.") from error


def show(made: Compressed, folder: Path, as_json: bool) -> None:
    """Print the stage table and where the files are, or everything as JSON."""
    if as_json:
        click.echo(json.dumps(made.to_json(), indent=2))
        return
    print_table(COLUMNS, [_row(stage, made.float_bytes) for stage in made.stages])
    say()
    kb, float_kb = made.file_bytes / 1000, made.float_bytes / 1000
    say(f"{kb:,.1f} kB, {made.ratio:.1f}x smaller than {float_kb:,.1f} kB of float32; all of the file counted")
    say(
        f"{made.headline} on the test images: {100 * made.test_before:.2f} % before, "
        f"{100 * made.test_after:.2f} % from the file (measured)"
    )
    for line in made.refused:
        say(f"not taken, too much is lost: {line}")
    for name in ("model.fly", "report.html", "compress.json"):
        say(f"written: {folder / name}")


def _row(stage: Stage, float_bytes: int) -> list[str]:
    return [
        stage.name, f"{stage.left:,}", f"{100 * stage.left / stage.total:.1f}", f"{stage.weight_bits:.2f}",
        MISSING if stage.index_bits is None else f"{stage.index_bits:.2f}", f"{stage.bytes / 1000:,.1f}",
        f"{float_bytes / stage.bytes:.1f}x", MISSING if stage.metric is None else f"{100 * stage.metric:.2f}",
    ]  # fmt: skip
