"""Fund: add money to a wallet."""

import re
from dataclasses import dataclass

from billvend.domain.decisions.commands import Fund
from billvend.domain.errors import ValidationFailed
from billvend.domain.ids import parse_key, parse_user_id
from billvend.domain.money import AmountLike, Money, parse_amount
from billvend.usecases.activity_log import log_funding
from billvend.usecases.dependencies import Dependencies, execute_command
from billvend.usecases.environment import check_mode
from billvend.usecases.notifications import enqueue_notification_hint


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


def fund(
    deps: Dependencies,
    user_id: str,
    amount: AmountLike,
    *,
    currency: str | None,
    key: str | None,
    source: str,
) -> FundingResult:
    """Add money to a wallet. Creates the wallet if it is new.

    Raises `InvalidInput`; `IdempotencyMismatch` if the key was used for something else; `Unavailable`,
    `OutcomeUnknown`.
    """
    if not re.fullmatch("[A-Za-z0-9-]{1,32}", str(source)):
        raise ValidationFailed(
            "The source is not accepted: it must be 1 to 32 characters of A-Z, a-z, 0-9 and -. Nothing was added.",
            fields={"source": "must be 1 to 32 characters of A-Z, a-z, 0-9 and -"},
        )
    money = parse_funding_amount(deps, amount, currency)
    user_id = parse_user_id(user_id)
    return credit(deps, user_id, money, source, None if key is None else parse_key(key))


def parse_funding_amount(deps: Dependencies, amount: AmountLike, currency: str | None) -> Money:
    """The amount to add. Raises `InvalidAmount`, `UnsupportedCurrency`."""
    if currency is None:
        currency = amount.currency if isinstance(amount, Money) else deps.default_currency
    return parse_amount(amount, currency, maximum=deps.limits.max_amount(currency))


def credit(
    deps: Dependencies, user_id: str, money: Money, source: str, reference: str | None
) -> FundingResult:
    """Add money, once for ever for each reference of the source.

    Raises the errors of `fund`, and `ConfigurationError` if the ledger is for the other kind of money.
    """
    check_mode(deps)  # money that comes in decides whether the ledger is for test or live money
    transaction_id = deps.clock.new_id()
    reference = transaction_id if reference is None else reference
    result = execute_command(
        deps, Fund(user_id, reference, transaction_id, deps.clock.now(), money, source, reference)
    )
    if not result.replayed:
        log_funding(deps, user_id, transaction_id, money, source)
        enqueue_notification_hint(deps, user_id, transaction_id)
    balance = Money(result.result.balance_minor or 0, money.currency)
    return FundingResult(result.result.transaction_id, user_id, money, balance, result.replayed)
