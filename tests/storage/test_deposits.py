"""The contract of the Deposits repository; and deposits that many threads start and credit at once."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from billvend import Billvend, Money, Unavailable
from billvend.adapters.storage.database import Database
from billvend.adapters.storage.deposits import SqlDeposits
from billvend.ports.repositories import Deposit
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
    assert deposits.get("r1") is None
    assert deposits.add(deposit()) == deposits.get("r1") == deposit()
    for unknown in ("r2", "\0", "\ud800"):
        assert deposits.get(unknown) is None
    trusted = replace(deposit("r3", None), email_may_get_tokens=True)
    deposits.add(trusted)
    assert deposits.get("r3") == trusted


def test_key_is_unique_per_user(deposits: SqlDeposits) -> None:
    deposits.add(deposit())
    assert deposits.add(deposit("r2")) == deposit()
    assert deposits.get("r2") is None
    assert deposits.add(deposit("r3", user="ben")).reference == "r3"
    for reference in ("r4", "r5"):
        assert deposits.add(deposit(reference, None)).reference == reference


@pytest.mark.parametrize("key", ["order-1", None])
def test_fields_change_only_if_they_are_as_expected(deposits: SqlDeposits, key: str | None) -> None:
    stored = deposits.add(deposit(key=key))
    assert deposits.update(stored, key=key, authorization_url=URL)
    assert deposits.get("r1") == replace(stored, authorization_url=URL)
    assert not deposits.update(stored, key=None, authorization_url=None)
    assert not deposits.update(stored, key=key, authorization_url="https://pay.example/2")
    assert deposits.update(stored, problem="too little"), "other fields do not matter"
    assert not deposits.update(replace(stored, problem="too much"), problem=None)
    assert not deposits.update(replace(stored, user_id="ben"), problem=None)
    assert deposits.get("r1") == replace(stored, authorization_url=URL, problem="too little")


def test_released_key_can_be_used_again(deposits: SqlDeposits) -> None:
    stored = deposits.add(deposit())
    assert deposits.update(stored, key=None, authorization_url=None)
    assert deposits.add(deposit("r2")).reference == "r2"
    assert not deposits.update(stored, key=stored.key, authorization_url=URL)  # the gateway answered too late
    assert deposits.get("r1") == replace(stored, key=None)


def test_problems_are_listed_until_acknowledged(deposits: SqlDeposits) -> None:
    first = deposits.add(deposit("r1", None))
    second = deposits.add(replace(deposit("r2", None), created_at=NOW - timedelta(days=1)))
    deposits.add(deposit("r3", None))
    for each in (first, second):
        assert deposits.update(each, problem="nul \0, lone \ud800")
    listed = deposits.with_problems(10)
    assert [each.reference for each in listed] == ["r2", "r1"]
    assert deposits.with_problems(1) == listed[:1]
    assert deposits.update(listed[0], problem=listed[0].problem, acknowledged_at=NOW)
    assert deposits.with_problems(10) == listed[1:]
    assert deposits.update(listed[1], problem=None)
    assert deposits.with_problems(10) == []


def test_deposits_are_listed_newest_first_with_their_transaction(harness: JournalHarness) -> None:
    bv, deposits = Billvend(deps_of(harness)), SqlDeposits(harness.database)
    credited = deposits.add(replace(deposit("r1", None), created_at=NOW - timedelta(days=1)))
    same_reference = deposits.add(deposit("r1", None, user="ben"))
    unpaid = deposits.add(replace(deposit("r2", None), created_at=NOW + timedelta(days=1)))
    assert deposits.newest(3) == [unpaid, same_reference, credited]
    funding = bv.fund("ada", credited.amount, key="r1", source="paystack")
    bv.fund("ben", credited.amount, key="r1", source="manual")
    credited = replace(credited, transaction_id=funding.transaction_id)
    assert deposits.newest(3) == [unpaid, same_reference, credited]
    assert deposits.newest(1) == [unpaid]


def test_deposit_of_zero_is_rejected(harness: JournalHarness) -> None:
    with pytest.raises(Unavailable):
        SqlDeposits(harness.database).add(replace(deposit(key=None), amount=Money(0, "NGN")))


def test_deposits_are_unavailable_when_database_is_down(unavailable_database: Database) -> None:
    deposits = SqlDeposits(unavailable_database)
    for call in (
        lambda: deposits.add(deposit()),
        lambda: deposits.get("r1"),
        lambda: deposits.update(deposit(), problem="why"),
        lambda: deposits.newest(1),
    ):
        with pytest.raises(Unavailable):
            call()


# --- many at once -----------------------------------------------------------------------------------------------------


@pytest.fixture
def app_and_paystack(url: str) -> Iterator[tuple[Billvend, FakePaystack]]:
    """A billvend on a database that several threads can share, and its Paystack; audited at the end."""
    with fake_paystack() as (paystack, gateway), open_harness(url) as harness:
        bv = Billvend(replace(deps_of(harness), gateway=gateway))
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
