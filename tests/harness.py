"""A whole billvend on an in-memory database, with a clock and providers that tests control.

A `FakeProvider` gives the answers in its fields, again and again, and records its calls. Nothing happens by itself.
`AppHarness.settle_due` does what is due, as a worker would, and `AppHarness.advance` lets time pass before that.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any, NoReturn

import sqlalchemy as sa

from billvend import Bill, BillvendError, Money, Payment
from billvend.adapters.metrics.no_metrics import NoMetrics
from billvend.adapters.queue.huey_queue import HueyQueue
from billvend.adapters.storage.account_status import SqlAccountStatuses
from billvend.adapters.storage.api_keys import SqlApiKeys
from billvend.adapters.storage.database import Database
from billvend.adapters.storage.deposits import SqlDeposits
from billvend.adapters.storage.journal import SqlJournal
from billvend.adapters.storage.outbox import SqlOutbox
from billvend.adapters.storage.queries import SqlQueries
from billvend.adapters.storage.schema_version import upgrade
from billvend.adapters.storage.tables import transactions
from billvend.app import Billvend
from billvend.domain.enums import VendType
from billvend.domain.journal.events import Event, load_event
from billvend.domain.meter_lookup import MeterFound, MeterLookupResult
from billvend.domain.notifications import Channel
from billvend.domain.outcome import Answer, Delivered, Misconfigured, NotSent, Unknown
from billvend.domain.policy.accounts import Biller, Mode, ProviderAccount
from billvend.domain.policy.policy import Policy
from billvend.ports.gateway import Gateway
from billvend.ports.notifier import Notifier
from billvend.ports.provider import Order
from billvend.ports.queue import Hint, QueueName
from billvend.presentation.notifications import notification_for
from billvend.usecases.limits import Limits
from billvend.usecases.meters import MeterCheck
from billvend.usecases.wiring import Dependencies

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
METER = "12345678901"
TOKEN = "12345678901234567890"
OTHER_TOKEN = "22222222222222222222"
NO_ANSWER = Unknown("no answer")


class FakeClock:
    """A clock that moves when code sleeps, or when the test moves it."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at
        self._serial = count(1)

    def now(self) -> datetime:
        return self.at

    def elapsed_seconds(self) -> float:
        return self.at.timestamp()

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    def new_id(self) -> str:
        return f"id-{next(self._serial):06}"


class FakeProvider:
    """A provider that gives the answers that the test set, until the test sets other answers."""

    def __init__(
        self, name: str = "acme", *, account: str = "key-1", reference_lasts_a_day: bool = False
    ) -> None:
        def reference(seed: str, attempt: int, day: date) -> str:
            return f"{name}/{seed}/{attempt}/{day}"

        self.account = ProviderAccount(
            name, account, Mode.TEST, (Biller("EKEDC", "Eko"),), "NGN", reference,
            reference_lasts_a_day=reference_lasts_a_day,
        )  # fmt: skip
        self.send_answer: Answer = Delivered(TOKEN)
        self.requery_answer: Answer = NO_ANSWER
        self.meter_answer: MeterLookupResult = MeterFound("Ada Obi")
        self.float_answer: Money | Misconfigured | Unknown = Money(100_000_000, "NGN")
        self.calls: list[str] = []
        """Its calls, in order: `vend`, `requery`, `verify`, `float`."""
        self.references: list[str] = []
        """The orders that were sent or requeried."""
        self.during_verify: Callable[[], object] = lambda: None
        self.during_requery: Callable[[], object] = lambda: None

    def vend(self, order: Order, may_send: Callable[[], bool]) -> Answer:
        if not may_send():
            return NotSent("too late to send")
        self.calls.append("vend")
        self.references.append(order.reference)
        return self.send_answer

    def requery(self, order: Order) -> Answer:
        self.calls.append("requery")
        self.references.append(order.reference)
        self.during_requery()
        return self.requery_answer

    def verify(self, meter: str, biller: str, vend_type: VendType) -> MeterLookupResult:
        self.calls.append("verify")
        self.during_verify()
        return self.meter_answer

    def fetch_float(self) -> Money | Misconfigured | Unknown:
        self.calls.append("float")
        return self.float_answer

    def parse_references(self, body: bytes) -> tuple[str, ...]:
        return tuple(body.decode().split())

    def close(self) -> None: ...

    def count(self, what: str) -> int:
        """The number of calls of this kind."""
        return self.calls.count(what)


class UnreadQueue:
    """A queue that accepts all hints. No worker consumes them."""

    backend = "test"

    def __init__(self) -> None:
        self.hints = dict.fromkeys(QueueName, 0)

    def enqueue(self, queue: QueueName, hints: Sequence[Hint], *, wait: bool = True) -> int:
        self.hints[queue] += len(hints)
        return len(hints) if wait else 0

    def depth(self) -> dict[QueueName, int]:
        return self.hints

    def consume(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise AssertionError("no worker consumes this queue")

    def close(self) -> None: ...


class AppHarness:
    """A billvend with these providers, in order of preference, and ada with 10,000 naira."""

    def __init__(
        self,
        *providers: FakeProvider,
        verification: MeterCheck | None = None,
        limits: Limits | None = None,
        policy: Policy | None = None,
        gateway: Gateway | None = None,
        notifiers: Mapping[Channel, Notifier] | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.database = Database("sqlite://")
        upgrade(self.database)
        self.queue = HueyQueue(None)
        self._verification = verification or MeterCheck()
        self._limits = limits or Limits("100", "1000000")
        self._policy = policy or Policy(())
        self.gateway = gateway
        self.notifiers = notifiers or {}
        self.restart(*(providers or (FakeProvider(),)))
        self.bv.fund("ada", 10_000)

    def restart(self, *providers: FakeProvider) -> None:
        """Lose everything in memory, and start again with these providers on the same database."""
        by_account = {(c.account.provider, c.account.account_id): c for c in providers}
        self.provider = providers[0]
        self.deps = Dependencies(
            SqlJournal(self.database, channels=tuple(self.notifiers), render_notification=notification_for),
            SqlQueries(self.database), self.queue,
            by_account, self.clock,
            replace(self._policy, accounts=tuple(provider.account for provider in providers)), self._limits,
            "NGN", Mode.TEST, sweep_quiet_seconds=0, account_status=SqlAccountStatuses(self.database),
            api_keys=SqlApiKeys(self.database), deposits=SqlDeposits(self.database), gateway=self.gateway,
            outbox=SqlOutbox(self.database), notifiers=self.notifiers, meter_check=self._verification,
            metrics=NoMetrics(),
        )  # fmt: skip
        self.bv = Billvend(self.deps)

    def close(self) -> None:
        self.bv.close()

    # --- actions ------------------------------------------------------------------------------------------------------

    def pay(self, amount: int = 500, *, meter: str = METER, **more: Any) -> Payment:
        """Accept a payment of ada."""
        return self.bv.pay("ada", amount, meter=meter, biller="EKEDC", allow_duplicate=True, **more)

    def pay_many(self, number: int = 1, amount: int = 500) -> list[Payment]:
        """Accept so many payments of ada in bulk."""
        bills = [Bill("ada", amount, METER, "EKEDC", key=self.clock.new_id()) for _ in range(number)]
        paid: list[Payment] = []
        for result in self.bv.pay_many(bills):
            if isinstance(result, BillvendError):
                raise result
            paid.append(result.payment)
        return paid

    def payment_in_doubt(self, amount: int = 500, **more: Any) -> Payment:
        """A payment whose send has no clear answer."""
        self.provider.send_answer = NO_ANSWER
        return self.settle(self.pay(amount, **more))

    def payment_in_review(self, amount: int = 500, **more: Any) -> Payment:
        """A payment in review, after the provider gave no clear answer for more than two hours."""
        payment = self.payment_in_doubt(amount, **more)
        for _ in range(12):
            self.advance_until_due(payment)
            self.settle_due()
        return self.reload(payment)

    def settle(self, payment: Payment) -> Payment:
        """Do what is due for it, once."""
        self.bv.settle(Hint(payment.user_id, payment.transaction_id))
        return self.reload(payment)

    def settle_due(self) -> None:
        """Do what is due now, until no work is left."""
        for _ in range(20):
            due = self.deps.journal.take_due_payments(self.clock.at, 1_000, 0)
            if not due:
                return
            for found in due:
                self.bv.settle(Hint(found.user_id, found.transaction_id))
        raise AssertionError("something is due for ever")

    def advance(self, seconds: float) -> None:
        """Let time pass, and do what is due then."""
        self.clock.sleep(seconds)
        self.settle_due()

    def advance_until_due(self, payment: Payment) -> float:
        """Let time pass until the payment is due; returns the seconds that passed."""
        seconds = self.seconds_until_due(payment)
        assert seconds is not None, "it is never due"
        self.clock.sleep(max(0.0, seconds))
        return seconds

    def receive_webhook(self, payment: Payment, attempt: int = -1) -> int:
        """Receive a webhook of the provider about one of the payment's references."""
        body = self.reload(payment).attempts[attempt].reference.encode()
        return self.bv.handle_provider_webhook(self.provider.account.provider, body)

    def sql(self, *statements: str) -> None:
        """Change the database by hand."""
        with self.database.write_transaction() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    # --- results ------------------------------------------------------------------------------------------------------

    def reload(self, payment: Payment) -> Payment:
        """The payment as it is now."""
        found = self.bv.transaction(payment.transaction_id)
        assert isinstance(found, Payment)
        return found

    def seconds_until_due(self, payment: Payment) -> float | None:
        """Seconds from now until its row says that it is due; None for never."""
        row = transactions.c
        with self.database.read_transaction() as connection:
            due = connection.scalar(
                sa.select(row.next_check_at).where(row.transaction_id == payment.transaction_id)
            )
        return None if due is None else float((due - self.clock.at).total_seconds())

    def events(self, payment: Payment) -> list[Event]:
        """The events of the payment, in order."""
        return [load_event(logged.kind, logged.data) for logged in self.bv.events(payment)]

    def incidents(self, payment: Payment) -> list[tuple[str, int]]:
        """The incidents of the payment: the kind, and the naira that it moves between our accounts."""
        return [(str(found.kind), found.amount_minor // 100) for found in self.reload(payment).incidents]

    def account_total(self, name: str) -> int:
        """The total of one of our accounts, in naira."""
        sums = "SELECT COALESCE(SUM(CASE WHEN target = :id THEN amount_minor ELSE -amount_minor END), 0)"
        with self.database.read_transaction() as connection:
            minor = connection.scalar(
                sa.text(f"{sums} FROM transfers WHERE :id IN (source, target)"),
                {"id": name},
            )
        return int(minor) // 100

    @property
    def balance(self) -> tuple[int, int]:
        """The available and the held balance of ada, in naira."""
        found = self.bv.balance("ada")
        return int(found.available.major), int(found.held.major)


def using(app: AppHarness) -> Iterator[AppHarness]:
    """For a fixture: yields the app, and audits its ledger when the test is over."""
    yield app
    assert app.bv.audit().ok
    app.close()
