"""Deposits: a customer pays at a gateway such as Paystack, and the wallet is credited once.

A webhook of the gateway is only a reason to query it. The gateway is believed only in answer to our own query, and only
if it reports exactly the amount and currency of the deposit. The ledger credits each reference once for ever, in any
number and order of webhooks. Unpaid deposits are checked at growing ages, because a webhook may be lost.
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
    ResourceNotFound,
    Unavailable,
)
from billvend.domain.money import CURRENCIES, Money
from billvend.domain.outcome import Misconfigured
from billvend.domain.safe_text import safe_repr
from billvend.ports.gateway import (
    DepositPaid,
    DepositUnpaid,
    Gateway,
    GatewayFailure,
    GatewayInfo,
)
from billvend.ports.repositories import Deposit, Deposits, Outbox
from billvend.usecases.fund import Fundings

POLL_AGES: Final = tuple(
    timedelta(minutes=minutes) for minutes in (10, 30, 2 * 60, 6 * 60, 24 * 60, 3 * 24 * 60)
)
"""The ages at which an unpaid deposit is checked. After the last one an operator can check it."""

logger = logging.getLogger("billvend.deposits")


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


@dataclass(frozen=True, slots=True)
class DepositChecks:
    """Checks deposits, and credits those that were paid."""

    gateway: Gateway | None
    """None if no gateway is configured."""
    deposits: Deposits
    fundings: Fundings
    outbox: Outbox

    def handle_webhook(self, body: bytes, signature: str | None) -> bool:
        """Check the deposit that a webhook of the gateway names. Returns False, and does nothing, if the signature is
        wrong.

        Nothing in the body raises an error. Raises `Unavailable`, `OutcomeUnknown` and `ConfigurationError` if the
        gateway should send it again later.
        """
        gateway = require_gateway(self.gateway)
        references = gateway.parse_webhook(body, signature)
        if references is None:
            logger.warning("A webhook without a valid signature of %s was rejected", gateway.info.title)
            return False
        for reference in references:
            deposit = self.deposits.get(reference)
            if deposit is not None:
                self._check(gateway, deposit)
            else:
                # The gateway signed it, so our account there received money, but for no deposit that we created.
                message = f"A webhook of {gateway.info.title} names an unknown deposit"
                logger.warning(message, extra={"context": {"reference": safe_repr(reference)}})
        return True

    def check(self, reference: str) -> DepositCheck:
        """Query the gateway for a deposit, and credit it if it was paid and is not credited yet.

        Raises `ResourceNotFound` if there is no deposit with this reference; `Unavailable`, `OutcomeUnknown`,
        `ConfigurationError`.
        """
        return self._check(require_gateway(self.gateway), self._load(reference))

    def newest(self, limit: int) -> list[DepositCheck]:
        """The newest deposits, newest first, as the ledger has them. The gateway is not asked. Raises `Unavailable`."""
        return [_recorded_state(deposit) for deposit in self.deposits.newest(limit)]

    def acknowledge(self, reference: str) -> DepositCheck:
        """Record that a person acknowledged the problem of a deposit. The review list no longer shows it.

        Raises `ResourceNotFound`; `NotInReview` if it has no problem or the problem was acknowledged; `Unavailable`.
        """
        deposit, at = self._load(reference), self.fundings.ledger.clock.now()
        if (
            deposit.problem is None
            or deposit.acknowledged_at is not None
            or not self.deposits.update(deposit, problem=deposit.problem, acknowledged_at=at)
        ):
            raise NotInReview(f"The deposit {safe_repr(reference)} has no open problem. Nothing was changed.")
        return DepositCheck(replace(deposit, acknowledged_at=at), DepositStatus.PROBLEM, deposit.problem)

    def poll_unpaid(self, since: datetime | None) -> datetime:
        """Check every unpaid deposit that reached one of the ages of `POLL_AGES` after `since`.

        `since` None means: as long ago as the last age. Returns `since` of the next call. Raises `Unavailable`,
        `OutcomeUnknown`, `ConfigurationError` if no check succeeded. Then repeat the call with the same `since`.
        """
        now = self.fundings.ledger.clock.now()
        if self.gateway is None:
            return now
        since = max(since or now - POLL_AGES[-1], now - POLL_AGES[-1])
        unpaid = self.deposits.unpaid([(since - age, now - age) for age in POLL_AGES])
        due = [deposit for deposit in unpaid if deposit.source == self.gateway.info.name]
        failures: list[DependencyError] = []
        for deposit in due:
            try:
                self._check(self.gateway, deposit)
            except DependencyError as error:  # a failed check must not stop the others
                failures.append(error)
        if failures and len(failures) == len(due):
            raise failures[0]
        return now

    def _check(self, gateway: Gateway, deposit: Deposit) -> DepositCheck:
        expected = (deposit.amount.amount_minor, deposit.amount.currency)
        match gateway.verify(deposit.reference):
            case DepositPaid(minor, currency) if (minor, currency) == expected:
                return self._credit(deposit)
            case DepositPaid(minor, currency):
                paid = f"{gateway.info.title} reports a payment of {_format_amount(minor, currency)}"
                return self._record_problem(deposit, f"{paid}, but the deposit is {deposit.amount.display}")
            case DepositUnpaid(_, is_refunded=True) if (
                self._load(deposit.reference).transaction_id is not None
            ):
                return self._record_problem(
                    deposit, f"{gateway.info.title} refunded the money to the customer"
                )
            case DepositUnpaid(status):
                return DepositCheck(deposit, DepositStatus.NOT_PAID, f"{gateway.info.title} says: {status}")
            case failure:
                raise gateway_error(gateway.info, failure, deposit, "credited")

    def _credit(self, deposit: Deposit) -> DepositCheck:
        # Not through `fund`: its limits are for requests, and this money is already paid.
        try:
            funding = self.fundings.credit(deposit.user_id, deposit.amount, deposit.source, deposit.reference)
        except IdempotencyMismatch:
            return self._record_problem(deposit, "Its reference was used as the key of another funding")
        if deposit.email_may_get_tokens:
            now = self.fundings.ledger.clock.now()
            self.outbox.set_email(deposit.user_id, deposit.email, now, replace=False)
        if deposit.problem is not None:
            self.deposits.update(deposit, problem=None, acknowledged_at=None)
        detail = "It was already credited." if funding.replayed else f"{deposit.amount.display} was credited."
        credited = replace(deposit, problem=None, transaction_id=funding.transaction_id)
        return DepositCheck(credited, DepositStatus.CREDITED, detail)

    def _record_problem(self, deposit: Deposit, difference: str) -> DepositCheck:
        stored = self._load(deposit.reference)
        problem = f"{difference}. The deposit was {'not ' if stored.transaction_id is None else ''}credited"
        while stored.problem != problem:
            if self.deposits.update(stored, problem=problem, acknowledged_at=None):
                context = deposit_context(deposit, amount=str(deposit.amount))
                logger.error("Deposit needs review: %s", problem, extra=context)
                stored = replace(stored, problem=problem, acknowledged_at=None)
            else:  # another check stored its own at the same moment
                stored = self._load(deposit.reference)
        return DepositCheck(stored, DepositStatus.PROBLEM, problem)

    def _load(self, reference: str) -> Deposit:
        deposit = self.deposits.get(reference)
        if deposit is None:
            raise ResourceNotFound(f"There is no deposit with the reference {safe_repr(reference)}.")
        return deposit


def require_gateway(gateway: Gateway | None) -> Gateway:
    """The configured gateway. Raises `ConfigurationError` if there is none."""
    if gateway is None:
        raise ConfigurationError(
            "Deposits are not configured: PAYSTACK_SECRET_KEY is not set. Nothing was done.",
            fields={"PAYSTACK_SECRET_KEY": "is not set"},
        )
    return gateway


def gateway_error(
    gateway: GatewayInfo, failure: GatewayFailure, deposit: Deposit, not_done: str
) -> Unavailable:
    """The error for a call without an answer. `not_done`: what did not happen to the money."""
    if isinstance(failure, Misconfigured):
        logger.error("%s can't be used: %s", gateway.title, failure.reason, extra=deposit_context(deposit))
        return Unavailable(
            f"{gateway.title} can't be used now: {failure.reason}. Nothing was {not_done}: try again later."
        )
    return Unavailable(
        f"{gateway.title} does not answer ({failure.reason}). Nothing was {not_done}: try again."
    )


def deposit_context(deposit: Deposit, **details: str) -> dict[str, dict[str, str]]:
    """What a log line says of a deposit."""
    return {"context": {"userId": deposit.user_id, "reference": deposit.reference, **details}}


def _recorded_state(deposit: Deposit) -> DepositCheck:
    if deposit.problem is not None:
        return DepositCheck(deposit, DepositStatus.PROBLEM, deposit.problem)
    if deposit.transaction_id is not None:
        return DepositCheck(deposit, DepositStatus.CREDITED, f"{deposit.amount.display} was credited.")
    return DepositCheck(deposit, DepositStatus.NOT_PAID, "No payment is known.")


def _format_amount(minor: int | None, currency: str | None) -> str:
    if minor is None or currency is None:
        return "an unreadable amount"
    return Money(minor, currency).display if currency in CURRENCIES else f"{minor} of {safe_repr(currency)}"
