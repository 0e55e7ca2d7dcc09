"""The contract of the ApiKeys port."""

from dataclasses import replace
from datetime import timedelta

import pytest

from billvend.adapters.storage.api_keys import SqlApiKeys, random_secret
from billvend.adapters.storage.database import Database
from billvend.domain.api_keys import ApiKey, Scope
from billvend.domain.errors import Unavailable
from billvend.ports.api_keys import StoredApiKey
from tests.storage.concurrency import run_in_threads
from tests.storage.harness import NOW, JournalHarness, open_harness

LATER = NOW + timedelta(microseconds=1)


@pytest.fixture
def keys(harness: JournalHarness) -> SqlApiKeys:
    return SqlApiKeys(harness.database)


def stored_key(key_id: str = "k1", name: str = "till-7", *scopes: Scope) -> StoredApiKey:
    return StoredApiKey(ApiKey(key_id, name, frozenset(scopes or (Scope.PAY,)), NOW), f"digest of {key_id}")


def test_no_keys_at_first(keys: SqlApiKeys) -> None:
    assert keys.is_empty()
    assert keys.all() == []
    assert keys.find("k1") is None


@pytest.mark.parametrize("scopes", [(Scope.READ,), tuple(Scope)])
def test_stored_key_is_found(keys: SqlApiKeys, scopes: tuple[Scope, ...]) -> None:
    made = stored_key("k1", "Ọ̀rọ̀ 7", *scopes)
    assert keys.add(made)
    assert keys.find("k1") == made
    assert keys.all() == [made.key]
    assert not keys.is_empty()


def test_key_name_is_unique_until_revoked(keys: SqlApiKeys) -> None:
    assert keys.add(stored_key("k1"))
    assert not keys.add(stored_key("k2"))
    assert keys.find("k2") is None
    assert keys.add(stored_key("k3", "web-8"))
    keys.revoke("k1", NOW)
    assert keys.add(stored_key("k4"))
    assert [key.key_id for key in keys.all()] == ["k1", "k3", "k4"]


def test_key_id_is_unique(keys: SqlApiKeys) -> None:
    assert keys.add(stored_key("k1"))
    assert not keys.add(stored_key("k1", "web-8"))
    assert keys.all() == [stored_key("k1").key]


def test_one_of_concurrent_keys_gets_the_name(url: str) -> None:
    with open_harness(url) as harness:
        keys = SqlApiKeys(harness.database)
        outcomes = run_in_threads(*((lambda n=number: keys.add(stored_key(f"k{n}"))) for number in range(8)))
        assert sorted(outcomes) == [False] * 7 + [True]
        assert len(keys.all()) == 1


def test_revocation_is_visible_to_other_processes(url: str) -> None:
    with open_harness(url) as one, open_harness(url) as other:
        here, there = SqlApiKeys(one.database), SqlApiKeys(other.database)
        here.add(stored_key())
        assert there.find("k1") == stored_key()
        here.revoke("k1", NOW)
        found = there.find("k1")
        assert found is not None
        assert found.key.revoked_at == NOW
        assert not there.is_empty()


def test_repeated_revocation_keeps_the_first_time(keys: SqlApiKeys) -> None:
    keys.add(stored_key("k1"))
    keys.add(stored_key("k2", "web-8"))
    keys.revoke("k1", NOW)
    keys.revoke("k1", LATER)
    keys.revoke("unknown", NOW)
    assert [key.revoked_at for key in keys.all()] == [NOW, None]


def test_the_last_use_never_goes_back(keys: SqlApiKeys) -> None:
    keys.add(stored_key("k1"))
    keys.add(stored_key("k2", "web-8"))
    for at, known in ((NOW, NOW), (LATER, LATER), (NOW, LATER)):
        keys.record_use("k1", at)
        assert [key.last_used_at for key in keys.all()] == [known, None]
    keys.record_use("unknown", NOW)


def test_random_secrets_are_unique() -> None:
    secrets = {random_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert {len(secret) for secret in secrets} == {43}


def test_database_rejects_second_key_with_same_name(harness: JournalHarness) -> None:
    SqlApiKeys(harness.database).add(stored_key())
    with pytest.raises(Exception, match=r"(?i)unique"):
        harness.run(
            "INSERT INTO api_keys (key_id, name, digest, scopes, created_at)"
            " SELECT 'k2', name, digest, scopes, created_at FROM api_keys"
        )


def test_keys_are_unavailable_when_database_is_down() -> None:
    database = Database("sqlite:////nowhere/at/all/billvend.db")
    keys = SqlApiKeys(database)
    key = replace(stored_key())
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
