"""A call on a thread of its own, so that its caller can stop waiting."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def start_daemon_call(call: Callable[[], T], *, name: str) -> Future[T]:
    """Start `call` on a thread of its own. The future gets its result, or the error that it raised.

    The thread is a daemon, so a server that does not answer cannot keep the process alive.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - the reader of the future gets it
            outcome.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return outcome
