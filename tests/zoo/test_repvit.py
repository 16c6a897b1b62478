import itertools

from flyweight.zoo.repvit import repvit


def test_every_second_block_of_a_stage_has_squeeze_and_excitation() -> None:
    spec = repvit("m0.9")
    for index, depth in enumerate((2, 2, 14, 2), start=1):
        chosen = [spec.stage(f"stage{index}_{number + 1}").setting("se", 0.0) for number in range(depth)]
        assert chosen == list(itertools.islice(itertools.cycle((0.25, 0.0)), depth))


def test_m09_has_the_sources_blocks_in_order() -> None:
    blocks = repvit("m0.9").stages[2:]
    # THU-MIG/RepViT model/repvit.py: 3 blocks of 48, 4 of 96, 16 of 192, 3 of 384, a strided one first in each but one
    assert [stage.out_channels for stage in blocks] == [48] * 3 + [96] * 4 + [192] * 16 + [384] * 3
    assert [index for index, stage in enumerate(blocks) if stage.stride == 2] == [3, 3 + 4, 3 + 4 + 16]
