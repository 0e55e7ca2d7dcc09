"""When something that could not be told is told again: ten tries within some four days, as Standard Webhooks suggests."""

import zlib
from datetime import datetime, timedelta

GAPS_SECONDS = (
    5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600,
)  # fmt: skip
"""After the first try, which is made at once; after the second, the third and so on."""
MOST_TRIES = len(GAPS_SECONDS) + 1
JITTER = 0.1
"""Gaps are lengthened by up to this share, so that what failed together is not all tried again together."""
LONGEST_SECONDS = 24 * 3600.0
"""What the other side asks for counts up to this."""


def next_try_at(
    message_id: str, tries: int, now: datetime, wanted_seconds: float | None = None
) -> datetime | None:
    """When a message is due again that was tried so often, the last time now; None: it is given up.

    `wanted_seconds` is how long the other side asks us to stay away: it lengthens the wait and never shortens it.
    """
    if tries >= MOST_TRIES:
        return None
    dice = zlib.crc32(f"{message_id}:{tries}".encode()) / 2**32
    gap_seconds = GAPS_SECONDS[max(tries, 1) - 1] * (1 + JITTER * dice)
    wanted = max(0.0, min(wanted_seconds or 0.0, LONGEST_SECONDS))
    return now + timedelta(seconds=max(gap_seconds, wanted))
