"""Keys: what a secret opens, for how long, and what is told of it."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from billvend import Billvend, Conflict, ResourceNotFound, Unavailable, ValidationFailed
from billvend.adapters.storage.api_keys import SqlApiKeys
from billvend.domain.api_keys import Scope
from billvend.usecases.api_keys import NewApiKey
from tests.usecases.shop import NOON, Shop, closing

DRAWN = "d-_" + "A1" * 20
"""What chance brings here."""


@pytest.fixture
def shop() -> Iterator[Shop]:
    yield from closing(Shop())


def made(shop: Shop, name: str = "till-7", *scopes: str) -> NewApiKey:
    return shop.bv.create_api_key(name, scopes or ("pay",))


def test_a_secret_opens_what_its_key_is_for(shop: Shop) -> None:
    new = made(shop, "till-7", "read", "pay", "read")
    assert new.key.scopes == {Scope.READ, Scope.PAY}
    assert (new.key.name, new.key.created_at) == ("till-7", NOON)
    assert shop.bv.authenticate(new.secret) == new.key


def test_no_scope_includes_another(shop: Shop) -> None:
    for scope in Scope:
        assert made(shop, scope.value, scope).key.scopes == {scope}


def test_a_secret_is_made_of_what_is_drawn(shop: Shop) -> None:
    bv = Billvend(replace(shop.parts, api_keys=SqlApiKeys(shop.database, generate_secret=lambda: DRAWN)))
    new = bv.create_api_key("till-7", ["pay"])
    assert new.secret == f"bv_{new.key.key_id}_{DRAWN}"
    assert bv.authenticate(new.secret) == new.key
    assert not set(DRAWN[3:]) & {new.key.key_id}


def test_only_a_digest_is_kept(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    new = made(shop)
    shop.bv.authenticate(new.secret)
    with shop.database.read_transaction() as connection:
        row = str(connection.exec_driver_sql("SELECT * FROM api_keys").one())
    assert hashlib.sha256(new.secret.encode()).hexdigest() in row
    chance = new.secret.rpartition(f"{new.key.key_id}_")[2]
    assert len(chance) == 43
    for told in (row, caplog.text, repr(new), repr(shop.bv.api_keys())):
        assert chance not in told


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
def test_nothing_else_opens_anything(shop: Shop, change: "type[str]") -> None:
    new = made(shop)
    assert shop.bv.authenticate(change(new.secret)) is None
    assert shop.bv.api_keys()[0].last_used_at is None


def test_the_secret_of_one_key_with_the_id_of_another_opens_nothing(shop: Shop) -> None:
    one, other = made(shop), made(shop, "till-8")
    assert shop.bv.authenticate(one.secret[:16] + other.secret[16:]) is None


@pytest.mark.parametrize("by", ["id", "name"])
def test_a_revoked_key_opens_nothing_from_then_on(shop: Shop, by: str) -> None:
    new, other = made(shop), made(shop, "till-8")
    assert shop.bv.authenticate(new.secret)
    revoked = shop.bv.revoke_api_key(new.key.key_id if by == "id" else "till-7")
    assert (revoked.key_id, revoked.revoked_at) == (new.key.key_id, NOON)
    assert shop.bv.authenticate(new.secret) is None
    assert shop.bv.authenticate(other.secret)


def test_what_another_process_revoked_opens_nothing_here(shop: Shop) -> None:
    new = made(shop)
    assert shop.bv.authenticate(new.secret)
    Billvend(replace(shop.parts, api_keys=SqlApiKeys(shop.database))).revoke_api_key("till-7")
    assert shop.bv.authenticate(new.secret) is None


def test_an_id_may_be_revoked_again_and_a_name_given_again(shop: Shop) -> None:
    new = made(shop)
    first = shop.bv.revoke_api_key("till-7")
    shop.clock.sleep(60)
    assert shop.bv.revoke_api_key(new.key.key_id) == first
    with pytest.raises(ResourceNotFound):
        shop.bv.revoke_api_key("till-7")
    again = made(shop)
    assert shop.bv.revoke_api_key("till-7").key_id == again.key.key_id


def test_a_name_in_use_is_refused(shop: Shop) -> None:
    made(shop)
    with pytest.raises(Conflict, match="already"):
        made(shop)
    assert len(shop.bv.api_keys()) == 1


def test_revoking_the_last_key_does_not_make_as_if_there_were_none(shop: Shop) -> None:
    assert not shop.bv.has_api_keys()
    made(shop)
    assert shop.bv.has_api_keys()
    shop.bv.revoke_api_key("till-7")
    assert shop.bv.has_api_keys()


@pytest.mark.parametrize("name", ["", " x", "x ", "a\nb", "a\0", "\ud800", "x" * 65, None, 7])
def test_names_that_are_none(shop: Shop, name: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        made(shop, name)
    assert set(caught.value.fields) == {"name"}
    assert shop.bv.api_keys() == []


@pytest.mark.parametrize("scopes", [[], ["all"], ["pay", ""], ["PAY"], [None]])
def test_scopes_that_are_none(shop: Shop, scopes: list[str]) -> None:
    with pytest.raises(ValidationFailed) as caught:
        shop.bv.create_api_key("till-7", scopes)
    assert set(caught.value.fields) == {"scopes"}
    assert shop.bv.api_keys() == []


# --- the last use -----------------------------------------------------------------------------------------------------


def test_the_last_use_is_written_at_most_once_a_minute(shop: Shop) -> None:
    new = made(shop)
    shop.clock.sleep(1)
    other, began = made(shop, "till-8"), shop.clock.at
    seen = []
    for _ in range(9):
        shop.bv.authenticate(new.secret)
        seen.append(shop.bv.api_keys()[0].last_used_at)
        shop.clock.sleep(20)
    assert seen == [began + timedelta(seconds=60 * (number // 3)) for number in range(9)]
    assert shop.bv.api_keys()[1].last_used_at is None
    shop.bv.authenticate(other.secret)
    assert shop.bv.api_keys()[1].last_used_at is not None


def test_a_use_that_can_not_be_written_down_fails_nobody(shop: Shop) -> None:
    new = made(shop)
    with shop.database.write_transaction() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER no BEFORE UPDATE ON api_keys BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
    assert shop.bv.authenticate(new.secret) == new.key


def test_with_the_database_away_nobody_is_let_in(shop: Shop) -> None:
    new = made(shop)
    with shop.database.write_transaction() as connection:
        connection.exec_driver_sql("ALTER TABLE api_keys RENAME TO elsewhere")
    with pytest.raises(Unavailable):
        shop.bv.authenticate(new.secret)
