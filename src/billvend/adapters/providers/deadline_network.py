"""The connections of `HttpClient`: one deadline for the whole call, and a check before the first byte."""

import ssl
import threading
import time
from collections.abc import Callable, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from typing import Any, Final

import httpcore
import httpx

KEEP_ALIVE_SECONDS: Final = 5.0
"""How long an idle connection is used again. Most servers close theirs later."""


class SendExpired(Exception):
    """`may_send` said no before the first byte."""


class SendGuard:
    """The deadline of the current call, and whether it has sent anything."""

    def __init__(self) -> None:
        self.has_sent_data = False
        self._deadline = 0.0
        self._may_send: Callable[[], bool] = lambda: True

    def start(self, seconds: float, may_send: Callable[[], bool]) -> None:
        """Begin a call with a deadline in so many seconds."""
        self.has_sent_data = False
        self._deadline = time.monotonic() + seconds
        self._may_send = may_send

    def check_before_first_byte(self) -> None:
        """Raises `SendExpired` if `may_send` says no, and `httpcore.ConnectTimeout` after the deadline."""
        if self.has_sent_data:
            return
        self.remaining_seconds(httpcore.ConnectTimeout)
        if not self._may_send():
            raise SendExpired
        self.has_sent_data = True

    def remaining_seconds(self, error: type[Exception]) -> float:
        """The seconds until the deadline. Raises `error` after it."""
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise error("the deadline has passed")
        return remaining


class GuardedConnection:
    """A client with at most one connection, and its guard."""

    def __init__(
        self,
        tls: ssl.SSLContext,
        resolve_host: Callable[[str], Sequence[str]],
        may_connect: Callable[[str], bool],
    ) -> None:
        self.guard = SendGuard()
        self.transport = _Transport(tls, _DeadlineNetwork(self.guard, tls, resolve_host, may_connect))
        self.client = httpx.Client(
            transport=self.transport,
            timeout=httpx.Timeout(None),  # the guard's deadline is the only one
            follow_redirects=False,
            trust_env=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )


class _Stream(httpcore.NetworkStream):
    """A connection with one deadline for the whole call. A server that drips cannot extend it."""

    def __init__(self, stream: httpcore.NetworkStream, guard: SendGuard, tls: ssl.SSLContext) -> None:
        self._stream = stream
        self._guard = guard
        self._tls = tls

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._guard.remaining_seconds(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._guard.check_before_first_byte()
        self._stream.write(buffer, self._guard.remaining_seconds(httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """The handshake, with our own context. The context of the pool is an `_UnusedTlsContext`."""
        remaining_seconds = self._guard.remaining_seconds(httpcore.ConnectTimeout)
        secured = self._stream.start_tls(self._tls, server_hostname, remaining_seconds)
        return _Stream(secured, self._guard, self._tls)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _DeadlineNetwork(httpcore.SyncBackend):
    """Connects within the deadline, including the name look-up, which no socket timeout bounds."""

    def __init__(
        self,
        guard: SendGuard,
        tls: ssl.SSLContext,
        resolve_host: Callable[[str], Sequence[str]],
        may_connect: Callable[[str], bool],
    ) -> None:
        self._guard = guard
        self._tls = tls
        self._resolve_host = resolve_host
        self._may_connect = may_connect

    def connect_tcp(self, host: str, port: int, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        """Connect to the first address that answers. Each address gets an equal share of the remaining time."""
        resolved = self._resolve(host)
        addresses = [address for address in resolved if self._may_connect(address)]
        reason = "no address of it may be connected to" if resolved else "the name has no address"
        failure: Exception = httpcore.ConnectError(reason)
        for index, address in enumerate(addresses):
            remaining_seconds = self._guard.remaining_seconds(httpcore.ConnectTimeout)
            kwargs["timeout"] = remaining_seconds / (len(addresses) - index)
            try:
                return _Stream(super().connect_tcp(address, port, *args, **kwargs), self._guard, self._tls)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def _resolve(self, host: str) -> Sequence[str]:
        if _is_ip_address(host):
            return (host,)
        results: SimpleQueue[Sequence[str] | Exception] = SimpleQueue()

        def resolve() -> None:
            try:
                results.put(self._resolve_host(host))
            except (OSError, UnicodeError) as error:  # UnicodeError: not a valid host name
                results.put(error)

        threading.Thread(target=resolve, name="billvend-resolve", daemon=True).start()
        try:
            result = results.get(timeout=self._guard.remaining_seconds(httpcore.ConnectTimeout))
        except Empty:
            raise httpcore.ConnectTimeout("the name look-up took too long") from None
        if isinstance(result, Exception):
            raise httpcore.ConnectError(str(result)) from result
        return result


class _UnusedTlsContext:
    """The TLS context that httpcore sees. It ignores the protocols that httpcore sets at each connection.

    All threads share the real context. OpenSSL forbids changes to a context while another thread begins a handshake.
    """

    def set_alpn_protocols(self, protocols: list[str]) -> None:
        """Do nothing. `HttpClient` set them once."""


class _Transport(httpx.HTTPTransport):
    """httpx's own transport over a `_DeadlineNetwork`."""

    def __init__(self, tls: ssl.SSLContext, network: _DeadlineNetwork) -> None:
        super().__init__(verify=tls, trust_env=False)
        # httpx has no argument for httpcore's network backend.
        no_context: Any = _UnusedTlsContext()
        self._connections = self._pool = httpcore.ConnectionPool(
            ssl_context=no_context, max_connections=1, max_keepalive_connections=1,
            keepalive_expiry=KEEP_ALIVE_SECONDS, retries=0, network_backend=network,
        )  # fmt: skip

    def close_if_unread_data(self) -> None:
        """Close the connection if more came than the answer. The rest would pass for the answer to the next request."""
        for connection in self._connections.connections:
            http11: Any = vars(connection)["_connection"]  # httpcore has no public way to its HTTP/1.1 state
            unread_data, _ = http11._h11_state.trailing_data
            if unread_data:
                self._connections.close()


def _is_ip_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
