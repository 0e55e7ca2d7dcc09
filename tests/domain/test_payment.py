"""A payment is the fold of its events, and every move that the rules forbid is refused by name."""

from collections.abc import Mapping, Sequence
from dataclasses import FrozenInstanceError

import pytest

from billvend.domain.enums import IncidentKind, Proof, Status, VendType
from billvend.domain.errors import InvalidTransition
from billvend.domain.journal.events import (
    IncidentRaised,
    PaymentAccepted,
    PaymentCompleted,
    PaymentEvent,
    PaymentReversed,
    RequeryAnswered,
    RequeryStarted,
    ReversalDecided,
    ReviewRequested,
    SendAnswered,
    SendLeaseExpired,
    SendStarted,
    StreamKey,
)
from billvend.domain.money import Money
from billvend.domain.outcome import Answer, Declined, Delivered, NotFound, NotSent, Unknown
from billvend.domain.payment.state import TERMINAL_STATUSES, TRANSITIONS, Payment, evolve
from tests.domain.books import NOON, seconds

KEY = StreamKey("ada", "bill")
ACCEPTED = PaymentAccepted(30000, "NGN", "12345678901", "EKEDC", VendType.PREPAID, None, None)
DELIVERED = PaymentCompleted(1, "acme", 30000, 29000, "1234", "4.5")
DECIDED = ReversalDecided(Proof.NOT_FOUND, "not known", 1)
REVERSED = PaymentReversed(Proof.NOT_FOUND, "not known", 30000)


def started(send: int, attempt: int = 1) -> SendStarted:
    return SendStarted(
        attempt, send, f"ref-{attempt}", "acme", "key-1",
        NOON + seconds(60), NOON + seconds(29), NOON + seconds(59), None,
    )  # fmt: skip


def folded(events: Sequence[PaymentEvent]) -> Payment:
    payment: Payment | None = None
    for number, event in enumerate(events):
        payment = evolve(payment, KEY, event, NOON + seconds(number))
    assert payment is not None
    return payment


SENT = (ACCEPTED, started(1))
DOUBTED = (*SENT, SendAnswered(1, 1, Unknown("no answer")))
HISTORIES: Mapping[Status, Sequence[PaymentEvent]] = {
    Status.PENDING: (ACCEPTED,),
    Status.PROCESSING: SENT,
    Status.IN_DOUBT: DOUBTED,
    Status.IN_REVIEW: (*DOUBTED, ReviewRequested("too long")),
    Status.COMPLETED: (*SENT, DELIVERED),
    Status.REVERSING: (*DOUBTED, DECIDED),
    Status.REVERSED: (*DOUBTED, DECIDED, REVERSED),
}
MOVING: Mapping[Status, PaymentEvent] = {
    Status.PENDING: ACCEPTED,
    Status.PROCESSING: started(2),
    Status.IN_DOUBT: SendLeaseExpired(1, 1),
    Status.IN_REVIEW: ReviewRequested("a person should look"),
    Status.COMPLETED: DELIVERED,
    Status.REVERSING: DECIDED,
    Status.REVERSED: REVERSED,
}
"""The event that would take a payment there."""

# + moves   . is refused   = is taken note of, and moves nothing: evidence is welcome at any time
TABLE = """
from \\ to   pending  processing  in_doubt  in_review  completed  reversing  reversed
pending         .         +          .          .          .          +         .
processing      .         +          +          +          +          +         .
in_doubt        .         .          =          +          +          +         .
in_review       .         .          =          .          +          +         .
completed       .         .          =          .          .          .         .
reversing       .         .          =          +          +          .         +
reversed        .         .          =          .          .          .         .
"""
ROWS = [line.split() for line in TABLE.splitlines()[2:]]
HEADS = [Status(name) for name in TABLE.splitlines()[1].split()[3:]]
CELLS = [(Status(row[0]), to, word) for row in ROWS for to, word in zip(HEADS, row[1:], strict=True)]


def test_the_table_has_every_pair() -> None:
    assert {(here, there) for here, there, _ in CELLS} == {(a, b) for a in Status for b in Status}
    assert len(CELLS) == 49


@pytest.mark.parametrize(("here", "there", "word"), CELLS)
def test_every_move_is_made_or_refused_as_the_table_says(here: Status, there: Status, word: str) -> None:
    payment = folded(HISTORIES[here])
    assert payment.status is here
    event = started(1) if here is Status.PENDING and there is Status.PROCESSING else MOVING[there]
    assert (there in TRANSITIONS[here]) == (word == "+")
    if word == ".":
        with pytest.raises(InvalidTransition, match="bill"):
            evolve(payment, KEY, event, NOON)
    else:
        moved = evolve(payment, KEY, event, NOON)
        assert moved.status is (there if word == "+" else here)


def test_ended_is_what_has_no_way_out() -> None:
    assert {status for status in Status if not TRANSITIONS[status]} == TERMINAL_STATUSES
    assert [folded(HISTORIES[status]).has_ended for status in Status] == [
        status in TERMINAL_STATUSES for status in Status
    ]


@pytest.mark.parametrize(
    "event",
    [
        started(2),
        started(1, attempt=2),
        SendAnswered(1, 1, NotSent("refused")),
        SendLeaseExpired(1, 1),
        RequeryStarted(1, 1, NOON, 20.0),
        RequeryAnswered(1, 1, NotFound("unknown"), 20.0),
    ],
)
def test_what_is_about_an_attempt_that_was_never_made_is_refused(event: PaymentEvent) -> None:
    with pytest.raises(InvalidTransition, match="bill"):
        evolve(folded([ACCEPTED]), KEY, event, NOON)


@pytest.mark.parametrize(
    "event",
    [
        *(SendAnswered(1, number, NotSent("refused")) for number in (-1, 0, 2)),
        *(SendLeaseExpired(1, number) for number in (-1, 0, 2)),
        *(RequeryAnswered(1, number, NotFound("unknown"), 0.0) for number in (-1, 0, 1)),
        *(RequeryStarted(1, number, NOON, 20.0) for number in (-1, 0, 2)),
        *(SendAnswered(attempt, 1, NotSent("refused")) for attempt in (-1, 0, 2)),
        *(started(number) for number in (0, 1, 3)),
        *(started(1, attempt) for attempt in (-1, 0, 3)),
        started(2, attempt=2),
    ],
    ids=str,
)
def test_numbers_that_skip_or_repeat_are_refused(event: PaymentEvent) -> None:
    with pytest.raises(InvalidTransition):
        evolve(folded(SENT), KEY, event, NOON)


@pytest.mark.parametrize("event", [event for event in MOVING.values() if event is not ACCEPTED], ids=str)
def test_nothing_happens_to_a_payment_that_was_never_accepted(event: PaymentEvent) -> None:
    with pytest.raises(InvalidTransition, match="never accepted"):
        evolve(None, KEY, event, NOON)


def test_a_payment_says_what_its_events_said() -> None:
    payment = folded([*SENT, DELIVERED])
    assert payment.stream_key == KEY
    assert payment.amount == Money(30000, "NGN")
    assert (payment.token, payment.units, payment.proof) == ("1234", "4.5", None)
    assert (payment.accepted_at, payment.updated_at, payment.ended_at) == (NOON, *[NOON + seconds(2)] * 2)
    reversed_ = folded(HISTORIES[Status.REVERSED])
    assert (reversed_.token, reversed_.units, reversed_.proof) == (None, None, Proof.NOT_FOUND)
    assert reversed_.ended_at == NOON + seconds(4)
    assert folded([ACCEPTED]).needs_token


def test_doubt_begins_with_the_answer_that_raised_it() -> None:
    assert folded(HISTORIES[Status.IN_REVIEW]).in_doubt_since == NOON + seconds(2)
    assert folded([*SENT, SendLeaseExpired(1, 1)]).in_doubt_since == NOON + seconds(2)
    assert folded([*DOUBTED, SendLeaseExpired(1, 1)]).in_doubt_since == NOON + seconds(2)


def test_a_review_takes_the_reversal_off_the_table_and_a_delivery_does_too() -> None:
    reviewed = folded([*HISTORIES[Status.REVERSING], ReviewRequested("it may be there after all")])
    assert (reviewed.proof, reviewed.review_reason) == (None, "it may be there after all")
    assert folded([*HISTORIES[Status.REVERSING], DELIVERED]).proof is None


def test_calls_keep_their_answers_in_the_order_in_which_they_were_made() -> None:
    declined, lost, delivered = Declined("no"), NotFound("unknown"), Delivered("1234")
    asked = (RequeryStarted(1, 1, NOON, 20.0), RequeryStarted(1, 2, NOON, 60.0))
    answers: Sequence[PaymentEvent] = (
        RequeryAnswered(1, 2, delivered, 60.0),
        RequeryAnswered(1, 1, lost, 0.0),
        SendAnswered(1, 1, declined),
    )
    attempt = folded([*SENT, SendLeaseExpired(1, 1), *asked, *answers]).attempt(1)
    expected: tuple[Answer, ...] = (declined, lost, delivered)
    assert attempt.answers == expected
    assert [requery.credited_seconds for requery in attempt.requeries] == [0.0, 60.0]
    assert attempt.open_call is None


def test_a_lost_send_is_in_doubt_until_its_worker_turns_up() -> None:
    lost = folded([*SENT, SendLeaseExpired(1, 1)]).attempt(1).send(1)
    assert (lost.is_open, lost.is_ambiguous) == (False, True)
    found = (
        folded([*SENT, SendLeaseExpired(1, 1), SendAnswered(1, 1, NotSent("too late"))]).attempt(1).send(1)
    )
    assert (found.is_open, found.is_ambiguous) == (False, False)


def test_an_unknown_answer_about_an_attempt_that_is_over_doubts_nothing() -> None:
    over = (*SENT, SendAnswered(1, 1, Declined("no")), started(1, attempt=2))
    assert folded([*over, SendAnswered(1, 1, Unknown("?"))]).status is Status.PROCESSING
    assert folded([*over, SendAnswered(2, 1, Unknown("?"))]).status is Status.IN_DOUBT


def test_incidents_are_kept_and_move_nothing() -> None:
    incident = IncidentRaised(IncidentKind.TAKEN_BACK, 1, "acme", 29000, "reversed")
    payment = folded([*SENT, DELIVERED, incident, incident])
    assert (payment.status, payment.incidents) == (Status.COMPLETED, (incident, incident))


def test_a_payment_can_not_be_changed_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        folded([ACCEPTED]).status = Status.COMPLETED  # type: ignore[misc]
