"""What a process remembers for a moment, so that it need not ask each time. Shared between threads; losing it costs a look."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from billvend.domain.enums import VendType
from billvend.domain.meter_lookup import MeterFound
from billvend.ports.account_status import AccountStatus

METER_CACHE_SECONDS = 600
"""How long a meter that was found is not asked about again."""
MAX_CACHED_METERS = 10_000

MeterKey = tuple[str, str, str, VendType]


@dataclass(slots=True)
class MeterCache:
    """The meters that were found lately, in this process."""

    entries: OrderedDict[MeterKey, tuple[float, MeterFound]] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: MeterKey, now_seconds: float) -> MeterFound | None:
        """What was found, if it was lately."""
        with self.lock:
            cached_at_seconds, meter = self.entries.get(key) or (float("-inf"), None)
            return meter if now_seconds - cached_at_seconds < METER_CACHE_SECONDS else None

    def put(self, key: MeterKey, now_seconds: float, meter: MeterFound) -> None:
        """Remember; what was remembered first is forgotten first."""
        with self.lock:
            self.entries[key] = (now_seconds, meter)
            self.entries.move_to_end(key)
            while len(self.entries) > MAX_CACHED_METERS:
                self.entries.popitem(last=False)


@dataclass(slots=True)
class ApiKeyUseTimes:
    """When this process last wrote down that an API key was used, by the key's id."""

    recorded_at_seconds: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def mark_if_due(self, key_id: str, now_seconds: float, interval_seconds: float) -> bool:
        """Whether it is time to do so again; who is told so does it, and nobody else meanwhile."""
        with self.lock:
            is_due = now_seconds - self.recorded_at_seconds.get(key_id, float("-inf")) >= interval_seconds
            if is_due:
                self.recorded_at_seconds[key_id] = now_seconds
            return is_due


@dataclass(slots=True)
class AccountStatusCache:
    """How the provider accounts were when they were looked at last."""

    read_at_seconds: float = float("-inf")
    refreshed_at_seconds: float = float("-inf")
    """When this process last held them against the books."""
    states: dict[tuple[str, str], AccountStatus] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    float_poll_lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while a provider is asked about our float."""
