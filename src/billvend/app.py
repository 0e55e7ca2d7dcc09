"""The library: everything that billvend can do, as methods of one object."""

import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from types import TracebackType

from billvend.domain.api_keys import ApiKey
from billvend.domain.decisions.commands import Pay
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.decisions.handlers import OPERATOR
from billvend.domain.enums import OperatorDecision, Status
from billvend.domain.errors import BillvendError, ConfigurationError
from billvend.domain.meter_lookup import MeterFound
from billvend.domain.money import AmountLike
from billvend.domain.payment.state import Payment
from billvend.domain.policy.accounts import Biller, Mode
from billvend.ports.outbox import DisabledEndpoint, MessageHistory
from billvend.ports.queries import Backlog, RawEvent, Search, Transaction
from billvend.ports.queue import Hint, QueueName
from billvend.usecases import api_keys, deposits, notifications, queries
from billvend.usecases.account_status import refresh_account_status
from billvend.usecases.api_keys import NewApiKey
from billvend.usecases.audit import AuditReport, audit
from billvend.usecases.cancel import cancel
from billvend.usecases.dependencies import Dependencies
from billvend.usecases.deposits import DepositCheck, DepositResult
from billvend.usecases.fund import FundingResult, fund
from billvend.usecases.health import Health, health
from billvend.usecases.meters import verify_meter
from billvend.usecases.metrics import metrics
from billvend.usecases.pay import Bill, PaymentResult, build_command, pay, pay_many
from billvend.usecases.queries import Balance
from billvend.usecases.request_requery import request_requery, request_requery_by_reference
from billvend.usecases.resolve import resolve
from billvend.usecases.review import ReviewList, review
from billvend.usecases.settle import check_mode, is_test_money_only, settle
from billvend.usecases.sweep import SweepResult, sweep
from billvend.usecases.wait import wait


class Billvend:
    """One billvend, wired to its database, queue and providers. Get one from `open_billvend`.

    May be used from several threads at once. Every method may raise `Unavailable` when the database is away, with
    nothing done; `fund` and `pay` may raise `OutcomeUnknown`, after which repeating them with the same key is safe.
    """

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

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
        """Add money to a wallet, in major units (naira); opens the wallet if it is new.

        With a `key`, doing it twice adds it once. Raises `InvalidAmount` (also a `TypeError` for a float),
        `UnsupportedCurrency`, `ValidationFailed`; `IdempotencyMismatch` when the key was used for something else.
        """
        return fund(self._deps, user_id, amount, currency=currency, key=key, source=source)

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
        """Announce a funding to Paystack; the customer pays at its `authorization_url`, and is credited when it is paid.

        Then `email` becomes the user's address, to which tokens are mailed, if there is none yet. Say
        `email_may_get_tokens=False` for a caller who may not read tokens: `email` gets the receipt of this deposit alone.

        With a `key`, the same request gets the same address each time. Raises `InvalidInput` and its kinds,
        `IdempotencyMismatch`, `Unavailable`; `ConfigurationError` where no gateway is set up.
        """
        return deposits.create(
            self._deps,
            user_id,
            amount,
            email=email,
            currency=currency,
            key=key,
            email_may_get_tokens=email_may_get_tokens,
        )

    def check_deposit(self, reference: str) -> DepositCheck:
        """Ask the gateway what became of an announced funding, and credit it if it was paid, once for ever.

        Raises `ResourceNotFound`, `Unavailable`, `OutcomeUnknown`; `ConfigurationError` where no gateway is set up.
        """
        return deposits.check(self._deps, reference)

    def deposits(self, limit: int = 20) -> list[DepositCheck]:
        """The newest deposits of all users, newest first, as the ledger has them. Raises `Unavailable`."""
        return deposits.newest(self._deps, limit)

    def poll_deposits(self, since: datetime | None = None) -> datetime:
        """Ask about the announced fundings of which nothing was heard; how late a worker does so, `docs/api.md` says.

        Returns what `since` is next time. Raises `Unavailable`, `OutcomeUnknown`, `ConfigurationError`: then ask again.
        """
        return deposits.poll_unpaid(self._deps, since)

    def handle_gateway_webhook(self, body: bytes, signature: str | None) -> bool:
        """Take a hook of the gateway as a reason to ask it; `body` is what came, to the byte. False: it is not genuine.

        Raises nothing for what it says; `Unavailable`, `OutcomeUnknown` or `ConfigurationError` where it should come again.
        """
        return deposits.handle_webhook(self._deps, body, signature)

    def acknowledge_deposit(self, reference: str) -> DepositCheck:
        """Somebody has seen to the problem of an announced funding. Raises `ResourceNotFound`, `NotInReview`."""
        return deposits.acknowledge(self._deps, reference)

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
        """Accept a bill: the money is held when this returns, and a worker, or `wait`, will buy the electricity.

        With a `key`, doing it twice pays once, and the second call returns the payment as it stands. Without one, the
        same bill within 30 seconds is refused as a likely double click, unless `allow_duplicate`. Raises, in this
        order: `InvalidInput` and its kinds, `IdempotencyMismatch`, `WalletNotFound`, `LikelyDuplicate`,
        `InsufficientFunds`, `ProviderUnavailable`, and what the provider says of the meter (`MeterNotFound`,
        `WrongMeterType`, `MeterCannotVend`, `BelowMinimum`). The provider is not asked about meters in bulk: there a
        worker does so before it sends.
        """
        return self.accept(
            Bill(user_id, amount, meter, biller, vend_type, phone, key, allow_duplicate)
        ).payment

    def accept(self, bill: Bill) -> PaymentResult:
        """`pay` for doors: tells as well whether the key had been used for this before."""
        return pay(self._deps, bill)

    def pay_many(self, bills: Iterable[Bill | Pay]) -> list[PaymentResult | BillvendError]:
        """Accept many bills, 500 in a transaction; each gets its payment or its refusal, in order.

        One refusal stops nothing. With keys it may be run again: a repeat does only what is missing. Bills that were
        `read` before are taken as they are.
        """
        return pay_many(self._deps, bills)

    def build_command(self, bill: Bill) -> Pay:
        """What a bill asks of the books; nobody is asked, and nothing is done. Raises `InvalidInput` and its kinds."""
        return build_command(self._deps, bill)

    def preview(self, bills: Sequence[Pay]) -> list[CommandOutcome]:
        """What `pay_many` would make of bills that were `read`, on the books as they stand. Nothing is done."""
        return self._deps.journal.dry_run(bills)

    def cancel(self, transaction_id: str) -> Payment:
        """Give the money back while nothing was sent. Raises `TransactionNotFound`, `AlreadySent`."""
        return cancel(self._deps, transaction_id)

    # --- work ---------------------------------------------------------------------------------------------------------

    def wait(
        self, transaction_id: str, timeout: float = 60.0, *, on_poll: Callable[[Payment], None] | None = None
    ) -> Payment:
        """See a payment through here, as any worker would; returns it at its end, or as it is after `timeout` seconds.

        `watch` is called with the payment each time it was looked at. Raises `TransactionNotFound`.
        """
        return wait(self._deps, transaction_id, timeout, on_poll=on_poll or (lambda _payment: None))

    def refresh(self, transaction_id: str) -> Transaction:
        """Ask the provider now what became of a payment, before its time; returns the transaction as it then stands.

        A payment of which nothing was sent stays so; one that has ended keeps its end, and what contradicts it becomes
        an incident. Raises `TransactionNotFound`.
        """
        transaction = self.transaction(transaction_id)
        if not isinstance(transaction, Payment) or not transaction.attempts:
            return transaction
        hint = request_requery(self._deps, transaction, OPERATOR)
        if settle(self._deps, hint).status is Status.REVERSING:
            settle(self._deps, hint)  # the answer allows it: the money goes back
        return self.transaction(transaction_id)

    def request_requery(self, transaction_id: str) -> None:
        """Somebody waits for news of a payment: its next requery comes forward, at most once an interval.

        Raises `TransactionNotFound`.
        """
        transaction = self.transaction(transaction_id)
        if isinstance(transaction, Payment) and not transaction.has_ended:
            request_requery(self._deps, transaction, "customer")

    def handle_provider_webhook(self, provider: str, body: bytes) -> int:
        """Take an inbound hook of a provider as a hint: what it is about is asked about soon, and nothing else is done.

        Returns how many payments that is. Raises nothing for what the body says, and nothing for unknown providers.
        """
        accounts = [account for (name, _), account in self._deps.providers.items() if name == provider]
        references = {reference for account in accounts for reference in account.parse_references(body)}
        return sum(
            len(request_requery_by_reference(self._deps, reference, "webhook")) for reference in references
        )

    def refresh_account_status(self) -> None:
        """Look at the money at risk and at our float at each provider: stop selling there, or start again."""
        refresh_account_status(self._deps)

    def sweep(self) -> SweepResult:
        """Point workers at due payments that the queue lost, at most 1,000 a pass."""
        return sweep(self._deps)

    def run_worker(self, *, threads: int, stop: threading.Event) -> None:
        """Handle what the queue brings until `stop` is set; then finish what is in hand, and return."""
        handlers: dict[QueueName, Callable[[Hint], None]] = {
            QueueName.PAYMENTS: self.settle,
            QueueName.REVERSALS: self.settle,
            QueueName.NOTIFICATIONS: self._handle_notification_hint,
        }
        self._deps.queue.consume(handlers, threads=threads, stop=stop)

    def settle(self, hint: Hint) -> None:
        """Do what is due on one payment, as a worker would; nothing, if nothing is or somebody else is at it."""
        settle(self._deps, hint)

    def deliver_notifications(self) -> int:
        """Try to tell the outside some of what is due now (webhooks, mail); returns how much was tried, 0 when nothing is.

        What is told arrives at least once. Workers do this by themselves.
        """
        return notifications.deliver_due(self._deps)

    def _handle_notification_hint(self, _hint: Hint) -> None:
        notifications.deliver_due(self._deps)

    # --- people decide ------------------------------------------------------------------------------------------------

    def review(self) -> ReviewList:
        """What waits for a person: payments in review, and incidents."""
        return review(self._deps)

    def resolve(
        self,
        transaction_id: str,
        *,
        operator: str,
        reason: str,
        token: str | None = None,
        decision: OperatorDecision | str | None = None,
    ) -> Payment:
        """Decide about a payment in doubt or in review: with a `token` it is completed, without one reversed.

        `decision` says it expressly: `delivered` (a postpaid payment has no token), `reverse`, or `acknowledged` for incidents
        that have been dealt with. Who decided, and why, stands in the events for ever. Raises `TransactionNotFound`,
        `NotInReview`, `ValidationFailed`.
        """
        operator_decision = decision or (OperatorDecision.DELIVERED if token else OperatorDecision.REVERSE)
        return resolve(
            self._deps, transaction_id, str(operator_decision), operator=operator, reason=reason, token=token
        )

    # --- what is told to the outside ----------------------------------------------------------------------------------

    def notification_history(
        self,
        *,
        limit: int = 20,
        channel: str | None = "webhook",
        failed: bool = False,
        message_id: str | None = None,
    ) -> Sequence[MessageHistory]:
        """What is or was to be told, with every try, the newest first; `channel` may be `mail`, `console` or None for all.

        `failed`: only what was tried in vain and not delivered since. Raises `ValidationFailed`.
        """
        return notifications.history(
            self._deps, limit=limit, channel=channel, failed=failed, message_id=message_id
        )

    def replay_notification(self, message_id: str) -> MessageHistory:
        """Tell something again, under the same id: here and now, where its channel is set up. Raises `ResourceNotFound`."""
        return notifications.replay(self._deps, message_id)

    def set_email(self, user_id: str, email: str) -> None:
        """Set where mail about a user's wallets goes, tokens included, in place of any other address.

        Raises `ValidationFailed`, also for a user whose id is an e-mail address: mail goes there.
        """
        notifications.set_email(self._deps, user_id, email)

    def disabled_endpoints(self) -> Sequence[DisabledEndpoint]:
        """Where webhooks don't go any more, because the endpoint answered 410."""
        return self._deps.outbox.disabled()

    def enable_webhooks(self) -> int:
        """Let webhooks go to endpoints that were disabled; what waited is due now. Returns how many were disabled."""
        return self._deps.outbox.enable()

    # --- who gets in over HTTP ----------------------------------------------------------------------------------------

    def create_api_key(self, name: str, scopes: Iterable[str]) -> NewApiKey:
        """Make a key of the API; its secret is shown here and never again. Raises `ValidationFailed`, `Conflict`."""
        return api_keys.create(self._deps, name, scopes)

    def api_keys(self) -> list[ApiKey]:
        """Every key, also revoked ones, in the order of their making."""
        return self._deps.api_keys.all()

    def revoke_api_key(self, key: str) -> ApiKey:
        """From now on a key, given by id or name, opens nothing. Raises `ResourceNotFound`."""
        return api_keys.revoke(self._deps, key)

    def authenticate(self, secret: str) -> ApiKey | None:
        """The key in force with this secret; None where there is none. Asks the database each time."""
        return api_keys.authenticate(self._deps, secret)

    def has_api_keys(self) -> bool:
        """Whether a key was ever made: revoking the last one opens nothing again."""
        return not self._deps.api_keys.is_empty()

    # --- looking up ---------------------------------------------------------------------------------------------------

    def balance(self, user_id: str, *, currency: str | None = None) -> Balance:
        """What can be spent, and what is held. Raises `WalletNotFound`."""
        return queries.balance(self._deps, user_id, currency)

    def history(self, user_id: str, *, limit: int = 20) -> list[Transaction]:
        """A user's fundings and payments, newest first."""
        return self.search(Search(user_id=user_id, limit=limit))

    def transaction(self, transaction_id: str) -> Transaction:
        """A payment or funding by its id. Raises `TransactionNotFound`."""
        return queries.transaction(self._deps, transaction_id)

    def events(self, payment: Payment) -> list[RawEvent]:
        """What happened to a payment, in order."""
        return queries.events(self._deps, payment)

    def search(self, criteria: Search) -> list[Transaction]:
        """Transactions of any user, newest first."""
        return queries.search(self._deps, criteria)

    def payments(self, *statuses: Status, limit: int = 100) -> list[Payment]:
        """Payments in these statuses (all, when none is named), newest first."""
        parsed_statuses = tuple(Status(status) for status in statuses)
        transactions = self.search(Search(kind="payment", statuses=parsed_statuses, limit=limit))
        return [payment for payment in transactions if isinstance(payment, Payment)]

    def next_check_at(self, payment: Payment) -> datetime | None:
        """When somebody will next do something about a payment; None when it has ended."""
        return queries.next_check_at(self._deps, payment)

    def meter(self, meter: str, *, biller: str, vend_type: str = "prepaid") -> MeterFound:
        """Whose meter it is, and what it takes at least, as the provider says.

        Raises `InvalidMeter`, `UnknownBiller`; `MeterNotFound`, `WrongMeterType`, `MeterCannotVend`;
        `ProviderUnavailable` where it can't be asked.
        """
        return verify_meter(self._deps, meter, biller, vend_type)

    def now(self) -> datetime:
        """The time by the clock of this billvend."""
        return self._deps.clock.now()

    @property
    def currency(self) -> str:
        """The currency of wallets where none is named, and of what providers sell for."""
        return self._deps.default_currency

    def billers(self) -> Sequence[Biller]:
        """The electricity companies that the configured providers sell for."""
        billers_by_code = {
            biller.code: biller for account in self._deps.policy.accounts for biller in account.billers
        }
        return sorted(billers_by_code.values(), key=lambda biller: biller.code)

    def audit(self) -> AuditReport:
        """Replay every event and hold the books against what comes out."""
        return audit(self._deps)

    def health(self) -> Health:
        """How each part is, and what waits. Raises nothing."""
        return health(self._deps)

    def metrics(self) -> str:
        """What was counted, and how things stand, as text for Prometheus; docs/metrics.md says what is in it."""
        return metrics(self._deps)

    def count_rejection(self, code: str) -> None:
        """For doors: a request was turned away with this stable code. It is counted in the metrics, and nothing else."""
        self._deps.metrics.rejected(code)

    def backlog(self) -> Backlog:
        """What is still to be done, and how many payments wait for a worker now."""
        return self._deps.queries.backlog(self._deps.clock.now())

    def require_test_money(self) -> None:
        """Refuse, with `ConfigurationError`, books or providers of real money. From now on these books take none."""
        if self._deps.mode is not Mode.TEST:
            raise ConfigurationError(
                "The configured provider sells for real money: this is for test money alone."
            )
        check_mode(self._deps)

    def is_test_money_only(self) -> bool:
        """Whether neither the providers nor the books are of real money; books without a mark are not.

        Without any API key nothing else is served over HTTP.
        """
        return is_test_money_only(self._deps)

    # --- life ---------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give back connections and files."""
        self._deps.queue.close()
        for provider in self._deps.providers.values():
            provider.close()
        if self._deps.gateway is not None:
            self._deps.gateway.close()
        for notifier in self._deps.notifiers.values():
            notifier.close()
        self._deps.journal.close()

    def __enter__(self) -> "Billvend":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
