"""Fund from outside: a customer pays in at a gateway such as Paystack, and the money is credited once.

    create           announce the payment, and say where the customer pays
    check            ask the gateway what became of it, and credit what was paid
    handle_webhook   the gateway says that there is news: a reason to ask, and nothing more
    poll_unpaid      ask about those of which nothing was heard, at growing ages: a hook may be lost, or never come

A reference is made and committed before the gateway hears of it, and whoever committed it is the only one who announces
it, once. The gateway's word is believed only in answer to our question, and only if it names the very sum and
currency that was announced. The books take each reference once for ever, however often and in whatever order hooks come.
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
from billvend.domain.ledger.wallet import Funding
from billvend.domain.money import CURRENCIES, AmountLike, Money
from billvend.domain.safe_text import safe_repr
from billvend.ports.deposits import Deposit
from billvend.ports.gateway import (
    DepositInitialised,
    DepositPaid,
    DepositRefunded,
    DepositRejected,
    DepositUnpaid,
    Gateway,
    GatewayMisconfigured,
    GatewayUnknown,
)
from billvend.ports.queries import Search
from billvend.usecases.dependencies import Dependencies
from billvend.usecases.fund import credit, parse_funding_amount
from billvend.usecases.settle import check_mode

REPEAT_WAIT_SECONDS = 5.0
"""How long a repeat waits for the first call with its key."""
POLL_SECONDS = 0.2
POLL_AGES: Final = tuple(
    timedelta(minutes=minutes) for minutes in (10, 30, 2 * 60, 6 * 60, 24 * 60, 3 * 24 * 60)
)
"""The ages at which the gateway is asked about an unpaid deposit. Later only `billvend deposits check` asks."""
ABANDONED_GRACE_SECONDS = 20.0
"""An intent that cannot be paid so long after its announcement must have been answered was left by a process that died."""

logger = logging.getLogger("billvend.deposits")


@dataclass(frozen=True, slots=True)
class DepositResult:
    """A funding that the gateway waits for."""

    reference: str
    authorization_url: str
    """Where the customer pays."""
    user_id: str
    amount: Money
    replayed: bool
    """True when the key had been used for this before, and nothing was announced now."""


class DepositStatus(StrEnum):
    """What became of an announced funding."""

    CREDITED = "credited"
    NOT_PAID = "not_paid"
    """Not yet, or never: an abandoned payment may still succeed."""
    PROBLEM = "problem"
    """What came is not what was announced: a person has to look."""


@dataclass(frozen=True, slots=True)
class DepositCheck:
    """A deposit and what is known of it: from the gateway's answer, or, in a list, from the ledger alone."""

    deposit: Deposit
    status: DepositStatus
    detail: str
    """In words, for people."""
    transaction_id: str | None = None
    """Of the funding, where it was credited now or before."""


# --- start ------------------------------------------------------------------------------------------------------------


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
    """Announce a funding. With a `key`, the same request gets the same reference and address each time.

    When it is credited, `email` becomes the address of the user's wallets if they have none and `email_may_get_tokens`.

    Raises `InvalidInput` and its kinds, also where the gateway refuses it; `IdempotencyMismatch`; `ConfigurationError` without
    a gateway, or with one for the other kind of money; `RequestInProgress`; `Unavailable`: nothing was charged, and it may
    be repeated.
    """
    user_id, money, email = (
        parse_user_id(user_id),
        parse_funding_amount(deps, amount, currency),
        parse_email(email),
    )
    key = None if key is None else parse_key(key)
    gateway = _require_gateway(deps)
    if money.currency not in gateway.currencies:
        reason = f"must be one of {', '.join(gateway.currencies)}"
        raise UnsupportedCurrency(
            f"{_gateway_name(gateway)} takes no {money.currency}: it {reason}.", fields={"currency": reason}
        )
    check_mode(deps)
    reference = f"bv-{deps.clock.new_id()}"
    deposit = Deposit(
        user_id, reference, key, gateway.name, money, email, deps.clock.now(),
        email_may_get_tokens=email_may_get_tokens,
    )  # fmt: skip
    deadline_seconds = deps.clock.elapsed_seconds() + REPEAT_WAIT_SECONDS
    while (stored := deps.deposits.add(deposit)).reference != reference:
        if (stored.amount, stored.email, stored.source) != (money, email, gateway.name):
            raise IdempotencyMismatch(
                "This key was used before for another funding. That one stands; nothing was done now."
            )
        if stored.authorization_url is not None:
            return _deposit_result(stored, stored.authorization_url, replayed=True)
        if _is_abandoned(deps, gateway, stored):
            deps.deposits.release_key(stored)
        elif deps.clock.elapsed_seconds() >= deadline_seconds:
            raise RequestInProgress(
                "The first call with this key is still at work. Nothing was done now: repeat it in a moment."
            )
        else:
            deps.clock.sleep(POLL_SECONDS)
        deposit = replace(deposit, created_at=deps.clock.now())
    return _initialise(deps, gateway, stored)


def _is_abandoned(deps: Dependencies, gateway: Gateway, deposit: Deposit) -> bool:
    """Whether nobody can be at work on an intent any more: then nobody was told its address, and nobody can pay."""
    age = abs(deps.clock.now() - deposit.created_at)
    return age >= timedelta(seconds=gateway.max_call_seconds + ABANDONED_GRACE_SECONDS)


def _initialise(deps: Dependencies, gateway: Gateway, deposit: Deposit) -> DepositResult:
    context = {"context": {"userId": deposit.user_id, "reference": deposit.reference}}
    answer = gateway.initialise(deposit.reference, deposit.amount, deposit.email)
    if isinstance(answer, DepositInitialised) and deps.deposits.set_authorization_url(
        deposit, answer.authorization_url
    ):
        logger.info("Funding announced", extra=context)
        return _deposit_result(deposit, answer.authorization_url, replayed=False)
    # Nobody will hear of an address for this reference, so nobody pays under it: its key may stand for another one.
    deps.deposits.release_key(deposit)
    match answer:
        case DepositRejected(reason):
            raise ValidationFailed(
                f"{_gateway_name(gateway)} does not take this: {reason}. Nothing was charged."
            )
        case GatewayMisconfigured(reason):
            logger.error("%s can't be used: %s", _gateway_name(gateway), reason, extra=context)
            raise Unavailable(
                f"{_gateway_name(gateway)} can't be used at present: {reason}. Nothing was charged."
            )
        case GatewayUnknown(reason):
            raise Unavailable(
                f"{_gateway_name(gateway)} does not answer ({reason}). Nothing was charged: try again."
            )
        case DepositInitialised():
            raise Unavailable("It took too long to write this down. Nothing was charged: try again.")


def _deposit_result(deposit: Deposit, authorization_url: str, *, replayed: bool) -> DepositResult:
    return DepositResult(deposit.reference, authorization_url, deposit.user_id, deposit.amount, replayed)


# --- settle -----------------------------------------------------------------------------------------------------------


def handle_webhook(deps: Dependencies, body: bytes, signature: str | None) -> bool:
    """Take a hook of the gateway; False where it is not the gateway's own, and nothing was done.

    Raises nothing for what it says. Raises `Unavailable`, `OutcomeUnknown` and `ConfigurationError` where the gateway
    should say it again later.
    """
    gateway = _require_gateway(deps)
    if not gateway.has_valid_signature(body, signature):
        logger.warning("A hook that is not signed by %s was turned away", _gateway_name(gateway))
        return False
    reference = gateway.parse_reference(body)
    if reference is None:  # of something else than money that came in
        return True
    deposit = deps.deposits.find(reference)
    if deposit is None:
        # Signed by the gateway, so money came in at our account there, for something that we did not announce.
        context = {"reference": safe_repr(reference)}
        logger.warning(
            "A hook of %s is about no funding of ours", _gateway_name(gateway), extra={"context": context}
        )
    else:
        _check(deps, gateway, deposit)
    return True


def check(deps: Dependencies, reference: str) -> DepositCheck:
    """Ask the gateway what became of a funding, and credit it if it was paid, unless that was done.

    Raises `ResourceNotFound` where no funding was announced under this reference;
    `Unavailable`, `OutcomeUnknown`, `ConfigurationError`.
    """
    return _check(deps, _require_gateway(deps), _require_deposit(deps, reference))


def newest(deps: Dependencies, limit: int) -> list[DepositCheck]:
    """The newest deposits, newest first, as the ledger has them. The gateway is not asked.

    Raises `Unavailable`.
    """
    return [
        _recorded_state(deposit, transaction_id) for deposit, transaction_id in deps.deposits.newest(limit)
    ]


def _recorded_state(deposit: Deposit, transaction_id: str | None) -> DepositCheck:
    if deposit.problem is not None:
        return DepositCheck(deposit, DepositStatus.PROBLEM, deposit.problem, transaction_id)
    if transaction_id is not None:
        detail = f"{deposit.amount.display} was credited."
        return DepositCheck(deposit, DepositStatus.CREDITED, detail, transaction_id)
    return DepositCheck(deposit, DepositStatus.NOT_PAID, "No payment is known.")


def acknowledge(deps: Dependencies, reference: str) -> DepositCheck:
    """Somebody has seen to the problem of a funding: it need not be shown any more.

    Raises `ResourceNotFound`; `NotInReview` where it has none, or somebody has seen to it; `Unavailable`.
    """
    deposit = _require_deposit(deps, reference)
    if deposit.problem is None or deposit.acknowledged_at is not None:
        raise NotInReview(f"Nothing waits for a person about the funding {safe_repr(reference)}.")
    at = deps.clock.now()
    deps.deposits.acknowledge(deposit, at)
    return DepositCheck(replace(deposit, acknowledged_at=at), DepositStatus.PROBLEM, deposit.problem)


def poll_unpaid(deps: Dependencies, since: datetime | None) -> datetime:
    """Ask about every funding of which no money has come, and which reached one of the ages after `since`.

    None stands for the longest of them ago. Returns the moment up to which nobody need look again: `since` of the next
    look. Raises `Unavailable`, `OutcomeUnknown`, `ConfigurationError` where it came to nothing: then
    the same look is due again.
    """
    now = deps.clock.now()
    if deps.gateway is None:
        return now
    since = max(since or now - POLL_AGES[-1], now - POLL_AGES[-1])
    unpaid = deps.deposits.unpaid([(since - age, now - age) for age in POLL_AGES])
    due = [deposit for deposit in unpaid if deposit.source == deps.gateway.name]
    failures: list[DependencyError] = []
    for deposit in due:
        try:
            _check(deps, deps.gateway, deposit)
        except DependencyError as error:  # one that can't be asked about is in nobody's way
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
            difference = f"{_gateway_name(gateway)} says that {_format_amount(minor, currency)} was paid"
            return _record_problem(deps, deposit, f"{difference}, and {deposit.amount.display} was asked for")
        case DepositRefunded() if _credited_funding(deps, deposit) is not None:
            return _record_problem(
                deps, deposit, f"{_gateway_name(gateway)} gave the money back to the customer"
            )
        case DepositRefunded():
            return DepositCheck(deposit, DepositStatus.NOT_PAID, f"{_gateway_name(gateway)} says: reversed")
        case DepositUnpaid(status):
            return DepositCheck(deposit, DepositStatus.NOT_PAID, f"{_gateway_name(gateway)} says: {status}")
        case GatewayMisconfigured(reason):
            context = {"userId": deposit.user_id, "reference": deposit.reference}
            logger.error("%s can't be asked: %s", _gateway_name(gateway), reason, extra={"context": context})
            raise Unavailable(
                f"{_gateway_name(gateway)} can't be asked: {reason}. Nothing was credited: try again."
            )
        case GatewayUnknown(reason):
            raise Unavailable(
                f"{_gateway_name(gateway)} can't be asked ({reason}). Nothing was credited: try again."
            )


def _credit(deps: Dependencies, deposit: Deposit) -> DepositCheck:
    # Not by way of `fund`: its limits are for what is asked for, and this money is here.
    try:
        funding = credit(deps, deposit.user_id, deposit.amount, deposit.source, deposit.reference)
    except IdempotencyMismatch:
        return _record_problem(deps, deposit, "its reference was used as the key of another funding")
    if deposit.email_may_get_tokens:
        deps.outbox.set_email_if_absent(deposit.user_id, deposit.email, deps.clock.now())
    if deposit.problem is not None:
        deps.deposits.set_problem(deposit, None)
    detail = "It had been credited." if funding.replayed else f"{deposit.amount.display} was credited."
    return DepositCheck(deposit, DepositStatus.CREDITED, detail, funding.transaction_id)


def _record_problem(deps: Dependencies, deposit: Deposit, difference: str) -> DepositCheck:
    funding = _credited_funding(deps, deposit)
    problem = f"{difference}; it was {'not ' if funding is None else ''}credited"
    if deps.deposits.set_problem(deposit, problem):
        context = {"userId": deposit.user_id, "reference": deposit.reference, "amount": str(deposit.amount)}
        logger.error("Funding needs a person: %s", problem, extra={"context": context})
    transaction_id = funding.transaction_id if funding else None
    return DepositCheck(replace(deposit, problem=problem), DepositStatus.PROBLEM, problem, transaction_id)


def _credited_funding(deps: Dependencies, deposit: Deposit) -> Funding | None:
    """The funding of an intent, if it was credited."""
    transactions = deps.queries.search(
        Search(user_id=deposit.user_id, kind="funding", reference=deposit.reference)
    )
    return next(
        (each for each in transactions if isinstance(each, Funding) and each.source == deposit.source), None
    )


def _require_deposit(deps: Dependencies, reference: str) -> Deposit:
    deposit = deps.deposits.find(reference)
    if deposit is None:
        raise ResourceNotFound(f"No funding was announced under the reference {safe_repr(reference)}.")
    return deposit


def _require_gateway(deps: Dependencies) -> Gateway:
    if deps.gateway is None:
        raise ConfigurationError(
            "Funding by Paystack is not set up here: PAYSTACK_SECRET_KEY is not given. Nothing was done.",
            fields={"PAYSTACK_SECRET_KEY": "is not given"},
        )
    return deps.gateway


def _gateway_name(gateway: Gateway) -> str:
    return gateway.name.capitalize()


def _format_amount(minor: int | None, currency: str | None) -> str:
    if minor is None or currency is None:
        return "a sum that can't be read"
    return Money(minor, currency).display if currency in CURRENCIES else f"{minor} of {safe_repr(currency)}"
