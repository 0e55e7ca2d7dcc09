"""Any history: commands, claims, answers, time, crashes and repeats in any order. After every step the balances add up.

In the end, a provider that answers truthfully can finish every payment.
"""

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
from tests.storage.harness import (
    ANSWERS,
    NOTHING_DELIVERED,
    JournalHarness,
    delivered,
    provider_account,
    truncate_all,
)

pytestmark = pytest.mark.long

USERS = ["ada", "Émile"]
TWO_PROVIDERS = Policy(accounts=(provider_account("sandbox"), provider_account("backup")))
REJECTIONS = ("insufficient_funds", "wallet_not_found", "likely_duplicate", "already_sent")
STEPS_OF_DEFAULT = 50
MAX_PAYMENTS = 6
MAX_ROUNDS = 60
"""Answers with which every payment ends, once the provider answers clearly."""

users = st.sampled_from(USERS)
amounts = st.integers(1, 2_000)
answers = st.sampled_from(ANSWERS)
seconds = st.sampled_from([0, 1, 5, 20, 61, 600, 3_600, 90_000]) | st.integers(0, 10_000)


class JournalHistory(RuleBasedStateMachine):
    """A journal under random commands."""

    payments = Bundle("payments")
    calls = Bundle("calls")

    def new_ledger(self) -> None:
        """Before each history."""
        raise NotImplementedError

    def open_ledger(self) -> Database:
        """The same database throughout one history."""
        raise NotImplementedError

    @initialize(target=payments, minors=st.lists(amounts, min_size=1, max_size=4))
    def open_harness(self, minors: list[int]) -> object:
        self.new_ledger()
        self.harness = JournalHarness(self.open_ledger(), policy=TWO_PROVIDERS)
        self.funded: Counter[str] = Counter()
        self.executed: list[tuple[Command, CommandResult]] = []
        self.last_seen: dict[str, Status] = {}
        for user in USERS:
            self.fund(user, 10_000)
        pays = [self.harness.pay(USERS[0], minor) for minor in minors]
        self.execute(*pays)
        return multiple(*pays)

    def execute(self, *commands: Command) -> list[Executed | None]:
        """The result; None for a rejection."""
        found: list[Executed | None] = []
        for command, result in zip(commands, self.harness.execute(*commands), strict=True):
            if isinstance(result, Executed):
                found.append(result)
                if not result.replayed:
                    self.executed.append((command, result.result))
            else:
                assert result.code in REJECTIONS
                found.append(None)
        return found

    # --- people -------------------------------------------------------------------------------------------------------

    @rule(user=users, minor=amounts)
    def fund(self, user: str, minor: int) -> None:
        self.execute(self.harness.fund(user, minor))
        self.funded[user] += minor

    @rule(
        target=payments,
        user=users,
        minor=amounts,
        given=st.booleans(),
        vend_type=st.sampled_from(list(VendType)),
    )
    def pay(self, user: str, minor: int, *, given: bool, vend_type: VendType) -> object:
        pay = self.harness.pay(user, minor, has_caller_key=given, vend_type=vend_type)
        (done,) = self.execute(pay)
        return multiple() if done is None else pay

    @rule(pay=payments, sure=st.sampled_from([True, False, False]))
    def cancel(self, pay: Pay, *, sure: bool) -> None:
        if sure:
            self.execute(self.harness.cancel(pay))

    # --- workers ------------------------------------------------------------------------------------------------------

    @rule(target=calls, pay=payments, early=st.booleans())
    def claim(self, pay: Pay, *, early: bool) -> object:
        if early:
            self.execute(self.harness.request_requery(pay))
        (done,) = self.execute(self.harness.claim(pay))
        assert done is not None
        return multiple() if done.result.provider_call is None else (pay, done.result.provider_call)

    @rule(call=calls, answer=answers)
    def report(self, call: tuple[Pay, ProviderCall], answer: Answer) -> None:
        """Once or again, at once or long after all leases ran out."""
        pay, work = call
        (done,) = self.execute(self.harness.report(pay, work, answer))
        assert done is not None

    @rule(target=calls, pay=payments, replies=st.lists(answers, min_size=1, max_size=4))
    def work(self, pay: Pay, replies: list[Answer]) -> object:
        """As a worker without faults: for a while, whenever the payment is due."""
        calls: list[tuple[Pay, ProviderCall]] = []
        for answer in replies:
            (done,) = self.execute(self.harness.claim(pay))
            assert done is not None
            if done.result.provider_call is not None:
                calls.append((pay, done.result.provider_call))
                self.report(calls[-1], answer)
            elif done.result.next_at is not None:
                self.harness.now = max(self.harness.now, done.result.next_at)
        return multiple(*calls)

    @rule(target=calls, limit=st.integers(1, 5))
    def sweep(self, limit: int) -> object:
        due = self.harness.journal.take_due_payments(self.harness.now, limit, 60)
        claimed = self.execute(*(self.harness.claim_due(found) for found in due))
        return multiple(*self._works(claimed))

    @rule(
        target=calls,
        pays=st.lists(payments, min_size=1, max_size=4),
        cancelled=st.integers(0, 3),
        minor=amounts,
    )
    def work_in_one_batch(self, pays: list[Pay], cancelled: int, minor: int) -> object:
        """Everything in one transaction, some of it about the same payment."""
        claims: list[Command] = [self.harness.claim(pay) for pay in pays]
        cancels: list[Command] = [self.harness.cancel(pay) for pay in pays[:cancelled]]
        funding = self.harness.fund(USERS[0], minor)
        found = self.execute(*claims[::2], *cancels, funding, *claims[1::2])
        self.funded[USERS[0]] += minor
        return multiple(*self._works(found))

    def _works(self, found: list[Executed | None]) -> list[tuple[Pay, ProviderCall]]:
        return [
            (_order(done.result.transaction_id, self.executed), done.result.provider_call)
            for done in found
            if done is not None and done.result.provider_call is not None
        ]

    # --- environment --------------------------------------------------------------------------------------------------

    @rule(passed=seconds)
    def time_passes(self, passed: int) -> None:
        self.harness.advance(passed)

    @rule()
    def crash(self) -> None:
        self.harness.database.close()
        self.harness = self.harness.reopen(self.open_ledger())

    @precondition(lambda self: self.executed)
    @rule(which=st.integers(0, 1_000))
    def repeat(self, which: int) -> None:
        """Whatever was done before, and at any time: the same reply, and nothing changes."""
        command, reply = self.executed[which % len(self.executed)]
        before = self.harness.all_rows()
        if not any(command.key == row[2] for row in before["commands"]):
            return  # there was nothing to do then, so there is no result to remember
        (again,) = self.harness.execute(command)
        assert isinstance(again, Executed)
        assert (again.replayed, again.result) == (True, reply)
        assert self.harness.all_rows() == before

    # --- invariants ---------------------------------------------------------------------------------------------------

    @invariant()
    def audit_passes(self) -> None:
        audit = self.harness.audit()
        assert (audit.differences, audit.unlisted_differences) == ([], 0)

    @invariant()
    def payments_agree_with_the_ledger(self) -> None:
        payments = {user: self._payments(user) for user in USERS}
        self._money_is_conserved(payments)
        self._each_payment_has_one_resolution([each for mine in payments.values() for each in mine])

    def _money_is_conserved(self, payments: dict[str, list[Payment]]) -> None:
        spendable, open_, completed = (0, 0, 0)
        for user, mine in payments.items():
            held = sum(each.amount.amount_minor for each in mine if each.status not in TERMINAL_STATUSES)
            spent = sum(each.amount.amount_minor for each in mine if each.status is Status.COMPLETED)
            if (balance := self.harness.queries.balance(user, "NGN")) is not None:
                assert balance[0].amount_minor == self.funded[user] - held - spent
                assert balance[1].amount_minor == held
                spendable += balance[0].amount_minor
            open_ += held
            completed += spent
        net: Counter[str] = Counter()
        for source, target, minor in self.harness.rows("SELECT source, target, amount_minor FROM transfers"):
            net[source.partition(":")[0]] -= minor
            net[target.partition(":")[0]] += minor
        assert -net["funding"] == self.funded.total() == spendable + open_ + completed
        assert (net["wallet"], net["in_flight"]) == (spendable, open_)
        paid_for = net["provider"] + net["commission"] + net["recovered"] + net["loss"] + net["expense"]
        assert paid_for == completed
        assert max(net["loss"], net["expense"]) <= 0 <= min(net["commission"], net["recovered"])

    def _each_payment_has_one_resolution(self, payments: list[Payment]) -> None:
        ends = dict(self.harness.rows("SELECT transaction_id, kind FROM resolutions"))
        for payment in payments:
            id_, status = payment.transaction_id, payment.status
            assert ends.get(id_) == (status.value if status in TERMINAL_STATUSES else None)
            assert (payment.completion is not None) == (status is Status.COMPLETED)
            assert (payment.proof is not None) == (status in (Status.REVERSING, Status.REVERSED))
            before = self.last_seen.get(id_, status)
            assert before not in TERMINAL_STATUSES or before is status
            self.last_seen[id_] = status

    @invariant()
    def open_payments_are_due_some_time(self) -> None:
        """Every payment that has not ended has a due time, at which a sweep will find it."""
        forgotten = self.harness.rows(
            "SELECT transaction_id, status FROM transactions"
            " WHERE type = 'payment' AND status NOT IN ('completed', 'reversed') AND next_check_at IS NULL"
        )
        assert forgotten == []

    def _next_due(self) -> datetime | None:
        with self.harness.database.read_transaction() as connection:
            found: datetime | None = connection.scalar(sa.select(sa.func.min(transactions.c.next_check_at)))
        return found

    def _payments(self, user: str) -> list[Payment]:
        found = self.harness.queries.search(Search(user_id=user, kind="payment", limit=1_000))
        return [each.transaction for each in found if isinstance(each.transaction, Payment)]

    # --- the end ------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        if hasattr(self, "harness"):
            try:
                self._every_payment_ends()
            finally:
                self.harness.database.close()

    def _every_payment_ends(self) -> None:
        """The provider answers truthfully from now on. A worker handles whatever is due."""
        for round_ in range(MAX_ROUNDS):
            if all(payment.status in TERMINAL_STATUSES for user in USERS for payment in self._payments(user)):
                break
            some_time_later = self.harness.now + timedelta(seconds=60 * round_)
            self.harness.now = max(some_time_later, self._next_due() or some_time_later)
            for due in self.harness.journal.take_due_payments(self.harness.now, 1_000, 0):
                (done,) = self.execute(self.harness.claim_due(due))
                assert done is not None
                if work := done.result.provider_call:
                    pay = _order(due.transaction_id, self.executed)
                    self.execute(self.harness.report(pay, work, _clear_answer(pay)))
        statuses = {payment.status for user in USERS for payment in self._payments(user)}
        assert statuses <= TERMINAL_STATUSES, (
            f"after {MAX_ROUNDS} rounds some are still {statuses - TERMINAL_STATUSES}"
        )
        self.audit_passes()
        self.payments_agree_with_the_ledger()


def _order(transaction_id: str, done: list[tuple[Command, CommandResult]]) -> Pay:
    return next(
        command
        for command, _ in done
        if isinstance(command, Pay) and command.transaction_id == transaction_id
    )


def _clear_answer(pay: Pay) -> Answer:
    """Sold or declined for good: every other payment."""
    number = int(pay.transaction_id.removeprefix("t"))
    return delivered(token=f"{number:020}") if number % 2 else NOTHING_DELIVERED


def run(history: type[JournalHistory], *, share: int, steps: int) -> None:
    """Run the test with `share` percent of the examples of the Hypothesis profile."""
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
def test_random_histories_keep_all_invariants_on_sqlite(sqlite_template: Path, tmp_path: Path) -> None:
    class OnSqlite(JournalHistory):
        def new_ledger(self) -> None:
            folder = tempfile.mkdtemp(dir=tmp_path)
            self.path = shutil.copy(sqlite_template, Path(folder) / "billvend.db")

        def open_ledger(self) -> Database:
            return Database(f"sqlite:///{self.path}")

    run(OnSqlite, share=25, steps=30)


@pytest.mark.timeout(4 * 3_600)  # nightly
def test_random_histories_keep_all_invariants_on_postgresql(postgres_database: Database) -> None:
    class OnPostgresql(JournalHistory):
        def new_ledger(self) -> None:
            truncate_all(postgres_database)

        def open_ledger(self) -> Database:
            return Database(postgres_database.url.render_as_string(hide_password=False))

    run(OnPostgresql, share=5, steps=30)
