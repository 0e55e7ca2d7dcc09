"""The keys port: where the keys of the HTTP API are kept, by digests that open nothing."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from billvend.domain.api_keys import ApiKey


@dataclass(frozen=True, slots=True)
class StoredApiKey:
    """A key, with what its secret is known by."""

    key: ApiKey
    digest: str


class ApiKeys(Protocol):
    """Keeps the keys; none is ever deleted.

    Every method but `generate_secret` raises `Unavailable` when the database is away.
    """

    def generate_secret(self) -> str:
        """256 fresh bits of chance, as 43 URL-safe characters."""

    def add(self, key: StoredApiKey) -> bool:
        """Keep a new key; False where a key that is not revoked has its name already, and nothing was done."""

    def find(self, key_id: str) -> StoredApiKey | None:
        """The key of this id, in force or revoked."""

    def all(self) -> list[ApiKey]:
        """Every key, also revoked ones, in the order of their making."""

    def is_empty(self) -> bool:
        """Whether no key was ever made."""

    def revoke(self, key_id: str, at: datetime) -> None:
        """From now on this key opens nothing; one that is revoked stays so as it is."""

    def record_use(self, key_id: str, at: datetime) -> None:
        """The key was used at this moment; an earlier one than is known changes nothing."""
