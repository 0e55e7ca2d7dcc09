"""The commands of customers: fund, pay, cancel. Each function completes the decision, or raises."""

from datetime import datetime, timedelta

from billvend.domain.decisions.commands import Fund, Pay
from billvend.domain.decisions.decision import Decision, release_hold
from billvend.domain.enums import Proof, Status
from billvend.domain.errors import AlreadySent, LikelyDuplicate, WalletNotFound
from billvend.domain.journal.events import PaymentAccepted, ReversalDecided, WalletFunded, WalletHeld
from billvend.domain.ledger import wallet as wallets
from billvend.domain.ledger.wallet import Wallet

DUPLICATE_WINDOW_SECONDS = 30
"""A bill that is paid again within this time, without a key, is taken for a double click."""


def fund(decision: Decision, command: Fund) -> None:
    """Add money to a wallet."""
    wallet = decision.wallet or wallets.new_wallet(command.user_id, command.amount.currency)
    amount_minor = command.amount.amount_minor
    funded = WalletFunded(command.transaction_id, amount_minor, command.source, command.reference)
    decision.move_money(wallet, funded)
    decision.finish()


def hold(
    wallet: Wallet | None, command: Pay, duplicate_paid_at: datetime | None
) -> tuple[Wallet, WalletHeld]:
    """The wallet that a bill is paid from, and the hold. `duplicate_paid_at` is when an equal bill was last paid.

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
    return wallet, wallets.hold(wallet, command.transaction_id, command.amount)


def pay(decision: Decision, command: Pay, duplicate_paid_at: datetime | None) -> None:
    """Hold money for a bill. Raises the errors of `hold`."""
    decision.move_money(*hold(decision.wallet, command, duplicate_paid_at))
    decision.add(
        PaymentAccepted(
            command.amount.amount_minor, command.amount.currency, command.meter, command.biller,
            command.vend_type, command.phone, command.key if command.has_caller_key else None, command.verified,
        )
    )  # fmt: skip
    decision.finish(command.at)


def cancel(decision: Decision) -> None:
    """Release the hold, if nothing was sent yet. Raises `AlreadySent`."""
    payment = decision.payment
    if payment.status is not Status.PENDING:
        is_over = payment.status is Status.REVERSING or payment.has_ended
        reason = f"it is {payment.status}" if is_over else "it may have reached the provider"
        raise AlreadySent(f"The payment can't be cancelled: {reason}. Nothing was changed.")
    proof, reason = Proof.NOT_SENT, "cancelled before anything was sent"
    decision.add(ReversalDecided(proof, reason, None))
    release_hold(decision, proof, reason)
