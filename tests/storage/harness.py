"""A journal with its database, and the commands that tests give it. The clock moves only when a test moves it."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa

from billvend.adapters.clock import SystemClock
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
from billvend.adapters.storage.streams import event_from_row
from billvend.adapters.storage.tables import APPEND_ONLY, events, metadata
from billvend.domain.decisions.commands import (
    Cancel,
    Claim,
    Command,
    CommandResult,
    Executed,
    Fund,
    Pay,
    ProviderCall,
    RecordAnswer,
    RequestRequery,
)
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.enums import Status, VendType
from billvend.domain.errors import BillvendError
from billvend.domain.journal.events import StreamKey
from billvend.domain.money import Money
from billvend.domain.outcome import (
    Answer,
    Declined,
    Deferred,
    Delivered,
    Misconfigured,
    NotFound,
    NotSent,
    Pending,
    Unknown,
)
from billvend.domain.payment.state import Payment
from billvend.domain.policy.accounts import Biller, Mode, ProviderAccount
from billvend.domain.policy.policy import Policy
from billvend.ports.journal import DuePayment
from billvend.ports.queries import AuditReport, RawEvent
from billvend.usecases.limits import Limits
from billvend.usecases.wiring import Dependencies

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
POSTGRES = pytest.param("postgres", marks=pytest.mark.integration)
ALL_DATABASES = ["file", "memory", POSTGRES]
"""The kinds of databases."""
SHARED_DATABASES = ["file", POSTGRES]
"""The kinds that several connections, threads or processes can share."""

METER = "12345678901"
TOKEN = "12345678901234567890"


def _reference(transaction_id: str, attempt: int, day: date) -> str:
    return f"{day:%Y%m%d}-{transaction_id}-{attempt}"


def provider_account(provider: str) -> ProviderAccount:
    """A provider account that sells for EKEDC."""
    billers = (Biller("EKEDC", "Eko Electricity"),)
    return ProviderAccount(provider, "here", Mode.TEST, billers, "NGN", _reference)


POLICY = Policy(accounts=(provider_account("sandbox"),))


class JournalHarness:
    """A journal, its queries and a clock. `fund`, `pay` and so on make commands; `execute` gives them to the journal."""

    def __init__(self, database: Database, *, name: str = "t", policy: Policy = POLICY) -> None:
        self.database = database
        self.journal = SqlJournal(database)
        self.queries = SqlQueries(database)
        self.policy = policy
        self.now = NOW
        self._name = name
        self._ids = count(1)

    def new_id(self) -> str:
        """Ids rise in the order in which they are made, as those of the real clock do."""
        return f"{self._name}{next(self._ids):07}"

    def reopen(self, database: Database) -> "JournalHarness":
        """The same harness after everything in memory was lost. Only the time and the ids go on."""
        other = JournalHarness(database, policy=self.policy)
        other.now, other._ids = self.now, self._ids
        return other

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # --- commands -----------------------------------------------------------------------------------------------------

    def fund(
        self, user: str = "ada", minor: int = 10_000, key: str | None = None, currency: str = "NGN",
        source: str = "manual", reference: str | None = None,
    ) -> Fund:  # fmt: skip
        made = self.new_id()
        key = key or made
        return Fund(user, key, made, self.now, Money(minor, currency), source, reference or key)

    def pay(
        self, user: str = "ada", minor: int = 1_000, key: str | None = None, meter: str = METER, *,
        has_caller_key: bool = True, allow_duplicate: bool = False, currency: str = "NGN",
        vend_type: VendType = VendType.PREPAID,
    ) -> Pay:  # fmt: skip
        made = self.new_id()
        amount = Money(minor, currency)
        return Pay(
            user,
            key or made,
            made,
            self.now,
            has_caller_key,
            amount,
            meter,
            "EKEDC",
            vend_type,
            allow_duplicate=allow_duplicate,
        )

    def cancel(self, pay: Pay, key: str | None = None) -> Cancel:
        return Cancel(pay.user_id, key or self.new_id(), pay.transaction_id, self.now)

    def claim(self, pay: Pay, key: str | None = None) -> Claim:
        return Claim(pay.user_id, key or self.new_id(), pay.transaction_id, self.now, self.policy)

    def request_requery(self, pay: Pay) -> RequestRequery:
        return RequestRequery(
            pay.user_id, self.new_id(), pay.transaction_id, self.now, self.policy, "operator"
        )

    def claim_due(self, due: DuePayment) -> Claim:
        return Claim(due.user_id, self.new_id(), due.transaction_id, self.now, self.policy)

    def report(self, pay: Pay, work: ProviderCall, answer: Answer, key: str | None = None) -> RecordAnswer:
        return RecordAnswer(
            pay.user_id, key or self.new_id(), pay.transaction_id, self.now, self.policy,
            work.attempt, work.call_number, work.is_requery, answer,
        )  # fmt: skip

    # --- execution ----------------------------------------------------------------------------------------------------

    def execute(self, *commands: Command) -> list[CommandOutcome]:
        """Execute the commands in a transaction of their own, without group commit."""
        return self.journal.commit(commands)

    def execute_one(self, command: Command) -> Executed:
        """Execute one command, which must not be rejected."""
        return expect_executed(self.execute(command))[0]

    def add_funds(self, user: str = "ada", minor: int = 10_000) -> Fund:
        command = self.fund(user, minor)
        self.execute_one(command)
        return command

    def accept_payment(self, user: str = "ada", minor: int = 1_000, meter: str = METER) -> Pay:
        command = self.pay(user, minor, meter=meter)
        self.execute_one(command)
        return command

    def claim_work(self, pay: Pay, *, early: bool = False) -> ProviderCall:
        """Claim a payment that has work to do."""
        if early:
            self.execute_one(self.request_requery(pay))
        work = self.execute_one(self.claim(pay)).result.provider_call
        assert work is not None
        return work

    def answer(self, pay: Pay, answer: Answer, *, early: bool = False) -> CommandResult:
        """Claim a payment, and report this answer to the call that the claim allowed."""
        return self.execute_one(self.report(pay, self.claim_work(pay, early=early), answer)).result

    # --- queries ------------------------------------------------------------------------------------------------------

    def payment(self, pay: Pay) -> Payment:
        found = self.queries.find(pay.transaction_id, pay.user_id)
        assert found is not None
        assert isinstance(found.transaction, Payment)
        return found.transaction

    def events(self, stream: StreamKey) -> list[RawEvent]:
        """The stored events of a stream, in order."""
        table = events.c
        in_order = sa.select(events).where(table.user_id == stream.user_id, table.stream == stream.stream)
        with self.database.read_transaction() as connection:
            return [event_from_row(row) for row in connection.execute(in_order.order_by(table.seq))]

    def status(self, pay: Pay) -> Status:
        return self.payment(pay).status

    def balance(self, user: str = "ada", currency: str = "NGN") -> tuple[int, int]:
        """The available and the held balance, in minor units."""
        found = self.queries.balance(user, currency)
        assert found is not None
        return found[0].amount_minor, found[1].amount_minor

    def audit(self) -> AuditReport:
        return self.queries.audit()

    def all_rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table."""
        with self.database.read_transaction() as connection:
            return {
                table.name: sorted((tuple(row) for row in connection.execute(sa.select(table))), key=repr)
                for table in metadata.sorted_tables
            }

    def accounts(self) -> Counter[str]:
        """The balance of each of our accounts, summed from the transfers, in minor units."""
        held: Counter[str] = Counter()
        for source, target, minor in self.rows("SELECT source, target, amount_minor FROM transfers"):
            held[source] -= minor
            held[target] += minor
        return +held

    def rows(self, sql: str, **values: object) -> list[tuple[Any, ...]]:
        with self.database.read_transaction() as connection:
            return [tuple(row) for row in connection.execute(sa.text(sql), values)]

    def run(self, sql: str, **values: object) -> None:
        """Run SQL without the journal."""
        with self.database.write_transaction() as connection:
            connection.execute(sa.text(sql), values)


@contextmanager
def open_harness(url: str, *, name: str = "t", policy: Policy = POLICY) -> Iterator[JournalHarness]:
    """A harness on the database at a URL; a SQLite file gets its tables."""
    database = Database(url)
    if database.is_sqlite:
        upgrade(database)
    try:
        yield JournalHarness(database, name=name, policy=policy)
    finally:
        database.close()


TERMINATE_SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
"""


def truncate_all(database: Database) -> None:
    """Delete all rows of a PostgreSQL database. It takes a tenth of the time that a new database takes."""
    with database.write_transaction() as connection:
        connection.execute(sa.text(TERMINATE_SESSIONS))
        for table in APPEND_ONLY:
            connection.execute(sa.text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        connection.execute(sa.text(f"TRUNCATE {', '.join(metadata.tables)}"))
        for table in APPEND_ONLY:
            connection.execute(sa.text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))


def deps_of(harness: JournalHarness) -> Dependencies:
    return Dependencies(
        harness.journal, harness.queries, HueyQueue(None), {}, SystemClock(), harness.policy, Limits("100", "1000000"),
        "NGN", Mode.TEST, sweep_quiet_seconds=60, account_status=SqlAccountStatuses(harness.database),
        api_keys=SqlApiKeys(harness.database), deposits=SqlDeposits(harness.database),
        outbox=SqlOutbox(harness.database), metrics=NoMetrics(),
    )  # fmt: skip


def expect_executed(results: list[CommandOutcome]) -> list[Executed]:
    """The results of commands none of which may be rejected."""
    done: list[Executed] = []
    for result in results:
        if isinstance(result, BillvendError):
            raise result
        done.append(result)
    return done


def result_codes(results: list[CommandOutcome]) -> list[str]:
    """The result of each command: `done`, `replayed`, or the code of its rejection."""
    return [
        result.code if isinstance(result, BillvendError) else "replayed" if result.replayed else "done"
        for result in results
    ]


def delivered(token: str | None = TOKEN, cost_minor: int | None = None) -> Delivered:
    return Delivered(token, units="12.5", cost_minor=cost_minor)


NOTHING_DELIVERED = Declined("no such meter", about_transaction=True)
ANSWERS: list[Answer] = [
    delivered(),
    delivered(cost_minor=1),
    delivered(token="99999999999999999999", cost_minor=5_000),
    delivered(token=None),
    NOTHING_DELIVERED,
    Declined("not this time"),
    Declined("sold, and taken back", about_transaction=True, provider_reversed=True),
    NotSent("rejected"),
    Deferred("later", retry_after_seconds=30),
    Misconfigured("no float"),
    Unknown("no answer"),
    Unknown("no answer, but known", known_to_provider=True),
    Pending("wait"),
    NotFound("no such reference"),
]
"""Any answer that a provider may give."""


@contextmanager
def listening(engine: sa.Engine, event: str, listener: Callable[..., None]) -> Iterator[None]:
    """Call `listener` at this event of SQLAlchemy during the block."""
    sa.event.listen(engine, event, listener)
    try:
        yield
    finally:
        sa.event.remove(engine, event, listener)


@contextmanager
def recorded_statements(database: Database) -> Iterator[list[str]]:
    """The statements that reach the database during the block. One for many rows counts once."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    with listening(database.engine, "before_cursor_execute", note):
        yield seen


@contextmanager
def database_errors(harness: JournalHarness) -> Iterator[list[str]]:
    """The errors that the database answers during the block: SQLSTATE, or SQLite's message."""
    seen: list[str] = []

    def note(context: sa.engine.ExceptionContext) -> None:
        error = context.original_exception
        seen.append(getattr(error, "sqlstate", None) or str(error))

    with listening(harness.database.engine, "handle_error", note):
        yield seen
