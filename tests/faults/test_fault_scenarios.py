"""Scenarios beside the fault matrix: paused workers, late answers, midnight, restored backups, wrong clocks."""

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
from tests.cli.test_worker import worker_process
from tests.faults import fault_proxy
from tests.faults.environment import METER, Env, ProviderEnv
from tests.faults.fault_proxy import REQUERY, SEND, VERIFY, PausedRequest

pytestmark = pytest.mark.long

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
MIDNIGHT = datetime(2026, 11, 22, 23, tzinfo=UTC)
"""00:00 in Lagos, the end of 22 November."""
SCHEDULED_SECONDS = 60
"""The time between the first requery and the second."""
MAX_PROCESSING_SECONDS = 600


@pytest.fixture
def env(provider_env: ProviderEnv, tmp_path: Path) -> Iterator[Env]:
    env = Env(provider_env, tmp_path)
    try:
        yield env
    finally:
        env.bv.close()


def incidents(payment: Payment) -> list[IncidentKind]:
    return [incident.kind for incident in payment.incidents]


def reference_days(payment: Payment) -> list[str]:
    """The days in the references of a payment."""
    return [attempt.reference[:8] for attempt in payment.attempts]


@contextmanager
def paused_worker(env: Env, hint: Hint, kind: str, paused: PausedRequest) -> Iterator[None]:
    """Another worker handles the payment. The proxy holds its request during the block. After the block the worker has
    its answer and has recorded it."""
    env.proxy.plan(kind, paused)
    with env.open() as other, ThreadPoolExecutor(1) as pool:
        worker = pool.submit(other.settle, hint)
        paused.wait()
        try:
            yield
        finally:
            paused.resume.set()
            worker.result(30)


# --- paused workers and late answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("with_answer", "meanwhile", "end", "expected_incidents"),
    [
        pytest.param(False, Status.IN_DOUBT, Status.COMPLETED, [], id="not found yet"),
        pytest.param(True, Status.COMPLETED, Status.COMPLETED, [], id="delivered to the other worker"),
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
def test_late_answer_after_requery_by_another_worker(
    env: Env, with_answer: bool, meanwhile: Status, end: Status, expected_incidents: list[IncidentKind]
) -> None:
    """The send is paused before or after the vend, for longer than a lease, until the payment is `meanwhile`."""
    hint = env.accept()
    with paused_worker(env, hint, SEND, PausedRequest(with_answer)):
        overtaken = env.run_until(hint, meanwhile)
        assert overtaken.status is meanwhile
        assert overtaken.attempts[0].requeries[0].answer is not None
    late = env.payment(hint)
    assert late.status is end  # the late answer alone decides it
    payment = env.run_until(hint)
    env.assert_consistent(hint)
    entry = env.sandbox_entry(hint)
    assert entry is not None
    assert (payment.status, incidents(payment), entry.vends) == (end, expected_incidents, 1)
    assert payment.token == (entry.token if end is Status.COMPLETED else None)
    assert env.proxy.count(SEND) == 1


def test_worker_paused_past_its_lease_sends_nothing(provider_env: ProviderEnv, tmp_path: Path) -> None:
    """A real process gets a real SIGSTOP. It has claimed the send and is verifying the meter."""
    provider_env.reset(datetime.now(UTC))  # the worker uses the clock of the machine
    times = {
        "BILL_PROVIDER_TIMEOUT": "1",
        "LEASE_SECONDS": "3",
        "REQUERY_SCHEDULE": "0.3",
        "VERIFY_TIMEOUT": "30",
    }
    settings = provider_env.settings(
        tmp_path, "vtpass", verify_meter=True, **{name.lower(): value for name, value in times.items()}
    )
    paused = PausedRequest(with_answer=True)
    provider_env.proxy.plan(VERIFY, paused)
    with open_billvend(settings) as bv:
        bv.fund("ada", 5000)
        (accepted,) = bv.pay_many(
            [Bill("ada", 500, METER, "EKEDC", key="row-1")]
        )  # bulk payments are not verified yet
        transaction_id = accepted.payment.transaction_id  # type: ignore[union-attr]  # not an error
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
        with worker_process(tmp_path, QUEUE_CONCURRENCY="1", **times, **account, **keys) as worker:
            paused.wait()
            # Another thread of the worker could hold SQLite's write lock when it stops. This test is not about that.
            with closing(sqlite3.connect(settings.database_path or "", isolation_level=None)) as lock:
                lock.execute("BEGIN IMMEDIATE")
                worker.process.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, worker.process.pid, os.WSTOPPED | os.WNOWAIT)
            taken_over = bv.wait(transaction_id, timeout=4)
            assert taken_over.status is Status.IN_DOUBT
            assert taken_over.attempts[0].requeries[0].answer is not None
            paused.resume.set()
            worker.process.send_signal(signal.SIGCONT)
            payment = bv.wait(transaction_id, timeout=30)
        assert (payment.status, payment.proof) == (Status.REVERSED, Proof.NOT_SENT)
        assert provider_env.proxy.count(SEND) == 0
        assert provider_env.sandbox.store.find(payment.attempts[0].reference) is None
        assert bv.balance("ada").available.major == 5000
        assert bv.audit().ok


@pytest.mark.parametrize(
    ("decision", "end", "expected_incidents"),
    [
        ({"decision": "reverse"}, Status.REVERSED, [IncidentKind.DELIVERED_AFTER_REVERSAL]),
        ({"token": "1" * 20}, Status.COMPLETED, [IncidentKind.ANOTHER_TOKEN]),
        ({"token": "as sold"}, Status.COMPLETED, []),
    ],
    ids=["reverse", "another token", "the token"],
)
def test_operator_decision_during_requery_is_final(
    env: Env, decision: dict[str, Any], end: Status, expected_incidents: list[IncidentKind]
) -> None:
    hint = env.accept()
    env.proxy.plan(SEND, fault_proxy.drop_response)
    assert env.settle(hint).status is Status.IN_DOUBT
    entry = env.sandbox_entry(hint)
    assert entry is not None
    if decision.get("token") == "as sold":
        decision = {"token": entry.token}
    env.clock.sleep(60)
    with paused_worker(env, hint, REQUERY, PausedRequest(with_answer=True)):
        decided = env.bv.resolve(hint.transaction_id, operator="ngozi", reason="asked by phone", **decision)
        assert decided.status is end
    payment = env.run_until(hint)
    env.assert_consistent(hint)
    assert (payment.status, incidents(payment)) == (end, expected_incidents)
    assert payment.token == (decision.get("token") if end is Status.COMPLETED else None)
    assert payment.proof == (Proof.OPERATOR if end is Status.REVERSED else None)


def test_operator_decision_after_completion_is_rejected(env: Env) -> None:
    hint = env.accept()
    env.proxy.plan(SEND, fault_proxy.drop_response)
    env.run_until(hint)
    with pytest.raises(NotInReview):
        env.bv.resolve(hint.transaction_id, operator="ngozi", reason="asked by phone", decision="reverse")
    env.assert_consistent(hint)
    assert env.payment(hint).status is Status.COMPLETED


# --- midnight in Lagos, where VTpass's references end -----------------------------------------------------------------


def test_payment_sent_after_midnight_gets_new_reference(env: Env) -> None:
    env.clock.at = MIDNIGHT - 10 * SECOND
    hint = env.accept()
    env.clock.at = MIDNIGHT + 5 * SECOND
    payment = env.run_until(hint)
    env.assert_consistent(hint)
    assert payment.status is Status.COMPLETED
    assert env.proxy.request_kinds == [
        REQUERY,
        SEND,
    ]  # requery first: a lost database may have sent yesterday's reference
    assert reference_days(payment) == ["20261122", "20261123"]
    assert [len(attempt.sends) for attempt in payment.attempts] == [0, 1]


@pytest.mark.parametrize(
    ("fault", "end", "proof"),
    [
        (fault_proxy.drop_response, Status.COMPLETED, None),
        (fault_proxy.drop_request, Status.REVERSED, Proof.NOT_FOUND),
    ],
    ids=["vended", "never vended"],
)
def test_lost_answer_before_midnight_is_requeried(
    env: Env, fault: fault_proxy.ProxyFault, end: Status, proof: Proof | None
) -> None:
    env.clock.at = MIDNIGHT - SECOND
    hint = env.accept()
    env.proxy.plan(SEND, fault)
    assert env.settle(hint).status is Status.IN_DOUBT
    payment = env.run_until(hint)
    env.assert_consistent(hint)
    assert (payment.status, payment.proof) == (end, proof)
    assert reference_days(payment) == ["20261122"]
    assert env.proxy.count(SEND) == 1


def test_refused_connection_before_midnight_reverses(env: Env) -> None:
    """The reference is no longer valid when the payment could be sent again. Nothing is sent, the money goes back."""
    env.clock.at = MIDNIGHT - SECOND
    hint = env.accept()
    with env.proxy.refuse_connections():
        env.settle(hint)
    payment = env.run_until(hint)
    env.assert_consistent(hint)
    assert (payment.status, payment.proof) == (Status.REVERSED, Proof.NOT_SENT)
    assert [len(attempt.sends) for attempt in payment.attempts] == [1]
    assert env.proxy.request_kinds == []


# --- restored backups, wrong clocks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accepted_at", "restored_at", "request_kinds"),
    [
        pytest.param(MIDNIGHT - 12 * HOUR, MIDNIGHT - 11 * HOUR, [SEND, SEND, REQUERY], id="the same day"),
        pytest.param(MIDNIGHT - 10 * SECOND, MIDNIGHT + 10 * SECOND, [SEND, REQUERY], id="the next day"),
    ],
)
def test_restored_backup_buys_nothing_twice(
    env: Env, tmp_path: Path, accepted_at: datetime, restored_at: datetime, request_kinds: list[str]
) -> None:
    backup = tmp_path / "backup.db"
    env.clock.at = accepted_at
    hint = env.accept()
    env.bv.close()
    shutil.copy(env.ledger_path, backup)
    env.bv = env.open()
    token = env.settle(hint).token
    assert token
    env.bv.close()
    shutil.copy(backup, env.ledger_path)
    env.bv = env.open()
    assert env.payment(hint).status is Status.PENDING
    env.clock.at = restored_at
    payment = env.run_until(hint)
    env.assert_consistent(hint)
    assert (payment.status, payment.token) == (Status.COMPLETED, token)
    assert env.proxy.request_kinds == request_kinds
    assert reference_days(payment) == ["20261122"]


@pytest.mark.parametrize("dialect", ["vtpass", "buypower"])
@pytest.mark.parametrize("bulk", [False, True], ids=["one", "bulk"])
def test_key_replayed_on_restored_backup_buys_nothing_twice(
    provider_env: ProviderEnv, tmp_path: Path, dialect: str, bulk: bool
) -> None:
    """The ledger lost the payment. Only the reference, derived from the key, identifies it."""
    env = Env(provider_env, tmp_path, dialect)
    bill = Bill("ada", 500, METER, "EKEDC", key="order-42")

    def pay() -> Hint:
        if bulk:
            [result] = env.bv.pay_many([bill])
            assert not isinstance(result, BillvendError)
            return Hint("ada", result.payment.transaction_id)
        paid = env.bv.pay("ada", 500, meter=METER, biller="EKEDC", key="order-42")
        return Hint("ada", paid.transaction_id)

    env.bv.fund("ada", 5000, key="first")
    env.bv.close()
    backup = tmp_path / "backup.db"
    shutil.copy(env.ledger_path, backup)
    env.bv = env.open()
    first = env.run_until(pay(), Status.COMPLETED)
    env.bv.close()
    shutil.copy(backup, env.ledger_path)
    env.bv = env.open()
    env.clock.at += HOUR
    again = pay()
    second = env.run_until(again, Status.COMPLETED)
    env.assert_consistent(again)
    assert second.transaction_id != first.transaction_id
    assert (second.token, second.attempts[0].reference) == (first.token, first.attempts[0].reference)
    assert len(second.attempts) == 1
    env.bv.close()


@pytest.mark.parametrize("lands", [True, False], ids=["lands late", "never arrived"])
def test_clock_jump_between_requeries_proves_nothing(env: Env, lands: bool) -> None:
    hint = env.accept()
    if lands:
        env.provider_env.plan("lands_late", requeries=4)
    else:
        env.proxy.plan(SEND, fault_proxy.drop_request)
    env.settle(hint)
    env.step(hint)  # not found
    env.clock.at += HOUR
    jumped_to = env.clock.at
    payment = env.settle(hint)  # not found again, by the clock more than ten minutes after the send
    assert [len(attempt.requeries) for attempt in payment.attempts] == [2]
    assert payment.status is Status.IN_DOUBT
    payment = env.run_until(hint, Status.REVERSED, Status.COMPLETED)
    env.assert_consistent(hint)
    if lands:
        assert payment.status is Status.COMPLETED
    else:
        waited_seconds = (env.clock.at - jumped_to).total_seconds()
        assert payment.proof is Proof.NOT_FOUND
        assert waited_seconds >= MAX_PROCESSING_SECONDS - 1.1 * SCHEDULED_SECONDS
