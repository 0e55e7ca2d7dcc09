"""Requests in progress: a repeat waits for the first one instead of running beside it.

This only saves work. The ledger decides what was done, from however many processes the requests come.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from billvend.domain.errors import RequestInProgress

LOCK_TIMEOUT_SECONDS = 5.0


class KeyedLock:
    """Locks by key, within this process."""

    def __init__(self, *, timeout_seconds: float = LOCK_TIMEOUT_SECONDS) -> None:
        self._timeout_seconds = timeout_seconds
        self._locked_keys: set[tuple[str, str, str]] = set()
        self._changed = threading.Condition()

    @contextmanager
    def acquire(self, operation: str, user_id: str, idempotency_key: str | None) -> Iterator[None]:
        """Be the only request of this process that runs with this key. Without a key there is no lock.

        Raises `RequestInProgress` when the wait takes longer than `timeout_seconds`.
        """
        if idempotency_key is None:
            yield
            return
        key = (operation, user_id, idempotency_key)
        with self._changed:
            if not self._changed.wait_for(lambda: key not in self._locked_keys, self._timeout_seconds):
                raise RequestInProgress
            self._locked_keys.add(key)
        try:
            yield
        finally:
            with self._changed:
                self._locked_keys.discard(key)
                self._changed.notify_all()
