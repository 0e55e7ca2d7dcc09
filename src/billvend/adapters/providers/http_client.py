"""One HTTP call to a provider: bounded in time and size, never repeated, and clear about whether anything left us.

Every provider adapter over HTTP talks through `HttpClient`. It knows nothing of any provider.
"""

import json
import re
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import ip_address
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final
from urllib.parse import urlsplit

import httpcore
import httpx

from billvend.domain.ids import is_loopback_host
from billvend.domain.outcome import NotSent, Unknown

VERIFY_TIMEOUT_SECONDS: Final = 5.0
"""The deadline of a call for which a buyer waits, unless the settings say otherwise."""
MAX_BODY_BYTES: Final = 1024 * 1024
"""More than this is no answer of a provider."""
KEEP_ALIVE_SECONDS: Final = 5.0
"""An idle connection is used again for so long. Servers close theirs later, as a rule."""
USER_AGENT: Final = "billvend"

_CONNECT_ERRORS: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.LocalProtocolError,
    httpx.UnsupportedProtocol,
)
"""Errors that can only mean that nothing was sent, as long as nothing was written."""
_CONTENT_TYPE: Final = re.compile(r"[\w.+-]{1,40}/[\w.+-]{1,40}", re.ASCII)

Json = Any
"""What JSON can say; numbers with a point are `Decimal`, never a binary float."""


def resolve_host(host: str) -> Sequence[str]:
    """The IP addresses of a name, the one to try first in front. Raises `OSError` where it has none."""
    return tuple(str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))


@dataclass(frozen=True, slots=True)
class Response:
    """An answer that arrived whole, whatever it says. Its repr shows nothing of its content: a token is value."""

    status: int
    body: Json = field(repr=False)
    """The body as JSON; None where it is none."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Names in lower case."""
    raw_body: bytes = field(default=b"", repr=False)
    """The body as it came, decompressed."""

    @property
    def is_json_object(self) -> bool:
        """Whether the body is a JSON object: nothing else is an answer that can be read."""
        return isinstance(self.body, dict)

    @property
    def summary(self) -> str:
        """The answer in a few words, for a log or a reason: status and kind, nothing of its content."""
        content_type = self.headers.get("content-type", "").partition(";")[0].strip()
        return f"HTTP {self.status}, {content_type if _CONTENT_TYPE.fullmatch(content_type) else 'no content type'}"


class HttpClient:
    """HTTP for one provider account. Every thread that calls at the same time has a connection of its own.

    Redirects are not followed, certificates are verified, cookies are not kept, proxies of the environment are not
    used. `trusted_certificates` is a PEM file of authorities to trust instead of the usual ones. `resolve_host` finds the
    addresses of a name; `may_connect` is asked about each address that a connection is about to be made to, so that a
    name which answers otherwise the second time gains nothing.
    """

    def __init__(
        self,
        *,
        timeout_seconds: float,
        max_body_bytes: int = MAX_BODY_BYTES,
        trusted_certificates: Path | None = None,
        resolve_host: Callable[[str], Sequence[str]] = resolve_host,
        may_connect: Callable[[str], bool] = lambda address: True,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._max_body_bytes = max_body_bytes
        self._resolve_host = resolve_host
        self._may_connect = may_connect
        self._tls = (
            httpx.create_ssl_context(trust_env=False)
            if trusted_certificates is None
            else ssl.create_default_context(cafile=trusted_certificates)
        )
        self._tls.set_alpn_protocols(["http/1.1"])
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []

    def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        content: object = None,
        timeout_seconds: float | None = None,
        may_send: Callable[[], bool] = lambda: True,
    ) -> Response | NotSent | Unknown:
        """Make one request; `content` is sent as JSON, or as it is where it is `bytes`. The deadline covers everything
        from the name look-up to the last byte of the body.

        `NotSent` when provably no byte of the request left us; `may_send` is asked immediately before the first one.
        `Unknown` when something may have left, and no whole answer came back. Neither repeats a header, or what the
        other side wrote. Raises `TypeError` where `content` is not made of what JSON knows.
        """
        if not may_send():
            return NotSent("it was too late to send")
        seconds = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        raw_content = content if isinstance(content, bytes) else None
        default_headers = {
            "User-Agent": USER_AGENT,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        with self._connection() as connection:
            try:
                request = connection.client.build_request(
                    method,
                    url,
                    headers=default_headers | dict(headers or {}),
                    params=params,
                    content=raw_content,
                    json=content if raw_content is None else None,
                )
            except (httpx.InvalidURL, ValueError) as error:  # a lone surrogate in a phone number, say
                return NotSent(f"the request can't be written: {type(error).__name__}")
            connection.guard.start(seconds, may_send)
            try:
                response = connection.client.send(request, stream=True)
                try:
                    body = self._read(response.iter_raw())
                finally:
                    response.close()
            except _SendExpired:
                return NotSent("it was too late to send")
            except _ResponseTooLarge:
                return Unknown(f"the answer is larger than {self._max_body_bytes:,} bytes")
            except httpx.HTTPError as error:
                if isinstance(error, _CONNECT_ERRORS) and not connection.guard.has_sent_data:
                    return NotSent(f"the provider can't be reached: {_describe_error(error)}")
                if isinstance(error, httpx.TimeoutException):
                    return Unknown(f"no whole answer within {seconds:g} s")
                return Unknown(f"the connection failed: {_describe_error(error)}")
            connection.transport.close_if_unread_data()
        plain = _decompress(body, response.headers.get("content-encoding", ""), self._max_body_bytes)
        if plain is None:
            return Unknown("the answer's compression can't be read")
        return Response(response.status_code, _parse_json(plain), dict(response.headers), plain)

    def close(self) -> None:
        """Give back the connections; those in use follow when their calls end. A later call opens new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.client.close()

    @contextmanager
    def _connection(self) -> Iterator["_Connection"]:
        """A connection that nobody else uses meanwhile: one that is shared by many threads is slow."""
        with self._lock:
            idle = self._idle
            connection = idle.pop() if idle else None
        connection = connection or _Connection(self._tls, self._resolve_host, self._may_connect)
        try:
            yield connection
        finally:
            with self._lock:
                is_closed = idle is not self._idle
                if not is_closed:
                    idle.append(connection)
            if is_closed:
                connection.client.close()

    def _read(self, chunks: Iterable[bytes]) -> bytes:
        body = bytearray()
        for chunk in chunks:
            body += chunk
            if len(body) > self._max_body_bytes:
                raise _ResponseTooLarge
        return bytes(body)


# --- the deadline, and the moment of the first byte -------------------------------------------------------------------


class _SendExpired(Exception):
    """The leave to send ran out before the first byte."""


class _ResponseTooLarge(Exception):
    """More came than any answer has."""


class _SendGuard:
    """Watches over the call that is being made."""

    def __init__(self) -> None:
        self.has_sent_data = False
        self._deadline = 0.0
        self._may_send: Callable[[], bool] = lambda: True

    def start(self, seconds: float, may_send: Callable[[], bool]) -> None:
        self.has_sent_data = False
        self._deadline = time.monotonic() + seconds
        self._may_send = may_send

    def check_before_first_byte(self) -> None:
        if self.has_sent_data:
            return
        self.remaining_seconds(httpcore.ConnectTimeout)
        if not self._may_send():
            raise _SendExpired
        self.has_sent_data = True

    def remaining_seconds(self, error: type[Exception]) -> float:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise error("the deadline has passed")
        return remaining


class _Connection:
    """A client with at most one connection, and what watches over it."""

    def __init__(
        self,
        tls: ssl.SSLContext,
        resolve_host: Callable[[str], Sequence[str]],
        may_connect: Callable[[str], bool],
    ) -> None:
        self.guard = _SendGuard()
        self.transport = _Transport(tls, _DeadlineNetwork(self.guard, tls, resolve_host, may_connect))
        self.client = httpx.Client(
            transport=self.transport,
            timeout=httpx.Timeout(None),  # the guard's deadline is the only one
            follow_redirects=False,
            trust_env=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )


class _Stream(httpcore.NetworkStream):
    """A connection on which the whole call has one deadline: a server that drips can't stretch it."""

    def __init__(self, stream: httpcore.NetworkStream, guard: _SendGuard, tls: ssl.SSLContext) -> None:
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
        """The handshake, with our context: the one of the pool is a `_UnusedTlsContext`."""
        remaining_seconds = self._guard.remaining_seconds(httpcore.ConnectTimeout)
        secured = self._stream.start_tls(self._tls, server_hostname, remaining_seconds)
        return _Stream(secured, self._guard, self._tls)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _DeadlineNetwork(httpcore.SyncBackend):
    """Connections within the deadline, the look-up of the name included, which no socket's timeout bounds."""

    def __init__(
        self,
        guard: _SendGuard,
        tls: ssl.SSLContext,
        resolve_host: Callable[[str], Sequence[str]],
        may_connect: Callable[[str], bool],
    ) -> None:
        self._guard = guard
        self._tls = tls
        self._resolve_host = resolve_host
        self._may_connect = may_connect

    def connect_tcp(self, host: str, port: int, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        """A connection to the first address that answers; each has an equal share of the time that is left."""
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
            except (OSError, UnicodeError) as error:  # UnicodeError: no name of a host can be so
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
    """Stands in for the TLS context in httpcore, which sets the protocols anew at each connection.

    All threads share ours, and OpenSSL lets nobody write to a context while another thread begins a handshake with it.
    """

    def set_alpn_protocols(self, protocols: list[str]) -> None:
        """Nothing: `HttpClient` did it once."""


class _Transport(httpx.HTTPTransport):
    """httpx's own transport over a network that is guarded."""

    def __init__(self, tls: ssl.SSLContext, network: _DeadlineNetwork) -> None:
        super().__init__(verify=tls, trust_env=False)
        # httpx has no argument for httpcore's network backend.
        no_context: Any = _UnusedTlsContext()
        self._connections = self._pool = httpcore.ConnectionPool(
            ssl_context=no_context, max_connections=1, max_keepalive_connections=1,
            keepalive_expiry=KEEP_ALIVE_SECONDS, retries=0, network_backend=network,
        )  # fmt: skip

    def close_if_unread_data(self) -> None:
        """Close the connection where more came than the answer: it would pass for the answer to the next request."""
        for connection in self._connections.connections:
            http11: Any = vars(connection)["_connection"]  # httpcore has no public way to its HTTP/1.1 state
            unread_data, _ = http11._h11_state.trailing_data
            if unread_data:
                self._connections.close()


# --- reading ----------------------------------------------------------------------------------------------------------


def _is_ip_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _decompress(raw: bytes, encoding: str, max_bytes: int) -> bytes | None:
    """The body as it was before compression, which we ask nobody for; None where that can't be told within bounds."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return raw
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return None
    stream = zlib.decompressobj(wbits=47)  # gzip or zlib, as its first bytes say
    try:
        plain = stream.decompress(raw, max_bytes + 1)
    except zlib.error:
        return None
    is_whole = stream.eof and not stream.unused_data
    return plain if is_whole and len(plain) <= max_bytes else None


def _parse_json(body: bytes) -> Json:
    try:
        return json.loads(body.decode(), parse_float=Decimal, parse_constant=_reject_constant)
    except (ValueError, ArithmeticError, RecursionError):  # ArithmeticError: an exponent of twenty digits
        return None


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _describe_error(error: Exception) -> str:
    """The error, with what the system says of it. What a protocol error says may quote a header or the other side."""
    detail = "" if isinstance(error, httpx.ProtocolError) else str(error).strip()
    return f"{type(error).__name__}: {detail}"[:200] if detail else type(error).__name__


# --- addresses --------------------------------------------------------------------------------------------------------


def host_and_port(url: str) -> str:
    """The host of an address, with its port where it names one: what an account's fingerprint begins with."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{host}:{parts.port}" if parts.port else host


def is_test_endpoint(url: str, sandbox_url: str) -> bool:
    """Whether no real money is behind an address: the provider's own sandbox, or this machine."""
    host = urlsplit(url).hostname or ""
    return host == urlsplit(sandbox_url).hostname or is_loopback_host(host)
