"""Int8 of MobileNetV2 with its ImageNet weights, in four runtimes: ours beside each one's own quantizers.

    python -m benchmarks.int8_mobilenet_v2 --weights DIR --stamps DIR --models DIR --nncf PYTHON --litert PYTHON
    python -m benchmarks.int8_mobilenet_v2 --times --models DIR --litert PYTHON

As ``int8_lite0.py``, which see. Writes ``benchmarks/results/int8_mobilenet_v2.json``.
"""

from __future__ import annotations

import sys

from benchmarks.int8_lite0 import main

NETWORK = ("mobilenet_v2_1.0", "mobilenet_v2-b0353104.pth", "torchvision")

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], "int8_mobilenet_v2", NETWORK))
