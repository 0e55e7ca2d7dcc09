"""Fund: add money to a wallet."""

import re
from dataclasses import dataclass

from billvend.domain.decisions.commands import Fund
from billvend.domain.errors import ValidationFailed
from billvend.domain.ids import parse_key, parse_user_id
from billvend.domain.money import AmountLike, Money, parse_amount
from billvend.usecases.ledger import Ledger
from billvend.usecases.limits import Limits


@dataclass(frozen=True, slots=True)
class FundingResult:
    """A wallet after funding."""

    transaction_id: str
    user_id: str
    amount: Money
    balance: Money
    """The available balance right after this funding."""
    replayed: bool
    """True if an earlier call with the key added the money. This call added nothing."""


@dataclass(frozen=True, slots=True)
class Fundings:
    """Adds money to wallets."""

    ledger: Ledger
    limits: Limits
    default_currency: str

    def fund(
        self, user_id: str, amount: AmountLike, *, currency: str | None, key: str | None, source: str
    ) -> FundingResult:
        """Add money to a wallet; see `Billvend.fund`."""
        if not re.fullmatch("[A-Za-z0-9-]{1,32}", str(source)):
            reason = "must be 1 to 32 characters of A-Z, a-z, 0-9 and -"
            raise ValidationFailed(
                f"The source is not accepted: it {reason}. Nothing was added.", fields={"source": reason}
            )
        money = self.parse_amount(amount, currency)
        user_id = parse_user_id(user_id)
        return self.credit(user_id, money, source, None if key is None else parse_key(key))

    def parse_amount(self, amount: AmountLike, currency: str | None) -> Money:
        """The amount to add. Raises `InvalidAmount`, `UnsupportedCurrency`."""
        if currency is None:
            currency = amount.currency if isinstance(amount, Money) else self.default_currency
        return parse_amount(amount, currency, maximum=self.limits.max_amount(currency))

    def credit(self, user_id: str, money: Money, source: str, reference: str | None) -> FundingResult:
        """Add money, once for ever for each reference of the source.

        Raises the errors of `fund`, and `ConfigurationError` if the ledger is for the other kind of money.
        """
        self.ledger.require_mode()  # money that comes in decides whether the ledger is for test or live money
        transaction_id = self.ledger.clock.new_id()
        reference = reference or transaction_id
        command = Fund(user_id, reference, transaction_id, self.ledger.clock.now(), money, source, reference)
        done = self.ledger.execute(command)
        balance = Money(done.result.balance_minor or 0, money.currency)
        return FundingResult(done.result.transaction_id, user_id, money, balance, done.replayed)
