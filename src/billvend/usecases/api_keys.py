"""Keys: who gets in over HTTP.

A secret is shown once, when it is made. What is kept of it is its SHA-256: with 256 bits of chance in it there is
nothing to guess, so a hash that is slow on purpose, as passwords need one, would only make every request slow.
"""

import hashlib
import hmac
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from billvend.domain.api_keys import ApiKey, parse_key_name, parse_scopes
from billvend.domain.errors import BillvendError, Conflict, ResourceNotFound
from billvend.domain.safe_text import safe_repr
from billvend.ports.api_keys import StoredApiKey
from billvend.usecases.dependencies import Dependencies

RECORD_USE_INTERVAL_SECONDS = 60.0
"""A process writes the last use of a key down at most so often."""

_SECRET_PATTERN = re.compile(r"bv_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_DUMMY_DIGEST = "0" * 64
"""No secret has it that anybody could find."""

logger = logging.getLogger("billvend.api_keys")


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key that was just made, with the secret that nobody will see again."""

    key: ApiKey
    secret: str = field(repr=False)
    """What is sent as `Authorization: Bearer bv_...`."""


def create(deps: Dependencies, name: str, scopes: Iterable[str]) -> NewApiKey:
    """Make a key. Raises `ValidationFailed`; `Conflict` where a key in force has this name; `Unavailable`."""
    name, parsed_scopes = parse_key_name(name), parse_scopes(scopes)
    random_text = deps.api_keys.generate_secret()
    # The id comes of the same draw, by a hash that leads nowhere: 48 bits of it say nothing about the other 256.
    key_id = hashlib.sha256(f"id of {random_text}".encode()).hexdigest()[:12]
    secret = f"bv_{key_id}_{random_text}"
    key = ApiKey(key_id, name, parsed_scopes, created_at=deps.clock.now())
    if not deps.api_keys.add(StoredApiKey(key, _digest(secret))):
        raise Conflict(
            f"There is a key called {safe_repr(name)} already. None was made: choose another name, or revoke that one.",
            fields={"name": "is in use"},
        )
    logger.info(
        "API key made", extra={"context": {"keyId": key_id, "name": name, "scopes": sorted(key.scopes)}}
    )
    return NewApiKey(key, secret)


def revoke(deps: Dependencies, key: str) -> ApiKey:
    """Let a key open nothing any more, by its id, or by its name while it is in force; from the next request on.

    An id may be given twice: the second time changes nothing. Raises `ResourceNotFound`, `Unavailable`.
    """
    api_keys = deps.api_keys.all()
    api_key = next((each for each in api_keys if each.key_id == key), None) or next(
        (each for each in api_keys if each.name == key and each.revoked_at is None), None
    )
    if api_key is None:
        raise ResourceNotFound(
            f"There is no key in force with the id or name {safe_repr(key)}. See: billvend api-keys list"
        )
    if api_key.revoked_at is not None:
        return api_key
    at = deps.clock.now()
    deps.api_keys.revoke(api_key.key_id, at)
    logger.info("API key revoked", extra={"context": {"keyId": api_key.key_id, "name": api_key.name}})
    return replace(api_key, revoked_at=at)


def authenticate(deps: Dependencies, secret: str) -> ApiKey | None:
    """The key in force that has this secret; None where there is none. Raises `Unavailable`.

    The database is asked each time, so that a key that was revoked a moment ago lets nobody in. How long it takes
    tells nothing about how much of a secret was right.
    """
    match = _SECRET_PATTERN.fullmatch(secret)
    stored = deps.api_keys.find(match[1]) if match else None
    is_match = hmac.compare_digest(stored.digest if stored else _DUMMY_DIGEST, _digest(secret))
    if stored is None or not is_match or stored.key.revoked_at is not None:
        return None
    _record_use(deps, stored.key)
    return stored.key


def _record_use(deps: Dependencies, key: ApiKey) -> None:
    """Write down that a key was used. Whatever goes wrong with that is nobody's trouble."""
    if not deps.api_key_use_times.mark_if_due(
        key.key_id, deps.clock.elapsed_seconds(), RECORD_USE_INTERVAL_SECONDS
    ):
        return
    try:
        deps.api_keys.record_use(key.key_id, deps.clock.now())
    except BillvendError:
        logger.debug("The last use of a key could not be written down")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
