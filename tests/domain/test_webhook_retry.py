"""When a notification is sent again."""

from datetime import UTC, datetime

import pytest

from billvend.domain.delivery_retry import (
    GAPS_SECONDS,
    JITTER,
    MAX_ATTEMPTS,
    MAX_REQUESTED_SECONDS,
    next_attempt_at,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NAMES = [f"msg_{number}" for number in range(200)]


def gap_seconds(tries: int, wanted_seconds: float | None = None, name: str = "msg_1") -> float:
    at = next_attempt_at(name, tries, NOW, wanted_seconds)
    assert at is not None
    return (at - NOW).total_seconds()


def test_delivery_is_tried_ten_times() -> None:
    assert MAX_ATTEMPTS == 10
    assert all(next_attempt_at("msg_1", tries, NOW) for tries in range(1, 10))
    assert not any(
        next_attempt_at("msg_1", tries, NOW, wanted) for tries in (10, 11, 12) for wanted in (None, 5.0)
    )


@pytest.mark.parametrize(
    ("tries", "seconds"), list(enumerate([5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400], 1))
)
def test_retry_gaps_grow_and_have_jitter(tries: int, seconds: int) -> None:
    gaps = [gap_seconds(tries, name=name) for name in NAMES]
    assert min(gaps) >= seconds
    assert max(gaps) <= seconds * (1 + JITTER)
    assert max(gaps) - min(gaps) > seconds * JITTER / 2
    assert gap_seconds(tries) == gap_seconds(tries)


@pytest.mark.parametrize(
    ("wanted_seconds", "least", "most"),
    [
        (None, 5, 5.5),
        (0, 5, 5.5),
        (-100.0, 5, 5.5),
        (1.0, 5, 5.5),
        (60.0, 60, 60),
        (10.0**9, MAX_REQUESTED_SECONDS, MAX_REQUESTED_SECONDS),
        (float("inf"), MAX_REQUESTED_SECONDS, MAX_REQUESTED_SECONDS),
    ],
)
def test_retry_after_lengthens_the_gap_and_never_shortens_it(
    wanted_seconds: float | None, least: float, most: float
) -> None:
    assert least <= gap_seconds(1, wanted_seconds) <= most


def test_untried_message_waits_the_first_gap() -> None:
    assert GAPS_SECONDS[0] <= gap_seconds(0) <= GAPS_SECONDS[0] * (1 + JITTER)
