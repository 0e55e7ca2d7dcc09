"""The chain of events: stored once as text and hashes, and broken by any change."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
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

# One of each, with its stored text and its hash in the chain. If a line changes, an audit of an existing ledger fails.
GOLDEN: Sequence[tuple[Event, str, str]] = [
    (
        WalletFunded("t1", 100000, "manual", "till-7"),
        (
            '{"amount_minor":100000,"is":"WalletFunded","reference":"till-7","source":"manual","transaction_id":"t1"}'
        ),
        "3d4d1e4459c2b53eafb5cf035e03a031f0d979f38906af0b4c1912fab71a062a",
    ),
    (
        WalletHeld("t2", 30000),
        ('{"amount_minor":30000,"is":"WalletHeld","transaction_id":"t2"}'),
        "7831ff0e1f19193ba014a1a4473a1d79a42a1cbcbd8f1ffa52fdc098c77d32b2",
    ),
    (
        WalletReleased("t2", 30000),
        ('{"amount_minor":30000,"is":"WalletReleased","transaction_id":"t2"}'),
        "c607aa5b6f9aa17d98655f5e7474ee4ff1774befee9cfe4d90f9eb27072f4013",
    ),
    (
        PaymentAccepted(30000, "NGN", "12345678901", "EKEDC", VendType.PREPAID, None, "order-42"),
        (
            '{"amount_minor":30000,"biller":"EKEDC","currency":"NGN","is":"PaymentAccepted","key":"order-42","meter":"12345678901","vend_type":"prepaid","verified":false}'
        ),
        "3b1a486bc0de3fbce46cd48759d18ec38047db725d1e5fbbf40a30c5fea6fe9d",
    ),
    (
        SendStarted(
            1, 1, "ref-1", "acme", "key-1", NOON + seconds(60), NOON + seconds(29), NOON + seconds(59), None
        ),
        (
            '{"account_id":"key-1","answer_by":"2026-11-22T12:00:59.000000Z","attempt":1,"is":"SendStarted","lease_until":"2026-11-22T12:01:00.000000Z","provider":"acme","reference":"ref-1","send":1,"send_before":"2026-11-22T12:00:29.000000Z"}'
        ),
        "cd2d36a67af92b7446c33aef01711e40b88dea5e2a1cbd26227e4b5ad43a6e22",
    ),
    (
        SendAnswered(1, 1, Deferred("likely duplicate", 30)),
        (
            '{"answer":{"is":"Deferred","reason":"likely duplicate","retry_after_seconds":30},"attempt":1,"is":"SendAnswered","send":1}'  # noqa: E501
        ),
        "7bd64fbd1cfaf1243f1d5581b39f1d4ccd325b04a96f19caf1899e503ee4637a",
    ),
    (
        SendLeaseExpired(1, 2),
        ('{"attempt":1,"is":"SendLeaseExpired","send":2}'),
        "ebd6d7006573de1055fd15edaf40e29146531d49a404484e538c500a05b4433e",
    ),
    (
        RequeryStarted(1, 1, NOON + seconds(60), 20.5),
        (
            '{"attempt":1,"is":"RequeryStarted","lease_until":"2026-11-22T12:01:00.000000Z","on_request":false,"requery":1,"scheduled_seconds":20.5}'
        ),
        "ed70581446aef7732d45bf8092f08a20860d6d775bd01f6086221fd3472c60c0",
    ),
    (
        RequeryAnswered(1, 1, NotFound("no such reference"), 0.0),
        (
            '{"answer":{"is":"NotFound","reason":"no such reference"},"attempt":1,"credited_seconds":0.0,"is":"RequeryAnswered","requery":1}'  # noqa: E501
        ),
        "c14d152a279f6c851b7c03727f8d555fbb868788f75b7f99f5c55dee122fae4f",
    ),
    (
        ReviewRequested("it has been in doubt for too long"),
        ('{"is":"ReviewRequested","reason":"it has been in doubt for too long"}'),
        "9b9b36c36d3ec0d8cc5954c0a5cf22373f554c1d7183c1abb63eea6dfd018a27",
    ),
    (
        PaymentCompleted(1, "acme", 30000, None, "1234", "4.5", {"tax": "20.93", "receiptNumber": "R1"}),
        (
            '{"amount_minor":30000,"attempt":1,"is":"PaymentCompleted","provider":"acme","receipt":{"receiptNumber":"R1","tax":"20.93"},"token":"1234","units":"4.5"}'
        ),
        "46bdab756a36716c47568368f9ea61b9d0a1684fac486893bdcdc51b05b634d4",
    ),
    (
        ReversalDecided(Proof.NOT_SENT, "cancelled", None),
        ('{"is":"ReversalDecided","proof":"not_sent","reason":"cancelled"}'),
        "620c292f4ad83c1545923adbb16a408c2ea8a5c557372e9b5e09c3d12c354bc2",
    ),
    (
        PaymentReversed(Proof.NOT_SENT, "cancelled", 30000),
        ('{"amount_minor":30000,"is":"PaymentReversed","proof":"not_sent","reason":"cancelled"}'),
        "fe1634a60f32c0efaa3e0fcba0bf1d082464462b6d27622a8efd776d15a2416a",
    ),
    (
        IncidentRaised(IncidentKind.TAKEN_BACK, 1, "acme", 29000, "reversed to the wallet"),
        (
            '{"amount_minor":29000,"attempt":1,"detail":"reversed to the wallet","is":"IncidentRaised","kind":"taken_back","provider":"acme"}'  # noqa: E501
        ),
        "b94b6ad5713382d3b4d2548338e9190937bef6c3726bda5cb5892358b8cbc690",
    ),
    (
        PriorAttemptRegistered(2, "ref-0", "acme", "key-1", None),
        (
            '{"account_id":"key-1","attempt":2,"is":"PriorAttemptRegistered","provider":"acme","reference":"ref-0"}'
        ),
        "6f1652356d72cf316f3fe96e25379d76e180778dc490eaf254f2afad9d4f56fc",
    ),
    (
        RequeryRequested("webhook", NOON, 1, 2),
        (
            '{"after_requery":2,"attempt":1,"is":"RequeryRequested","not_before":"2026-11-22T12:00:00.000000Z","source":"webhook"}'
        ),
        "8ea44dee8aab1a07da7cbcb81097cf4ad7ee5c8cd448a18c7bf8b48b48d5e672",
    ),
    (
        CostRecorded(1, "acme", 30000, 29000),
        ('{"amount_minor":30000,"attempt":1,"cost_minor":29000,"is":"CostRecorded","provider":"acme"}'),
        "c2d4fd69e3b9a8d33cfe8e2b895f9d27433b3ecfbf9b5531df94518bd80e1d36",
    ),
    (
        OperatorDecided("ngozi", OperatorDecision.REVERSE, "the company was called"),
        (
            '{"decision":"reverse","is":"OperatorDecided","operator":"ngozi","reason":"the company was called"}'
        ),
        "3cbef974db0ecb34400a1910c687c4ea5047080138a0d9a37a88746951187a14",
    ),
    (
        PaymentPutInDoubt(),
        '{"is":"PaymentPutInDoubt"}',
        "2788a3ca064561f76f4e20abf4c558a06537954e63c8556eb3e634e5d7daf3a0",
    ),
]


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
        if (row.seq, row.prev_hash, row.hash) != (number, previous, link) or load_event(
            kind, row.data
        ) != row.event:
            return False
        previous = row.hash
    return True


def test_golden_events_cover_every_event_type() -> None:
    assert {type(event) for event, _, _ in GOLDEN} == set(EVENT_TYPES.values())


def test_event_texts_and_hashes_never_change() -> None:
    found = [(row.event, row.data, row.hash) for row in chain([event for event, _, _ in GOLDEN])]
    assert found == list(GOLDEN)


@pytest.mark.parametrize(
    ("event", "text"), [row[:2] for row in GOLDEN], ids=[type(row[0]).__name__ for row in GOLDEN]
)
def test_event_is_loaded_from_its_text(event: Event, text: str) -> None:
    assert load_event(type(event).__name__, text) == event


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
@given(data=st.data(), events=st.lists(values(Event), min_size=1, max_size=5))
def test_changed_event_breaks_the_hash_chain(data: st.DataObject, events: Sequence[Event]) -> None:
    stream = chain(events)
    assert is_intact(stream)
    at = data.draw(st.integers(0, len(stream) - 1))
    row = stream[at]
    other = data.draw(values(Event).filter(lambda event: event != row.event))
    changed = data.draw(
        st.sampled_from(
            [
                row._replace(key=StreamKey("bob", row.key.stream)),
                row._replace(key=StreamKey(row.key.user_id, "other")),
                row._replace(seq=row.seq + 1),
                row._replace(at=row.at + seconds(1)),
                row._replace(event=other),
                row._replace(event=other, data=chain_event(KEY, 1, NOON, other, "", NO_HASH).data),
                row._replace(command_key="another"),
                row._replace(data=row.data.replace('"', " ", 1)),
                row._replace(prev_hash="0" * 64),
                row._replace(hash="0" * 64),
            ]
        )
    )
    assert not is_intact([*stream[:at], changed, *stream[at + 1 :]])


@settings(max_examples=50)
@given(data=st.data(), events=st.lists(values(Event), min_size=2, max_size=5))
def test_missing_duplicate_or_moved_event_breaks_the_hash_chain(
    data: st.DataObject, events: Sequence[Event]
) -> None:
    stream = chain(events)
    at = data.draw(st.integers(0, len(stream) - 2))
    assert not is_intact([*stream[:at], *stream[at + 1 :]])
    assert not is_intact([*stream[: at + 1], *stream[at:]])
    assert not is_intact([*stream[:at], stream[at + 1], stream[at], *stream[at + 2 :]])


def test_stored_event_has_no_field_outside_the_hash() -> None:
    assert list(StoredEvent._fields) == [
        *("key", "seq", "at", "event", "command_key", "data", "prev_hash", "hash")
    ]
