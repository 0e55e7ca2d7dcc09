"""Pay: hold the money for a bill, commit, and tell the workers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from billvend.domain.decisions.commands import Executed, Pay
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.enums import VendType
from billvend.domain.errors import (
    BillvendError,
    InvalidAmount,
    ProviderUnavailable,
    TransactionNotFound,
    UnknownBiller,
    ValidationFailed,
)
from billvend.domain.ids import parse_key, parse_phone, parse_user_id
from billvend.domain.journal.events import StreamKey
from billvend.domain.meter import parse_meter, parse_vend_type
from billvend.domain.meter_lookup import MeterFound
from billvend.domain.money import AmountLike, parse_amount
from billvend.domain.payment.state import Payment
from billvend.domain.safe_text import safe_repr
from billvend.ports.queue import Hint, QueueName
from billvend.usecases.account_status import current_policy, refresh_account_status, refresh_if_stale
from billvend.usecases.activity_log import log_payment
from billvend.usecases.dependencies import Dependencies, single_result
from billvend.usecases.meters import cached_meter, require_meter

MAX_BILLS_PER_TRANSACTION = 500
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
class PaymentResult:
    """An accepted payment, as it stands."""

    payment: Payment
    replayed: bool
    """True when the key had been used for this before, and nothing was done now."""
    meter: MeterFound | None = None
    """Whose meter it is, where the provider was asked."""


def pay(deps: Dependencies, bill: Bill) -> PaymentResult:
    """Accept a bill: its money is held, and a worker will buy the electricity.

    Raises, in this order: `InvalidInput`; `IdempotencyMismatch`; `WalletNotFound`; `LikelyDuplicate`;
    `InsufficientFunds`; `ProviderUnavailable`; what the provider says of the meter (`MeterNotFound` and the like). Or
    `Unavailable`: nothing was done; `OutcomeUnknown`: repeat it with its key.
    """
    command, meter = build_command(deps, bill), None
    refresh_if_stale(deps)
    if deps.meter_check.is_enabled or current_policy(deps).suspended:
        command, meter = _check_before_hold(deps, command)
    (result,) = _payment_results(deps, [command], _execute_and_enqueue(deps, [command]))
    if isinstance(result, BillvendError):
        raise result
    return result if result.replayed else replace(result, meter=meter)


def _check_before_hold(deps: Dependencies, command: Pay) -> tuple[Pay, MeterFound | None]:
    """Ask what only others know, of a payment that the books would take: who sells, and whose meter it is."""
    if not current_policy(deps).suspended and (cached := cached_meter(deps, command)) is not None:
        return replace(command, verified=True), cached
    if single_result(deps.journal.dry_run([command])).replayed:
        return command, None
    try:
        _require_selling_account(deps, command)
        meter = require_meter(deps, command.meter, command.biller, command.vend_type, command.amount)
    except BillvendError:
        # Somebody may have been accepted with this key meanwhile: then nothing may be said to have been refused.
        if single_result(deps.journal.dry_run([command])).replayed:
            return command, None
        raise
    return replace(command, at=deps.clock.now(), verified=meter is not None), meter


def _require_selling_account(deps: Dependencies, command: Pay) -> None:
    """Refuse a payment for which nobody sells at present. What is accepted in bulk waits instead."""
    policy = current_policy(deps)
    accounts = [
        account for account in policy.accounts
        if account.supports(command.biller, command.vend_type) and account.accepts_amount(command.amount)
    ]  # fmt: skip
    if accounts and not any(policy.is_selling(account) for account in accounts):
        refresh_account_status(deps)  # it may have cleared, and no worker may be there to see it
        policy = current_policy(deps)
    if accounts and not any(policy.is_selling(account) for account in accounts):
        raise ProviderUnavailable(
            f"Nothing is sold for {command.biller} at the moment. Nothing was held: try again later."
        )


def pay_many(deps: Dependencies, bills: Iterable[Bill | Pay]) -> list[PaymentResult | BillvendError]:
    """Accept bills, many in one transaction; each gets its payment or its refusal, in order.

    Raises nothing of ours: what was accepted stands, also when the database goes away in the middle, and then each bill
    that was not gets `Unavailable` or `OutcomeUnknown` in its place. A repeat with the same keys does what is missing.
    Bills that were `read` before are taken as they are.
    """
    results: list[PaymentResult | BillvendError] = []
    remaining = iter(bills)
    while chunk := list(islice(remaining, MAX_BILLS_PER_TRANSACTION)):
        parsed = [_command_or_error(deps, bill) for bill in chunk]
        commands = [command for command in parsed if isinstance(command, Pay)]
        payments = iter(_payment_results(deps, commands, _execute_and_enqueue(deps, commands)))
        results += [next(payments) if isinstance(item, Pay) else item for item in parsed]
    return results


def _execute_and_enqueue(deps: Dependencies, commands: list[Pay]) -> list[CommandOutcome]:
    """Have the commands done, and tell the workers before anything else can fail."""
    try:
        results = deps.journal.execute(commands)
    except BillvendError as error:
        return [error for _ in commands]
    new_payments = [
        done.payment for done in results if isinstance(done, Executed) and done.payment is not None
    ]
    if new_payments:
        hints = [Hint(payment.user_id, payment.transaction_id) for payment in new_payments]
        deps.queue.enqueue_nowait(QueueName.PAYMENTS, hints)
    return results


def _payment_results(
    deps: Dependencies, commands: Sequence[Pay], results: Sequence[CommandOutcome]
) -> list[PaymentResult | BillvendError]:
    """What each got: a payment of now, or one of before as it stands."""
    earlier_keys = [
        StreamKey(command.user_id, result.result.transaction_id)
        for command, result in zip(commands, results, strict=True)
        if isinstance(result, Executed) and result.payment is None
    ]
    earlier: Mapping[StreamKey, Payment] | BillvendError
    try:
        earlier = deps.queries.payments(earlier_keys) if earlier_keys else {}
    except BillvendError as error:
        earlier = error
    return [
        _payment_result(deps, command, result, earlier)
        for command, result in zip(commands, results, strict=True)
    ]


def _payment_result(
    deps: Dependencies,
    command: Pay,
    result: CommandOutcome,
    earlier: Mapping[StreamKey, Payment] | BillvendError,
) -> PaymentResult | BillvendError:
    if isinstance(result, BillvendError):
        return result
    if result.payment is not None:
        log_payment(deps, result.payment, command.at)
        return PaymentResult(result.payment, replayed=False)
    if isinstance(earlier, BillvendError):
        return earlier
    payment = earlier.get(StreamKey(command.user_id, result.result.transaction_id))
    if payment is None:
        return TransactionNotFound(f"There is no payment {result.result.transaction_id}.")
    return PaymentResult(payment, replayed=True)


def _command_or_error(deps: Dependencies, bill: Bill | Pay) -> Pay | BillvendError:
    try:
        return bill if isinstance(bill, Pay) else build_command(deps, bill)
    except BillvendError as error:
        return error


def build_command(deps: Dependencies, bill: Bill) -> Pay:
    """The command that a bill makes; nobody is asked, and nothing is done. Raises `InvalidInput`."""
    user_id, meter = parse_user_id(bill.user_id), parse_meter(bill.meter)
    caller_key = None if bill.key is None else parse_key(bill.key)
    vend_type, phone = parse_vend_type(bill.vend_type), parse_phone(bill.phone)
    accounts = [account for account in deps.policy.accounts if account.supports(bill.biller, vend_type)]
    currency = accounts[0].currency if accounts else deps.default_currency
    amount = parse_amount(
        bill.amount,
        currency,
        minimum=deps.limits.min_payment(currency),
        maximum=deps.limits.max_amount(currency),
    )
    if not accounts:
        reason = f"no configured provider sells {vend_type} electricity for it"
        raise UnknownBiller(
            f"The biller {safe_repr(bill.biller)} is not accepted: {reason}. See: billvend billers",
            fields={"provider": reason},
        )
    if all(account.whole_units_only for account in accounts) and amount.major % 1:
        raise InvalidAmount(
            f"The amount {amount} is not accepted: electricity is sold in whole {currency} here.",
            fields={"amount": f"must be whole {currency}"},
        )
    if phone is None and all(account.needs_phone for account in accounts):
        reason = "is needed: the provider wants one with every order"
        raise ValidationFailed(
            f"A phone number {reason}. Give one, or set BILL_PROVIDER_PHONE.", fields={"phone": reason}
        )
    transaction_id = deps.clock.new_id()
    return Pay(
        user_id=user_id,
        key=caller_key or transaction_id,
        has_caller_key=caller_key is not None,
        transaction_id=transaction_id,
        at=deps.clock.now(),
        amount=amount,
        meter=meter,
        biller=bill.biller,
        vend_type=vend_type,
        phone=phone,
        allow_duplicate=bill.allow_duplicate,
    )
