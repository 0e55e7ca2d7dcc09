"""The HTTP client of every provider adapter. It knows no provider.

A call is bounded in time and size, and is never repeated. Its result says whether any byte was sent.
"""

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from billvend.adapters.providers.deadline_network import GuardedConnection, SendExpired
from billvend.adapters.providers.http_body import Json, decompress, parse_json
from billvend.domain.ids import is_loopback_host
from billvend.domain.outcome import NotSent, Unknown

VERIFY_TIMEOUT_SECONDS: Final = 5.0
"""The default deadline of a call for which a buyer waits."""
MAX_BODY_BYTES: Final = 1024 * 1024
"""The default limit of a body. No answer of a provider is larger."""
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
        self._idle: list[GuardedConnection] = []

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
            except SendExpired:
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
        plain = decompress(body, response.headers.get("content-encoding", ""), self._max_body_bytes)
        if plain is None:
            return Unknown("the answer's compression can't be read")
        return Response(response.status_code, parse_json(plain), dict(response.headers), plain)

    def close(self) -> None:
        """Close the connections. Those in use close when their calls end. A later call opens new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.client.close()

    @contextmanager
    def _connection(self) -> Iterator[GuardedConnection]:
        """A connection for this call alone. Sharing one between many threads is slow."""
        with self._lock:
            idle = self._idle
            connection = idle.pop() if idle else None
        connection = connection or GuardedConnection(self._tls, self._resolve_host, self._may_connect)
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


class _ResponseTooLarge(Exception):
    """The body is larger than allowed."""


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
