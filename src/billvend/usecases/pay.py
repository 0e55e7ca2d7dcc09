"""Pay: hold the money for a bill, commit, and queue a hint for the workers."""

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
from billvend.domain.ids import parse_key, parse_meter, parse_phone, parse_user_id, parse_vend_type
from billvend.domain.journal.events import StreamKey
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
    """A bill to pay, not validated yet."""

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
    """An accepted payment in its current state."""

    payment: Payment
    replayed: bool
    """True if an earlier call with the key made the payment. This call did nothing."""
    meter: MeterFound | None = None
    """The meter's customer, if the meter was checked."""


def pay(deps: Dependencies, bill: Bill) -> PaymentResult:
    """Accept a bill: hold its money. A worker then buys the electricity.

    Raises, in this order: `InvalidInput`; `IdempotencyMismatch`; `WalletNotFound`; `LikelyDuplicate`;
    `InsufficientFunds`; `ProviderUnavailable`; the meter's errors (`MeterNotFound` and others, see `verify_meter`).
    Also `Unavailable` if nothing was done, and `OutcomeUnknown`: repeat it with its key.
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
    """Check that an account sells and that the meter is valid, for a payment that the ledger would accept."""
    if not current_policy(deps).suspended and (cached := cached_meter(deps, command)) is not None:
        return replace(command, verified=True), cached
    if single_result(deps.journal.dry_run([command])).replayed:
        return command, None
    try:
        _require_selling_account(deps, command)
        meter = require_meter(deps, command.meter, command.biller, command.vend_type, command.amount)
    except BillvendError:
        # Another call with this key may have been accepted meanwhile. Then this one must not be rejected.
        if single_result(deps.journal.dry_run([command])).replayed:
            return command, None
        raise
    return replace(command, at=deps.clock.now(), verified=meter is not None), meter


def _require_selling_account(deps: Dependencies, command: Pay) -> None:
    """Reject a payment if every account for it is suspended. Payments in bulk are accepted, and wait."""
    policy = current_policy(deps)
    accounts = [
        account for account in policy.accounts
        if account.supports(command.biller, command.vend_type) and account.accepts_amount(command.amount)
    ]  # fmt: skip
    if accounts and not any(policy.is_selling(account) for account in accounts):
        refresh_account_status(deps)  # the reason may have cleared, and perhaps no worker runs
        policy = current_policy(deps)
    if accounts and not any(policy.is_selling(account) for account in accounts):
        raise ProviderUnavailable(
            f"Electricity of {command.biller} is not on sale now. Nothing was held: try again later."
        )


def pay_many(deps: Dependencies, bills: Iterable[Bill | Pay]) -> list[PaymentResult | BillvendError]:
    """Accept bills, up to 500 in one transaction. Each gets its payment or its error, in order.

    Raises no `BillvendError`. If the database becomes unavailable, accepted payments remain, and each other bill gets
    `Unavailable` or `OutcomeUnknown`. A repeat with the same keys does only what is missing. A `Pay` command from
    `build_command` is used as it is.
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
    """Execute the commands, and queue hints before anything else can fail."""
    try:
        results = deps.journal.execute(commands)
    except BillvendError as error:
        return [error for _ in commands]
    new_payments = [
        done.payment for done in results if isinstance(done, Executed) and done.payment is not None
    ]
    if new_payments:
        hints = [Hint(payment.user_id, payment.transaction_id) for payment in new_payments]
        deps.queue.enqueue(QueueName.PAYMENTS, hints, wait=False)
    return results


def _payment_results(
    deps: Dependencies, commands: Sequence[Pay], results: Sequence[CommandOutcome]
) -> list[PaymentResult | BillvendError]:
    """The result of each command: a new payment, or an earlier one in its current state."""
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
    """Validate a bill, and build its command. Nothing is sent or stored. Raises `InvalidInput`."""
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
        reason = "is required: the provider needs one with every order"
        raise ValidationFailed(
            f"A phone number {reason}. Nothing was held: give one, or set BILL_PROVIDER_PHONE.",
            fields={"phone": reason},
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
