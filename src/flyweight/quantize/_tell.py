"""How far quantization has got, told to whoever asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Tell = Callable[[str, int, int], None]  # what is done, and how many parts of it, of how many
_TELL: ContextVar[Tell | None] = ContextVar("tell", default=None)
Part = TypeVar("Part")


@contextmanager
def telling(tell: Tell) -> Iterator[None]:
    """Have every step within tell what it does and how many parts are done, of how many: 0 first, all last."""
    token = _TELL.set(tell)
    try:
        yield
    finally:
        _TELL.reset(token)


def told(what: str, parts: Iterable[Part]) -> Iterator[Part]:
    """Yield the parts of a step one after the other, and tell of each when it is done."""
    listed = list(parts)
    tell = _TELL.get()
    if tell is None or not listed:
        yield from listed
        return
    tell(what, 0, len(listed))
    for done, part in enumerate(listed, 1):
        yield part
        tell(what, done, len(listed))
