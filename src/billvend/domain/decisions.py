"""The decisions: what one command does to the books, or why it is refused.

Each takes the state that it concerns and the command, and returns the events, the state after them and the reply.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from billvend.domain import payment as payments
from billvend.domain import wallet as wallets
from billvend.domain.abilities import Abilities
from billvend.domain.commands import (
    Cancel,
    Claim,
    Command,
    Fund,
    Nudge,
    Pay,
    Reply,
    Report,
    Resolve,
    Work,
)
from billvend.domain.errors import (
    AlreadySent,
    LikelyDuplicate,
    NotInReview,
    ValidationFailed,
    WalletNotFound,
)
from billvend.domain.events import (
    AttemptRecalled,
    Nudged,
    OperatorDecided,
    PaymentAccepted,
    PaymentCompleted,
    PaymentEvent,
    PaymentReversed,
    RequeryAnswered,
    RequeryStarted,
    ReversalDecided,
    ReviewAsked,
    SendAnswered,
    SendLost,
    SendStarted,
    StreamKey,
    WalletEvent,
    WalletFunded,
    WalletReleased,
)
from billvend.domain.evidence import credit_seconds
from billvend.domain.incidents import after_the_end, another_s_token
from billvend.domain.outcome import Answer, Declined, Delivered, NotFound, Pending, Unknown, checked
from billvend.domain.payment import ENDED, Attempt, Payment, Send, holds_lease
from billvend.domain.policy import Policy
from billvend.domain.reversal import (
    AskAgain,
    Complete,
    Recall,
    Reverse,
    Review,
    SendAgain,
    SendNew,
    Step,
    due_at,
    next_step,
)
from billvend.domain.schedule import hint_at, scheduled_gap_seconds
from billvend.domain.wallet import Wallet
from billvend.domain.words import Proof, Status, Verdict

OPERATOR = "operator"
"""The source of a nudge that need not wait."""
DOUBLE_CLICK_SECONDS = 30
"""The same bill paid again within this, without a key, is taken for a double click."""


@dataclass(slots=True)
class Decision:
    """What one command does: the state after it, the events that led there, and the reply."""

    reply: Reply
    wallet: Wallet | None = None
    wallet_events: Sequence[WalletEvent] = ()
    payment: Payment | None = None
    payment_events: Sequence[PaymentEvent] = ()


# --- what people ask for ----------------------------------------------------------------------------------------------


def fund(wallet: Wallet | None, command: Fund) -> Decision:
    """Money comes in."""
    before = wallet or wallets.empty(command.user_id, command.amount.currency)
    event = WalletFunded(
        command.transaction_id, command.amount.amount_minor, command.source, command.reference
    )
    after = wallets.evolve(before, event)
    reply = Reply(command.transaction_id, Status.COMPLETED, after.balance.amount_minor)
    return Decision(reply, after, [event])


def pay(wallet: Wallet | None, paid_like_it_at: datetime | None, command: Pay) -> Decision:
    """Money is held for a bill. Raises `WalletNotFound`, `LikelyDuplicate`, `InsufficientFunds`."""
    if wallet is None:
        raise WalletNotFound(
            f"There is no {command.amount.currency} wallet of this user: fund it first. Nothing was held."
        )
    guarded = not (command.key_is_given or command.allow_duplicate)
    if guarded and paid_like_it_at is not None:
        since = command.at - paid_like_it_at
        if abs(since) < timedelta(seconds=DOUBLE_CLICK_SECONDS):
            raise LikelyDuplicate(
                "The same bill was paid less than 30 seconds ago: a likely double click. Nothing was held. "
                "To pay it twice, ask for it expressly."
            )
    held = wallets.hold(wallet, command.transaction_id, command.amount)
    accepted = PaymentAccepted(
        command.amount.amount_minor, command.amount.currency, command.meter, command.biller,
        command.vend_type, command.phone, command.key if command.key_is_given else None, command.verified,
    )  # fmt: skip
    after = wallets.evolve(wallet, held)
    stream = StreamKey(command.user_id, command.transaction_id)
    payment = payments.evolve(None, stream, accepted, command.at)
    reply = Reply(command.transaction_id, payment.status, after.balance.amount_minor, next_at=command.at)
    return Decision(reply, after, [held], payment, [accepted])


def cancel(wallet: Wallet | None, payment: Payment, command: Cancel) -> Decision:
    """The hold goes back while nothing was sent. Raises `AlreadySent`."""
    if payment.status is not Status.PENDING:
        is_over = payment.status is Status.REVERSING or payment.status in ENDED
        why = f"it is {payment.status}" if is_over else "it may have reached the provider"
        raise AlreadySent(f"The payment can't be cancelled: {why}. Nothing was changed.")
    decided = ReversalDecided(Proof.NOT_SENT, "cancelled before anything was sent", None)
    file = _File(payment, command.at)
    file.add(decided)
    return _released(wallet, file, decided.proof, decided.reason)


def resolve(wallet: Wallet | None, payment: Payment, command: Resolve, owner: StreamKey | None) -> Decision:
    """A person's decision, while the provider gives none. Raises `NotInReview`, `ValidationFailed`."""
    file, verdict = _File(payment, command.at), command.verdict
    decided = OperatorDecided(command.operator, verdict, command.reason)
    if verdict is Verdict.SEEN:
        if not payment.open_incidents:
            raise NotInReview("The payment has no incident that waits for anybody. Nothing was changed.")
        file.add(decided)
        return file.decision(due_at(next_step(file.payment, command.policy, command.at), command.at))
    if payment.status not in (Status.IN_DOUBT, Status.IN_REVIEW):
        raise NotInReview(
            f"The payment is {payment.status}: only what is in doubt or in review can be resolved. Nothing was changed."
        )
    file.add(decided)
    attempt = payment.attempts[-1]
    if verdict is Verdict.DELIVERED:
        if payment.token_needed and not command.token:
            reason = "is needed: the meter is prepaid"
            raise ValidationFailed(f"The token {reason}. Nothing was changed.", fields={"token": reason})
        amount_minor = payment.amount.amount_minor
        file.add(PaymentCompleted(attempt.number, attempt.provider, amount_minor, None, command.token, None))
        file.add_all(another_s_token(file.payment, owner, command.at))
        return file.decision(None)
    reason = f"{command.operator}: {command.reason}"
    file.add(ReversalDecided(Proof.OPERATOR, reason, attempt.number))
    return _released(wallet, file, Proof.OPERATOR, reason, command.policy)


def nudge(payment: Payment, command: Nudge) -> Decision:
    """The next requery comes forward: at once for an operator, else at most once an interval, and not while the provider
    asks to be left alone."""
    file, policy, now = _File(payment, command.at), command.policy, command.at
    impatient, known = command.source == OPERATOR, payment.nudge
    latest = payment.attempts[-1] if payment.attempts else None
    attempt = next((a for a in payment.attempts if a.reference == command.reference), latest)
    if (
        attempt is not None
        and policy.route(attempt) is not None
        and (
            known is None
            or known.attempt != attempt.number
            or policy.route(payment.attempt(known.attempt)) is None
            or (impatient and known.ask_at > now)
        )
    ):
        ask_at = now if impatient else hint_at(attempt, policy, now)
        file.add(Nudged(command.source, ask_at, attempt.number, len(attempt.requeries)))
    return file.decision(due_at(next_step(file.payment, policy, now), now))


# --- what workers ask for ---------------------------------------------------------------------------------------------


class _File:
    """A payment on the desk: what is added to it in one decision."""

    def __init__(self, payment: Payment, at: datetime) -> None:
        self.payment = payment
        self.at = at
        self.events: list[PaymentEvent] = []

    def add(self, event: PaymentEvent) -> None:
        self.payment = payments.evolve(self.payment, self.payment.stream, event, self.at)
        self.events.append(event)

    def add_all(self, events: Iterable[PaymentEvent]) -> None:
        for event in events:
            self.add(event)

    def decision(self, next_at: datetime | None, work: Work | None = None) -> Decision:
        payment = self.payment
        reply = Reply(payment.transaction_id, payment.status, next_at=next_at, proof=payment.proof, work=work)
        return Decision(reply, payment=payment, payment_events=self.events)


def wallet_needed(payment: Payment, command: Command) -> bool:
    """Whether deciding a command on this payment may give money back, so that the wallet has to be locked too."""
    return isinstance(command, Cancel | Resolve) or (
        isinstance(command, Claim) and payment.status is Status.REVERSING
    )


def claim(wallet: Wallet | None, payment: Payment, command: Claim) -> Decision:
    """Do what is due, or give leave to do it."""
    file, policy, now = _File(payment, command.at), command.policy, command.at
    _give_up_lost_send(file, now)
    step = _follow(file, policy, now)
    match step:
        case SendNew(route, at) if at <= now:
            return _start_send(file, None, route, policy)
        case SendAgain(attempt, at) if at <= now and (known := policy.route(attempt)) is not None:
            return _start_send(file, attempt, known, policy)
        case AskAgain(attempt, at, nudged) if at <= now:
            return _start_requery(file, attempt, policy, nudged=nudged)
        case Recall(route, day, at) if at <= now:
            return _recall(file, route, day, policy)
        case Reverse(proof, reason) if payment.status is Status.REVERSING and wallet is not None:
            return _released(wallet, file, proof, reason, policy)
        case _:
            return _concluded(file, step, now)


def report(payment: Payment, command: Report, owner: StreamKey | None) -> Decision:
    """Write down an answer, and draw the conclusion. `owner` is the payment that the token was given to before."""
    file, policy, now = _File(payment, command.at), command.policy, command.at
    attempt = payment.attempt(command.attempt)
    answer = checked(
        command.answer, reference=attempt.reference, meter=payment.meter,
        amount_minor=payment.amount.amount_minor, token_needed=payment.token_needed,
    )  # fmt: skip
    if command.is_requery:
        requery = attempt.requery(command.call)
        if requery.answer is None or _is_news(requery.answer, answer):
            credit = (
                credit_seconds(attempt, requery, now) if requery.answer is None else requery.credited_seconds
            )
            file.add(RequeryAnswered(attempt.number, command.call, answer, credit))
    else:
        answer = _as_answer_to_a_send(answer)
        send = attempt.send(command.call)
        if send.answer is None or _is_news(send.answer, answer):
            file.add(SendAnswered(attempt.number, command.call, answer))
    if file.events and payment.status in ENDED:
        file.add_all(after_the_end(payment, attempt, answer))
    step = _follow(file, policy, now)
    file.add_all(another_s_token(file.payment, owner, now))
    return _concluded(file, step, now)


def _is_news(known: Answer, answer: Answer) -> bool:
    """A second report on one call counts only when it brings a delivery that was not known: never thrown away."""
    if not isinstance(answer, Delivered):
        return False
    return not isinstance(known, Delivered) or known.token != answer.token


def _as_answer_to_a_send(answer: Answer) -> Answer:
    """What only a requery can say proves nothing when a send says it."""
    match answer:
        case Pending(why):
            return Unknown(why, acknowledged=True)
        case NotFound(why):
            return Unknown(why)
        case _:
            return answer


def _give_up_lost_send(file: _File, now: datetime) -> None:
    """A send whose lease ran out without a report may have happened: it counts as unknown from here on."""
    if not file.payment.attempts:
        return
    attempt = file.payment.attempts[-1]
    call = attempt.open_call
    if isinstance(call, Send) and not holds_lease(call, now):
        file.add(SendLost(attempt.number, call.number))


def _follow(file: _File, policy: Policy, now: datetime) -> Step:
    """Draw the conclusions that need nothing from outside; the step that is left needs a call, a release or time."""
    step = next_step(file.payment, policy, now)
    match step:
        case Complete(attempt, delivered):
            file.add(
                PaymentCompleted(
                    attempt.number,
                    attempt.provider,
                    file.payment.amount.amount_minor,
                    delivered.cost_minor,
                    delivered.token,
                    delivered.units,
                    delivered.receipt,
                )
            )
            for said in attempt.answers:
                if isinstance(said, Declined) and said.taken_back:  # the two contradict each other
                    file.add_all(after_the_end(file.payment, attempt, said))
            return next_step(file.payment, policy, now)
        case Review(reason, at) if at <= now:
            file.add(ReviewAsked(reason))
            return next_step(file.payment, policy, now)
        case _:
            return step


def _concluded(file: _File, step: Step, now: datetime) -> Decision:
    """Nothing to call: a reversal is decided here and made under the next claim, which locks the wallet as well."""
    if isinstance(step, Reverse) and file.payment.status is not Status.REVERSING:
        number = step.attempt.number if step.attempt else None
        file.add(ReversalDecided(step.proof, step.reason, number))
    return file.decision(due_at(step, now))


def _start_send(file: _File, attempt: Attempt | None, route: Abilities, policy: Policy) -> Decision:
    payment, now = file.payment, file.at
    number = attempt.number if attempt else len(payment.attempts) + 1
    day = route.day(now)
    reference = attempt.reference if attempt else _reference(payment, route, day)
    spare_seconds = max(0.0, policy.lease_seconds - policy.timeout_seconds - 1)
    send_before = now + timedelta(seconds=spare_seconds)
    started = SendStarted(
        attempt=number,
        send=len(attempt.sends) + 1 if attempt else 1,
        reference=reference,
        provider=route.provider,
        account=route.account,
        lease_until=now + timedelta(seconds=policy.lease_seconds),
        send_before=send_before,
        answer_by=send_before + timedelta(seconds=policy.timeout_seconds),
        valid_until=attempt.valid_until if attempt else route.valid_until(day),
    )
    file.add(started)
    if started.valid_until is not None:
        send_before = min(send_before, started.valid_until)
    work = Work(
        number, started.send, False, reference, route.provider, route.account, send_before,
        verify=not payment.verified,
    )  # fmt: skip
    return file.decision(started.lease_until, work)


def _reference(payment: Payment, route: Abilities, day: date) -> str:
    return route.make_reference(payment.reference_seed, payment.reference_number, day)


def _recall(file: _File, route: Abilities, day: date, policy: Policy) -> Decision:
    """Ask about a reference that lost books may have sent under, as the first call of an attempt of its own."""
    payment = file.payment
    number, reference = len(payment.attempts) + 1, _reference(payment, route, day)
    file.add(AttemptRecalled(number, reference, route.provider, route.account, route.valid_until(day)))
    return _start_requery(file, file.payment.attempts[-1], policy)


def _start_requery(file: _File, attempt: Attempt, policy: Policy, *, nudged: bool = False) -> Decision:
    number = len(attempt.requeries) + 1
    lease_until = file.at + timedelta(seconds=policy.lease_seconds)
    # A requery that nobody scheduled is credited little time, whatever the clock says has passed before it.
    gap_seconds = policy.interval_seconds if nudged else scheduled_gap_seconds(file.payment, attempt, policy)
    file.add(RequeryStarted(attempt.number, number, lease_until, gap_seconds, nudged))
    work = Work(attempt.number, number, True, attempt.reference, attempt.provider, attempt.account)
    return file.decision(lease_until, work)


def _released(
    wallet: Wallet | None, file: _File, proof: Proof, reason: str, policy: Policy | None = None
) -> Decision:
    """The money goes back. With a policy, the payment may stay watched after that."""
    payment = file.payment
    if wallet is None:
        raise WalletNotFound(f"Payment {payment.transaction_id} has no wallet to give the money back to.")
    file.add(PaymentReversed(proof, reason, payment.amount.amount_minor))
    released = WalletReleased(payment.transaction_id, payment.amount.amount_minor)
    after = wallets.evolve(wallet, released)
    watch_at = due_at(next_step(file.payment, policy, file.at), file.at) if policy else None
    decision = file.decision(watch_at)
    decision.reply = replace(decision.reply, balance_minor=after.balance.amount_minor)
    decision.wallet, decision.wallet_events = after, [released]
    return decision
