"""The clock port: time and new names come from outside, so that the same inputs always give the same books."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """What time it is, and fresh ids."""

    def now(self) -> datetime:
        """The moment, in UTC, as the wall clock has it."""
        ...

    def elapsed_seconds(self) -> float:
        """A clock that only goes forward, and runs on while the process is stopped or the machine sleeps."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        ...

    def new_id(self) -> str:
        """A fresh id that sorts by its time of making (UUIDv7)."""
        ...
