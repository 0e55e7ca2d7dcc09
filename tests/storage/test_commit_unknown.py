"""The connection breaks around COMMIT. No caller gets "nothing was done" unless that is true."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice

import pytest

from billvend.adapters.storage.journal import SqlJournal
from billvend.domain.decisions.commands import Command, Executed, Pay
from billvend.domain.enums import Status
from billvend.domain.errors import OutcomeUnknown, Unavailable
from tests.storage.concurrency import run_in_threads
from tests.storage.db_proxy import DbProxy, db_proxy_to
from tests.storage.harness import (
    POSTGRES,
    JournalHarness,
    delivered,
    expect_executed,
    open_harness,
    result_codes,
)

WHERE = pytest.mark.parametrize("where", ["before", "after"])


@dataclass
class ProxiedHarness:
    """A harness behind the proxy, and one with a direct connection that sees what is really stored."""

    harness: JournalHarness
    proxy: DbProxy
    direct: JournalHarness

    def give_up_after(self, seconds: float) -> None:
        """How long an interrupted commit waits for the database to come back."""
        self.harness.journal = SqlJournal(self.harness.database, reconnect_timeout_seconds=seconds)

    def row_counts(self) -> tuple[int, int, int]:
        """How many payments, events and commands are stored."""
        ((counts),) = self.direct.rows(
            "SELECT (SELECT count(*) FROM transactions WHERE type = 'payment'),"
            " (SELECT count(*) FROM events), (SELECT count(*) FROM commands)"
        )
        payments, events, commands = counts
        return payments, events, commands


@pytest.fixture
def proxied(url: str) -> Iterator[ProxiedHarness]:
    with (
        open_harness(url, name="direct") as direct,
        db_proxy_to(url) as proxy,
        open_harness(proxy.url) as harness,
    ):
        harness.add_funds(minor=10_000)
        yield ProxiedHarness(harness, proxy, direct)


pytestmark = pytest.mark.parametrize("url", [POSTGRES], indirect=True)


@WHERE
def test_interrupted_commit_is_resolved_by_key(proxied: ProxiedHarness, where: str) -> None:
    pay = proxied.harness.pay(minor=1_000)
    proxied.proxy.cut(where)
    done = proxied.harness.execute_one(pay)
    assert (done.result.transaction_id, done.result.status, done.result.balance_minor) == (
        *(pay.transaction_id, Status.PENDING, 9_000),
    )
    assert proxied.row_counts() == (1, 3, 2)
    assert proxied.direct.balance() == (9_000, 1_000)
    assert proxied.direct.audit().ok


@WHERE
def test_interrupted_batch_commit_returns_every_reply(proxied: ProxiedHarness, where: str) -> None:
    fund, twice = proxied.harness.fund(minor=1), proxied.harness.pay(minor=9_000)
    commands: list[Command] = [
        fund,
        twice,
        twice,
        proxied.harness.pay(minor=2_000),
        proxied.harness.pay("unknown"),
        proxied.harness.fund("ben"),
    ]
    proxied.proxy.cut(where)
    results = proxied.harness.execute(*commands)
    fresh = {"done", "replayed"} if where == "after" else {"done"}
    became = result_codes(results)
    assert {became[place] for place in (0, 1, 5)} <= fresh
    assert became[2:5] == ["replayed", "insufficient_funds", "wallet_not_found"]
    assert [result.result.balance_minor for result in results if isinstance(result, Executed)] == [
        10_001,
        1_001,
        1_001,
        10_000,
    ]
    assert proxied.row_counts() == (1, 5, 4)
    assert proxied.direct.audit().ok


@WHERE
def test_interrupted_claim_gives_work_to_one_worker(proxied: ProxiedHarness, where: str) -> None:
    pay = proxied.harness.accept_payment()
    proxied.proxy.cut(where)
    claims = [proxied.harness.claim(pay) for _ in range(4)]
    results = run_in_threads(*(partial(proxied.harness.execute_one, claim) for claim in claims))
    assert sum(done.result.provider_call is not None for done in results) == 1
    assert proxied.direct.rows("SELECT sends FROM attempts") == [(1,)]


@WHERE
def test_interrupted_answer_is_recorded_once(proxied: ProxiedHarness, where: str) -> None:
    pay = proxied.harness.accept_payment(minor=1_000)
    work = proxied.harness.claim_work(pay)
    proxied.proxy.cut(where)
    assert (
        proxied.harness.execute_one(proxied.harness.report(pay, work, delivered())).result.status
        is Status.COMPLETED
    )
    assert proxied.direct.accounts() == {"wallet": 9_000, "provider:sandbox": 1_000}
    assert proxied.direct.audit().ok


def test_repeatedly_interrupted_commit_succeeds(proxied: ProxiedHarness) -> None:
    proxied.proxy.cut("before", "before", "after", "after")
    pay = proxied.harness.pay(minor=1_000)
    assert proxied.harness.execute_one(pay).result.balance_minor == 9_000
    assert proxied.proxy.commits >= 4
    assert proxied.row_counts() == (1, 3, 2)


@WHERE
def test_outcome_is_unknown_while_database_stays_down(proxied: ProxiedHarness, where: str) -> None:
    proxied.give_up_after(0.2)
    pays = [proxied.harness.pay(minor=1_000, key="order-1"), proxied.harness.pay(minor=2_000, key="order-2")]
    proxied.proxy.cut(where, stay_down=True)
    results = proxied.harness.execute(*pays)
    for pay, result in zip(pays, results, strict=True):
        assert isinstance(result, OutcomeUnknown)
        assert (result.transaction_id, result.idempotency_key) == (pay.transaction_id, pay.key)
        assert pay.key in str(result)
        assert "\n" not in str(result)
    assert proxied.row_counts()[0] == (2 if where == "after" else 0)
    # still down: no caller may learn that nothing was done before, nor that it was
    with pytest.raises(Unavailable):
        proxied.harness.execute(pays[0])
    proxied.proxy.start()
    repeated = expect_executed(proxied.harness.execute(*pays))
    assert [done.replayed for done in repeated] == [where == "after"] * 2
    assert [done.result.transaction_id for done in repeated] == [pay.transaction_id for pay in pays]
    assert proxied.row_counts() == (2, 5, 3)
    assert proxied.direct.audit().ok


def test_connection_lost_before_commit_changes_nothing(proxied: ProxiedHarness) -> None:
    before = proxied.direct.all_rows()
    for statement in (b"INSERT INTO events", b"INSERT INTO commands", b"FOR UPDATE", b"BEGIN"):
        proxied.proxy.cut_at(statement)
        with pytest.raises(Unavailable, match="Nothing was done"):
            proxied.harness.execute(proxied.harness.pay())
        assert proxied.direct.all_rows() == before
    assert result_codes(proxied.harness.execute(proxied.harness.pay())) == ["done"]


def test_database_down_is_unavailable_and_recovers(proxied: ProxiedHarness) -> None:
    before = proxied.direct.all_rows()
    proxied.proxy.stop()
    pay = proxied.harness.pay()
    operations: list[Callable[[], object]] = [
        lambda: proxied.harness.execute(pay),
        lambda: proxied.harness.execute(pay, proxied.harness.fund()),
        lambda: proxied.harness.journal.take_due_payments(proxied.harness.now, 10, 60),
        lambda: proxied.harness.balance(),
        lambda: proxied.harness.payment(pay),
        lambda: proxied.harness.audit(),
        lambda: proxied.harness.queries.backlog(proxied.harness.now),
    ]
    for operation in operations:
        with pytest.raises(Unavailable) as refusal:
            operation()
        assert "\n" not in str(refusal.value)
    assert proxied.direct.all_rows() == before
    proxied.proxy.start()
    assert result_codes(proxied.harness.execute(pay)) == ["done"]
    assert proxied.harness.audit().ok


def test_restarted_server_is_used_without_error(proxied: ProxiedHarness) -> None:
    """The connections that the pool still holds are dead. Each is checked before it is used."""
    run_in_threads(*[lambda: proxied.harness.balance()] * 6)
    proxied.proxy.stop()
    proxied.proxy.start()
    assert proxied.harness.balance() == (10_000, 0)
    assert result_codes(proxied.harness.execute(proxied.harness.pay())) == ["done"]


def test_interrupted_query_is_unavailable(proxied: ProxiedHarness) -> None:
    proxied.proxy.cut_at(b"FROM transactions")
    with pytest.raises(Unavailable):
        proxied.harness.queries.backlog(proxied.harness.now)
    assert proxied.harness.queries.backlog(proxied.harness.now).due == 0


def test_interrupted_audit_is_unavailable(proxied: ProxiedHarness) -> None:
    """The connection breaks long after the first rows were read."""
    proxied.harness.execute(*(proxied.harness.fund("ben", 1) for _ in range(1_200)))
    proxied.proxy.cut_at(b"FETCH FORWARD", time=12)
    with pytest.raises(Unavailable, match="does not answer"):
        proxied.harness.audit()
    assert proxied.harness.audit().ok


def test_repeating_callers_pay_once_each(proxied: ProxiedHarness) -> None:
    proxied.harness.execute_one(proxied.harness.fund(minor=1_000_000))
    proxied.proxy.cut(*islice(cycle(["pass", "after", "pass", "pass", "before"]), 120))
    pays = [proxied.harness.pay(minor=1_000) for _ in range(48)]

    def caller(mine: list[Pay]) -> Counter[str]:
        became: Counter[str] = Counter()
        for pay in mine:
            while (code := _result_code(proxied.harness, pay)) not in ("done", "replayed"):
                became[code] += 1
            became["ended"] += 1
        return became

    became = sum(run_in_threads(*(partial(caller, pays[part::6]) for part in range(6))), Counter())
    assert became["ended"] == 48
    assert proxied.row_counts() == (48, 2 + 48 * 2, 2 + 48)
    assert proxied.direct.balance() == (1_010_000 - 48_000, 48_000)
    assert proxied.direct.audit().ok


def _result_code(harness: JournalHarness, pay: Pay) -> str:
    try:
        return result_codes(harness.execute(pay))[0]
    except Unavailable as error:
        return error.code
