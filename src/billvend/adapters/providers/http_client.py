"""The HTTP client of every provider adapter. It knows no provider.

A call is bounded in time and size, and is never repeated. Its result says whether any byte was sent.
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
"""The default deadline of a call for which a buyer waits."""
MAX_BODY_BYTES: Final = 1024 * 1024
"""The default limit of a body. No answer of a provider is larger."""
KEEP_ALIVE_SECONDS: Final = 5.0
"""How long an idle connection is used again. Most servers close theirs later."""
USER_AGENT: Final = "billvend"

_CONNECT_ERRORS: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.LocalProtocolError,
    httpx.UnsupportedProtocol,
)
"""Errors that prove that nothing was sent, if nothing was written before."""
_CONTENT_TYPE: Final = re.compile(r"[\w.+-]{1,40}/[\w.+-]{1,40}", re.ASCII)

Json = Any
"""A JSON value. Numbers with a point are `Decimal`, never a binary float."""


def resolve_host(host: str) -> Sequence[str]:
    """The IP addresses of a name, in the order to try them. Raises `OSError` if there is none."""
    return tuple(str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))


@dataclass(frozen=True, slots=True)
class Response:
    """An answer that arrived whole. Its repr hides the content, because a token is worth money."""

    status: int
    body: Json = field(repr=False)
    """The body as JSON, None if it is not JSON."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Names in lower case."""
    raw_body: bytes = field(default=b"", repr=False)
    """The body, decompressed."""

    @property
    def is_json_object(self) -> bool:
        """Whether the body is a JSON object. Adapters read nothing else."""
        return isinstance(self.body, dict)

    @property
    def summary(self) -> str:
        """Status and content type, for a log or a reason. Shows no content."""
        content_type = self.headers.get("content-type", "").partition(";")[0].strip()
        return f"HTTP {self.status}, {content_type if _CONTENT_TYPE.fullmatch(content_type) else 'no content type'}"


class HttpClient:
    """HTTP for one provider account. Concurrent threads use one connection each.

    It follows no redirects, verifies certificates, keeps no cookies and ignores the proxies of the environment.
    `trusted_certificates` is a PEM file of authorities to trust instead of the usual ones. `resolve_host` finds the
    addresses of a name. `may_connect` is called for each address immediately before the connection is made: a name
    that resolves differently the second time cannot get around it.
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
        """Make one request. `content` is sent as JSON; `bytes` are sent unchanged. The deadline covers everything from
        the name look-up to the last byte of the body.

        `NotSent` proves that no byte of the request was sent. `may_send` is called immediately before the first byte.
        `Unknown` means that something may have been sent and no whole answer came back. Neither reason quotes a header
        or what the provider wrote. Raises `TypeError` if `content` has no JSON form.
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
            except (httpx.InvalidURL, ValueError) as error:  # for example a lone surrogate in a phone number
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
        """Close the connections. Those in use close when their calls end. A later call opens new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.client.close()

    @contextmanager
    def _connection(self) -> Iterator["_Connection"]:
        """A connection for this call alone. Sharing one between many threads is slow."""
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


# --- the deadline, and the first byte ---------------------------------------------------------------------------------


class _SendExpired(Exception):
    """`may_send` said no before the first byte."""


class _ResponseTooLarge(Exception):
    """The body is larger than allowed."""


class _SendGuard:
    """The deadline of the current call, and whether it has sent anything."""

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
    """A client with at most one connection, and its guard."""

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
    """A connection with one deadline for the whole call. A server that drips cannot extend it."""

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


# --- parsing ----------------------------------------------------------------------------------------------------------


def _is_ip_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _decompress(raw: bytes, encoding: str, max_bytes: int) -> bytes | None:
    """The decompressed body; None if it is broken, too large or in another encoding. We request no compression."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return raw
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return None
    stream = zlib.decompressobj(wbits=47)  # detects gzip or zlib by the first bytes
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
    """The error and the system's message. A protocol error's message is left out: it may quote a header or an answer."""
    detail = "" if isinstance(error, httpx.ProtocolError) else str(error).strip()
    return f"{type(error).__name__}: {detail}"[:200] if detail else type(error).__name__


# --- addresses --------------------------------------------------------------------------------------------------------


def host_and_port(url: str) -> str:
    """The host of a URL, with the port if there is one. The fingerprint of an account begins with it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{host}:{parts.port}" if parts.port else host


def is_test_endpoint(url: str, sandbox_url: str) -> bool:
    """Whether no real money is behind a URL: it is the provider's own sandbox, or this machine."""
    host = urlsplit(url).hostname or ""
    return host == urlsplit(sandbox_url).hostname or is_loopback_host(host)
