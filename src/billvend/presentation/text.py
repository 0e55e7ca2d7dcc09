"""A payment in words: its result, where the money is, and what comes next."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from billvend.domain.enums import Proof, Status, VendType
from billvend.domain.journal.events import (
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
)
from billvend.domain.outcome import (
    Answer,
    Declined,
    Deferred,
    Delivered,
    Misconfigured,
    NotFound,
    NotSent,
    Pending,
    Unknown,
)
from billvend.domain.payment.state import Payment

ACCEPTED_MESSAGE: Final = "Your payment is accepted and about to be sent. Your money is held."
KEY_CHANGE_TOKENS: Final = {"kct1": "Key change token 1", "kct2": "Key change token 2"}
"""Tokens in the receipt of a meter whose key is changing. The customer enters them before the token, in this order."""


def customer_message(
    payment: Payment, next_check_at: datetime | None = None, *, now: datetime | None = None
) -> str:
    """One or two sentences to the customer: what is happening, and where the money is. Never a token."""
    match payment.status:
        case Status.PENDING:
            return ACCEPTED_MESSAGE
        case Status.PROCESSING:
            return "We are buying your electricity. Your money is held."
        case Status.IN_DOUBT:
            sentence = "We are confirming with your electricity company. Your money is held."
            if next_check_at is None or next_check_at <= (now or datetime.now(UTC)):
                return sentence
            return f"{sentence} Next check {next_check_at.astimezone(UTC):%H:%M} UTC."
        case Status.IN_REVIEW:
            return (
                "Your electricity company has not confirmed it, so our staff is checking. Your money is held."
            )
        case Status.COMPLETED if payment.vend_type is VendType.POSTPAID:
            return "Your bill is paid. There is no token to type in."
        case Status.COMPLETED:
            return "Your electricity is paid. Type the token into your meter."
        case Status.REVERSING:
            return "No electricity was sold. Your money is on its way back."
        case Status.REVERSED if payment.proof is Proof.DECLINED and payment.reversal:
            return f"Your electricity company declined the payment: {payment.reversal.reason}. Your money is back."
        case Status.REVERSED:
            return "No electricity was bought. Your money is back."


def describe_time(at: datetime, now: datetime) -> str:
    """A future moment: `at 14:05:20 UTC (in 18 s)`, or `now`."""
    remaining = at - now
    if remaining <= timedelta(0):
        return "now"
    at = at.astimezone(UTC)
    date = f" on {at:%d %B}" if remaining >= timedelta(days=1) else ""
    countdown = f" (in {remaining.total_seconds():.0f} s)" if remaining < timedelta(minutes=10) else ""
    return f"at {at:%H:%M:%S} UTC{date}{countdown}"


def group_digits(token: str) -> str:
    """A token as receipts print it: five groups of four digits. Text that is not 20 digits is unchanged."""
    if len(token) != 20 or not token.isdigit():
        return token
    return "-".join(token[start : start + 4] for start in range(0, 20, 4))


def token_lines(payment: Payment) -> Iterator[tuple[str, str]]:
    """The tokens that the customer enters into the meter, in order, each with its name."""
    if payment.completion is None:
        return
    receipt = {name.lower(): value for name, value in payment.completion.receipt.items()}
    for name, label in KEY_CHANGE_TOKENS.items():
        if receipt.get(name):
            yield label, group_digits(receipt[name])
    if payment.completion.token:
        yield "Token", group_digits(payment.completion.token)


def describe_answer(answer: Answer | None) -> str:
    """A provider's answer, for operators."""
    match answer:
        case None:
            return "no answer yet"
        case Delivered():
            return "delivered"
        case Declined(reason, provider_reversed=True):
            return f"delivered, then reversed by the provider: {reason}"
        case Declined(reason):
            return f"declined: {reason}"
        case NotSent(reason):
            return f"not sent: {reason}"
        case Deferred(reason) | Misconfigured(reason):
            return f"not executed: {reason}"
        case Unknown(reason):
            return f"unknown, it may have been delivered: {reason}"
        case Pending(reason):
            return f"pending: {reason}"
        case NotFound(reason):
            return f"not found: {reason}"


def describe_event(event: Event) -> str:
    """An event of a payment in one line. Never a token."""
    match event:
        case PaymentAccepted():
            return "accepted, its money is held"
        case SendStarted():
            return (
                f"sent to {event.provider}, attempt {event.attempt}.{event.send}, reference {event.reference}"
            )
        case SendAnswered():
            return f"answer to {event.attempt}.{event.send}: {describe_answer(event.answer)}"
        case SendLeaseExpired():
            return f"no worker reported on {event.attempt}.{event.send}: it may have been delivered"
        case RequeryStarted():
            return f"requery {event.requery} of attempt {event.attempt}"
        case RequeryAnswered():
            return f"answer to a requery of attempt {event.attempt}: {describe_answer(event.answer)}"
        case PaymentPutInDoubt():
            return "in doubt: it may have been sold, and nothing is sent from here on"
        case ReviewRequested():
            return f"manual review requested: {event.reason}"
        case PriorAttemptRegistered():
            return f"to be requeried first: reference {event.reference}, which a lost ledger may have sent"
        case RequeryRequested():
            return f"earlier requery requested by {event.source}"
        case CostRecorded():
            return "the cost of the sale was recorded"
        case OperatorDecided():
            return f"{event.operator} decided ({event.decision}): {event.reason}"
        case PaymentCompleted():
            return f"completed by attempt {event.attempt} at {event.provider}: the money is captured"
        case ReversalDecided():
            return f"reversal decided, proof {event.proof}: {event.reason}"
        case PaymentReversed():
            return f"reversed, the money is released, proof {event.proof}: {event.reason}"
        case IncidentRaised():
            return f"incident {event.kind} of attempt {event.attempt}: an operator must look"
        case _:
            return type(event).__name__
