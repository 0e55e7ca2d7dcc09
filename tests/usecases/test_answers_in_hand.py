"""An answer in hand is money: it survives a database that restarts, an adapter that garbles it, and clocks gone wrong."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest

from billvend import Bill, Billvend, Status, Unavailable, open_billvend
from billvend.config import load_settings
from billvend.domain.decisions.commands import Command, RecordAnswer
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.outcome import Delivered, Unknown
from billvend.domain.policy.accounts import ProviderAccount
from billvend.ports.provider import Order, Provider
from billvend.ports.queue import Hint
from billvend.usecases.settle import RECORD_TIMEOUT_SECONDS

TOKEN = "12345678901234567890"


class Clock:
    """Moves when somebody pauses, or when the test says so."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 22, 12, tzinfo=UTC)
        self.serial = count(1)

    def now(self) -> datetime:
        return self.at

    def elapsed_seconds(self) -> float:
        return self.at.timestamp()

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    def new_id(self) -> str:
        return f"id-{next(self.serial):06}"


class Scripted:
    """A provider that says what the test wrote down."""

    def __init__(self, account: ProviderAccount, answers: list[Any]) -> None:
        self.account = account
        self.answers = answers

    def vend(self, order: Order, may_send: Callable[[], bool]) -> Any:
        assert may_send()
        return self.answers.pop(0)

    def requery(self, order: Order) -> Any:
        return self.answers.pop(0)

    def close(self) -> None: ...


class Shaky:
    """A journal whose database is away for so many reports."""

    def __init__(self, real: Any, away_for: int) -> None:
        self.real = real
        self.away_for = away_for

    def execute(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        if isinstance(commands[0], RecordAnswer) and self.away_for:
            self.away_for -= 1
            raise Unavailable("The database restarts. Nothing was done.")
        results: list[CommandOutcome] = self.real.execute(commands)
        return results

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class Shop:
    """A billvend with a scripted provider, a shaky journal and a clock by hand."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.answers: list[Any] = []
        real = open_billvend(
            load_settings(f"sqlite:///{folder}/shop.db", verify_meter=False), clock=self.clock
        )
        parts = real._deps
        self.journal = Shaky(parts.journal, 0)
        providers = {
            key: cast(Provider, Scripted(p.account, self.answers)) for key, p in parts.providers.items()
        }
        for replaced in parts.providers.values():
            replaced.close()
        self.bv = Billvend(replace(parts, journal=self.journal, providers=providers))
        self.bv.fund("ada", 5000)

    def paid(self, *answers: Any) -> Hint:
        self.answers += answers
        return Hint("ada", self.bv.pay("ada", 500, meter="12345678901", biller="EKEDC").transaction_id)

    def status(self, hint: Hint) -> Status:
        payment = self.bv.payments()[0]
        assert payment.transaction_id == hint.transaction_id
        return payment.status


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    with shop.bv:
        yield shop
        assert shop.bv.audit().ok


def test_a_token_in_hand_waits_for_the_database_to_come_back(shop: Shop) -> None:
    hint = shop.paid(Delivered(TOKEN))
    shop.journal.away_for = 7
    shop.bv.settle(hint)
    assert shop.bv.payments()[0].token == TOKEN


def test_a_database_that_stays_away_is_not_waited_for_for_ever(shop: Shop) -> None:
    hint = shop.paid(Delivered(TOKEN), Delivered(TOKEN))
    shop.journal.away_for = 10**6
    began = shop.clock.at
    with pytest.raises(Unavailable):
        shop.bv.settle(hint)
    assert 0 <= (shop.clock.at - began).total_seconds() - RECORD_TIMEOUT_SECONDS < 3
    shop.journal.away_for = 0
    shop.bv.settle(hint)  # the lease ran out: the provider is asked, and says it again
    assert shop.bv.payments()[0].token == TOKEN


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
def test_a_garbled_delivery_keeps_its_token_and_books_no_nonsense(shop: Shop, garbled: Delivered) -> None:
    hint = shop.paid(garbled)
    shop.bv.settle(hint)
    (payment,) = shop.bv.payments()
    assert payment.token == TOKEN
    assert payment.completion is not None
    assert payment.completion.cost_minor is None


@pytest.mark.parametrize("garbage", ["yes", None, {"status": "ok"}, 7])
def test_what_is_no_answer_is_unknown(shop: Shop, garbage: object) -> None:
    hint = shop.paid(garbage)
    shop.bv.settle(hint)
    assert shop.status(hint) is Status.IN_DOUBT


def test_a_worker_whose_clock_is_a_year_ahead_locks_nobody_out(shop: Shop) -> None:
    hint = shop.paid(Unknown("no answer"))
    shop.bv.settle(hint)
    right = shop.clock.at
    shop.clock.at = right + timedelta(days=365)
    shop.answers.append(SystemExit)  # dies on its way: the claim stands, and nobody reports
    shop.bv.sweep()
    with pytest.raises(Dying):
        die_asking(shop, hint)
    shop.clock.at = right + timedelta(minutes=2)
    assert shop.bv.sweep().due == 1
    shop.answers[:] = [Delivered(TOKEN)]
    shop.clock.at += timedelta(
        days=1
    )  # after the review that the wrong clock asked for, the requery is daily
    shop.bv.settle(hint)
    assert shop.bv.payments()[0].token == TOKEN


class Dying(BaseException):
    """What a process feels that is killed."""


def die_asking(shop: Shop, hint: Hint) -> None:
    class Fatal:
        def __init__(self, real: Any) -> None:
            self.account = real.account

        def requery(self, order: Order) -> Any:
            raise Dying

    parts = shop.bv._deps
    fatal = {key: Fatal(provider) for key, provider in parts.providers.items()}
    doomed = Billvend(replace(parts, providers=fatal))  # type: ignore[arg-type]
    doomed.settle(hint)
    doomed.settle(hint)


def test_accepted_bills_are_told_of_when_the_database_goes_away_between_them(shop: Shop) -> None:
    bills = [Bill("ada", 100, "12345678901", "EKEDC", key=f"row-{number}") for number in range(501)]
    shop.bv.fund("ada", 100_000)
    real, lists = shop.journal.real.execute, count()

    def once(commands: Sequence[Command]) -> list[CommandOutcome]:
        if next(lists):
            raise Unavailable("The database is gone. Nothing was done.")
        results: list[CommandOutcome] = real(commands)
        return results

    shop.journal.real = type(
        "OnlyOnce", (), {"execute": staticmethod(once), "close": shop.journal.real.close}
    )()
    results = shop.bv.pay_many(bills)
    assert [isinstance(result, Unavailable) for result in results] == [False] * 500 + [True]
    assert shop.bv.balance("ada").held.major == 50_000
