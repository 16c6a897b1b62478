from flyweight.build import build
from flyweight.zoo.mnasnet import MEMBERS, mnasnet_a1, mnasnet_b1


def test_squeezed_widths_of_a1_are_a_quarter_of_the_blocks_input() -> None:
    network = build(mnasnet_a1())
    squeezed = [p.shape[0] for key, p in network.named_parameters() if key.endswith("se.reduce.weight")]
    # inputs: 24, 40, 40 | 80, 112 | 112, 160, 160 (arXiv 1807.11626, figure 7)
    assert squeezed == [6, 10, 10, 20, 28, 28, 40, 40]


def test_b1_has_no_squeeze_and_excitation() -> None:
    assert not any("se" in dict(stage.settings) for stage in mnasnet_b1().stages)


def test_activations_are_relu_throughout() -> None:
    for entry in MEMBERS.values():
        assert {stage.setting("activation", "") for stage in entry.spec.stages} == {"relu"}


def test_last_convolution_is_1280_wide_at_every_width() -> None:
    assert {entry.spec.stages[-1].out_channels for entry in MEMBERS.values()} == {1280}
