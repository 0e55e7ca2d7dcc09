"""RSGI adapter: reads whole requests from Granian, and runs the WSGI application on threads.

Slow clients would occupy all threads. So bodies are read here, on the event loop, where waiting costs nothing, within a
time limit and a size limit. Only then does a thread begin. An error of a body is raised when the application reads it, so
it is reported like every other error, and after authentication.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO, RawIOBase
from typing import Any, Final

from granian.rsgi import HTTPProtocol, ProtocolClosed, Scope  # type: ignore[attr-defined]  # not marked as exported

from billvend.api.parsing import REJECTION_KEY
from billvend.domain.errors import BillvendError, Unavailable
from billvend.presentation.errors import BodyTooLarge, BodyTooSlow, MalformedHeader, MalformedJson

BODY_TIMEOUT_SECONDS: Final = 10.0
"""How long a body may take to arrive."""
MAX_BUFFERED_BYTES: Final = 64 * 1024 * 1024
"""Bytes of bodies that a process holds at a time: so many for small bodies, and as many again for large ones."""
_SINGLE_VALUE_HEADERS: Final = ("authorization", "content-type", "host", "idempotency-key")
"""Headers that must not be repeated."""

WsgiApplication = Callable[[dict[str, Any], Any], Iterable[bytes]]
Headers = list[tuple[str, str]]


class RsgiAdapter:
    """A WSGI application as an RSGI application of Granian."""

    def __init__(
        self,
        application: WsgiApplication,
        *,
        threads: int,
        max_body_bytes: int,
        max_body_bytes_by_path: Mapping[str, int] | None = None,
        body_timeout_seconds: float = BODY_TIMEOUT_SECONDS,
    ) -> None:
        """`threads` run the application. A body has at most `max_body_bytes`, or the limit of its path."""
        self._application = application
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="billvend-api")
        self._max_body_bytes = max_body_bytes
        self._max_body_bytes_by_path = max_body_bytes_by_path or {}
        self._body_timeout_seconds = body_timeout_seconds
        # Any client can begin to send large bodies. They must not take the memory of small ones.
        self._free_bytes = {False: MAX_BUFFERED_BYTES, True: MAX_BUFFERED_BYTES}

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Finish the requests in progress."""
        self._pool.shutdown()

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        """Handle one request."""
        parts: list[bytes] = []
        try:
            error = await self._read_body(parts, scope, protocol)
            body = BytesIO(b"".join(parts)) if error is None else RejectedBody(error)
            loop = asyncio.get_running_loop()
            response = await loop.run_in_executor(self._pool, self._run_wsgi, wsgi_environ(scope, body))
            protocol.response_bytes(*response)
        except ProtocolClosed:  # the client disconnected; what was done is kept
            return
        finally:
            self._free_bytes[scope.path in self._max_body_bytes_by_path] += sum(map(len, parts))

    async def _read_body(
        self, parts: list[bytes], scope: Scope, protocol: HTTPProtocol
    ) -> BillvendError | None:
        """Collect the parts of the body. Returns its error, if it has one."""
        in_chunks, is_large = "transfer-encoding" in scope.headers, scope.path in self._max_body_bytes_by_path
        max_body_bytes = self._max_body_bytes_by_path.get(scope.path, self._max_body_bytes)
        remaining = max_body_bytes if in_chunks else int(scope.headers.get("content-length", 0))
        if remaining == 0:
            return None
        if remaining > max_body_bytes:
            return _body_too_large(max_body_bytes)
        try:
            async with asyncio.timeout(self._body_timeout_seconds):
                async for part in protocol:
                    parts.append(part)
                    self._free_bytes[is_large] -= len(part)
                    remaining -= len(part)
                    if self._free_bytes[is_large] < 0:
                        return Unavailable(
                            "Too many large requests at once. Nothing was done. Try again soon."
                        )
                    if remaining < 0:
                        return _body_too_large(max_body_bytes)
                    if remaining == 0 and not in_chunks:
                        return None
        except TimeoutError:
            return BodyTooSlow(
                f"The body did not arrive within {self._body_timeout_seconds:g} s. Nothing was done."
            )
        except ProtocolClosed:
            return _body_incomplete()
        # Granian reports a cut chunked body like a complete one. But half a JSON text is invalid, and half a webhook unsigned.
        return None if in_chunks else _body_incomplete()

    def _run_wsgi(self, request: dict[str, Any]) -> tuple[int, Headers, bytes]:
        """Run the application, on a thread of the pool."""
        started: list[Any] = []

        def start_response(status: str, headers: Headers, exc_info: object = None) -> None:
            started[:] = int(status.split(" ", 1)[0]), headers

        chunks = self._application(request, start_response)
        try:
            body = b"".join(chunks)
        finally:
            getattr(chunks, "close", lambda: None)()
        status, headers = started
        return status, headers, body


def _body_too_large(max_body_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is longer than {max_body_bytes:,} bytes. Nothing was done.")


def _body_incomplete() -> MalformedJson:
    return MalformedJson("The body is incomplete. Nothing was done.")


class RejectedBody(RawIOBase):
    """A body that raises its error when it is read."""

    def __init__(self, error: BillvendError) -> None:
        self._error = error

    def readable(self) -> bool:
        """True, so that `read` is called."""
        return True

    def readinto(self, buffer: object) -> int:
        """Raises the error."""
        raise self._error


BodyStream = BytesIO | RejectedBody


def wsgi_environ(scope: Scope, body: BodyStream) -> dict[str, Any]:
    """The request as a WSGI environment (PEP 3333).

    A repeated header becomes one, its values joined by commas (RFC 9110, 5.3). Headers with an underscore are ignored: WSGI
    cannot distinguish them from those with a hyphen, which a proxy may set or remove. An error of the headers is under
    `REJECTION_KEY`.
    """
    host, _, port = scope.server.rpartition(":")
    environment: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": _as_wsgi(scope.path),
        "QUERY_STRING": _as_wsgi(scope.query_string),
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope.headers.items():
        if "_" not in name:
            key = f"HTTP_{name.upper().replace('-', '_')}"
            environment[key] = f"{environment[key]},{value}" if key in environment else value
    environment["CONTENT_TYPE"] = environment.pop("HTTP_CONTENT_TYPE", "")
    environment.pop("HTTP_CONTENT_LENGTH", None)
    if isinstance(body, BytesIO):
        environment["CONTENT_LENGTH"] = str(body.getbuffer().nbytes)
    if (problem := _invalid_header(scope)) is not None:
        environment[REJECTION_KEY] = MalformedHeader(f"The header {problem}. Nothing was done.")
    if scope.authority is not None:  # an absolute request target decides (RFC 9112, 3.2.2)
        environment["HTTP_HOST"] = scope.authority
    return environment


def _as_wsgi(text: str) -> str:
    """Text as WSGI needs it: its bytes in UTF-8, each as a character of latin-1."""
    return text.encode().decode("latin-1")


def _invalid_header(scope: Scope) -> str | None:
    """The error of a header, if there is one."""
    names = [name for name, _ in scope.headers.items()]
    # Granian drops headers that are not ASCII. With a dropped key, a repeat would be another payment.
    if len(dropped := set(scope.headers.keys()).difference(names)) > 0:
        return f"{min(dropped)} is not ASCII"
    if len(names) != len(set(names)) and (
        repeated := [name for name in _SINGLE_VALUE_HEADERS if names.count(name) > 1]
    ):
        return f"{repeated[0]} is given twice"
    if "idempotency_key" in names:
        return "Idempotency-Key must be written with a hyphen"
    if scope.http_version == "1.1" and scope.authority is None and "host" not in names:  # RFC 9112, 3.2
        return "Host is missing"
    if scope.headers.get("transfer-encoding", "chunked").lower() != "chunked":
        return "Transfer-Encoding must be chunked"
    return None
