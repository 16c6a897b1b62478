"""The worker in a runtime's own environment: ``python -m flyweight.runtimes._elsewhere_worker``.

Answers one frame per frame. It ends as soon as its input closes, also in the middle of a conversion: so it never
outlives the process that asked.
"""

from __future__ import annotations

import importlib
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from flyweight.runtimes import _frames
from flyweight.runtimes._elsewhere import PROTOCOL
from flyweight.runtimes._frames import Arrays

Task = Callable[[Mapping[str, Any], Arrays], tuple[Mapping[str, Any], Arrays]]
TASKS = {"litert": "flyweight.runtimes._litert_tasks", "executorch": "flyweight.runtimes._executorch_tasks"}


def tasks_of(runtime: str) -> Mapping[str, Task]:
    """Return what a runtime's tasks are; its own packages are imported by the tasks, not here."""
    found: Mapping[str, Task] = importlib.import_module(TASKS[runtime]).TASKS
    return found


def answered(tasks: Mapping[str, Task], request: Mapping[str, Any], arrays: Arrays) -> tuple[Mapping[str, Any], Arrays]:
    """Do one task; what a converter raises is an answer too, since the next network may be sound."""
    try:
        return tasks[request["task"]](request, arrays)
    except Exception as error:  # whatever a converter raises
        traceback.print_exc()
        text = " ".join(str(error).split())
        return {"error": f"can't do it: {type(error).__name__}: {text[:600]}"}, {}


def _listen(stream: BinaryIO, requests: queue.SimpleQueue[tuple[dict[str, Any], Arrays]]) -> None:
    try:
        while True:
            requests.put(_frames.read(stream))
    except EOFError:
        os._exit(0)  # the asking process is gone, or done; nothing here needs saving
    except _frames.FrameError as error:
        print(f"a request can't be read: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def main() -> None:
    """Answer requests until the input closes."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a runtime prints must not mix with the answers
    requests: queue.SimpleQueue[tuple[dict[str, Any], Arrays]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, requests), daemon=True).start()
    tasks: Mapping[str, Task] = {}
    try:
        while True:
            request, arrays = requests.get()
            if request["task"] == "hello":
                tasks = tasks_of(request["runtime"])
                _frames.write(answers, {"protocol": PROTOCOL})
            else:
                _frames.write(answers, *answered(tasks, request, arrays))
    except BaseException:  # told by the other side as this process's last words
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # an orderly end would wait for the thread that listens


if __name__ == "__main__":
    main()
