"""A sweep queues lost hints again, and a queue without consumers does not grow without end."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from billvend import Status
from billvend.adapters.queue.huey_queue import HueyQueue
from billvend.domain.outcome import Declined
from billvend.ports.queue import Hint, QueueName
from billvend.usecases import sweep as sweeping
from billvend.usecases.sweep import SweepResult
from tests.harness import AppHarness
from tests.harness import using as audited
from tests.queue.consumer_harness import TEST_TIMEOUT_SECONDS, Inbox, running_consumer

PAYMENTS, REVERSALS = QueueName.PAYMENTS, QueueName.REVERSALS
MAX_WAITING = 3


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[AppHarness]:
    monkeypatch.setattr(sweeping, "MAX_QUEUE_DEPTH", MAX_WAITING)
    yield from audited(AppHarness())


@pytest.fixture
def queue(tmp_path: Path, app: AppHarness) -> Iterator[HueyQueue]:
    """A queue that keeps its hints until a consumer runs, for the app."""
    with closing(HueyQueue(tmp_path / "queue.db", timeout_seconds=TEST_TIMEOUT_SECONDS)) as queue:
        app.queue = queue
        app.restart(app.provider)
        yield queue


def wait_for_hints(queue: HueyQueue) -> None:
    """Old hints without a consumer are still there when a later one comes."""
    assert queue.enqueue(QueueName.NOTIFICATIONS, [Hint("ada", "last")]) == 1


def test_full_queue_gets_no_more_hints(app: AppHarness, queue: HueyQueue) -> None:
    app.pay_many(MAX_WAITING - 1)
    assert app.bv.sweep() == SweepResult(MAX_WAITING - 1, MAX_WAITING - 1)
    waiting = queue.depth()[PAYMENTS]
    assert waiting >= MAX_WAITING
    for _ in range(3):
        assert app.bv.sweep() == SweepResult(MAX_WAITING - 1, 0)
    assert queue.depth()[PAYMENTS] == waiting


def test_withheld_hints_are_enqueued_when_queue_is_drained(app: AppHarness, queue: HueyQueue) -> None:
    payments = app.pay_many(MAX_WAITING)
    wait_for_hints(queue)
    assert app.bv.sweep().enqueued == 0
    inbox = Inbox()
    with running_consumer(queue, {PAYMENTS: inbox}):
        inbox.take(MAX_WAITING)  # by workers that were killed then
        assert app.bv.sweep() == SweepResult(MAX_WAITING, MAX_WAITING)
        hints = set(inbox.take(MAX_WAITING))
    assert hints == {Hint("ada", payment.transaction_id) for payment in payments}
    app.settle_due()
    assert {app.reload(payment).status for payment in payments} == {Status.COMPLETED}


def test_full_queue_does_not_block_other_queues(app: AppHarness, queue: HueyQueue) -> None:
    app.provider.send_answer = Declined("not this one")
    declined = app.pay()
    app.settle(declined)
    app.pay_many(MAX_WAITING)
    wait_for_hints(queue)
    before = queue.depth()
    assert app.bv.sweep() == SweepResult(MAX_WAITING + 1, 1)
    assert queue.depth() == before | {REVERSALS: before[REVERSALS] + 1}


def test_sweep_returns_work_when_queue_is_unavailable(app: AppHarness) -> None:
    """A memory queue accepts nothing while this process does not consume."""
    payments = app.pay_many(2)
    left = tuple(Hint("ada", payment.transaction_id) for payment in payments)
    assert app.bv.sweep() == SweepResult(2, 0, left)
