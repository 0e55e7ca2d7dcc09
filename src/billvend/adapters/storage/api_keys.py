"""The keys of the HTTP API, in the database."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from billvend.adapters.storage.repository import Repository
from billvend.adapters.storage.tables import INSTANT, api_keys
from billvend.domain.api_keys import ApiKey, Scope

_columns = api_keys.c


class SqlApiKeys(Repository):
    """See `billvend.ports.repositories.ApiKeys`."""

    def add(self, key: ApiKey) -> bool:
        """Store a new key. False if another active key has its name: the unique index decides."""
        scopes = " ".join(scope for scope in Scope if scope in key.scopes)
        return self._insert(api_keys, asdict(key) | {"scopes": scopes})

    def get(self, key_id: str) -> ApiKey | None:
        """The key with this id."""
        found = self._read(sa.select(api_keys).where(_columns.key_id == key_id))
        return _to_api_key(found[0]) if found else None

    def all(self) -> list[ApiKey]:
        """Every key, the oldest first."""
        query = sa.select(api_keys).order_by(_columns.created_at, _columns.key_id)
        return [_to_api_key(row) for row in self._read(query)]

    def revoke(self, key_id: str, at: datetime) -> None:
        """Revoke a key, unless it is revoked already."""
        is_active = sa.and_(_columns.key_id == key_id, _columns.revoked_at.is_(None))
        self._change(sa.update(api_keys).where(is_active).values(revoked_at=at))

    def record_use(self, key_id: str, at: datetime) -> None:
        """Store when a key was last used, unless it was used later."""
        moment = sa.bindparam("moment", at, type_=INSTANT)
        is_later = sa.or_(_columns.last_used_at.is_(None), _columns.last_used_at < moment)
        self._change(
            sa.update(api_keys).where(_columns.key_id == key_id, is_later).values(last_used_at=moment)
        )


def _to_api_key(row: sa.Row[Any]) -> ApiKey:
    scopes = frozenset(Scope(scope) for scope in row.scopes.split())
    return ApiKey(row.key_id, row.name, scopes, row.created_at, row.digest, row.revoked_at, row.last_used_at)
