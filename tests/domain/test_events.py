"""The chain of events: stored once as text and hashes, and broken by any change."""

from collections.abc import Sequence
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from billvend.domain.enums import IncidentKind, OperatorDecision, Proof, VendType
from billvend.domain.journal.events import (
    EVENT_TYPES,
    NO_HASH,
    CostRecorded,
    Event,
    IncidentRaised,
    OperatorDecided,
    PaymentAccepted,
    PaymentCompleted,
    PaymentPutInDoubt,
    PaymentReversed,
    PriorAttemptRegistered,
    RequeryAnswered,
    RequeryRequested,
    RequeryStarted,
    ReversalDecided,
    ReviewRequested,
    SendAnswered,
    SendLeaseExpired,
    SendStarted,
    StoredEvent,
    StreamKey,
    WalletFunded,
    WalletHeld,
    WalletReleased,
    chain_event,
    event_hash,
    load_event,
)
from billvend.domain.outcome import Deferred, NotFound
from tests.domain.model_ledger import NOON, seconds
from tests.domain.values import values

KEY = StreamKey("ada", "bill")

EVENTS: Sequence[Event] = (
    WalletFunded("t1", 100000, "manual", "till-7"),
    WalletHeld("t2", 30000),
    WalletReleased("t2", 30000),
    PaymentAccepted(30000, "NGN", "12345678901", "EKEDC", VendType.PREPAID, None, "order-42"),
    SendStarted(
        1, 1, "ref-1", "acme", "key-1", NOON + seconds(60), NOON + seconds(29), NOON + seconds(59), None
    ),
    SendAnswered(1, 1, Deferred("likely duplicate", 30)),
    SendLeaseExpired(1, 2),
    RequeryStarted(1, 1, NOON + seconds(60), 20.5),
    RequeryAnswered(1, 1, NotFound("no such reference"), 0.0),
    ReviewRequested("it has been in doubt for too long"),
    PaymentCompleted(1, "acme", 30000, None, "1234", "4.5", {"tax": "20.93", "receiptNumber": "R1"}),
    ReversalDecided(Proof.NOT_SENT, "cancelled", None),
    PaymentReversed(Proof.NOT_SENT, "cancelled", 30000),
    IncidentRaised(IncidentKind.TAKEN_BACK, 1, "acme", 29000, "reversed to the wallet"),
    PriorAttemptRegistered(2, "ref-0", "acme", "key-1", None),
    RequeryRequested("webhook", NOON, 1, 2),
    CostRecorded(1, "acme", 30000, 29000),
    OperatorDecided("ngozi", OperatorDecision.REVERSE, "the company was called"),
    PaymentPutInDoubt(),
)
"""One of each. Their texts and hashes are in tests/golden/events.txt: if one changes, no audit of an old ledger passes."""


def chain(events: Sequence[Event]) -> list[StoredEvent]:
    """The events, recorded one after the other, a second apart."""
    made: list[StoredEvent] = []
    for number, event in enumerate(events, 1):
        previous = made[-1].hash if made else NO_HASH
        made.append(chain_event(KEY, number, NOON + seconds(number), event, f"command-{number}", previous))
    return made


def is_intact(stream: Sequence[StoredEvent]) -> bool:
    """Whether an audit would accept a stream."""
    previous = NO_HASH
    for number, row in enumerate(stream, 1):
        kind = type(row.event).__name__
        link = event_hash(previous, row.key, row.seq, row.at, kind, row.command_key, row.data)
        is_linked = (row.seq, row.prev_hash, row.hash) == (number, previous, link)
        if not is_linked or load_event(kind, row.data) != row.event:
            return False
        previous = row.hash
    return True


def test_golden_events_cover_every_event_type() -> None:
    assert {type(event) for event in EVENTS} == set(EVENT_TYPES.values())


def test_event_hash_covers_every_field() -> None:
    row = chain([SendLeaseExpired(1, 1)])[0]
    said = ("", row.key, row.seq, row.at, "SendLeaseExpired", row.command_key, row.data)
    others = [
        ("0" * 64, *said[1:]),
        (said[0], StreamKey("bob", "bill"), *said[2:]),
        (said[0], StreamKey("ada", "bill2"), *said[2:]),
        (said[0], StreamKey("adab", "ill"), *said[2:]),
        (*said[:2], 2, *said[3:]),
        (*said[:3], row.at + timedelta(microseconds=1), *said[4:]),
        (*said[:4], "SendStarted", *said[5:]),
        (*said[:5], "command-2", said[6]),
        (*said[:6], said[6] + " "),
    ]
    assert len({event_hash(*other) for other in [said, *others]}) == 1 + len(others)


@settings(max_examples=50)
@given(data=st.data(), events=st.lists(values(Event), min_size=2, max_size=5))
def test_any_change_of_the_stream_breaks_the_hash_chain(data: st.DataObject, events: Sequence[Event]) -> None:
    stream = chain(events)
    assert is_intact(stream)
    at = data.draw(st.integers(0, len(stream) - 2))
    row, other = stream[at], data.draw(values(Event).filter(lambda event: event != stream[at].event))
    for change in (
        {"key": StreamKey("bob", row.key.stream)},
        {"key": StreamKey(row.key.user_id, "other")},
        {"seq": row.seq + 1},
        {"at": row.at + seconds(1)},
        {"event": other},
        {"event": other, "data": chain_event(KEY, 1, NOON, other, "", NO_HASH).data},
        {"command_key": "another"},
        {"data": row.data.replace('"', " ", 1)},
        {"prev_hash": "0" * 64},
        {"hash": "0" * 64},
    ):
        assert not is_intact([*stream[:at], row._replace(**change), *stream[at + 1 :]]), change
    assert not is_intact([*stream[:at], *stream[at + 1 :]])
    assert not is_intact([*stream[: at + 1], *stream[at:]])
    assert not is_intact([*stream[:at], stream[at + 1], stream[at], *stream[at + 2 :]])


def test_stored_event_has_no_field_outside_the_hash() -> None:
    names = ("key", "seq", "at", "event", "command_key", "data", "prev_hash", "hash")
    assert StoredEvent._fields == names
