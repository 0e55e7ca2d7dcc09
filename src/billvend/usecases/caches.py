"""Short-lived caches of one process, shared by its threads. Losing a cache costs one more query."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from billvend.domain.enums import VendType
from billvend.domain.meter_lookup import MeterFound
from billvend.ports.repositories import AccountStatus

METER_CACHE_SECONDS = 600
"""How long a meter that was found is not verified again."""
MAX_CACHED_METERS = 10_000

MeterKey = tuple[str, str, str, VendType]


@dataclass(slots=True)
class MeterCache:
    """The meters that this process found recently."""

    entries: OrderedDict[MeterKey, tuple[float, MeterFound]] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: MeterKey, now_seconds: float) -> MeterFound | None:
        """The cached meter; None if there is none, or if it is too old."""
        with self.lock:
            cached_at_seconds, meter = self.entries.get(key) or (float("-inf"), None)
            return meter if now_seconds - cached_at_seconds < METER_CACHE_SECONDS else None

    def put(self, key: MeterKey, now_seconds: float, meter: MeterFound) -> None:
        """Cache a meter. The oldest one is dropped when the cache is full."""
        with self.lock:
            self.entries[key] = (now_seconds, meter)
            self.entries.move_to_end(key)
            while len(self.entries) > MAX_CACHED_METERS:
                self.entries.popitem(last=False)


@dataclass(slots=True)
class ApiKeyUseTimes:
    """When this process last stored the use of an API key, by the key's id."""

    recorded_at_seconds: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def mark_if_due(self, key_id: str, now_seconds: float, interval_seconds: float) -> bool:
        """Whether it is time to store it again. Only one caller gets True, and must store it."""
        with self.lock:
            is_due = now_seconds - self.recorded_at_seconds.get(key_id, float("-inf")) >= interval_seconds
            if is_due:
                self.recorded_at_seconds[key_id] = now_seconds
            return is_due


@dataclass(slots=True)
class AccountStatusCache:
    """The status of the provider accounts when it was last read."""

    read_at_seconds: float = float("-inf")
    refreshed_at_seconds: float = float("-inf")
    """When this process last recomputed the statuses from the database."""
    states: Mapping[tuple[str, str], AccountStatus] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    float_poll_lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while a provider is asked for our float."""
