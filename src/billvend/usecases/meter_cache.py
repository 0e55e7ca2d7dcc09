"""The meters that were found recently. Each process has its own cache; losing it costs one more query."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from billvend.domain.enums import VendType
from billvend.domain.meter_lookup import MeterFound

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
