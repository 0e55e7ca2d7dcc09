"""The commands of customers: fund, pay, cancel. Each function takes the state and returns a decision, or raises."""

from datetime import datetime, timedelta

from billvend.domain.decisions.commands import Cancel, CommandResult, Fund, Pay
from billvend.domain.decisions.recorder import Decision, EventRecorder, release_hold
from billvend.domain.enums import Proof, Status
from billvend.domain.errors import AlreadySent, LikelyDuplicate, WalletNotFound
from billvend.domain.journal.events import (
    PaymentAccepted,
    ReversalDecided,
    StreamKey,
    WalletFunded,
    WalletHeld,
)
from billvend.domain.ledger import wallet as wallets
from billvend.domain.ledger.wallet import Wallet
from billvend.domain.payment.state import TERMINAL_STATUSES, Payment
from billvend.domain.payment.transitions import evolve

DUPLICATE_WINDOW_SECONDS = 30
"""A bill that is paid again within this time, without a key, is taken for a double click."""


def fund(wallet: Wallet | None, command: Fund) -> Decision:
    """Add money to a wallet."""
    before = wallet or wallets.new_wallet(command.user_id, command.amount.currency)
    event = WalletFunded(
        command.transaction_id, command.amount.amount_minor, command.source, command.reference
    )
    after = wallets.evolve(before, event)
    result = CommandResult(command.transaction_id, Status.COMPLETED, after.balance.amount_minor)
    return Decision(result, after, [event])


def hold(
    wallet: Wallet | None, duplicate_paid_at: datetime | None, command: Pay
) -> tuple[WalletHeld, Wallet]:
    """The hold for a bill, and the wallet after it. `duplicate_paid_at` is when an equal bill was last paid.

    Raises `WalletNotFound`, `LikelyDuplicate`, `InsufficientFunds`, in this order.
    """
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
    return held, wallets.evolve(wallet, held)


def pay(wallet: Wallet | None, duplicate_paid_at: datetime | None, command: Pay) -> Decision:
    """Hold money for a bill. Raises the errors of `hold`."""
    held, after = hold(wallet, duplicate_paid_at, command)
    accepted = PaymentAccepted(
        command.amount.amount_minor, command.amount.currency, command.meter, command.biller,
        command.vend_type, command.phone, command.key if command.has_caller_key else None, command.verified,
    )  # fmt: skip
    stream = StreamKey(command.user_id, command.transaction_id)
    payment = evolve(None, stream, accepted, command.at)
    result = CommandResult(
        command.transaction_id, payment.status, after.balance.amount_minor, next_at=command.at
    )
    return Decision(result, after, [held], payment, [accepted])


def cancel(wallet: Wallet | None, payment: Payment, command: Cancel) -> Decision:
    """Release the hold, if nothing was sent yet. Raises `AlreadySent`."""
    if payment.status is not Status.PENDING:
        is_over = payment.status is Status.REVERSING or payment.status in TERMINAL_STATUSES
        reason = f"it is {payment.status}" if is_over else "it may have reached the provider"
        raise AlreadySent(f"The payment can't be cancelled: {reason}. Nothing was changed.")
    decided = ReversalDecided(Proof.NOT_SENT, "cancelled before anything was sent", None)
    recorder = EventRecorder(payment, command.at)
    recorder.add(decided)
    return release_hold(wallet, recorder, decided.proof, decided.reason)
