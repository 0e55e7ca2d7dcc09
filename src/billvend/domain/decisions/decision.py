"""A decision in the making: the events that a command adds, the state after them, and the conclusions drawn."""

from datetime import datetime

from billvend.domain.decisions.commands import Command, CommandResult, ProviderCall
from billvend.domain.enums import Proof, Status
from billvend.domain.errors import TransactionNotFound, WalletNotFound
from billvend.domain.journal import events
from billvend.domain.journal.events import PaymentEvent, StreamKey, WalletEvent
from billvend.domain.ledger import wallet as wallets
from billvend.domain.ledger.wallet import Wallet
from billvend.domain.outcome import Declined
from billvend.domain.payment.incidents import incidents_after_settlement
from billvend.domain.payment.state import Payment
from billvend.domain.payment.transitions import evolve
from billvend.domain.policy.policy import Policy
from billvend.domain.policy.rules import next_step
from billvend.domain.policy.steps import Complete, PutInDoubt, Reverse, Review, Step


class Decision:
    """The effect of one command: the events that it adds, the state after them, and its result."""

    def __init__(self, command: Command, wallet: Wallet | None, payment: Payment | None) -> None:
        self.at = command.at
        self.stream_key = StreamKey(command.user_id, command.transaction_id)
        self.wallet = wallet
        self.wallet_events: list[WalletEvent] = []
        self.payment_or_none = payment
        self.payment_events: list[PaymentEvent] = []
        self.result = CommandResult(command.transaction_id, Status.COMPLETED)

    @property
    def payment(self) -> Payment:
        """The payment after the events so far. Raises `TransactionNotFound` if there is none."""
        if self.payment_or_none is None:
            raise TransactionNotFound(f"There is no payment {self.stream_key.stream}.")
        return self.payment_or_none

    def add(self, *added: PaymentEvent) -> None:
        """Record events of the payment, in order, and fold them into it."""
        for event in added:
            self.payment_or_none = evolve(self.payment_or_none, self.stream_key, event, self.at)
            self.payment_events.append(event)

    def move_money(self, wallet: Wallet, event: WalletEvent) -> None:
        """Record an event of the wallet, and fold it into it."""
        self.wallet = wallets.evolve(wallet, event)
        self.wallet_events.append(event)

    def finish(self, next_at: datetime | None = None, call: ProviderCall | None = None) -> None:
        """Set the result: when the payment is due again, and the call that may be made now."""
        payment, wallet = self.payment_or_none, self.wallet if self.wallet_events else None
        self.result = CommandResult(
            self.stream_key.stream,
            payment.status if payment else Status.COMPLETED,
            wallet.balance.amount_minor if wallet else None,
            next_at,
            payment.proof if payment else None,
            call,
        )


def conclude(decision: Decision, policy: Policy) -> Step:
    """Draw every conclusion that needs no call, no wallet and no wait, and return the step that is left.

    A reversal is only decided here. The next claim makes it: that one locks the wallet as well, and decides again.
    """
    while True:
        step = next_step(decision.payment, policy, decision.at)
        if not step.is_due(decision.at):
            return step
        match step:
            case PutInDoubt():
                decision.add(events.PaymentPutInDoubt())
            case Complete():
                _complete(decision, step)
            case Review(reason):
                decision.add(events.ReviewRequested(reason))
            case Reverse(proof, reason, attempt) if decision.payment.status is not Status.REVERSING:
                decision.add(events.ReversalDecided(proof, reason, attempt.number if attempt else None))
            case _:
                return step


def _complete(decision: Decision, step: Complete) -> None:
    attempt, delivered = step.attempt, step.delivered
    decision.add(
        events.PaymentCompleted(
            attempt.number, attempt.provider, decision.payment.amount.amount_minor,
            delivered.cost_minor, delivered.token, delivered.units, delivered.receipt,
        )
    )  # fmt: skip
    for answer in attempt.answers:
        if isinstance(answer, Declined) and answer.provider_reversed:  # the two contradict each other
            decision.add(*incidents_after_settlement(decision.payment, attempt, answer))


def release_hold(decision: Decision, proof: Proof, reason: str, policy: Policy | None = None) -> None:
    """Give the money back. With a policy, the payment may be monitored after that."""
    payment, wallet = decision.payment, decision.wallet
    if wallet is None:
        raise WalletNotFound(f"Payment {payment.transaction_id} has no wallet to give the money back to.")
    amount_minor = payment.amount.amount_minor
    decision.add(events.PaymentReversed(proof, reason, amount_minor))
    decision.move_money(wallet, events.WalletReleased(payment.transaction_id, amount_minor))
    decision.finish(next_step(decision.payment, policy, decision.at).at if policy else None)
