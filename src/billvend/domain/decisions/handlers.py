"""The decisions: what one command does to the books, or why it is refused.

Each takes the state that it concerns and the command, and returns the events, the state after them and the result.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from billvend.domain.decisions.commands import (
    Cancel,
    Claim,
    Command,
    CommandResult,
    Fund,
    Pay,
    ProviderCall,
    RecordAnswer,
    RequestRequery,
    Resolve,
)
from billvend.domain.enums import OperatorDecision, Proof, Status
from billvend.domain.errors import (
    AlreadySent,
    LikelyDuplicate,
    NotInReview,
    ValidationFailed,
    WalletNotFound,
)
from billvend.domain.journal.events import (
    OperatorDecided,
    PaymentAccepted,
    PaymentCompleted,
    PaymentEvent,
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
    StreamKey,
    WalletEvent,
    WalletFunded,
    WalletReleased,
)
from billvend.domain.ledger import wallet as wallets
from billvend.domain.ledger.wallet import Wallet
from billvend.domain.outcome import Answer, Declined, Delivered, NotFound, Pending, Unknown, verify_echo
from billvend.domain.payment import state as payments
from billvend.domain.payment.incidents import duplicate_token_incident, incidents_after_settlement
from billvend.domain.payment.state import TERMINAL_STATUSES, Attempt, Payment, Send, holds_lease
from billvend.domain.policy.accounts import ProviderAccount
from billvend.domain.policy.evidence import observed_seconds
from billvend.domain.policy.policy import Policy
from billvend.domain.policy.rules import (
    CheckPriorReference,
    Complete,
    RetrySend,
    Reverse,
    Review,
    StartAttempt,
    StartRequery,
    Step,
    due_at,
    next_step,
)
from billvend.domain.policy.timing import earliest_requested_requery_at, scheduled_gap_seconds

OPERATOR = "operator"
"""The source of a nudge that need not wait."""
DUPLICATE_WINDOW_SECONDS = 30
"""The same bill paid again within this, without a key, is taken for a double click."""


@dataclass(slots=True)
class Decision:
    """What one command does: the state after it, the events that led there, and the result."""

    result: CommandResult
    wallet: Wallet | None = None
    wallet_events: Sequence[WalletEvent] = ()
    payment: Payment | None = None
    payment_events: Sequence[PaymentEvent] = ()


# --- what people ask for ----------------------------------------------------------------------------------------------


def fund(wallet: Wallet | None, command: Fund) -> Decision:
    """Money comes in."""
    before = wallet or wallets.new_wallet(command.user_id, command.amount.currency)
    event = WalletFunded(
        command.transaction_id, command.amount.amount_minor, command.source, command.reference
    )
    after = wallets.evolve(before, event)
    result = CommandResult(command.transaction_id, Status.COMPLETED, after.balance.amount_minor)
    return Decision(result, after, [event])


def pay(wallet: Wallet | None, duplicate_paid_at: datetime | None, command: Pay) -> Decision:
    """Money is held for a bill. Raises `WalletNotFound`, `LikelyDuplicate`, `InsufficientFunds`."""
    if wallet is None:
        raise WalletNotFound(
            f"There is no {command.amount.currency} wallet of this user: fund it first. Nothing was held."
        )
    guarded = not (command.has_caller_key or command.allow_duplicate)
    if guarded and duplicate_paid_at is not None:
        since = command.at - duplicate_paid_at
        if abs(since) < timedelta(seconds=DUPLICATE_WINDOW_SECONDS):
            raise LikelyDuplicate(
                "The same bill was paid less than 30 seconds ago: a likely double click. Nothing was held. "
                "To pay it twice, ask for it expressly."
            )
    held = wallets.hold(wallet, command.transaction_id, command.amount)
    accepted = PaymentAccepted(
        command.amount.amount_minor, command.amount.currency, command.meter, command.biller,
        command.vend_type, command.phone, command.key if command.has_caller_key else None, command.verified,
    )  # fmt: skip
    after = wallets.evolve(wallet, held)
    stream = StreamKey(command.user_id, command.transaction_id)
    payment = payments.evolve(None, stream, accepted, command.at)
    result = CommandResult(
        command.transaction_id, payment.status, after.balance.amount_minor, next_at=command.at
    )
    return Decision(result, after, [held], payment, [accepted])


def cancel(wallet: Wallet | None, payment: Payment, command: Cancel) -> Decision:
    """The hold goes back while nothing was sent. Raises `AlreadySent`."""
    if payment.status is not Status.PENDING:
        is_over = payment.status is Status.REVERSING or payment.status in TERMINAL_STATUSES
        reason = f"it is {payment.status}" if is_over else "it may have reached the provider"
        raise AlreadySent(f"The payment can't be cancelled: {reason}. Nothing was changed.")
    decided = ReversalDecided(Proof.NOT_SENT, "cancelled before anything was sent", None)
    recorder = _EventRecorder(payment, command.at)
    recorder.add(decided)
    return _release_hold(wallet, recorder, decided.proof, decided.reason)


def resolve(wallet: Wallet | None, payment: Payment, command: Resolve, owner: StreamKey | None) -> Decision:
    """A person's decision, while the provider gives none. Raises `NotInReview`, `ValidationFailed`."""
    recorder, decision = _EventRecorder(payment, command.at), command.decision
    decided = OperatorDecided(command.operator, decision, command.reason)
    if decision is OperatorDecision.ACKNOWLEDGED:
        if not payment.open_incidents:
            raise NotInReview("The payment has no incident that waits for anybody. Nothing was changed.")
        recorder.add(decided)
        return recorder.finish(due_at(next_step(recorder.payment, command.policy, command.at), command.at))
    if payment.status not in (Status.IN_DOUBT, Status.IN_REVIEW):
        raise NotInReview(
            f"The payment is {payment.status}: only what is in doubt or in review can be resolved. Nothing was changed."
        )
    recorder.add(decided)
    attempt = payment.attempts[-1]
    if decision is OperatorDecision.DELIVERED:
        if payment.needs_token and not command.token:
            reason = "is needed: the meter is prepaid"
            raise ValidationFailed(f"The token {reason}. Nothing was changed.", fields={"token": reason})
        amount_minor = payment.amount.amount_minor
        recorder.add(
            PaymentCompleted(attempt.number, attempt.provider, amount_minor, None, command.token, None)
        )
        recorder.add_all(duplicate_token_incident(recorder.payment, owner, command.at))
        return recorder.finish(None)
    reason = f"{command.operator}: {command.reason}"
    recorder.add(ReversalDecided(Proof.OPERATOR, reason, attempt.number))
    return _release_hold(wallet, recorder, Proof.OPERATOR, reason, command.policy)


def request_requery(payment: Payment, command: RequestRequery) -> Decision:
    """The next requery comes forward: at once for an operator, else at most once an interval, and not while the provider
    asks to be left alone."""
    recorder, policy, now = _EventRecorder(payment, command.at), command.policy, command.at
    is_operator, open_request = command.source == OPERATOR, payment.requery_request
    latest = payment.attempts[-1] if payment.attempts else None
    attempt = next((a for a in payment.attempts if a.reference == command.reference), latest)
    if (
        attempt is not None
        and policy.account_of(attempt) is not None
        and (
            open_request is None
            or open_request.attempt != attempt.number
            or policy.account_of(payment.attempt(open_request.attempt)) is None
            or (is_operator and open_request.not_before > now)
        )
    ):
        not_before = now if is_operator else earliest_requested_requery_at(attempt, policy, now)
        recorder.add(RequeryRequested(command.source, not_before, attempt.number, len(attempt.requeries)))
    return recorder.finish(due_at(next_step(recorder.payment, policy, now), now))


# --- what workers ask for ---------------------------------------------------------------------------------------------


class _EventRecorder:
    """A payment on the desk: what is added to it in one decision."""

    def __init__(self, payment: Payment, at: datetime) -> None:
        self.payment = payment
        self.at = at
        self.events: list[PaymentEvent] = []

    def add(self, event: PaymentEvent) -> None:
        self.payment = payments.evolve(self.payment, self.payment.stream_key, event, self.at)
        self.events.append(event)

    def add_all(self, events: Iterable[PaymentEvent]) -> None:
        for event in events:
            self.add(event)

    def finish(self, next_at: datetime | None, provider_call: ProviderCall | None = None) -> Decision:
        payment = self.payment
        result = CommandResult(
            payment.transaction_id,
            payment.status,
            next_at=next_at,
            proof=payment.proof,
            provider_call=provider_call,
        )
        return Decision(result, payment=payment, payment_events=self.events)


def needs_wallet(payment: Payment, command: Command) -> bool:
    """Whether deciding a command on this payment may give money back, so that the wallet has to be locked too."""
    return isinstance(command, Cancel | Resolve) or (
        isinstance(command, Claim) and payment.status is Status.REVERSING
    )


def claim(wallet: Wallet | None, payment: Payment, command: Claim) -> Decision:
    """Do what is due, or give leave to do it."""
    recorder, policy, now = _EventRecorder(payment, command.at), command.policy, command.at
    _expire_send_lease(recorder, now)
    step = _apply_conclusions(recorder, policy, now)
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
            return _release_hold(wallet, recorder, proof, reason, policy)
        case _:
            return _finish(recorder, step, now)


def record_answer(payment: Payment, command: RecordAnswer, owner: StreamKey | None) -> Decision:
    """Write down an answer, and draw the conclusion. `owner` is the payment that the token was given to before."""
    recorder, policy, now = _EventRecorder(payment, command.at), command.policy, command.at
    attempt = payment.attempt(command.attempt)
    answer = verify_echo(
        command.answer, reference=attempt.reference, meter=payment.meter,
        amount_minor=payment.amount.amount_minor, needs_token=payment.needs_token,
    )  # fmt: skip
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
    step = _apply_conclusions(recorder, policy, now)
    recorder.add_all(duplicate_token_incident(recorder.payment, owner, now))
    return _finish(recorder, step, now)


def _adds_information(known: Answer, answer: Answer) -> bool:
    """A second report on one call counts only when it brings a delivery that was not known: never thrown away."""
    if not isinstance(answer, Delivered):
        return False
    return not isinstance(known, Delivered) or known.token != answer.token


def _normalise_send_answer(answer: Answer) -> Answer:
    """What only a requery can say proves nothing when a send says it."""
    match answer:
        case Pending(reason):
            return Unknown(reason, known_to_provider=True)
        case NotFound(reason):
            return Unknown(reason)
        case _:
            return answer


def _expire_send_lease(recorder: _EventRecorder, now: datetime) -> None:
    """A send whose lease ran out without a report may have happened: it counts as unknown from here on."""
    if not recorder.payment.attempts:
        return
    attempt = recorder.payment.attempts[-1]
    call = attempt.open_call
    if isinstance(call, Send) and not holds_lease(call, now):
        recorder.add(SendLeaseExpired(attempt.number, call.number))


def _apply_conclusions(recorder: _EventRecorder, policy: Policy, now: datetime) -> Step:
    """Draw the conclusions that need nothing from outside; the step that is left needs a call, a release or time."""
    step = next_step(recorder.payment, policy, now)
    match step:
        case Complete(attempt, delivered):
            recorder.add(
                PaymentCompleted(
                    attempt.number,
                    attempt.provider,
                    recorder.payment.amount.amount_minor,
                    delivered.cost_minor,
                    delivered.token,
                    delivered.units,
                    delivered.receipt,
                )
            )
            for answer in attempt.answers:
                if isinstance(answer, Declined) and answer.provider_reversed:  # the two contradict each other
                    recorder.add_all(incidents_after_settlement(recorder.payment, attempt, answer))
            return next_step(recorder.payment, policy, now)
        case Review(reason, at) if at <= now:
            recorder.add(ReviewRequested(reason))
            return next_step(recorder.payment, policy, now)
        case _:
            return step


def _finish(recorder: _EventRecorder, step: Step, now: datetime) -> Decision:
    """Nothing to call: a reversal is decided here and made under the next claim, which locks the wallet as well."""
    if isinstance(step, Reverse) and recorder.payment.status is not Status.REVERSING:
        number = step.attempt.number if step.attempt else None
        recorder.add(ReversalDecided(step.proof, step.reason, number))
    return recorder.finish(due_at(step, now))


def _start_send(
    recorder: _EventRecorder, attempt: Attempt | None, account: ProviderAccount, policy: Policy
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
    recorder: _EventRecorder, account: ProviderAccount, day: date, policy: Policy
) -> Decision:
    """Ask about a reference that lost books may have sent under, as the first call of an attempt of its own."""
    payment = recorder.payment
    number, reference = len(payment.attempts) + 1, _reference(payment, account, day)
    recorder.add(
        PriorAttemptRegistered(
            number, reference, account.provider, account.account_id, account.valid_until(day)
        )
    )
    return _start_requery(recorder, recorder.payment.attempts[-1], policy)


def _start_requery(
    recorder: _EventRecorder, attempt: Attempt, policy: Policy, *, on_request: bool = False
) -> Decision:
    number = len(attempt.requeries) + 1
    lease_until = recorder.at + timedelta(seconds=policy.lease_seconds)
    # A requery that nobody scheduled is credited little time, whatever the clock says has passed before it.
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


def _release_hold(
    wallet: Wallet | None, recorder: _EventRecorder, proof: Proof, reason: str, policy: Policy | None = None
) -> Decision:
    """The money goes back. With a policy, the payment may stay watched after that."""
    payment = recorder.payment
    if wallet is None:
        raise WalletNotFound(f"Payment {payment.transaction_id} has no wallet to give the money back to.")
    recorder.add(PaymentReversed(proof, reason, payment.amount.amount_minor))
    released = WalletReleased(payment.transaction_id, payment.amount.amount_minor)
    after = wallets.evolve(wallet, released)
    monitor_at = due_at(next_step(recorder.payment, policy, recorder.at), recorder.at) if policy else None
    decision = recorder.finish(monitor_at)
    decision.result = replace(decision.result, balance_minor=after.balance.amount_minor)
    decision.wallet, decision.wallet_events = after, [released]
    return decision
