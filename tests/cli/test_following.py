"""A payment that is followed, and what comes between: Ctrl-C, and a database that goes away."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from billvend import Status, open_billvend
from billvend.adapters.clock import SystemClock
from billvend.cli.progress import defer_sigint, wait_with_progress
from billvend.config import settings_from_values
from tests.cli.console import IN_DOUBT, PATIENCE_SECONDS, PROGRAM, Console, environment
from tests.support.servers import PostgresServer, new_database

SLOW = "600000000005"
"""Answers after 3 s."""


@contextmanager
def paying(
    console: Console, meter: str, *arguments: str, **settings: str
) -> Iterator["subprocess.Popen[str]"]:
    """A payment that is followed by a process of its own, from when it is about to be sent."""
    with subprocess.Popen(
        [*PROGRAM, "pay", "ada", "500", "--meter", meter, "--biller", "EKEDC", *arguments],
        cwd=console.folder,
        env=environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert "about to be sent" in process.stdout.readline()
            yield process
        finally:
            process.kill()


@contextmanager
def calling(console: Console, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """The same, from when the provider is being called."""
    with paying(console, SLOW, *arguments, LOG_LEVEL="debug", LOG_FORMAT="json") as process:
        assert process.stderr is not None
        while "Bill payment processing" not in process.stderr.readline():
            assert process.poll() is None
        yield process


def funded_on(console: Console, server: PostgresServer) -> tuple[str, str]:
    """A wallet with money on a PostgreSQL of its own: the option that names it."""
    there = ("--database-url", new_database(server))
    assert console("db", "upgrade", *there).status == 0
    assert console("fund", "ada", "5000", *there).status == 0
    return there


def test_control_c_leaves_a_payment_that_goes_on(funded: Console) -> None:
    with paying(funded, IN_DOUBT) as process:
        assert process.stdout is not None
        assert "confirming" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, errors) == (7, "")
    (line,) = rest.splitlines()
    assert line.startswith("The payment goes on, with its money reserved. Look at it with: billvend show ")
    assert funded.json("show", line.rpartition(" ")[2])["status"] == "in_doubt"


def test_control_c_lets_the_call_in_hand_have_its_end(funded: Console) -> None:
    with calling(funded) as process:
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    (paid,) = funded.json("payments")["items"]
    assert paid["status"] == "completed"
    assert paid["transactionId"] in out


class Impatience(SystemClock):
    """A clock during whose every pause somebody presses Ctrl-C so many times."""

    def __init__(self, times: int) -> None:
        self._times = times

    def sleep(self, seconds: float) -> None:
        for _ in range(self._times):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("times", "left", "status"), [(1, False, Status.COMPLETED), (2, True, Status.PENDING)]
)
def test_a_second_control_c_leaves_at_once(funded: Console, times: int, left: bool, status: Status) -> None:
    settings = settings_from_values(database_url="sqlite:///billvend.db")
    with open_billvend(settings, clock=Impatience(times)) as bv, defer_sigint() as interrupt:
        payment = bv.pay("ada", "500", meter=SLOW, biller="EKEDC")
        followed = wait_with_progress(bv, payment, 60, interrupt, quiet=True)
    assert (followed.was_interrupted, followed.payment.status) == (left, status)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_process_that_is_not_to_be_interrupted_is_not() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with defer_sigint() as interrupt:
            signal.raise_signal(signal.SIGINT)
        assert not interrupt.is_requested
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_database_that_goes_away_undoes_nothing_that_was_accepted(
    billvend: Console, own_postgres: PostgresServer
) -> None:
    there = funded_on(billvend, own_postgres)
    with paying(billvend, IN_DOUBT, *there) as process:
        assert process.stdout is not None
        assert "confirming" in process.stdout.readline()
        own_postgres.kill()
        _, error = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 9
    assert "is accepted and its money reserved" in error
    assert "Nothing was done" not in error
    assert error.count("\n") == 1
    own_postgres.start()
    (accepted,) = billvend.json("payments", *there)["items"]
    assert accepted["transactionId"] in error


def test_an_answer_in_hand_waits_for_its_database(billvend: Console, own_postgres: PostgresServer) -> None:
    there = funded_on(billvend, own_postgres)
    with calling(billvend, *there) as process:
        own_postgres.kill()
        own_postgres.start()
        out, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    assert "Token" in out
