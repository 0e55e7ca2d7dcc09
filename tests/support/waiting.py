"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable

TIMEOUT_SECONDS = 60


def eventually(holds: Callable[[], object]) -> None:
    """Return as soon as the condition holds; fail if it does not within a minute."""
    give_up_at = time.monotonic() + TIMEOUT_SECONDS
    while not holds():
        assert time.monotonic() < give_up_at, "it does not come to pass"
        time.sleep(0.005)
