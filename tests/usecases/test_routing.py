"""Which provider is asked for the electricity, and which about it."""

from collections.abc import Iterator

import pytest

from billvend import Money, Status
from billvend.domain.enums import Proof
from billvend.domain.errors import ProviderUnavailable
from billvend.domain.outcome import (
    Answer,
    Declined,
    Deferred,
    Delivered,
    Misconfigured,
    NotFound,
    NotSent,
    Pending,
)
from billvend.usecases.dependencies import Limits
from tests.usecases.shop import SILENCE, TOKEN, Company, Shop, closing

EMPTY = Misconfigured("the float is empty", "018")
ABSENT = NotFound("no such reference")


@pytest.fixture
def shop() -> Iterator[Shop]:
    """Two providers; `shop.company` is the one that is preferred."""
    second = Company("backup")
    shop = Shop(Company("acme"), second)
    yield from closing(shop)


def second(shop: Shop) -> Company:
    (_, company) = shop.parts.providers.values()
    assert isinstance(company, Company)
    return company


@pytest.mark.parametrize(
    "answer",
    [
        Declined("not this one"), Declined("it failed", about_transaction=True), NotSent("refused"),
        Deferred("later"), EMPTY,
    ],
    ids=["declined", "failed", "not sent", "deferred", "misconfigured"],
)  # fmt: skip
def test_what_the_first_provably_did_not_do_is_done_by_the_second(shop: Shop, answer: Answer) -> None:
    shop.company.sells = answer
    payment = shop.pay()
    shop.work()
    for _ in range(6):
        shop.later(100)
    ended = shop.now(payment)
    assert (ended.status, ended.token) == (Status.COMPLETED, TOKEN)
    assert [attempt.provider for attempt in ended.attempts] == ["acme", "backup"]
    assert len(set(shop.company.references + second(shop).references)) == 2
    assert second(shop).times("vend") == 1


@pytest.mark.parametrize(
    "then", [SILENCE, ABSENT, Pending("at work")], ids=["unknown", "not found", "pending"]
)
def test_what_may_have_been_sold_by_the_first_is_never_asked_of_the_second(shop: Shop, then: Answer) -> None:
    shop.company.sells, shop.company.tells = SILENCE, then
    payment = shop.pay()
    for _ in range(50):
        shop.later(240)
    assert second(shop).asked == []
    assert shop.company.times("vend") == 1
    assert shop.now(payment).status is (Status.REVERSED if then is ABSENT else Status.IN_REVIEW)


def test_what_was_in_doubt_and_then_failed_gives_the_money_back(shop: Shop) -> None:
    shop.company.sells, shop.company.tells = SILENCE, Declined("it failed", about_transaction=True)
    payment = shop.pay()
    shop.work()
    shop.later(25)
    assert shop.now(payment).proof is Proof.DECLINED
    assert second(shop).asked == []


def test_declined_by_all_the_money_goes_back(shop: Shop) -> None:
    shop.company.sells = second(shop).sells = Declined("not this one")
    payment = shop.pay()
    shop.work()
    assert shop.now(payment).proof is Proof.DECLINED
    assert shop.balance == (10_000, 0)


def test_each_is_asked_about_what_was_sent_to_it_and_no_more(shop: Shop) -> None:
    shop.company.sells, second(shop).sells = Declined("not this one"), SILENCE
    payment = shop.pay()
    shop.work()
    second(shop).tells = Delivered(TOKEN)
    shop.later(25)
    assert shop.now(payment).token == TOKEN
    assert shop.company.asked == ["vend"]
    assert second(shop).asked == ["vend", "requery"]


def test_while_the_first_is_closed_the_second_sells() -> None:
    shop = Shop(
        Company("acme"), Company("backup"), limits=Limits("100", "1000000", max_in_doubt_major="1000")
    )
    shop.in_doubt(1_100)
    shop.bv.refresh_account_status()
    shop.company.sells = Delivered(TOKEN)
    payment = shop.settled(shop.pay())
    assert [attempt.provider for attempt in payment.attempts] == ["backup"]
    second(shop).sells = EMPTY
    shop.settled(shop.pay())
    with pytest.raises(ProviderUnavailable):
        shop.pay()
    shop.company.tells = Delivered(TOKEN)
    shop.later(25)
    shop.bv.refresh_account_status()
    last = shop.settled(shop.pay())
    assert [attempt.provider for attempt in last.attempts] == ["acme"]
    shop.close()


# --- keys and addresses that change -----------------------------------------------------------------------------------


@pytest.fixture
def alone() -> Iterator[Shop]:
    yield from closing(Shop())


@pytest.mark.parametrize("says", [ABSENT, Delivered(TOKEN), Declined("it failed", about_transaction=True)])
def test_other_keys_while_payments_are_in_doubt_reverse_nothing(alone: Shop, says: Answer) -> None:
    payment = alone.in_doubt()
    changed = Company(account="key-2")
    changed.tells = says
    alone.reopen(changed)
    for _ in range(30):
        alone.later(7_200)
    waiting = alone.bv.review().payments_in_review
    assert [found.transaction_id for found in waiting] == [payment.transaction_id]
    assert "acme account key-1" in (waiting[0].review_reason or "")
    assert changed.asked == []
    assert alone.balance == (9_500, 500)


def test_a_reversal_on_not_found_is_not_made_when_the_keys_changed_before_it(alone: Shop) -> None:
    payment = alone.in_doubt()
    alone.company.tells = ABSENT
    while alone.now(payment).status is not Status.REVERSING:
        alone.until_due(payment)
        alone.settled(payment)
    alone.reopen(Company(account="key-2"))
    alone.later(1)
    assert alone.now(payment).status is Status.IN_REVIEW
    assert alone.balance == (9_500, 500)


def test_with_the_old_keys_back_the_old_account_is_asked(alone: Shop) -> None:
    payment = alone.in_doubt()
    old, new = alone.company, Company(account="key-2")
    alone.reopen(new)
    alone.later(60)
    assert alone.now(payment).status is Status.IN_REVIEW
    old.tells = Delivered(TOKEN)
    alone.reopen(new, old)
    alone.bv.refresh(payment.transaction_id)
    assert alone.now(payment).token == TOKEN
    assert new.asked == []


def test_a_hint_about_an_account_that_is_gone_leaves_the_others_to_be_asked(shop: Shop) -> None:
    """A payment has one unresolved attempt: asking about it must not depend on those before."""
    shop.company.sells, second(shop).sells = Declined("not this one"), SILENCE
    payment = shop.pay()
    shop.work()
    left = second(shop)
    shop.hook(payment, attempt=0)
    shop.reopen(left)
    left.tells = Delivered(TOKEN)
    shop.bv.refresh(payment.transaction_id)
    assert shop.now(payment).token == TOKEN


def test_other_keys_sell_at_once(alone: Shop) -> None:
    alone.in_doubt()
    alone.reopen(Company(account="key-2"))
    assert alone.settled(alone.pay()).status is Status.COMPLETED
    assert alone.bv.balance("ada").held == Money(50_000, "NGN")


def test_a_look_back_without_an_answer_at_an_account_that_is_gone_sends_nothing_elsewhere() -> None:
    """Lost books may have sent it there: a person has to look."""
    backup = Company("backup")
    shop = Shop(Company("acme", needs_day=True), backup)
    shop.clock.sleep(11.9 * 3600)
    (payment,) = shop.pay_many()
    shop.later(3600)
    assert shop.company.asked == ["requery"]
    shop.reopen(backup)
    shop.later(3600)
    assert backup.times("vend") == 0
    assert shop.balance == (9_500, 500)
    assert shop.now(payment).status is Status.IN_REVIEW
    assert "acme account key-1" in (shop.now(payment).review_reason or "")
    assert shop.bv.health().checks["provider"].details["unconfigured"] == ["acme account key-1"]
    shop.close()


def test_a_look_back_that_nobody_answers_is_shown_to_a_person() -> None:
    """Within about two hours, with nothing sent to anybody; it is asked about daily from then on."""
    acme, backup = Company("acme", needs_day=True), Company("backup")
    shop = Shop(acme, backup)
    shop.clock.sleep(11.9 * 3600)
    (payment,) = shop.pay_many()
    shop.clock.sleep(3600)
    for _ in range(30):
        shop.later(300)
    assert [found.transaction_id for found in shop.bv.review().payments_in_review] == [payment.transaction_id]
    assert "in doubt for too long" in (shop.now(payment).review_reason or "")
    assert {*acme.asked, *backup.asked} <= {"requery", "float"}
    assert shop.balance == (9_500, 500)
    asked = acme.times("requery")
    for _ in range(12):
        shop.later(4 * 3600)
    assert acme.times("requery") == asked + 2
    acme.tells = ABSENT
    for _ in range(7):
        shop.later(4 * 3600)
    assert shop.now(payment).proof is Proof.NOT_SENT
    assert shop.balance == (10_000, 0)
    assert acme.times("vend") == backup.times("vend") == 0
    assert shop.bv.audit().ok
    shop.close()


def test_what_lost_books_had_sent_and_was_declined_is_not_sold_by_the_same_provider_again() -> None:
    acme, backup = Company("acme", needs_day=True), Company("backup")
    shop = Shop(acme, backup)
    shop.clock.sleep(11.9 * 3600)
    (payment,) = shop.pay_many()
    acme.tells = Declined("it failed", about_transaction=True)
    shop.later(3600)
    assert [attempt.provider for attempt in shop.now(payment).attempts] == ["acme", "backup"]
    assert (acme.times("vend"), backup.times("vend")) == (0, 1)
    assert shop.now(payment).status is Status.COMPLETED
    shop.close()


def test_what_lost_books_had_not_sent_is_sold_by_the_first_provider() -> None:
    acme, backup = Company("acme", needs_day=True), Company("backup")
    shop = Shop(acme, backup)
    shop.clock.sleep(11.9 * 3600)
    (payment,) = shop.pay_many()
    acme.tells = ABSENT
    shop.later(3600)
    assert [attempt.provider for attempt in shop.now(payment).attempts] == ["acme", "acme"]
    assert (acme.times("vend"), backup.times("vend")) == (1, 0)
    assert shop.now(payment).status is Status.COMPLETED
    shop.close()
