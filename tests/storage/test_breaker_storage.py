"""The contract of the breaker port, and of what the books and the journal are asked besides for people and for it."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from billvend.adapters.storage.account_status import SqlAccountStatuses
from billvend.adapters.storage.database import Database
from billvend.domain.decisions.commands import Command, Pay, Resolve
from billvend.domain.enums import OperatorDecision, Status
from billvend.domain.errors import Unavailable
from billvend.domain.money import Money
from billvend.domain.outcome import Answer, Declined, Delivered, NotFound, Unknown
from billvend.domain.policy.policy import Policy
from billvend.ports.account_status import AccountStatus, Exposure, by_account
from tests.storage.till import ANSWERS, NOW, TOKEN, Till, delivered, named, open_till, route, statements

ABSENT = NotFound("no such reference")
CLOSED = AccountStatus(
    "acme", "key-1", "the float is empty", NOW, True, 12_345, NOW - timedelta(microseconds=1)
)


@pytest.fixture
def breaker(till: Till) -> SqlAccountStatuses:
    return SqlAccountStatuses(till.database)


# --- the breaker ------------------------------------------------------------------------------------------------------


def test_nothing_is_known_at_first(breaker: SqlAccountStatuses) -> None:
    assert breaker.all() == []


@pytest.mark.parametrize(
    "state",
    [
        AccountStatus("acme", "key-1"),
        CLOSED,
        AccountStatus("acme", "key-1", float_minor=0),
        AccountStatus("acme", "key-1", float_minor=-(10**15)),
        AccountStatus("acme", "key-1", float_minor=9 * 10**18),
        AccountStatus("", "", "Ọ̀rọ̀ " * 500),
    ],
    ids=["new", "closed", "nothing", "owing", "huge", "long"],
)
def test_what_is_written_is_read(breaker: SqlAccountStatuses, state: AccountStatus) -> None:
    breaker.save(state)
    assert breaker.all() == [state]


def test_a_state_replaces_the_one_before_and_no_other(breaker: SqlAccountStatuses) -> None:
    other = AccountStatus("acme", "key-2", float_minor=5)
    elsewhere = AccountStatus("backup", "key-1", "because", NOW)
    for state in (CLOSED, other, elsewhere, AccountStatus("acme", "key-1")):
        breaker.save(state)
    assert by_account(breaker.all()) == {
        ("acme", "key-1"): AccountStatus("acme", "key-1"),
        ("acme", "key-2"): other,
        ("backup", "key-1"): elsewhere,
    }


@pytest.mark.parametrize("text", ["nul \0", "lone \ud800"])
def test_what_a_provider_says_stops_no_closing(breaker: SqlAccountStatuses, text: str) -> None:
    breaker.save(AccountStatus("acme", "key-1", text))
    (state,) = breaker.all()
    assert state.suspended_reason is not None


def test_what_one_process_writes_another_reads(url: str) -> None:
    with open_till(url) as one, open_till(url) as two:
        SqlAccountStatuses(one.database).save(CLOSED)
        assert SqlAccountStatuses(two.database).all() == [CLOSED]


def test_many_who_write_at_once_leave_one_row(url: str) -> None:
    with open_till(url) as till:
        breaker = SqlAccountStatuses(till.database)
        written = [AccountStatus("acme", "key-1", float_minor=number) for number in range(8)]
        threads = [threading.Thread(target=breaker.save, args=(state,)) for state in written]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (state,) = breaker.all()
        assert state in written


def test_with_the_database_away_it_says_so() -> None:
    database = Database("sqlite:////nowhere/at/all/books.db")
    with pytest.raises(Unavailable):
        SqlAccountStatuses(database).all()
    with pytest.raises(Unavailable):
        SqlAccountStatuses(database).save(CLOSED)
    database.close()


# --- exposures ------------------------------------------------------------------------------------------------------------


def asked(till: Till, *answers: Answer, minor: int = 1_000) -> Pay:
    """A payment that nobody answered, and about which the provider then said this."""
    pay = till.paid(minor=minor)
    till.told(pay, Unknown("no answer"))
    for answer in answers:
        till.told(pay, answer, early=True)
    return pay


def test_nothing_is_at_risk_at_first(till: Till) -> None:
    assert till.books.exposures(NOW) == []
    till.funded()
    till.paid()
    assert till.books.exposures(NOW) == []  # nothing was sent


def test_what_is_in_doubt_or_in_review_is_at_risk(till: Till) -> None:
    till.funded(minor=100_000)
    asked(till, minor=1_000)
    asked(till, Unknown("no answer"), minor=200)
    in_review = asked(till, Unknown("known", known_to_provider=True), ABSENT, minor=30)
    assert till.status(in_review) is Status.IN_REVIEW
    asked(till, delivered(), minor=4)
    asked(till, Declined("failed", about_transaction=True), minor=5)
    processing = till.paid(minor=6)
    till.working(processing)
    assert till.books.exposures(NOW) == [Exposure("sandbox", "here", 1_230, 6, 1)]


@pytest.mark.parametrize("user", ["ada", "ben"])
def test_the_money_of_all_users_counts(till: Till, user: str) -> None:
    for name in ("ada", user):
        till.funded(name)
        pay = till.paid(name, minor=700)
        till.told(pay, Unknown("no answer"))
    assert till.books.exposures(NOW) == [Exposure("sandbox", "here", 1_400, 2, 0)]


@pytest.mark.parametrize("answer", ANSWERS, ids=repr)
def test_only_the_latest_word_counts(till: Till, answer: Answer) -> None:
    """Not found, unless something else was said later; and whatever was said before it."""
    till.funded(minor=100_000)
    asked(till, ABSENT, answer)
    (risk,) = till.books.exposures(NOW)
    assert (risk.recent_attempts, risk.recent_not_found) == (1, int(isinstance(answer, NotFound)))


def test_what_began_before_is_not_lately(till: Till) -> None:
    till.funded(minor=100_000)
    asked(till, ABSENT)
    till.pass_time(600)
    asked(till, ABSENT, ABSENT)
    asked(till)
    assert till.books.exposures(NOW) == [Exposure("sandbox", "here", 3_000, 3, 2)]
    assert till.books.exposures(till.now) == [Exposure("sandbox", "here", 3_000, 2, 1)]
    assert till.books.exposures(till.now + timedelta(seconds=1)) == [Exposure("sandbox", "here", 3_000, 0, 0)]


def test_each_account_bears_its_own_risk(url: str) -> None:
    with open_till(url, policy=Policy(accounts=(route("acme"), route("backup")))) as till:
        till.funded(minor=100_000)
        asked(till, ABSENT, minor=100)
        pay = till.paid(minor=20)
        till.told(pay, Declined("not this one"))
        till.told(pay, Unknown("no answer"))
        assert sorted(till.books.exposures(NOW), key=repr) == [
            Exposure("acme", "here", 100, 2, 1),
            Exposure("backup", "here", 20, 1, 0),
        ]


def test_a_look_back_that_finds_nothing_is_no_risk(till: Till) -> None:
    till.policy = Policy(accounts=(replace(route("sandbox"), reference_lasts_a_day=True),))
    till.funded()
    pay = till.paid()
    till.pass_time(86_000)
    till.told(pay, ABSENT)
    assert [risk.recent_not_found for risk in till.books.exposures(NOW)] in ([], [0])


# --- what waits for people --------------------------------------------------------------------------------------------


def test_nobody_waits_at_first(till: Till) -> None:
    till.funded()
    till.paid()
    assert till.books.needing_review(10) == []


def test_who_waits_for_people(till: Till) -> None:
    """In review, or ended with an incident that nobody has seen; the oldest first, and no more than asked for."""
    till.funded(minor=100_000)
    known = Unknown("known", known_to_provider=True)
    with_incident = asked(till, delivered(), delivered("99999999999999999999"))
    asked(till)
    in_review = asked(till, known, ABSENT)
    asked(till, delivered("88888888888888888888"))
    second = asked(till, known, ABSENT)
    waiting = till.books.needing_review(10)
    expected = [with_incident, in_review, second]
    assert [found.transaction_id for found in waiting] == [pay.transaction_id for pay in expected]
    assert waiting == [till.payment(pay) for pay in expected]
    assert till.books.needing_review(2) == waiting[:2]
    till.done(resolve(till, with_incident, OperatorDecision.ACKNOWLEDGED))
    till.done(resolve(till, in_review, OperatorDecision.REVERSE))
    assert [found.transaction_id for found in till.books.needing_review(10)] == [second.transaction_id]


def resolve(till: Till, pay: Pay, verdict: OperatorDecision, token: str | None = None) -> Resolve:
    return Resolve(
        pay.user_id,
        till.new_id(),
        pay.transaction_id,
        till.now,
        till.policy,
        "ngozi",
        verdict,
        "by phone",
        token,
    )


def test_of_decisions_in_one_list_one_counts(till: Till) -> None:
    till.funded()
    pay = asked(till)
    decisions = [
        resolve(till, pay, OperatorDecision.REVERSE),
        resolve(till, pay, OperatorDecision.DELIVERED, TOKEN),
    ]
    assert named(till.do(*decisions)) == ["done", "not_in_review"]
    assert till.status(pay) is Status.REVERSED
    assert till.balance() == (10_000, 0)
    assert till.audit().ok


def test_of_people_who_decide_at_once_one_is_heard(url: str) -> None:
    with open_till(url) as till:
        till.funded()
        pay = asked(till)
        decisions = [
            resolve(till, pay, OperatorDecision.REVERSE if number % 2 else OperatorDecision.DELIVERED, TOKEN)
            for number in range(6)
        ]
        results: list[str] = []
        threads = [
            threading.Thread(target=lambda one=decision: results.extend(named(till.do(one))))
            for decision in decisions
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == ["done"] + ["not_in_review"] * 5
        assert len(till.rows("SELECT * FROM resolutions")) == 1
        assert till.audit().ok


def test_a_token_that_is_reported_twice_in_one_list_is_given_once(till: Till) -> None:
    till.funded()
    first, second = till.paid(), till.paid(meter="10987654321")
    reports = [till.report(pay, till.working(pay), delivered()) for pay in (first, second)]
    till.do(*reports)
    assert till.payment(first).incidents == ()
    (incident,) = till.payment(second).incidents
    assert incident.kind == "token_of_another"
    assert first.transaction_id in incident.detail
    assert till.status(second) is Status.COMPLETED


def test_the_owner_of_a_token_is_found_among_all_users(till: Till) -> None:
    till.funded()
    till.funded("ben")
    first = till.paid()
    till.told(first, delivered())
    till.pass_time(1)
    second = till.paid("ben")
    till.told(second, Unknown("no answer"))
    till.done(resolve(till, second, OperatorDecision.DELIVERED, TOKEN))
    (incident,) = till.payment(second).incidents
    assert first.transaction_id in incident.detail


# --- a rehearsal ------------------------------------------------------------------------------------------------------


def test_a_rehearsal_answers_as_the_real_thing_and_leaves_no_trace(till: Till) -> None:
    till.funded(minor=1_000)
    pays = [till.pay(minor=600), till.pay(minor=600), till.pay("ben", minor=1), till.pay(minor=400)]
    before = till.everything()
    rehearsed = till.journal.dry_run(pays)
    assert named(rehearsed) == ["done", "insufficient_funds", "wallet_not_found", "done"]
    assert till.everything() == before
    assert named(till.do(*pays)) == named(rehearsed)


def test_a_rehearsal_knows_what_was_done_before(till: Till) -> None:
    till.funded(minor=1_000)
    till.done(till.pay(minor=600, key="order-1"))
    again = till.pay(minor=600, key="order-1")
    (replay, mismatch) = till.journal.dry_run([again, till.pay(minor=601, key="order-1")])
    assert named([replay, mismatch]) == ["replayed", "idempotency_mismatch"]
    assert till.balance() == (400, 600)


def test_a_rehearsal_knows_a_double_click(till: Till) -> None:
    till.funded()
    till.done(till.pay(given=False))
    assert named(till.journal.dry_run([till.pay(given=False)])) == ["likely_duplicate"]


def test_a_rehearsal_of_nothing_asks_the_database_nothing(till: Till) -> None:
    with statements(till.database) as seen:
        assert till.journal.dry_run([]) == []
    assert seen == []


def test_a_rehearsal_changes_no_row_whatever_is_rehearsed(till: Till) -> None:
    """Not even when a payment is due, which is written without an event elsewhere."""
    till.funded()
    fresh, leased, doubtful, declined = (till.paid() for _ in range(4))
    work = till.working(leased)
    till.told(doubtful, Unknown("no answer"))
    till.told(declined, Declined("no such meter"))
    till.run("UPDATE transactions SET next_check_at = created_at")
    pays = (fresh, leased, doubtful, declined)
    commands: list[Command] = [
        till.fund(),
        till.pay(),
        *map(till.claim, pays),
        *map(till.nudge, pays),
        till.report(leased, work, Delivered(TOKEN)),
        till.cancel(till.paid()),
    ]
    before = till.everything()
    assert {*named(till.journal.dry_run(commands))} == {"done"}
    for command in commands:
        till.journal.dry_run([command])
    assert till.everything() == before
    assert till.audit().ok


def test_a_rehearsal_locks_nobody_out(url: str) -> None:
    """While a payment of the same wallet is being written, it answers at once, on what stands."""
    with open_till(url) as till, open_till(url, name="u") as other:
        till.funded(minor=1_000)
        with till.database.write_transaction() as connection, statements(other.database) as seen:
            wallets = "SELECT * FROM wallets" + ("" if till.database.is_sqlite else " FOR UPDATE")
            connection.exec_driver_sql(wallets)
            assert named(other.journal.dry_run([other.pay(minor=600)])) == ["done"]
        assert not [statement for statement in seen if "FOR UPDATE" in statement]
        assert other.books.balance("ada", "NGN") == (Money(1_000, "NGN"), Money(0, "NGN"))


def test_a_rehearsal_with_the_database_away(url: str) -> None:
    with open_till(url) as till:
        pay = till.pay()
        till.run("ALTER TABLE wallets RENAME TO elsewhere")
        with pytest.raises(Unavailable):
            till.journal.dry_run([pay])
        till.run("ALTER TABLE elsewhere RENAME TO wallets")
