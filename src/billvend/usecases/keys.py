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

from billvend.domain.access import ApiKey, parse_key_name, parse_scopes
from billvend.domain.errors import BillvendError, Conflict, NotFound
from billvend.domain.quote import quoted
from billvend.ports.keys import KeptKey
from billvend.usecases.parts import Parts

NOTE_USE_SECONDS = 60.0
"""A process writes the last use of a key down at most so often."""

_FORM = re.compile(r"bv_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_NOBODY_S_DIGEST = "0" * 64
"""No secret has it that anybody could find."""

logger = logging.getLogger("billvend.keys")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made, with the secret that nobody will see again."""

    key: ApiKey
    secret: str = field(repr=False)
    """What is sent as `Authorization: Bearer bv_...`."""


def create(parts: Parts, name: str, scopes: Iterable[str]) -> NewKey:
    """Make a key. Raises `ValidationFailed`; `Conflict` where a key in force has this name; `Unavailable`."""
    name, wanted = parse_key_name(name), parse_scopes(scopes)
    drawn = parts.keys.draw()
    # The id comes of the same draw, by a hash that leads nowhere: 48 bits of it say nothing about the other 256.
    key_id = hashlib.sha256(f"id of {drawn}".encode()).hexdigest()[:12]
    secret = f"bv_{key_id}_{drawn}"
    key = ApiKey(key_id, name, wanted, created_at=parts.clock.now())
    if not parts.keys.keep(KeptKey(key, _digest(secret))):
        raise Conflict(
            f"There is a key called {quoted(name)} already. None was made: choose another name, or revoke that one.",
            fields={"name": "is in use"},
        )
    logger.info(
        "API key made", extra={"context": {"keyId": key_id, "name": name, "scopes": sorted(key.scopes)}}
    )
    return NewKey(key, secret)


def revoke(parts: Parts, key: str) -> ApiKey:
    """Let a key open nothing any more, by its id, or by its name while it is in force; from the next request on.

    An id may be given twice: the second time changes nothing. Raises `NotFound`, `Unavailable`.
    """
    known = parts.keys.all()
    found = next((each for each in known if each.key_id == key), None) or next(
        (each for each in known if each.name == key and each.revoked_at is None), None
    )
    if found is None:
        raise NotFound(f"There is no key in force with the id or name {quoted(key)}. See: billvend keys list")
    if found.revoked_at is not None:
        return found
    at = parts.clock.now()
    parts.keys.revoke(found.key_id, at)
    logger.info("API key revoked", extra={"context": {"keyId": found.key_id, "name": found.name}})
    return replace(found, revoked_at=at)


def key_of(parts: Parts, secret: str) -> ApiKey | None:
    """The key in force that has this secret; None where there is none. Raises `Unavailable`.

    The database is asked each time, so that a key that was revoked a moment ago lets nobody in. How long it takes
    tells nothing about how much of a secret was right.
    """
    form = _FORM.fullmatch(secret)
    kept = parts.keys.find(form[1]) if form else None
    fits = hmac.compare_digest(kept.digest if kept else _NOBODY_S_DIGEST, _digest(secret))
    if kept is None or not fits or kept.key.revoked_at is not None:
        return None
    _note_use(parts, kept.key)
    return kept.key


def _note_use(parts: Parts, key: ApiKey) -> None:
    """Write down that a key was used. Whatever goes wrong with that is nobody's trouble."""
    if not parts.key_uses.is_due(key.key_id, parts.clock.elapsed_seconds(), NOTE_USE_SECONDS):
        return
    try:
        parts.keys.note_use(key.key_id, parts.clock.now())
    except BillvendError:
        logger.debug("The last use of a key could not be written down")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
