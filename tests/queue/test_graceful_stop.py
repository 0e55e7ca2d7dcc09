"""Signals to a real process: handlers that run finish, no other starts, and the exit status is 0."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from billvend.adapters.queue.huey_queue import HueyQueue
from billvend.ports.queue import Hint, QueueName
from tests.queue.consumer_harness import TEST_TIMEOUT_SECONDS

pytestmark = pytest.mark.long

PROGRAM = Path(__file__).with_name("worker_program.py")
GRACEFUL = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])


class WorkerProcess:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def read_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def release_handler(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def exit_status(self) -> int:
        return self.process.wait(TEST_TIMEOUT_SECONDS)


@contextmanager
def worker(place: str | Path, *options: str) -> Iterator[WorkerProcess]:
    kind = "redis" if isinstance(place, str) else "sqlite"
    command = [sys.executable, str(PROGRAM), kind, str(place), *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield WorkerProcess(process)
        finally:
            process.kill()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def queue(place: Path) -> Iterator[HueyQueue]:
    with closing(HueyQueue(place, timeout_seconds=TEST_TIMEOUT_SECONDS)) as queue:
        yield queue


def check_graceful_stop(queue: HueyQueue, place: str | Path, number: signal.Signals) -> None:
    assert queue.enqueue(QueueName.REVERSALS, [Hint("ada", "first")]) == 1
    with worker(place) as process:
        assert [process.read_line(), process.read_line()] == ["ready", "handling first"]
        for _ in range(2):  # an impatient operator, or a supervisor that signals the whole group
            process.process.send_signal(number)
            assert process.read_line() == f"stopping on {number.name}"
        assert queue.enqueue(QueueName.REVERSALS, [Hint("ada", "second")]) == 1
        process.release_handler()
        assert process.read_line() == "handled first"
        assert process.exit_status() == 0
        assert process.read_line() == ""
    assert queue.depth()[QueueName.REVERSALS] == 1


@GRACEFUL
def test_worker_on_sqlite_finishes_current_hint_on_signal(
    queue: HueyQueue, place: Path, number: signal.Signals
) -> None:
    check_graceful_stop(queue, place, number)


@GRACEFUL
def test_worker_on_redis_finishes_current_hint_on_signal(redis_url: str, number: signal.Signals) -> None:
    with closing(HueyQueue(redis_url, timeout_seconds=TEST_TIMEOUT_SECONDS)) as queue:
        check_graceful_stop(queue, redis_url, number)


@GRACEFUL
def test_idle_worker_exits_on_signal(place: Path, number: signal.Signals) -> None:
    with worker(place) as process:
        assert process.read_line() == "ready"
        process.process.send_signal(number)
        assert process.read_line() == f"stopping on {number.name}"
        assert process.exit_status() == 0


def test_ctrl_c_without_signal_handler_finishes_current_hint(queue: HueyQueue, place: Path) -> None:
    assert queue.enqueue(QueueName.PAYMENTS, [Hint("ada", "first")]) == 1
    with worker(place, "--plain") as process:
        assert [process.read_line(), process.read_line()] == ["ready", "handling first"]
        process.process.send_signal(signal.SIGINT)
        process.release_handler()
        assert [process.read_line(), process.read_line()] == ["handled first", "interrupted"]
        assert process.exit_status() == 130


def test_killed_worker_loses_only_its_current_hint(queue: HueyQueue, place: Path) -> None:
    assert queue.enqueue(QueueName.REVERSALS, [Hint("ada", "first"), Hint("ada", "second")]) == 2
    with worker(place) as process:
        assert [process.read_line(), process.read_line()] == ["ready", "handling first"]
        process.process.kill()
        assert process.exit_status() == -signal.SIGKILL
    assert queue.depth()[QueueName.REVERSALS] == 1
