"""The commands that create, list and revoke API keys."""

import re

import pytest

from tests.cli.console import Console


def test_api_key_is_created_listed_and_revoked(billvend: Console) -> None:
    created = billvend.json("keys", "create", "--scope", "pay", "--scope", "read", "--name", "till-7")
    assert re.fullmatch(r"bv_[0-9a-f]{12}_[\w-]{43}", created["secret"])
    assert (created["name"], created["scopes"]) == ("till-7", ["pay", "read"])
    assert (created["lastUsedAt"], created["revokedAt"]) == (None, None)
    (listed,) = billvend.json("keys", "list")["items"]
    assert {**listed, "secret": created["secret"]} == created
    revoked = billvend.json("keys", "revoke", "till-7")
    assert revoked["revokedAt"] is not None
    assert billvend.json("keys", "list") == {"items": [revoked]}


def test_api_key_secret_is_printed_only_on_create(billvend: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "debug")
    result = billvend("keys", "create", "--scope", "pay", "--name", "till-7")
    assert result.status == 0, result
    (secret,) = result.out.splitlines()  # KEY=$(billvend keys create ...)
    assert secret.startswith("bv_")
    assert "API key created" in result.err, result
    assert "It is not shown again." in result.err
    other_results = [billvend("keys", "list"), billvend("keys", "revoke", "till-7"), billvend("config")]
    for text in (result.err, *(other.out + other.err for other in other_results)):
        assert secret[16:] not in text


def test_api_keys_are_listed_as_table(billvend: Console) -> None:
    assert "There are no keys" in billvend("keys", "list").out
    billvend("keys", "create", "--scope", "fund", "--name", "web shop")
    table = billvend("keys", "list").out
    assert all(word in table for word in ("web shop", "fund", "never"))


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (("create", "--scope", "pay", "--name", "till-7"), 5, "conflict"),
        (("create", "--scope", "all", "--name", "other-key"), 2, "validation_failed"),
        (("create", "--scope", "pay", "--name", ""), 2, "validation_failed"),
        (("create", "--name", "other-key"), 2, "validation_failed"),
        (("create", "--scope", "pay"), 2, "validation_failed"),
        (("revoke", "other-key"), 3, "not_found"),
        (("revoke",), 2, "validation_failed"),
        (("frobnicate",), 2, "usage"),
    ],
)
def test_invalid_api_key_command_is_rejected(
    billvend: Console, arguments: tuple[str, ...], status: int, code: str
) -> None:
    billvend("keys", "create", "--scope", "pay", "--name", "till-7")
    assert billvend.json("keys", *arguments, status=status)["error"]["code"] == code
    assert len(billvend.json("keys", "list")["items"]) == 1


def test_api_keys_are_unavailable_when_database_is_down(billvend: Console) -> None:
    database_down = ("--database-url", "postgresql://billvend:hunter2@127.0.0.1:1/nowhere")
    assert billvend.json("keys", "list", *database_down, status=9)["error"]["code"] == "unavailable"
