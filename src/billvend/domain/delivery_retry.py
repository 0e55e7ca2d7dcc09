"""When something that could not be told is told again: ten tries within some four days, as Standard Webhooks suggests."""

import zlib
from datetime import datetime, timedelta

GAPS_SECONDS = (
    5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600,
)  # fmt: skip
"""After the first try, which is made at once; after the second, the third and so on."""
MAX_ATTEMPTS = len(GAPS_SECONDS) + 1
JITTER = 0.1
"""Gaps are lengthened by up to this share, so that what failed together is not all tried again together."""
MAX_REQUESTED_SECONDS = 24 * 3600.0
"""What the other side asks for counts up to this."""


def next_attempt_at(
    message_id: str, attempts: int, now: datetime, requested_seconds: float | None = None
) -> datetime | None:
    """When a message is due again that was tried so often, the last time now; None: it is given up.

    `wanted_seconds` is how long the other side asks us to stay away: it lengthens the wait and never shortens it.
    """
    if attempts >= MAX_ATTEMPTS:
        return None
    fraction = zlib.crc32(f"{message_id}:{attempts}".encode()) / 2**32
    gap_seconds = GAPS_SECONDS[max(attempts, 1) - 1] * (1 + JITTER * fraction)
    requested = max(0.0, min(requested_seconds or 0.0, MAX_REQUESTED_SECONDS))
    return now + timedelta(seconds=max(gap_seconds, requested))
