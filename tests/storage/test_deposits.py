"""The contract of the Deposits port; and deposits that many threads start and credit at once."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from billvend import Billvend, Money, Unavailable
from billvend.adapters.storage.database import Database
from billvend.adapters.storage.deposits import SqlDeposits
from billvend.bootstrap import wire
from billvend.ports.deposits import Deposit
from billvend.usecases.deposits import DepositStatus
from tests.storage.concurrency import run_in_threads
from tests.storage.harness import NOW, JournalHarness, deps_of, open_harness
from tests.support.paystack import FakePaystack, fake_paystack

URL = "https://pay.example/1"


@pytest.fixture
def deposits(harness: JournalHarness) -> SqlDeposits:
    return SqlDeposits(harness.database)


def deposit(reference: str = "r1", key: str | None = "order-1", user: str = "ada") -> Deposit:
    return Deposit(user, reference, key, "paystack", Money(50_050, "NGN"), "ada@example.com", NOW)


def test_stored_deposit_is_found(deposits: SqlDeposits) -> None:
    assert deposits.find("r1") is None
    assert deposits.add(deposit()) == deposit()
    assert deposits.find("r1") == deposit()
    assert deposits.find("r2") is None
    assert deposits.find("\0") is None
    trusted = replace(deposit("r3", None), email_may_get_tokens=True)
    deposits.add(trusted)
    assert deposits.find("r3") == trusted


def test_key_is_unique_per_user(deposits: SqlDeposits) -> None:
    deposits.add(deposit())
    assert deposits.add(deposit("r2")) == deposit()
    assert deposits.find("r2") is None
    assert deposits.add(deposit("r3", user="ben")).reference == "r3"
    for reference in ("r4", "r5"):
        assert deposits.add(deposit(reference, None)).reference == reference


def test_stored_authorization_url_keeps_the_key(deposits: SqlDeposits) -> None:
    stored = deposits.add(deposit())
    assert deposits.set_authorization_url(stored, URL)
    assert deposits.find("r1") == replace(stored, authorization_url=URL)
    deposits.release_key(stored)
    assert deposits.add(deposit("r2")).reference == "r1"


def test_released_key_can_be_used_again(deposits: SqlDeposits) -> None:
    stored = deposits.add(deposit())
    deposits.release_key(stored)
    assert deposits.add(deposit("r2")).reference == "r2"
    assert not deposits.set_authorization_url(stored, URL)  # the gateway answered too late
    assert deposits.find("r1") == replace(stored, key=None)
    without_key = deposits.add(deposit("r3", None))
    assert deposits.set_authorization_url(without_key, URL)


def test_problems_are_listed_until_acknowledged(deposits: SqlDeposits) -> None:
    first = deposits.add(deposit("r1", None))
    second = deposits.add(replace(deposit("r2", None), created_at=NOW - timedelta(days=1)))
    deposits.add(deposit("r3", None))
    for each in (first, second):
        assert deposits.set_problem(each, "too little")
        assert not deposits.set_problem(each, "too little")
    assert [each.reference for each in deposits.with_problems(10)] == ["r2", "r1"]
    assert [each.reference for each in deposits.with_problems(1)] == ["r2"]
    deposits.acknowledge(second, NOW)
    assert not deposits.set_problem(second, "too little")
    assert [each.reference for each in deposits.with_problems(10)] == ["r1"]
    assert deposits.set_problem(second, "nul \0, lone \ud800")
    assert [each.acknowledged_at for each in deposits.with_problems(10)] == [None, None]
    assert deposits.set_problem(first, None)
    assert [each.reference for each in deposits.with_problems(10)] == ["r2"]


def test_deposits_are_listed_newest_first_with_their_transaction(harness: JournalHarness) -> None:
    bv, deposits = wire(deps_of(harness)), SqlDeposits(harness.database)
    credited = deposits.add(replace(deposit("r1", None), created_at=NOW - timedelta(days=1)))
    same_reference = deposits.add(deposit("r1", None, user="ben"))
    unpaid = deposits.add(replace(deposit("r2", None), created_at=NOW + timedelta(days=1)))
    assert deposits.newest(3) == [(unpaid, None), (same_reference, None), (credited, None)]
    funding = bv.fund("ada", credited.amount, key="r1", source="paystack")
    bv.fund("ben", credited.amount, key="r1", source="manual")
    assert deposits.newest(3) == [(unpaid, None), (same_reference, None), (credited, funding.transaction_id)]
    assert deposits.newest(1) == [(unpaid, None)]


def test_deposit_of_zero_is_rejected(harness: JournalHarness) -> None:
    with pytest.raises(Unavailable):
        SqlDeposits(harness.database).add(replace(deposit(key=None), amount=Money(0, "NGN")))


def test_deposits_are_unavailable_when_database_is_down() -> None:
    database = Database("sqlite:////nowhere/at/all/billvend.db")
    deposits = SqlDeposits(database)
    for call in (
        lambda: deposits.add(deposit()),
        lambda: deposits.find("r1"),
        lambda: deposits.set_authorization_url(deposit(), URL),
        lambda: deposits.release_key(deposit()),
        lambda: deposits.set_problem(deposit(), "why"),
        lambda: deposits.acknowledge(deposit(), NOW),
        lambda: deposits.newest(1),
        lambda: deposits.with_problems(1),
    ):
        with pytest.raises(Unavailable):
            call()
    database.close()


# --- many at once -----------------------------------------------------------------------------------------------------


@pytest.fixture
def app_and_paystack(url: str) -> Iterator[tuple[Billvend, FakePaystack]]:
    """A billvend on a database that several threads can share, and its Paystack; audited at the end."""
    with fake_paystack() as (paystack, gateway), open_harness(url) as harness:
        bv = wire(replace(deps_of(harness), gateway=gateway))
        yield bv, paystack
        assert bv.audit().ok


def test_twenty_concurrent_webhooks_credit_once(app_and_paystack: tuple[Billvend, FakePaystack]) -> None:
    bv, paystack = app_and_paystack
    reference = bv.create_deposit("ada", 500, email="ada@example.com").reference
    paystack.mark_paid(reference)
    webhook = paystack.webhook(reference)
    assert run_in_threads(*[lambda: bv.handle_gateway_webhook(*webhook)] * 20) == [True] * 20
    assert bv.balance("ada").available == Money(50_000, "NGN")
    assert len(bv.history("ada")) == 1


def test_concurrent_webhooks_and_operator_credit_once(
    app_and_paystack: tuple[Billvend, FakePaystack],
) -> None:
    bv, paystack = app_and_paystack
    reference = bv.create_deposit("ada", 500, email="ada@example.com").reference
    paystack.mark_paid(reference)
    webhook = paystack.webhook(reference)
    calls = [
        lambda: bv.handle_gateway_webhook(*webhook),
        lambda: bv.check_deposit(reference).status is DepositStatus.CREDITED,
    ]
    assert all(run_in_threads(*calls * 5))
    assert bv.balance("ada").available == Money(50_000, "NGN")


def test_ten_concurrent_requests_with_one_key_initialize_once(
    app_and_paystack: tuple[Billvend, FakePaystack],
) -> None:
    bv, paystack = app_and_paystack
    start = lambda: bv.create_deposit("ada", 500, email="ada@example.com", key="order-1")  # noqa: E731
    deposits = run_in_threads(*[start] * 10)
    assert len({each.authorization_url for each in deposits}) == 1
    assert [each.replayed for each in deposits].count(False) == 1
    assert len(paystack.initialize_requests) == 1


def test_webhook_during_initialize_call_credits(
    app_and_paystack: tuple[Billvend, FakePaystack],
) -> None:
    bv, paystack = app_and_paystack
    paystack.may_respond.clear()

    def pay() -> bool:
        assert paystack.initialize_received.wait(10)
        (reference,) = paystack.transactions
        paystack.mark_paid(reference)
        taken = bv.handle_gateway_webhook(*paystack.webhook(reference))
        paystack.may_respond.set()
        return taken

    deposit, taken = run_in_threads(lambda: bv.create_deposit("ada", 500, email="ada@example.com"), pay)
    assert taken is True
    assert bv.balance("ada").available == Money(50_000, "NGN")
    assert bv.check_deposit(str(getattr(deposit, "reference", ""))).status is DepositStatus.CREDITED
