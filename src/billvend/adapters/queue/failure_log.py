"""Saying once that something is away, and once that it is back."""

import logging
import threading

logger = logging.getLogger("billvend.queue")


class FailureLog:
    """Logs the beginning and the end of an outage, however often it is noticed in between."""

    def __init__(self, subject: str) -> None:
        """`subject` completes the sentences "... fails: " and "... works again"."""
        self._subject = subject
        self._is_failing = False
        self._lock = threading.Lock()

    def record_failure(self, reason: object) -> None:
        """Note a failure."""
        with self._lock:
            first, self._is_failing = not self._is_failing, True
        if first:
            logger.warning(
                "%s fails: %s. Nothing is lost: a sweep finds the work.",
                self._subject,
                str(reason).rstrip("."),
            )

    def record_success(self) -> None:
        """Note a success."""
        if not self._is_failing:  # nearly always: no lock on the way of every message
            return
        with self._lock:
            last, self._is_failing = self._is_failing, False
        if last:
            logger.info("%s works again.", self._subject)
