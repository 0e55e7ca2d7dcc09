"""Deposits: a customer pays at a gateway such as Paystack, and the wallet is credited once.

    create           create the payment at the gateway, and return where the customer pays
    check            query the gateway, and credit what was paid
    handle_webhook   the gateway reports news, which is only a reason to check
    poll_unpaid      check unpaid deposits at growing ages, because a webhook may be lost

A reference is committed before the gateway receives it. Only the call that committed it creates the payment at the
gateway, once. The gateway is believed only in answer to our own query, and only if it reports exactly the amount and
currency of the deposit. The ledger credits each reference once for ever, in any number and order of webhooks.
"""

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from billvend.domain.errors import (
    ConfigurationError,
    DependencyError,
    IdempotencyMismatch,
    NotInReview,
    RequestInProgress,
    ResourceNotFound,
    Unavailable,
    UnsupportedCurrency,
    ValidationFailed,
)
from billvend.domain.ids import parse_email, parse_key, parse_user_id
from billvend.domain.money import CURRENCIES, AmountLike, Money
from billvend.domain.outcome import Misconfigured
from billvend.domain.safe_text import safe_repr
from billvend.ports.gateway import (
    DepositInitialised,
    DepositPaid,
    DepositRefunded,
    DepositRejected,
    DepositUnpaid,
    Gateway,
    GatewayFailure,
    GatewayInfo,
)
from billvend.ports.repositories import Deposit
from billvend.usecases.dependencies import Dependencies

REPEAT_WAIT_SECONDS = 5.0
"""How long a repeated call waits for the first call with its key."""
POLL_SECONDS = 0.2
POLL_AGES: Final = tuple(
    timedelta(minutes=minutes) for minutes in (10, 30, 2 * 60, 6 * 60, 24 * 60, 3 * 24 * 60)
)
"""The ages at which an unpaid deposit is checked. After the last one an operator can check it."""
ABANDONED_GRACE_SECONDS = 20.0
"""A deposit without a payment URL this long after the deadline of the gateway call was left by a process that died."""

logger = logging.getLogger("billvend.deposits")


@dataclass(frozen=True, slots=True)
class DepositResult:
    """A deposit that the customer can pay."""

    reference: str
    authorization_url: str
    """Where the customer pays."""
    user_id: str
    amount: Money
    replayed: bool
    """True if an earlier call with the key created the deposit. This call created nothing."""


class DepositStatus(StrEnum):
    """The result of a check."""

    CREDITED = "credited"
    NOT_PAID = "not_paid"
    """Not yet, or never. An abandoned payment may still succeed."""
    PROBLEM = "problem"
    """The payment differs from the deposit, and a person must check it."""


@dataclass(frozen=True, slots=True)
class DepositCheck:
    """A deposit and what is known of it: from the gateway's answer, or, in a list, from the ledger alone."""

    deposit: Deposit
    status: DepositStatus
    detail: str
    """In words, for people."""


# --- create -----------------------------------------------------------------------------------------------------------


def create(
    deps: Dependencies,
    user_id: str,
    amount: AmountLike,
    *,
    email: str,
    currency: str | None,
    key: str | None,
    email_may_get_tokens: bool,
) -> DepositResult:
    """Create a deposit. With a `key`, the same request returns the same reference and URL each time.

    When the deposit is credited, `email` becomes the address of the user's wallets, if they have none and
    `email_may_get_tokens` is true.

    Raises `InvalidInput` and its subclasses, also if the gateway rejects the deposit; `IdempotencyMismatch`;
    `ConfigurationError` without a gateway, or if the ledger is for the other kind of money; `RequestInProgress`;
    `Unavailable` if nothing was charged: it is safe to repeat.
    """
    user_id, money, email = (
        parse_user_id(user_id),
        deps.wire_fundings().parse_amount(amount, currency),
        parse_email(email),
    )
    key = None if key is None else parse_key(key)
    gateway = _require_gateway(deps)
    if money.currency not in gateway.info.currencies:
        reason = f"must be one of {', '.join(gateway.info.currencies)}"
        raise UnsupportedCurrency(
            f"{gateway.info.title} does not accept the currency {money.currency}: it {reason}.",
            fields={"currency": reason},
        )
    deps.wire_ledger().require_mode()
    reference = f"bv-{deps.clock.new_id()}"
    deposit = Deposit(
        user_id, reference, key, gateway.info.name, money, email, deps.clock.now(),
        email_may_get_tokens=email_may_get_tokens,
    )  # fmt: skip
    deadline_seconds = deps.clock.elapsed_seconds() + REPEAT_WAIT_SECONDS
    while (stored := deps.deposits.add(deposit)).reference != reference:
        if (stored.amount, stored.email, stored.source) != (money, email, gateway.info.name):
            raise IdempotencyMismatch(
                "This key was used for another deposit. That deposit is unchanged, and nothing was done now."
            )
        if stored.authorization_url is not None:
            return _deposit_result(stored, stored.authorization_url, replayed=True)
        if _is_abandoned(deps, gateway, stored):
            deps.deposits.update(stored, key=None, authorization_url=None)
        elif deps.clock.elapsed_seconds() >= deadline_seconds:
            raise RequestInProgress(
                "The first call with this key is still running. Nothing was done now: repeat it in a moment."
            )
        else:
            deps.clock.sleep(POLL_SECONDS)
        deposit = replace(deposit, created_at=deps.clock.now())
    return _initialise(deps, gateway, stored)


def _is_abandoned(deps: Dependencies, gateway: Gateway, deposit: Deposit) -> bool:
    """Whether the process that created this deposit must have died. Then no customer got the payment URL."""
    age = abs(deps.clock.now() - deposit.created_at)
    return age >= timedelta(seconds=gateway.info.max_call_seconds + ABANDONED_GRACE_SECONDS)


def _initialise(deps: Dependencies, gateway: Gateway, deposit: Deposit) -> DepositResult:
    answer = gateway.initialise(deposit.reference, deposit.amount, deposit.email)
    # If the deposit was abandoned meanwhile, its key may belong to another one.
    if isinstance(answer, DepositInitialised) and deps.deposits.update(
        deposit, key=deposit.key, authorization_url=answer.authorization_url
    ):
        logger.info("Deposit created", extra=_context(deposit))
        return _deposit_result(deposit, answer.authorization_url, replayed=False)
    # No customer gets a payment URL for this reference, so none can pay it.
    deps.deposits.update(deposit, key=None, authorization_url=None)
    match answer:
        case DepositInitialised():
            raise Unavailable("The deposit took too long to store. Nothing was charged: try again.")
        case DepositRejected(reason):
            raise ValidationFailed(
                f"{gateway.info.title} rejects this deposit: {reason}. Nothing was charged."
            )
        case failure:
            raise _gateway_error(gateway.info, failure, deposit, "charged")


def _deposit_result(deposit: Deposit, authorization_url: str, *, replayed: bool) -> DepositResult:
    return DepositResult(deposit.reference, authorization_url, deposit.user_id, deposit.amount, replayed)


# --- credit -----------------------------------------------------------------------------------------------------------


def handle_webhook(deps: Dependencies, body: bytes, signature: str | None) -> bool:
    """Check the deposit that a webhook of the gateway names. Returns False, and does nothing, if the signature is wrong.

    Nothing in the body raises an error. Raises `Unavailable`, `OutcomeUnknown` and `ConfigurationError` if the gateway
    should send it again later.
    """
    gateway = _require_gateway(deps)
    references = gateway.parse_webhook(body, signature)
    if references is None:
        logger.warning("A webhook without a valid signature of %s was rejected", gateway.info.title)
        return False
    for reference in references:
        deposit = deps.deposits.get(reference)
        if deposit is not None:
            _check(deps, gateway, deposit)
        else:
            # The gateway signed it, so our account there received money, but for no deposit that we created.
            context = {"reference": safe_repr(reference)}
            logger.warning(
                "A webhook of %s names an unknown deposit", gateway.info.title, extra={"context": context}
            )
    return True


def check(deps: Dependencies, reference: str) -> DepositCheck:
    """Query the gateway for a deposit, and credit it if it was paid and is not credited yet.

    Raises `ResourceNotFound` if there is no deposit with this reference; `Unavailable`, `OutcomeUnknown`,
    `ConfigurationError`.
    """
    return _check(deps, _require_gateway(deps), _require_deposit(deps, reference))


def newest(deps: Dependencies, limit: int) -> list[DepositCheck]:
    """The newest deposits, newest first, as the ledger has them. The gateway is not asked.

    Raises `Unavailable`.
    """
    return [_recorded_state(deposit) for deposit in deps.deposits.newest(limit)]


def _recorded_state(deposit: Deposit) -> DepositCheck:
    if deposit.problem is not None:
        return DepositCheck(deposit, DepositStatus.PROBLEM, deposit.problem)
    if deposit.transaction_id is not None:
        return DepositCheck(deposit, DepositStatus.CREDITED, f"{deposit.amount.display} was credited.")
    return DepositCheck(deposit, DepositStatus.NOT_PAID, "No payment is known.")


def acknowledge(deps: Dependencies, reference: str) -> DepositCheck:
    """Record that a person acknowledged the problem of a deposit. The review list no longer shows it.

    Raises `ResourceNotFound`; `NotInReview` if it has no problem or the problem was acknowledged; `Unavailable`.
    """
    deposit = _require_deposit(deps, reference)
    if deposit.problem is None or deposit.acknowledged_at is not None:
        raise NotInReview(f"The deposit {safe_repr(reference)} has no open problem. Nothing was changed.")
    acknowledged = replace(deposit, acknowledged_at=deps.clock.now())
    if not deps.deposits.update(
        deposit, problem=deposit.problem, acknowledged_at=acknowledged.acknowledged_at
    ):
        raise NotInReview(f"The problem of the deposit {safe_repr(reference)} changed just now. Look again.")
    return DepositCheck(acknowledged, DepositStatus.PROBLEM, deposit.problem)


def poll_unpaid(deps: Dependencies, since: datetime | None) -> datetime:
    """Check every unpaid deposit that reached one of the ages of `POLL_AGES` after `since`.

    `since` None means: as long ago as the last age. Returns `since` of the next call. Raises `Unavailable`,
    `OutcomeUnknown`, `ConfigurationError` if no check succeeded. Then repeat the call with the same `since`.
    """
    now = deps.clock.now()
    if deps.gateway is None:
        return now
    since = max(since or now - POLL_AGES[-1], now - POLL_AGES[-1])
    unpaid = deps.deposits.unpaid([(since - age, now - age) for age in POLL_AGES])
    due = [deposit for deposit in unpaid if deposit.source == deps.gateway.info.name]
    failures: list[DependencyError] = []
    for deposit in due:
        try:
            _check(deps, deps.gateway, deposit)
        except DependencyError as error:  # a failed check must not stop the others
            failures.append(error)
    if failures and len(failures) == len(due):
        raise failures[0]
    return now


def _check(deps: Dependencies, gateway: Gateway, deposit: Deposit) -> DepositCheck:
    expected = (deposit.amount.amount_minor, deposit.amount.currency)
    match gateway.verify(deposit.reference):
        case DepositPaid(minor, currency) if (minor, currency) == expected:
            return _credit(deps, deposit)
        case DepositPaid(minor, currency):
            paid = f"{gateway.info.title} reports a payment of {_format_amount(minor, currency)}"
            return _record_problem(deps, deposit, f"{paid}, but the deposit is {deposit.amount.display}")
        case DepositRefunded() if _reload(deps, deposit).transaction_id is not None:
            return _record_problem(deps, deposit, f"{gateway.info.title} refunded the money to the customer")
        case DepositRefunded():
            return DepositCheck(deposit, DepositStatus.NOT_PAID, f"{gateway.info.title} says: reversed")
        case DepositUnpaid(status):
            return DepositCheck(deposit, DepositStatus.NOT_PAID, f"{gateway.info.title} says: {status}")
        case failure:
            raise _gateway_error(gateway.info, failure, deposit, "credited")


def _credit(deps: Dependencies, deposit: Deposit) -> DepositCheck:
    # Not through `fund`: its limits are for requests, and this money is already paid.
    try:
        funding = deps.wire_fundings().credit(
            deposit.user_id, deposit.amount, deposit.source, deposit.reference
        )
    except IdempotencyMismatch:
        return _record_problem(deps, deposit, "Its reference was used as the key of another funding")
    if deposit.email_may_get_tokens:
        deps.outbox.set_email(deposit.user_id, deposit.email, deps.clock.now(), replace=False)
    if deposit.problem is not None:
        deps.deposits.update(deposit, problem=None, acknowledged_at=None)
    detail = "It was already credited." if funding.replayed else f"{deposit.amount.display} was credited."
    credited = replace(deposit, problem=None, transaction_id=funding.transaction_id)
    return DepositCheck(credited, DepositStatus.CREDITED, detail)


def _record_problem(deps: Dependencies, deposit: Deposit, difference: str) -> DepositCheck:
    stored = _reload(deps, deposit)
    problem = f"{difference}. The deposit was {'not ' if stored.transaction_id is None else ''}credited"
    while stored.problem != problem:
        if deps.deposits.update(stored, problem=problem, acknowledged_at=None):
            context = _context(deposit)
            context["context"]["amount"] = str(deposit.amount)
            logger.error("Deposit needs review: %s", problem, extra=context)
        stored = _reload(deps, deposit)
    return DepositCheck(stored, DepositStatus.PROBLEM, problem)


def _reload(deps: Dependencies, deposit: Deposit) -> Deposit:
    """The deposit as it is now: another check may have changed it."""
    return _require_deposit(deps, deposit.reference)


def _require_deposit(deps: Dependencies, reference: str) -> Deposit:
    deposit = deps.deposits.get(reference)
    if deposit is None:
        raise ResourceNotFound(f"There is no deposit with the reference {safe_repr(reference)}.")
    return deposit


def _require_gateway(deps: Dependencies) -> Gateway:
    if deps.gateway is None:
        raise ConfigurationError(
            "Deposits are not configured: PAYSTACK_SECRET_KEY is not set. Nothing was done.",
            fields={"PAYSTACK_SECRET_KEY": "is not set"},
        )
    return deps.gateway


def _gateway_error(
    gateway: GatewayInfo, failure: GatewayFailure, deposit: Deposit, not_done: str
) -> Unavailable:
    """The error for a call without an answer. `not_done`: what did not happen to the money."""
    if isinstance(failure, Misconfigured):
        logger.error("%s can't be used: %s", gateway.title, failure.reason, extra=_context(deposit))
        return Unavailable(
            f"{gateway.title} can't be used now: {failure.reason}. Nothing was {not_done}: try again later."
        )
    return Unavailable(
        f"{gateway.title} does not answer ({failure.reason}). Nothing was {not_done}: try again."
    )


def _context(deposit: Deposit) -> dict[str, dict[str, str]]:
    return {"context": {"userId": deposit.user_id, "reference": deposit.reference}}


def _format_amount(minor: int | None, currency: str | None) -> str:
    if minor is None or currency is None:
        return "an unreadable amount"
    return Money(minor, currency).display if currency in CURRENCIES else f"{minor} of {safe_repr(currency)}"
