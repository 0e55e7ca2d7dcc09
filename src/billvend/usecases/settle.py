"""Settle: take what is due on a payment one step further.

Claim (commit), call the provider with no transaction open, report (commit), then tell the workers what follows. The
claim is what excludes others: a hint that comes twice, late or for nothing does no harm.
"""

import logging
from collections.abc import Callable
from datetime import timedelta

from billvend.domain.abilities import Mode
from billvend.domain.commands import Claim, Done, Reply, Report, Work
from billvend.domain.errors import BadSetting, BillvendError, TransactionNotFound, Unreachable
from billvend.domain.outcome import Answer, Declined, Misconfigured, NotSent, Unknown, sound
from billvend.domain.payment import Payment
from billvend.domain.verification import CannotVerify, MeterFound, MeterRefused
from billvend.domain.words import Status
from billvend.ports.provider import Order, Provider
from billvend.ports.queue import Hint, QueueName
from billvend.usecases.breaker import at_fault, close, policy_now
from billvend.usecases.note import note_payment
from billvend.usecases.notify import tell_workers_of
from billvend.usecases.parts import Parts, carry_out
from billvend.usecases.verify import ask_one, refused_amount

logger = logging.getLogger("billvend.settle")

PATIENCE_SECONDS = 120
"""How long an answer in hand waits for the database to come back."""
LONGEST_PAUSE_SECONDS = 2.0


def settle(parts: Parts, hint: Hint) -> Reply:
    """Do what is due on one payment; nothing, if nothing is or somebody else is at it.

    Raises `TransactionNotFound`, `Unavailable`, `OutcomeUnknown`; whatever was sent by then is found again by its lease.
    """
    check_mode(parts)
    claimed_at, claimed = parts.clock.now(), parts.clock.elapsed_seconds()
    policy = policy_now(parts)
    claim = Claim(hint.user_id, parts.clock.new_id(), hint.transaction_id, claimed_at, policy)
    done = carry_out(parts, claim)
    if done.payment is not None:
        note_payment(parts, done.payment, claimed_at)
        tell_workers_of(parts, done.payment, claimed_at)
    work = done.reply.work
    if work is None:
        tell(parts, hint, done.reply)
        return done.reply
    payment = done.payment or _payment(parts, hint)

    def may_send() -> bool:
        if work.send_before is None:
            return True
        return timedelta(seconds=parts.clock.elapsed_seconds() - claimed) < work.send_before - claimed_at

    asked_at = parts.clock.elapsed_seconds()
    answer = _ask(parts, payment, work, may_send)
    took_seconds = parts.clock.elapsed_seconds() - asked_at
    parts.measures.answered(work.provider, answer, took_seconds, is_requery=work.is_requery)
    report = Report(
        hint.user_id, parts.clock.new_id(), hint.transaction_id, parts.clock.now(), policy,
        work.attempt, work.call, work.is_requery, answer,
    )  # fmt: skip
    done = _written_down(parts, report)
    if done.payment is not None:
        note_payment(parts, done.payment, report.at)
        tell_workers_of(parts, done.payment, report.at)
    if isinstance(answer, Misconfigured) and not work.is_requery:
        _stop_selling(parts, work, answer)
    tell(parts, hint, done.reply)
    return done.reply


def _stop_selling(parts: Parts, work: Work, answer: Misconfigured) -> None:
    try:
        close(parts, work.provider, work.account, at_fault(answer))
    except BillvendError:  # the next answer, or the sweeper, says so again
        logger.warning("That nothing is sold at %s now could not be written down", work.provider)


def _written_down(parts: Parts, report: Report) -> Done:
    """Report, whatever it takes: an answer in hand is not thrown away because the database is restarting.

    Raises `Unreachable` after `PATIENCE_SECONDS`. Then the lease runs out, and the provider is asked again.
    """
    began, pause_seconds = parts.clock.elapsed_seconds(), 0.1
    while True:
        try:
            return carry_out(parts, report)
        except Unreachable:
            if parts.clock.elapsed_seconds() - began >= PATIENCE_SECONDS:
                raise
        parts.clock.pause(pause_seconds)
        pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)


def _ask(parts: Parts, payment: Payment, work: Work, may_send: Callable[[], bool]) -> Answer:
    provider = parts.providers.get((work.provider, work.account))
    if provider is None:
        return NotSent(f"the {work.provider} account {work.account} is not configured here")
    order = Order(
        work.reference, payment.meter, payment.biller, payment.vend_type, payment.amount, payment.phone
    )
    if work.verify and (refused := _refused_meter(parts, provider, payment)) is not None:
        return refused
    try:
        return sound(provider.requery(order) if work.is_requery else provider.vend(order, may_send))
    except Exception as error:  # noqa: BLE001  an adapter's bug after the first byte must not lose the payment
        return Unknown(f"the adapter failed: {type(error).__name__}: {error}"[:200])


def _refused_meter(parts: Parts, provider: Provider, payment: Payment) -> Answer | None:
    """Why nothing is sent to a meter that was accepted unasked, in bulk; None where it may be.

    Nothing has been sent under the reference, so that what is said here of the send is proof.
    """
    if not parts.verification.is_on:
        return None
    match ask_one(parts, provider, payment.meter, payment.biller, payment.vend_type):
        case MeterRefused(fault, reason):
            return Declined(reason, fault.value)
        case MeterFound() as found if (refused := refused_amount(found, payment.amount)) is not None:
            return Declined(f"the amount {refused.fields['amount']}", refused.code)
        case CannotVerify(why) if not parts.verification.unreachable_is_allowed:
            return NotSent(f"the meter could not be asked about: {why}")
        case _:
            return None


def tell(parts: Parts, hint: Hint, reply: Reply) -> None:
    """Tell the workers of what is due at once; a sweep finds what is due later."""
    if reply.next_at is not None and reply.next_at <= parts.clock.now():
        parts.queue.tell(queue_for(reply.status), [hint])


def queue_for(status: Status) -> QueueName:
    """Which workers a payment in this status needs."""
    return QueueName.REVERSALS if status is Status.REVERSING else QueueName.PAYMENTS


def check_mode(parts: Parts) -> None:
    """Refuse books that are for the other kind of money; those without a mark get one. Raises `BadSetting`."""
    marked = parts.journal.stamp(parts.mode)
    if marked is not parts.mode:
        raise BadSetting(
            f"These books are for {marked} money, and the configured provider is for {parts.mode} money. "
            "Nothing was sent: use another DATABASE_URL or BILL_PROVIDER."
        )


def is_test_money_only(parts: Parts) -> bool:
    """Whether no real money is here: the provider is for tests, and so are the books, or nothing marked them yet.

    A gateway is always for the same kind of money as the provider. Raises `Unavailable`.
    """
    return parts.mode is Mode.TEST and parts.journal.mode() is not Mode.LIVE


def _payment(parts: Parts, hint: Hint) -> Payment:
    found = parts.books.transaction(hint.transaction_id, hint.user_id)
    if not isinstance(found, Payment):
        raise TransactionNotFound(f"There is no payment {hint.transaction_id}.")
    return found
