"""API keys: what a secret allows, for how long, and what is shown of it."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from billvend import Conflict, ResourceNotFound, Unavailable, ValidationFailed
from billvend.adapters.storage.api_keys import SqlApiKeys
from billvend.app import Billvend
from billvend.domain.api_keys import Scope
from billvend.usecases.api_keys import NewApiKey
from tests.harness import NOON, AppHarness, using


@pytest.fixture
def app() -> Iterator[AppHarness]:
    yield from using(AppHarness())


def create_key(app: AppHarness, name: str = "till-7", *scopes: str) -> NewApiKey:
    return app.bv.create_api_key(name, scopes or ("pay",))


def test_secret_authenticates_its_key_with_its_scopes(app: AppHarness) -> None:
    new = create_key(app, "till-7", "read", "pay", "read")
    assert new.key.scopes == {Scope.READ, Scope.PAY}
    assert (new.key.name, new.key.created_at) == ("till-7", NOON)
    assert app.bv.authenticate(new.secret) == new.key


def test_no_scope_includes_another(app: AppHarness) -> None:
    for scope in Scope:
        assert create_key(app, scope.value, scope).key.scopes == {scope}


def test_secrets_are_random_and_contain_the_key_id(app: AppHarness) -> None:
    keys = [create_key(app, f"web-{number}") for number in range(20)]
    random_parts = {new.secret.removeprefix(f"bv_{new.key.key_id}_") for new in keys}
    assert {len(each) for each in random_parts} == {43}
    assert len(random_parts) == len({new.key.key_id for new in keys}) == 20


def test_only_the_digest_of_a_secret_is_stored(app: AppHarness, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    new = create_key(app)
    app.bv.authenticate(new.secret)
    with app.database.read_transaction() as connection:
        row = str(connection.exec_driver_sql("SELECT * FROM api_keys").one())
    assert hashlib.sha256(new.secret.encode()).hexdigest() in row
    chance = new.secret.rpartition(f"{new.key.key_id}_")[2]
    assert len(chance) == 43
    for text in (row, caplog.text, repr(new), repr(app.bv.api_keys())):
        assert chance not in text


@pytest.mark.parametrize(
    "change",
    [
        lambda secret: "",
        lambda secret: secret[:-1],
        lambda secret: secret + "A",
        lambda secret: secret + "\n",
        lambda secret: " " + secret,
        lambda secret: secret.removeprefix("bv_"),
        lambda secret: secret.upper(),
        lambda secret: secret[:-1] + ("A" if secret[-1] != "A" else "B"),
        lambda secret: "bv_" + "0" * 12 + secret[15:],
        lambda secret: secret[:16] + "é" * 43,
        lambda secret: secret[:16] + "\udc80" * 43,
        lambda secret: "bv_" + "9" * 1_000_000,
    ],
)
def test_changed_secret_is_rejected(app: AppHarness, change: "type[str]") -> None:
    new = create_key(app)
    assert app.bv.authenticate(change(new.secret)) is None
    assert app.bv.api_keys()[0].last_used_at is None


def test_secret_with_another_key_id_is_rejected(app: AppHarness) -> None:
    one, other = create_key(app), create_key(app, "web-8")
    assert app.bv.authenticate(one.secret[:16] + other.secret[16:]) is None


@pytest.mark.parametrize("by", ["id", "name"])
def test_revoked_key_is_rejected(app: AppHarness, by: str) -> None:
    new, other = create_key(app), create_key(app, "web-8")
    assert app.bv.authenticate(new.secret)
    revoked = app.bv.revoke_api_key(new.key.key_id if by == "id" else "till-7")
    assert (revoked.key_id, revoked.revoked_at) == (new.key.key_id, NOON)
    assert app.bv.authenticate(new.secret) is None
    assert app.bv.authenticate(other.secret)


def test_key_revoked_by_another_process_is_rejected(app: AppHarness) -> None:
    new = create_key(app)
    assert app.bv.authenticate(new.secret)
    Billvend(replace(app.deps, api_keys=SqlApiKeys(app.database))).revoke_api_key("till-7")
    assert app.bv.authenticate(new.secret) is None


def test_revoking_by_id_is_idempotent_and_name_can_be_reused(app: AppHarness) -> None:
    new = create_key(app)
    first = app.bv.revoke_api_key("till-7")
    app.clock.sleep(60)
    assert app.bv.revoke_api_key(new.key.key_id) == first
    with pytest.raises(ResourceNotFound):
        app.bv.revoke_api_key("till-7")
    again = create_key(app)
    assert app.bv.revoke_api_key("till-7").key_id == again.key.key_id


def test_key_name_in_use_is_rejected(app: AppHarness) -> None:
    create_key(app)
    with pytest.raises(Conflict, match="already"):
        create_key(app)
    assert len(app.bv.api_keys()) == 1


def test_has_keys_stays_true_after_revoking_the_last_key(app: AppHarness) -> None:
    assert not app.bv.has_api_keys()
    create_key(app)
    assert app.bv.has_api_keys()
    app.bv.revoke_api_key("till-7")
    assert app.bv.has_api_keys()


@pytest.mark.parametrize("name", ["", " x", "x ", "a\nb", "a\0", "\ud800", "x" * 65, None, 7])
def test_invalid_key_name_is_rejected(app: AppHarness, name: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        create_key(app, name)
    assert set(caught.value.fields) == {"name"}
    assert app.bv.api_keys() == []


@pytest.mark.parametrize("scopes", [[], ["all"], ["pay", ""], ["PAY"], [None]])
def test_invalid_scopes_are_rejected(app: AppHarness, scopes: list[str]) -> None:
    with pytest.raises(ValidationFailed) as caught:
        app.bv.create_api_key("till-7", scopes)
    assert set(caught.value.fields) == {"scopes"}
    assert app.bv.api_keys() == []


# --- last use ---------------------------------------------------------------------------------------------------------


def test_the_last_use_is_written_at_most_once_a_minute(app: AppHarness) -> None:
    new = create_key(app)
    app.clock.sleep(1)
    other, began = create_key(app, "web-8"), app.clock.at
    seen = []
    for _ in range(9):
        app.bv.authenticate(new.secret)
        seen.append(app.bv.api_keys()[0].last_used_at)
        app.clock.sleep(20)
    assert seen == [began + timedelta(seconds=60 * (number // 3)) for number in range(9)]
    assert app.bv.api_keys()[1].last_used_at is None
    app.bv.authenticate(other.secret)
    assert app.bv.api_keys()[1].last_used_at is not None


def test_failed_write_of_last_use_does_not_reject_the_key(app: AppHarness) -> None:
    new = create_key(app)
    app.sql("CREATE TRIGGER no BEFORE UPDATE ON api_keys BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    assert app.bv.authenticate(new.secret) == new.key


def test_authentication_fails_when_database_is_down(app: AppHarness) -> None:
    new = create_key(app)
    app.sql("ALTER TABLE api_keys RENAME TO elsewhere")
    with pytest.raises(Unavailable):
        app.bv.authenticate(new.secret)
