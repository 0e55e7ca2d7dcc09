"""Every exit status of the commands, and the output that belongs to it."""

import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from billvend.cli.exits import Exit, Failure, FollowFailed, exit_of, failure_of
from billvend.domain import errors
from billvend.domain.enums import Status
from billvend.domain.errors import BillvendError, OutcomeUnknown, Unavailable
from billvend.presentation.errors import statuses_of
from tests.cli.console import PROGRAM, Console, environment, run

UNREACHABLE_URL = "postgresql://billvend:hunter2@127.0.0.1:1/nowhere"


def all_errors(kind: type[BillvendError] = BillvendError) -> Iterator[type[BillvendError]]:
    yield kind
    for special in kind.__subclasses__():
        yield from all_errors(special)


EXPECTED = {
    (500, 1): "BillvendError InvalidTransition Rejected",
    (
        422,
        2,
    ): "BelowMinimum InvalidAmount InvalidAmountType InvalidInput InvalidMeter MeterCannotVend MeterNotFound "
    "UnknownBiller UnsupportedCurrency ValidationFailed WrongMeterType",
    (503, 2): "ConfigurationError",
    (404, 3): "ResourceNotFound TransactionNotFound WalletNotFound",
    (402, 4): "InsufficientFunds",
    (409, 5): "AlreadySent Conflict LikelyDuplicate NotInReview RequestInProgress",
    (422, 5): "IdempotencyMismatch",
    (503, 9): "DependencyError OutcomeUnknown ProviderUnavailable Unavailable",
    (400, 1): "InvalidIdempotencyKey MalformedHeader MalformedJson RequestRejected",
    (401, 1): "Unauthenticated",
    (403, 1): "Forbidden",
    (408, 1): "BodyTooSlow",
    (413, 1): "BodyTooLarge",
    (415, 1): "UnsupportedMediaType",
    (429, 1): "RateLimited",
}
"""Every error by its HTTP status and its exit status. Only our bugs have 500."""


def test_every_error_has_its_statuses() -> None:
    found: dict[tuple[int, int], list[str]] = {}
    for kind in all_errors():
        if kind.__module__.startswith("billvend."):
            found.setdefault(statuses_of(kind), []).append(kind.__name__)
    assert {statuses: " ".join(sorted(names)) for statuses, names in found.items()} == EXPECTED


def test_docstring_is_the_default_message_in_one_line() -> None:
    assert (
        str(errors.WalletNotFound())
        == "The user has no wallet in this currency, because none was ever funded."
    )
    for kind in all_errors():
        if kind.__init__ is BillvendError.__init__:
            assert str(kind())
            assert "\n" not in str(kind())


def test_detail_of_an_outage_is_for_operators_only() -> None:
    error = Unavailable("The queue does not answer.", "Try again.", detail="db.example refused")
    assert (
        failure_of(error).message
        == str(error)
        == "The queue does not answer (db.example refused). Try again."
    )
    assert error.public_message == "The queue does not answer. Try again."


@pytest.mark.parametrize("status", Status)
def test_pay_exit_status_follows_payment_status(status: Status) -> None:
    assert exit_of(status) == {Status.COMPLETED: 0, Status.REVERSED: 6}.get(status, 7)


def pay(meter: str, *arguments: str, amount: str = "500") -> tuple[str, ...]:
    return ("pay", "ada", amount, "--meter", meter, "--biller", "EKEDC", *arguments)


EXIT_CASES = [
    (0, "", pay("12345678901")),
    (0, "", pay("600000000001", "--no-wait")),
    (0, "", ("balance", "ada")),
    (2, "usage", ("balance", "ada", "--nope")),
    (2, "usage", ("balance", "ada", "bola")),
    (2, "usage", ("nope",)),
    (2, "usage", ("db", "--json")),
    (2, "usage", ("worker", "--json")),
    (2, "validation_failed", ("balance",)),
    (2, "validation_failed", pay("12345678901", "--wait", "soon")),
    (2, "validation_failed", pay("12345678901", "--wait", "nan")),
    (2, "validation_failed", pay("12345678901", "--wait", "-1")),
    (2, "validation_failed", ("pay", "ada", "500", "--meter", "12345678901")),
    (2, "validation_failed", ("payments", "--status", "lost")),
    (2, "validation_failed", ("find",)),
    (2, "validation_failed", ("history", "ada", "--limit", "0")),
    (2, "validation_failed", ("fund", " ada", "500")),
    (2, "validation_failed", pay("12345678901", "--vend-type", "weekly")),
    (2, "validation_failed", pay("12345678901", "--phone", "home")),
    (2, "validation_failed", pay("12345678901", "--key", "")),
    (2, "invalid_amount", ("fund", "ada", "-5")),
    (2, "invalid_amount", ("fund", "ada", "1e400")),
    (2, "invalid_amount", pay("12345678901", amount="1.001")),
    (2, "invalid_meter", pay("123")),
    (2, "invalid_meter", ("find", "--meter", "123")),
    (2, "unknown_biller", ("pay", "ada", "500", "--meter", "12345678901", "--biller", "NEPA")),
    (2, "unsupported_currency", ("fund", "ada", "500", "--currency", "XXX")),
    (2, "bad_setting", ("balance", "ada", "--database-url", "mysql://x/y")),
    (3, "wallet_not_found", ("balance", "unknown")),
    (3, "transaction_not_found", ("show", "nothing")),
    (3, "transaction_not_found", ("show", "nothing", "--refresh")),
    (3, "transaction_not_found", ("cancel", "nothing")),
    (4, "insufficient_funds", pay("12345678901", amount="5000.01")),
    (6, "", pay("600000000001")),
    (7, "", pay("12345678901", "--wait", "0")),
    (7, "", pay("600000000003", "--wait", "0.1")),
    (9, "unavailable", ("balance", "ada", "--database-url", UNREACHABLE_URL)),
    (9, "unavailable", ("health", "--database-url", UNREACHABLE_URL)),
    (9, "unavailable", ("db", "current", "--database-url", UNREACHABLE_URL)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "code", "arguments"),
    EXIT_CASES,
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_command_exits_with_status_and_code(
    funded: Console, status: int, code: str, arguments: tuple[str, ...]
) -> None:
    result = funded(*arguments)
    as_json = (
        result
        if "--json" in arguments
        else funded(*arguments, "--json", *(["--allow-duplicate"] if "pay" in arguments else []))
    )
    assert (result.status, as_json.status) == (status, status)
    if not code:
        assert (result.err, as_json.err) == ("", "")
        assert "error" not in as_json.document
        return
    error = as_json.document["error"]
    assert error["code"] == code
    assert result.err == as_json.err == f"Error: {error['message']}\n"
    assert "\n" not in error["message"]
    assert "Traceback" not in result.err
    assert "hunter2" not in result.err
    assert result.out == "" or "--json" in arguments


def test_conflict_exits_with_5(funded: Console) -> None:
    assert funded.pay("12345678901", "--key", "order-1").status == Exit.DONE
    mismatch = funded.json(*pay("12345678901", "--key", "order-1", amount="600"), status=Exit.CONFLICT)
    assert mismatch["error"]["code"] == "idempotency_mismatch"

    assert funded.pay("1111111111111").status == Exit.DONE
    twice = funded.pay("1111111111111")
    assert (twice.status, twice.out) == (Exit.CONFLICT, "")
    assert "--allow-duplicate" in twice.err
    assert funded.pay("1111111111111", "--allow-duplicate").status == Exit.DONE

    sent = funded.pay_json("12345678901", "--key", "order-1")["transactionId"]
    assert funded.json("cancel", sent, status=Exit.CONFLICT)["error"]["code"] == "already_sent"


def test_audit_with_differences_exits_with_8(funded: Console) -> None:
    assert funded.json("audit")["ok"] is True
    with sqlite3.connect(funded.folder / "billvend.db") as connection:
        connection.execute("UPDATE wallets SET balance_minor = balance_minor + 1")
    connection.close()
    report = funded.json("audit", status=Exit.DIFFERENCE)
    assert report["ok"] is False
    assert len(report["differences"]) == 1
    screen = funded("audit")
    assert (screen.status, screen.err) == (Exit.DIFFERENCE, "")
    assert report["differences"][0] in screen.out


def test_unknown_outcome_error_names_transaction_and_key(capsys: pytest.CaptureFixture[str]) -> None:
    from billvend.cli.output import fail

    error = OutcomeUnknown("The connection broke.", transaction_id="tx-1", idempotency_key="order-1")
    fail(True, failure_of(error))
    out, err = capsys.readouterr()
    assert json.loads(out)["error"] == {
        "code": "outcome_unknown",
        "message": "The connection broke. Transaction: tx-1. Key: order-1",
        "transactionId": "tx-1",
        "idempotencyKey": "order-1",
    }
    assert err == "Error: The connection broke. Transaction: tx-1. Key: order-1\n"


@pytest.mark.parametrize(
    ("cause", "status", "code"),
    [
        (Unavailable("The database does not answer (gone). Nothing was done: try again."), 9, "unavailable"),
        (errors.ConfigurationError("This database is for live money. Nothing was sent."), 1, "bad_setting"),
        (ValueError("odd"), 1, "internal"),
    ],
)
def test_failure_after_acceptance_says_money_is_held(cause: Exception, status: int, code: str) -> None:
    failure = failure_of(FollowFailed("tx-1", cause))
    assert (failure.status, failure.code, failure.extra_members) == (status, code, {"transactionId": "tx-1"})
    assert "The payment tx-1 is accepted and its money is held" in failure.message
    assert "billvend show tx-1" in failure.message
    assert "Nothing was" not in failure.message
    assert "try again" not in failure.message


def test_error_is_printed_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    from billvend.cli.output import fail

    fail(False, Failure(Exit.FAILED, "internal", "two\nlines\r\n\x1b[31mred\x07 and\tmore"))
    assert capsys.readouterr().err == "Error: two lines ?[31mred? and more\n"


# --- commands as processes --------------------------------------------------------------------------------------------


def test_process_prints_only_json_on_stdout(tmp_path: Path) -> None:
    result = run(tmp_path, "fund", "ada", "500", "--json")
    assert (result.status, result.err, result.document["balance"]) == (0, "", "500.00")
    refused = run(tmp_path, *pay("12345678901", "--json", amount="600"))
    assert (refused.status, refused.document["error"]["code"]) == (4, "insufficient_funds")
    assert refused.err.count("\n") == 1


def test_traceback_is_shown_only_at_debug_level(tmp_path: Path) -> None:
    (tmp_path / "sandbox.db").mkdir()  # the sandbox cannot open its store
    plain = run(tmp_path, "billers")
    assert (plain.status, plain.out, plain.err.count("\n")) == (9, "", 1)
    debug = run(tmp_path, "billers", LOG_LEVEL="debug")
    assert debug.status == 9
    assert "Traceback" in debug.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_unwritable_stdout_is_an_error(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [*PROGRAM, "config"],
            cwd=tmp_path,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert result.returncode == Exit.FAILED
    assert result.stderr.startswith("Error: Internal error: OSError")
    assert result.stderr.count("\n") == 1


def test_broken_pipe_exits_silently(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [*PROGRAM, "config"],
        cwd=tmp_path,
        env=environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert (result.returncode, result.stderr) == (Exit.BROKEN_PIPE, "")


def test_closed_stdout_is_ignored(tmp_path: Path) -> None:
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *PROGRAM, "fund", "ada", "500"]
    result = subprocess.run(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    assert (result.returncode, result.stderr) == (Exit.DONE, "")


def test_unencodable_characters_are_escaped(tmp_path: Path) -> None:
    result = run(tmp_path, "fund", "adé", "500", PYTHONIOENCODING="ascii")
    assert (result.status, result.err) == (0, "")
    assert "ad\\xe9" in result.out
