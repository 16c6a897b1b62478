"""Files that are never half-written: write to a temporary name beside the target, then rename.

A process killed at any moment leaves the old file or the new one, and at most a ``*.part`` beside it, which the
next write of the same file replaces.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flyweight.errors import FileError

_REASONS = {
    errno.ENOSPC: "the disk is full. Free some space, or choose another folder",
    errno.EDQUOT: "your disk quota is used up. Free some space, or choose another folder",
    errno.EROFS: "the file system is read-only. Choose another folder",
    errno.EPERM: "the system does not allow it. Choose another folder",
    errno.EACCES: "permission denied. Choose a folder you may write to",
    errno.EEXIST: "a part of the path is a file, not a folder. Choose another path",
    errno.ENOTDIR: "a part of the path is a file, not a folder. Choose another path",
    errno.EISDIR: "it is a folder, not a file. Choose another path",
    errno.ENOENT: "it does not exist. Check the path",
}


def file_error(path: Path, doing: str, error: OSError) -> FileError:
    """Turn an ``OSError`` into a sentence that names the file, the reason and the way out."""
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return FileError(f"{path}: can't {doing}: {reason}.")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is flushed to disk and renamed to ``path``.

    Raises:
        FileError: the folder can't be written to, or the disk is full; ``path`` is then as it was.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with open(part, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(part, path)
    except OSError as error:
        _discard(part)
        raise file_error(path, "write", error) from error
    except BaseException:
        _discard(part)
        raise


def _discard(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError as error:  # the first error is the one worth reading; say that something stayed behind
        if error.errno not in (errno.EROFS, errno.EACCES, errno.ENOTDIR):
            raise


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder, so that no other process works in it; a process that dies lets go. Windows: not held.

    Raises:
        FileError: another process holds it, or it can't be written to.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = open(path, "wb")  # noqa: SIM115  the lock lives as long as the handle
    except OSError as error:
        raise file_error(path, "write", error) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FileError(
                f"{folder}: another process is at work there. Wait for it, or choose another --out."
            ) from error
        except OSError as error:  # a file system without locks
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise file_error(path, "lock", error) from error
        yield


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` wholly or not at all."""
    with replacing(path) as part:
        part.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` wholly or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON to ``path`` wholly or not at all; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_bytes(path: Path, max_bytes: int = 2**31) -> bytes:
    """Read a file after checking its size.

    Raises:
        FileError: missing, unreadable or larger than ``max_bytes``.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise FileError(f"{path}: {size} bytes, but at most {max_bytes} are read. Is it the right file?")
        return path.read_bytes()
    except OSError as error:
        raise file_error(path, "read", error) from error


def read_json(path: Path, max_bytes: int = 2**28) -> Any:
    """Read a JSON file.

    Raises:
        FileError: missing, too large, or not JSON.
    """
    data = read_bytes(path, max_bytes)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:  # ValueError: not UTF-8, not JSON, or a number of too many digits
        raise FileError(f"{path}: not readable as JSON ({error}). Restore it, or delete it to make it anew.") from error


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise file_error(path, "read", error) from error
    return digest.hexdigest()
