"""Pay: hold the money for a bill, commit, and tell the workers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from billvend.domain.commands import Done, Pay
from billvend.domain.decide import Result
from billvend.domain.errors import (
    BillvendError,
    InvalidAmount,
    ProviderUnavailable,
    TransactionNotFound,
    UnknownBiller,
    ValidationFailed,
)
from billvend.domain.events import StreamKey
from billvend.domain.meter import parse_meter, parse_vend_type
from billvend.domain.money import AmountLike, parse_amount
from billvend.domain.names import parse_key, parse_phone, parse_user_id
from billvend.domain.payment import Payment
from billvend.domain.quote import quoted
from billvend.domain.verification import MeterFound
from billvend.domain.words import VendType
from billvend.ports.queue import Hint, QueueName
from billvend.usecases.breaker import look_after, look_now_and_then, policy_now
from billvend.usecases.note import note_payment
from billvend.usecases.parts import Parts, outcome_of
from billvend.usecases.verify import remembered_meter, require_meter

ACCEPTED_AT_ONCE = 500
"""Bills in one transaction, at most."""


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
    meter: MeterFound | None = None
    """Whose meter it is, where the provider was asked."""


def pay(parts: Parts, bill: Bill) -> Paid:
    """Accept a bill: its money is held, and a worker will buy the electricity.

    Raises, in this order: `InvalidInput`; `IdempotencyMismatch`; `WalletNotFound`; `LikelyDuplicate`;
    `InsufficientFunds`; `ProviderUnavailable`; what the provider says of the meter (`MeterNotFound` and the like). Or
    `Unavailable`: nothing was done; `OutcomeUnknown`: repeat it with its key.
    """
    command, meter = read(parts, bill), None
    look_now_and_then(parts)
    if parts.verification.is_on or policy_now(parts).closed:
        command, meter = _before_the_hold(parts, command)
    (result,) = _paid(parts, [command], _accepted(parts, [command]))
    if isinstance(result, BillvendError):
        raise result
    return result if result.replayed else replace(result, meter=meter)


def _before_the_hold(parts: Parts, command: Pay) -> tuple[Pay, MeterFound | None]:
    """Ask what only others know, of a payment that the books would take: who sells, and whose meter it is."""
    if not policy_now(parts).closed and (known := remembered_meter(parts, command)) is not None:
        return replace(command, verified=True), known
    if outcome_of(parts.journal.rehearse([command])).replayed:
        return command, None
    try:
        _require_seller(parts, command)
        meter = require_meter(parts, command.meter, command.biller, command.vend_type, command.amount)
    except BillvendError:
        # Somebody may have been accepted with this key meanwhile: then nothing may be said to have been refused.
        if outcome_of(parts.journal.rehearse([command])).replayed:
            return command, None
        raise
    return replace(command, at=parts.clock.now(), verified=meter is not None), meter


def _require_seller(parts: Parts, command: Pay) -> None:
    """Refuse a payment for which nobody sells at present. What is accepted in bulk waits instead."""
    policy = policy_now(parts)
    selling = [
        route for route in policy.routes
        if route.sells(command.biller, command.vend_type) and route.takes(command.amount)
    ]  # fmt: skip
    if selling and not any(policy.may_send(route) for route in selling):
        look_after(parts)  # it may have cleared, and no worker may be there to see it
        policy = policy_now(parts)
    if selling and not any(policy.may_send(route) for route in selling):
        raise ProviderUnavailable(
            f"Nothing is sold for {command.biller} at the moment. Nothing was held: try again later."
        )


def pay_many(parts: Parts, bills: Iterable[Bill | Pay]) -> list[Paid | BillvendError]:
    """Accept bills, many in one transaction; each gets its payment or its refusal, in order.

    Raises nothing of ours: what was accepted stands, also when the database goes away in the middle, and then each bill
    that was not gets `Unavailable` or `OutcomeUnknown` in its place. A repeat with the same keys does what is missing.
    Bills that were `read` before are taken as they are.
    """
    results: list[Paid | BillvendError] = []
    rest = iter(bills)
    while chunk := list(islice(rest, ACCEPTED_AT_ONCE)):
        wanted = [_read_or_refused(parts, bill) for bill in chunk]
        commands = [command for command in wanted if isinstance(command, Pay)]
        paid = iter(_paid(parts, commands, _accepted(parts, commands)))
        results += [next(paid) if isinstance(item, Pay) else item for item in wanted]
    return results


def _accepted(parts: Parts, commands: list[Pay]) -> list[Result]:
    """Have the commands done, and tell the workers before anything else can fail."""
    try:
        decided = parts.journal.execute(commands)
    except BillvendError as error:
        return [error for _ in commands]
    fresh = [done.payment for done in decided if isinstance(done, Done) and done.payment is not None]
    if fresh:
        hints = [Hint(payment.user_id, payment.transaction_id) for payment in fresh]
        parts.queue.tell(QueueName.PAYMENTS, hints)
    return decided


def _paid(parts: Parts, commands: Sequence[Pay], results: Sequence[Result]) -> list[Paid | BillvendError]:
    """What each got: a payment of now, or one of before as it stands."""
    before = [
        StreamKey(command.user_id, result.reply.transaction_id)
        for command, result in zip(commands, results, strict=True)
        if isinstance(result, Done) and result.payment is None
    ]
    known: Mapping[StreamKey, Payment] | BillvendError
    try:
        known = parts.books.payments(before) if before else {}
    except BillvendError as error:
        known = error
    return [
        _paid_one(parts, command, result, known) for command, result in zip(commands, results, strict=True)
    ]


def _paid_one(
    parts: Parts, command: Pay, result: Result, known: Mapping[StreamKey, Payment] | BillvendError
) -> Paid | BillvendError:
    if isinstance(result, BillvendError):
        return result
    if result.payment is not None:
        note_payment(parts, result.payment, command.at)
        return Paid(result.payment, replayed=False)
    if isinstance(known, BillvendError):
        return known
    found = known.get(StreamKey(command.user_id, result.reply.transaction_id))
    if found is None:
        return TransactionNotFound(f"There is no payment {result.reply.transaction_id}.")
    return Paid(found, replayed=True)


def _read_or_refused(parts: Parts, bill: Bill | Pay) -> Pay | BillvendError:
    try:
        return bill if isinstance(bill, Pay) else read(parts, bill)
    except BillvendError as refusal:
        return refusal


def read(parts: Parts, bill: Bill) -> Pay:
    """The command that a bill makes; nobody is asked, and nothing is done. Raises `InvalidInput`."""
    user_id, meter = parse_user_id(bill.user_id), parse_meter(bill.meter)
    given_key = None if bill.key is None else parse_key(bill.key)
    vend_type, phone = parse_vend_type(bill.vend_type), parse_phone(bill.phone)
    selling = [route for route in parts.policy.routes if route.sells(bill.biller, vend_type)]
    currency = selling[0].currency if selling else parts.default_currency
    amount = parse_amount(
        bill.amount, currency, minimum=parts.limits.least(currency), maximum=parts.limits.most(currency)
    )
    if not selling:
        reason = f"no configured provider sells {vend_type} electricity for it"
        raise UnknownBiller(
            f"The biller {quoted(bill.biller)} is not accepted: {reason}. See: billvend billers",
            fields={"provider": reason},
        )
    if all(route.whole_units_only for route in selling) and amount.major % 1:
        raise InvalidAmount(
            f"The amount {amount} is not accepted: electricity is sold in whole {currency} here.",
            fields={"amount": f"must be whole {currency}"},
        )
    if phone is None and all(route.needs_phone for route in selling):
        reason = "is needed: the provider wants one with every order"
        raise ValidationFailed(
            f"A phone number {reason}. Give one, or set BILL_PROVIDER_PHONE.", fields={"phone": reason}
        )
    transaction_id = parts.clock.new_id()
    return Pay(
        user_id=user_id,
        key=given_key or transaction_id,
        key_is_given=given_key is not None,
        transaction_id=transaction_id,
        at=parts.clock.now(),
        amount=amount,
        meter=meter,
        biller=bill.biller,
        vend_type=vend_type,
        phone=phone,
        allow_duplicate=bill.allow_duplicate,
    )
