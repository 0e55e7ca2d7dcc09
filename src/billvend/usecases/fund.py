"""Fund: money comes into a wallet from outside."""

import re
from dataclasses import dataclass

from billvend.domain.commands import Fund
from billvend.domain.errors import ValidationFailed
from billvend.domain.money import AmountLike, Money, parse_amount
from billvend.domain.names import parse_key, parse_user_id
from billvend.usecases.note import note_funding
from billvend.usecases.notify import tell_workers
from billvend.usecases.parts import Parts, carry_out


@dataclass(frozen=True, slots=True)
class Funded:
    """A wallet after money came in."""

    transaction_id: str
    user_id: str
    amount: Money
    balance: Money
    """As it was right after this funding."""
    replayed: bool
    """True when the key had been used for this before, and nothing was added now."""


def fund(
    parts: Parts, user_id: str, amount: AmountLike, *, currency: str | None, key: str | None, source: str
) -> Funded:
    """Add money; opens the wallet if it is new.

    Raises `InvalidInput`; `IdempotencyMismatch` when the key was used for something else; `Unavailable`,
    `OutcomeUnknown`.
    """
    if not re.fullmatch("[A-Za-z0-9-]{1,32}", str(source)):
        raise ValidationFailed(
            "The source is not accepted: it must be 1 to 32 letters, digits or hyphens.",
            fields={"source": "must be 1 to 32 letters, digits or hyphens"},
        )
    money = read_funding(parts, amount, currency)
    user_id = parse_user_id(user_id)
    return credit(parts, user_id, money, source, None if key is None else parse_key(key))


def read_funding(parts: Parts, amount: AmountLike, currency: str | None) -> Money:
    """The sum that somebody asks to add. Raises `InvalidAmount`, `UnsupportedCurrency`."""
    if currency is None:
        currency = amount.currency if isinstance(amount, Money) else parts.default_currency
    return parse_amount(amount, currency, maximum=parts.limits.most(currency))


def credit(parts: Parts, user_id: str, money: Money, source: str, reference: str | None) -> Funded:
    """Add money that came in, once for ever for each reference at the source. Raises as `fund` does."""
    transaction_id = parts.clock.new_id()
    reference = transaction_id if reference is None else reference
    done = carry_out(
        parts, Fund(user_id, reference, transaction_id, parts.clock.now(), money, source, reference)
    )
    if not done.replayed:
        note_funding(parts, user_id, transaction_id, money, source)
        tell_workers(parts, user_id, transaction_id)
    balance = Money(done.reply.balance_minor or 0, money.currency)
    return Funded(done.reply.transaction_id, user_id, money, balance, done.replayed)
