"""Authorization and rate limits: API keys with scopes, or, while no key exists, this machine with test money."""

import hashlib
import logging
import threading
import time
from typing import Final, cast

from flask import Request
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from billvend.app import Billvend
from billvend.domain.api_keys import ApiKey, Scope
from billvend.domain.errors import Unavailable
from billvend.domain.ids import is_loopback_host
from billvend.presentation.errors import Forbidden, RateLimited, Unauthenticated

logger = logging.getLogger("billvend.api")

FORWARDED_HEADERS: Final = frozenset({
    "HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_PORT",
    "HTTP_X_REAL_IP", "HTTP_VIA", "HTTP_CF_CONNECTING_IP",
})  # fmt: skip
"""Headers of a proxy, by their WSGI names. A request with one did not come from this machine."""
NO_KEYS_CACHE_SECONDS = 1.0
"""How long the answer "no keys" is cached. Requests accepted meanwhile reach test money only."""
REDIS_TIMEOUT_SECONDS = 0.2
"""How long a request waits for Redis to count it."""
REDIS_RETRY_SECONDS = 10.0
"""How long Redis is not used after it failed."""


class Authenticator:
    """Authorizes requests."""

    def __init__(self, bv: Billvend, rate: str | None, redis_url: str | None) -> None:
        self._bv = bv
        self._has_keys = False
        self._checked_at = float("-inf")
        self._cached_keys: dict[str, ApiKey] = {}
        self._rate_limiter = RateLimiter(parse(rate), redis_url) if rate else None

    def authorize(
        self, request: Request, scope: Scope | None, *, allow_cached_keys: bool = False
    ) -> ApiKey | None:
        """Authorize a request that needs a scope (None: open to all), and return its key, if any.

        With `allow_cached_keys`, keys that this process knows are accepted while the key store is unavailable. Only for
        calls that report an outage and show no customer data. Raises `Unauthenticated`, `Forbidden`, `RateLimited`;
        `Unavailable` when the keys can't be read.
        """
        if scope is None:
            self._check_rate_limit(f"address:{request.remote_addr}")
            return None
        if not self._needs_key(allow_cached_keys=allow_cached_keys):
            self._require_loopback(request)
            self._check_rate_limit(f"address:{request.remote_addr}")
            return None
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        key = (
            self._authenticate(secret.strip(), allow_cached_keys=allow_cached_keys)
            if scheme.lower() == "bearer"
            else None
        )
        if key is None:
            self._check_rate_limit(f"address:{request.remote_addr}")
            raise Unauthenticated(
                "A valid API key is required. Send it as Authorization: Bearer bv_... Nothing was done.",
                WWW_Authenticate='Bearer realm="billvend"',
            )
        self._check_rate_limit(f"key:{key.key_id}")
        if scope not in key.scopes:
            raise Forbidden(f"This API key lacks the scope {scope}. Nothing was done.")
        return key

    def _needs_key(self, *, allow_cached_keys: bool) -> bool:
        """Whether a key is required: from the first key on, and always with live money.

        A proxy on this machine looks like this machine, so no address gives access to live money. The ledger may become
        live at any time, so each request checks it until it is marked.
        """
        try:
            if self._has_keys or not self._bv.is_test_money_only():
                return True
            now = time.monotonic()
            if now - self._checked_at >= NO_KEYS_CACHE_SECONDS:
                self._has_keys, self._checked_at = self._bv.has_api_keys(), now
        except Unavailable:
            if not allow_cached_keys or self._checked_at == float("-inf"):
                raise
        return self._has_keys

    def _authenticate(self, secret: str, *, allow_cached_keys: bool) -> ApiKey | None:
        digest = hashlib.sha256(secret.encode(errors="replace")).hexdigest()
        try:
            key = self._bv.authenticate(secret)
        except Unavailable:
            if not allow_cached_keys or digest not in self._cached_keys:
                raise
            return self._cached_keys[digest]
        if key is None:
            self._cached_keys.pop(digest, None)
        else:
            self._cached_keys[digest] = key
        return key

    def _require_loopback(self, request: Request) -> None:
        """While no key exists, accept only requests from this machine, to a loopback name, without headers of a proxy."""
        hosts = (request.remote_addr or "", _host_name(request.host))
        if not FORWARDED_HEADERS.isdisjoint(request.environ) or not all(map(is_loopback_host, hosts)):
            raise Forbidden(
                "There are no API keys yet, so only requests from this machine are accepted: at a loopback address, and "
                "without a proxy. Create a key with: billvend api-keys create. Nothing was done."
            )

    def _check_rate_limit(self, client: str) -> None:
        if self._rate_limiter is not None:
            self._rate_limiter.check(client)


class RateLimiter:
    """Counts requests in Redis, or in this process without Redis or while it is down."""

    def __init__(self, rate: RateLimitItem, redis_url: str | None) -> None:
        self._rate = rate
        self._local = FixedWindowRateLimiter(MemoryStorage())
        self._shared = FixedWindowRateLimiter(_redis_storage(redis_url)) if redis_url else None
        self._redis_down_until = float("-inf")
        self._lock = threading.Lock()

    def check(self, client: str) -> None:
        """Count one request. Raises `RateLimited` when it is one too many."""
        limiter = self._current_limiter()
        try:
            is_allowed = limiter.hit(self._rate, client)
        except (StorageError, OSError) as error:
            self._on_redis_down(error)
            limiter = self._local
            is_allowed = limiter.hit(self._rate, client)
        if not is_allowed:
            reset_at = limiter.get_window_stats(self._rate, client).reset_time
            raise RateLimited(
                f"Too many requests: {self._rate} are allowed. Nothing was done.",
                Retry_After=str(max(1, round(reset_at - time.time() + 0.5))),
            )

    def _current_limiter(self) -> FixedWindowRateLimiter:
        with self._lock:
            if self._shared is None or time.monotonic() < self._redis_down_until:
                return self._local
            return self._shared

    def _on_redis_down(self, error: Exception) -> None:
        with self._lock:
            self._redis_down_until = time.monotonic() + REDIS_RETRY_SECONDS
        logger.warning("Redis is unavailable, so each process counts its own requests: %s", error)


def _redis_storage(url: str) -> Storage:
    timeouts = {"socket_timeout": REDIS_TIMEOUT_SECONDS, "socket_connect_timeout": REDIS_TIMEOUT_SECONDS}
    return cast(Storage, storage_from_string(url, wrap_exceptions=True, **timeouts))


def _host_name(host: str) -> str:
    """The name in a Host header, without its port."""
    return host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
