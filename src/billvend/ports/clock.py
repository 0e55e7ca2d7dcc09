"""The clock port: time and new ids. They come from outside, so that the same inputs always give the same ledger."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The time, and new ids."""

    def now(self) -> datetime:
        """The wall clock's time, in UTC."""
        ...

    def elapsed_seconds(self) -> float:
        """A clock that only goes forward. It also runs while the process is stopped or the machine sleeps."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for this many seconds."""
        ...

    def new_id(self) -> str:
        """A new id that sorts by its creation time (UUIDv7)."""
        ...
