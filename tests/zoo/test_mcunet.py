from flyweight.build import feature_maps
from flyweight.zoo.mcunet import MEMBERS


def test_the_last_block_is_pooled_and_classified_without_a_further_convolution() -> None:
    for entry in MEMBERS.values():
        assert entry.spec.stages[-1].block == "inverted_residual"
        assert entry.spec.head.widths == ()


def test_every_network_divides_the_input_by_32() -> None:
    for entry in MEMBERS.values():
        size = entry.spec.input.height
        assert list(feature_maps(entry.spec).values())[-1].height == -(-size // 32)
