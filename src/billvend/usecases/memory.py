"""What a process remembers for a moment, so that it need not ask each time. Shared between threads; losing it costs a look."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from billvend.domain.verification import MeterFound
from billvend.domain.words import VendType
from billvend.ports.breaker import AccountState

REMEMBERED_SECONDS = 600
"""How long a meter that was found is not asked about again."""
MOST_REMEMBERED = 10_000

MeterKey = tuple[str, str, str, VendType]


@dataclass(slots=True)
class Meters:
    """The meters that were found lately, in this process."""

    found: OrderedDict[MeterKey, tuple[float, MeterFound]] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def recall(self, key: MeterKey, now_seconds: float) -> MeterFound | None:
        """What was found, if it was lately."""
        with self.lock:
            at_seconds, known = self.found.get(key) or (float("-inf"), None)
            return known if now_seconds - at_seconds < REMEMBERED_SECONDS else None

    def keep(self, key: MeterKey, now_seconds: float, known: MeterFound) -> None:
        """Remember; what was remembered first is forgotten first."""
        with self.lock:
            self.found[key] = (now_seconds, known)
            self.found.move_to_end(key)
            while len(self.found) > MOST_REMEMBERED:
                self.found.popitem(last=False)


@dataclass(slots=True)
class KeyUses:
    """When this process last wrote down that an API key was used, by the key's id."""

    noted_at_seconds: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_due(self, key_id: str, now_seconds: float, gap_seconds: float) -> bool:
        """Whether it is time to do so again; who is told so does it, and nobody else meanwhile."""
        with self.lock:
            due = now_seconds - self.noted_at_seconds.get(key_id, float("-inf")) >= gap_seconds
            if due:
                self.noted_at_seconds[key_id] = now_seconds
            return due


@dataclass(slots=True)
class Accounts:
    """How the provider accounts were when they were looked at last."""

    read_at_seconds: float = float("-inf")
    looked_after_at_seconds: float = float("-inf")
    """When this process last held them against the books."""
    states: dict[tuple[str, str], AccountState] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    asking: threading.Lock = field(default_factory=threading.Lock)
    """Held while a provider is asked about our float."""
