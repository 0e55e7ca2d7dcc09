"""The contract of the ApiKeys repository."""

from datetime import timedelta

import pytest

from billvend.adapters.storage.api_keys import SqlApiKeys
from billvend.adapters.storage.database import Database
from billvend.domain.api_keys import ApiKey, Scope
from billvend.domain.errors import Unavailable
from tests.storage.concurrency import run_in_threads
from tests.storage.harness import NOW, JournalHarness, open_harness

LATER = NOW + timedelta(microseconds=1)


@pytest.fixture
def keys(harness: JournalHarness) -> SqlApiKeys:
    return SqlApiKeys(harness.database)


def api_key(key_id: str = "k1", name: str = "till-7", *scopes: Scope) -> ApiKey:
    return ApiKey(key_id, name, frozenset(scopes or (Scope.PAY,)), NOW, f"digest of {key_id}")


@pytest.mark.parametrize("scopes", [(Scope.READ,), tuple(Scope)])
def test_stored_key_is_found(keys: SqlApiKeys, scopes: tuple[Scope, ...]) -> None:
    assert (keys.all(), keys.get("k1")) == ([], None)
    made = api_key("k1", "Ọ̀rọ̀ 7", *scopes)
    assert keys.add(made)
    assert (keys.all(), keys.get("k1")) == ([made], made)


def test_key_name_is_unique_until_revoked(keys: SqlApiKeys) -> None:
    assert keys.add(api_key("k1"))
    assert not keys.add(api_key("k2"))
    assert keys.get("k2") is None
    assert keys.add(api_key("k3", "web-8"))
    keys.revoke("k1", NOW)
    assert keys.add(api_key("k4"))
    assert [key.key_id for key in keys.all()] == ["k1", "k3", "k4"]


def test_key_id_is_unique(keys: SqlApiKeys) -> None:
    assert keys.add(api_key("k1"))
    assert not keys.add(api_key("k1", "web-8"))
    assert keys.all() == [api_key("k1")]


def test_one_of_concurrent_keys_gets_the_name(url: str) -> None:
    with open_harness(url) as harness:
        keys = SqlApiKeys(harness.database)
        outcomes = run_in_threads(*((lambda n=number: keys.add(api_key(f"k{n}"))) for number in range(8)))
        assert sorted(outcomes) == [False] * 7 + [True]
        assert len(keys.all()) == 1


def test_revocation_is_visible_to_other_processes(url: str) -> None:
    with open_harness(url) as one, open_harness(url) as other:
        here, there = SqlApiKeys(one.database), SqlApiKeys(other.database)
        here.add(api_key())
        assert there.get("k1") == api_key()
        here.revoke("k1", NOW)
        assert [key.revoked_at for key in there.all()] == [NOW]


def test_repeated_revocation_keeps_the_first_time(keys: SqlApiKeys) -> None:
    keys.add(api_key("k1"))
    keys.add(api_key("k2", "web-8"))
    for key_id, at in (("k1", NOW), ("k1", LATER), ("unknown", NOW)):
        keys.revoke(key_id, at)
    assert [key.revoked_at for key in keys.all()] == [NOW, None]


def test_the_last_use_never_goes_back(keys: SqlApiKeys) -> None:
    keys.add(api_key("k1"))
    keys.add(api_key("k2", "web-8"))
    for at, known in ((NOW, NOW), (LATER, LATER), (NOW, LATER)):
        keys.record_use("k1", at)
        assert [key.last_used_at for key in keys.all()] == [known, None]
    keys.record_use("unknown", NOW)


def test_database_rejects_second_key_with_same_name(harness: JournalHarness) -> None:
    SqlApiKeys(harness.database).add(api_key())
    with pytest.raises(Exception, match=r"(?i)unique"):
        harness.run(
            "INSERT INTO api_keys (key_id, name, digest, scopes, created_at)"
            " SELECT 'k2', name, digest, scopes, created_at FROM api_keys"
        )


def test_keys_are_unavailable_when_database_is_down(unavailable_database: Database) -> None:
    keys = SqlApiKeys(unavailable_database)
    for call in (
        lambda: keys.add(api_key()),
        lambda: keys.get("k1"),
        keys.all,
        lambda: keys.revoke("k1", NOW),
        lambda: keys.record_use("k1", NOW),
    ):
        with pytest.raises(Unavailable):
            call()
