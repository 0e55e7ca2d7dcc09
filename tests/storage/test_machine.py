"""Any history at all: orders, claims, answers, time, crashes and repeats in any order, and after every step the books add
up. In the end a provider that keeps its word can finish every payment."""

import shutil
import tempfile
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import hypothesis
import pytest
import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from billvend.adapters.storage.database import Database
from billvend.adapters.storage.tables import transactions
from billvend.domain.decisions.commands import Command, CommandResult, Executed, Pay, ProviderCall
from billvend.domain.enums import Status, VendType
from billvend.domain.outcome import Answer
from billvend.domain.payment.state import TERMINAL_STATUSES, Payment
from billvend.domain.policy.policy import Policy
from billvend.ports.queries import Search
from tests.storage.till import ANSWERS, NOTHING_DELIVERED, Till, delivered, empty, route

USERS = ["ada", "Émile"]
TWO_PROVIDERS = Policy(accounts=(route("sandbox"), route("backup")))
STEPS_OF_DEFAULT = 50
MOST_PAYMENTS = 6
MOST_ROUNDS = 60
"""In which every payment ends, once the provider answers clearly."""

users = st.sampled_from(USERS)
amounts = st.integers(1, 2_000)
answers = st.sampled_from(ANSWERS)
seconds = st.sampled_from([0, 1, 5, 20, 61, 600, 3_600, 90_000]) | st.integers(0, 10_000)


class History(RuleBasedStateMachine):
    """A journal under random orders."""

    payments = Bundle("payments")
    calls = Bundle("calls")

    def new_books(self) -> None:
        """Before each history."""
        raise NotImplementedError

    def open_books(self) -> Database:
        """The same books each time within one history."""
        raise NotImplementedError

    @initialize(target=payments, minors=st.lists(amounts, min_size=1, max_size=4))
    def open_the_till(self, minors: list[int]) -> object:
        self.new_books()
        self.till = Till(self.open_books(), policy=TWO_PROVIDERS)
        self.funded: Counter[str] = Counter()
        self.done: list[tuple[Command, CommandResult]] = []
        self.last_seen: dict[str, Status] = {}
        for user in USERS:
            self.fund(user, 10_000)
        pays = [self.till.pay(USERS[0], minor) for minor in minors]
        self.give(*pays)
        return multiple(*pays)

    def give(self, *commands: Command) -> list[Executed | None]:
        """What was done; None for what was refused."""
        found: list[Executed | None] = []
        for command, result in zip(commands, self.till.do(*commands), strict=True):
            if isinstance(result, Executed):
                found.append(result)
                if not result.replayed:
                    self.done.append((command, result.result))
            else:
                assert result.code in (
                    "insufficient_funds",
                    "wallet_not_found",
                    "likely_duplicate",
                    "already_sent",
                )
                found.append(None)
        return found

    # --- people -------------------------------------------------------------------------------------------------------

    @rule(user=users, minor=amounts)
    def fund(self, user: str, minor: int) -> None:
        self.give(self.till.fund(user, minor))
        self.funded[user] += minor

    @rule(
        target=payments,
        user=users,
        minor=amounts,
        given=st.booleans(),
        vend_type=st.sampled_from(list(VendType)),
    )
    def pay(self, user: str, minor: int, *, given: bool, vend_type: VendType) -> object:
        pay = self.till.pay(user, minor, given=given, vend_type=vend_type)
        (done,) = self.give(pay)
        return multiple() if done is None else pay

    @rule(pay=payments, sure=st.sampled_from([True, False, False]))
    def cancel(self, pay: Pay, *, sure: bool) -> None:
        if sure:
            self.give(self.till.cancel(pay))

    # --- workers ------------------------------------------------------------------------------------------------------

    @rule(target=calls, pay=payments, early=st.booleans())
    def claim(self, pay: Pay, *, early: bool) -> object:
        if early:
            self.give(self.till.nudge(pay))
        (done,) = self.give(self.till.claim(pay))
        assert done is not None
        return multiple() if done.result.provider_call is None else (pay, done.result.provider_call)

    @rule(call=calls, answer=answers)
    def report(self, call: tuple[Pay, ProviderCall], answer: Answer) -> None:
        """Once, or again; at once, or long after everybody had given it up."""
        pay, work = call
        (done,) = self.give(self.till.report(pay, work, answer))
        assert done is not None

    @rule(target=calls, pay=payments, said=st.lists(answers, min_size=1, max_size=4))
    def work(self, pay: Pay, said: list[Answer]) -> object:
        """As a worker does to whom nothing happens: whenever the payment is due, for a while."""
        calls: list[tuple[Pay, ProviderCall]] = []
        for answer in said:
            (done,) = self.give(self.till.claim(pay))
            assert done is not None
            if done.result.provider_call is not None:
                calls.append((pay, done.result.provider_call))
                self.report(calls[-1], answer)
            elif done.result.next_at is not None:
                self.till.now = max(self.till.now, done.result.next_at)
        return multiple(*calls)

    @rule(target=calls, limit=st.integers(1, 5))
    def sweep(self, limit: int) -> object:
        due = self.till.journal.take_due_payments(self.till.now, limit, 60)
        claimed = self.give(*(self.till.claim_due(found) for found in due))
        return multiple(*self._works(claimed))

    @rule(
        target=calls,
        pays=st.lists(payments, min_size=1, max_size=4),
        cancelled=st.integers(0, 3),
        minor=amounts,
    )
    def work_in_a_list(self, pays: list[Pay], cancelled: int, minor: int) -> object:
        """Everything in one transaction, some of it about the same payment."""
        claims: list[Command] = [self.till.claim(pay) for pay in pays]
        cancels: list[Command] = [self.till.cancel(pay) for pay in pays[:cancelled]]
        funding = self.till.fund(USERS[0], minor)
        found = self.give(*claims[::2], *cancels, funding, *claims[1::2])
        self.funded[USERS[0]] += minor
        return multiple(*self._works(found))

    def _works(self, found: list[Executed | None]) -> list[tuple[Pay, ProviderCall]]:
        return [
            (_order(done.result.transaction_id, self.done), done.result.provider_call)
            for done in found
            if done is not None and done.result.provider_call is not None
        ]

    # --- the world ----------------------------------------------------------------------------------------------------

    @rule(passed=seconds)
    def time_passes(self, passed: int) -> None:
        self.till.pass_time(passed)

    @rule()
    def crash(self) -> None:
        self.till.database.close()
        self.till = self.till.again(self.open_books())

    @precondition(lambda self: self.done)
    @rule(which=st.integers(0, 1_000))
    def repeat(self, which: int) -> None:
        """Whatever was done before, and whenever: the same reply, and nothing changes."""
        command, reply = self.done[which % len(self.done)]
        before = self.till.everything()
        if not any(command.key == row[2] for row in before["commands"]):
            return  # there was nothing to do then, so there is nothing to remember
        (again,) = self.till.do(command)
        assert isinstance(again, Executed)
        assert (again.replayed, again.result) == (True, reply)
        assert self.till.everything() == before

    # --- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def books_agree(self) -> None:
        audit = self.till.audit()
        assert (audit.differences, audit.unlisted_differences) == ([], 0)

    @invariant()
    def money_is_neither_made_nor_lost(self) -> None:
        spendable, open_, completed = (0, 0, 0)
        for user in USERS:
            mine = self._payments(user)
            held = sum(
                payment.amount.amount_minor for payment in mine if payment.status not in TERMINAL_STATUSES
            )
            spent = sum(payment.amount.amount_minor for payment in mine if payment.status is Status.COMPLETED)
            if (balance := self.till.books.balance(user, "NGN")) is not None:
                assert balance[0].amount_minor == self.funded[user] - held - spent
                assert balance[1].amount_minor == held
                spendable += balance[0].amount_minor
            open_ += held
            completed += spent
        net: Counter[str] = Counter()
        for source, target, minor in self.till.rows("SELECT source, target, amount_minor FROM transfers"):
            net[source.partition(":")[0]] -= minor
            net[target.partition(":")[0]] += minor
        assert -net["funding"] == self.funded.total() == spendable + open_ + completed
        assert (net["wallet"], net["in_flight"]) == (spendable, open_)
        assert (
            net["provider"] + net["commission"] + net["recovered"] + net["loss"] + net["expense"] == completed
        )
        assert net["loss"] <= 0
        assert net["expense"] <= 0
        assert min(net["commission"], net["recovered"]) >= 0

    @invariant()
    def a_payment_has_one_end(self) -> None:
        ends = dict(self.till.rows("SELECT transaction_id, kind FROM resolutions"))
        for user in USERS:
            for payment in self._payments(user):
                id_, status = payment.transaction_id, payment.status
                assert ends.get(id_) == (status.value if status in TERMINAL_STATUSES else None)
                assert (payment.completion is not None) == (status is Status.COMPLETED)
                assert (payment.proof is not None) == (status in (Status.REVERSING, Status.REVERSED))
                before = self.last_seen.get(id_, status)
                assert before not in TERMINAL_STATUSES or before is status
                self.last_seen[id_] = status

    @invariant()
    def nothing_is_forgotten(self) -> None:
        """Whatever has not ended is due at some time, when a sweep will find it."""
        forgotten = self.till.rows(
            "SELECT transaction_id, status FROM transactions"
            " WHERE type = 'payment' AND status NOT IN ('completed', 'reversed') AND next_check_at IS NULL"
        )
        assert forgotten == []

    def _next_due(self) -> datetime | None:
        with self.till.database.read_transaction() as connection:
            found: datetime | None = connection.scalar(sa.select(sa.func.min(transactions.c.next_check_at)))
        return found

    def _payments(self, user: str) -> list[Payment]:
        found = self.till.books.search(Search(user_id=user, kind="payment", limit=1_000))
        return [payment for payment in found if isinstance(payment, Payment)]

    # --- the end ------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        if hasattr(self, "till"):
            try:
                self._everything_ends()
            finally:
                self.till.database.close()

    def _everything_ends(self) -> None:
        """The provider keeps its word from now on. Whenever something is due, somebody works on it."""
        for round_ in range(MOST_ROUNDS):
            if all(payment.status in TERMINAL_STATUSES for user in USERS for payment in self._payments(user)):
                break
            some_time_later = self.till.now + timedelta(seconds=60 * round_)
            self.till.now = max(some_time_later, self._next_due() or some_time_later)
            for due in self.till.journal.take_due_payments(self.till.now, 1_000, 0):
                (done,) = self.give(self.till.claim_due(due))
                assert done is not None
                if work := done.result.provider_call:
                    pay = _order(due.transaction_id, self.done)
                    self.give(self.till.report(pay, work, _word_of_honour(work)))
        statuses = {payment.status for user in USERS for payment in self._payments(user)}
        assert statuses <= TERMINAL_STATUSES, (
            f"after {MOST_ROUNDS} rounds some are still {statuses - TERMINAL_STATUSES}"
        )
        self.books_agree()
        self.money_is_neither_made_nor_lost()
        self.a_payment_has_one_end()


def _order(transaction_id: str, done: list[tuple[Command, CommandResult]]) -> Pay:
    return next(
        command
        for command, _ in done
        if isinstance(command, Pay) and command.transaction_id == transaction_id
    )


def _word_of_honour(work: ProviderCall) -> Answer:
    """Sold, or never to be: every other payment."""
    _, payment, _ = work.reference.split("-")
    number = int(payment.removeprefix("t"))
    return delivered(token=f"{number:020}") if number % 2 else NOTHING_DELIVERED


def run(history: type[History], *, share: int, steps: int) -> None:
    """So many histories in a hundred of those that the Hypothesis profile asks for."""
    of_profile = hypothesis.settings.default
    assert of_profile is not None
    nightly = of_profile.stateful_step_count > STEPS_OF_DEFAULT
    run_state_machine_as_test(
        history,
        settings=hypothesis.settings(
            of_profile,
            max_examples=max(1, of_profile.max_examples * share // 100),
            stateful_step_count=of_profile.stateful_step_count if nightly else steps,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[phase for phase in hypothesis.Phase if phase is not hypothesis.Phase.explain],
        ),
    )


@pytest.mark.timeout(4 * 3_600)  # nightly
def test_any_history_on_sqlite(sqlite_books: Path, tmp_path: Path) -> None:
    class OnSqlite(History):
        def new_books(self) -> None:
            folder = tempfile.mkdtemp(dir=tmp_path)
            self.path = shutil.copy(sqlite_books, Path(folder) / "books.db")

        def open_books(self) -> Database:
            return Database(f"sqlite:///{self.path}")

    run(OnSqlite, share=25, steps=30)


@pytest.mark.timeout(4 * 3_600)  # nightly
def test_any_history_on_postgresql(postgres_books: Database) -> None:
    class OnPostgresql(History):
        def new_books(self) -> None:
            empty(postgres_books)

        def open_books(self) -> Database:
            return Database(postgres_books.url.render_as_string(hide_password=False))

    run(OnPostgresql, share=5, steps=30)
