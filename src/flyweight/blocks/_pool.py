"""Max and average pooling with the spec's padding, for the blocks that pool inside."""

from __future__ import annotations

from torch import nn

from flyweight.blocks._layers import AS_SPEC, FeatureMap, same_padding
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec

KINDS = ("max", "avg")


def pool(
    kind: str,
    inputs: FeatureMap,
    spec: ArchSpec,
    *,
    where: str,
    kernel: int = 3,
    stride: int = 1,
    padding: int = AS_SPEC,
) -> nn.Module:
    """Return a pooling layer: ``(n, C, h, w)`` to ``(n, C, ⌈h/stride⌉, ⌈w/stride⌉)``, less if ``padding`` is 0.

    Padding never is a maximum. In an average it counts as zeros with symmetric padding, as PyTorch has it, and does not
    count with 'same', as TensorFlow has it. An even kernel has one pixel more of 'same' padding behind than before.

    Raises:
        SpecError: an unknown kind, an even kernel under symmetric padding (an average also under 'same', where windows
            overlap), or no window fits; names the stage.
    """
    if kind not in KINDS:
        raise SpecError(f"{where}: '{kind}' is no pooling; allowed are {' and '.join(KINDS)}.")
    ceil, own = False, (padding, padding)
    if padding != AS_SPEC:
        inputs.windowed(1, kernel, stride, padding, where=where)
    elif kernel % 2 == 0 and (spec.padding == "symmetric" or (kind == "avg" and stride < kernel)):
        raise SpecError(f"{where}: pooling {kernel}x{kernel} that keeps the size needs an odd kernel. Use 3.")
    elif spec.padding == "symmetric":
        own = (kernel // 2, kernel // 2)
    else:
        pads = [same_padding(size, kernel, stride) for size in (inputs.height, inputs.width)]
        if kernel % 2 == 0 and stride < kernel:
            # Pixels repeated at the border can't win either: a window that holds one holds the border's own too.
            return nn.Sequential(nn.ReplicationPad2d((*pads[1], *pads[0])), nn.MaxPool2d(kernel, stride))
        # One pixel more behind than before: a last window that begins inside and ends outside, which ceil_mode keeps.
        own, ceil = (pads[0][0], pads[1][0]), any(before < after for before, after in pads)
    if kind == "max":
        return nn.MaxPool2d(kernel, stride, own, ceil_mode=ceil)
    return nn.AvgPool2d(kernel, stride, own, ceil_mode=ceil, count_include_pad=spec.padding == "symmetric")
