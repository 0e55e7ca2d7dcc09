"""What the queue lost is pointed out again, and a queue that nobody empties does not grow without end."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from billvend import Status
from billvend.adapters.queue.huey_queue import HueyQueue
from billvend.adapters.queue.sqlite_queue import sqlite_queue
from billvend.domain.outcome import Declined
from billvend.ports.queue import Hint, QueueName
from billvend.usecases import sweep as sweeping
from billvend.usecases.sweep import SweepResult
from tests.queue.consuming import PATIENCE_SECONDS, Inbox, consuming
from tests.usecases.shop import Shop
from tests.usecases.shop import closing as audited

PAYMENTS, REVERSALS = QueueName.PAYMENTS, QueueName.REVERSALS
MOST = 3


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setattr(sweeping, "MAX_QUEUE_DEPTH", MOST)
    yield from audited(Shop())


@pytest.fixture
def queue(tmp_path: Path, shop: Shop) -> Iterator[HueyQueue]:
    """One that keeps its hints while nobody takes them, for the shop."""
    with closing(sqlite_queue(tmp_path / "queue.db", timeout_seconds=PATIENCE_SECONDS)) as queue:
        shop.queue = queue
        shop.reopen(shop.company)
        yield queue


def all_arrive(queue: HueyQueue) -> None:
    """Hints that nobody waited for are there when a later one is."""
    assert queue.enqueue(QueueName.NOTIFICATIONS, [Hint("ada", "last")]) == 1


def test_a_queue_that_nobody_empties_gets_no_more_hints(shop: Shop, queue: HueyQueue) -> None:
    shop.pay_many(MOST - 1)
    assert shop.bv.sweep() == SweepResult(MOST - 1, MOST - 1)
    waiting = queue.depth()[PAYMENTS]
    assert waiting >= MOST
    for _ in range(3):
        assert shop.bv.sweep() == SweepResult(MOST - 1, 0)
    assert queue.depth()[PAYMENTS] == waiting


def test_what_was_held_back_is_pointed_out_once_the_queue_is_emptied(shop: Shop, queue: HueyQueue) -> None:
    payments = shop.pay_many(MOST)
    all_arrive(queue)
    assert shop.bv.sweep().enqueued == 0
    inbox = Inbox()
    with consuming(queue, {PAYMENTS: inbox}):
        inbox.take(MOST)  # by workers that were killed then
        assert shop.bv.sweep() == SweepResult(MOST, MOST)
        hints = set(inbox.take(MOST))
    assert hints == {Hint("ada", payment.transaction_id) for payment in payments}
    shop.work()
    assert {shop.now(payment).status for payment in payments} == {Status.COMPLETED}


def test_a_full_queue_holds_up_no_other(shop: Shop, queue: HueyQueue) -> None:
    shop.company.sells = Declined("not this one")
    declined = shop.pay()
    shop.settled(declined)
    shop.pay_many(MOST)
    all_arrive(queue)
    before = queue.depth()
    assert shop.bv.sweep() == SweepResult(MOST + 1, 1)
    assert queue.depth() == before | {REVERSALS: before[REVERSALS] + 1}


def test_a_queue_that_is_away_leaves_the_work_to_who_sweeps(shop: Shop) -> None:
    """One in memory takes nothing while this process does not consume."""
    payments = shop.pay_many(2)
    left = tuple(Hint("ada", payment.transaction_id) for payment in payments)
    assert shop.bv.sweep() == SweepResult(2, 0, left)
