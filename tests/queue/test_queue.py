"""What every queue does on any transport: memory, a SQLite file, Valkey, Redis."""

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

from billvend.adapters.queue import storages
from billvend.adapters.queue.huey_queue import HueyQueue
from billvend.ports.queue import Hint, Queue, QueueName
from tests.queue.consumer_harness import (
    TEST_TIMEOUT_SECONDS,
    BlockingHandler,
    Inbox,
    enqueue_all,
    make_hints,
    running_consumer,
)

PAYMENTS, REVERSALS, NOTIFICATIONS = QueueName


class QueueStore(Protocol):
    """Where the messages of a queue are stored, read without billvend."""

    def another_process(self) -> HueyQueue:
        """The same queue, as another process opens it."""

    def messages(self, name: QueueName) -> list[bytes]:
        """The stored messages, the oldest first."""

    def push(self, name: QueueName, message: bytes) -> None:
        """Store any bytes."""


class PickleTrap:
    """Unpickling this creates a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


def garbage(trap: PickleTrap) -> list[bytes]:
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

    backend: str

    @pytest.fixture
    def store(self) -> QueueStore:
        raise NotImplementedError

    @pytest.fixture
    def queue(self, store: QueueStore) -> Iterator[HueyQueue]:
        with closing(store.another_process()) as opened:
            yield opened

    def test_every_hint_is_handled_once(self, queue: Queue) -> None:
        hints, inbox = make_hints(300), Inbox()
        with running_consumer(queue, {PAYMENTS: inbox}, threads=4):
            enqueue_all(queue, PAYMENTS, hints)
            handled = inbox.take(300)
        assert sorted(handled, key=lambda hint: hint.transaction_id) == sorted(
            hints, key=lambda hint: hint.transaction_id
        )
        assert inbox.is_empty

    def test_the_three_queues_do_not_mix(self, queue: Queue) -> None:
        inboxes = {name: Inbox() for name in QueueName}
        sent = {name: [Hint("ada", f"{name}-{number}") for number in range(20)] for name in QueueName}
        with running_consumer(queue, inboxes):
            for name in QueueName:
                enqueue_all(queue, name, sent[name])
            received = {name: inboxes[name].take(20) for name in QueueName}
        assert {name: set(hints) for name, hints in received.items()} == {
            name: set(hints) for name, hints in sent.items()
        }
        assert all(inbox.is_empty for inbox in inboxes.values())

    def test_hint_stores_only_user_id_and_transaction_id(self, queue: Queue, store: QueueStore) -> None:
        handler, second = BlockingHandler(), Hint("ada", "ünï \U0001f50c 'safe_repr\"")
        with running_consumer(queue, {PAYMENTS: handler}, threads=1):
            enqueue_all(queue, PAYMENTS, [Hint("ada", "first"), second])
            handler.started.next()
            (stored,) = store.messages(PAYMENTS)
            handler.release()
            assert handler.finished.take(2) == [Hint("ada", "first"), second]
        assert json.loads(stored) == {"user_id": "ada", "transaction_id": second.transaction_id}
        assert stored.isascii()
        assert not stored.startswith(b"\x80"), "that is how a pickle begins"

    def test_invalid_message_is_dropped_and_next_is_handled(
        self, queue: Queue, store: QueueStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        handler, trap = BlockingHandler(), PickleTrap(tmp_path / "code-was-run")
        with running_consumer(queue, {REVERSALS: handler}):
            enqueue_all(queue, REVERSALS, [Hint("ada", "before")])
            handler.started.next()
            for message in garbage(trap):
                store.push(REVERSALS, message)
            enqueue_all(queue, REVERSALS, [Hint("ada", "after")])
            handler.release()
            assert handler.started.next() == Hint("ada", "after")
        dropped = [line for line in caplog.messages if "was dropped" in line]
        assert len(dropped) == len(garbage(trap))
        assert {record.levelname for record in caplog.records} == {"WARNING"}
        assert not trap.file.exists()
        assert store.messages(REVERSALS) == []

    def test_failing_handler_does_not_stop_the_consumer(
        self, queue: Queue, caplog: pytest.LogCaptureFixture
    ) -> None:
        inbox = Inbox()

        def fail_at_first(hint: Hint) -> None:
            if hint.transaction_id != "good":
                raise RuntimeError("the handler is broken")
            inbox(hint)

        with running_consumer(queue, {PAYMENTS: fail_at_first}, threads=1):
            enqueue_all(queue, PAYMENTS, [Hint("ada", "bad-1"), Hint("bob", "bad-2"), Hint("ada", "good")])
            assert inbox.next() == Hint("ada", "good")
        failures = [record for record in caplog.records if record.name == "billvend.queue"]
        assert "bad-1 of user ada" in failures[0].getMessage()
        assert "bad-2 of user bob" in failures[1].getMessage()
        assert all(record.exc_info for record in failures)

    def test_stop_lets_a_running_handler_finish(self, queue: Queue, store: QueueStore) -> None:
        handler = BlockingHandler()
        with running_consumer(queue, {PAYMENTS: handler}, threads=1) as consumer:
            enqueue_all(queue, PAYMENTS, [Hint("ada", "first")])
            handler.started.next()
            enqueue_all(queue, PAYMENTS, [Hint("ada", "second"), Hint("ada", "third")])
            consumer.stop.set()
            assert consumer.is_running
            assert handler.finished.is_empty
            handler.release()
            consumer.stop_and_wait()
        assert handler.finished.next() == Hint("ada", "first")
        assert handler.finished.is_empty
        self.check_unhandled_hints(store, [Hint("ada", "second"), Hint("ada", "third")])

    def check_unhandled_hints(self, store: QueueStore, hints: list[Hint]) -> None:
        """A hint that was not handled waits for the next consumer."""
        inbox = Inbox()
        with closing(store.another_process()) as successor:
            assert successor.depth()[PAYMENTS] == len(hints)
            with running_consumer(successor, {PAYMENTS: inbox}):
                assert set(inbox.take(len(hints))) == set(hints)

    def test_hint_after_stop_is_not_handled(self, queue: Queue, store: QueueStore) -> None:
        inbox = Inbox()
        with running_consumer(queue, {PAYMENTS: inbox}, threads=3) as consumer:
            enqueue_all(queue, PAYMENTS, [Hint("ada", "before")])
            inbox.next()
            consumer.stop.set()  # the workers still wait inside a read
            queue.enqueue(PAYMENTS, [Hint("ada", "after")])
            consumer.stop_and_wait()
        assert inbox.is_empty
        self.check_unhandled_hints(store, [Hint("ada", "after")])

    def test_consume_returns_at_once_when_already_stopped(self, queue: Queue) -> None:
        stop = threading.Event()
        stop.set()
        queue.consume({name: Inbox() for name in QueueName}, threads=2, stop=stop)

    def test_payments_are_handled_in_parallel_and_do_not_block_other_queues(self, queue: Queue) -> None:
        handler, inbox = BlockingHandler(), Inbox()
        with running_consumer(queue, {PAYMENTS: handler, NOTIFICATIONS: inbox}, threads=3):
            enqueue_all(queue, PAYMENTS, make_hints(4))
            assert len(handler.started.take(3)) == 3
            enqueue_all(queue, NOTIFICATIONS, [Hint("ada", "message-1")])
            assert inbox.next() == Hint("ada", "message-1")
            assert handler.started.is_empty, "a fourth thread"
            handler.release()
            handler.finished.take(4)

    def test_depth_counts_waiting_hints(self, queue: Queue) -> None:
        assert queue.backend == self.backend
        assert queue.enqueue(PAYMENTS, []) == 0
        assert queue.depth() == {PAYMENTS: 0, REVERSALS: 0, NOTIFICATIONS: 0}
        handler = BlockingHandler()
        with running_consumer(queue, {PAYMENTS: handler, REVERSALS: handler}, threads=1):
            enqueue_all(queue, PAYMENTS, make_hints(4))
            enqueue_all(queue, REVERSALS, make_hints(2))
            handler.started.take(2)
            assert queue.depth() == {PAYMENTS: 3, REVERSALS: 1, NOTIFICATIONS: 0}
            handler.release()
            handler.finished.take(6)
            assert queue.depth() == {PAYMENTS: 0, REVERSALS: 0, NOTIFICATIONS: 0}

    def test_many_threads_enqueue_at_once(self, queue: Queue) -> None:
        hints, inbox = make_hints(160), Inbox()
        with running_consumer(queue, {PAYMENTS: inbox}):
            callers = [
                threading.Thread(target=enqueue_all, args=(queue, PAYMENTS, hints[start::16]))
                for start in range(16)
            ]
            for caller in callers:
                caller.start()
            handled = inbox.take(160)
            for caller in callers:
                caller.join(TEST_TIMEOUT_SECONDS)
        assert len(set(handled)) == 160

    def test_closed_queue_accepts_nothing(self, queue: Queue) -> None:
        inbox = Inbox()
        with running_consumer(queue, {PAYMENTS: inbox}):
            enqueue_all(queue, PAYMENTS, make_hints(1))
            inbox.next()
            queue.close()
            assert queue.enqueue(PAYMENTS, make_hints(1)) == 0
        queue.close()

    def test_huey_logs_nothing(self, queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
        inbox = Inbox()
        caplog.set_level(logging.DEBUG)
        logging.getLogger("huey").setLevel(logging.NOTSET)  # as it is in a new process
        root_level = logging.getLogger().level
        with running_consumer(queue, {PAYMENTS: inbox}):
            enqueue_all(queue, PAYMENTS, make_hints(3))
            inbox.take(3)
        assert caplog.messages == []
        assert logging.getLogger().level == root_level


class DurableQueueContract(QueueContract):
    """What queues do that outlive their processes."""

    def test_hints_wait_for_a_later_consumer(self, queue: Queue, store: QueueStore) -> None:
        inbox = Inbox()
        assert queue.enqueue(PAYMENTS, make_hints(2500)) == 2500
        with closing(store.another_process()) as worker:
            assert worker.depth()[PAYMENTS] == 2500
            with running_consumer(worker, {PAYMENTS: inbox}):
                assert len(set(inbox.take(2500))) == 2500

    def test_two_workers_share_the_hints(self, queue: Queue, store: QueueStore) -> None:
        first, second, inbox = BlockingHandler(), BlockingHandler(), Inbox()
        with closing(store.another_process()) as other:
            with (
                running_consumer(queue, {PAYMENTS: first}, threads=1),
                running_consumer(other, {PAYMENTS: second}, threads=1),
            ):
                assert queue.enqueue(PAYMENTS, make_hints(2)) == 2
                held = {first.started.next(), second.started.next()}
                first.release()
                second.release()
            assert held == set(make_hints(2))
            with running_consumer(other, {PAYMENTS: inbox}):
                assert other.enqueue(PAYMENTS, [Hint("ada", "last")]) == 1
                assert inbox.next() == Hint("ada", "last")
                assert inbox.is_empty


# --- memory -----------------------------------------------------------------------------------------------------------


class MemoryStore:
    """There is no other process here: every caller gets the same queue."""

    def __init__(self) -> None:
        self.queue = HueyQueue(None, timeout_seconds=TEST_TIMEOUT_SECONDS)

    def another_process(self) -> HueyQueue:
        return self.queue

    def messages(self, name: QueueName) -> list[bytes]:
        found: list[bytes] = self.queue._storage(name).enqueued_items()
        return found

    def push(self, name: QueueName, message: bytes) -> None:
        self.queue._storage(name).put([message])


class TestInMemory(QueueContract):
    backend = "memory"

    @pytest.fixture
    def store(self) -> QueueStore:
        return MemoryStore()

    def test_memory_queue_keeps_nothing_without_consumer(self, queue: Queue, store: QueueStore) -> None:
        assert queue.enqueue(PAYMENTS, make_hints(3)) == 0
        inbox = Inbox()
        with running_consumer(queue, {PAYMENTS: inbox}):
            enqueue_all(queue, PAYMENTS, make_hints(1))
            assert inbox.next() == make_hints(1)[0]
            assert queue.enqueue(REVERSALS, make_hints(3)) == 0
        assert queue.enqueue(PAYMENTS, make_hints(3)) == 0
        assert queue.depth() == {PAYMENTS: 0, REVERSALS: 0, NOTIFICATIONS: 0}

    def test_memory_queue_size_is_limited(self, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
        handler = BlockingHandler()
        with running_consumer(queue, {NOTIFICATIONS: handler}):
            enqueue_all(queue, NOTIFICATIONS, make_hints(1))
            handler.started.next()
            monkeypatch.setattr(storages, "MAX_MEMORY_HINTS", 50)
            assert queue.enqueue(NOTIFICATIONS, make_hints(60)) == 50
            assert queue.enqueue(NOTIFICATIONS, make_hints(10)) == 0
            assert queue.depth()[NOTIFICATIONS] == 50
            handler.release()

    def test_an_idle_worker_is_woken(self, queue: Queue) -> None:
        inbox = Inbox()
        with running_consumer(queue, {REVERSALS: inbox}):
            enqueue_all(queue, REVERSALS, make_hints(1))
            inbox.next()
            start = time.monotonic()
            for _ in range(20):
                enqueue_all(queue, REVERSALS, make_hints(1))
                inbox.next()
            assert time.monotonic() - start < 20 * 0.25 / 2, "it looked by itself now and then"


# --- SQLite -----------------------------------------------------------------------------------------------------------


class SqliteStore:
    def __init__(self, file: Path) -> None:
        self.file = file

    def another_process(self) -> HueyQueue:
        return HueyQueue(self.file, timeout_seconds=TEST_TIMEOUT_SECONDS)

    def messages(self, name: QueueName) -> list[bytes]:
        with closing(sqlite3.connect(self.file)) as database:
            rows = database.execute(
                "select data from task where queue = ? order by id", (f"billvend_{name}",)
            )
            return [bytes(data) for (data,) in rows]

    def push(self, name: QueueName, message: bytes) -> None:
        with closing(sqlite3.connect(self.file)) as database, database:
            database.execute("insert into task (queue, data) values (?, ?)", (f"billvend_{name}", message))


class TestOnSqlite(DurableQueueContract):
    backend = "SQLite"

    @pytest.fixture
    def store(self, tmp_path: Path) -> QueueStore:
        return SqliteStore(tmp_path / "queue.db")


# --- Valkey and Redis -------------------------------------------------------------------------------------------------


class RedisStore:
    def __init__(self, url: str) -> None:
        self.url = url

    def another_process(self) -> HueyQueue:
        return HueyQueue(self.url, timeout_seconds=TEST_TIMEOUT_SECONDS)

    def messages(self, name: QueueName) -> list[bytes]:
        with redis.Redis.from_url(self.url) as client:
            found: list[bytes] = client.lrange(f"huey.redis.billvend_{name}", 0, -1)
            return found[::-1]

    def push(self, name: QueueName, message: bytes) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.lpush(f"huey.redis.billvend_{name}", message)


class TestOnRedis(DurableQueueContract):
    backend = "Redis"

    @pytest.fixture
    def store(self, redis_url: str) -> QueueStore:
        return RedisStore(redis_url)

    def test_a_hint_costs_one_write_and_one_read_and_leaves_nothing(
        self, queue: Queue, redis_url: str
    ) -> None:
        inbox = Inbox()
        with redis.Redis.from_url(redis_url) as client:
            client.config_resetstat()
            with running_consumer(queue, {PAYMENTS: inbox}, threads=1):
                for hint in make_hints(10):
                    assert queue.enqueue(PAYMENTS, [hint]) == 1
                    inbox.next()
            statistics: dict[str, dict[str, int]] = client.info("commandstats")
            assert client.keys("*") == []
        calls = {name.removeprefix("cmdstat_"): numbers["calls"] for name, numbers in statistics.items()}
        assert calls.pop("lpush") == 10
        assert calls.pop("brpop") >= 10
        # Our own connections, and redis-py's when it connects. That is the client above; ours send nothing of the kind.
        assert {name.partition("|")[0] for name in calls} <= {"config", "info", "hello", "client"}
        assert calls.get("hello", 0) <= 1
