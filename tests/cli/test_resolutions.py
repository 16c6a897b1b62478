"""``flyweight profile --resolutions``."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from flyweight.cli import main

NET = """
import torch
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""


def test_sizes_that_fit_are_listed_and_the_present_one_marked(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    model = f"{tmp_path}/net.py:build"
    done = CliRunner().invoke(main, ["profile", model, "--no-time", "--resolutions", "--resolution", "30"])
    assert done.exit_code == 0, done.output
    table = [line.split() for line in done.output.splitlines()]
    assert ["12", "3×3", "9.0", "of", "9"] in [line[:5] for line in table]  # 3 · 2²
    assert ["30", "(now)", "8×8", "56.2", "of", "64"] in [line[:6] for line in table]  # (30 / 4)²
    assert ["36", "9×9", "81.0", "of", "81"] in [line[:5] for line in table]
