"""A payment is the fold of its events, and every transition that the rules forbid raises a named error."""

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
    PaymentPutInDoubt,
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
from billvend.domain.payment.state import TERMINAL_STATUSES, Payment
from billvend.domain.payment.transitions import TRANSITIONS, evolve
from tests.domain.model_ledger import NOON, seconds

KEY = StreamKey("ada", "bill")
ACCEPTED = PaymentAccepted(30000, "NGN", "12345678901", "EKEDC", VendType.PREPAID, None, None)
DELIVERED = PaymentCompleted(1, "acme", 30000, 29000, "1234", "4.5")
REVERSAL_DECIDED = ReversalDecided(Proof.NOT_FOUND, "not known", 1)
REVERSED = PaymentReversed(Proof.NOT_FOUND, "not known", 30000)


def send_started(send: int, attempt: int = 1) -> SendStarted:
    return SendStarted(
        attempt, send, f"ref-{attempt}", "acme", "key-1",
        NOON + seconds(60), NOON + seconds(29), NOON + seconds(59), None,
    )  # fmt: skip


def payment_after(events: Sequence[PaymentEvent]) -> Payment:
    payment: Payment | None = None
    for number, event in enumerate(events):
        payment = evolve(payment, KEY, event, NOON + seconds(number))
    assert payment is not None
    return payment


SENT_EVENTS = (ACCEPTED, send_started(1))
IN_DOUBT_EVENTS = (*SENT_EVENTS, SendAnswered(1, 1, Unknown("no answer")), PaymentPutInDoubt())
HISTORIES: Mapping[Status, Sequence[PaymentEvent]] = {
    Status.PENDING: (ACCEPTED,),
    Status.PROCESSING: SENT_EVENTS,
    Status.IN_DOUBT: IN_DOUBT_EVENTS,
    Status.IN_REVIEW: (*IN_DOUBT_EVENTS, ReviewRequested("too long")),
    Status.COMPLETED: (*SENT_EVENTS, DELIVERED),
    Status.REVERSING: (*IN_DOUBT_EVENTS, REVERSAL_DECIDED),
    Status.REVERSED: (*IN_DOUBT_EVENTS, REVERSAL_DECIDED, REVERSED),
}
EVENT_INTO: Mapping[Status, PaymentEvent] = {
    Status.PENDING: ACCEPTED,
    Status.PROCESSING: send_started(2),
    Status.IN_DOUBT: PaymentPutInDoubt(),
    Status.IN_REVIEW: ReviewRequested("a person should look"),
    Status.COMPLETED: DELIVERED,
    Status.REVERSING: REVERSAL_DECIDED,
    Status.REVERSED: REVERSED,
}
"""The event that would move a payment to that status."""

# + moves   . is rejected
TABLE = """
from \\ to   pending  processing  in_doubt  in_review  completed  reversing  reversed
pending         .         +          .          .          .          +         .
processing      .         +          +          +          +          +         .
in_doubt        .         .          .          +          +          +         .
in_review       .         .          .          .          +          +         .
completed       .         .          .          .          .          .         .
reversing       .         .          .          +          +          .         +
reversed        .         .          .          .          .          .         .
"""
ROWS = [line.split() for line in TABLE.splitlines()[2:]]
COLUMNS = [Status(name) for name in TABLE.splitlines()[1].split()[3:]]
CELLS = [(Status(row[0]), to, word) for row in ROWS for to, word in zip(COLUMNS, row[1:], strict=True)]


def test_transition_table_has_every_pair_of_statuses() -> None:
    assert {(here, there) for here, there, _ in CELLS} == {(a, b) for a in Status for b in Status}
    assert len(CELLS) == 49


@pytest.mark.parametrize(("here", "there", "word"), CELLS)
def test_transition_is_made_or_rejected_as_in_the_table(here: Status, there: Status, word: str) -> None:
    payment = payment_after(HISTORIES[here])
    assert payment.status is here
    event = send_started(1) if here is Status.PENDING and there is Status.PROCESSING else EVENT_INTO[there]
    assert (there in TRANSITIONS[here]) == (word == "+")
    if word == ".":
        with pytest.raises(InvalidTransition, match="bill"):
            evolve(payment, KEY, event, NOON)
    else:
        assert evolve(payment, KEY, event, NOON).status is there


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.PENDING])
@pytest.mark.parametrize(
    "event", [SendLeaseExpired(1, 1), SendAnswered(1, 1, Unknown("?")), SendAnswered(1, 1, Delivered("1234"))]
)
def test_evidence_is_recorded_in_any_status_and_changes_none(status: Status, event: PaymentEvent) -> None:
    payment = payment_after(HISTORIES[status])
    assert evolve(payment, KEY, event, NOON).status is status


def test_terminal_statuses_have_no_transition() -> None:
    assert {status for status in Status if not TRANSITIONS[status]} == TERMINAL_STATUSES
    assert [payment_after(HISTORIES[status]).has_ended for status in Status] == [
        status in TERMINAL_STATUSES for status in Status
    ]


@pytest.mark.parametrize(
    ("history", "event"),
    [
        ([ACCEPTED], send_started(2)),
        ([ACCEPTED], send_started(1, attempt=2)),
        *(([ACCEPTED], event) for event in (SendAnswered(1, 1, NotSent("refused")), SendLeaseExpired(1, 1))),
        ([ACCEPTED], RequeryStarted(1, 1, NOON, 20.0)),
        ([ACCEPTED], RequeryAnswered(1, 1, NotFound("unknown"), 20.0)),
        *((SENT_EVENTS, SendAnswered(1, number, NotSent("refused"))) for number in (-1, 0, 2)),
        *((SENT_EVENTS, SendLeaseExpired(1, number)) for number in (-1, 0, 2)),
        *((SENT_EVENTS, RequeryAnswered(1, number, NotFound("unknown"), 0.0)) for number in (-1, 0, 1)),
        *((SENT_EVENTS, RequeryStarted(1, number, NOON, 20.0)) for number in (-1, 0, 2)),
        *((SENT_EVENTS, SendAnswered(attempt, 1, NotSent("refused"))) for attempt in (-1, 0, 2)),
        *((SENT_EVENTS, send_started(number)) for number in (0, 1, 3)),
        *((SENT_EVENTS, send_started(1, attempt)) for attempt in (-1, 0, 3)),
        (SENT_EVENTS, send_started(2, attempt=2)),
    ],
    ids=str,
)
def test_event_with_unknown_skipped_or_repeated_number_is_rejected(
    history: Sequence[PaymentEvent], event: PaymentEvent
) -> None:
    with pytest.raises(InvalidTransition, match=r"bill|ref-1"):
        evolve(payment_after(history), KEY, event, NOON)


@pytest.mark.parametrize("event", [event for event in EVENT_INTO.values() if event is not ACCEPTED], ids=str)
def test_event_before_acceptance_is_rejected(event: PaymentEvent) -> None:
    with pytest.raises(InvalidTransition, match="never accepted"):
        evolve(None, KEY, event, NOON)


def test_payment_fields_come_from_its_events() -> None:
    payment = payment_after([*SENT_EVENTS, DELIVERED])
    assert payment.stream_key == KEY
    assert payment.amount == Money(30000, "NGN")
    assert (payment.token, payment.units, payment.proof) == ("1234", "4.5", None)
    assert (payment.accepted_at, payment.updated_at, payment.ended_at) == (NOON, *[NOON + seconds(2)] * 2)
    reversed_ = payment_after(HISTORIES[Status.REVERSED])
    assert (reversed_.token, reversed_.units, reversed_.proof) == (None, None, Proof.NOT_FOUND)
    assert reversed_.ended_at == NOON + seconds(5)
    assert payment_after([ACCEPTED]).needs_token


def test_in_doubt_since_is_when_it_was_put_in_doubt() -> None:
    assert payment_after(SENT_EVENTS).in_doubt_since is None
    assert payment_after(HISTORIES[Status.IN_REVIEW]).in_doubt_since == NOON + seconds(3)
    assert payment_after([*IN_DOUBT_EVENTS, SendLeaseExpired(1, 1)]).in_doubt_since == NOON + seconds(3)


def test_review_or_delivery_withdraws_a_decided_reversal() -> None:
    reviewed = payment_after([*HISTORIES[Status.REVERSING], ReviewRequested("it may be there after all")])
    assert (reviewed.proof, reviewed.review_reason) == (None, "it may be there after all")
    assert payment_after([*HISTORIES[Status.REVERSING], DELIVERED]).proof is None


def test_answers_are_ordered_by_call() -> None:
    declined, lost, delivered = Declined("no"), NotFound("unknown"), Delivered("1234")
    asked = (RequeryStarted(1, 1, NOON, 20.0), RequeryStarted(1, 2, NOON, 60.0))
    answers: Sequence[PaymentEvent] = (
        RequeryAnswered(1, 2, delivered, 60.0),
        RequeryAnswered(1, 1, lost, 0.0),
        SendAnswered(1, 1, declined),
    )
    attempt = payment_after([*SENT_EVENTS, SendLeaseExpired(1, 1), *asked, *answers]).attempt(1)
    expected: tuple[Answer, ...] = (declined, lost, delivered)
    assert attempt.answers == expected
    assert [requery.credited_seconds for requery in attempt.requeries] == [0.0, 60.0]
    assert attempt.open_call is None


def test_send_with_expired_lease_is_in_doubt_until_answered() -> None:
    lost = payment_after([*SENT_EVENTS, SendLeaseExpired(1, 1)]).attempt(1).send(1)
    assert (lost.is_open, lost.is_ambiguous) == (False, True)
    found = (
        payment_after([*SENT_EVENTS, SendLeaseExpired(1, 1), SendAnswered(1, 1, NotSent("too late"))])
        .attempt(1)
        .send(1)
    )
    assert (found.is_open, found.is_ambiguous) == (False, False)


def test_incident_is_stored_and_changes_no_status() -> None:
    incident = IncidentRaised(IncidentKind.TAKEN_BACK, 1, "acme", 29000, "reversed")
    payment = payment_after([*SENT_EVENTS, DELIVERED, incident, incident])
    assert (payment.status, payment.incidents) == (Status.COMPLETED, (incident, incident))


def test_payment_is_immutable() -> None:
    with pytest.raises(FrozenInstanceError):
        payment_after([ACCEPTED]).status = Status.COMPLETED  # type: ignore[misc]
