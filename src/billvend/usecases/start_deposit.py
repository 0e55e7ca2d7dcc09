"""Start a deposit: create the payment at the gateway, and return where the customer pays.

A reference is committed before the gateway receives it. Only the call that committed it creates the payment at the
gateway, once.
"""

import logging
from dataclasses import dataclass, replace
from datetime import timedelta

from billvend.domain.errors import (
    IdempotencyMismatch,
    RequestInProgress,
    Unavailable,
    UnsupportedCurrency,
    ValidationFailed,
)
from billvend.domain.ids import parse_email, parse_key, parse_user_id
from billvend.domain.money import AmountLike, Money
from billvend.ports.gateway import DepositRejected, Gateway
from billvend.ports.repositories import Deposit, Deposits
from billvend.usecases.deposits import deposit_context, gateway_error, require_gateway
from billvend.usecases.fund import Fundings

REPEAT_WAIT_SECONDS = 5.0
"""How long a repeated call waits for the first call with its key."""
POLL_SECONDS = 0.2
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


@dataclass(frozen=True, slots=True)
class DepositStart:
    """Starts deposits."""

    gateway: Gateway | None
    """None if no gateway is configured."""
    deposits: Deposits
    fundings: Fundings

    def start(
        self,
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
        user_id, money = parse_user_id(user_id), self.fundings.parse_amount(amount, currency)
        email, key = parse_email(email), None if key is None else parse_key(key)
        gateway, ledger = require_gateway(self.gateway), self.fundings.ledger
        if money.currency not in gateway.info.currencies:
            reason = f"must be one of {', '.join(gateway.info.currencies)}"
            raise UnsupportedCurrency(
                f"{gateway.info.title} does not accept the currency {money.currency}: it {reason}.",
                fields={"currency": reason},
            )
        ledger.require_mode()
        reference = f"bv-{ledger.clock.new_id()}"
        deposit = Deposit(
            user_id, reference, key, gateway.info.name, money, email, ledger.clock.now(),
            email_may_get_tokens=email_may_get_tokens,
        )  # fmt: skip
        stored = self._add(gateway, deposit)
        if stored.reference == reference:
            return self._initialise(gateway, stored)
        return _result(stored, str(stored.authorization_url), replayed=True)

    def _add(self, gateway: Gateway, deposit: Deposit) -> Deposit:
        """Store a deposit. Returns it, or the earlier deposit with its key as soon as it has a payment URL."""
        clock = self.fundings.ledger.clock
        deadline_seconds = clock.elapsed_seconds() + REPEAT_WAIT_SECONDS
        abandoned_after = timedelta(seconds=gateway.info.max_call_seconds + ABANDONED_GRACE_SECONDS)
        expected = (deposit.amount, deposit.email, deposit.source)
        while (stored := self.deposits.add(deposit)).reference != deposit.reference:
            if (stored.amount, stored.email, stored.source) != expected:
                raise IdempotencyMismatch(
                    "This key was used for another deposit. That deposit is unchanged, and nothing was done now."
                )
            if stored.authorization_url is not None:
                break
            if abs(clock.now() - stored.created_at) >= abandoned_after:
                # Its process must have died, so no customer got the payment URL.
                self.deposits.update(stored, key=None, authorization_url=None)
            elif clock.elapsed_seconds() >= deadline_seconds:
                raise RequestInProgress(
                    "The first call with this key is still running. Nothing was done now: repeat it in a moment."
                )
            else:
                clock.sleep(POLL_SECONDS)
            deposit = replace(deposit, created_at=clock.now())
        return stored

    def _initialise(self, gateway: Gateway, deposit: Deposit) -> DepositResult:
        answer = gateway.initialise(deposit.reference, deposit.amount, deposit.email)
        # If the deposit was abandoned meanwhile, its key may belong to another one.
        if isinstance(answer, str) and self.deposits.update(
            deposit, key=deposit.key, authorization_url=answer
        ):
            logger.info("Deposit created", extra=deposit_context(deposit))
            return _result(deposit, answer, replayed=False)
        # No customer gets a payment URL for this reference, so none can pay it.
        self.deposits.update(deposit, key=None, authorization_url=None)
        match answer:
            case str():
                raise Unavailable("The deposit took too long to store. Nothing was charged: try again.")
            case DepositRejected(reason):
                raise ValidationFailed(
                    f"{gateway.info.title} rejects this deposit: {reason}. Nothing was charged."
                )
            case failure:
                raise gateway_error(gateway.info, failure, deposit, "charged")


def _result(deposit: Deposit, authorization_url: str, *, replayed: bool) -> DepositResult:
    return DepositResult(deposit.reference, authorization_url, deposit.user_id, deposit.amount, replayed)
