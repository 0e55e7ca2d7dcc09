"""Who looks after the accounts where no worker runs; and what is heard of them in the meantime is not lost."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from threading import Event

import pytest

from billvend import Billvend, BillvendError, Money, Payment
from billvend.adapters.storage.queries import SqlQueries
from billvend.domain.errors import ProviderUnavailable
from billvend.domain.outcome import Delivered, Misconfigured, Unknown
from billvend.ports.account_status import Exposure
from billvend.usecases.account_status import REFRESH_INTERVAL_SECONDS, configuration_fault_reason, suspend
from billvend.usecases.dependencies import Limits, MeterCheck
from tests.usecases.shop import TOKEN, Company, Shop, closing

EMPTY = Misconfigured("the float is empty", "018")
THOUSAND = Limits("100", "1000000", max_in_doubt_major="1000")
PATIENCE_SECONDS = 20
"""How long a test waits for a thread of its own before it fails."""


class Talking(Company):
    """Something happens while it is asked about our float."""

    def __init__(self, name: str = "acme") -> None:
        super().__init__(name)
        self.while_asked: Callable[[], object] = lambda: None

    def fetch_float(self) -> Money | Misconfigured | Unknown:
        said = super().fetch_float()
        self.while_asked()
        return said


class Counted(SqlQueries):
    """Books that count who looks at what is at risk, and keep him waiting."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(shop.database)
        self.looks = 0
        self.looking, self.go_on = Event(), Event()

    def exposures(self, since: datetime) -> list[Exposure]:
        self.looks += 1
        self.looking.set()
        assert self.go_on.wait(PATIENCE_SECONDS)
        return super().exposures(since)


@pytest.fixture(params=[False, True], ids=["meters unasked", "meters asked about"])
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    """At most a thousand naira may be in doubt."""
    yield from closing(Shop(Talking(), limits=THOUSAND, verification=MeterCheck(request.param)))


def refused(shop: Shop) -> str:
    """Paying is refused, and nothing is held for it. Returns why nothing is sold."""
    before = shop.balance
    with pytest.raises(ProviderUnavailable, match="Nothing was held"):
        shop.pay()
    assert shop.balance == before
    return why_closed(shop)


def why_closed(shop: Shop) -> str:
    """Why nothing is sold, as health says it."""
    return str(shop.bv.health().checks["provider"].details["suspended"])


def look(shop: Shop, seconds: float = 61) -> None:
    """A worker comes round a minute later."""
    shop.clock.sleep(seconds)
    shop.bv.refresh_account_status()


# --- without a worker -------------------------------------------------------------------------------------------------


def test_without_a_worker_too_much_in_doubt_stops_the_selling_all_the_same(shop: Shop) -> None:
    shop.pay()
    shop.in_doubt(1_100)
    shop.clock.sleep(REFRESH_INTERVAL_SECONDS)
    assert "NGN 1,100.00 are in doubt there" in refused(shop)


def test_the_look_asks_the_books_and_no_provider(shop: Shop) -> None:
    shop.company.float_ = EMPTY
    for _ in range(10):
        shop.pay()
        shop.clock.sleep(REFRESH_INTERVAL_SECONDS)
    assert shop.company.times("float") == 0


def test_it_is_looked_at_now_and_then_and_not_for_every_payment(shop: Shop) -> None:
    books = Counted(shop)
    books.go_on.set()
    shop.bv = Billvend(replace(shop.parts, queries=books))
    for expected in (1, 2, 3):
        for _ in range(3):
            shop.pay()
        shop.clock.sleep(REFRESH_INTERVAL_SECONDS - 0.1)
        shop.pay()
        assert books.looks == expected
        shop.clock.sleep(0.1)


def test_of_many_at_once_one_looks_and_the_others_are_not_kept_waiting(shop: Shop) -> None:
    books = Counted(shop)
    shop.bv = Billvend(replace(shop.parts, queries=books))
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(shop.pay)
        assert books.looking.wait(PATIENCE_SECONDS)
        others = [threads.submit(shop.pay) for _ in range(8)]
        try:
            assert len({paid.result(PATIENCE_SECONDS).transaction_id for paid in others}) == 8
            assert not first.done()
        finally:
            books.go_on.set()
        first.result(PATIENCE_SECONDS)
    assert books.looks == 1


def test_a_look_that_the_database_does_not_answer_refuses_the_payment_with_nothing_done(shop: Shop) -> None:
    class Away(SqlQueries):
        def exposures(self, since: datetime) -> list[Exposure]:
            raise BillvendError("The database is away.")

    whole = shop.bv
    shop.bv = Billvend(replace(shop.parts, queries=Away(shop.database)))
    with pytest.raises(BillvendError, match="away"):
        shop.pay()
    shop.bv = whole
    assert shop.balance == (10_000, 0)


def test_while_one_buyer_waits_for_a_slow_provider_the_others_are_refused_at_once() -> None:
    """Embedded, a buyer asks himself whether the provider sells again. One at a time is enough."""
    company = Talking()
    shop = Shop(company)
    suspend(shop.parts, "acme", "key-1", configuration_fault_reason(EMPTY))
    shop.clock.sleep(1)
    asked, answered = Event(), Event()

    def slow() -> None:
        asked.set()
        assert answered.wait(PATIENCE_SECONDS)

    company.while_asked = slow
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(shop.pay)
        assert asked.wait(PATIENCE_SECONDS)
        others = [threads.submit(shop.pay) for _ in range(8)]
        try:
            refusals = [type(paid.exception(PATIENCE_SECONDS)) for paid in others]
        finally:
            answered.set()
        assert refusals == [ProviderUnavailable] * 8
        assert isinstance(first.result(PATIENCE_SECONDS), Payment)  # it was answered, and sells again
    assert company.times("float") == 1
    shop.close()


# --- more than one thing is wrong -------------------------------------------------------------------------------------


def at_fault_and_in_doubt(shop: Shop) -> Payment:
    """More than a thousand naira are in doubt, and then the provider says that our float is empty."""
    next_one, doubtful = shop.pay(), shop.in_doubt(1_100)
    shop.company.sells, shop.company.float_ = EMPTY, Unknown("no such call")
    shop.settled(next_one)
    return doubtful


def test_a_fault_is_not_forgotten_when_the_doubt_clears(shop: Shop) -> None:
    doubtful = at_fault_and_in_doubt(shop)
    look(shop)
    assert "the float is empty" in refused(shop)
    shop.company.tells = Delivered(TOKEN)
    shop.bv.refresh(doubtful.transaction_id)
    look(shop)
    assert "the float is empty" in refused(shop)
    look(shop, 600)  # the time after which the next order tells
    shop.company.sells = Delivered(TOKEN)
    assert shop.settled(shop.pay()).token == TOKEN


def test_a_doubt_is_not_forgotten_when_the_fault_is_mended(shop: Shop) -> None:
    at_fault_and_in_doubt(shop)
    look(shop)
    shop.company.float_ = Money(500_000, "NGN")
    look(shop)
    assert "are in doubt there" in refused(shop)


# --- what is heard while the look is made -----------------------------------------------------------------------------


def test_a_fault_that_a_worker_hears_while_the_float_is_asked_about_stands(shop: Shop) -> None:
    company = shop.company
    assert isinstance(company, Talking)
    order = shop.pay()
    company.sells = EMPTY
    company.while_asked = lambda: shop.settled(order)
    look(shop)
    assert "the float is empty" in why_closed(shop)
    company.while_asked = lambda: None
    look(shop)  # asked after the fault, and answered: it was filled up
    company.sells = Delivered(TOKEN)
    assert shop.settled(shop.pay()).token == TOKEN


def test_a_fault_of_one_provider_that_is_heard_while_another_is_asked_stands() -> None:
    """What the look read of the second one before it asked the first is old by then."""
    second = Company("backup")
    shop = Shop(second, limits=THOUSAND)
    look(shop)
    shop.in_doubt(1_100)
    first = Talking("acme")
    shop.reopen(first, second)
    first.while_asked = lambda: suspend(shop.parts, "backup", "key-1", configuration_fault_reason(EMPTY))
    shop.bv.refresh_account_status()
    assert second.times("float") == 1  # its answer was fresh, and it is not asked this time
    assert "the float is empty" in why_closed(shop)
    shop.close()


def test_a_fault_that_is_heard_while_a_buyer_looks_at_the_books_stands() -> None:
    class Meanwhile(SqlQueries):
        def exposures(self, since: datetime) -> list[Exposure]:
            found = super().exposures(since)
            if heard:
                suspend(shop.parts, "acme", "key-1", heard.pop())
            return found

    shop = Shop(limits=THOUSAND)
    heard = [configuration_fault_reason(EMPTY)]
    shop.in_doubt(1_100)
    shop.clock.sleep(REFRESH_INTERVAL_SECONDS)
    shop.company.float_ = Unknown("no such call")
    shop.bv = Billvend(replace(shop.parts, queries=Meanwhile(shop.database)))
    assert "the float is empty" in refused(shop)
    shop.close()
