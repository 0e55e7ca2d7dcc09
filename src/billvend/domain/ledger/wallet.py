"""A wallet: the available balance of one user in one currency."""

from dataclasses import dataclass
from datetime import datetime

from billvend.domain.errors import InsufficientFunds, InvalidTransition
from billvend.domain.journal.events import StreamKey, WalletEvent, WalletFunded, WalletHeld, WalletReleased
from billvend.domain.money import Money


@dataclass(frozen=True, slots=True)
class Wallet:
    """The available balance. Money held for payments has already left it."""

    user_id: str
    balance: Money

    @property
    def stream_key(self) -> StreamKey:
        """The stream of its events."""
        return wallet_stream(self.user_id, self.balance.currency)


@dataclass(frozen=True, slots=True)
class Funding:
    """Money from outside that was credited to a wallet once."""

    user_id: str
    transaction_id: str
    amount: Money
    source: str
    reference: str
    at: datetime


def wallet_stream(user_id: str, currency: str) -> StreamKey:
    """The stream of a user's wallet in a currency."""
    return StreamKey(user_id, f"wallet:{currency}")


def new_wallet(user_id: str, currency: str) -> Wallet:
    """A wallet before its first funding."""
    return Wallet(user_id, Money(0, currency))


def hold(wallet: Wallet, transaction_id: str, amount: Money) -> WalletHeld:
    """Set money aside for a payment. Raises `InsufficientFunds`."""
    if wallet.balance < amount:
        raise InsufficientFunds(
            f"The wallet holds {wallet.balance.display}, which is less than {amount.display}. Nothing was held."
        )
    return WalletHeld(transaction_id, amount.amount_minor)


def evolve(wallet: Wallet, event: WalletEvent) -> Wallet:
    """The wallet after an event."""
    sign = {WalletFunded: 1, WalletReleased: 1, WalletHeld: -1}[type(event)]
    balance = Money(wallet.balance.amount_minor + sign * event.amount_minor, wallet.balance.currency)
    if balance.amount_minor < 0:
        raise InvalidTransition(f"the wallet of {wallet.user_id} would fall below zero")
    return Wallet(wallet.user_id, balance)
