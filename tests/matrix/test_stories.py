"""The stories around the fault matrix: workers that stop, answers that are late, midnight, backups, wrong clocks."""

import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from billvend import Bill, BillvendError, Payment, Status, open_billvend
from billvend.domain.enums import IncidentKind, Proof
from billvend.domain.errors import NotInReview
from billvend.ports.queue import Hint
from tests.cli.test_worker import worker
from tests.matrix import street
from tests.matrix.shop import METER, Shop, Town
from tests.matrix.street import ASK, SEND, VERIFY, Held

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
MIDNIGHT = datetime(2026, 11, 22, 23, tzinfo=UTC)
"""In Lagos: the end of 22 November."""
SCHEDULED_SECONDS = 60
"""Between the first requery and the second."""
MAX_PROCESSING_SECONDS = 600


@pytest.fixture
def shop(town: Town, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(town, tmp_path)
    try:
        yield shop
    finally:
        shop.bv.close()


def incidents(payment: Payment) -> list[IncidentKind]:
    return [incident.kind for incident in payment.incidents]


def references(payment: Payment) -> list[str]:
    """The days of its references."""
    return [attempt.reference[:8] for attempt in payment.attempts]


@contextmanager
def another_worker(shop: Shop, hint: Hint, kind: str, held: Held) -> Iterator[None]:
    """Somebody else works the payment, and their request stands on the street when the block begins; when it ends, they
    have their answer, and have reported it."""
    shop.street.plan(kind, held)
    with shop.opened() as other, ThreadPoolExecutor(1) as pool:
        working = pool.submit(other.settle, hint)
        held.is_here()
        try:
            yield
        finally:
            held.go.set()
            working.result(30)


# --- workers that stop, and answers that are late ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("with_answer", "meanwhile", "end", "found"),
    [
        pytest.param(False, Status.IN_DOUBT, Status.COMPLETED, [], id="not found yet"),
        pytest.param(True, Status.COMPLETED, Status.COMPLETED, [], id="delivered to the other"),
        pytest.param(False, Status.REVERSING, Status.COMPLETED, [], id="while reversing"),
        pytest.param(
            False,
            Status.REVERSED,
            Status.REVERSED,
            [IncidentKind.DELIVERED_AFTER_REVERSAL],
            id="after the end",
        ),
    ],
)
def test_a_late_answer_after_somebody_elses_requery(
    shop: Shop, with_answer: bool, meanwhile: Status, end: Status, found: list[IncidentKind]
) -> None:
    """It was held up before the vend, or after it, for longer than a lease, and as far as it takes until `meanwhile`."""
    hint = shop.paid()
    with another_worker(shop, hint, SEND, Held(with_answer)):
        overtaken = shop.carried_on(hint, meanwhile)
        assert overtaken.status is meanwhile
        assert overtaken.attempts[0].requeries[0].answer is not None
    late = shop.payment(hint)
    assert late.status is end  # at once, by the late answer itself
    payment = shop.carried_on(hint)
    shop.check(hint)
    entry = shop.entry(hint)
    assert entry is not None
    assert (payment.status, incidents(payment), entry.vends) == (end, found, 1)
    assert payment.token == (entry.token if end is Status.COMPLETED else None)
    assert shop.street.count(SEND) == 1


def test_a_worker_stopped_before_its_send_until_after_the_lease_sends_nothing(
    town: Town, tmp_path: Path
) -> None:
    """A real process, a real SIGSTOP. It is stopped while it asks about the meter, having claimed the send."""
    town.reset(datetime.now(UTC))  # the worker's clock is the machine's
    times = {
        "BILL_PROVIDER_TIMEOUT": "1",
        "LEASE_SECONDS": "3",
        "REQUERY_SCHEDULE": "0.3",
        "VERIFY_TIMEOUT": "30",
    }
    settings = town.settings(
        tmp_path, "vtpass", verify_meter=True, **{name.lower(): value for name, value in times.items()}
    )
    held = Held(with_answer=True)
    town.street.plan(VERIFY, held)
    with open_billvend(settings) as bv:
        bv.fund("ada", 5000)
        (accepted,) = bv.pay_many(
            [Bill("ada", 500, METER, "EKEDC", key="row-1")]
        )  # in bulk: not verified yet
        transaction_id = accepted.payment.transaction_id  # type: ignore[union-attr]  # it is no refusal
        account = {
            name.upper(): getattr(settings, name)
            for name in ("bill_provider", "bill_provider_api_url", "bill_provider_phone")
        }
        keys = {
            name.upper(): getattr(settings, name).get_secret_value()
            for name in (
                "bill_provider_api_key",
                "bill_provider_public_key",
                "bill_provider_secret_key",
                "database_url",
            )
        }
        with worker(tmp_path, QUEUE_CONCURRENCY="1", **times, **account, **keys) as working:
            held.is_here()
            # One of its other threads might be writing, and would keep the books locked: SQLite's fate, not this story.
            with closing(sqlite3.connect(settings.database_path or "", isolation_level=None)) as locked:
                locked.execute("BEGIN IMMEDIATE")
                working.process.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, working.process.pid, os.WSTOPPED | os.WNOWAIT)
            taken_over = bv.wait(transaction_id, timeout=4)
            assert taken_over.status is Status.IN_DOUBT
            assert taken_over.attempts[0].requeries[0].answer is not None
            held.go.set()
            working.process.send_signal(signal.SIGCONT)
            payment = bv.wait(transaction_id, timeout=30)
        assert (payment.status, payment.proof) == (Status.REVERSED, Proof.NOT_SENT)
        assert town.street.count(SEND) == 0
        assert town.sandbox.store.call_counts(payment.attempts[0].reference).sends == 0
        assert bv.balance("ada").available.major == 5000
        assert bv.audit().ok


@pytest.mark.parametrize(
    ("decision", "end", "found"),
    [
        ({"verdict": "reverse"}, Status.REVERSED, [IncidentKind.DELIVERED_AFTER_REVERSAL]),
        ({"token": "1" * 20}, Status.COMPLETED, [IncidentKind.ANOTHER_TOKEN]),
        ({"token": "as sold"}, Status.COMPLETED, []),
    ],
    ids=["reverse", "another token", "the token"],
)
def test_an_operator_resolves_while_a_requery_is_under_way(
    shop: Shop, decision: dict[str, Any], end: Status, found: list[IncidentKind]
) -> None:
    hint = shop.paid()
    shop.street.plan(SEND, street.lost)
    assert shop.settled(hint).status is Status.IN_DOUBT
    entry = shop.entry(hint)
    assert entry is not None
    if decision.get("token") == "as sold":
        decision = {"token": entry.token}
    shop.clock.sleep(60)
    with another_worker(shop, hint, ASK, Held(with_answer=True)):
        decided = shop.bv.resolve(hint.transaction_id, operator="ngozi", reason="asked by phone", **decision)
        assert decided.status is end
    payment = shop.carried_on(hint)
    shop.check(hint)
    assert (payment.status, incidents(payment)) == (end, found)
    assert payment.token == (decision.get("token") if end is Status.COMPLETED else None)
    assert payment.proof == (Proof.OPERATOR if end is Status.REVERSED else None)


def test_an_operator_who_comes_after_the_requery_changes_nothing(shop: Shop) -> None:
    hint = shop.paid()
    shop.street.plan(SEND, street.lost)
    shop.carried_on(hint)
    with pytest.raises(NotInReview):
        shop.bv.resolve(hint.transaction_id, operator="ngozi", reason="asked by phone", decision="reverse")
    shop.check(hint)
    assert shop.payment(hint).status is Status.COMPLETED


# --- midnight in Lagos, where VTpass's references end -----------------------------------------------------------------


def test_accepted_before_midnight_and_sent_after_it(shop: Shop) -> None:
    shop.clock.at = MIDNIGHT - 10 * SECOND
    hint = shop.paid()
    shop.clock.at = MIDNIGHT + 5 * SECOND
    payment = shop.carried_on(hint)
    shop.check(hint)
    assert payment.status is Status.COMPLETED
    assert shop.street.passed == [ASK, SEND]  # what lost books may have sent yesterday comes first
    assert references(payment) == ["20261122", "20261123"]
    assert [len(attempt.sends) for attempt in payment.attempts] == [0, 1]


@pytest.mark.parametrize(
    ("trouble", "end", "proof"),
    [
        (street.lost, Status.COMPLETED, None),
        (street.never_arrives, Status.REVERSED, Proof.NOT_FOUND),
    ],
    ids=["vended", "never vended"],
)
def test_sent_in_the_last_second_of_the_day_and_no_answer(
    shop: Shop, trouble: street.Trouble, end: Status, proof: Proof | None
) -> None:
    shop.clock.at = MIDNIGHT - SECOND
    hint = shop.paid()
    shop.street.plan(SEND, trouble)
    assert shop.settled(hint).status is Status.IN_DOUBT
    payment = shop.carried_on(hint)
    shop.check(hint)
    assert (payment.status, payment.proof) == (end, proof)
    assert references(payment) == ["20261122"]
    assert shop.street.count(SEND) == 1


def test_refused_in_the_last_second_of_the_day(shop: Shop) -> None:
    """Its reference is no longer valid when it might be sent again: nothing is sent, and the money goes back."""
    shop.clock.at = MIDNIGHT - SECOND
    hint = shop.paid()
    with shop.street.shut():
        shop.settled(hint)
    payment = shop.carried_on(hint)
    shop.check(hint)
    assert (payment.status, payment.proof) == (Status.REVERSED, Proof.NOT_SENT)
    assert [len(attempt.sends) for attempt in payment.attempts] == [1]
    assert shop.street.passed == []


# --- restored books, wrong clocks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accepted_at", "restored_at", "passed"),
    [
        pytest.param(MIDNIGHT - 12 * HOUR, MIDNIGHT - 11 * HOUR, [SEND, SEND, ASK], id="the same day"),
        pytest.param(MIDNIGHT - 10 * SECOND, MIDNIGHT + 10 * SECOND, [SEND, ASK], id="the next day"),
    ],
)
def test_books_restored_from_before_the_send_buy_nothing_twice(
    shop: Shop, tmp_path: Path, accepted_at: datetime, restored_at: datetime, passed: list[str]
) -> None:
    backup = tmp_path / "backup.db"
    shop.clock.at = accepted_at
    hint = shop.paid()
    shop.bv.close()
    shutil.copy(shop.books, backup)
    shop.bv = shop.opened()
    token = shop.settled(hint).token
    assert token
    shop.bv.close()
    shutil.copy(backup, shop.books)
    shop.bv = shop.opened()
    assert shop.payment(hint).status is Status.PENDING
    shop.clock.at = restored_at
    payment = shop.carried_on(hint)
    shop.check(hint)
    assert (payment.status, payment.token) == (Status.COMPLETED, token)
    assert shop.street.passed == passed
    assert references(payment) == ["20261122"]


@pytest.mark.parametrize("dialect", ["vtpass", "buypower"])
@pytest.mark.parametrize("bulk", [False, True], ids=["one", "bulk"])
def test_key_repeated_on_a_restored_ledger_buys_nothing_twice(
    town: Town, tmp_path: Path, dialect: str, bulk: bool
) -> None:
    """The ledger lost the payment itself. Only its reference, made from the key, is left to be recognised by."""
    shop = Shop(town, tmp_path, dialect)
    bill = Bill("ada", 500, METER, "EKEDC", key="order-42")

    def pay() -> Hint:
        if bulk:
            [result] = shop.bv.pay_many([bill])
            assert not isinstance(result, BillvendError)
            return Hint("ada", result.payment.transaction_id)
        paid = shop.bv.pay("ada", 500, meter=METER, biller="EKEDC", key="order-42")
        return Hint("ada", paid.transaction_id)

    shop.bv.fund("ada", 5000, key="first")
    shop.bv.close()
    backup = tmp_path / "backup.db"
    shutil.copy(shop.books, backup)
    shop.bv = shop.opened()
    first = shop.carried_on(pay(), Status.COMPLETED)
    shop.bv.close()
    shutil.copy(backup, shop.books)
    shop.bv = shop.opened()
    shop.clock.at += HOUR
    again = pay()
    second = shop.carried_on(again, Status.COMPLETED)
    shop.check(again)
    assert second.transaction_id != first.transaction_id
    assert (second.token, second.attempts[0].reference) == (first.token, first.attempts[0].reference)
    assert len(second.attempts) == 1
    shop.bv.close()


@pytest.mark.parametrize("lands", [True, False], ids=["lands late", "never arrived"])
def test_a_clock_set_forward_an_hour_between_two_requeries_proves_nothing(shop: Shop, lands: bool) -> None:
    hint = shop.paid()
    if lands:
        shop.town.plan("lands_late", requeries=4)
    else:
        shop.street.plan(SEND, street.never_arrives)
    shop.settled(hint)
    shop.step(hint)  # not found
    shop.clock.at += HOUR
    jumped_to = shop.clock.at
    payment = shop.settled(hint)  # not found again, and more than ten minutes after the send, says the clock
    assert [len(attempt.requeries) for attempt in payment.attempts] == [2]
    assert payment.status is Status.IN_DOUBT
    payment = shop.carried_on(hint, Status.REVERSED, Status.COMPLETED)
    shop.check(hint)
    if lands:
        assert payment.status is Status.COMPLETED
    else:
        waited_seconds = (shop.clock.at - jumped_to).total_seconds()
        assert payment.proof is Proof.NOT_FOUND
        assert waited_seconds >= MAX_PROCESSING_SECONDS - 1.1 * SCHEDULED_SECONDS
