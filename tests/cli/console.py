"""Run billvend's commands: in this process where that is enough, else in a process of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from billvend import Payment, Status, open_billvend
from billvend.cli import main
from tests.support.servers import PostgresServer, new_database

PATIENCE_SECONDS = 60
METER = "12345678901"
"""The sandbox sells to this meter at once."""
LOST_ANSWER_METER = "600000000003"
"""The sandbox sells to this meter, but its answer is lost."""
SLOW_METER = "600000000005"
"""The sandbox answers for this meter after 3 s."""
PROGRAM = (sys.executable, "-m", "billvend")


@dataclass(frozen=True)
class CliResult:
    """The exit status of a command, and its output."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


class Console:
    """A command line in its own folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def __call__(self, *arguments: str) -> CliResult:
        """Run a command in this process."""
        self._capsys.readouterr()
        status = main(arguments)
        return CliResult(status, *self._capsys.readouterr())

    def json(self, *arguments: str, status: int = 0) -> Any:
        """Run a command with --json, check its exit status, and return its document."""
        result = self(*arguments, "--json")
        assert result.status == status, result
        return result.document

    def error(self, status: int, code: str, *arguments: str) -> str:
        """Run a command that fails with this exit status and code. Returns its message."""
        error = self.json(*arguments, status=status)["error"]
        assert error["code"] == code
        return str(error["message"])

    def pay(self, meter: str, *arguments: str, user: str = "ada", amount: str = "500") -> CliResult:
        """Run `pay` with these arguments."""
        return self("pay", user, amount, "--meter", meter, "--biller", "EKEDC", *arguments)

    def pay_json(self, meter: str, *arguments: str, status: int = 0) -> Any:
        """Run `pay --json`, check its exit status, and return its document."""
        return self.json(
            "pay", "ada", "500", "--meter", meter, "--biller", "EKEDC", *arguments, status=status
        )

    def in_doubt(self, key: str = "doubtful") -> str:
        """Make a payment of ada that stays in doubt for the next 20 s. Returns its id."""
        transaction_id: str = self.pay_json(LOST_ANSWER_METER, "--key", key, "--no-wait")["transactionId"]

        def watch(payment: Payment) -> None:
            if payment.status is Status.IN_DOUBT:
                raise _InDoubt

        with open_billvend("sqlite:///billvend.db") as bv, suppress(_InDoubt):
            bv.wait(transaction_id, timeout=PATIENCE_SECONDS, on_poll=watch)
        return transaction_id

    def funded_database(self, database: PostgresServer | str) -> tuple[str, str]:
        """A PostgreSQL database where ada has money: this one, or a new one. Returns the option that names it."""
        url = database if isinstance(database, str) else new_database(database)
        database_option = ("--database-url", url)
        assert self("db", "upgrade", *database_option).status == 0
        assert self("fund", "ada", "5000", *database_option).status == 0
        return database_option


class _InDoubt(Exception):
    """The payment is in doubt: stop waiting."""


def environment(**settings: str) -> dict[str, str]:
    """Environment variables for a process that imports the billvend under test."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **settings}


@contextmanager
def process(folder: Path, *arguments: str, **settings: str) -> Iterator["subprocess.Popen[str]"]:
    """A command that runs in a process of its own, and is killed at the end."""
    with subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=folder,
        env=environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def run(folder: Path, *arguments: str, **settings: str) -> CliResult:
    """Run a command in a process of its own to its end."""
    with process(folder, *arguments, **settings) as running:
        out, err = running.communicate(timeout=PATIENCE_SECONDS)
    return CliResult(running.returncode, out, err)


def run_python(program: str, *, folder: Path | None = None) -> CliResult:
    """Run a Python program that imports billvend."""
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment(), capture_output=True, text=True
    )
    return CliResult(finished.returncode, finished.stdout, finished.stderr)
