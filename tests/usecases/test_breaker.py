"""Where too much money is at risk, or nothing can be sold, nothing more is sold until it clears."""

from collections.abc import Iterator

import pytest

from billvend import BillvendError, Money, Payment, Status
from billvend.domain.enums import Proof
from billvend.domain.errors import ProviderUnavailable
from billvend.domain.outcome import Delivered, Misconfigured, NotFound, NotSent, Unknown
from billvend.usecases.dependencies import Limits
from tests.usecases.shop import TOKEN, Company, Shop, closing

EMPTY = Misconfigured("the float is empty", "018")
ABSENT = NotFound("no such reference")
MOST = 4
"""So many not found are too many here."""


def limited(*, in_doubt: str = "0", float_: str = "0", most_not_found: int = 0) -> Limits:
    return Limits("100", "1000000", in_doubt, float_, most_not_found)


def naira(amount: int) -> Money:
    return Money(amount * 100, "NGN")


def refused(shop: Shop) -> None:
    """Paying is refused, and nothing is held for it."""
    before = (shop.balance, len(shop.bv.payments()))
    with pytest.raises(ProviderUnavailable) as refusal:
        shop.pay()
    assert "Nothing was held" in refusal.value.message
    assert (shop.balance, len(shop.bv.payments())) == before


def look(shop: Shop, seconds: float = 61) -> None:
    """The sweeper comes round a minute later."""
    shop.clock.sleep(seconds)
    shop.bv.refresh_account_status()


# --- naira in doubt ---------------------------------------------------------------------------------------------------


@pytest.fixture
def thousand() -> Iterator[Shop]:
    """At most a thousand naira may be in doubt."""
    yield from closing(Shop(limits=limited(in_doubt="1000")))


def test_too_much_in_doubt_stops_the_selling_until_it_clears(thousand: Shop) -> None:
    doubtful = [thousand.in_doubt(500) for _ in range(2)]
    look(thousand)
    doubtful.append(thousand.in_doubt(100))  # a thousand is not more than a thousand
    look(thousand)
    refused(thousand)
    (waiting,) = thousand.pay_many()
    thousand.later(1)
    assert thousand.now(waiting).status is Status.PENDING
    thousand.company.sells = thousand.company.tells = Delivered(TOKEN)
    thousand.bv.refresh(doubtful[0].transaction_id)
    look(thousand)
    thousand.work()
    assert thousand.now(waiting).status is Status.COMPLETED
    assert thousand.settled(thousand.pay()).status is Status.COMPLETED


def test_what_is_in_review_counts_as_in_doubt(thousand: Shop) -> None:
    payment = thousand.in_review(1_100)
    assert payment.status is Status.IN_REVIEW
    look(thousand)
    refused(thousand)
    thousand.bv.resolve(payment.transaction_id, operator="ngozi", reason="by phone", token=TOKEN)
    look(thousand)
    thousand.pay()


def test_a_buyer_finds_out_himself_that_it_has_cleared(thousand: Shop) -> None:
    """Embedded there may be no worker that looks."""
    payment = thousand.in_doubt(1_100)
    look(thousand)
    refused(thousand)
    thousand.company.tells = Delivered(TOKEN)
    thousand.bv.refresh(payment.transaction_id)
    thousand.pay()


# --- our float --------------------------------------------------------------------------------------------------------


@pytest.fixture
def floated() -> Iterator[Shop]:
    """Our float must be a thousand naira at least."""
    yield from closing(Shop(limits=limited(float_="1000")))


def test_a_low_float_stops_the_selling_until_it_is_filled_up(floated: Shop) -> None:
    floated.company.float_ = naira(1_000)
    look(floated)
    floated.pay()
    floated.company.float_ = Money(99_999, "NGN")
    look(floated)
    refused(floated)
    floated.company.float_ = naira(5_000)
    look(floated)
    floated.pay()


def test_a_float_that_nobody_knows_stops_nothing(floated: Shop) -> None:
    floated.company.float_ = Unknown("no such call")
    look(floated)
    floated.pay()


def test_a_float_that_was_low_is_low_until_the_company_says_otherwise(floated: Shop) -> None:
    floated.company.float_ = naira(10)
    look(floated)
    floated.company.float_ = Unknown("no answer")
    look(floated)
    refused(floated)


def test_the_float_is_asked_about_once_a_minute(floated: Shop) -> None:
    for _ in range(7):
        look(floated, 10)
    assert floated.company.times("float") == 2


def test_a_company_that_breaks_when_asked_stops_nobody_else() -> None:
    class Broken(Company):
        def fetch_float(self) -> Money:
            raise KeyError("balance")

    second = Company("backup")
    second.float_ = naira(10)
    shop = Shop(Broken("acme"), second, limits=limited(float_="1000"))
    look(shop)
    assert "backup" in str(shop.bv.health().checks["provider"].details["suspended"])
    shop.pay()
    shop.close()


# --- our set-up -------------------------------------------------------------------------------------------------------


@pytest.fixture
def shop() -> Iterator[Shop]:
    yield from closing(Shop())


def test_the_answer_that_we_are_at_fault_stops_the_selling_at_once(shop: Shop) -> None:
    shop.company.sells = EMPTY
    first, second = shop.pay(), shop.pay()
    shop.settled(first)
    refused(shop)
    assert shop.settled(second).status is Status.PENDING  # nothing was sent of it, and it waits
    assert shop.company.times("vend") == 1
    shop.work()
    assert shop.now(first).proof is Proof.NOT_EXECUTED


def test_it_sells_again_once_the_company_answers_about_our_float(shop: Shop) -> None:
    shop.company.sells = EMPTY
    shop.settled(shop.pay())
    (waiting,) = shop.pay_many()
    shop.work()
    shop.company.float_ = EMPTY
    look(shop)
    refused(shop)
    shop.company.float_, shop.company.sells = naira(5_000), Delivered(TOKEN)
    look(shop)
    shop.work()
    assert shop.now(waiting).status is Status.COMPLETED
    shop.pay()


def test_a_company_that_can_not_be_asked_has_not_said_that_all_is_well(shop: Shop) -> None:
    look(shop)
    shop.company.sells, shop.company.float_ = EMPTY, Unknown("no answer")
    shop.settled(shop.pay())
    look(shop)
    refused(shop)


def test_a_company_without_a_word_for_our_float_is_tried_again_some_time(shop: Shop) -> None:
    shop.company.sells, shop.company.float_ = EMPTY, Unknown("no such call")
    shop.settled(shop.pay())
    for _ in range(60):
        look(shop)
    shop.company.sells = Delivered(TOKEN)
    assert shop.settled(shop.pay()).status is Status.COMPLETED


def test_an_empty_float_has_not_been_filled_up(shop: Shop) -> None:
    shop.company.sells, shop.company.float_ = EMPTY, Money(0, "NGN")
    shop.settled(shop.pay())
    look(shop)
    refused(shop)
    shop.company.float_ = naira(5_000)
    look(shop)
    shop.pay()


def test_credentials_that_are_refused_stop_the_selling(shop: Shop) -> None:
    shop.company.float_ = Misconfigured("the key is not accepted")
    look(shop)
    refused(shop)
    assert shop.company.times("vend") == 0


# --- not found --------------------------------------------------------------------------------------------------------


@pytest.fixture
def few() -> Iterator[Shop]:
    """Four orders that are not found are too many."""
    yield from closing(Shop(limits=limited(most_not_found=MOST)))


def lost(shop: Shop, number: int) -> list[Payment]:
    """So many orders that nobody answers, and that are not found when they are asked about first."""
    shop.company.tells = ABSENT
    payments = [shop.in_doubt(100) for _ in range(number)]
    shop.later(22)
    return payments


def test_too_many_not_found_stop_the_selling(few: Shop) -> None:
    lost(few, MOST)
    look(few, 1)
    refused(few)


def test_a_few_not_found_stop_nothing(few: Shop) -> None:
    lost(few, MOST - 1)
    look(few, 1)
    few.pay()


def test_not_found_by_half_stops_nothing(few: Shop) -> None:
    few.company.sells = Delivered(TOKEN)
    for _ in range(MOST):
        few.settled(few.pay())
    lost(few, MOST)
    look(few, 1)
    few.pay()


def test_what_was_not_found_and_then_is_found_does_not_count(few: Shop) -> None:
    lost(few, MOST)
    few.company.tells = Delivered(TOKEN)
    few.later(70)
    look(few, 1)
    few.pay()


def test_it_sells_again_when_they_are_found_after_all(few: Shop) -> None:
    lost(few, MOST)
    look(few, 1)
    refused(few)
    few.company.tells = few.company.sells = Delivered(TOKEN)
    few.later(70)
    look(few, 1)
    assert few.settled(few.pay()).status is Status.COMPLETED


def test_nothing_is_reversed_on_not_found_where_too_many_are() -> None:
    """It may be the wrong account: the proof is the same in each case, and worth nothing. A person is called."""
    shop = Shop(limits=limited(most_not_found=MOST))
    payments = lost(shop, MOST)
    for _ in range(60):  # the sweeper, for an hour
        shop.bv.refresh_account_status()
        shop.later(60)
    assert {shop.now(payment).status for payment in payments} <= {Status.IN_DOUBT, Status.IN_REVIEW}
    shop.close()


def test_one_that_is_not_found_among_many_that_are_is_reversed(few: Shop) -> None:
    (payment,) = lost(few, 1)
    for _ in range(60):
        few.bv.refresh_account_status()
        few.later(60)
    assert few.now(payment).proof is Proof.NOT_FOUND
    assert few.balance == (10_000, 0)


def test_the_look_back_after_midnight_is_expected_to_find_nothing() -> None:
    """What waited over midnight is asked about under the old day's reference: that it is not found is as it should be."""
    shop = Shop(Company(needs_day=True), limits=limited(most_not_found=MOST))
    shop.clock.sleep(11.9 * 3600)
    payments = shop.pay_many(MOST + 1)
    shop.company.tells = ABSENT
    shop.clock.sleep(3600)
    for payment in payments:
        shop.settled(payment)
    assert shop.company.times("requery") == MOST + 1
    shop.bv.refresh_account_status()
    shop.work()
    assert {shop.now(payment).status for payment in payments} == {Status.COMPLETED}
    shop.close()


def test_what_was_accepted_in_bulk_waits_after_its_look_back_too() -> None:
    shop = Shop(Company(needs_day=True))
    shop.clock.sleep(11.9 * 3600)
    (payment,) = shop.pay_many()
    shop.company.tells, shop.company.float_ = ABSENT, EMPTY
    look(shop, 3600)
    shop.work()
    assert not shop.now(payment).has_ended
    assert shop.balance == (9_500, 500)
    shop.company.float_ = naira(5_000)
    look(shop)
    shop.work()
    assert shop.now(payment).token == TOKEN
    shop.close()


# --- turned off -------------------------------------------------------------------------------------------------------


def test_without_limits_nothing_is_too_much(shop: Shop) -> None:
    lost(shop, 30)
    shop.company.float_ = Money(0, "NGN")
    look(shop)
    shop.pay()


# --- what others see --------------------------------------------------------------------------------------------------


def test_health_shows_it(shop: Shop) -> None:
    assert shop.bv.health().status == "ok"
    shop.company.sells = EMPTY
    shop.settled(shop.pay())
    sick = shop.bv.health()
    assert sick.status == "degraded"
    assert "the float is empty" in str(sick.checks["provider"].details["suspended"])
    shop.company.float_ = naira(5_000)
    look(shop)
    well = shop.bv.health()
    assert well.status == "ok"
    assert well.checks["provider"].details["float"] == {"acme": "5000.00"}


def test_health_names_the_accounts_that_payments_in_doubt_wait_for(shop: Shop) -> None:
    old, new = shop.company, Company(account="key-2")
    payment = shop.in_doubt()
    shop.in_doubt()
    assert "unconfigured" not in shop.bv.health().checks["provider"].details
    shop.reopen(new)
    for _ in range(2):  # in doubt, and then in review
        sick = shop.bv.health()
        assert sick.status == "degraded"
        assert sick.checks["provider"].status == "down"
        assert sick.checks["provider"].details["unconfigured"] == ["acme account key-1"]
        shop.later(60)
    assert shop.now(payment).status is Status.IN_REVIEW
    old.tells = Delivered(TOKEN)
    shop.reopen(new, old)
    assert "unconfigured" not in shop.bv.health().checks["provider"].details
    shop.later(86400)
    shop.reopen(new)  # nothing waits for the old account any more
    well = shop.bv.health()
    assert well.status == "ok"
    assert "unconfigured" not in well.checks["provider"].details


def test_a_gone_account_from_which_nothing_is_awaited_is_nobody_s_business(shop: Shop) -> None:
    shop.settled(shop.pay())
    shop.pay_many()
    shop.reopen(Company(account="key-2"))
    assert shop.bv.health().status == "ok"


def test_another_process_knows_it_within_seconds(shop: Shop) -> None:
    """Every process goes by what the database says."""
    mine = shop.bv
    mine.backlog()
    shop.reopen(shop.company)
    shop.pay()
    shop.company.sells = shop.company.float_ = EMPTY
    shop.work()
    shop.bv = mine
    shop.clock.sleep(2)
    refused(shop)


def test_without_the_database_what_was_known_last_holds(shop: Shop) -> None:
    shop.company.sells = NotSent("refused")
    shop.company.float_ = EMPTY
    look(shop)
    refused(shop)
    shop.clock.sleep(100)
    with pytest.raises(BillvendError):
        shop.pay()
