"""What every queue does, whatever carries it: memory, an SQLite file, Valkey, Redis."""

import json
import logging
import pickle
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol

import pytest
import redis

from billvend.adapters.queue.huey_queue import HueyQueue
from billvend.adapters.queue.memory_queue import memory_queue
from billvend.adapters.queue.redis_queue import redis_queue
from billvend.adapters.queue.sqlite_queue import sqlite_queue
from billvend.ports.queue import Hint, Queue, QueueName
from tests.queue.consuming import PATIENCE_SECONDS, Gate, Inbox, consuming, hand_over, some_hints

PAYMENTS, REVERSALS, NOTIFICATIONS = QueueName


class Place(Protocol):
    """Where the messages of a queue lie, seen without billvend."""

    def another_process(self) -> HueyQueue:
        """The same queue, as another process opens it."""

    def messages(self, name: QueueName) -> list[bytes]:
        """What is stored, the oldest first."""

    def push(self, name: QueueName, message: bytes) -> None:
        """Store anything."""


class Trap:
    """Whoever unpickles this creates a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


def garbage(trap: Trap) -> list[bytes]:
    return [
        b"",
        b"\x00\xff\xfe",
        b"hello",
        b"[" * 4000,
        b"9" * 4000,
        json.dumps({"user_id": "ada", "transaction_id": "t" * 5000}).encode(),
        b"null",
        b"[]",
        b"{}",
        b'{"user_id": "ada"}',
        b'{"user_id": "ada", "transaction_id": 7}',
        b'{"user_id": "", "transaction_id": "t"}',
        '{"user_id": "ada", "transaction_id": "t"}'.encode("utf-16"),
        pickle.dumps(trap),
        pickle.dumps(Hint("ada", "t")),
    ]


class QueueContract:
    """The tests. Below, a class for each kind of queue runs them all."""

    @pytest.fixture
    def place(self) -> Place:
        raise NotImplementedError

    @pytest.fixture
    def queue(self, place: Place) -> Iterator[HueyQueue]:
        with closing(place.another_process()) as opened:
            yield opened

    def test_every_hint_is_handled_once(self, queue: Queue) -> None:
        hints, inbox = some_hints(300), Inbox()
        with consuming(queue, {PAYMENTS: inbox}, threads=4):
            hand_over(queue, PAYMENTS, hints)
            handled = inbox.take(300)
        assert sorted(handled, key=lambda hint: hint.transaction_id) == sorted(
            hints, key=lambda hint: hint.transaction_id
        )
        assert inbox.is_empty

    def test_the_three_queues_do_not_mix(self, queue: Queue) -> None:
        inboxes = {name: Inbox() for name in QueueName}
        sent = {name: [Hint("ada", f"{name}-{number}") for number in range(20)] for name in QueueName}
        with consuming(queue, inboxes):
            for name in QueueName:
                hand_over(queue, name, sent[name])
            received = {name: inboxes[name].take(20) for name in QueueName}
        assert {name: set(hints) for name, hints in received.items()} == {
            name: set(hints) for name, hints in sent.items()
        }
        assert all(inbox.is_empty for inbox in inboxes.values())

    def test_two_ids_are_stored_and_nothing_else(self, queue: Queue, place: Place) -> None:
        gate, second = Gate(), Hint("ada", "ünï \U0001f50c 'safe_repr\"")
        with consuming(queue, {PAYMENTS: gate}, threads=1):
            hand_over(queue, PAYMENTS, [Hint("ada", "first"), second])
            gate.held.next()
            (stored,) = place.messages(PAYMENTS)
            gate.open()
            assert gate.let_go.take(2) == [Hint("ada", "first"), second]
        assert json.loads(stored) == {"user_id": "ada", "transaction_id": second.transaction_id}
        assert stored.isascii()
        assert not stored.startswith(b"\x80"), "that is how a pickle begins"

    def test_garbage_is_dropped_and_what_follows_is_handled(
        self, queue: Queue, place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        gate, trap = Gate(), Trap(tmp_path / "code-was-run")
        with consuming(queue, {REVERSALS: gate}):
            hand_over(queue, REVERSALS, [Hint("ada", "before")])
            gate.held.next()
            for message in garbage(trap):
                place.push(REVERSALS, message)
            hand_over(queue, REVERSALS, [Hint("ada", "after")])
            gate.open()
            assert gate.held.next() == Hint("ada", "after")
        dropped = [line for line in caplog.messages if "was dropped" in line]
        assert len(dropped) == len(garbage(trap))
        assert {record.levelname for record in caplog.records} == {"WARNING"}
        assert not trap.file.exists()
        assert place.messages(REVERSALS) == []

    def test_a_handler_that_raises_stops_nothing(
        self, queue: Queue, caplog: pytest.LogCaptureFixture
    ) -> None:
        inbox = Inbox()

        def fail_at_first(hint: Hint) -> None:
            if hint.transaction_id != "good":
                raise RuntimeError("the handler is broken")
            inbox(hint)

        with consuming(queue, {PAYMENTS: fail_at_first}, threads=1):
            hand_over(queue, PAYMENTS, [Hint("ada", "bad-1"), Hint("bob", "bad-2"), Hint("ada", "good")])
            assert inbox.next() == Hint("ada", "good")
        failures = [record for record in caplog.records if record.name == "billvend.queue"]
        assert "bad-1 of user ada" in failures[0].getMessage()
        assert "bad-2 of user bob" in failures[1].getMessage()
        assert all(record.exc_info for record in failures)

    def test_stopping_lets_a_handler_finish(self, queue: Queue, place: Place) -> None:
        gate = Gate()
        with consuming(queue, {PAYMENTS: gate}, threads=1) as consumption:
            hand_over(queue, PAYMENTS, [Hint("ada", "first")])
            gate.held.next()
            hand_over(queue, PAYMENTS, [Hint("ada", "second"), Hint("ada", "third")])
            consumption.stop.set()
            assert consumption.goes_on
            assert gate.let_go.is_empty
            gate.open()
            consumption.end()
        assert gate.let_go.next() == Hint("ada", "first")
        assert gate.let_go.is_empty
        self.check_left_behind(place, [Hint("ada", "second"), Hint("ada", "third")])

    def check_left_behind(self, place: Place, hints: list[Hint]) -> None:
        """What was not handled waits for the next consumer."""
        inbox = Inbox()
        with closing(place.another_process()) as successor:
            assert successor.depth()[PAYMENTS] == len(hints)
            with consuming(successor, {PAYMENTS: inbox}):
                assert set(inbox.take(len(hints))) == set(hints)

    def test_a_hint_that_comes_after_stop_is_not_handled(self, queue: Queue, place: Place) -> None:
        inbox = Inbox()
        with consuming(queue, {PAYMENTS: inbox}, threads=3) as consumption:
            hand_over(queue, PAYMENTS, [Hint("ada", "before")])
            inbox.next()
            consumption.stop.set()  # the workers still wait inside of a read
            queue.enqueue(PAYMENTS, [Hint("ada", "after")])
            consumption.end()
        assert inbox.is_empty
        self.check_left_behind(place, [Hint("ada", "after")])

    def test_consuming_returns_at_once_when_stopped_before(self, queue: Queue) -> None:
        stop = threading.Event()
        stop.set()
        queue.consume({name: Inbox() for name in QueueName}, threads=2, stop=stop)

    def test_a_consumer_can_be_followed_by_another(self, queue: Queue) -> None:
        inbox = Inbox()
        for number in range(2):
            with consuming(queue, {PAYMENTS: inbox}):
                hand_over(queue, PAYMENTS, [Hint("ada", str(number))])
                assert inbox.next() == Hint("ada", str(number))

    def test_payments_are_handled_side_by_side_and_hold_up_nothing_else(self, queue: Queue) -> None:
        gate, inbox = Gate(), Inbox()
        with consuming(queue, {PAYMENTS: gate, NOTIFICATIONS: inbox}, threads=3):
            hand_over(queue, PAYMENTS, some_hints(4))
            assert len(gate.held.take(3)) == 3
            hand_over(queue, NOTIFICATIONS, [Hint("ada", "told")])
            assert inbox.next() == Hint("ada", "told")
            assert gate.held.is_empty, "a fourth thread"
            gate.open()
            gate.let_go.take(4)

    def test_depth_counts_what_waits(self, queue: Queue) -> None:
        assert queue.depth() == {PAYMENTS: 0, REVERSALS: 0, NOTIFICATIONS: 0}
        gate = Gate()
        with consuming(queue, {PAYMENTS: gate, REVERSALS: gate}, threads=1):
            hand_over(queue, PAYMENTS, some_hints(4))
            hand_over(queue, REVERSALS, some_hints(2))
            gate.held.take(2)
            assert queue.depth() == {PAYMENTS: 3, REVERSALS: 1, NOTIFICATIONS: 0}
            gate.open()
            gate.let_go.take(6)
            assert queue.depth() == {PAYMENTS: 0, REVERSALS: 0, NOTIFICATIONS: 0}

    def test_many_threads_enqueue_at_once(self, queue: Queue) -> None:
        hints, inbox = some_hints(160), Inbox()
        with consuming(queue, {PAYMENTS: inbox}):
            callers = [
                threading.Thread(target=hand_over, args=(queue, PAYMENTS, hints[start::16]))
                for start in range(16)
            ]
            for caller in callers:
                caller.start()
            handled = inbox.take(160)
            for caller in callers:
                caller.join(PATIENCE_SECONDS)
        assert len(set(handled)) == 160

    def test_nothing_is_enqueued_as_nothing(self, queue: Queue) -> None:
        assert queue.enqueue(PAYMENTS, []) == 0

    def test_a_closed_queue_takes_nothing(self, queue: Queue) -> None:
        inbox = Inbox()
        with consuming(queue, {PAYMENTS: inbox}):
            hand_over(queue, PAYMENTS, some_hints(1))
            inbox.next()
            queue.close()
            assert queue.enqueue(PAYMENTS, some_hints(1)) == 0
        queue.close()

    def test_huey_does_not_chatter(self, queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
        inbox = Inbox()
        caplog.set_level(logging.DEBUG)
        logging.getLogger("huey").setLevel(logging.NOTSET)  # as it is in a new process
        root_level = logging.getLogger().level
        with consuming(queue, {PAYMENTS: inbox}):
            hand_over(queue, PAYMENTS, some_hints(3))
            inbox.take(3)
        assert caplog.messages == []
        assert logging.getLogger().level == root_level


class LastingQueueContract(QueueContract):
    """What a queue does besides that outlives its processes."""

    def test_hints_wait_for_a_consumer_that_comes_later(self, queue: Queue, place: Place) -> None:
        inbox = Inbox()
        assert queue.enqueue(PAYMENTS, some_hints(2500)) == 2500
        with closing(place.another_process()) as worker:
            assert worker.depth()[PAYMENTS] == 2500
            with consuming(worker, {PAYMENTS: inbox}):
                assert len(set(inbox.take(2500))) == 2500

    def test_two_workers_share_the_hints(self, queue: Queue, place: Place) -> None:
        first, second, inbox = Gate(), Gate(), Inbox()
        with closing(place.another_process()) as other:
            with (
                consuming(queue, {PAYMENTS: first}, threads=1),
                consuming(other, {PAYMENTS: second}, threads=1),
            ):
                assert queue.enqueue(PAYMENTS, some_hints(2)) == 2
                held = {first.held.next(), second.held.next()}
                first.open()
                second.open()
            assert held == set(some_hints(2))
            with consuming(other, {PAYMENTS: inbox}):
                assert other.enqueue(PAYMENTS, [Hint("ada", "last")]) == 1
                assert inbox.next() == Hint("ada", "last")
                assert inbox.is_empty


# --- memory -----------------------------------------------------------------------------------------------------------


class InMemory:
    """There is no other process here: everybody gets the same queue."""

    def __init__(self) -> None:
        self.queue = memory_queue(timeout_seconds=PATIENCE_SECONDS)

    def another_process(self) -> HueyQueue:
        return self.queue

    def messages(self, name: QueueName) -> list[bytes]:
        found: list[bytes] = self.queue._send_storages[name].enqueued_items()  # type: ignore[attr-defined]
        return found

    def push(self, name: QueueName, message: bytes) -> None:
        self.queue._send_storages[name].put([message])


class TestInMemory(QueueContract):
    @pytest.fixture
    def place(self) -> Place:
        return InMemory()

    def check_left_behind(self, place: Place, hints: list[Hint]) -> None:
        assert place.messages(PAYMENTS) == []

    def test_nothing_is_kept_while_nobody_consumes(self, queue: Queue, place: Place) -> None:
        assert queue.enqueue(PAYMENTS, some_hints(3)) == 0
        inbox = Inbox()
        with consuming(queue, {PAYMENTS: inbox}):
            hand_over(queue, PAYMENTS, some_hints(1))
            assert inbox.next() == some_hints(1)[0]
            assert queue.enqueue(REVERSALS, some_hints(3)) == 0
        assert queue.enqueue(PAYMENTS, some_hints(3)) == 0
        assert queue.depth() == {PAYMENTS: 0, REVERSALS: 0, NOTIFICATIONS: 0}

    def test_memory_does_not_fill_up(self, queue: Queue) -> None:
        gate = Gate()
        with consuming(queue, {NOTIFICATIONS: gate}):
            hand_over(queue, NOTIFICATIONS, some_hints(1))
            gate.held.next()
            hand_over(queue, NOTIFICATIONS, some_hints(100_000))
            assert queue.enqueue(NOTIFICATIONS, some_hints(10)) == 0
            assert queue.depth()[NOTIFICATIONS] == 100_000
            gate.open()

    def test_an_idle_worker_is_woken(self, queue: Queue) -> None:
        inbox = Inbox()
        with consuming(queue, {REVERSALS: inbox}):
            hand_over(queue, REVERSALS, some_hints(1))
            inbox.next()
            start = time.monotonic()
            for _ in range(20):
                hand_over(queue, REVERSALS, some_hints(1))
                inbox.next()
            assert time.monotonic() - start < 20 * 0.25 / 2, "it looked by itself now and then"

    def test_its_backend_is_memory(self, queue: Queue) -> None:
        assert queue.backend == "memory"


# --- SQLite -----------------------------------------------------------------------------------------------------------


class InFile:
    def __init__(self, file: Path) -> None:
        self.file = file

    def another_process(self) -> HueyQueue:
        return sqlite_queue(self.file, timeout_seconds=PATIENCE_SECONDS)

    def messages(self, name: QueueName) -> list[bytes]:
        with closing(sqlite3.connect(self.file)) as database:
            rows = database.execute(
                "select data from task where queue = ? order by id", (f"billvend_{name}",)
            )
            return [bytes(data) for (data,) in rows]

    def push(self, name: QueueName, message: bytes) -> None:
        with closing(sqlite3.connect(self.file)) as database, database:
            database.execute("insert into task (queue, data) values (?, ?)", (f"billvend_{name}", message))


class TestOnSqlite(LastingQueueContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return InFile(tmp_path / "queue.db")

    def test_its_backend_is_sqlite(self, queue: Queue) -> None:
        assert queue.backend == "SQLite"


# --- Valkey and Redis -------------------------------------------------------------------------------------------------


class OnServer:
    def __init__(self, url: str) -> None:
        self.url = url

    def another_process(self) -> HueyQueue:
        return redis_queue(self.url, timeout_seconds=PATIENCE_SECONDS)

    def messages(self, name: QueueName) -> list[bytes]:
        with redis.Redis.from_url(self.url) as client:
            found: list[bytes] = client.lrange(f"huey.redis.billvend_{name}", 0, -1)
            return found[::-1]

    def push(self, name: QueueName, message: bytes) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.lpush(f"huey.redis.billvend_{name}", message)


class TestOnRedis(LastingQueueContract):
    @pytest.fixture
    def place(self, redis_url: str) -> Place:
        return OnServer(redis_url)

    def test_its_backend_is_redis(self, queue: Queue) -> None:
        assert queue.backend == "Redis"

    def test_a_hint_costs_one_write_and_one_read(self, queue: Queue, redis_url: str) -> None:
        inbox = Inbox()
        with redis.Redis.from_url(redis_url) as client:
            client.config_resetstat()
            with consuming(queue, {PAYMENTS: inbox}, threads=1):
                for hint in some_hints(10):
                    assert queue.enqueue(PAYMENTS, [hint]) == 1
                    inbox.next()
            statistics: dict[str, dict[str, int]] = client.info("commandstats")
        calls = {name.removeprefix("cmdstat_"): numbers["calls"] for name, numbers in statistics.items()}
        assert calls.pop("lpush") == 10
        assert calls.pop("brpop") >= 10
        # Our own, and what redis-py says when it connects: the client above, that is; ours say nothing.
        assert {name.partition("|")[0] for name in calls} <= {"config", "info", "hello", "client"}
        assert calls.get("hello", 0) <= 1

    def test_nothing_but_the_queues_themselves_is_stored(self, queue: Queue, redis_url: str) -> None:
        inbox = Inbox()
        with consuming(queue, dict.fromkeys(QueueName, inbox)):
            assert queue.enqueue(PAYMENTS, some_hints(10)) == 10
            inbox.take(10)
        with redis.Redis.from_url(redis_url) as client:
            assert client.keys("*") == []
