"""Requests in progress: a repeat waits for the first one instead of running beside it.

This only saves work. The ledger decides what was done, from however many processes the requests come.
"""

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from billvend.domain.errors import RequestInProgress

LOCK_TIMEOUT_SECONDS = 5.0


class KeyedLock:
    """Locks by key, within this process."""

    def __init__(self, *, timeout_seconds: float = LOCK_TIMEOUT_SECONDS) -> None:
        self._timeout_seconds = timeout_seconds
        self._locked_keys: set[Hashable] = set()
        self._changed = threading.Condition()

    @contextmanager
    def acquire(self, key: Hashable) -> Iterator[None]:
        """Hold the lock of a key. Raises `RequestInProgress` when the wait takes longer than `timeout_seconds`."""
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
