"""A till: a journal with its books, and orders to give them. Time stands still until somebody moves it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa

from billvend.adapters.clock import SystemClock
from billvend.adapters.queue.memory_queue import memory_queue
from billvend.adapters.storage.account_status import SqlAccountStatuses
from billvend.adapters.storage.api_keys import SqlApiKeys
from billvend.adapters.storage.database import Database
from billvend.adapters.storage.deposits import SqlDeposits
from billvend.adapters.storage.journal import SqlJournal
from billvend.adapters.storage.outbox import SqlOutbox
from billvend.adapters.storage.queries import SqlQueries
from billvend.adapters.storage.schema_version import upgrade
from billvend.adapters.storage.tables import APPEND_ONLY, metadata
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
from billvend.usecases.audit import AuditReport, audit
from billvend.usecases.dependencies import Dependencies, Limits

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
POSTGRES = pytest.param("postgres", marks=pytest.mark.integration)
EVERYWHERE = ["file", "memory", POSTGRES]
"""The kinds of books."""
ON_DISK = ["file", POSTGRES]
"""Those where several connections, threads or processes can meet."""

METER = "12345678901"
TOKEN = "12345678901234567890"


def _reference(transaction_id: str, attempt: int, day: date) -> str:
    return f"{day:%Y%m%d}-{transaction_id}-{attempt}"


def route(provider: str) -> ProviderAccount:
    """A provider account that sells for EKEDC."""
    billers = (Biller("EKEDC", "Eko Electricity"),)
    return ProviderAccount(provider, "here", Mode.TEST, billers, "NGN", _reference)


POLICY = Policy(accounts=(route("sandbox"),))


class Till:
    """Commands are made by `fund`, `pay` and so on, and given to the journal by `do`."""

    def __init__(self, database: Database, *, name: str = "t", policy: Policy = POLICY) -> None:
        self.database = database
        self.journal = SqlJournal(database)
        self.books = SqlQueries(database)
        self.policy = policy
        self.now = NOW
        self._name = name
        self._ids = count(1)

    def new_id(self) -> str:
        """Ids rise as they are made, as those of the real clock do."""
        return f"{self._name}{next(self._ids):07}"

    def again(self, database: Database) -> "Till":
        """The same till after everything in memory was lost: only the time and the ids go on."""
        other = Till(database, policy=self.policy)
        other.now, other._ids = self.now, self._ids
        return other

    def pass_time(self, seconds: float) -> None:
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
        given: bool = True, again: bool = False, currency: str = "NGN",
        vend_type: VendType = VendType.PREPAID,
    ) -> Pay:  # fmt: skip
        made = self.new_id()
        amount = Money(minor, currency)
        return Pay(
            user, key or made, given, made, self.now, amount, meter, "EKEDC", vend_type, allow_duplicate=again
        )

    def cancel(self, pay: Pay, key: str | None = None) -> Cancel:
        return Cancel(pay.user_id, key or self.new_id(), pay.transaction_id, self.now)

    def claim(self, pay: Pay, key: str | None = None) -> Claim:
        return Claim(pay.user_id, key or self.new_id(), pay.transaction_id, self.now, self.policy)

    def nudge(self, pay: Pay) -> RequestRequery:
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

    # --- having them done ---------------------------------------------------------------------------------------------

    def do(self, *commands: Command) -> list[CommandOutcome]:
        return self.journal.execute(commands)

    def done(self, command: Command) -> Executed:
        """One command, which must not be refused."""
        return all_done(self.do(command))[0]

    def funded(self, user: str = "ada", minor: int = 10_000) -> Fund:
        command = self.fund(user, minor)
        self.done(command)
        return command

    def paid(self, user: str = "ada", minor: int = 1_000, meter: str = METER) -> Pay:
        command = self.pay(user, minor, meter=meter)
        self.done(command)
        return command

    def working(self, pay: Pay, *, early: bool = False) -> ProviderCall:
        """Claim a payment on which there is something to do."""
        if early:
            self.done(self.nudge(pay))
        work = self.done(self.claim(pay)).result.provider_call
        assert work is not None
        return work

    def told(self, pay: Pay, answer: Answer, *, early: bool = False) -> CommandResult:
        """Claim a payment, and report this answer to what the claim allowed."""
        return self.done(self.report(pay, self.working(pay, early=early), answer)).result

    # --- looking ------------------------------------------------------------------------------------------------------

    def payment(self, pay: Pay) -> Payment:
        found = self.books.transaction(pay.transaction_id, pay.user_id)
        assert isinstance(found, Payment)
        return found

    def status(self, pay: Pay) -> Status:
        return self.payment(pay).status

    def balance(self, user: str = "ada", currency: str = "NGN") -> tuple[int, int]:
        """What can be spent and what is held, in minor units."""
        found = self.books.balance(user, currency)
        assert found is not None
        return found[0].amount_minor, found[1].amount_minor

    def audit(self) -> AuditReport:
        return audit(parts_of(self))

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table."""
        with self.database.read_transaction() as connection:
            return {
                table.name: sorted((tuple(row) for row in connection.execute(sa.select(table))), key=repr)
                for table in metadata.sorted_tables
            }

    def accounts(self) -> Counter[str]:
        """What each account of ours holds by the transfers, in minor units."""
        held: Counter[str] = Counter()
        for source, target, minor in self.rows("SELECT source, target, amount_minor FROM transfers"):
            held[source] -= minor
            held[target] += minor
        return +held

    def rows(self, sql: str, **values: object) -> list[tuple[Any, ...]]:
        with self.database.read_transaction() as connection:
            return [tuple(row) for row in connection.execute(sa.text(sql), values)]

    def run(self, sql: str, **values: object) -> None:
        """Go behind the journal's back."""
        with self.database.write_transaction() as connection:
            connection.execute(sa.text(sql), values)


@contextmanager
def open_till(url: str, *, name: str = "t", policy: Policy = POLICY) -> Iterator[Till]:
    """A till on the books at a URL; a SQLite file gets its tables."""
    database = Database(url)
    if database.is_sqlite:
        upgrade(database)
    try:
        yield Till(database, name=name, policy=policy)
    finally:
        database.close()


LEFT_OPEN = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
"""


def empty(database: Database) -> None:
    """Take everything off the books of a PostgreSQL database, in a tenth of the time that a new one takes."""
    with database.write_transaction() as connection:
        connection.execute(sa.text(LEFT_OPEN))
        for table in APPEND_ONLY:
            connection.execute(sa.text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        connection.execute(sa.text(f"TRUNCATE {', '.join(metadata.tables)}"))
        for table in APPEND_ONLY:
            connection.execute(sa.text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))


def parts_of(till: Till) -> Dependencies:
    return Dependencies(
        till.journal, till.books, memory_queue(), {}, SystemClock(), till.policy, Limits("100", "1000000"),
        "NGN", Mode.TEST, sweep_quiet_seconds=60, account_status=SqlAccountStatuses(till.database),
        api_keys=SqlApiKeys(till.database), deposits=SqlDeposits(till.database),
        outbox=SqlOutbox(till.database),
    )  # fmt: skip


def all_done(results: list[CommandOutcome]) -> list[Executed]:
    """The results of commands of which none may be refused."""
    done: list[Executed] = []
    for result in results:
        if isinstance(result, BillvendError):
            raise result
        done.append(result)
    return done


def named(results: list[CommandOutcome]) -> list[str]:
    """What became of each command: `done`, `replayed`, or the code of its refusal."""
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
    NotSent("refused"),
    Deferred("later", retry_after_seconds=30),
    Misconfigured("no float"),
    Unknown("no answer"),
    Unknown("no answer, but known", known_to_provider=True),
    Pending("wait"),
    NotFound("no such reference"),
]
"""Whatever a provider may say."""


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """The statements that reach the database meanwhile; one for many rows counts once."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", note)


@contextmanager
def errors_of(till: Till) -> Iterator[list[str]]:
    """The errors that the database answers with meanwhile: SQLSTATE, or SQLite's words."""
    seen: list[str] = []

    def note(context: sa.engine.ExceptionContext) -> None:
        error = context.original_exception
        seen.append(getattr(error, "sqlstate", None) or str(error))

    sa.event.listen(till.database.engine, "handle_error", note)
    try:
        yield seen
    finally:
        sa.event.remove(till.database.engine, "handle_error", note)
