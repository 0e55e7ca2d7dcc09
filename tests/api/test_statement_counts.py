"""How many statements a call costs PostgreSQL, without BEGIN, COMMIT and SET. With an API key: its look-up counts."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from billvend import Billvend
from billvend.bootstrap import upgrade_schema
from billvend.cli import main
from billvend.cli.exits import Exit
from billvend.config import Settings
from billvend.domain.api_keys import Scope
from billvend.ports.queue import Hint
from tests.api.client import BILL, Client, application


@pytest.fixture
def settings(postgres_url: str, tmp_path: Path) -> Settings:
    upgrade_schema(Settings(database_url=postgres_url))
    return Settings(database_url=postgres_url, rate_limit="0", sandbox_book=tmp_path / "sandbox.db")


@pytest.fixture
def keyed(bv: Billvend, settings: Settings) -> Client:
    bv.fund("ada", "5000")
    secret = bv.create_api_key("till-7", [Scope.PAY, Scope.READ]).secret
    client = Client(application(bv, settings), Authorization=f"Bearer {secret}")
    other = BILL | {"meterNumber": "1111111111111"}
    # The use of a key, and what is at risk at each account, are looked up now and then, not for each call.
    assert client.post("/bills/pay", other, key="earlier").status_code == 202
    return client


@contextmanager
def statements() -> Iterator[list[str]]:
    """The statements that all engines of this process execute inside the block."""
    executed: list[str] = []

    def record(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        executed.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", record)
    try:
        yield executed
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", record)


def test_payment_of_unknown_meter_costs_statements(keyed: Client) -> None:
    with statements() as executed:
        assert keyed.post("/bills/pay", BILL, key="order-1").status_code == 202
    assert len(executed) <= 6, "\n".join(executed)


def test_payment_of_known_meter_costs_statements(keyed: Client) -> None:
    assert keyed.post("/bills/pay", BILL, key="order-1").status_code == 202
    with statements() as executed:
        assert keyed.post("/bills/pay", BILL, key="order-2").status_code == 202
    assert len(executed) <= 4, "\n".join(executed)


def test_transaction_costs_one_read(keyed: Client, bv: Billvend) -> None:
    sent = keyed.post("/bills/pay", BILL, key="order-1").get_json()["data"]["transactionId"]
    bv.wait(sent, timeout=20)
    with statements() as executed:
        assert keyed.get(f"/transactions/{sent}").status_code == 200
    assert len(executed) <= 5, "\n".join(executed)


def test_transaction_in_doubt_costs_no_write_when_polled(keyed: Client, bv: Billvend) -> None:
    unanswered = BILL | {"meterNumber": "400000000000"}
    sent = keyed.post("/bills/pay", unanswered, key="order-1").get_json()["data"]["transactionId"]
    bv.settle(Hint("ada", sent))
    assert keyed.get(f"/transactions/{sent}").status_code == 200
    with statements() as executed:
        assert keyed.get(f"/transactions/{sent}").get_json()["data"]["status"] == "in_doubt"
    assert len(executed) <= 5, "\n".join(executed)
    assert not [statement for statement in executed if not statement.startswith("SELECT")]


def test_library_payment_to_its_end_costs_statements(bv: Billvend) -> None:
    bv.fund("ada", "5000")
    with statements() as executed:
        payment = bv.pay("ada", "500", meter="12345678901", biller="EKEDC", key="order-1")
        assert bv.wait(payment.transaction_id, timeout=20).token
    assert len(executed) <= 24, "\n".join(executed)


def test_command_pay_to_its_end_costs_statements(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    database = ("--database-url", settings.database_url.get_secret_value())
    pay = ["pay", "ada", "500", "--biller", "EKEDC", *database]
    assert main(["fund", "ada", "5000", *database]) == Exit.DONE
    assert (
        main([*pay, "--meter", "1111111111111"]) == Exit.DONE
    )  # the first one marks the ledger as test money
    with statements() as executed:
        assert main([*pay, "--meter", "12345678901"]) == Exit.DONE
    assert "Token" in capsys.readouterr().out
    assert len(executed) <= 24, "\n".join(executed)
