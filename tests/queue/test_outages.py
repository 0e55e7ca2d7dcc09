"""A server or a file that is down, hangs or was emptied: no caller waits, no call raises, and it recovers by itself."""

import logging
import os
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Semaphore
from typing import Any

import pytest

from billvend.adapters.queue.huey_queue import HueyQueue
from billvend.adapters.queue.storages import SqliteHints
from billvend.domain.errors import ConfigurationError, Unavailable
from billvend.ports.queue import Hint, Queue, QueueName
from tests.queue.consumer_harness import (
    TEST_TIMEOUT_SECONDS,
    FakeMonotonicClock,
    Inbox,
    enqueue_all,
    make_hints,
    running_consumer,
)
from tests.support.servers import RedisProtocolServer

pytestmark = pytest.mark.long

PAYMENTS, REVERSALS, NOTIFICATIONS = QueueName
MAX_WAIT_SECONDS = 1.0
"""200 ms, and some time for a busy machine."""


@pytest.fixture
def clock() -> FakeMonotonicClock:
    return FakeMonotonicClock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


def assert_gives_up_quickly(queue: Queue) -> None:
    """The first call may wait for 200 ms; later ones don't."""
    for times in (1, 100):
        start = time.monotonic()
        assert {queue.enqueue(PAYMENTS, make_hints(3)) for _ in range(times)} == {0}
        assert time.monotonic() - start < MAX_WAIT_SECONDS


def assert_works_again(queue: Queue, clock: FakeMonotonicClock) -> None:
    """Where the clock moves on: the background sender may still have a last failure to notice."""
    deadline = time.monotonic() + TEST_TIMEOUT_SECONDS
    while queue.enqueue(REVERSALS, make_hints(3)) != 3:
        assert time.monotonic() < deadline
        clock.advance(1.0)


def assert_failure_logged(caplog: pytest.LogCaptureFixture, what: str) -> None:
    """That it failed and then that it worked again; perhaps more than once on a very busy machine."""
    levels = [record.levelname for record in caplog.records if record.getMessage().startswith(what)]
    assert levels == ["WARNING", "INFO"] * max(1, len(levels) // 2)


# --- any transport ----------------------------------------------------------------------------------------------------


def test_hung_storage_times_out(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """A DNS resolver, a disk, a server that sends a byte now and then: no driver has a timeout for these."""
    release = Event()
    for name in ("put", "queue_size"):
        monkeypatch.setattr(SqliteHints, name, lambda *_args: release.wait(TEST_TIMEOUT_SECONDS))
    with closing(HueyQueue(file)) as queue:
        assert_gives_up_quickly(queue)
        start = time.monotonic()
        with pytest.raises(Unavailable, match="too slow"):
            queue.depth()
        assert time.monotonic() - start < 2.0
        release.set()


def test_a_worker_pauses_after_each_failure(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    was_read = Semaphore(0)

    def fail(_storage: object) -> None:
        was_read.release()
        raise OSError("broken")

    monkeypatch.setattr(SqliteHints, "dequeue", fail)
    with closing(HueyQueue(file)) as queue, running_consumer(queue, {PAYMENTS: Inbox()}, threads=1):
        start = time.monotonic()
        for _ in range(4):
            assert was_read.acquire(timeout=TEST_TIMEOUT_SECONDS)
        assert time.monotonic() - start > 1.0


# --- Valkey and Redis -------------------------------------------------------------------------------------------------


@pytest.fixture
def queue(redis_server: RedisProtocolServer, clock: FakeMonotonicClock) -> Iterator[HueyQueue]:
    with closing(HueyQueue(redis_server.url, clock=clock)) as queue:
        yield queue


@pytest.fixture
def patient_queue(redis_server: RedisProtocolServer, clock: FakeMonotonicClock) -> Iterator[HueyQueue]:
    """How long this takes does not matter here."""
    with closing(HueyQueue(redis_server.url, clock=clock, timeout_seconds=TEST_TIMEOUT_SECONDS)) as queue:
        yield queue


@contextmanager
def stalled(server: RedisProtocolServer) -> Iterator[None]:
    """The server runs and its port accepts, but no answer comes."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@pytest.mark.parametrize("connected", [True, False], ids=["connected-before", "connecting"])
def test_stalled_server_does_not_block_enqueue(
    redis_server: RedisProtocolServer,
    queue: Queue,
    clock: FakeMonotonicClock,
    connected: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "billvend.queue")
    if connected:
        enqueue_all(queue, PAYMENTS, make_hints(1))
        caplog.clear()
    with stalled(redis_server):
        assert_gives_up_quickly(queue)
        clock.advance(1.0)
        assert_gives_up_quickly(queue)
        start = time.monotonic()
        with pytest.raises(Unavailable, match="Payments are safe"):
            queue.depth()
        assert time.monotonic() - start < 2.0
    assert_works_again(queue, clock)
    assert_failure_logged(caplog, "Sending hints to Redis")


def test_consumer_of_stalled_server_can_be_stopped(
    redis_server: RedisProtocolServer, patient_queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = Inbox()
    with running_consumer(patient_queue, dict.fromkeys(QueueName, inbox)) as consumer:
        enqueue_all(patient_queue, PAYMENTS, make_hints(1))
        inbox.next()
        with stalled(redis_server):
            deadline = time.monotonic() + TEST_TIMEOUT_SECONDS
            while "Reading hints from the queue" not in caplog.text:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            start = time.monotonic()
            consumer.stop_and_wait()
            assert time.monotonic() - start < 5.0


def test_enqueue_recovers_after_server_was_killed(
    redis_server: RedisProtocolServer,
    queue: Queue,
    clock: FakeMonotonicClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "billvend.queue")
    enqueue_all(queue, PAYMENTS, make_hints(1))
    caplog.clear()
    redis_server.kill()
    assert_gives_up_quickly(queue)
    with pytest.raises(Unavailable):
        queue.depth()
    redis_server.start()
    assert_works_again(queue, clock)
    assert queue.depth()[PAYMENTS] == 0
    assert queue.depth()[REVERSALS] >= 3
    assert_failure_logged(caplog, "Sending hints to Redis")


def test_consumer_survives_a_server_restart(
    redis_server: RedisProtocolServer,
    patient_queue: Queue,
    clock: FakeMonotonicClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "billvend.queue")
    inbox = Inbox()
    with running_consumer(patient_queue, {REVERSALS: inbox}) as consumer:
        enqueue_all(patient_queue, REVERSALS, make_hints(1))
        inbox.next()
        redis_server.kill()
        assert_gives_up_quickly(patient_queue)
        redis_server.start()
        assert_works_again(patient_queue, clock)
        assert set(inbox.take(3)) == set(make_hints(3))
        assert consumer.is_running
    assert_failure_logged(caplog, "Sending hints to Redis")
    assert_failure_logged(caplog, "Reading hints from the queue reversals")
    assert not [record for record in caplog.records if record.exc_info], "a traceback for each attempt"


def test_consumer_may_start_before_the_server(
    redis_server: RedisProtocolServer, clock: FakeMonotonicClock
) -> None:
    redis_server.stop()
    inbox = Inbox()
    with (
        closing(HueyQueue(redis_server.url, clock=clock)) as queue,
        running_consumer(queue, dict.fromkeys(QueueName, inbox)),
    ):
        assert_gives_up_quickly(queue)
        redis_server.start()
        assert_works_again(queue, clock)
        assert set(inbox.take(3)) == set(make_hints(3))


def test_flushed_server_loses_only_hints(redis_server: RedisProtocolServer, patient_queue: Queue) -> None:
    assert patient_queue.enqueue(PAYMENTS, make_hints(5)) == 5
    redis_server.flush()
    inbox = Inbox()
    with running_consumer(patient_queue, {PAYMENTS: inbox}):
        assert patient_queue.enqueue(PAYMENTS, [Hint("ada", "after")]) == 1
        assert inbox.next() == Hint("ada", "after")
        redis_server.flush()
        assert patient_queue.enqueue(PAYMENTS, [Hint("ada", "after that")]) == 1
        assert inbox.next() == Hint("ada", "after that")


def test_unresponsive_host_does_not_block_enqueue(clock: FakeMonotonicClock) -> None:
    with (
        port_with_full_backlog() as port,
        closing(HueyQueue(f"redis://127.0.0.1:{port}/0", clock=clock)) as queue,
    ):
        assert_gives_up_quickly(queue)


@contextmanager
def port_with_full_backlog() -> Iterator[int]:
    """A port whose backlog is full: the kernel drops every further attempt to connect."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        try:
            yield listener.getsockname()[1]
        finally:
            for filler in fillers:
                filler.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://:hunter2@localhost",
        "redis://:hun/ter2@localhost:port/0",
        "redis://:hunter2@localhost/0?colour=green",
        "redis://:hunter2@localhost/0?db=first",
    ],
)
def test_invalid_redis_url_is_rejected_without_quoting_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        HueyQueue(url)
    assert "REDIS_URL" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)
    assert refusal.value.__suppress_context__


def test_url_options_do_not_lengthen_the_timeout(
    redis_server: RedisProtocolServer, clock: FakeMonotonicClock
) -> None:
    slow = f"{redis_server.url}?socket_timeout=30&socket_connect_timeout=30&retry_on_timeout=true&decode_responses=1"
    inbox = Inbox()
    with closing(HueyQueue(slow, clock=clock)) as queue:
        with running_consumer(queue, {PAYMENTS: inbox}):
            enqueue_all(queue, PAYMENTS, make_hints(1))
            assert inbox.next() == make_hints(1)[0]
        with stalled(redis_server):
            assert_gives_up_quickly(queue)
            clock.advance(1.0)
        assert_works_again(queue, clock)


# --- SQLite -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def patient_file_queue(file: Path) -> Iterator[HueyQueue]:
    with closing(HueyQueue(file, timeout_seconds=TEST_TIMEOUT_SECONDS)) as queue:
        yield queue


@pytest.fixture
def file_queue(file: Path, clock: FakeMonotonicClock) -> Iterator[HueyQueue]:
    with closing(HueyQueue(file, clock=clock)) as queue:
        yield queue


def test_locked_file_does_not_block_enqueue(
    file: Path, file_queue: Queue, clock: FakeMonotonicClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "billvend.queue")
    enqueue_all(file_queue, REVERSALS, make_hints(1))
    caplog.clear()
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("begin exclusive")
        assert_gives_up_quickly(file_queue)
        other.rollback()
    assert_works_again(file_queue, clock)
    assert_failure_logged(caplog, "Sending hints to SQLite")


def test_locked_file_only_delays_a_worker(file: Path, patient_file_queue: Queue) -> None:
    inbox = Inbox()
    with running_consumer(patient_file_queue, {PAYMENTS: inbox}) as consumer:
        assert patient_file_queue.enqueue(PAYMENTS, make_hints(1)) == 1
        inbox.next()
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("begin exclusive")
            other.executemany(
                "insert into task (queue, data) values (?, ?)",
                [("billvend_payments", b'{"user_id": "ada", "transaction_id": "locked in"}')],
            )
            assert consumer.is_running
            other.commit()
        assert inbox.next() == Hint("ada", "locked in")


def test_deleted_file_is_recreated(file: Path, patient_file_queue: Queue) -> None:
    inbox = Inbox()
    with running_consumer(patient_file_queue, {PAYMENTS: inbox}):
        assert patient_file_queue.enqueue(PAYMENTS, make_hints(1)) == 1
        inbox.next()
        for part in file.parent.glob("queue.db*"):
            part.unlink()
        with closing(HueyQueue(file, timeout_seconds=TEST_TIMEOUT_SECONDS)) as another_process:
            enqueue_all(another_process, PAYMENTS, [Hint("ada", "after")])
            assert inbox.next() == Hint("ada", "after")
        enqueue_all(patient_file_queue, PAYMENTS, [Hint("ada", "from here")])
        assert inbox.next() == Hint("ada", "from here")


def test_invalid_database_file_is_a_temporary_failure(
    file: Path, file_queue: Queue, clock: FakeMonotonicClock
) -> None:
    file.write_bytes(b"this is no database " * 100)
    inbox = Inbox()
    with running_consumer(file_queue, {REVERSALS: inbox}) as consumer:
        assert_gives_up_quickly(file_queue)
        with pytest.raises(Unavailable):
            file_queue.depth()
        assert consumer.is_running
        file.unlink()
        assert_works_again(file_queue, clock)
        assert set(inbox.take(3)) == set(make_hints(3))


def test_a_missing_folder_raises_nothing(tmp_path: Path) -> None:
    with closing(HueyQueue(tmp_path / "missing" / "queue.db")) as queue:
        assert_gives_up_quickly(queue)
        with pytest.raises(Unavailable):
            queue.depth()


@pytest.mark.parametrize("what", ["no database", "a database that is locked"])
def test_failed_connection_is_closed(
    file: Path, file_queue: Queue, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Repeated while an outage lasts, they would pile up, each with a file descriptor."""
    connect, opened = sqlite3.connect, list[sqlite3.Connection]()

    def noted(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        opened.append(connection)
        return connection

    with closing(connect(file, isolation_level=None)) as other:
        if what == "no database":
            file.write_bytes(b"this is no database " * 100)
        else:
            other.execute("begin exclusive")
        monkeypatch.setattr(sqlite3, "connect", noted)
        for _ in range(3):
            with pytest.raises(Unavailable):
                file_queue.depth()
        assert len(opened) >= 3
        for connection in opened:
            with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                connection.execute("select 1")
