"""The keys of the HTTP API, in the database."""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from billvend.adapters.storage.database import Database, translate_errors
from billvend.adapters.storage.tables import INSTANT, api_keys
from billvend.domain.api_keys import ApiKey, Scope
from billvend.ports.api_keys import StoredApiKey

SECRET_BYTES = 32


def random_secret() -> str:
    """A secret from the system's random source."""
    return secrets.token_urlsafe(SECRET_BYTES)


class SqlApiKeys:
    """See `billvend.ports.api_keys.ApiKeys`. `generate_secret` returns a new random secret."""

    def __init__(self, database: Database, *, generate_secret: Callable[[], str] = random_secret) -> None:
        self._database = database
        self._generate_secret = generate_secret

    def generate_secret(self) -> str:
        """A new random secret."""
        return self._generate_secret()

    def add(self, stored: StoredApiKey) -> bool:
        """Store a new key. False if another active key has its name: the unique index decides."""
        key = stored.key
        row = {
            "key_id": key.key_id,
            "name": key.name,
            "digest": stored.digest,
            "scopes": " ".join(scope for scope in Scope if scope in key.scopes),
            "created_at": key.created_at,
            "revoked_at": key.revoked_at,
            "last_used_at": key.last_used_at,
        }
        with translate_errors():
            try:
                with self._database.write_transaction() as connection:
                    self._database.insert(connection, api_keys, [row])
            except IntegrityError:
                return False
        return True

    def find(self, key_id: str) -> StoredApiKey | None:
        """The key with this id."""
        with translate_errors(), self._database.read_transaction() as connection:
            row = connection.execute(sa.select(api_keys).where(api_keys.c.key_id == key_id)).one_or_none()
        return None if row is None else StoredApiKey(_to_api_key(row), row.digest)

    def all(self) -> list[ApiKey]:
        """Every key, the oldest first."""
        query = sa.select(api_keys).order_by(api_keys.c.created_at, api_keys.c.key_id)
        with translate_errors(), self._database.read_transaction() as connection:
            return [_to_api_key(row) for row in connection.execute(query)]

    def is_empty(self) -> bool:
        """Whether no key was ever created."""
        with translate_errors(), self._database.read_transaction() as connection:
            return connection.execute(sa.select(api_keys.c.key_id).limit(1)).one_or_none() is None

    def revoke(self, key_id: str, at: datetime) -> None:
        """Revoke a key, unless it is revoked already."""
        revoked = (
            sa.update(api_keys)
            .where(api_keys.c.key_id == key_id, api_keys.c.revoked_at.is_(None))
            .values(revoked_at=at)
        )
        with translate_errors(), self._database.write_transaction() as connection:
            connection.execute(revoked)

    def record_use(self, key_id: str, at: datetime) -> None:
        """Store when a key was last used."""
        moment = sa.bindparam("moment", at, type_=INSTANT)
        used = (
            sa.update(api_keys)
            .where(
                api_keys.c.key_id == key_id,
                sa.or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at < moment),
            )
            .values(last_used_at=moment)
        )
        with translate_errors(), self._database.write_transaction() as connection:
            connection.execute(used)


def _to_api_key(row: sa.Row[Any]) -> ApiKey:
    scopes = frozenset(Scope(scope) for scope in row.scopes.split())
    return ApiKey(row.key_id, row.name, scopes, row.created_at, row.revoked_at, row.last_used_at)
