"""The library: everything that billvend can do, as methods of one object."""

import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from types import TracebackType

from billvend.domain.abilities import Biller, Mode
from billvend.domain.access import ApiKey
from billvend.domain.commands import Pay
from billvend.domain.decide import Result
from billvend.domain.decisions import OPERATOR
from billvend.domain.errors import BadSetting, BillvendError
from billvend.domain.money import AmountLike
from billvend.domain.payment import Payment
from billvend.domain.verification import MeterFound
from billvend.domain.words import Status, Verdict
from billvend.ports.books import Backlog, LoggedEvent, Search, Transaction
from billvend.ports.outbox import DisabledEndpoint, Told
from billvend.ports.queue import Hint, QueueName
from billvend.usecases import fund_intent, look_up, notify
from billvend.usecases import keys as api_keys
from billvend.usecases.audit import Audit, audit
from billvend.usecases.breaker import look_after
from billvend.usecases.cancel import cancel
from billvend.usecases.fund import Funded, fund
from billvend.usecases.fund_intent import FundingIntent, SettledFunding
from billvend.usecases.health import Health, health
from billvend.usecases.keys import NewKey
from billvend.usecases.look_up import Balance
from billvend.usecases.metrics import metrics
from billvend.usecases.nudge import nudge, nudge_reference
from billvend.usecases.parts import Parts
from billvend.usecases.pay import Bill, Paid, pay, pay_many, read
from billvend.usecases.resolve import resolve
from billvend.usecases.review import Waiting, review
from billvend.usecases.settle import check_mode, is_test_money_only, settle
from billvend.usecases.sweep import Swept, sweep
from billvend.usecases.verify import verify
from billvend.usecases.wait import wait


class Billvend:
    """One billvend, wired to its database, queue and providers. Get one from `open_billvend`.

    May be used from several threads at once. Every method may raise `Unavailable` when the database is away, with
    nothing done; `fund` and `pay` may raise `OutcomeUnknown`, after which repeating them with the same key is safe.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    # --- money --------------------------------------------------------------------------------------------------------

    def fund(
        self,
        user_id: str,
        amount: AmountLike,
        *,
        currency: str | None = None,
        key: str | None = None,
        source: str = "manual",
    ) -> Funded:
        """Add money to a wallet, in major units (naira); opens the wallet if it is new.

        With a `key`, doing it twice adds it once. Raises `InvalidAmount` (also a `TypeError` for a float),
        `UnsupportedCurrency`, `ValidationFailed`; `IdempotencyMismatch` when the key was used for something else.
        """
        return fund(self._parts, user_id, amount, currency=currency, key=key, source=source)

    def start_funding(
        self,
        user_id: str,
        amount: AmountLike,
        *,
        email: str,
        currency: str | None = None,
        key: str | None = None,
        email_may_get_tokens: bool = True,
    ) -> FundingIntent:
        """Announce a funding to Paystack; the customer pays at its `authorization_url`, and is credited when it is paid.

        Then `email` becomes the user's address, to which tokens are mailed, if there is none yet. Say
        `email_may_get_tokens=False` for a caller who may not read tokens: `email` gets the receipt of this deposit alone.

        With a `key`, the same request gets the same address each time. Raises `InvalidInput` and its kinds,
        `IdempotencyMismatch`, `Unavailable`; `BadSetting` where no gateway is set up.
        """
        return fund_intent.start(
            self._parts,
            user_id,
            amount,
            email=email,
            currency=currency,
            key=key,
            email_may_get_tokens=email_may_get_tokens,
        )

    def settle_funding(self, reference: str) -> SettledFunding:
        """Ask the gateway what became of an announced funding, and credit it if it was paid, once for ever.

        Raises `NotFound`, `Unavailable`, `OutcomeUnknown`; `BadSetting` where no gateway is set up.
        """
        return fund_intent.settle_funding(self._parts, reference)

    def ask_about_fundings(self, since: datetime | None = None) -> datetime:
        """Ask about the announced fundings of which nothing was heard; how late a worker does so, `docs/api.md` says.

        Returns what `since` is next time. Raises `Unavailable`, `OutcomeUnknown`, `BadSetting`: then ask again.
        """
        return fund_intent.ask_about_all(self._parts, since)

    def gateway_hook(self, body: bytes, signature: str | None) -> bool:
        """Take a hook of the gateway as a reason to ask it; `body` is what came, to the byte. False: it is not genuine.

        Raises nothing for what it says; `Unavailable`, `OutcomeUnknown` or `BadSetting` where it should come again later.
        """
        return fund_intent.take_hook(self._parts, body, signature)

    def see_to_funding(self, reference: str) -> SettledFunding:
        """Somebody has seen to the problem of an announced funding. Raises `NotFound`, `NotInReview`."""
        return fund_intent.see_to(self._parts, reference)

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

    def accept(self, bill: Bill) -> Paid:
        """`pay` for doors: tells as well whether the key had been used for this before."""
        return pay(self._parts, bill)

    def pay_many(self, bills: Iterable[Bill | Pay]) -> list[Paid | BillvendError]:
        """Accept many bills, 500 in a transaction; each gets its payment or its refusal, in order.

        One refusal stops nothing. With keys it may be run again: a repeat does only what is missing. Bills that were
        `read` before are taken as they are.
        """
        return pay_many(self._parts, bills)

    def read(self, bill: Bill) -> Pay:
        """What a bill asks of the books; nobody is asked, and nothing is done. Raises `InvalidInput` and its kinds."""
        return read(self._parts, bill)

    def rehearse(self, bills: Sequence[Pay]) -> list[Result]:
        """What `pay_many` would make of bills that were `read`, on the books as they stand. Nothing is done."""
        return self._parts.journal.rehearse(bills)

    def cancel(self, transaction_id: str) -> Payment:
        """Give the money back while nothing was sent. Raises `TransactionNotFound`, `AlreadySent`."""
        return cancel(self._parts, transaction_id)

    # --- work ---------------------------------------------------------------------------------------------------------

    def wait(
        self, transaction_id: str, timeout: float = 60.0, *, watch: Callable[[Payment], None] | None = None
    ) -> Payment:
        """See a payment through here, as any worker would; returns it at its end, or as it is after `timeout` seconds.

        `watch` is called with the payment each time it was looked at. Raises `TransactionNotFound`.
        """
        return wait(self._parts, transaction_id, timeout, watch=watch or (lambda _payment: None))

    def refresh(self, transaction_id: str) -> Transaction:
        """Ask the provider now what became of a payment, before its time; returns the transaction as it then stands.

        A payment of which nothing was sent stays so; one that has ended keeps its end, and what contradicts it becomes
        an incident. Raises `TransactionNotFound`.
        """
        found = self.transaction(transaction_id)
        if not isinstance(found, Payment) or not found.attempts:
            return found
        hint = nudge(self._parts, found, OPERATOR)
        if settle(self._parts, hint).status is Status.REVERSING:
            settle(self._parts, hint)  # the answer allows it: the money goes back
        return self.transaction(transaction_id)

    def nudge(self, transaction_id: str) -> None:
        """Somebody waits for news of a payment: its next requery comes forward, at most once an interval.

        Raises `TransactionNotFound`.
        """
        found = self.transaction(transaction_id)
        if isinstance(found, Payment) and not found.has_ended:
            nudge(self._parts, found, "customer")

    def hook(self, provider: str, body: bytes) -> int:
        """Take an inbound hook of a provider as a hint: what it is about is asked about soon, and nothing else is done.

        Returns how many payments that is. Raises nothing for what the body says, and nothing for unknown providers.
        """
        routes = [p for (name, _), p in self._parts.providers.items() if name == provider]
        references = {reference for route in routes for reference in route.references_in(body)}
        return sum(len(nudge_reference(self._parts, reference, "hook")) for reference in references)

    def look_after(self) -> None:
        """Look at the money at risk and at our float at each provider: stop selling there, or start again."""
        look_after(self._parts)

    def sweep(self) -> Swept:
        """Point workers at due payments that the queue lost, at most 1,000 a pass."""
        return sweep(self._parts)

    def work(self, *, threads: int, stop: threading.Event) -> None:
        """Handle what the queue brings until `stop` is set; then finish what is in hand, and return."""
        handlers: dict[QueueName, Callable[[Hint], None]] = {
            QueueName.PAYMENTS: self.settle,
            QueueName.REVERSALS: self.settle,
            QueueName.NOTIFICATIONS: self._notify,
        }
        self._parts.queue.consume(handlers, threads=threads, stop=stop)

    def settle(self, hint: Hint) -> None:
        """Do what is due on one payment, as a worker would; nothing, if nothing is or somebody else is at it."""
        settle(self._parts, hint)

    def notify(self) -> int:
        """Try to tell the outside some of what is due now (webhooks, mail); returns how much was tried, 0 when nothing is.

        What is told arrives at least once. Workers do this by themselves.
        """
        return notify.notify(self._parts)

    def _notify(self, _hint: Hint) -> None:
        notify.notify(self._parts)

    # --- people decide ------------------------------------------------------------------------------------------------

    def review(self) -> Waiting:
        """What waits for a person: payments in review, and incidents."""
        return review(self._parts)

    def resolve(
        self,
        transaction_id: str,
        *,
        operator: str,
        reason: str,
        token: str | None = None,
        verdict: Verdict | str | None = None,
    ) -> Payment:
        """Decide about a payment in doubt or in review: with a `token` it is completed, without one reversed.

        `verdict` says it expressly: `delivered` (a postpaid payment has no token), `reverse`, or `seen` for incidents
        that have been dealt with. Who decided, and why, stands in the events for ever. Raises `TransactionNotFound`,
        `NotInReview`, `ValidationFailed`.
        """
        decided = verdict or (Verdict.DELIVERED if token else Verdict.REVERSE)
        return resolve(
            self._parts, transaction_id, str(decided), operator=operator, reason=reason, token=token
        )

    # --- what is told to the outside ----------------------------------------------------------------------------------

    def webhooks(
        self,
        *,
        limit: int = 20,
        channel: str | None = "webhook",
        failed: bool = False,
        message_id: str | None = None,
    ) -> Sequence[Told]:
        """What is or was to be told, with every try, the newest first; `channel` may be `mail`, `console` or None for all.

        `failed`: only what was tried in vain and not delivered since. Raises `ValidationFailed`.
        """
        return notify.told(self._parts, limit=limit, channel=channel, failed=failed, message_id=message_id)

    def replay(self, message_id: str) -> Told:
        """Tell something again, under the same id: here and now, where its channel is set up. Raises `NotFound`."""
        return notify.replay(self._parts, message_id)

    def set_email(self, user_id: str, email: str) -> None:
        """Set where mail about a user's wallets goes, tokens included, in place of any other address.

        Raises `ValidationFailed`, also for a user whose id is an e-mail address: mail goes there.
        """
        notify.set_email(self._parts, user_id, email)

    def disabled_endpoints(self) -> Sequence[DisabledEndpoint]:
        """Where webhooks don't go any more, because the endpoint answered 410."""
        return self._parts.outbox.disabled()

    def enable_webhooks(self) -> int:
        """Let webhooks go to endpoints that were disabled; what waited is due now. Returns how many were disabled."""
        return self._parts.outbox.enable()

    # --- who gets in over HTTP ----------------------------------------------------------------------------------------

    def create_key(self, name: str, scopes: Iterable[str]) -> NewKey:
        """Make a key of the API; its secret is shown here and never again. Raises `ValidationFailed`, `Conflict`."""
        return api_keys.create(self._parts, name, scopes)

    def keys(self) -> list[ApiKey]:
        """Every key, also revoked ones, in the order of their making."""
        return self._parts.keys.all()

    def revoke_key(self, key: str) -> ApiKey:
        """From now on a key, given by id or name, opens nothing. Raises `NotFound`."""
        return api_keys.revoke(self._parts, key)

    def key_of(self, secret: str) -> ApiKey | None:
        """The key in force with this secret; None where there is none. Asks the database each time."""
        return api_keys.key_of(self._parts, secret)

    def has_keys(self) -> bool:
        """Whether a key was ever made: revoking the last one opens nothing again."""
        return not self._parts.keys.is_empty()

    # --- looking up ---------------------------------------------------------------------------------------------------

    def balance(self, user_id: str, *, currency: str | None = None) -> Balance:
        """What can be spent, and what is held. Raises `WalletNotFound`."""
        return look_up.balance(self._parts, user_id, currency)

    def history(self, user_id: str, *, limit: int = 20) -> list[Transaction]:
        """A user's fundings and payments, newest first."""
        return self.search(Search(user_id=user_id, limit=limit))

    def transaction(self, transaction_id: str) -> Transaction:
        """A payment or funding by its id. Raises `TransactionNotFound`."""
        return look_up.transaction(self._parts, transaction_id)

    def events(self, payment: Payment) -> list[LoggedEvent]:
        """What happened to a payment, in order."""
        return look_up.events(self._parts, payment)

    def search(self, search: Search) -> list[Transaction]:
        """Transactions of any user, newest first."""
        return look_up.search(self._parts, search)

    def payments(self, *statuses: Status, limit: int = 100) -> list[Payment]:
        """Payments in these statuses (all, when none is named), newest first."""
        wanted = tuple(Status(status) for status in statuses)
        found = self.search(Search(kind="payment", statuses=wanted, limit=limit))
        return [payment for payment in found if isinstance(payment, Payment)]

    def next_look_at(self, payment: Payment) -> datetime | None:
        """When somebody will next do something about a payment; None when it has ended."""
        return look_up.next_look_at(self._parts, payment)

    def meter(self, meter: str, *, biller: str, vend_type: str = "prepaid") -> MeterFound:
        """Whose meter it is, and what it takes at least, as the provider says.

        Raises `InvalidMeter`, `UnknownBiller`; `MeterNotFound`, `WrongMeterType`, `MeterCannotVend`;
        `ProviderUnavailable` where it can't be asked.
        """
        return verify(self._parts, meter, biller, vend_type)

    def now(self) -> datetime:
        """The time by the clock of this billvend."""
        return self._parts.clock.now()

    @property
    def currency(self) -> str:
        """The currency of wallets where none is named, and of what providers sell for."""
        return self._parts.default_currency

    def billers(self) -> Sequence[Biller]:
        """The electricity companies that the configured providers sell for."""
        known = {biller.code: biller for route in self._parts.policy.routes for biller in route.billers}
        return sorted(known.values(), key=lambda biller: biller.code)

    def audit(self) -> Audit:
        """Replay every event and hold the books against what comes out."""
        return audit(self._parts)

    def health(self) -> Health:
        """How each part is, and what waits. Raises nothing."""
        return health(self._parts)

    def metrics(self) -> str:
        """What was counted, and how things stand, as text for Prometheus; docs/metrics.md says what is in it."""
        return metrics(self._parts)

    def count_refusal(self, code: str) -> None:
        """For doors: a request was turned away with this stable code. It is counted in the metrics, and nothing else."""
        self._parts.measures.refused(code)

    def backlog(self) -> Backlog:
        """What is still to be done, and how many payments wait for a worker now."""
        return self._parts.books.backlog(self._parts.clock.now())

    def require_test_money(self) -> None:
        """Refuse, with `BadSetting`, books or providers of real money. From now on these books take none."""
        if self._parts.mode is not Mode.TEST:
            raise BadSetting("The configured provider sells for real money: this is for test money alone.")
        check_mode(self._parts)

    def is_test_money_only(self) -> bool:
        """Whether neither the providers nor the books are of real money; books without a mark are not.

        Without any API key nothing else is served over HTTP.
        """
        return is_test_money_only(self._parts)

    # --- life ---------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give back connections and files."""
        self._parts.queue.close()
        for provider in self._parts.providers.values():
            provider.close()
        if self._parts.gateway is not None:
            self._parts.gateway.close()
        for notifier in self._parts.notifiers.values():
            notifier.close()
        self._parts.journal.close()

    def __enter__(self) -> "Billvend":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
