"""The demo: its steps, its databases, and that it leaves nothing behind."""

from pathlib import Path

import pytest

from tests.cli.console import Console, run

pytestmark = pytest.mark.long


def test_demo_runs_to_the_end(billvend: Console) -> None:
    demo = billvend("demo")
    assert (demo.status, demo.err) == (0, "")
    for words in (
        "Funding", "Token ", "Proof: declined", "the payment is in doubt", "confirmed by a requery",
        "a likely double click", "paid once", "less than NGN 90,000.00", "4 sold. Here: 4 completed.",
    ):  # fmt: skip
        assert words in demo.out
    assert demo.out.splitlines()[-1].strip() == "No differences: nothing lost, nothing bought twice."
    assert list(billvend.folder.iterdir()) == []


def test_demo_ignores_settings_and_writes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / ".env").write_text("BILL_PROVIDER=vtpass\nNONSENSE=1\n")
    folder.chmod(0o555)
    settings = {"APP_ENV": "production", "DATABASE_URL": "postgresql://nowhere/x", "BILL_PROVIDER_X": "1"}
    result = run(folder, "demo", "--json", **settings)
    folder.chmod(0o755)
    assert (result.status, result.err) == (0, "")
    assert result.document["ok"] is True
    assert result.document["sandbox"] == {"vended": 4, "completedHere": 4}
    assert result.document["audit"]["differences"] == []
    assert result.document["steps"][0]["title"] == "Funding"
    assert [path.name for path in folder.iterdir()] == [".env"]


def test_demo_on_non_empty_database_is_rejected(funded: Console) -> None:
    assert funded.pay("12345678901").status == 0
    message = funded.error(2, "bad_setting", "demo", "--database-url", "sqlite:///billvend.db")
    assert "needs an empty one" in message
    assert funded.json("balance", "ada")["balance"] == "4500.00"


@pytest.mark.integration
def test_demo_runs_on_postgresql(billvend: Console, postgres_url: str) -> None:
    assert billvend.json("demo", "--database-url", postgres_url)["ok"] is True
