"""The commands of workers: claim a payment that is due, and record the answer to a call."""

from datetime import date, datetime, timedelta

from billvend.domain.decisions.commands import Cancel, Claim, Command, ProviderCall, RecordAnswer, Resolve
from billvend.domain.decisions.recorder import Decision, EventRecorder, conclude, release_hold
from billvend.domain.enums import Status
from billvend.domain.journal.events import (
    PriorAttemptRegistered,
    RequeryAnswered,
    RequeryStarted,
    SendAnswered,
    SendLeaseExpired,
    SendStarted,
    StreamKey,
)
from billvend.domain.ledger.wallet import Wallet
from billvend.domain.outcome import Answer, Delivered, NotFound, Pending, Unknown
from billvend.domain.payment.incidents import duplicate_token_incident, incidents_after_settlement
from billvend.domain.payment.lease import holds_lease
from billvend.domain.payment.state import TERMINAL_STATUSES, Attempt, Payment, Send
from billvend.domain.policy.accounts import ProviderAccount
from billvend.domain.policy.evidence import observed_seconds
from billvend.domain.policy.policy import Policy
from billvend.domain.policy.steps import (
    CheckPriorReference,
    RetrySend,
    Reverse,
    StartAttempt,
    StartRequery,
    due_at,
)
from billvend.domain.policy.timing import scheduled_gap_seconds


def needs_wallet(payment: Payment, command: Command) -> bool:
    """Whether this command may give the payment's money back, so that the wallet must be locked too."""
    return isinstance(command, Cancel | Resolve) or (
        isinstance(command, Claim) and payment.status is Status.REVERSING
    )


def claim(wallet: Wallet | None, payment: Payment, command: Claim) -> Decision:
    """Do what is due, or allow the worker to make the call that is due."""
    recorder, policy, now = EventRecorder(payment, command.at), command.policy, command.at
    _expire_send_lease(recorder, now)
    step = conclude(recorder, policy)
    match step:
        case StartAttempt(account, at) if at <= now:
            return _start_send(recorder, None, account, policy)
        case RetrySend(attempt, at) if at <= now and (known := policy.account_of(attempt)) is not None:
            return _start_send(recorder, attempt, known, policy)
        case StartRequery(attempt, at, on_request) if at <= now:
            return _start_requery(recorder, attempt, policy, on_request=on_request)
        case CheckPriorReference(account, day, at) if at <= now:
            return _check_prior_reference(recorder, account, day, policy)
        case Reverse(proof, reason) if payment.status is Status.REVERSING and wallet is not None:
            return release_hold(wallet, recorder, proof, reason, policy)
        case _:
            return recorder.finish(due_at(step, now))


def record_answer(payment: Payment, command: RecordAnswer, owner: StreamKey | None) -> Decision:
    """Record an answer, and draw the conclusion. `owner` is the payment that its token completed before, if any."""
    recorder, policy, now = EventRecorder(payment, command.at), command.policy, command.at
    attempt = payment.attempt(command.attempt)
    answer = command.answer
    if command.is_requery:
        requery = attempt.requery(command.call_number)
        if requery.answer is None or _adds_information(requery.answer, answer):
            credit = (
                observed_seconds(attempt, requery, now)
                if requery.answer is None
                else requery.credited_seconds
            )
            recorder.add(RequeryAnswered(attempt.number, command.call_number, answer, credit))
    else:
        answer = _normalise_send_answer(answer)
        send = attempt.send(command.call_number)
        if send.answer is None or _adds_information(send.answer, answer):
            recorder.add(SendAnswered(attempt.number, command.call_number, answer))
    if recorder.events and payment.status in TERMINAL_STATUSES:
        recorder.add_all(incidents_after_settlement(payment, attempt, answer))
    step = conclude(recorder, policy)
    recorder.add_all(duplicate_token_incident(recorder.payment, owner, now))
    return recorder.finish(due_at(step, now))


def _adds_information(known: Answer, answer: Answer) -> bool:
    """Whether a second answer to one call counts. It counts only if it has a delivery that was not known: that is kept."""
    if not isinstance(answer, Delivered):
        return False
    return not isinstance(known, Delivered) or known.token != answer.token


def _normalise_send_answer(answer: Answer) -> Answer:
    """An answer to a send. `Pending` and `NotFound` are answers to requeries only, so here they become `Unknown`."""
    match answer:
        case Pending(reason):
            return Unknown(reason, known_to_provider=True)
        case NotFound(reason):
            return Unknown(reason)
        case _:
            return answer


def _expire_send_lease(recorder: EventRecorder, now: datetime) -> None:
    """Record that the lease of the open send expired without an answer. Its outcome is unknown from here on."""
    if not recorder.payment.attempts:
        return
    attempt = recorder.payment.attempts[-1]
    call = attempt.open_call
    if isinstance(call, Send) and not holds_lease(call, now):
        recorder.add(SendLeaseExpired(attempt.number, call.number))


def _start_send(
    recorder: EventRecorder, attempt: Attempt | None, account: ProviderAccount, policy: Policy
) -> Decision:
    payment, now = recorder.payment, recorder.at
    number = attempt.number if attempt else len(payment.attempts) + 1
    day = account.day(now)
    reference = attempt.reference if attempt else _reference(payment, account, day)
    spare_seconds = max(0.0, policy.lease_seconds - policy.timeout_seconds - 1)
    send_before = now + timedelta(seconds=spare_seconds)
    started = SendStarted(
        attempt=number,
        send=len(attempt.sends) + 1 if attempt else 1,
        reference=reference,
        provider=account.provider,
        account_id=account.account_id,
        lease_until=now + timedelta(seconds=policy.lease_seconds),
        send_before=send_before,
        answer_by=send_before + timedelta(seconds=policy.timeout_seconds),
        valid_until=attempt.valid_until if attempt else account.valid_until(day),
    )
    recorder.add(started)
    if started.valid_until is not None:
        send_before = min(send_before, started.valid_until)
    provider_call = ProviderCall(
        number, started.send, False, reference, account.provider, account.account_id, send_before,
        verify_meter=not payment.verified,
    )  # fmt: skip
    return recorder.finish(started.lease_until, provider_call)


def _reference(payment: Payment, account: ProviderAccount, day: date) -> str:
    return account.make_reference(payment.reference_seed, payment.reference_number, day)


def _check_prior_reference(
    recorder: EventRecorder, account: ProviderAccount, day: date, policy: Policy
) -> Decision:
    """Requery a reference that a lost journal may have sent, as the first call of an attempt of its own."""
    payment = recorder.payment
    number, reference = len(payment.attempts) + 1, _reference(payment, account, day)
    recorder.add(
        PriorAttemptRegistered(
            number, reference, account.provider, account.account_id, account.valid_until(day)
        )
    )
    return _start_requery(recorder, recorder.payment.attempts[-1], policy)


def _start_requery(
    recorder: EventRecorder, attempt: Attempt, policy: Policy, *, on_request: bool = False
) -> Decision:
    number = len(attempt.requeries) + 1
    lease_until = recorder.at + timedelta(seconds=policy.lease_seconds)
    # A requery made on request is credited little time, however long the gap before it was by the clock.
    gap_seconds = (
        policy.min_requery_interval_seconds
        if on_request
        else scheduled_gap_seconds(recorder.payment, attempt, policy)
    )
    recorder.add(RequeryStarted(attempt.number, number, lease_until, gap_seconds, on_request))
    provider_call = ProviderCall(
        attempt.number, number, True, attempt.reference, attempt.provider, attempt.account_id
    )
    return recorder.finish(lease_until, provider_call)
