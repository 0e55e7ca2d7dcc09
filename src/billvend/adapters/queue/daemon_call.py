"""Waiting no longer than one wants to."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def start_daemon_call(call: Callable[[], T], *, name: str) -> Future[T]:
    """Start `call` on a thread of its own. The future has its result, or what it raised.

    The thread is a daemon: no process lingers because a server does not answer.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - whoever waits for the future gets it
            outcome.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return outcome
