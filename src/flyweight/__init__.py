"""Flyweight: find out where a small CNN spends its time, memory and bytes, cut there, and prove what is left.

The public names are loaded on first use, so that ``import flyweight`` stays light (it does not import torch).
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# public name -> the module that holds it
_PUBLIC = {
    "ArchSpec": "flyweight.spec",
    "StageSpec": "flyweight.spec",
    "Candidate": "flyweight.contracts",
    "FlyweightError": "flyweight.errors",
    "build": "flyweight.build",
    "trace": "flyweight.trace",
    "profile": "flyweight.profile",
    "slim": "flyweight.flow",
    "export": "flyweight.flow",
    "load_report": "flyweight.report",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"flyweight has no '{name}'. It has: {', '.join(sorted(_PUBLIC))}.")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
