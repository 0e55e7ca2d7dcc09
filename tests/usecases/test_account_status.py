"""Account statuses are refreshed without a worker, and faults reported during a refresh are not lost."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from threading import Event

import pytest

from billvend import BillvendError, Money, Payment
from billvend.adapters.storage.queries import SqlQueries
from billvend.app import Billvend
from billvend.domain.errors import ProviderUnavailable
from billvend.domain.outcome import Delivered, Misconfigured, Unknown
from billvend.ports.repositories import Exposure
from billvend.usecases.account_status import REFRESH_INTERVAL_SECONDS
from billvend.usecases.meters import MeterCheck
from tests.harness import TOKEN, AppHarness, FakeProvider, using
from tests.usecases.test_suspension import (
    EMPTY_FLOAT,
    assert_payment_rejected,
    limits,
    refresh_later,
    suspended_reason,
)

THOUSAND_IN_DOUBT = limits(in_doubt="1000")
TIMEOUT_SECONDS = 20
"""How long a test waits for one of its threads before it fails."""


class CallbackProvider(FakeProvider):
    """A provider that runs a function while it is asked for our float."""

    def __init__(self, name: str = "acme") -> None:
        super().__init__(name)
        self.during_float_poll: Callable[[], object] = lambda: None

    def fetch_float(self) -> Money | Misconfigured | Unknown:
        answer = super().fetch_float()
        self.during_float_poll()
        return answer


class BlockingQueries(SqlQueries):
    """Queries that count reads of the exposures, and hold them until the test releases them."""

    def __init__(self, app: AppHarness) -> None:
        super().__init__(app.database)
        self.query_count = 0
        self.started, self.may_continue = Event(), Event()

    def exposures(self, since: datetime) -> list[Exposure]:
        self.query_count += 1
        self.started.set()
        assert self.may_continue.wait(TIMEOUT_SECONDS)
        return super().exposures(since)


@pytest.fixture(params=[False, True], ids=["meters unchecked", "meters checked"])
def app(request: pytest.FixtureRequest) -> Iterator[AppHarness]:
    """At most a thousand naira may be in doubt."""
    yield from using(
        AppHarness(CallbackProvider(), limits=THOUSAND_IN_DOUBT, verification=MeterCheck(request.param))
    )


# --- without a worker -------------------------------------------------------------------------------------------------


def test_account_is_suspended_without_a_worker(app: AppHarness) -> None:
    app.pay()
    app.payment_in_doubt(1_100)
    app.clock.sleep(REFRESH_INTERVAL_SECONDS)
    assert "NGN 1,100.00 are in doubt there" in assert_payment_rejected(app)


def test_status_refresh_on_payment_does_not_poll_the_float(app: AppHarness) -> None:
    app.provider.float_answer = EMPTY_FLOAT
    for _ in range(10):
        app.pay()
        app.clock.sleep(REFRESH_INTERVAL_SECONDS)
    assert app.provider.count("float") == 0


def test_account_status_is_refreshed_at_intervals_not_per_payment(app: AppHarness) -> None:
    queries = BlockingQueries(app)
    queries.may_continue.set()
    app.bv = Billvend(replace(app.deps, queries=queries))
    for expected in (1, 2, 3):
        for _ in range(3):
            app.pay()
        app.clock.sleep(REFRESH_INTERVAL_SECONDS - 0.1)
        app.pay()
        assert queries.query_count == expected
        app.clock.sleep(0.1)


def test_concurrent_payments_refresh_once_without_waiting(app: AppHarness) -> None:
    queries = BlockingQueries(app)
    app.bv = Billvend(replace(app.deps, queries=queries))
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(app.pay)
        assert queries.started.wait(TIMEOUT_SECONDS)
        others = [threads.submit(app.pay) for _ in range(8)]
        try:
            assert len({paid.result(TIMEOUT_SECONDS).transaction_id for paid in others}) == 8
            assert not first.done()
        finally:
            queries.may_continue.set()
        first.result(TIMEOUT_SECONDS)
    assert queries.query_count == 1


def test_payment_is_rejected_when_status_refresh_fails(app: AppHarness) -> None:
    class UnavailableQueries(SqlQueries):
        def exposures(self, since: datetime) -> list[Exposure]:
            raise BillvendError("The database is down.")

    whole = app.bv
    app.bv = Billvend(replace(app.deps, queries=UnavailableQueries(app.database)))
    with pytest.raises(BillvendError, match="down"):
        app.pay()
    app.bv = whole
    assert app.balance == (10_000, 0)


def test_one_payment_polls_slow_provider_and_others_are_rejected() -> None:
    """In an embedded library, a buyer's own request checks whether the provider sells again. One request at a time is
    enough."""
    provider = CallbackProvider()
    app = AppHarness(provider)
    app.bv.use_cases.accounts.suspend("acme", "key-1", EMPTY_FLOAT)
    app.clock.sleep(1)
    poll_started, answered = Event(), Event()

    def slow() -> None:
        poll_started.set()
        assert answered.wait(TIMEOUT_SECONDS)

    provider.during_float_poll = slow
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(app.pay)
        assert poll_started.wait(TIMEOUT_SECONDS)
        others = [threads.submit(app.pay) for _ in range(8)]
        try:
            refusals = [type(paid.exception(TIMEOUT_SECONDS)) for paid in others]
        finally:
            answered.set()
        assert refusals == [ProviderUnavailable] * 8
        assert isinstance(first.result(TIMEOUT_SECONDS), Payment)  # it was answered, and sells again
    assert provider.count("float") == 1
    app.close()


# --- several reasons at once ------------------------------------------------------------------------------------------


def misconfigured_and_in_doubt(app: AppHarness) -> Payment:
    """More than a thousand naira are in doubt, and then the provider says that our float is empty."""
    next_one, doubtful = app.pay(), app.payment_in_doubt(1_100)
    app.provider.send_answer, app.provider.float_answer = EMPTY_FLOAT, Unknown("no such call")
    app.settle(next_one)
    return doubtful


def test_configuration_fault_stays_when_in_doubt_clears(app: AppHarness) -> None:
    doubtful = misconfigured_and_in_doubt(app)
    refresh_later(app)
    assert "the float is empty" in assert_payment_rejected(app)
    app.provider.requery_answer = Delivered(TOKEN)
    app.bv.refresh(doubtful.transaction_id)
    refresh_later(app)
    assert "the float is empty" in assert_payment_rejected(app)
    refresh_later(app, 600)  # after this time, the next order checks again
    app.provider.send_answer = Delivered(TOKEN)
    assert app.settle(app.pay()).token == TOKEN


def test_in_doubt_suspension_stays_when_fault_is_fixed(app: AppHarness) -> None:
    misconfigured_and_in_doubt(app)
    refresh_later(app)
    app.provider.float_answer = Money(500_000, "NGN")
    refresh_later(app)
    assert "are in doubt there" in assert_payment_rejected(app)


# --- faults reported during a refresh ---------------------------------------------------------------------------------


def test_fault_reported_during_float_poll_is_kept(app: AppHarness) -> None:
    provider = app.provider
    assert isinstance(provider, CallbackProvider)
    order = app.pay()
    provider.send_answer = EMPTY_FLOAT
    provider.during_float_poll = lambda: app.settle(order)
    refresh_later(app)
    assert "the float is empty" in suspended_reason(app)
    provider.during_float_poll = lambda: None
    refresh_later(app)  # polled after the fault, with a good answer: the float was topped up
    provider.send_answer = Delivered(TOKEN)
    assert app.settle(app.pay()).token == TOKEN


def test_fault_reported_during_poll_of_another_account_is_kept() -> None:
    """The refresh read the status of the second account before it polled the first. By then that status is old."""
    second = FakeProvider("backup")
    app = AppHarness(second, limits=THOUSAND_IN_DOUBT)
    refresh_later(app)
    app.payment_in_doubt(1_100)
    first = CallbackProvider("acme")
    app.restart(first, second)
    first.during_float_poll = lambda: app.bv.use_cases.accounts.suspend("backup", "key-1", EMPTY_FLOAT)
    app.bv.refresh_account_status()
    assert second.count("float") == 1  # its answer was fresh, so it is not polled this time
    assert "the float is empty" in suspended_reason(app)
    app.close()


def test_fault_reported_during_exposure_query_is_kept() -> None:
    class QueriesWithFault(SqlQueries):
        def exposures(self, since: datetime) -> list[Exposure]:
            found = super().exposures(since)
            if faults:
                app.bv.use_cases.accounts.suspend("acme", "key-1", faults.pop())
            return found

    app = AppHarness(limits=THOUSAND_IN_DOUBT)
    faults = [EMPTY_FLOAT]
    app.payment_in_doubt(1_100)
    app.clock.sleep(REFRESH_INTERVAL_SECONDS)
    app.provider.float_answer = Unknown("no such call")
    app.bv = Billvend(replace(app.deps, queries=QueriesWithFault(app.database)))
    assert "the float is empty" in assert_payment_rejected(app)
    app.close()
