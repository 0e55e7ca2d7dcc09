"""A received answer is money: it survives a database restart, an adapter with invalid fields, and wrong clocks."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

import pytest

from billvend import Bill, Payment, Status, Unavailable
from billvend.app import Billvend
from billvend.domain.decisions.commands import Command, Pay, RecordAnswer
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.outcome import Answer, Delivered
from billvend.ports.journal import Journal
from billvend.usecases.settle import RECORD_TIMEOUT_SECONDS
from tests.harness import METER, NO_ANSWER, TOKEN, AppHarness, using


class FlakyJournal:
    """A journal whose database is down for so many commands of one kind."""

    def __init__(self, real: Journal) -> None:
        self.real = real
        self.kind: type[Command] = RecordAnswer
        self.works_before_failure = 0
        self.failures_left = 0

    def execute(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        if isinstance(commands[0], self.kind) and self.failures_left:
            self.works_before_failure -= 1
            if self.works_before_failure < 0:
                self.failures_left -= 1
                raise Unavailable("The database restarts. Nothing was done.")
        return self.real.execute(commands)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class FlakyApp(AppHarness):
    """An app with a flaky journal."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = FlakyJournal(self.deps.journal)
        self.deps = replace(self.deps, journal=cast(Journal, self.journal))
        self.bv = Billvend(self.deps)


@pytest.fixture
def app() -> Iterator[FlakyApp]:
    app = FlakyApp()
    for _ in using(app):
        yield app


def settle_answer(app: AppHarness, answer: Any) -> Payment:
    """A payment to whose send the adapter returned this."""
    app.provider.send_answer = answer
    return app.settle(app.pay())


def test_delivered_token_is_recorded_when_database_recovers(app: FlakyApp) -> None:
    app.journal.failures_left = 7
    assert settle_answer(app, Delivered(TOKEN)).token == TOKEN


def test_recording_an_answer_gives_up_when_database_stays_down(app: FlakyApp) -> None:
    payment = app.pay()
    app.journal.failures_left = 10**6
    began = app.clock.at
    with pytest.raises(Unavailable):
        app.settle(payment)
    assert 0 <= (app.clock.at - began).total_seconds() - RECORD_TIMEOUT_SECONDS < 3
    app.journal.failures_left = 0
    app.provider.requery_answer = Delivered(TOKEN)
    assert app.settle(payment).token == TOKEN  # the lease ran out: the provider is requeried


@pytest.mark.parametrize(
    "garbled",
    [
        Delivered(int(TOKEN)),  # type: ignore[arg-type]
        Delivered(TOKEN, units=Decimal("2.5")),  # type: ignore[arg-type]
        Delivered(TOKEN, cost_minor=49250.5),  # type: ignore[arg-type]
        Delivered(TOKEN, cost_minor=True),
        Delivered(TOKEN, receipt=["a"]),  # type: ignore[arg-type]
        Delivered(TOKEN, receipt={"tax": Decimal("7.5"), "lines": [1, {2: 3}]}),  # type: ignore[dict-item]
    ],
    ids=["number", "units", "cost", "flag", "list", "nested"],
)
def test_malformed_delivery_keeps_token_and_drops_invalid_cost(app: FlakyApp, garbled: Delivered) -> None:
    payment = settle_answer(app, garbled)
    assert payment.token == TOKEN
    assert payment.completion is not None
    assert payment.completion.cost_minor is None


@pytest.mark.parametrize("garbage", ["yes", None, {"status": "ok"}, 7])
def test_invalid_answer_puts_payment_in_doubt(app: FlakyApp, garbage: object) -> None:
    assert settle_answer(app, garbage).status is Status.IN_DOUBT


class ProcessKilled(BaseException):
    """What a killed process raises."""


def kill() -> Answer:
    raise ProcessKilled


def test_lease_of_worker_with_clock_a_year_ahead_does_not_block_others(app: FlakyApp) -> None:
    payment = settle_answer(app, NO_ANSWER)
    right = app.clock.at
    app.clock.at = right + timedelta(days=365)
    app.provider.during_requery = kill  # the claim remains, and no report comes
    with pytest.raises(ProcessKilled):
        app.settle(payment)
    app.provider.during_requery = lambda: None
    app.clock.at = right + timedelta(minutes=2)
    assert app.bv.sweep().due == 1
    app.provider.requery_answer = Delivered(TOKEN)
    app.clock.at += timedelta(days=1)  # after the review that the wrong clock requested, the requery is daily
    assert app.settle(payment).token == TOKEN


def test_bulk_reports_accepted_bills_when_database_fails_midway(app: FlakyApp) -> None:
    bills = [Bill("ada", 100, METER, "EKEDC", key=f"row-{number}") for number in range(501)]
    app.bv.fund("ada", 100_000)
    app.journal.kind, app.journal.works_before_failure, app.journal.failures_left = Pay, 1, 1
    results = app.bv.pay_many(bills)
    assert [isinstance(result, Unavailable) for result in results] == [False] * 500 + [True]
    assert app.balance == (60_000, 50_000)
