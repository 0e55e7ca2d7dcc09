"""Fund: money comes into a wallet from outside."""

import re
from dataclasses import dataclass

from billvend.domain.commands import Fund
from billvend.domain.errors import ValidationFailed
from billvend.domain.money import AmountLike, Money, parse_amount
from billvend.domain.names import parse_key, parse_user_id
from billvend.usecases.note import note_funding
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
    currency = currency or (amount.currency if isinstance(amount, Money) else parts.default_currency)
    money = parse_amount(amount, currency, maximum=parts.limits.most(currency))
    transaction_id = parts.clock.new_id()
    command = Fund(
        user_id=parse_user_id(user_id),
        key=transaction_id if key is None else parse_key(key),
        transaction_id=transaction_id,
        at=parts.clock.now(),
        amount=money,
        source=source,
        reference=transaction_id if key is None else key,
    )
    done = carry_out(parts, command)
    if not done.replayed:
        note_funding(command.user_id, transaction_id, money, source)
    balance = Money(done.reply.balance_minor or 0, currency)
    return Funded(done.reply.transaction_id, command.user_id, money, balance, done.replayed)
