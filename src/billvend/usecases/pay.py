"""Pay: hold the money for a bill, commit, and tell the workers."""

from dataclasses import dataclass

from billvend.domain.commands import Pay
from billvend.domain.errors import InvalidAmount, TransactionNotFound, UnknownBiller
from billvend.domain.meter import parse_meter, parse_vend_type
from billvend.domain.money import AmountLike, Money, parse_amount
from billvend.domain.names import parse_key, parse_phone, parse_user_id
from billvend.domain.payment import Payment
from billvend.domain.words import VendType
from billvend.ports.queue import Hint, QueueName
from billvend.usecases.parts import Parts, carry_out


@dataclass(frozen=True, slots=True)
class Bill:
    """What somebody asks to be paid, unread."""

    user_id: str
    amount: AmountLike
    meter: str
    biller: str
    vend_type: str = VendType.PREPAID.value
    phone: str | None = None
    key: str | None = None
    allow_duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Paid:
    """An accepted payment, as it stands."""

    payment: Payment
    replayed: bool
    """True when the key had been used for this before, and nothing was done now."""


def pay(parts: Parts, bill: Bill) -> Paid:
    """Accept a bill: its money is held, and a worker will buy the electricity.

    Raises, in this order: `InvalidInput`; `IdempotencyMismatch`; `WalletNotFound`; `LikelyDuplicate`;
    `InsufficientFunds`. Or `Unavailable`: nothing was done; `OutcomeUnknown`: repeat it with its key.
    """
    command = _read(parts, bill)
    done = carry_out(parts, command)
    if done.payment is not None:
        parts.queue.enqueue(QueueName.PAYMENTS, [Hint(command.user_id, command.transaction_id)])
        return Paid(done.payment, replayed=False)
    found = parts.books.transaction(done.reply.transaction_id, command.user_id)
    if not isinstance(found, Payment):
        raise TransactionNotFound(f"There is no payment {done.reply.transaction_id}.")
    return Paid(found, replayed=True)


def _read(parts: Parts, bill: Bill) -> Pay:
    """The command that a bill makes."""
    user_id, meter = parse_user_id(bill.user_id), parse_meter(bill.meter)
    vend_type, phone = parse_vend_type(bill.vend_type), parse_phone(bill.phone)
    selling = [route for route in parts.policy.routes if route.sells(bill.biller, vend_type)]
    currency = selling[0].currency if selling else parts.default_currency
    amount = parse_amount(
        bill.amount, currency, minimum=parts.limits.least(currency), maximum=parts.limits.most(currency)
    )
    if not selling:
        reason = f"no configured provider sells {vend_type} electricity for it"
        raise UnknownBiller(
            f"The biller {bill.biller[:40]!a} is not accepted: {reason}. See: billvend billers",
            fields={"provider": reason},
        )
    if all(route.whole_units_only for route in selling) and amount.major % 1:
        raise InvalidAmount(
            f"The amount {amount} is not accepted: electricity is sold in whole {currency} here.",
            fields={"amount": f"must be whole {currency}"},
        )
    transaction_id = parts.clock.new_id()
    return Pay(
        user_id=user_id,
        key=transaction_id if bill.key is None else parse_key(bill.key),
        key_is_given=bill.key is not None,
        transaction_id=transaction_id,
        at=parts.clock.now(),
        amount=amount,
        meter=meter,
        biller=bill.biller,
        vend_type=vend_type,
        phone=phone,
        allow_duplicate=bill.allow_duplicate,
    )

