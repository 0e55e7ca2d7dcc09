"""The commands that create, list and revoke API keys."""

import re

import pytest

from tests.cli.console import Console


def test_api_key_is_created_listed_and_revoked(billvend: Console) -> None:
    created = billvend.json("api-keys", "create", "--scope", "pay", "--scope", "read", "--name", "till-7")
    assert re.fullmatch(r"bv_[0-9a-f]{12}_[\w-]{43}", created["secret"])
    assert (created["name"], created["scopes"]) == ("till-7", ["pay", "read"])
    assert (created["lastUsedAt"], created["revokedAt"]) == (None, None)
    (listed,) = billvend.json("api-keys", "list")["items"]
    assert {**listed, "secret": created["secret"]} == created
    revoked = billvend.json("api-keys", "revoke", "till-7")
    assert revoked["revokedAt"] is not None
    assert billvend.json("api-keys", "list") == {"items": [revoked]}


def test_api_key_secret_is_printed_only_on_create(billvend: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "debug")
    result = billvend("api-keys", "create", "--scope", "pay", "--name", "till-7")
    assert result.status == 0, result
    (secret,) = result.out.splitlines()  # KEY=$(billvend api-keys create ...)
    assert secret.startswith("bv_")
    assert "API key created" in result.err, result
    assert "It is shown only once." in result.err
    for command in ("api-keys list", "api-keys revoke till-7", "config"):
        other = billvend(*command.split())
        assert secret[16:] not in result.err + other.out + other.err


def test_api_keys_without_verb_are_listed(billvend: Console) -> None:
    billvend("api-keys", "create", "--scope", "read", "--name", "till-7")
    assert billvend("api-keys").out == billvend("api-keys", "list").out
    assert billvend.json("api-keys") == billvend.json("api-keys", "list")


@pytest.mark.parametrize("option", [("--json",), ("--database-url", "sqlite://")])
def test_api_keys_options_before_the_verb_are_rejected(billvend: Console, option: tuple[str, ...]) -> None:
    rejected = billvend("api-keys", *option, "list")
    assert rejected.status == 2
    assert "after the verb" in rejected.err


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
    billvend("api-keys", "create", "--scope", "pay", "--name", "till-7")
    billvend.error(status, code, "api-keys", *arguments)
    assert len(billvend.json("api-keys", "list")["items"]) == 1


def test_api_keys_are_unavailable_when_database_is_down(billvend: Console) -> None:
    billvend.error(9, "unavailable", "api-keys", "list", "--database-url", "postgresql://127.0.0.1:1/none")
