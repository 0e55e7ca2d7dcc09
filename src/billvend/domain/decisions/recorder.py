"""The parts of a decision: the events that a command adds, the state after them, and the conclusions drawn."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from billvend.domain.decisions.commands import CommandResult, ProviderCall
from billvend.domain.enums import Proof, Status
from billvend.domain.errors import WalletNotFound
from billvend.domain.journal.events import (
    PaymentCompleted,
    PaymentEvent,
    PaymentPutInDoubt,
    PaymentReversed,
    ReversalDecided,
    ReviewRequested,
    WalletEvent,
    WalletReleased,
)
from billvend.domain.ledger import wallet as wallets
from billvend.domain.ledger.wallet import Wallet
from billvend.domain.outcome import Declined
from billvend.domain.payment.incidents import incidents_after_settlement
from billvend.domain.payment.state import Payment
from billvend.domain.payment.transitions import evolve
from billvend.domain.policy.policy import Policy
from billvend.domain.policy.rules import next_step
from billvend.domain.policy.steps import Complete, PutInDoubt, Reverse, Review, Step, due_at


@dataclass(slots=True)
class Decision:
    """The effect of one command: the state after it, the events that it adds, and its result."""

    result: CommandResult
    wallet: Wallet | None = None
    wallet_events: Sequence[WalletEvent] = ()
    payment: Payment | None = None
    payment_events: Sequence[PaymentEvent] = ()


class EventRecorder:
    """A payment, and the events that one decision adds to it."""

    def __init__(self, payment: Payment, at: datetime) -> None:
        self.payment = payment
        self.at = at
        self.events: list[PaymentEvent] = []

    def add(self, event: PaymentEvent) -> None:
        """Record an event, and fold it into the payment."""
        self.payment = evolve(self.payment, self.payment.stream_key, event, self.at)
        self.events.append(event)

    def add_all(self, events: Iterable[PaymentEvent]) -> None:
        """Record several events, in order."""
        for event in events:
            self.add(event)

    def finish(self, next_at: datetime | None, provider_call: ProviderCall | None = None) -> Decision:
        """The decision: what was recorded, when the payment is due again, and the call that may be made now."""
        payment = self.payment
        result = CommandResult(
            payment.transaction_id,
            payment.status,
            next_at=next_at,
            proof=payment.proof,
            provider_call=provider_call,
        )
        return Decision(result, payment=payment, payment_events=self.events)


def conclude(recorder: EventRecorder, policy: Policy) -> Step:
    """Draw every conclusion that needs no call, no wallet and no wait, and return the step that is left.

    A reversal is only decided here. The next claim makes it: that one locks the wallet as well, and decides again.
    """
    while True:
        step = next_step(recorder.payment, policy, recorder.at)
        match step:
            case PutInDoubt():
                recorder.add(PaymentPutInDoubt())
            case Complete():
                _complete(recorder, step)
            case Review(reason, at) if at <= recorder.at:
                recorder.add(ReviewRequested(reason))
            case Reverse(proof, reason, attempt) if recorder.payment.status is not Status.REVERSING:
                recorder.add(ReversalDecided(proof, reason, attempt.number if attempt else None))
            case _:
                return step


def _complete(recorder: EventRecorder, step: Complete) -> None:
    attempt, delivered = step.attempt, step.delivered
    amount_minor = recorder.payment.amount.amount_minor
    recorder.add(
        PaymentCompleted(
            attempt.number, attempt.provider, amount_minor,
            delivered.cost_minor, delivered.token, delivered.units, delivered.receipt,
        )
    )  # fmt: skip
    for answer in attempt.answers:
        if isinstance(answer, Declined) and answer.provider_reversed:  # the two contradict each other
            recorder.add_all(incidents_after_settlement(recorder.payment, attempt, answer))


def release_hold(
    wallet: Wallet | None, recorder: EventRecorder, proof: Proof, reason: str, policy: Policy | None = None
) -> Decision:
    """Give the money back. With a policy, the payment may be monitored after that."""
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
