"""When a notification that failed is sent again: ten attempts within about four days, as Standard Webhooks suggests."""

import zlib
from datetime import datetime, timedelta

GAPS_SECONDS = (
    5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600,
)  # fmt: skip
"""The gap after the first attempt, which is made at once, then after the second, the third and so on."""
MAX_ATTEMPTS = len(GAPS_SECONDS) + 1
JITTER = 0.1
"""Gaps are lengthened by up to this share, so that notifications that failed together are not all sent again together."""
MAX_REQUESTED_SECONDS = 24 * 3600.0
"""The longest wait that the receiver may request."""


def next_attempt_at(
    message_id: str, attempts: int, now: datetime, requested_seconds: float | None = None
) -> datetime | None:
    """When a message is due again after so many attempts, the last one now. None when no attempt is left.

    `requested_seconds` is how long the receiver asks us to wait. It can lengthen the wait, and never shortens it.
    """
    if attempts >= MAX_ATTEMPTS:
        return None
    fraction = zlib.crc32(f"{message_id}:{attempts}".encode()) / 2**32
    gap_seconds = GAPS_SECONDS[max(attempts, 1) - 1] * (1 + JITTER * fraction)
    requested = max(0.0, min(requested_seconds or 0.0, MAX_REQUESTED_SECONDS))
    return now + timedelta(seconds=max(gap_seconds, requested))
