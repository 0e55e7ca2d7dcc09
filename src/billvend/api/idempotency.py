"""Requests under way: a repeat waits for the first one instead of doing its work beside it.

The books decide what was done, whoever asks and from how many processes at once; this spares the work, and the wait
has an end.
"""

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from billvend.domain.errors import RequestInProgress

LOCK_TIMEOUT_SECONDS = 5.0


class KeyedLock:
    """The requests with a key that this process is working on."""

    def __init__(self, *, timeout_seconds: float = LOCK_TIMEOUT_SECONDS) -> None:
        self._timeout_seconds = timeout_seconds
        self._locked_keys: set[Hashable] = set()
        self._changed = threading.Condition()

    @contextmanager
    def acquire(self, key: Hashable) -> Iterator[None]:
        """Be the only one at work on it. Raises `RequestInProgress` when the first takes longer than anybody waits."""
        with self._changed:
            if not self._changed.wait_for(lambda: key not in self._locked_keys, self._timeout_seconds):
                raise RequestInProgress(
                    "The first request with this key is still at work. Nothing was done now: repeat it in a moment."
                )
            self._locked_keys.add(key)
        try:
            yield
        finally:
            with self._changed:
                self._locked_keys.discard(key)
                self._changed.notify_all()
