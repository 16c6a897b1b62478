import torch

from flyweight.build import build, feature_maps
from flyweight.zoo.tiny_yolov3 import tiny_yolov3


def test_poolings_halve_five_times_and_the_sixth_keeps_the_size() -> None:
    maps = feature_maps(tiny_yolov3())
    assert [maps[f"pool{n}"].height for n in range(1, 7)] == [208, 104, 52, 26, 13, 13]
    assert (maps["conv5"].channels, maps["conv5"].height) == (256, 26)


def test_the_last_pooling_looks_at_the_pixel_below_and_to_the_right() -> None:
    pool = build(tiny_yolov3(64)).encoder["pool6"]
    x = torch.tensor([[[[-4.0, -3.0], [-2.0, -5.0]]]])  # behind a leaky ReLU zeros of padding would win
    assert pool(x).tolist() == [[[[-2.0, -3.0], [-2.0, -5.0]]]]


def test_predictions_have_a_bias_and_everything_else_a_norm() -> None:
    with torch.device("meta"):
        network = build(tiny_yolov3())
    biased = [name for name, layer in network.named_modules() if getattr(layer, "kernel_size", 0) and _biased(layer)]
    assert biased == ["head.coarse_out", "head.fine_out"]


def _biased(layer: torch.nn.Module) -> bool:
    return isinstance(layer, torch.nn.Conv2d) and layer.bias is not None


def test_odd_and_small_sizes_run() -> None:
    from dataclasses import replace

    spec = tiny_yolov3(classes=2)
    spec = spec.replace(input=replace(spec.input, height=65, width=97))
    assert build(spec)(torch.zeros(1, 3, 65, 97)).shape == (1, 3 * (5 * 7 + 3 * 4), 7)
