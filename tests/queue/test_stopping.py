"""Signals to a real process: what is in hand is finished, nothing else is begun, and the exit status is 0."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from billvend.adapters.queue.huey_queue import HueyQueue
from billvend.adapters.queue.redis_queue import redis_queue
from billvend.adapters.queue.sqlite_queue import sqlite_queue
from billvend.ports.queue import Hint, QueueName
from tests.queue.consuming import PATIENCE_SECONDS

PROGRAM = Path(__file__).with_name("worker_program.py")
GRACEFUL = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])


class WorkerProcess:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def may_go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def ends_with(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)


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
        assert [process.says(), process.says()] == ["ready", "handling first"]
        for _ in range(2):  # an impatient operator, or a supervisor that signals the whole group
            process.process.send_signal(number)
            assert process.says() == f"stopping on {number.name}"
        assert queue.enqueue(QueueName.REVERSALS, [Hint("ada", "second")]) == 1
        process.may_go_on()
        assert process.says() == "handled first"
        assert process.ends_with() == 0
        assert process.says() == ""
    assert queue.depth()[QueueName.REVERSALS] == 1


@GRACEFUL
def test_a_worker_on_sqlite_finishes_what_it_holds(tmp_path: Path, number: signal.Signals) -> None:
    file = str(tmp_path / "queue.db")
    with closing(sqlite_queue(file, timeout_seconds=PATIENCE_SECONDS)) as queue:
        check_graceful_stop(queue, "sqlite", file, number)


@GRACEFUL
def test_a_worker_on_redis_finishes_what_it_holds(redis_url: str, number: signal.Signals) -> None:
    with closing(redis_queue(redis_url, timeout_seconds=PATIENCE_SECONDS)) as queue:
        check_graceful_stop(queue, "redis", redis_url, number)


@GRACEFUL
def test_an_idle_worker_ends(tmp_path: Path, number: signal.Signals) -> None:
    with worker("sqlite", str(tmp_path / "queue.db")) as process:
        assert process.says() == "ready"
        process.process.send_signal(number)
        assert process.says() == f"stopping on {number.name}"
        assert process.ends_with() == 0


def test_control_c_without_a_handler_finishes_what_is_held_too(tmp_path: Path) -> None:
    file = str(tmp_path / "queue.db")
    with closing(sqlite_queue(file, timeout_seconds=PATIENCE_SECONDS)) as queue:
        assert queue.enqueue(QueueName.PAYMENTS, [Hint("ada", "first")]) == 1
        with worker("sqlite", file, "--plain") as process:
            assert [process.says(), process.says()] == ["ready", "handling first"]
            process.process.send_signal(signal.SIGINT)
            process.may_go_on()
            assert [process.says(), process.says()] == ["handled first", "interrupted"]
            assert process.ends_with() == 130


def test_a_killed_worker_loses_what_it_held_and_no_more(tmp_path: Path) -> None:
    file = str(tmp_path / "queue.db")
    with closing(sqlite_queue(file, timeout_seconds=PATIENCE_SECONDS)) as queue:
        assert queue.enqueue(QueueName.REVERSALS, [Hint("ada", "first"), Hint("ada", "second")]) == 2
        with worker("sqlite", file) as process:
            assert [process.says(), process.says()] == ["ready", "handling first"]
            process.process.kill()
            assert process.ends_with() == -signal.SIGKILL
        assert queue.depth()[QueueName.REVERSALS] == 1
