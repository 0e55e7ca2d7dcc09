"""The chain of events: written down once as text and hashes, and broken by any change whatever."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billvend.domain.events import (
    EVENT_TYPES,
    NO_HASH,
    AttemptRecalled,
    CostLearnt,
    Event,
    IncidentRaised,
    Nudged,
    OperatorDecided,
    PaymentAccepted,
    PaymentCompleted,
    PaymentReversed,
    Recorded,
    RequeryAnswered,
    RequeryStarted,
    ReversalDecided,
    ReviewAsked,
    SendAnswered,
    SendLost,
    SendStarted,
    StreamKey,
    WalletFunded,
    WalletHeld,
    WalletReleased,
    chained,
    load,
    record,
)
from billvend.domain.outcome import Deferred, NotFound
from billvend.domain.words import IncidentKind, Proof, VendType, Verdict
from tests.domain.books import NOON, seconds
from tests.domain.values import values

KEY = StreamKey("ada", "bill")

# One of each, with the text that it is stored as and the hash that it has behind the one before. If a line changes,
# books that were written before can't be audited any more.
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
            '{"account":"key-1","answer_by":"2026-11-22T12:00:59.000000Z","attempt":1,"is":"SendStarted","lease_until":"2026-11-22T12:01:00.000000Z","provider":"acme","reference":"ref-1","send":1,"send_before":"2026-11-22T12:00:29.000000Z"}'
        ),
        "89750c9a6fe970194f50b82c20a8f3b8325accc2f6576f47643a947faf0199e1",
    ),
    (
        SendAnswered(1, 1, Deferred("likely duplicate", 30)),
        (
            '{"answer":{"is":"Deferred","retry_after_seconds":30,"why":"likely duplicate"},"attempt":1,"is":"SendAnswered","send":1}'  # noqa: E501
        ),
        "ce80b9ddad246226413f3e9af02edf2d4933a9d0ba7e32dbb73204cb528bc009",
    ),
    (
        SendLost(1, 2),
        ('{"attempt":1,"is":"SendLost","send":2}'),
        "b0e07b587f26f9abc9f3563ffd486afc4a126053c1c12687b8da10c5787b54d7",
    ),
    (
        RequeryStarted(1, 1, NOON + seconds(60), 20.5),
        (
            '{"attempt":1,"is":"RequeryStarted","lease_until":"2026-11-22T12:01:00.000000Z","nudged":false,"requery":1,"scheduled_seconds":20.5}'
        ),
        "f1fd3c264175193bb5ffed1e5e20c4495ce2c70032480e2033d9c2cab235ec8d",
    ),
    (
        RequeryAnswered(1, 1, NotFound("no such reference"), 0.0),
        (
            '{"answer":{"is":"NotFound","why":"no such reference"},"attempt":1,"credited_seconds":0.0,"is":"RequeryAnswered","requery":1}'  # noqa: E501
        ),
        "4bf3879073e2a2b4a791101e2add25768caef68a758afdd41c79981c018b2c10",
    ),
    (
        ReviewAsked("it has been in doubt for too long"),
        ('{"is":"ReviewAsked","reason":"it has been in doubt for too long"}'),
        "192b33c894759c36237b2b3d72b21a61bc54bfa75d3e955e940e56a6f9773b99",
    ),
    (
        PaymentCompleted(1, "acme", 30000, None, "1234", "4.5", {"tax": "20.93", "receiptNumber": "R1"}),
        (
            '{"amount_minor":30000,"attempt":1,"is":"PaymentCompleted","provider":"acme","receipt":{"receiptNumber":"R1","tax":"20.93"},"token":"1234","units":"4.5"}'
        ),
        "c0a50d64dc72106c244d7e8fe26e46d7fda9da2f0ceaed1c2b2606f08e15720f",
    ),
    (
        ReversalDecided(Proof.NOT_SENT, "cancelled", None),
        ('{"is":"ReversalDecided","proof":"not_sent","reason":"cancelled"}'),
        "33532d075a06d1d0f80c59d757dd371116b3ed4449516fff845d4ec1031c4957",
    ),
    (
        PaymentReversed(Proof.NOT_SENT, "cancelled", 30000),
        ('{"amount_minor":30000,"is":"PaymentReversed","proof":"not_sent","reason":"cancelled"}'),
        "dacdb23b8c8ff9090dd20813b85e99cee3bf9b90f12fdbb9f99ba2f929a71b11",
    ),
    (
        IncidentRaised(IncidentKind.TAKEN_BACK, 1, "acme", 29000, "reversed to the wallet"),
        (
            '{"amount_minor":29000,"attempt":1,"detail":"reversed to the wallet","is":"IncidentRaised","kind":"taken_back","provider":"acme"}'  # noqa: E501
        ),
        "3812b194ff921ea2b45050ccc629f435957395227656ec406c526c8fbd4e19dd",
    ),
    (
        AttemptRecalled(2, "ref-0", "acme", "key-1", None),
        ('{"account":"key-1","attempt":2,"is":"AttemptRecalled","provider":"acme","reference":"ref-0"}'),
        "d9a944766607f3bf474d7c0079f3d1b165523f403919798a70cc62b0b48da2f3",
    ),
    (
        Nudged("hook", NOON, 1, 2),
        (
            '{"after_requery":2,"ask_at":"2026-11-22T12:00:00.000000Z","attempt":1,"is":"Nudged","source":"hook"}'
        ),
        "4ecaad0813b23210bdd3e30d96a8cb3172635cfa933ed124782af255fc465e71",
    ),
    (
        CostLearnt(1, "acme", 30000, 29000),
        ('{"amount_minor":30000,"attempt":1,"cost_minor":29000,"is":"CostLearnt","provider":"acme"}'),
        "0e0ed6246810f04dfa5ce90b381b0841f87495412fd0f4087b90b61916734943",
    ),
    (
        OperatorDecided("ngozi", Verdict.REVERSE, "the company was called"),
        ('{"is":"OperatorDecided","operator":"ngozi","reason":"the company was called","verdict":"reverse"}'),
        "753a58ee6177d8b466567a83a442eca4c41d0af4c7bad3abedf525068643d198",
    ),
]


def chain(events: Sequence[Event]) -> list[Recorded]:
    """The events, recorded one behind the other, a second apart."""
    made: list[Recorded] = []
    for number, event in enumerate(events, 1):
        previous = made[-1].hash if made else NO_HASH
        made.append(record(KEY, number, NOON + seconds(number), event, f"command-{number}", previous))
    return made


def is_whole(stream: Sequence[Recorded]) -> bool:
    """Whether an auditor would believe a stream."""
    previous = NO_HASH
    for number, row in enumerate(stream, 1):
        kind = type(row.event).__name__
        link = chained(previous, row.key, row.seq, row.at, kind, row.command_key, row.data)
        if (row.seq, row.prev_hash, row.hash) != (number, previous, link) or load(
            kind, row.data
        ) != row.event:
            return False
        previous = row.hash
    return True


def test_there_is_one_of_each() -> None:
    assert {type(event) for event, _, _ in GOLDEN} == set(EVENT_TYPES.values())


def test_texts_and_hashes_are_as_they_were_written_down() -> None:
    found = [(row.event, row.data, row.hash) for row in chain([event for event, _, _ in GOLDEN])]
    assert found == list(GOLDEN)


@pytest.mark.parametrize(
    ("event", "text"), [row[:2] for row in GOLDEN], ids=[type(row[0]).__name__ for row in GOLDEN]
)
def test_an_event_is_read_back_from_its_text(event: Event, text: str) -> None:
    assert load(type(event).__name__, text) == event


def test_a_hash_covers_everything_that_a_row_says() -> None:
    row = chain([SendLost(1, 1)])[0]
    said = ("", row.key, row.seq, row.at, "SendLost", row.command_key, row.data)
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
    assert len({chained(*other) for other in [said, *others]}) == 1 + len(others)


@settings(max_examples=50)
@given(data=st.data(), events=st.lists(values(Event), min_size=1, max_size=5))
def test_any_change_breaks_the_chain(data: st.DataObject, events: Sequence[Event]) -> None:
    stream = chain(events)
    assert is_whole(stream)
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
                row._replace(event=other, data=record(KEY, 1, NOON, other, "", NO_HASH).data),
                row._replace(command_key="another"),
                row._replace(data=row.data.replace('"', " ", 1)),
                row._replace(prev_hash="0" * 64),
                row._replace(hash="0" * 64),
            ]
        )
    )
    assert not is_whole([*stream[:at], changed, *stream[at + 1 :]])


@settings(max_examples=50)
@given(data=st.data(), events=st.lists(values(Event), min_size=2, max_size=5))
def test_a_missing_doubled_or_moved_event_breaks_the_chain(
    data: st.DataObject, events: Sequence[Event]
) -> None:
    stream = chain(events)
    at = data.draw(st.integers(0, len(stream) - 2))
    assert not is_whole([*stream[:at], *stream[at + 1 :]])
    assert not is_whole([*stream[: at + 1], *stream[at:]])
    assert not is_whole([*stream[:at], stream[at + 1], stream[at], *stream[at + 2 :]])


def test_an_envelope_has_no_field_that_the_hash_leaves_out() -> None:
    assert list(Recorded._fields) == [
        *("key", "seq", "at", "event", "command_key", "data", "prev_hash", "hash")
    ]
