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
def worker(kind: str, place: str, *options: str) -> Iterator[WorkerProcess]:
    command = [sys.executable, str(PROGRAM), kind, place, *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield WorkerProcess(process)
        finally:
            process.kill()


def check_graceful_stop(queue: HueyQueue, kind: str, place: str, number: signal.Signals) -> None:
    assert queue.enqueue(QueueName.REVERSALS, [Hint("ada", "first")]) == 1
    with worker(kind, place) as process:
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
def test_worker_on_sqlite_finishes_current_hint_on_signal(tmp_path: Path, number: signal.Signals) -> None:
    file = tmp_path / "queue.db"
    with closing(HueyQueue(file, timeout_seconds=TEST_TIMEOUT_SECONDS)) as queue:
        check_graceful_stop(queue, "sqlite", str(file), number)


@GRACEFUL
def test_worker_on_redis_finishes_current_hint_on_signal(redis_url: str, number: signal.Signals) -> None:
    with closing(HueyQueue(redis_url, timeout_seconds=TEST_TIMEOUT_SECONDS)) as queue:
        check_graceful_stop(queue, "redis", redis_url, number)


@GRACEFUL
def test_idle_worker_exits_on_signal(tmp_path: Path, number: signal.Signals) -> None:
    with worker("sqlite", str(tmp_path / "queue.db")) as process:
        assert process.read_line() == "ready"
        process.process.send_signal(number)
        assert process.read_line() == f"stopping on {number.name}"
        assert process.exit_status() == 0


def test_ctrl_c_without_signal_handler_finishes_current_hint(tmp_path: Path) -> None:
    file = tmp_path / "queue.db"
    with closing(HueyQueue(file, timeout_seconds=TEST_TIMEOUT_SECONDS)) as queue:
        assert queue.enqueue(QueueName.PAYMENTS, [Hint("ada", "first")]) == 1
        with worker("sqlite", str(file), "--plain") as process:
            assert [process.read_line(), process.read_line()] == ["ready", "handling first"]
            process.process.send_signal(signal.SIGINT)
            process.release_handler()
            assert [process.read_line(), process.read_line()] == ["handled first", "interrupted"]
            assert process.exit_status() == 130


def test_killed_worker_loses_only_its_current_hint(tmp_path: Path) -> None:
    file = tmp_path / "queue.db"
    with closing(HueyQueue(file, timeout_seconds=TEST_TIMEOUT_SECONDS)) as queue:
        assert queue.enqueue(QueueName.REVERSALS, [Hint("ada", "first"), Hint("ada", "second")]) == 2
        with worker("sqlite", str(file)) as process:
            assert [process.read_line(), process.read_line()] == ["ready", "handling first"]
            process.process.kill()
            assert process.exit_status() == -signal.SIGKILL
        assert queue.depth()[QueueName.REVERSALS] == 1
