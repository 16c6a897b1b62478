import pytest
import torch

from flyweight.blocks._squeeze_excite import SqueezeExcite, squeeze_excite, squeezed_width
from flyweight.errors import SpecError
from flyweight.spec import StageSpec, settings


def _stage(**chosen: float | int | str) -> StageSpec:
    return StageSpec("block2", "inverted_residual", 24, settings=settings(**chosen))


def test_squeezed_widths_of_mobilenet_v3_large_are_the_published_ones() -> None:
    expanded = (72, 120, 480, 672, 960)  # arXiv 1905.02244, table 1; slim counts 24, 32, 120, 168, 240
    assert [squeezed_width(width, 0.25, 8) for width in expanded] == [24, 32, 120, 168, 240]


def test_divisor_one_cuts_off_and_keeps_at_least_one() -> None:
    assert [squeezed_width(width, 0.25, 1) for width in (24, 27, 2)] == [6, 6, 1]


def test_parameters_are_two_biased_pointwise_convolutions() -> None:
    module = SqueezeExcite(72, 24, where="x")
    assert sum(p.numel() for p in module.parameters()) == 2 * 72 * 24 + 24 + 72


def test_every_channel_is_scaled_by_its_gate() -> None:
    module = SqueezeExcite(2, 1, where="x", gate="sigmoid")
    state = {**module.state_dict(), "expand.weight": torch.zeros(2, 1, 1, 1), "expand.bias": torch.tensor([0.0, 100.0])}
    module.load_state_dict(state)  # sigmoid of the biases: 0.5 and 1
    out = module(torch.ones(1, 2, 3, 3))
    assert out[0, :, 0, 0].tolist() == [0.5, 1.0]


def test_ratio_zero_means_none() -> None:
    assert squeeze_excite(_stage(se=0.0), 72, 72) is None


@pytest.mark.parametrize(
    "chosen", [{"se": -0.1}, {"se": 1.5}, {"se": 0.25, "se_divisor": 0}, {"se": 1, "se_gate": "x"}]
)
def test_settings_outside_their_range_are_errors_that_name_the_stage(chosen: dict[str, float | int | str]) -> None:
    with pytest.raises(SpecError, match=r"stage 'block2': .*(se|activation)"):
        squeeze_excite(_stage(**chosen), 72, 72)
