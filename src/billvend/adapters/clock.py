"""The machine's clock."""

import time
from datetime import UTC, datetime

from uuid_utils.compat import uuid7

# Linux stops its monotonic clock while the machine sleeps. A send must be late after a sleep, so the boot clock is used.
_ELAPSED_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """See `billvend.ports.clock.Clock`."""

    def now(self) -> datetime:
        """The current time, in UTC."""
        return datetime.now(UTC)

    def elapsed_seconds(self) -> float:
        """Seconds since some fixed moment, including the time that the machine slept or was stopped."""
        return time.clock_gettime(_ELAPSED_CLOCK)

    def sleep(self, seconds: float) -> None:
        """Sleep for so many seconds."""
        time.sleep(seconds)

    def new_id(self) -> str:
        """A new UUIDv7."""
        return str(uuid7())
