"""The front: takes requests from Granian whole, and hands them to the application's threads.

A thread that waits for a body waits as long as its sender likes, and a few senders that drip would keep them all. So bodies
arrive here, on the event loop, where waiting costs nothing: within a time, up to a size; and only then does a thread begin.
What is wrong with a body the application hears when it reads it: so that is refused as everything else is, and a stranger's
for being a stranger's.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO, RawIOBase
from typing import Any, Final

from granian.rsgi import HTTPProtocol, ProtocolClosed, Scope  # type: ignore[attr-defined]  # not marked as exported

from billvend.api.errors import REJECTION_KEY, BodyTooLarge, BodyTooSlow, MalformedHeader, MalformedJson
from billvend.domain.errors import BillvendError, Unavailable

BODY_TIMEOUT_SECONDS: Final = 10.0
"""How long a body may take to arrive."""
MAX_BUFFERED_BYTES: Final = 64 * 1024 * 1024
"""Bytes that a process has room for at a time: so many for small bodies, and as many again for large ones."""
_SINGLE_VALUE_HEADERS: Final = ("authorization", "content-type", "host", "idempotency-key")
"""Headers whose second line would be another one's word against the first."""

WsgiApplication = Callable[[dict[str, Any], Any], Iterable[bytes]]
Headers = list[tuple[str, str]]


class RsgiAdapter:
    """A WSGI application, as Granian's RSGI has it."""

    def __init__(
        self,
        application: WsgiApplication,
        *,
        threads: int,
        max_body_bytes: int,
        max_body_bytes_by_path: Mapping[str, int] | None = None,
        body_timeout_seconds: float = BODY_TIMEOUT_SECONDS,
    ) -> None:
        """`threads` run the application. A body has at most `max_body_bytes`, or what `max_body_bytes_by_path` says."""
        self._application = application
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="billvend-api")
        self._max_body_bytes = max_body_bytes
        self._max_body_bytes_by_path = max_body_bytes_by_path or {}
        self._body_timeout_seconds = body_timeout_seconds
        # Large bodies, which anybody can begin to send, must not take the room of all the others.
        self._free_bytes = {False: MAX_BUFFERED_BYTES, True: MAX_BUFFERED_BYTES}

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Finish what is under way."""
        self._pool.shutdown()

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        """Answer one request."""
        parts: list[bytes] = []
        try:
            error = await self._read_body(parts, scope, protocol)
            body = BytesIO(b"".join(parts)) if error is None else RejectedBody(error)
            loop = asyncio.get_running_loop()
            response = await loop.run_in_executor(self._pool, self._run_wsgi, wsgi_environ(scope, body))
            protocol.response_bytes(*response)
        except ProtocolClosed:  # whoever asked has gone; what was done stays done
            return
        finally:
            self._free_bytes[scope.path in self._max_body_bytes_by_path] += sum(map(len, parts))

    async def _read_body(
        self, parts: list[bytes], scope: Scope, protocol: HTTPProtocol
    ) -> BillvendError | None:
        """Collect the body, in the parts that it comes in; what is wrong with it, if anything is."""
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
                        return Unavailable("Too much arrives at once. Nothing was done: try again soon.")
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
        # Of chunks Granian does not tell an end from a cut: but half of a JSON text is none, and half a hook is not signed.
        return None if in_chunks else _body_incomplete()

    def _run_wsgi(self, request: dict[str, Any]) -> tuple[int, Headers, bytes]:
        """Run the application, on a thread of its own."""
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
    return MalformedJson("The body ends before it is whole. Nothing was done.")


class RejectedBody(RawIOBase):
    """A body that is refused when somebody reads it."""

    def __init__(self, error: BillvendError) -> None:
        self._error = error

    def readable(self) -> bool:
        """It says so."""
        return True

    def readinto(self, buffer: object) -> int:
        """Raises the refusal."""
        raise self._error


BodyStream = BytesIO | RejectedBody


def wsgi_environ(scope: Scope, body: BodyStream) -> dict[str, Any]:
    """The request as WSGI has it (PEP 3333).

    A header that came twice is one, its values joined by commas (RFC 9110, 5.3). One with an underscore is passed over: in
    WSGI it can't be told from one with a hyphen, which a proxy may have put there or taken away. What is wrong with the
    headers stands under `REJECTION_KEY`.
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
    if scope.authority is not None:  # of a request that names the whole address; it decides (RFC 9112, 3.2.2)
        environment["HTTP_HOST"] = scope.authority
    return environment


def _as_wsgi(text: str) -> str:
    """Text as WSGI has it: its bytes in UTF-8, each as a character of latin-1."""
    return text.encode().decode("latin-1")


def _invalid_header(scope: Scope) -> str | None:
    """What is wrong with a header, if anything is."""
    names = [name for name, _ in scope.headers.items()]
    # Granian leaves out what is no ASCII text: a key that is not seen would make a repeat another payment.
    if len(dropped := set(scope.headers.keys()).difference(names)) > 0:
        return f"{min(dropped)} is no ASCII text"
    if len(names) != len(set(names)) and (
        repeated := [name for name in _SINGLE_VALUE_HEADERS if names.count(name) > 1]
    ):
        return f"{repeated[0]} stands there twice"
    if "idempotency_key" in names:
        return "Idempotency-Key is written with a hyphen"
    if scope.http_version == "1.1" and scope.authority is None and "host" not in names:  # RFC 9112, 3.2
        return "Host is missing"
    if scope.headers.get("transfer-encoding", "chunked").lower() != "chunked":
        return "Transfer-Encoding may say chunked alone"
    return None
