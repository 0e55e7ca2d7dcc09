"""The connection breaks where it hurts most: around COMMIT. Nobody is told "nothing was done" unless that is so."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice

import pytest

from billvend.adapters.storage.journal import SqlJournal
from billvend.domain.decisions.commands import Command, Executed, Pay
from billvend.domain.enums import Status
from billvend.domain.errors import OutcomeUnknown, Unavailable
from tests.storage.rivals import at_once
from tests.storage.till import POSTGRES, Till, all_done, delivered, named, open_till
from tests.storage.wire import Wire, wire_to

WHERE = pytest.mark.parametrize("where", ["before", "after"])


@dataclass
class Far:
    """A till at the far end of a wire, and another that stands beside the server and sees what is really there."""

    till: Till
    wire: Wire
    near: Till

    def give_up_after(self, seconds: float) -> None:
        """How long a cut-off commit waits for the database to come back."""
        self.till.journal = SqlJournal(self.till.database, reconnect_timeout_seconds=seconds)

    def effects(self) -> tuple[int, int, int]:
        """How many payments, events and commands are on the books."""
        ((counts),) = self.near.rows(
            "SELECT (SELECT count(*) FROM transactions WHERE type = 'payment'),"
            " (SELECT count(*) FROM events), (SELECT count(*) FROM commands)"
        )
        payments, events, commands = counts
        return payments, events, commands


@pytest.fixture
def far(url: str) -> Iterator[Far]:
    with open_till(url, name="near") as near, wire_to(url) as wire, open_till(wire.url) as till:
        till.funded(minor=10_000)
        yield Far(till, wire, near)


pytestmark = pytest.mark.parametrize("url", [POSTGRES], indirect=True)


@WHERE
def test_a_commit_that_was_cut_off_is_settled_by_its_key(far: Far, where: str) -> None:
    pay = far.till.pay(minor=1_000)
    far.wire.cut(where)
    done = far.till.done(pay)
    assert (done.result.transaction_id, done.result.status, done.result.balance_minor) == (
        *(pay.transaction_id, Status.PENDING, 9_000),
    )
    assert far.effects() == (1, 3, 2)
    assert far.near.balance() == (9_000, 1_000)
    assert far.near.audit().ok


@WHERE
def test_every_command_of_a_list_gets_its_reply(far: Far, where: str) -> None:
    fund, twice = far.till.fund(minor=1), far.till.pay(minor=9_000)
    commands: list[Command] = [
        fund,
        twice,
        twice,
        far.till.pay(minor=2_000),
        far.till.pay("nobody"),
        far.till.fund("ben"),
    ]
    far.wire.cut(where)
    results = far.till.do(*commands)
    fresh = {"done", "replayed"} if where == "after" else {"done"}
    became = named(results)
    assert {became[place] for place in (0, 1, 5)} <= fresh
    assert became[2:5] == ["replayed", "insufficient_funds", "wallet_not_found"]
    assert [result.result.balance_minor for result in results if isinstance(result, Executed)] == [
        10_001,
        1_001,
        1_001,
        10_000,
    ]
    assert far.effects() == (1, 5, 4)
    assert far.near.audit().ok


@WHERE
def test_the_claimer_whose_commit_was_cut_off_still_gets_its_work_and_only_it(far: Far, where: str) -> None:
    pay = far.till.paid()
    far.wire.cut(where)
    claims = [far.till.claim(pay) for _ in range(4)]
    results = at_once(*((lambda claim=claim: far.till.done(claim)) for claim in claims))
    assert sum(done.result.provider_call is not None for done in results) == 1
    assert far.near.rows("SELECT sends FROM attempts") == [(1,)]


@WHERE
def test_a_report_that_was_cut_off_is_written_once(far: Far, where: str) -> None:
    pay = far.till.paid(minor=1_000)
    work = far.till.working(pay)
    far.wire.cut(where)
    assert far.till.done(far.till.report(pay, work, delivered())).result.status is Status.COMPLETED
    assert far.near.accounts() == {"wallet": 9_000, "provider:sandbox": 1_000}
    assert far.near.audit().ok


def test_a_wire_that_is_cut_again_and_again(far: Far) -> None:
    far.wire.cut("before", "before", "after", "after")
    pay = far.till.pay(minor=1_000)
    assert far.till.done(pay).result.balance_minor == 9_000
    assert far.wire.commits >= 4
    assert far.effects() == (1, 3, 2)


@WHERE
def test_while_the_database_stays_away_the_outcome_is_unknown(far: Far, where: str) -> None:
    far.give_up_after(0.2)
    pays = [far.till.pay(minor=1_000, key="order-1"), far.till.pay(minor=2_000, key="order-2")]
    far.wire.cut(where, stay_away=True)
    results = far.till.do(*pays)
    for pay, result in zip(pays, results, strict=True):
        assert isinstance(result, OutcomeUnknown)
        assert (result.transaction_id, result.idempotency_key) == (pay.transaction_id, pay.key)
        assert pay.key in str(result)
        assert "\n" not in str(result)
    assert far.effects()[0] == (2 if where == "after" else 0)
    # it is still away: still nobody is told that nothing was done before, nor that it was
    with pytest.raises(Unavailable):
        far.till.do(pays[0])
    far.wire.bring_back()
    repeated = all_done(far.till.do(*pays))
    assert [done.replayed for done in repeated] == [where == "after"] * 2
    assert [done.result.transaction_id for done in repeated] == [pay.transaction_id for pay in pays]
    assert far.effects() == (2, 5, 3)
    assert far.near.audit().ok


def test_a_connection_that_breaks_before_commit_did_nothing(far: Far) -> None:
    before = far.near.everything()
    for said in (b"INSERT INTO events", b"INSERT INTO commands", b"FOR UPDATE", b"BEGIN"):
        far.wire.cut_at(said)
        with pytest.raises(Unavailable, match="Nothing was done"):
            far.till.do(far.till.pay())
        assert far.near.everything() == before
    assert named(far.till.do(far.till.pay())) == ["done"]


def test_a_database_that_is_away_is_said_to_be_and_found_again(far: Far) -> None:
    before = far.near.everything()
    far.wire.take_away()
    pay = far.till.pay()
    asking: list[Callable[[], object]] = [
        lambda: far.till.do(pay),
        lambda: far.till.do(pay, far.till.fund()),
        lambda: far.till.journal.take_due_payments(far.till.now, 10, 60),
        lambda: far.till.balance(),
        lambda: far.till.payment(pay),
        lambda: far.till.audit(),
        lambda: far.till.books.backlog(far.till.now),
    ]
    for ask in asking:
        with pytest.raises(Unavailable) as refusal:
            ask()
        assert "\n" not in str(refusal.value)
    assert far.near.everything() == before
    far.wire.bring_back()
    assert named(far.till.do(pay)) == ["done"]
    assert far.till.audit().ok


def test_a_server_that_was_started_anew_is_not_even_noticed(far: Far) -> None:
    """The connections that the pool still holds are dead, and each is tried before it is used."""
    at_once(*[lambda: far.till.balance()] * 6)
    far.wire.take_away()
    far.wire.bring_back()
    assert far.till.balance() == (10_000, 0)
    assert named(far.till.do(far.till.pay())) == ["done"]


def test_a_reading_that_breaks_off(far: Far) -> None:
    far.wire.cut_at(b"FROM transactions")
    with pytest.raises(Unavailable):
        far.till.books.backlog(far.till.now)
    assert far.till.books.backlog(far.till.now).due == 0


def test_an_audit_that_breaks_off_finds_no_differences_but_says_so(far: Far) -> None:
    """Long after its first rows were read."""
    far.till.do(*(far.till.fund("ben", 1) for _ in range(1_200)))
    far.wire.cut_at(b"FETCH FORWARD", time=12)
    with pytest.raises(Unavailable, match="does not answer"):
        far.till.audit()
    assert far.till.audit().ok


def test_callers_who_repeat_until_it_is_done_pay_once_each(far: Far) -> None:
    far.till.done(far.till.fund(minor=1_000_000))
    far.wire.cut(*islice(cycle(["pass", "after", "pass", "pass", "before"]), 120))
    pays = [far.till.pay(minor=1_000) for _ in range(48)]

    def caller(mine: list[Pay]) -> Counter[str]:
        became: Counter[str] = Counter()
        for pay in mine:
            while (said := _tried(far.till, pay)) not in ("done", "replayed"):
                became[said] += 1
            became["ended"] += 1
        return became

    became = sum(at_once(*((lambda part=part: caller(pays[part::6])) for part in range(6))), Counter())
    assert became["ended"] == 48
    assert far.effects() == (48, 2 + 48 * 2, 2 + 48)
    assert far.near.balance() == (1_010_000 - 48_000, 48_000)
    assert far.near.audit().ok


def _tried(till: Till, pay: Pay) -> str:
    try:
        return named(till.do(pay))[0]
    except Unavailable as error:
        return error.code
