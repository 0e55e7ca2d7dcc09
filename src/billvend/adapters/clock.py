"""The machine's own clock."""

import time
from datetime import UTC, datetime

from uuid_utils.compat import uuid7

# Linux stops its monotonic clock while the machine sleeps; a send must be late then, not fresh.
_ELAPSED_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """See `billvend.ports.clock.Clock`."""

    def now(self) -> datetime:
        """The moment, in UTC."""
        return datetime.now(UTC)

    def elapsed_seconds(self) -> float:
        """Seconds since some fixed moment, sleep and stops included."""
        return time.clock_gettime(_ELAPSED_CLOCK)

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def new_id(self) -> str:
        """A UUIDv7."""
        return str(uuid7())
