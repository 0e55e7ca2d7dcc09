"""One scenario, run by a real process that may be killed at any of its points, and by another that resumes it.

A *point* is a place where a crash matters: just before and just after each commit, each call of the provider and each
hand-over to the queue. The test has its own clock, stored in a file so that the second process continues it. So leases
and schedules run out without waiting.
"""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa

from billvend import Billvend, BillvendError, Status, open_billvend
from billvend.config import load_settings
from billvend.domain.decisions.commands import Command
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.outcome import Answer
from billvend.domain.policy.accounts import Mode, ProviderAccount
from billvend.ports.journal import DuePayment, Journal
from billvend.ports.provider import Order, Provider
from billvend.ports.queue import Hint, QueueName

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
USER = "ada"
FUNDED = "20000"
AMOUNT = "500"
OPEN_STATUSES = [status for status in Status if status not in (Status.COMPLETED, Status.REVERSED)]
METERS = (
    "12345678901",  # delivered
    "201000000000",  # pending, then delivered
    "300000000000",  # vended, the answer comes too late
    "400000000000",  # never vended, no answer
    "600000000001",  # declined
    "600000000002",  # our float is empty
    "600000000003",  # vended, the connection is cut
    "600000000006",  # vended, the token comes later
)


@dataclass(frozen=True)
class DurableState:
    """What outlives a process."""

    database_url: str
    folder: Path

    @property
    def trace(self) -> Path:
        """The points that were passed, one a line."""
        return self.folder / "trace"

    @property
    def accepted(self) -> Path:
        """The payments that the caller knows to be accepted, one a line."""
        return self.folder / "accepted"

    @property
    def store(self) -> Path:
        """The sandbox's own store."""
        return self.folder / "sandbox.db"


class PersistentClock:
    """A clock that moves when it is moved, and is stored in a file between processes."""

    def __init__(self, file: Path, *, ahead_seconds: float = 0.0) -> None:
        self._file = file
        stored = float(file.read_text()) if file.exists() else 0.0
        self._seconds = stored + ahead_seconds
        self._ids = 0
        self._lock = threading.Lock()
        file.write_text(str(self._seconds))

    def now(self) -> datetime:
        """A little later at each call, as real clocks are."""
        with self._lock:
            self._seconds += 0.000_1
            return START + timedelta(seconds=self._seconds)

    def elapsed_seconds(self) -> float:
        """Moves together with `now`."""
        return self._seconds

    def sleep(self, seconds: float) -> None:
        """Nothing waits: time passes, and a little more of it, so that few polls are needed."""
        with self._lock:
            self._seconds += max(seconds, 3.0)
            self._file.write_text(str(self._seconds))

    def new_id(self) -> str:
        """Unique across processes too."""
        with self._lock:
            self._ids += 1
            return f"{int(self._seconds * 1e6):014}-{os.getpid()}-{self._ids:06}"


class CrashPoints:
    """Records each point that is passed, and kills the process at the chosen one."""

    def __init__(self, trace: Path, crash_at: int | None) -> None:
        self._trace = trace.open("a")
        self._die_at = crash_at
        self._passed = 0
        self._lock = threading.Lock()

    def __call__(self, name: str) -> None:
        with self._lock:
            self._passed += 1
            self._trace.write(f"{name}\n")
            self._trace.flush()
            if self._passed == self._die_at:
                os.kill(os.getpid(), signal.SIGKILL)


class RecordingJournal:
    """The real journal, with a point on each side of each commit."""

    def __init__(self, real: Any, points: CrashPoints) -> None:
        self._real: Journal = real
        self._points = points
        self._operation = "none"
        sa.event.listen(real._database.engine, "commit", self._before_commit)

    def _before_commit(self, connection: sa.Connection) -> None:
        if connection.get_execution_options().get("billvend_writes"):
            self._points(f"{self._operation}: before commit")

    def _record(self, name: str, work: Callable[[], Any]) -> Any:
        self._operation = name
        done = work()
        self._points(f"{name}: after commit")
        return done

    def execute(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        (name,) = {command.operation for command in commands}
        results: list[CommandOutcome] = self._record(name, lambda: self._real.execute(commands))
        return results

    def take_due_payments(self, now: datetime, limit: int, hint_interval_seconds: float) -> list[DuePayment]:
        due: list[DuePayment] = self._record(
            "sweep", lambda: self._real.take_due_payments(now, limit, hint_interval_seconds)
        )
        return due

    def release_due(self, due: Sequence[DuePayment]) -> None:
        self._record("sweep", lambda: self._real.release_due(due))

    def bind_environment(self, mode: Mode) -> Mode:
        return self._real.bind_environment(mode)

    def mode(self) -> Mode | None:
        return self._real.mode()

    def close(self) -> None:
        self._real.close()


class RecordingProvider:
    """The real sandbox, with a point on each side of each call."""

    def __init__(self, real: Provider, points: CrashPoints) -> None:
        self._real = real
        self._points = points

    @property
    def account(self) -> ProviderAccount:
        return self._real.account

    def vend(self, order: Order, may_send: Callable[[], bool]) -> Answer:
        self._points("vend: before the call")
        answer = self._real.vend(order, may_send)
        self._points("vend: after the call")
        return answer

    def requery(self, order: Order) -> Answer:
        self._points("requery: before the call")
        answer = self._real.requery(order)
        self._points("requery: after the call")
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class RecordingQueue:
    """The real queue, with a point on each side of each hand-over."""

    def __init__(self, real: Any, points: CrashPoints) -> None:
        self._real = real
        self._points = points

    def enqueue(self, queue: QueueName, hints: Sequence[Hint], **_options: bool) -> int:
        self._points(f"enqueue {queue}: before")
        count: int = self._real.enqueue(queue, hints)  # arrived, so that each run is the same
        self._points(f"enqueue {queue}: after")
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def open_recording_billvend(
    state: DurableState, clock: PersistentClock, points: CrashPoints | None
) -> Billvend:
    """A billvend with short times on the state, with all its points recorded."""
    settings = load_settings(
        state.database_url,
        sandbox_book=state.store,
        bill_provider_timeout=1,
        lease_seconds=10,
        requery_schedule="20,60",
        bill_provider_max_processing=60,
        not_found_spacing=10,
    )
    real = open_billvend(settings, clock=clock)
    if points is None:
        return real
    parts = real._deps
    return Billvend(
        replace(
            parts,
            journal=RecordingJournal(parts.journal, points),
            queue=RecordingQueue(parts.queue, points),
            providers={
                key: cast(Provider, RecordingProvider(provider, points))
                for key, provider in parts.providers.items()
            },
        )
    )


def submit_all(bv: Billvend, accepted_file: Path | None) -> dict[str, str]:
    """All requests of the callers, each with a key. A caller that got no answer may repeat its request."""
    bv.fund(USER, FUNDED, key="cash")
    transactions = {}
    with (accepted_file or Path(os.devnull)).open("a") as file:
        for meter in METERS:
            transactions[meter] = bv.pay(
                USER, AMOUNT, meter=meter, biller="EKEDC", key=f"bill-{meter}"
            ).transaction_id
            file.write(f"{transactions[meter]}\n")
            file.flush()
        regretted = bv.pay(USER, AMOUNT, meter="99999999999", biller="EKEDC", key="regretted").transaction_id
        file.write(f"{regretted}\n")
        file.flush()
        try:
            bv.cancel(regretted)
        except BillvendError as error:
            if error.code != "already_sent":
                raise
    return transactions


def run_first_process(state: DurableState, crash_at: int | None) -> None:
    """The first process: makes all requests and settles them, unless it is killed."""
    points = CrashPoints(state.trace, crash_at)
    clock = PersistentClock(state.folder / "clock")
    with open_recording_billvend(state, clock, points) as bv:
        for transaction_id in submit_all(bv, state.accepted).values():
            bv.wait(transaction_id, timeout=600)
        bv.sweep()


def resume(state: DurableState) -> None:
    """The second process: callers repeat their requests, a sweeper and workers do the rest."""
    clock = PersistentClock(state.folder / "clock", ahead_seconds=11)
    with open_recording_billvend(state, clock, None) as bv:
        submit_all(bv, None)
        stop = threading.Event()
        worker = threading.Thread(target=lambda: bv.run_worker(threads=2, stop=stop))
        worker.start()
        try:
            for _ in range(400):
                if not bv.payments(*OPEN_STATUSES):
                    break
                clock.sleep(40)
                bv.refresh_account_status()
                bv.sweep()
                stop.wait(0.02)  # now the workers
        finally:
            stop.set()
            worker.join()
