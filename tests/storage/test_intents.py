"""The contract of the intents port; and fundings that are started and settled by many at once."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from billvend import Billvend, Money, Unavailable
from billvend.adapters.storage.database import Database
from billvend.adapters.storage.deposits import SqlDeposits
from billvend.ports.deposits import Deposit
from billvend.usecases.deposits import DepositStatus
from tests.storage.rivals import at_once
from tests.storage.till import NOW, Till, open_till, parts_of
from tests.support.paystack import Paystack, standing_in

URL = "https://pay.example/1"


@pytest.fixture
def intents(till: Till) -> SqlDeposits:
    return SqlDeposits(till.database)


def intent(reference: str = "r1", key: str | None = "order-1", user: str = "ada") -> Deposit:
    return Deposit(user, reference, key, "paystack", Money(50_050, "NGN"), "ada@example.com", NOW)


def test_what_is_kept_is_found(intents: SqlDeposits) -> None:
    assert intents.find("r1") is None
    assert intents.add(intent()) == intent()
    assert intents.find("r1") == intent()
    assert intents.find("r2") is None
    assert intents.find("\0") is None
    trusted = replace(intent("r3", None), email_may_get_tokens=True)
    intents.add(trusted)
    assert intents.find("r3") == trusted


def test_a_key_stands_for_one_intent_of_its_user(intents: SqlDeposits) -> None:
    intents.add(intent())
    assert intents.add(intent("r2")) == intent()
    assert intents.find("r2") is None
    assert intents.add(intent("r3", user="ben")).reference == "r3"
    for reference in ("r4", "r5"):
        assert intents.add(intent(reference, None)).reference == reference


def test_an_address_is_kept_and_then_the_key_stays(intents: SqlDeposits) -> None:
    kept = intents.add(intent())
    assert intents.set_authorization_url(kept, URL)
    assert intents.find("r1") == replace(kept, authorization_url=URL)
    intents.release_key(kept)
    assert intents.add(intent("r2")).reference == "r1"


def test_a_key_that_was_freed_stands_for_the_next_one(intents: SqlDeposits) -> None:
    kept = intents.add(intent())
    intents.release_key(kept)
    assert intents.add(intent("r2")).reference == "r2"
    assert not intents.set_authorization_url(kept, URL)  # its announcement took too long
    assert intents.find("r1") == replace(kept, key=None)
    without_key = intents.add(intent("r3", None))
    assert intents.set_authorization_url(without_key, URL)


def test_problems_are_shown_until_somebody_has_seen_to_them(intents: SqlDeposits) -> None:
    first = intents.add(intent("r1", None))
    second = intents.add(replace(intent("r2", None), created_at=NOW - timedelta(days=1)))
    intents.add(intent("r3", None))
    for each in (first, second):
        assert intents.set_problem(each, "too little")
        assert not intents.set_problem(each, "too little")
    assert [each.reference for each in intents.with_problems(10)] == ["r2", "r1"]
    assert [each.reference for each in intents.with_problems(1)] == ["r2"]
    intents.acknowledge(second, NOW)
    assert not intents.set_problem(second, "too little")
    assert [each.reference for each in intents.with_problems(10)] == ["r1"]
    assert intents.set_problem(second, "nul \0, lone \ud800")
    assert [each.acknowledged_at for each in intents.with_problems(10)] == [None, None]
    assert intents.set_problem(first, None)
    assert [each.reference for each in intents.with_problems(10)] == ["r2"]


def test_an_intent_is_for_something(till: Till) -> None:
    with pytest.raises(Unavailable):
        SqlDeposits(till.database).add(replace(intent(key=None), amount=Money(0, "NGN")))


def test_with_the_database_away_it_says_so() -> None:
    database = Database("sqlite:////nowhere/at/all/books.db")
    intents = SqlDeposits(database)
    for call in (
        lambda: intents.add(intent()),
        lambda: intents.find("r1"),
        lambda: intents.set_authorization_url(intent(), URL),
        lambda: intents.release_key(intent()),
        lambda: intents.set_problem(intent(), "why"),
        lambda: intents.acknowledge(intent(), NOW),
        lambda: intents.with_problems(1),
    ):
        with pytest.raises(Unavailable):
            call()
    database.close()


# --- many at once -----------------------------------------------------------------------------------------------------


@pytest.fixture
def counter(url: str) -> Iterator[tuple[Billvend, Paystack]]:
    """A billvend on books that several threads can share, and its Paystack; audited at the end."""
    with standing_in() as (paystack, gateway), open_till(url) as till:
        bv = Billvend(replace(parts_of(till), gateway=gateway))
        yield bv, paystack
        assert bv.audit().ok


def test_twenty_hooks_at_once_credit_once(counter: tuple[Billvend, Paystack]) -> None:
    bv, paystack = counter
    reference = bv.create_deposit("ada", 500, email="ada@example.com").reference
    paystack.pays(reference)
    hook = paystack.hook(reference)
    assert at_once(*[lambda: bv.handle_gateway_webhook(*hook)] * 20) == [True] * 20
    assert bv.balance("ada").available == Money(50_000, "NGN")
    assert len(bv.history("ada")) == 1


def test_hooks_and_an_operator_at_once_credit_once(counter: tuple[Billvend, Paystack]) -> None:
    bv, paystack = counter
    reference = bv.create_deposit("ada", 500, email="ada@example.com").reference
    paystack.pays(reference)
    hook = paystack.hook(reference)
    calls = [
        lambda: bv.handle_gateway_webhook(*hook),
        lambda: bv.check_deposit(reference).status is DepositStatus.CREDITED,
    ]
    assert all(at_once(*calls * 5))
    assert bv.balance("ada").available == Money(50_000, "NGN")


def test_the_same_key_ten_times_at_once_announces_once(counter: tuple[Billvend, Paystack]) -> None:
    bv, paystack = counter
    start = lambda: bv.create_deposit("ada", 500, email="ada@example.com", key="order-1")  # noqa: E731
    intents = at_once(*[start] * 10)
    assert len({each.authorization_url for each in intents}) == 1
    assert [each.replayed for each in intents].count(False) == 1
    assert len(paystack.announced) == 1


def test_the_hook_may_come_while_the_first_call_waits_for_its_answer(
    counter: tuple[Billvend, Paystack],
) -> None:
    bv, paystack = counter
    paystack.before_answering.clear()

    def pay() -> bool:
        assert paystack.is_asked.wait(10)
        (reference,) = paystack.book
        paystack.pays(reference)
        taken = bv.handle_gateway_webhook(*paystack.hook(reference))
        paystack.before_answering.set()
        return taken

    intent, taken = at_once(lambda: bv.create_deposit("ada", 500, email="ada@example.com"), pay)
    assert taken is True
    assert bv.balance("ada").available == Money(50_000, "NGN")
    assert bv.check_deposit(str(getattr(intent, "reference", ""))).status is DepositStatus.CREDITED
