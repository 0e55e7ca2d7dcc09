"""A received answer is money: it survives a database restart, an adapter with invalid fields, and wrong clocks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest

from billvend import Bill, Status, Unavailable, open_billvend
from billvend.app import Billvend
from billvend.config import load_settings
from billvend.domain.decisions.commands import Command, RecordAnswer
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.outcome import Delivered, Unknown
from billvend.domain.policy.accounts import ProviderAccount
from billvend.ports.provider import Order, Provider
from billvend.ports.queue import Hint
from billvend.usecases.settle import RECORD_TIMEOUT_SECONDS
from tests.harness import TOKEN, FakeClock


class ScriptedProvider:
    """A provider that gives the answers that the test set."""

    def __init__(self, account: ProviderAccount, answers: list[Any]) -> None:
        self.account = account
        self.answers = answers

    def vend(self, order: Order, may_send: Callable[[], bool]) -> Any:
        assert may_send()
        return self.answers.pop(0)

    def requery(self, order: Order) -> Any:
        return self.answers.pop(0)

    def close(self) -> None: ...


class FlakyJournal:
    """A journal whose database is down for so many reports."""

    def __init__(self, real: Any, failures_left: int) -> None:
        self.real = real
        self.failures_left = failures_left

    def execute(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        if isinstance(commands[0], RecordAnswer) and self.failures_left:
            self.failures_left -= 1
            raise Unavailable("The database restarts. Nothing was done.")
        results: list[CommandOutcome] = self.real.execute(commands)
        return results

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class AnswerHarness:
    """A billvend with a scripted provider, a flaky journal and a test clock."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.answers: list[Any] = []
        real = open_billvend(
            load_settings(f"sqlite:///{folder}/shop.db", verify_meter=False), clock=self.clock
        )
        parts = real._deps
        self.journal = FlakyJournal(parts.journal, 0)
        providers = {
            key: cast(Provider, ScriptedProvider(p.account, self.answers))
            for key, p in parts.providers.items()
        }
        for replaced in parts.providers.values():
            replaced.close()
        self.bv = Billvend(replace(parts, journal=self.journal, providers=providers))
        self.bv.fund("ada", 5000)

    def accept_payment(self, *answers: Any) -> Hint:
        self.answers += answers
        return Hint("ada", self.bv.pay("ada", 500, meter="12345678901", biller="EKEDC").transaction_id)

    def status(self, hint: Hint) -> Status:
        payment = self.bv.payments()[0]
        assert payment.transaction_id == hint.transaction_id
        return payment.status


@pytest.fixture
def app(tmp_path: Path) -> Iterator[AnswerHarness]:
    app = AnswerHarness(tmp_path)
    with app.bv:
        yield app
        assert app.bv.audit().ok


def test_delivered_token_is_recorded_when_database_recovers(app: AnswerHarness) -> None:
    hint = app.accept_payment(Delivered(TOKEN))
    app.journal.failures_left = 7
    app.bv.settle(hint)
    assert app.bv.payments()[0].token == TOKEN


def test_recording_an_answer_gives_up_when_database_stays_down(app: AnswerHarness) -> None:
    hint = app.accept_payment(Delivered(TOKEN), Delivered(TOKEN))
    app.journal.failures_left = 10**6
    began = app.clock.at
    with pytest.raises(Unavailable):
        app.bv.settle(hint)
    assert 0 <= (app.clock.at - began).total_seconds() - RECORD_TIMEOUT_SECONDS < 3
    app.journal.failures_left = 0
    app.bv.settle(hint)  # the lease ran out: the provider is requeried, and gives the same answer
    assert app.bv.payments()[0].token == TOKEN


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
def test_malformed_delivery_keeps_token_and_drops_invalid_cost(
    app: AnswerHarness, garbled: Delivered
) -> None:
    hint = app.accept_payment(garbled)
    app.bv.settle(hint)
    (payment,) = app.bv.payments()
    assert payment.token == TOKEN
    assert payment.completion is not None
    assert payment.completion.cost_minor is None


@pytest.mark.parametrize("garbage", ["yes", None, {"status": "ok"}, 7])
def test_invalid_answer_puts_payment_in_doubt(app: AnswerHarness, garbage: object) -> None:
    hint = app.accept_payment(garbage)
    app.bv.settle(hint)
    assert app.status(hint) is Status.IN_DOUBT


def test_lease_of_worker_with_clock_a_year_ahead_does_not_block_others(app: AnswerHarness) -> None:
    hint = app.accept_payment(Unknown("no answer"))
    app.bv.settle(hint)
    right = app.clock.at
    app.clock.at = right + timedelta(days=365)
    app.answers.append(SystemExit)  # killed during the send: the claim remains, and no report comes
    app.bv.sweep()
    with pytest.raises(ProcessKilled):
        kill_during_requery(app, hint)
    app.clock.at = right + timedelta(minutes=2)
    assert app.bv.sweep().due == 1
    app.answers[:] = [Delivered(TOKEN)]
    app.clock.at += timedelta(days=1)  # after the review that the wrong clock requested, the requery is daily
    app.bv.settle(hint)
    assert app.bv.payments()[0].token == TOKEN


class ProcessKilled(BaseException):
    """What a killed process raises."""


def kill_during_requery(app: AnswerHarness, hint: Hint) -> None:
    class Fatal:
        def __init__(self, real: Any) -> None:
            self.account = real.account

        def requery(self, order: Order) -> Any:
            raise ProcessKilled

    parts = app.bv._deps
    fatal = {key: Fatal(provider) for key, provider in parts.providers.items()}
    killed = Billvend(replace(parts, providers=fatal))  # type: ignore[arg-type]
    killed.settle(hint)
    killed.settle(hint)


def test_bulk_reports_accepted_bills_when_database_fails_midway(app: AnswerHarness) -> None:
    bills = [Bill("ada", 100, "12345678901", "EKEDC", key=f"row-{number}") for number in range(501)]
    app.bv.fund("ada", 100_000)
    real, lists = app.journal.real.execute, count()

    def once(commands: Sequence[Command]) -> list[CommandOutcome]:
        if next(lists):
            raise Unavailable("The database is down. Nothing was done.")
        results: list[CommandOutcome] = real(commands)
        return results

    app.journal.real = type(
        "OnlyOnce", (), {"execute": staticmethod(once), "close": app.journal.real.close}
    )()
    results = app.bv.pay_many(bills)
    assert [isinstance(result, Unavailable) for result in results] == [False] * 500 + [True]
    assert app.bv.balance("ada").held.major == 50_000
