from flyweight.zoo._inverted import coded
from flyweight.zoo.proxylessnas import proxylessnas_mobile


def test_a_code_says_kernel_stride_expansion_and_width() -> None:
    first, second = coded("k3s1e1:16 k7s2e6:192")
    assert (first.name, first.setting("kernel", 0), first.stride, first.out_channels) == ("block1", 3, 1, 16)
    assert (second.name, second.setting("expand", 0.0), second.stride, second.out_channels) == ("block2", 6.0, 2, 192)


def test_each_of_the_four_reductions_uses_a_large_kernel() -> None:
    blocks = [stage for stage in proxylessnas_mobile().stages if stage.block == "inverted_residual"]
    assert [stage.setting("kernel", 0) for stage in blocks if stage.stride == 2] == [5, 7, 7, 7]
