"""Logs once that a dependency is down, and once that it works again."""

import logging
import threading

logger = logging.getLogger("billvend.queue")


class FailureLog:
    """Logs the start and the end of an outage, however many failures are between them."""

    def __init__(self, subject: str) -> None:
        """`subject` completes the sentences "... fails: " and "... works again"."""
        self._subject = subject
        self._is_failing = False
        self._lock = threading.Lock()

    def record_failure(self, reason: object) -> None:
        """Log a failure, if it is the first."""
        with self._lock:
            first, self._is_failing = not self._is_failing, True
        if first:
            logger.warning(
                "%s fails: %s. Nothing is lost: a sweep finds the work.",
                self._subject,
                str(reason).rstrip("."),
            )

    def record_success(self) -> None:
        """Log a success, if it is the first after a failure."""
        if not self._is_failing:  # nearly always: a message should not need the lock
            return
        with self._lock:
            last, self._is_failing = self._is_failing, False
        if last:
            logger.info("%s works again.", self._subject)
