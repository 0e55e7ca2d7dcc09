"""The commands of workers: claim a payment that is due, and record the answer to a call."""

from datetime import date, timedelta

from billvend.domain.decisions.commands import Cancel, Claim, Command, ProviderCall, RecordAnswer, Resolve
from billvend.domain.decisions.decision import Decision, conclude, release_hold
from billvend.domain.enums import Status
from billvend.domain.journal import events
from billvend.domain.journal.events import StreamKey
from billvend.domain.outcome import Answer, Delivered, NotFound, Pending, Unknown
from billvend.domain.payment.incidents import duplicate_token_incident, incidents_after_settlement
from billvend.domain.payment.state import Attempt, Payment, Send
from billvend.domain.policy import steps
from billvend.domain.policy.accounts import ProviderAccount
from billvend.domain.policy.evidence import observed_seconds
from billvend.domain.policy.policy import Policy
from billvend.domain.policy.timing import scheduled_gap_seconds


def needs_wallet(payment: Payment, command: Command) -> bool:
    """Whether this command may give the payment's money back, so that the wallet must be locked too."""
    return isinstance(command, Cancel | Resolve) or (
        isinstance(command, Claim) and payment.status is Status.REVERSING
    )


def claim(decision: Decision, command: Claim) -> None:
    """Do what is due, or allow the worker to make the call that is due."""
    policy, was_reversing = command.policy, decision.payment.status is Status.REVERSING
    _expire_send_lease(decision)
    step = conclude(decision, policy)
    match step if step.is_due(decision.at) else None:
        case steps.StartAttempt(account):
            _start_send(decision, _new_attempt(decision, account, account.day(decision.at)), policy)
        case steps.RetrySend(attempt):
            _start_send(decision, attempt, policy)
        case steps.CheckPriorReference(account, day):
            _check_prior_reference(decision, _new_attempt(decision, account, day), policy)
        case steps.StartRequery(attempt, on_request):
            _start_requery(decision, attempt, policy, on_request=on_request)
        case steps.Reverse(proof, reason) if was_reversing and decision.wallet is not None:
            release_hold(decision, proof, reason, policy)
        case _:
            decision.finish(step.at)


def record_answer(decision: Decision, command: RecordAnswer, owner: StreamKey | None) -> None:
    """Record an answer, and draw the conclusion. `owner` is the payment that its token completed before, if any."""
    payment, answer = decision.payment, command.answer
    attempt = payment.attempt(command.attempt)
    if command.is_requery:
        requery = attempt.requery(command.call_number)
        if requery.answer is None or _adds_information(requery.answer, answer):
            is_first = requery.answer is None
            credit = observed_seconds(attempt, requery, command.at) if is_first else requery.credited_seconds
            decision.add(events.RequeryAnswered(attempt.number, command.call_number, answer, credit))
    else:
        answer = _normalise_send_answer(answer)
        send = attempt.send(command.call_number)
        if send.answer is None or _adds_information(send.answer, answer):
            decision.add(events.SendAnswered(attempt.number, command.call_number, answer))
    if decision.payment_events and payment.has_ended:
        decision.add(*incidents_after_settlement(payment, attempt, answer))
    step = conclude(decision, command.policy)
    decision.add(*duplicate_token_incident(decision.payment, owner, command.at))
    decision.finish(step.at)


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


def _expire_send_lease(decision: Decision) -> None:
    """Record that the lease of the open send expired without an answer. Its outcome is unknown from here on."""
    for attempt in decision.payment.attempts[-1:]:
        call = attempt.open_call
        if isinstance(call, Send) and not call.holds_lease(decision.at):
            decision.add(events.SendLeaseExpired(attempt.number, call.number))


def _new_attempt(decision: Decision, account: ProviderAccount, day: date) -> Attempt:
    """The next attempt, with the reference of that day in the account's time zone."""
    payment = decision.payment
    return Attempt(
        len(payment.attempts) + 1,
        account.reference_for(payment, day),
        account.provider,
        account.account_id,
        decision.at,
        account.valid_until(day),
    )


def _start_send(decision: Decision, attempt: Attempt, policy: Policy) -> None:
    """Send a reference, for the first time or again."""
    spare_seconds = max(0.0, policy.lease_seconds - policy.timeout_seconds - 1)
    send_before = decision.at + timedelta(seconds=spare_seconds)
    started = events.SendStarted(
        attempt.number, len(attempt.sends) + 1, attempt.reference, attempt.provider, attempt.account_id,
        lease_until=decision.at + timedelta(seconds=policy.lease_seconds),
        send_before=send_before,
        answer_by=send_before + timedelta(seconds=policy.timeout_seconds),
        valid_until=attempt.valid_until,
    )  # fmt: skip
    decision.add(started)
    if attempt.valid_until is not None:
        send_before = min(send_before, attempt.valid_until)
    call = ProviderCall(
        attempt.number, started.send, False, attempt.reference, attempt.provider, attempt.account_id,
        send_before, verify_meter=not decision.payment.verified,
    )  # fmt: skip
    decision.finish(started.lease_until, call)


def _check_prior_reference(decision: Decision, attempt: Attempt, policy: Policy) -> None:
    """Requery a reference that a lost journal may have sent, as the first call of an attempt of its own."""
    decision.add(
        events.PriorAttemptRegistered(
            attempt.number, attempt.reference, attempt.provider, attempt.account_id, attempt.valid_until
        )
    )
    _start_requery(decision, attempt, policy)


def _start_requery(decision: Decision, attempt: Attempt, policy: Policy, *, on_request: bool = False) -> None:
    number = len(attempt.requeries) + 1
    lease_until = decision.at + timedelta(seconds=policy.lease_seconds)
    # A requery made on request is credited little time, however long the gap before it was by the clock.
    gap_seconds = (
        policy.min_requery_interval_seconds
        if on_request
        else scheduled_gap_seconds(decision.payment, attempt, policy)
    )
    decision.add(events.RequeryStarted(attempt.number, number, lease_until, gap_seconds, on_request))
    call = ProviderCall(attempt.number, number, True, attempt.reference, attempt.provider, attempt.account_id)
    decision.finish(lease_until, call)
