"""The library: everything that billvend does, as methods of one object."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType

from billvend.domain.api_keys import ApiKey
from billvend.domain.decisions.commands import Pay
from billvend.domain.enums import OperatorDecision, Status
from billvend.domain.errors import BillvendError
from billvend.domain.meter_lookup import MeterFound
from billvend.domain.money import AmountLike
from billvend.domain.payment.state import Payment
from billvend.domain.policy.accounts import Biller
from billvend.ports.queries import AuditReport, Backlog, RawEvent, Search, Transaction
from billvend.ports.queue import Hint, QueueName
from billvend.ports.repositories import DisabledEndpoint, Message
from billvend.ports.telemetry import RequestRejected
from billvend.usecases.account_status import ProviderAccounts
from billvend.usecases.api_keys import ApiAccess, NewApiKey
from billvend.usecases.dependencies import Dependencies
from billvend.usecases.deposits import DepositCheck, DepositChecks
from billvend.usecases.fund import FundingResult, Fundings
from billvend.usecases.health import Health, HealthChecks
from billvend.usecases.ledger import Ledger
from billvend.usecases.meters import Meters
from billvend.usecases.metrics import Monitoring
from billvend.usecases.notifications import Notifications
from billvend.usecases.pay import Bill, PaymentResult, Payments
from billvend.usecases.queries import Balance, Lookups
from billvend.usecases.requery import Requeries
from billvend.usecases.review import ReviewList, Reviews
from billvend.usecases.settle import Settlement
from billvend.usecases.start_deposit import DepositResult, DepositStart
from billvend.usecases.sweep import SweepResult, Sweeps
from billvend.usecases.wait import Waiting


@dataclass(frozen=True, slots=True)
class UseCases:
    """The use cases, each with the ports and the settings that it needs. `billvend.bootstrap` wires them."""

    ledger: Ledger
    fundings: Fundings
    payments: Payments
    settlement: Settlement
    waiting: Waiting
    requeries: Requeries
    reviews: Reviews
    sweeps: Sweeps
    lookups: Lookups
    meters: Meters
    accounts: ProviderAccounts
    monitoring: Monitoring
    deposit_start: DepositStart
    deposit_checks: DepositChecks
    notifications: Notifications
    api_access: ApiAccess
    health_checks: HealthChecks
    deps: Dependencies


class Billvend:
    """One billvend, connected to its database, queue and providers. `open_billvend` returns one.

    It may be used from several threads at once. Every method may raise `Unavailable` if the database is unavailable and
    nothing was done. `fund` and `pay` may raise `OutcomeUnknown`: it is safe to repeat them with the same key.
    """

    def __init__(self, use_cases: UseCases, close: Callable[[], None]) -> None:
        self.use_cases = use_cases
        self._deps = use_cases.deps
        self._close = close

    # --- money --------------------------------------------------------------------------------------------------------

    def fund(
        self,
        user_id: str,
        amount: AmountLike,
        *,
        currency: str | None = None,
        key: str | None = None,
        source: str = "manual",
    ) -> FundingResult:
        """Add money to a wallet, in major units (naira). Creates the wallet if it is new.

        Two calls with the same `key` add the money once. Raises `InvalidAmount` (also a `TypeError` for a float),
        `UnsupportedCurrency`, `ValidationFailed`; `IdempotencyMismatch` if the key was used for something else.
        """
        return self.use_cases.fundings.fund(user_id, amount, currency=currency, key=key, source=source)

    def create_deposit(
        self,
        user_id: str,
        amount: AmountLike,
        *,
        email: str,
        currency: str | None = None,
        key: str | None = None,
        email_may_get_tokens: bool = True,
    ) -> DepositResult:
        """Create a deposit at Paystack. The customer pays at its `authorization_url`, and then the wallet is credited.

        If the user has no e-mail address, `email` becomes it at the credit, and tokens are mailed there. Use
        `email_may_get_tokens=False` for a caller who may not read tokens. Then `email` gets only the receipt of this
        deposit.

        With a `key`, the same request returns the same URL each time. Raises `InvalidInput` and its subclasses,
        `IdempotencyMismatch`, `RequestInProgress`, `Unavailable`; `ConfigurationError` if no gateway is configured.
        """
        return self.use_cases.deposit_start.start(
            user_id,
            amount,
            email=email,
            currency=currency,
            key=key,
            email_may_get_tokens=email_may_get_tokens,
        )

    def check_deposit(self, reference: str) -> DepositCheck:
        """Query the gateway for a deposit, and credit it if it was paid, once for ever.

        Raises `ResourceNotFound`, `Unavailable`, `OutcomeUnknown`; `ConfigurationError` if no gateway is configured.
        """
        return self.use_cases.deposit_checks.check(reference)

    def deposits(self, limit: int = 20) -> list[DepositCheck]:
        """The newest deposits of all users, newest first, as the ledger has them. Raises `Unavailable`."""
        return self.use_cases.deposit_checks.newest(limit)

    def poll_deposits(self, since: datetime | None = None) -> datetime:
        """Check the unpaid deposits that are due for a check. A worker does so at the ages in `docs/api.md`.

        Returns `since` of the next call. Raises `Unavailable`, `OutcomeUnknown`, `ConfigurationError`. Then repeat the
        call with the same `since`.
        """
        return self.use_cases.deposit_checks.poll_unpaid(since)

    def handle_gateway_webhook(self, body: bytes, signature: str | None) -> bool:
        """Query the gateway about the deposit that its webhook names. `body` is the request body, byte for byte.

        Returns False if the signature is wrong. Nothing in the body raises an error. Raises `Unavailable`,
        `OutcomeUnknown` or `ConfigurationError` if the gateway should send it again.
        """
        return self.use_cases.deposit_checks.handle_webhook(body, signature)

    def acknowledge_deposit(self, reference: str) -> DepositCheck:
        """Record that a person acknowledged the problem of a deposit. Raises `ResourceNotFound`, `NotInReview`."""
        return self.use_cases.deposit_checks.acknowledge(reference)

    def pay(
        self,
        user_id: str,
        amount: AmountLike,
        *,
        meter: str,
        biller: str,
        vend_type: str = "prepaid",
        phone: str | None = None,
        key: str | None = None,
        allow_duplicate: bool = False,
    ) -> Payment:
        """Accept a bill. The money is held when this returns. A worker, or `wait`, then buys the electricity.

        Two calls with the same `key` pay once, and the second returns the payment in its current state. Without a key,
        the same bill within 30 seconds is rejected as a likely double click, unless `allow_duplicate` is true. Raises,
        in this order: `InvalidInput` and its subclasses, `IdempotencyMismatch`, `WalletNotFound`, `LikelyDuplicate`,
        `InsufficientFunds`, `ProviderUnavailable`, and the meter's errors (`MeterNotFound`, `WrongMeterType`,
        `MeterCannotVend`, `BelowMinimum`). `pay_many` does not check meters: there a worker does so before it sends.
        """
        return self.accept(
            Bill(user_id, amount, meter, biller, vend_type, phone, key, allow_duplicate)
        ).payment

    def accept(self, bill: Bill) -> PaymentResult:
        """Like `pay`. The result also says whether an earlier call with the key made the payment."""
        return self.use_cases.payments.pay(bill)

    def pay_many(self, bills: Iterable[Bill | Pay]) -> list[PaymentResult | BillvendError]:
        """Accept many bills, 500 in a transaction. Each gets its payment or its error, in order.

        A rejected bill does not stop the others. With keys it is safe to repeat: it does only what is missing. A command
        from `build_command` is used as it is.
        """
        return self.use_cases.payments.pay_many(bills)

    def build_command(self, bill: Bill) -> Pay:
        """Validate a bill, and build its command. Nothing is sent or stored. Raises `InvalidInput` and its subclasses."""
        return self.use_cases.payments.build_command(bill)

    def preview(self, bills: Sequence[Pay]) -> list[bool | BillvendError]:
        """Which commands of `build_command` were done before, or why their key is not accepted. Nothing is done."""
        return self.use_cases.payments.preview(bills)

    def cancel(self, transaction_id: str) -> Payment:
        """Reverse a payment that was never sent. Raises `TransactionNotFound`, `AlreadySent`."""
        return self.use_cases.payments.cancel(transaction_id)

    # --- work ---------------------------------------------------------------------------------------------------------

    def wait(
        self,
        payment: Payment | str,
        timeout: float = 60.0,
        *,
        on_poll: Callable[[Payment], None] | None = None,
    ) -> Payment:
        """Settle a payment, given as such or by its transaction id, as a worker would.

        Returns it when it has ended, or as it is after `timeout` seconds.

        Calls `on_poll` with the payment each time it was read. Raises `TransactionNotFound`, `ValidationFailed`.
        """
        return self.use_cases.waiting.wait(payment, timeout, on_poll)

    def refresh(self, transaction_id: str) -> Transaction:
        """Requery a payment now, before it is due. Returns the transaction in its state after that.

        A payment that was never sent does not change. A payment that has ended keeps its final status, and a
        contradicting answer becomes an incident. Raises `TransactionNotFound`.
        """
        transaction = self.transaction(transaction_id)
        if isinstance(transaction, Payment):
            self.use_cases.requeries.requery_now(transaction)
        return self.transaction(transaction_id)

    def request_requery(self, payment: Payment) -> None:
        """Make the next requery of a payment due earlier, because a customer waits. At most once an interval."""
        self.use_cases.requeries.request_for_customer(payment)

    def handle_provider_webhook(self, provider: str, body: bytes) -> int:
        """Request a requery of the payments that a provider's webhook names. Nothing else is done with the webhook.

        Returns the number of these payments. Neither the body nor an unknown provider raises an error.
        """
        return self.use_cases.requeries.handle_webhook(provider, body)

    def refresh_account_status(self) -> None:
        """Check the money in doubt and our float at each provider account, and suspend or resume its sales."""
        self.use_cases.accounts.refresh()

    def sweep(self) -> SweepResult:
        """Queue hints for due payments that the queue lost, at most 1,000 in one call."""
        return self.use_cases.sweeps.sweep()

    def run_worker(self, *, threads: int, stop: threading.Event) -> None:
        """Handle hints from the queue until `stop` is set. Then finish the running work, and return."""
        handlers: dict[QueueName, Callable[[Hint], None]] = {
            QueueName.PAYMENTS: self.settle,
            QueueName.REVERSALS: self.settle,
            QueueName.NOTIFICATIONS: self._handle_notification_hint,
        }
        self._deps.queue.consume(handlers, threads=threads, stop=stop)

    def settle(self, hint: Hint) -> None:
        """Do what is due on one payment. Does nothing if nothing is due or another worker has a lease on it."""
        self.use_cases.settlement.settle(hint)

    def deliver_notifications(self) -> int:
        """Deliver some of the notifications that are due (webhooks, mail). Returns how many attempts were made.

        0 means that nothing is due. Notifications arrive at least once. Workers do this by themselves.
        """
        return self.use_cases.notifications.deliver_due()

    def _handle_notification_hint(self, _hint: Hint) -> None:
        self.use_cases.notifications.deliver_due()

    # --- review -------------------------------------------------------------------------------------------------------

    def review(self) -> ReviewList:
        """What waits for a person: payments in review, incidents, and deposits with a problem."""
        return self.use_cases.reviews.review()

    def resolve(
        self,
        transaction_id: str,
        *,
        operator: str,
        reason: str,
        token: str | None = None,
        decision: OperatorDecision | str | None = None,
    ) -> Payment:
        """Decide about a payment in doubt or in review. With a `token` it is completed, without one it is reversed.

        `decision` states it explicitly: `delivered` (a postpaid payment has no token), `reverse`, or `acknowledged` for
        incidents. The operator and the reason stay in the events for ever. Raises `TransactionNotFound`, `NotInReview`,
        `ValidationFailed`.
        """
        return self.use_cases.reviews.resolve(
            transaction_id, decision, operator=operator, reason=reason, token=token
        )

    # --- notifications ------------------------------------------------------------------------------------------------

    def notification_history(
        self,
        *,
        limit: int = 20,
        channel: str | None = "webhook",
        failed: bool = False,
        message_id: str | None = None,
    ) -> Sequence[Message]:
        """Messages with their delivery attempts, the newest first. `channel` may be `webhook`, `mail`, `console` or None
        (all).

        `failed`: only messages with a failed attempt that were not delivered. Raises `ValidationFailed`.
        """
        return self.use_cases.notifications.history(
            limit=limit, channel=channel, failed=failed, message_id=message_id
        )

    def replay_notification(self, message_id: str) -> Message:
        """Deliver a message again, with the same id. It is delivered now if its channel is configured here.

        Raises `ResourceNotFound`.
        """
        return self.use_cases.notifications.replay(message_id)

    def set_email(self, user_id: str, email: str) -> None:
        """Set the address for mail about a user's wallets, tokens included. It replaces any other address.

        Raises `ValidationFailed`, also if the user id is an e-mail address, because mail goes there.
        """
        self.use_cases.notifications.set_email(user_id, email)

    def disabled_endpoints(self) -> Sequence[DisabledEndpoint]:
        """The endpoints to which no webhooks are sent, because they answered 410."""
        return self.use_cases.notifications.outbox.disabled()

    def enable_webhooks(self) -> int:
        """Send webhooks again to disabled endpoints. Waiting messages are due now. Returns how many were disabled."""
        return self.use_cases.notifications.outbox.enable_all()

    # --- API keys -----------------------------------------------------------------------------------------------------

    def create_api_key(self, name: str, scopes: Iterable[str]) -> NewApiKey:
        """Create an API key. Its secret is in the result, and is never shown again. Raises `ValidationFailed`, `Conflict`."""
        return self.use_cases.api_access.create(name, scopes)

    def api_keys(self) -> list[ApiKey]:
        """Every API key, also revoked ones, in the order of creation."""
        return self.use_cases.api_access.api_keys.all()

    def revoke_api_key(self, key: str) -> ApiKey:
        """Revoke an API key, by its id or name. Raises `ResourceNotFound`."""
        return self.use_cases.api_access.revoke(key)

    def authenticate(self, secret: str) -> ApiKey | None:
        """The active API key with this secret; None if there is none. Reads the database each time."""
        return self.use_cases.api_access.authenticate(secret)

    def has_api_keys(self) -> bool:
        """Whether an API key was ever created. Revoking the last one does not make the API open again."""
        return bool(self.use_cases.api_access.api_keys.all())

    # --- queries ------------------------------------------------------------------------------------------------------

    def balance(self, user_id: str, *, currency: str | None = None) -> Balance:
        """The available and the held balance. Raises `WalletNotFound`."""
        return self.use_cases.lookups.balance(user_id, currency)

    def history(self, user_id: str, *, limit: int = 20) -> list[Transaction]:
        """The fundings and payments of a user, newest first."""
        return self.search(Search(user_id=user_id, limit=limit))

    def transaction(self, transaction_id: str) -> Transaction:
        """A payment or funding by its id. Raises `TransactionNotFound`."""
        return self.use_cases.lookups.transaction(transaction_id)

    def transaction_with_events(self, transaction_id: str) -> tuple[Transaction, list[RawEvent]]:
        """A payment or funding by its id, with its events, in one read. Raises `TransactionNotFound`."""
        return self.use_cases.lookups.transaction_with_events(transaction_id)

    def events(self, payment: Payment) -> list[RawEvent]:
        """The events of a payment, in order."""
        return self.use_cases.lookups.events(payment)

    def search(self, criteria: Search) -> list[Transaction]:
        """Transactions of any user, newest first."""
        return self.use_cases.lookups.search(criteria)

    def payments(self, *statuses: Status, limit: int = 100) -> list[Payment]:
        """Payments in these statuses (in all, if none is given), newest first."""
        parsed_statuses = tuple(Status(status) for status in statuses)
        transactions = self.search(Search(kind="payment", statuses=parsed_statuses, limit=limit))
        return [payment for payment in transactions if isinstance(payment, Payment)]

    def next_check_at(self, payment: Payment) -> datetime | None:
        """When a payment is next due for a worker; None if it has ended."""
        return self.use_cases.lookups.next_check_at(payment)

    def meter(self, meter: str, *, biller: str, vend_type: str = "prepaid") -> MeterFound:
        """The customer of a meter and the smallest amount that it takes, from the provider.

        Raises `InvalidMeter`, `UnknownBiller`; `MeterNotFound`, `WrongMeterType`, `MeterCannotVend`;
        `ProviderUnavailable` if no provider answers.
        """
        return self.use_cases.meters.lookup(meter, biller, vend_type)

    def now(self) -> datetime:
        """The time by the clock of this billvend."""
        return self._deps.clock.now()

    @property
    def currency(self) -> str:
        """The default currency of wallets, and the currency in which the providers sell."""
        return self._deps.default_currency

    def billers(self) -> Sequence[Biller]:
        """The electricity companies that the configured providers sell for."""
        return self.use_cases.lookups.billers()

    def audit(self) -> AuditReport:
        """Replay every event, and compare the rest of the database with the result."""
        return self._deps.queries.audit()

    def health(self) -> Health:
        """The status of each dependency, and the open work. Raises nothing."""
        return self.use_cases.health_checks.check()

    def metrics(self) -> str:
        """The metrics as text for Prometheus; docs/metrics.md lists them."""
        return self.use_cases.monitoring.exposition()

    def count_rejection(self, code: str) -> None:
        """Count a request that was rejected with this stable code, in the metrics alone."""
        self._deps.metrics.observe(RequestRejected(code))

    def count_due(self) -> int:
        """How many payments wait for a worker now."""
        return self.use_cases.lookups.count_due()

    def backlog(self) -> Backlog:
        """The open work, and how many payments wait for a worker now."""
        return self.use_cases.lookups.backlog()

    def require_test_money(self) -> None:
        """Raise `ConfigurationError` if the ledger or a provider is for real money. Marks the ledger as test for ever."""
        self.use_cases.ledger.require_test_money()

    def is_test_money_only(self) -> bool:
        """Whether neither the providers nor the ledger are for real money. A ledger without a mark counts as test.

        Without any API key, the HTTP API serves only test money.
        """
        return self.use_cases.ledger.is_test_money_only()

    # --- lifetime -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close connections and files."""
        self._close()

    def __enter__(self) -> "Billvend":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
