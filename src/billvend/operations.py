"""What workers, operators and drivers do with a billvend, besides selling."""

import threading
from collections.abc import Iterable, Sequence
from datetime import datetime

from billvend.domain.api_keys import ApiKey
from billvend.domain.enums import OperatorDecision
from billvend.domain.payment.state import Payment
from billvend.ports.queries import AuditReport, Backlog
from billvend.ports.queue import Hint, QueueName
from billvend.ports.repositories import DisabledEndpoint, Message
from billvend.ports.telemetry import RequestRejected
from billvend.usecases.api_keys import NewApiKey
from billvend.usecases.deposits import DepositCheck
from billvend.usecases.health import Health
from billvend.usecases.review import ReviewList
from billvend.usecases.sweep import SweepResult
from billvend.usecases.wiring import Dependencies, UseCases


class Operations:
    """The part of `Billvend` for workers, operators and drivers. It only forwards to the use cases.

    Every method may raise `Unavailable` if the database is unavailable and nothing was done.
    """

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps
        self.use_cases = UseCases(deps)

    # --- work ---------------------------------------------------------------------------------------------------------

    def settle(self, hint: Hint) -> None:
        """Do what is due on one payment. Does nothing if nothing is due or another worker has a lease on it."""
        self.use_cases.settlement.settle(hint)

    def sweep(self) -> SweepResult:
        """Queue hints for due payments that the queue lost, at most 1,000 in one call."""
        return self.use_cases.sweeps.sweep()

    def refresh_account_status(self) -> None:
        """Check the money in doubt and our float at each provider account, and suspend or resume its sales."""
        self.use_cases.accounts.refresh()

    def poll_deposits(self, since: datetime | None = None) -> datetime:
        """Check the unpaid deposits that are due for a check. A worker does so at the ages in `docs/api.md`.

        Returns `since` of the next call. Raises `Unavailable`, `OutcomeUnknown`, `ConfigurationError`. Then repeat the
        call with the same `since`.
        """
        return self.use_cases.deposit_checks.poll_unpaid(since)

    def deliver_notifications(self) -> int:
        """Deliver some of the notifications that are due (webhooks, mail). Returns how many attempts were made.

        0 means that nothing is due. Notifications arrive at least once. Workers do this by themselves.
        """
        return self.use_cases.notifications.deliver_due()

    def run_worker(self, *, threads: int, stop: threading.Event) -> None:
        """Handle hints from the queue until `stop` is set. Then finish the running work, and return."""

        def deliver(_hint: Hint) -> None:
            self.deliver_notifications()

        handlers = {
            QueueName.PAYMENTS: self.settle,
            QueueName.REVERSALS: self.settle,
            QueueName.NOTIFICATIONS: deliver,
        }
        self._deps.queue.consume(handlers, threads=threads, stop=stop)

    def handle_provider_webhook(self, provider: str, body: bytes) -> int:
        """Request a requery of the payments that a provider's webhook names. Nothing else is done with the webhook.

        Returns the number of these payments. Neither the body nor an unknown provider raises an error.
        """
        return self.use_cases.requeries.handle_webhook(provider, body)

    def handle_gateway_webhook(self, body: bytes, signature: str | None) -> bool:
        """Query the gateway about the deposit that its webhook names. `body` is the request body, byte for byte.

        Returns False if the signature is wrong. Nothing in the body raises an error. Raises `Unavailable`,
        `OutcomeUnknown` or `ConfigurationError` if the gateway should send it again.
        """
        return self.use_cases.deposit_checks.handle_webhook(body, signature)

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

    def acknowledge_deposit(self, reference: str) -> DepositCheck:
        """Record that a person acknowledged the problem of a deposit. Raises `ResourceNotFound`, `NotInReview`."""
        return self.use_cases.deposit_checks.acknowledge(reference)

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

    # --- monitoring ---------------------------------------------------------------------------------------------------

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

    def now(self) -> datetime:
        """The time by the clock of this billvend."""
        return self._deps.clock.now()
