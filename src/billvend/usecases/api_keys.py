"""API keys: authentication over HTTP.

A secret is shown once, when it is created. Only its SHA-256 is stored. The secret has 256 random bits, so it can't be
guessed. A slow hash, as for passwords, would only make every request slow.
"""

import hashlib
import hmac
import logging
import re
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from billvend.domain.api_keys import ApiKey, parse_key_name, parse_scopes
from billvend.domain.errors import BillvendError, Conflict, ResourceNotFound
from billvend.domain.safe_text import safe_repr
from billvend.ports.clock import Clock
from billvend.ports.repositories import ApiKeys

SECRET_BYTES = 32
RECORD_USE_INTERVAL_SECONDS = 60.0
"""A process stores the last use of a key at most this often."""

_SECRET_PATTERN = re.compile(r"bv_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_DUMMY_DIGEST = "0" * 64
"""Compared with the digest of a secret whose key does not exist, so that it takes as long. No known secret has it."""

logger = logging.getLogger("billvend.api_keys")


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A new key with its secret, which is shown only once."""

    key: ApiKey
    secret: str = field(repr=False)
    """The value of `Authorization: Bearer bv_...`."""


@dataclass(frozen=True, slots=True)
class ApiAccess:
    """Creates, revokes and checks API keys. Each process has one."""

    api_keys: ApiKeys
    clock: Clock
    use_recorded_at_seconds: dict[str, float] = field(default_factory=dict)
    """When this process last stored the use of a key, by the key's id."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def create(self, name: str, scopes: Iterable[str]) -> NewApiKey:
        """Create a key. Raises `ValidationFailed`; `Conflict` if an active key has this name; `Unavailable`."""
        name, parsed_scopes = parse_key_name(name), parse_scopes(scopes)
        random_text = secrets.token_urlsafe(SECRET_BYTES)
        # The id is 48 bits of a hash of the secret. It reveals nothing about the secret.
        key_id = hashlib.sha256(f"id of {random_text}".encode()).hexdigest()[:12]
        secret = f"bv_{key_id}_{random_text}"
        key = ApiKey(key_id, name, parsed_scopes, self.clock.now(), _digest(secret))
        if not self.api_keys.add(key):
            raise Conflict(
                f"An active key already has the name {safe_repr(name)}. No key was created: choose another name, or "
                "revoke it.",
                fields={"name": "is in use"},
            )
        context = {"keyId": key_id, "name": name, "scopes": sorted(key.scopes)}
        logger.info("API key created", extra={"context": context})
        return NewApiKey(key, secret)

    def revoke(self, key: str) -> ApiKey:
        """Revoke a key, by its id, or by its name while it is active. The next request with it is rejected.

        Revoking a key twice by its id changes nothing. Raises `ResourceNotFound`, `Unavailable`.
        """
        api_keys = self.api_keys.all()
        named = [each for each in api_keys if each.name == key and each.revoked_at is None]
        api_key = next(iter([each for each in api_keys if each.key_id == key] + named), None)
        if api_key is None:
            raise ResourceNotFound(
                f"There is no active key with the id or name {safe_repr(key)}. See: billvend api-keys list"
            )
        if api_key.revoked_at is not None:
            return api_key
        at = self.clock.now()
        self.api_keys.revoke(api_key.key_id, at)
        logger.info("API key revoked", extra={"context": {"keyId": api_key.key_id, "name": api_key.name}})
        return replace(api_key, revoked_at=at)

    def authenticate(self, secret: str) -> ApiKey | None:
        """The active key with this secret; None if there is none. Raises `Unavailable`.

        It reads the database each time, so that a revoked key is rejected at once. The time it takes does not show how
        much of a secret was right.
        """
        match = _SECRET_PATTERN.fullmatch(secret)
        key = self.api_keys.get(match[1]) if match else None
        is_match = hmac.compare_digest(key.digest if key else _DUMMY_DIGEST, _digest(secret))
        if key is None or not is_match or key.revoked_at is not None:
            return None
        self._record_use(key)
        return key

    def _record_use(self, key: ApiKey) -> None:
        """Store that a key was used, if it is time to. A failure must not fail the request."""
        now_seconds = self.clock.elapsed_seconds()
        with self.lock:
            recorded_at_seconds = self.use_recorded_at_seconds.get(key.key_id, float("-inf"))
            if now_seconds - recorded_at_seconds < RECORD_USE_INTERVAL_SECONDS:
                return
            self.use_recorded_at_seconds[key.key_id] = now_seconds
        try:
            self.api_keys.record_use(key.key_id, self.clock.now())
        except BillvendError:
            logger.debug("The last use of an API key could not be stored")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
