"""The API keys port: stores the keys of the HTTP API. It stores digests, which give no access."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from billvend.domain.api_keys import ApiKey


@dataclass(frozen=True, slots=True)
class StoredApiKey:
    """A key with the digest of its secret."""

    key: ApiKey
    digest: str


class ApiKeys(Protocol):
    """Stores the keys. No key is ever deleted.

    Every method except `generate_secret` raises `Unavailable` when the database is unavailable.
    """

    def generate_secret(self) -> str:
        """256 new random bits, as 43 URL-safe characters."""

    def add(self, key: StoredApiKey) -> bool:
        """Store a new key. Returns False, and does nothing, if an active key has the same name."""

    def find(self, key_id: str) -> StoredApiKey | None:
        """The key with this id, active or revoked."""

    def all(self) -> list[ApiKey]:
        """Every key, also revoked ones, in the order of creation."""

    def is_empty(self) -> bool:
        """Whether no key was ever created."""

    def revoke(self, key_id: str, at: datetime) -> None:
        """Revoke a key. A key that is already revoked does not change."""

    def record_use(self, key_id: str, at: datetime) -> None:
        """Record that the key was used at `at`. A time before the stored one changes nothing."""
