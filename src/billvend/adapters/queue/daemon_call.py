"""A call on a thread of its own, so that its caller can stop waiting."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def start_daemon_call(call: Callable[[], T], *, name: str, outcome: Future[T] | None = None) -> Future[T]:
    """Start `call` on a thread of its own. The future gets its result, or the error that it raised.

    The thread is a daemon, so a server that does not answer cannot keep the process alive. A caller that passes the
    future has it even if Ctrl-C interrupts this function. A future that is cancelled first means no call.
    """
    outcome = Future() if outcome is None else outcome

    def run() -> None:
        if not outcome.set_running_or_notify_cancel():
            return
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - the reader of the future gets it
            outcome.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return outcome
