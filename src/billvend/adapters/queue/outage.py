"""Saying once that something is away, and once that it is back."""

import logging
import threading

logger = logging.getLogger("billvend.queue")


class Outage:
    """Logs the beginning and the end of an outage, however often it is noticed in between."""

    def __init__(self, what: str) -> None:
        """`what` completes the sentences "... fails: " and "... works again"."""
        self._what = what
        self._lasts = False
        self._lock = threading.Lock()

    def begin(self, reason: object) -> None:
        """Note a failure."""
        with self._lock:
            first, self._lasts = not self._lasts, True
        if first:
            logger.warning(
                "%s fails: %s. Nothing is lost: a sweep finds the work.", self._what, str(reason).rstrip(".")
            )

    def end(self) -> None:
        """Note a success."""
        if not self._lasts:  # nearly always: no lock on the way of every message
            return
        with self._lock:
            last, self._lasts = self._lasts, False
        if last:
            logger.info("%s works again.", self._what)
