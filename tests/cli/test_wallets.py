"""The command wallet email."""

import pytest

from tests.cli.console import Console


def test_wallet_email_is_set_and_replaced(billvend: Console) -> None:
    for address in ("ada@example.com", "ben@example.com"):
        assert billvend.json("wallet", "email", "ada", address) == {"userId": "ada", "email": address}
    assert "Mail for ada goes to ada@example.com" in billvend("wallet", "email", "ada", "ada@example.com").out
    assert billvend.json("audit")["ok"] is True


@pytest.mark.parametrize(
    ("user", "address", "words"),
    [
        ("ada", "ada", "e-mail address is not accepted"),
        ("", "ada@example.com", "user id is not accepted"),
        (
            "ada@example.com",
            "ben@example.com",
            "is an e-mail address, and mail goes there. Nothing was done.",
        ),
    ],
)
def test_wallet_email_invalid_input_exits_2(billvend: Console, user: str, address: str, words: str) -> None:
    document = billvend.json("wallet", "email", user, address, status=2)
    assert document["error"]["code"] == "validation_failed"
    assert words in document["error"]["message"]
