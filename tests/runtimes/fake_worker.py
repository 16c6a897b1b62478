"""A worker that misbehaves: ``python fake_worker.py HOW``. It needs nothing but Python."""

import json
import struct
import sys
import time

HEAD = struct.Struct("<4sQ")


def frame(message: dict[str, object], arrays: list[dict[str, object]] | None = None) -> bytes:
    text = json.dumps({"message": message, "arrays": arrays or []}).encode()
    return HEAD.pack(b"FWF1", len(text)) + text


def answer(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def request() -> dict[str, object]:
    magic, length = HEAD.unpack(sys.stdin.buffer.read(HEAD.size))
    assert magic == b"FWF1"
    return dict(json.loads(sys.stdin.buffer.read(length))["message"])


def main(how: str) -> None:
    assert request()["task"] == "hello"
    if how == "silent at the start":
        time.sleep(60)
    answer(frame({"protocol": 2 if how == "wrong version" else 1}))
    request()
    if how == "dies":
        print("converter: segment not found", file=sys.stderr)
        sys.exit(7)
    if how == "killed":
        import os
        import signal

        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "truncated":
        whole = frame({}, [{"name": "file", "dtype": "uint8", "shape": [1000]}])
        answer(whole + bytes(10))
    if how == "huge":
        answer(frame({}, [{"name": "file", "dtype": "float32", "shape": [25_000_000_000]}]))
        time.sleep(60)
    if how == "not a frame":
        answer(b"Traceback (most recent call last)")
        time.sleep(60)
    if how == "pickle":
        answer(frame({}, [{"name": "file", "dtype": "object", "shape": [1]}]))
        time.sleep(60)
    if how == "refuses":
        answer(frame({"error": "can't do it: ValueError: no such operator"}))
    if how == "slow":
        time.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1])
