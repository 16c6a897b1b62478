"""What every runtime's own environment does with a file: load it, and run one image after the other.

Runs in the worker only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from flyweight.runtimes._frames import Arrays


class Net(Protocol):
    """A file that a runtime has loaded."""

    def run(self, image: Any) -> Any:
        """Return the output for one image ``(1, C, H, W)``."""


class Loaded:
    """The file that this process has loaded, one at a time; ``open_net`` of path, threads, input and output shape."""

    def __init__(self, open_net: Callable[[Path, int, tuple[int, ...], tuple[int, ...]], Net]) -> None:
        self._open_net = open_net
        self._net: Net | None = None

    def load(self, message: Mapping[str, Any], _: Arrays) -> tuple[Mapping[str, Any], Arrays]:
        """Load a file from the path that is told."""
        shapes = tuple(message["input_shape"]), tuple(message["output_shape"])
        self._net = self._open_net(Path(message["path"]), message["threads"], *shapes)
        return {}, {}

    def run(self, _: Mapping[str, Any], arrays: Arrays) -> tuple[Mapping[str, Any], Arrays]:
        """Return the output for one image ``(1, C, H, W)``."""
        if self._net is None:
            raise ValueError("nothing is loaded")
        return {}, {"output": self._net.run(arrays["input"])}
