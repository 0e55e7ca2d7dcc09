"""The contract of the keys port."""

from dataclasses import replace
from datetime import timedelta

import pytest

from billvend.adapters.storage.api_keys import SqlApiKeys, random_secret
from billvend.adapters.storage.database import Database
from billvend.domain.api_keys import ApiKey, Scope
from billvend.domain.errors import Unavailable
from billvend.ports.api_keys import StoredApiKey
from tests.storage.rivals import at_once
from tests.storage.till import NOW, Till, open_till

LATER = NOW + timedelta(microseconds=1)


@pytest.fixture
def keys(till: Till) -> SqlApiKeys:
    return SqlApiKeys(till.database)


def kept(key_id: str = "k1", name: str = "till-7", *scopes: Scope) -> StoredApiKey:
    return StoredApiKey(ApiKey(key_id, name, frozenset(scopes or (Scope.PAY,)), NOW), f"digest of {key_id}")


def test_there_is_none_at_first(keys: SqlApiKeys) -> None:
    assert keys.is_empty()
    assert keys.all() == []
    assert keys.find("k1") is None


@pytest.mark.parametrize("scopes", [(Scope.READ,), tuple(Scope)])
def test_what_is_kept_is_found(keys: SqlApiKeys, scopes: tuple[Scope, ...]) -> None:
    made = kept("k1", "Ọ̀rọ̀ 7", *scopes)
    assert keys.add(made)
    assert keys.find("k1") == made
    assert keys.all() == [made.key]
    assert not keys.is_empty()


def test_a_name_is_given_once_until_its_key_is_revoked(keys: SqlApiKeys) -> None:
    assert keys.add(kept("k1"))
    assert not keys.add(kept("k2"))
    assert keys.find("k2") is None
    assert keys.add(kept("k3", "till-8"))
    keys.revoke("k1", NOW)
    assert keys.add(kept("k4"))
    assert [key.key_id for key in keys.all()] == ["k1", "k3", "k4"]


def test_an_id_is_given_once(keys: SqlApiKeys) -> None:
    assert keys.add(kept("k1"))
    assert not keys.add(kept("k1", "till-8"))
    assert keys.all() == [kept("k1").key]


def test_of_many_who_want_a_name_at_once_one_gets_it(url: str) -> None:
    with open_till(url) as till:
        keys = SqlApiKeys(till.database)
        outcomes = at_once(*((lambda n=number: keys.add(kept(f"k{n}"))) for number in range(8)))
        assert sorted(outcomes) == [False] * 7 + [True]
        assert len(keys.all()) == 1


def test_what_is_revoked_here_is_revoked_elsewhere_at_once(url: str) -> None:
    with open_till(url) as one, open_till(url) as other:
        here, there = SqlApiKeys(one.database), SqlApiKeys(other.database)
        here.add(kept())
        assert there.find("k1") == kept()
        here.revoke("k1", NOW)
        found = there.find("k1")
        assert found is not None
        assert found.key.revoked_at == NOW
        assert not there.is_empty()


def test_revoked_stays_revoked_as_it_was(keys: SqlApiKeys) -> None:
    keys.add(kept("k1"))
    keys.add(kept("k2", "till-8"))
    keys.revoke("k1", NOW)
    keys.revoke("k1", LATER)
    keys.revoke("nobody", NOW)
    assert [key.revoked_at for key in keys.all()] == [NOW, None]


def test_the_last_use_never_goes_back(keys: SqlApiKeys) -> None:
    keys.add(kept("k1"))
    keys.add(kept("k2", "till-8"))
    for at, known in ((NOW, NOW), (LATER, LATER), (NOW, LATER)):
        keys.record_use("k1", at)
        assert [key.last_used_at for key in keys.all()] == [known, None]
    keys.record_use("nobody", NOW)


def test_no_secret_is_drawn_twice() -> None:
    secrets = {random_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert {len(secret) for secret in secrets} == {43}


def test_the_database_itself_refuses_a_second_key_of_a_name(till: Till) -> None:
    SqlApiKeys(till.database).add(kept())
    with pytest.raises(Exception, match=r"(?i)unique"):
        till.run(
            "INSERT INTO api_keys (key_id, name, digest, scopes, created_at)"
            " SELECT 'k2', name, digest, scopes, created_at FROM api_keys"
        )


def test_with_the_database_away_it_says_so() -> None:
    database = Database("sqlite:////nowhere/at/all/books.db")
    keys = SqlApiKeys(database)
    key = replace(kept())
    for call in (
        lambda: keys.add(key),
        lambda: keys.find("k1"),
        keys.all,
        keys.is_empty,
        lambda: keys.revoke("k1", NOW),
        lambda: keys.record_use("k1", NOW),
    ):
        with pytest.raises(Unavailable):
            call()
    database.close()
