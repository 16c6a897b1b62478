"""A small network with all that the ladder's networks are made of, and inputs for it."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flyweight.contracts import Candidate, Preprocessing, Quantization

SIZE = 32


class Small(nn.Module):
    """Padding as TensorFlow's, depthwise and pointwise layers, norms, a transposed convolution, a skip, a 1×1 layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 16, 3, 2, bias=False), nn.BatchNorm2d(16), nn.ReLU6()
        )
        self.depthwise = nn.Conv2d(16, 16, 3, 1, 1, groups=16)
        self.norm = nn.BatchNorm2d(16)
        self.pointwise = nn.Conv2d(16, 32, 1, 2)
        self.up = nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False)
        self.up_norm = nn.BatchNorm2d(16)
        self.skip = nn.Conv2d(16, 16, 1)
        self.last_up = nn.ConvTranspose2d(16, 8, 4, 2, 1)
        self.classify = nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, 3, 32, 32)`` to ``(n, 3, 32, 32)``."""
        early = self.stem(x)
        x = torch.relu(self.pointwise(torch.relu(self.norm(self.depthwise(early)))))
        x = torch.relu(self.up_norm(self.up(x)) + self.skip(early))
        out: Tensor = self.classify(torch.relu(self.last_up(x)))
        return out


def small(seed: int = 0) -> Candidate:
    """Return the network with statistics of its own, so that folding its norms is no formality."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = Small()
        with torch.no_grad():
            module.train()
            for _ in range(20):
                module(torch.randn(4, 3, SIZE, SIZE) * 2 + 1)
    shape = Preprocessing(SIZE, SIZE, (0.2, 0.3, 0.4), (0.1, 0.2, 0.3), ("sea", "land", "lake"))
    return Candidate(module.eval(), shape)


def images(count: int = 4, seed: int = 1) -> NDArray[np.float32]:
    """Return inputs ``(count, 3, 32, 32)``."""
    return (np.random.default_rng(seed).standard_normal((count, 3, SIZE, SIZE)) * 2 + 1).astype(np.float32)


def quantized(seed: int = 0) -> Candidate:
    """Return the network, to be quantized with eight inputs."""
    candidate = small(seed)
    return Candidate(candidate.module, candidate.preprocessing, quantization=Quantization(images(8)))


def outputs(candidate: Candidate, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return PyTorch's outputs."""
    with torch.no_grad():
        out: NDArray[np.float32] = candidate.module(torch.from_numpy(inputs)).numpy()
    return out


def signal_to_noise_db(wanted: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Return 10·log10 of the signal's over the difference's energy."""
    return float(10 * np.log10(np.square(wanted).sum() / np.square(wanted - found).sum()))
