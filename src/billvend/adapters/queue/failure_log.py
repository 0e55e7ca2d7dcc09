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
        if self._change(is_failing=True):
            text = str(reason).rstrip(".")
            logger.warning("%s fails: %s. Nothing is lost: a sweep finds the work.", self._subject, text)

    def record_success(self) -> None:
        """Log a success, if it is the first after a failure."""
        if self._change(is_failing=False):
            logger.info("%s works again.", self._subject)

    def _change(self, *, is_failing: bool) -> bool:
        with self._lock:
            has_changed, self._is_failing = self._is_failing != is_failing, is_failing
        return has_changed
