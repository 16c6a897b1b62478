"""``flyweight profile file.py:function`` on modules that a user brings."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from flyweight.cli import main

NETS = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient

class Net(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 4, 1), function

    def forward(self, *args):
        return self.function(self, *args)

def halved(net, x):
    while x.shape[-1] > 4:
        x = F.max_pool2d(x, 2)
    return net.conv(x)

def dicts_out(): return Net(lambda net, x: {"map": net.conv(x), "more": (x, [net.conv(x)])})
def by_shape(): return Net(halved)
def shared(): return Net(lambda net, x: net.conv(net.conv(x)[:, :3]))
def normed(): return nn.Sequential(weight_norm(nn.Conv2d(3, 4, 1)))
def custom(): return Net(lambda net, x: Doubled.apply(net.conv(x)))
def dict_in(): return Net(lambda net, batch: net.conv(batch["image"]))
def two_in(): return TwoIn()
def by_value(): return Net(lambda net, x: net.conv(x) if x.sum() > 0 else x)
def wrapped(): return FromImage(dict_in())

class FromImage(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, image):
        return self.inner({"image": image})

class TwoIn(nn.Module):
    def forward(self, a, b):
        return a + b
"""
MACS = 3 * 4 * 8 * 8  # of the convolution on 8 x 8 pixels


def profiled(folder: Path, function: str) -> tuple[int, str]:
    (folder / "nets.py").write_text(NETS)
    model = f"{folder}/nets.py:{function}"
    done = CliRunner().invoke(main, ["profile", model, "--no-time", "--strict", "--resolution", "8"])
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("function", "macs", "params"),
    [("dicts_out", 2 * MACS, 16), ("by_shape", MACS // 4, 16), ("shared", 2 * MACS, 16), ("normed", MACS, 4 + 12 + 4),
     ("custom", MACS, 16), ("wrapped", MACS, 16)],
)  # fmt: skip
def test_modules_that_take_one_image_are_counted(function: str, macs: int, params: int, tmp_path: Path) -> None:
    code, output = profiled(tmp_path, function)
    shown = f"{macs}" if macs < 1000 else f"{macs / 1000:.2f} k"
    assert code == 0 and f"{shown} MACs, {params} parameters" in output, output


@pytest.mark.parametrize(
    ("function", "sentence"),
    [("dict_in", "whose module takes an image and calls yours"), ("two_in", "takes that and calls yours"),
     ("by_value", "Decide by shapes")],
)  # fmt: skip
def test_others_are_refused_with_what_to_do(function: str, sentence: str, tmp_path: Path) -> None:
    code, output = profiled(tmp_path, function)
    assert code == 2 and sentence in output, output
