import torch
from torch import nn

from flyweight.blocks.deconv_decoder import bilinear_start


def test_bilinear_start_upsamples_a_constant_to_a_constant() -> None:
    conv = nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1, bias=False)
    torch.manual_seed(0)
    bilinear_start(conv)
    out = conv(torch.ones(1, 1, 6, 6))[0, 0, 1:-1, 1:-1]
    assert torch.allclose(out, out[0, 0].expand_as(out), atol=1e-6)
    assert out[0, 0] != 0
