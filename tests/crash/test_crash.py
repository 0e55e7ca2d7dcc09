"""A real process is killed with SIGKILL at every point where a crash matters. Then everything must still add up:

no payment lost, none vended twice, none both delivered and reversed, whatever happened to the queue.
"""

import multiprocessing
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from billvend import Payment, Status
from billvend.adapters.storage.database import Database
from billvend.adapters.storage.schema_version import upgrade
from tests.crash.scenario import (
    AMOUNT,
    FUNDED,
    METERS,
    USER,
    DurableState,
    PersistentClock,
    open_recording_billvend,
    resume,
    run_first_process,
)

pytestmark = pytest.mark.long

EVERY_POINT = os.environ.get("BILLVEND_CRASH", "") == "all"
"""All occurrences of all points (`nox -s crash`), or the first and the last of each."""
SHARES = 4
SPAWN = multiprocessing.get_context("forkserver")
SPAWN.set_forkserver_preload(
    [
        "tests.crash.scenario",
        "billvend.adapters.storage.queries",
        "billvend.adapters.queue.storages",
        "alembic.command",
        "billvend.adapters.metrics.prometheus",
        "sqlalchemy.dialects.postgresql.psycopg",
        "psycopg",
    ]
)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def new_state(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], DurableState]]:
    """Makes states: a new database, folder and sandbox for each scenario."""
    # Without it the server of forks can't import what it should preload, and every fork takes a second longer.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    if request.param == "sqlite":
        upgraded = tmp_path / "upgraded.db"
        database = Database(f"sqlite:///{upgraded}")
        upgrade(database)
        database.close()

        def make(name: str) -> DurableState:
            folder = tmp_path / name
            folder.mkdir()
            shutil.copy(upgraded, folder / "shop.db")
            return DurableState(f"sqlite:///{folder}/shop.db", folder)

        yield make
        return
    from tests.support.servers import drop_database, new_database

    server = request.getfixturevalue("postgres_server")
    template = new_database(server)
    database = Database(template)
    upgrade(database)
    database.close()
    made = [template]

    def make_on_server(name: str) -> DurableState:
        folder = tmp_path / name
        folder.mkdir()
        made.append(new_database(server, template))
        return DurableState(made[-1], folder)

    yield make_on_server
    for url in made:
        drop_database(server, url)


def run(target: Callable[..., None], *args: object) -> int:
    """Run a part of the scenario in its own process; returns how it ended."""
    process = SPAWN.Process(target=target, args=args)
    process.start()
    process.join(60)
    assert process.exitcode is not None, "the scenario hangs"
    return process.exitcode


def chosen_crashes(trace: list[str]) -> dict[str, list[int]]:
    """For each point, the occurrences to crash at (counted over all points, from 1)."""
    found: dict[str, list[int]] = {}
    for number, name in enumerate(trace, start=1):
        found.setdefault(name, []).append(number)
    if EVERY_POINT:
        return found
    return {name: sorted({at[0], at[-1]}) for name, at in found.items()}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("share", range(SHARES))  # shares of the points, for several cores
def test_ledger_and_provider_agree_after_kill_at_every_point(
    new_state: Callable[[str], DurableState], share: int, capsys: pytest.CaptureFixture[str]
) -> None:
    untouched = new_state("untouched")
    assert run(run_first_process, untouched, None) == 0
    check(untouched)
    trace = untouched.trace.read_text().splitlines()
    points = chosen_crashes(trace)
    assert EXPECTED_POINTS <= set(points), "a point of the list is never passed"
    crashes = [
        (name, crash_at, number % 2 == 0)
        for name, occurrences in points.items()
        for number, crash_at in enumerate(occurrences)
    ][share::SHARES]
    for name, crash_at, queue_is_lost in crashes:
        state = new_state(f"dies-{crash_at}")
        assert run(run_first_process, state, crash_at) == -signal.SIGKILL, f"no process died at {name}"
        assert state.trace.read_text().splitlines()[-1] == name
        if queue_is_lost:
            for file in state.folder.glob("*.queue.db*"):
                file.unlink()  # as by FLUSHALL
        assert run(resume, state) == 0, f"no process could resume after {name}"
        check(state)
    with capsys.disabled():
        print(f"\n{len(crashes)} deaths, of {len(trace)} points passed")


EXPECTED_POINTS = {
    *(
        f"{name}: {when} commit"
        for name in ("fund", "pay", "cancel", "claim", "record_answer")
        for when in ("before", "after")
    ),
    "sweep: before commit",
    "sweep: after commit",
    "vend: before the call",
    "vend: after the call",
    "requery: before the call",
    "requery: after the call",
    "enqueue payments: before",
    "enqueue payments: after",
    "enqueue reversals: before",
    "enqueue reversals: after",
}


def check(state: DurableState) -> None:
    """Compare the ledger with the answers that callers got, and with what the sandbox really sold."""
    with open_recording_billvend(state, PersistentClock(state.folder / "clock"), None) as bv:
        payments = bv.payments(limit=1000)
        audit = bv.audit()
        balance = bv.balance(USER)
    assert audit.ok, audit.differences
    accepted = state.accepted.read_text().split() if state.accepted.exists() else []
    assert set(accepted) <= {payment.transaction_id for payment in payments}, "a payment was lost"
    assert sorted(payment.meter for payment in payments) == sorted([*METERS, "99999999999"])
    assert all(payment.has_ended for payment in payments), [(p.meter, p.status) for p in payments]
    sold = tokens_sold(state.store)
    for payment in payments:
        check_payment(payment, sold)
    spent = sum(payment.status is Status.COMPLETED for payment in payments) * int(AMOUNT)
    assert balance.available.major == int(FUNDED) - spent
    assert balance.held.amount_minor == 0
    known_references = {attempt.reference for payment in payments for attempt in payment.attempts}
    assert set(sold) <= known_references, "something was sold that the ledger does not know"


def check_payment(payment: Payment, sold: dict[str, str]) -> None:
    """Delivered once and spent, or never delivered and reversed."""
    delivered = [sold[attempt.reference] for attempt in payment.attempts if attempt.reference in sold]
    if payment.status is Status.COMPLETED:
        assert delivered == [payment.token], f"{payment.meter}: sold {delivered}, handed over {payment.token}"
    else:
        assert delivered == [], f"{payment.meter}: reversed, but sold {delivered}"


def tokens_sold(store: Path) -> dict[str, str]:
    """The tokens that the sandbox really issued, by reference."""
    if not store.exists():
        return {}
    connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT reference, token, vends FROM sale WHERE vends > 0").fetchall()
    finally:
        connection.close()
    assert all(vends == 1 for _, _, vends in rows), "the sandbox sold one reference twice"
    return {reference: token for reference, token, _ in rows}
