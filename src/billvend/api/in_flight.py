"""Requests under way: a repeat waits for the first one instead of doing its work beside it.

The books decide what was done, whoever asks and from how many processes at once; this spares the work, and the wait
has an end.
"""

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from billvend.domain.errors import RequestInProgress

PATIENCE_SECONDS = 5.0


class InFlight:
    """The requests with a key that this process is working on."""

    def __init__(self, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._patience_seconds = patience_seconds
        self._names: set[Hashable] = set()
        self._changed = threading.Condition()

    @contextmanager
    def alone(self, name: Hashable) -> Iterator[None]:
        """Be the only one at work on it. Raises `RequestInProgress` when the first takes longer than anybody waits."""
        with self._changed:
            if not self._changed.wait_for(lambda: name not in self._names, self._patience_seconds):
                raise RequestInProgress(
                    "The first request with this key is still at work. Nothing was done now: repeat it in a moment."
                )
            self._names.add(name)
        try:
            yield
        finally:
            with self._changed:
                self._names.discard(name)
                self._changed.notify_all()
