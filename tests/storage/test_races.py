"""Many at once, in threads and in processes: the results are those of one after the other."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from billvend.adapters.storage.database import Database
from billvend.domain.decisions.commands import Command, Executed
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.enums import Proof, Status
from billvend.domain.outcome import Answer, Unknown
from billvend.domain.policy.accounts import Mode
from tests.storage.concurrency import pay_and_claim, run_in_processes, run_in_threads
from tests.storage.harness import (
    NOTHING_DELIVERED,
    JournalHarness,
    database_errors,
    delivered,
    expect_executed,
    open_harness,
    result_codes,
)

pytestmark = pytest.mark.long


@pytest.fixture
def harness(url: str) -> Iterator[JournalHarness]:
    with open_harness(url) as harness:
        yield harness


def execute_concurrently(harness: JournalHarness, *commands: Command) -> list[CommandOutcome]:
    """The results of commands that are all submitted at the same time, each in its thread."""
    results = run_in_threads(*(partial(harness.execute, command) for command in commands))
    return [result for (result,) in results]


RACES: dict[str, tuple[int, Callable[[JournalHarness, int], Command], dict[str, int], tuple[int, int]]] = {
    # What is in the wallet before, the command with each number, how many get each result, and the balance then.
    "payments for more than there is": (
        10_000,
        lambda harness, _: harness.pay(minor=1_000),
        {"done": 10, "insufficient_funds": 10},
        (0, 10_000),
    ),
    "payments with one key": (
        100_000,
        lambda harness, _: harness.pay(minor=1_000, key="order-42"),
        {"done": 1, "replayed": 19},
        (99_000, 1_000),
    ),
    "fundings of a new wallet": (
        0,
        lambda harness, number: harness.fund(minor=1 << number),
        {"done": 20},
        ((1 << 20) - 1, 0),
    ),
    "fundings with one key": (
        0,
        lambda harness, _: harness.fund(minor=7, key="fund-1"),
        {"done": 1, "replayed": 19},
        (7, 0),
    ),
}


@pytest.mark.parametrize("race", RACES)
def test_concurrent_commands_have_the_results_of_a_serial_order(harness: JournalHarness, race: str) -> None:
    funded, command, results, balance = RACES[race]
    if funded:
        harness.add_funds(minor=funded)
    outcomes = execute_concurrently(harness, *(command(harness, number) for number in range(20)))
    assert Counter(result_codes(outcomes)) == results
    done = {outcome.result.transaction_id for outcome in outcomes if isinstance(outcome, Executed)}
    assert len(done) == results["done"]
    assert harness.balance() == balance
    assert harness.audit().ok


def test_separate_engines_do_not_overspend_a_wallet(url: str, harness: JournalHarness) -> None:
    """Through twenty engines that share nothing but the database."""
    harness.add_funds(minor=10 * 1_000)
    databases = [Database(url) for _ in range(20)]
    harnesses = [JournalHarness(database, name=f"p{number:02}-") for number, database in enumerate(databases)]
    results = run_in_threads(*(partial(one.execute, one.pay(minor=1_000)) for one in harnesses))
    for database in databases:
        database.close()
    assert Counter(result_codes([result for (result,) in results])) == {"done": 10, "insufficient_funds": 10}
    assert harness.audit().ok


def test_concurrent_fundings_in_two_currencies_with_one_key_fund_one(harness: JournalHarness) -> None:
    """They lock different rows: only the unique key prevents a second funding."""
    funds = [harness.fund(key="fund-1", currency="NGN" if even else "KES") for even in [True, False] * 8]
    outcome = Counter(result_codes(execute_concurrently(harness, *funds)))
    assert outcome == {"done": 1, "replayed": 7, "idempotency_mismatch": 8}
    assert harness.rows("SELECT count(*) FROM events") == [(1,)]
    assert harness.audit().ok


def test_one_of_concurrent_claims_gets_work(harness: JournalHarness) -> None:
    harness.add_funds(minor=100_000)
    for _ in range(4):
        pay = harness.accept_payment()
        claims = [harness.claim(pay) for _ in range(16)]
        done = expect_executed(execute_concurrently(harness, *claims))
        assert sum(each.result.provider_call is not None for each in done) == 1
    assert harness.rows("SELECT count(*), sum(sends) FROM attempts") == [(4, 4)]
    assert harness.audit().ok


def test_concurrent_cancel_and_claim_have_one_winner(harness: JournalHarness) -> None:
    harness.add_funds(minor=100_000)
    for _ in range(6):
        pay = harness.accept_payment()
        claims = [harness.claim(pay) for _ in range(4)]
        cancels = [harness.cancel(pay) for _ in range(4)]
        results = execute_concurrently(harness, *claims, *cancels)
        working = sum(
            isinstance(result, Executed) and result.result.provider_call is not None for result in results[:4]
        )
        cancelled = result_codes(results[4:]).count("done")
        assert (working, cancelled) in ((1, 0), (0, 1))
        assert harness.status(pay) is (Status.PROCESSING if working else Status.REVERSED)
    assert harness.audit().ok


def test_concurrent_delivery_and_reversal_have_one_winner(harness: JournalHarness) -> None:
    """The first decision is final: the money is spent, or it is released and the delivery is our loss. Never both."""
    harness.add_funds(minor=100_000)
    for number in range(6):
        pay = harness.accept_payment(minor=1_000)
        work = harness.claim_work(pay)
        harness.execute_one(harness.report(pay, work, NOTHING_DELIVERED))
        report = harness.report(pay, work, delivered(f"{number:020}"))
        claims = [harness.claim(pay) for _ in range(3)]
        expect_executed(execute_concurrently(harness, report, *claims))
        payment = harness.payment(pay)
        if payment.status is Status.COMPLETED:
            assert (payment.proof, payment.incidents) == (None, ())
        else:
            assert (payment.proof, len(payment.incidents)) == (Proof.DECLINED, 1)
    (ended,) = harness.rows("SELECT count(*) FROM resolutions")
    assert ended == (6,)
    assert harness.balance()[1] == 0
    assert harness.audit().ok


def test_readers_see_consistent_state_during_writes(harness: JournalHarness) -> None:
    """An audit of many tables agrees: what left the available balance is held, though the audit reads them one after
    the other."""
    harness.add_funds(minor=1_000)
    writing = [True]

    def write() -> list[str]:
        try:
            for _ in range(30):
                pay = harness.accept_payment(minor=100)
                harness.answer(pay, NOTHING_DELIVERED)
                harness.execute_one(harness.claim(pay))
        finally:
            writing.clear()
        return []

    def audit() -> list[str]:
        found: list[str] = []
        while writing:
            found += harness.audit().differences
        return found

    def look() -> list[str]:
        found: list[str] = []
        while writing:
            spendable, held = harness.balance()
            found += [f"{spendable} + {held}"] * (spendable + held != 1_000)
        return found

    assert run_in_threads(write, audit, look, look) == [[], [], [], []]


def test_concurrent_sweeps_return_each_payment_once(harness: JournalHarness) -> None:
    harness.add_funds(minor=1_000_000)
    pays = [harness.pay(minor=1) for _ in range(200)]
    expect_executed(harness.execute(*pays))

    def sweep() -> list[str]:
        found: list[str] = []
        while due := harness.journal.take_due_payments(harness.now, 7, 60):
            found += [each.transaction_id for each in due]
        return found

    found = [each for swept in run_in_threads(*[sweep] * 6) for each in swept]
    assert sorted(found) == sorted(pay.transaction_id for pay in pays)


def test_concurrent_environment_writes_keep_the_first(harness: JournalHarness) -> None:
    modes = [Mode.TEST, Mode.LIVE] * 6
    stamped = run_in_threads(
        *(partial(JournalHarness(harness.database).journal.bind_environment, mode) for mode in modes)
    )
    assert len(set(stamped)) == 1


def test_new_wallets_in_opposite_batch_orders_are_created(harness: JournalHarness) -> None:
    """The unique indexes make the lists wait for each other crosswise. The database breaks the deadlock; no caller sees
    it."""
    users = [f"user{number}" for number in range(12)]
    lists = [[harness.fund(user, 1) for user in users[:: 1 if even else -1]] for even in [True, False] * 4]
    for results in run_in_threads(*(partial(harness.execute, *funds) for funds in lists)):
        assert set(result_codes(results)) == {"done"}
    assert [harness.balance(user) for user in users] == [(8, 0)] * 12
    assert harness.audit().ok


def test_wallets_are_locked_in_one_order(harness: JournalHarness) -> None:
    users = [f"user{number}" for number in range(12)]
    expect_executed(harness.execute(*(harness.fund(user, 1_000_000) for user in users)))

    def worker(seed: int) -> None:
        dice = random.Random(seed)  # noqa: S311
        for _ in range(6):
            expect_executed(
                harness.execute(*(harness.pay(user, 1) for user in dice.sample(users, len(users))))
            )

    with database_errors(harness) as errors:
        run_in_threads(*(partial(worker, seed) for seed in range(8)))
    assert errors == []  # not even a deadlock that was resolved
    assert [harness.balance(user)[1] for user in users] == [48] * len(users)


def test_random_concurrent_batches_on_same_wallets_balance(harness: JournalHarness) -> None:
    users = [f"user{number}" for number in range(5)]
    expect_executed(harness.execute(*(harness.fund(user, 1_000_000) for user in users)))
    pays = [harness.pay(user, 1_000) for user in users for _ in range(12)]
    expect_executed(harness.execute(*pays))
    by_id = {pay.transaction_id: pay for pay in pays}

    def worker(seed: int) -> set[str]:
        dice = random.Random(seed)  # noqa: S311
        answers: list[Answer] = [delivered(cost_minor=990), NOTHING_DELIVERED, Unknown("no answer")]
        seen: set[str] = set()
        for _ in range(6):
            mine: list[Command] = []
            for pay in dice.sample(pays, 8):
                mine += [harness.claim(pay), harness.fund(pay.user_id, 5), harness.pay(pay.user_id, 5)]
                mine += [harness.cancel(pay)] * (dice.random() < 0.2)
            dice.shuffle(mine)
            results = harness.execute(*mine)
            seen.update(result_codes(results))
            reports = [
                harness.report(
                    by_id[result.result.transaction_id], result.result.provider_call, dice.choice(answers)
                )
                for result in results
                if isinstance(result, Executed) and result.result.provider_call is not None
            ]
            seen.update(result_codes(harness.execute(*reports)))
        return seen

    with database_errors(harness) as errors:
        seen: set[str] = set().union(*run_in_threads(*(partial(worker, seed) for seed in range(8))))
    assert seen <= {"done", "already_sent"}
    assert errors == []
    funded = harness.rows("SELECT sum(amount_minor) FROM transactions WHERE type = 'funding'")[0][0]
    accounts = harness.accounts()
    assert sum(accounts.values()) == funded
    assert accounts["wallet"] == sum(harness.balance(user)[0] for user in users)
    found = harness.audit()
    assert (found.differences, found.unlisted_differences) == ([], 0)


# --- processes --------------------------------------------------------------------------------------------------------


def test_two_processes_on_one_ledger_do_not_double_work(url: str, harness: JournalHarness) -> None:
    harness.add_funds(minor=15 * 1_000)
    results = run_in_processes(pay_and_claim, url, "p", "q")
    became = Counter(each for paid, _ in results for each in paid)
    assert became == {"done": 15, "replayed": 15, "insufficient_funds": 10}
    assert sum(works for _, works in results) == 15
    assert harness.balance() == (0, 15_000)
    assert harness.rows("SELECT count(*), sum(sends) FROM attempts") == [(15, 15)]
    assert harness.audit().ok
