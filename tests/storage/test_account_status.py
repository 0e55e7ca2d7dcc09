"""The contract of the AccountStatuses repository, and of the queries that people and account statuses need."""

from dataclasses import replace
from datetime import timedelta

import pytest

from billvend.adapters.storage.account_status import SqlAccountStatuses
from billvend.adapters.storage.database import Database
from billvend.domain.decisions.commands import Pay, Resolve
from billvend.domain.enums import OperatorDecision, Status
from billvend.domain.errors import Unavailable
from billvend.domain.outcome import Answer, Declined, NotFound, Unknown
from billvend.domain.policy.policy import Policy
from billvend.ports.repositories import AccountStatus, Exposure
from tests.storage.concurrency import run_in_threads
from tests.storage.harness import (
    ANSWERS,
    NOW,
    TOKEN,
    JournalHarness,
    delivered,
    open_harness,
    provider_account,
    result_codes,
)

NOT_FOUND = NotFound("no such reference")
SUSPENDED = AccountStatus(
    "acme", "key-1", "the float is empty", NOW, True, 12_345, NOW - timedelta(microseconds=1)
)


@pytest.fixture
def statuses(harness: JournalHarness) -> SqlAccountStatuses:
    return SqlAccountStatuses(harness.database)


# --- account statuses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state",
    [
        AccountStatus("acme", "key-1"),
        SUSPENDED,
        *(AccountStatus("acme", "key-1", float_minor=minor) for minor in (0, -(10**15), 9 * 10**18)),
        AccountStatus("", "", "Ọ̀rọ̀ " * 500),
    ],
    ids=["new", "suspended", "nothing", "owing", "huge", "long"],
)
def test_account_state_is_read_back(statuses: SqlAccountStatuses, state: AccountStatus) -> None:
    assert statuses.all() == {}
    statuses.save(state)
    assert statuses.all() == {(state.provider, state.account_id): state}


def test_account_state_replaces_only_its_own(statuses: SqlAccountStatuses) -> None:
    other = AccountStatus("acme", "key-2", float_minor=5)
    elsewhere = AccountStatus("backup", "key-1", "because", NOW)
    for state in (SUSPENDED, other, elsewhere, AccountStatus("acme", "key-1")):
        statuses.save(state)
    assert statuses.all() == {
        ("acme", "key-1"): AccountStatus("acme", "key-1"),
        ("acme", "key-2"): other,
        ("backup", "key-1"): elsewhere,
    }


@pytest.mark.parametrize("text", ["nul \0", "lone \ud800"])
def test_odd_provider_text_does_not_prevent_suspension(statuses: SqlAccountStatuses, text: str) -> None:
    statuses.save(AccountStatus("acme", "key-1", text))
    assert statuses.all()["acme", "key-1"].suspended_reason is not None


def test_account_state_is_shared_between_processes(url: str) -> None:
    with open_harness(url) as one, open_harness(url) as two:
        SqlAccountStatuses(one.database).save(SUSPENDED)
        assert list(SqlAccountStatuses(two.database).all().values()) == [SUSPENDED]


def test_concurrent_writes_leave_one_row(url: str) -> None:
    with open_harness(url) as harness:
        statuses = SqlAccountStatuses(harness.database)
        written = [AccountStatus("acme", "key-1", float_minor=number) for number in range(8)]
        run_in_threads(*((lambda state=state: statuses.save(state)) for state in written))
        (state,) = statuses.all().values()
        assert state in written


def test_account_states_are_unavailable_when_database_is_down(unavailable_database: Database) -> None:
    for call in (
        SqlAccountStatuses(unavailable_database).all,
        lambda: SqlAccountStatuses(unavailable_database).save(SUSPENDED),
    ):
        with pytest.raises(Unavailable):
            call()


# --- exposures ------------------------------------------------------------------------------------------------------------


def requeried_payment(harness: JournalHarness, *answers: Answer, minor: int = 1_000) -> Pay:
    """A payment without an answer to its send, and with this answer to its requery."""
    pay = harness.accept_payment(minor=minor)
    harness.answer(pay, Unknown("no answer"))
    for answer in answers:
        harness.answer(pay, answer, early=True)
    return pay


def test_exposure_is_empty_at_first(harness: JournalHarness) -> None:
    assert harness.queries.exposures(NOW) == []
    harness.add_funds()
    harness.accept_payment()
    assert harness.queries.exposures(NOW) == []  # nothing was sent


def test_exposure_counts_payments_in_doubt_and_in_review(harness: JournalHarness) -> None:
    harness.add_funds(minor=100_000)
    requeried_payment(harness, minor=1_000)
    requeried_payment(harness, Unknown("no answer"), minor=200)
    in_review = requeried_payment(harness, Unknown("known", known_to_provider=True), NOT_FOUND, minor=30)
    assert harness.status(in_review) is Status.IN_REVIEW
    requeried_payment(harness, delivered(), minor=4)
    requeried_payment(harness, Declined("failed", about_transaction=True), minor=5)
    processing = harness.accept_payment(minor=6)
    harness.claim_work(processing)
    assert harness.queries.exposures(NOW) == [Exposure("sandbox", "here", 1_230, 6, 1)]


@pytest.mark.parametrize("user", ["ada", "ben"])
def test_exposure_sums_over_all_users(harness: JournalHarness, user: str) -> None:
    for name in ("ada", user):
        harness.add_funds(name)
        pay = harness.accept_payment(name, minor=700)
        harness.answer(pay, Unknown("no answer"))
    assert harness.queries.exposures(NOW) == [Exposure("sandbox", "here", 1_400, 2, 0)]


@pytest.mark.parametrize("answer", ANSWERS, ids=repr)
def test_exposure_counts_only_the_latest_answer(harness: JournalHarness, answer: Answer) -> None:
    """A payment counts as not found by its latest answer alone."""
    harness.add_funds(minor=100_000)
    requeried_payment(harness, NOT_FOUND, answer)
    (risk,) = harness.queries.exposures(NOW)
    assert (risk.recent_attempts, risk.recent_not_found) == (1, int(isinstance(answer, NotFound)))


def test_exposure_ignores_attempts_before_the_period(harness: JournalHarness) -> None:
    harness.add_funds(minor=100_000)
    requeried_payment(harness, NOT_FOUND)
    harness.advance(600)
    requeried_payment(harness, NOT_FOUND, NOT_FOUND)
    requeried_payment(harness)
    assert harness.queries.exposures(NOW) == [Exposure("sandbox", "here", 3_000, 3, 2)]
    assert harness.queries.exposures(harness.now) == [Exposure("sandbox", "here", 3_000, 2, 1)]
    assert harness.queries.exposures(harness.now + timedelta(seconds=1)) == [
        Exposure("sandbox", "here", 3_000, 0, 0)
    ]


def test_exposure_is_per_account(url: str) -> None:
    with open_harness(
        url, policy=Policy(accounts=(provider_account("acme"), provider_account("backup")))
    ) as harness:
        harness.add_funds(minor=100_000)
        requeried_payment(harness, NOT_FOUND, minor=100)
        pay = harness.accept_payment(minor=20)
        harness.answer(pay, Declined("not this one"))
        harness.answer(pay, Unknown("no answer"))
        assert sorted(harness.queries.exposures(NOW), key=repr) == [
            Exposure("acme", "here", 100, 2, 1),
            Exposure("backup", "here", 20, 1, 0),
        ]


def test_prior_reference_not_found_is_no_exposure(harness: JournalHarness) -> None:
    harness.policy = Policy(accounts=(replace(provider_account("sandbox"), reference_lasts_a_day=True),))
    harness.add_funds()
    pay = harness.accept_payment()
    harness.advance(86_000)
    harness.answer(pay, NOT_FOUND)
    assert [risk.recent_not_found for risk in harness.queries.exposures(NOW)] in ([], [0])


# --- what needs a person ----------------------------------------------------------------------------------------------


def test_review_list_is_empty_at_first(harness: JournalHarness) -> None:
    harness.add_funds()
    harness.accept_payment()
    assert harness.queries.needing_review(10) == []


def test_review_list_has_reviews_and_incidents_oldest_first(harness: JournalHarness) -> None:
    """In review, or ended with an incident that no person has acknowledged. The oldest first, and no more than the limit."""
    harness.add_funds(minor=100_000)
    known = Unknown("known", known_to_provider=True)
    with_incident = requeried_payment(harness, delivered(), delivered("99999999999999999999"))
    requeried_payment(harness)
    in_review = requeried_payment(harness, known, NOT_FOUND)
    requeried_payment(harness, delivered("88888888888888888888"))
    second = requeried_payment(harness, known, NOT_FOUND)
    waiting = harness.queries.needing_review(10)
    expected = [with_incident, in_review, second]
    assert [found.transaction_id for found in waiting] == [pay.transaction_id for pay in expected]
    assert waiting == [harness.payment(pay) for pay in expected]
    assert harness.queries.needing_review(2) == waiting[:2]
    harness.execute_one(resolve(harness, with_incident, OperatorDecision.ACKNOWLEDGED))
    harness.execute_one(resolve(harness, in_review, OperatorDecision.REVERSE))
    assert [found.transaction_id for found in harness.queries.needing_review(10)] == [second.transaction_id]


def resolve(
    harness: JournalHarness, pay: Pay, verdict: OperatorDecision, token: str | None = None
) -> Resolve:
    return Resolve(
        pay.user_id,
        harness.new_id(),
        pay.transaction_id,
        harness.now,
        harness.policy,
        "ngozi",
        verdict,
        "by phone",
        token,
    )


def test_first_decision_in_one_batch_wins(harness: JournalHarness) -> None:
    harness.add_funds()
    pay = requeried_payment(harness)
    decisions = [
        resolve(harness, pay, OperatorDecision.REVERSE),
        resolve(harness, pay, OperatorDecision.DELIVERED, TOKEN),
    ]
    assert result_codes(harness.execute(*decisions)) == ["done", "not_in_review"]
    assert harness.status(pay) is Status.REVERSED
    assert harness.balance() == (10_000, 0)
    assert harness.audit().ok


def test_one_of_concurrent_decisions_wins(url: str) -> None:
    with open_harness(url) as harness:
        harness.add_funds()
        pay = requeried_payment(harness)
        decisions = [
            resolve(
                harness, pay, OperatorDecision.REVERSE if number % 2 else OperatorDecision.DELIVERED, TOKEN
            )
            for number in range(6)
        ]
        results = run_in_threads(
            *((lambda one=decision: result_codes(harness.execute(one))[0]) for decision in decisions)
        )
        assert sorted(results) == ["done"] + ["not_in_review"] * 5
        assert len(harness.rows("SELECT * FROM resolutions")) == 1
        assert harness.audit().ok


def test_token_reported_twice_in_one_batch_is_an_incident(harness: JournalHarness) -> None:
    harness.add_funds()
    first, second = harness.accept_payment(), harness.accept_payment(meter="10987654321")
    reports = [harness.report(pay, harness.claim_work(pay), delivered()) for pay in (first, second)]
    harness.execute(*reports)
    assert harness.payment(first).incidents == ()
    (incident,) = harness.payment(second).incidents
    assert incident.kind == "token_of_another"
    assert first.transaction_id in incident.detail
    assert harness.status(second) is Status.COMPLETED


def test_token_owner_is_found_across_users(harness: JournalHarness) -> None:
    harness.add_funds()
    harness.add_funds("ben")
    first = harness.accept_payment()
    harness.answer(first, delivered())
    harness.advance(1)
    second = harness.accept_payment("ben")
    harness.answer(second, Unknown("no answer"))
    harness.execute_one(resolve(harness, second, OperatorDecision.DELIVERED, TOKEN))
    (incident,) = harness.payment(second).incidents
    assert first.transaction_id in incident.detail
