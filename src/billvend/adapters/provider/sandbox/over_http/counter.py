"""What both dialects have in common: how requests are read, and how answers travel, or don't."""

import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from flask import Response, request

from billvend.adapters.provider import reading
from billvend.adapters.provider.sandbox import meters
from billvend.adapters.provider.sandbox.book import Book
from billvend.adapters.provider.sandbox.desk import Desk, Reply
from billvend.adapters.provider.sandbox.faults import Fault, fault_in
from billvend.adapters.provider.sandbox.meters import Travel
from billvend.adapters.provider.sandbox.over_http.hooks import Hooks
from billvend.domain.errors import InvalidAmount
from billvend.domain.money import Money, parse_amount
from billvend.domain.outcome import Pending

FAULT_HEADER: Final = "X-Sandbox-Fault"
BAD_KEY: Final = "bad"
"""The one key that is refused; any other that is not empty is taken."""
CURRENCY: Final = "NGN"
LARGEST_BODY_BYTES: Final = 1024 * 1024
_PAGE: Final = (
    "<!doctype html>\n<title>500</title>\n<h1>Something went wrong</h1>\n<p>This is a page for people.</p>\n"
)


@dataclass(frozen=True, slots=True)
class Counter:
    """Where requests come in. One for the whole server; safe in any number of threads."""

    desk: Desk
    book: Book
    hooks: Hooks
    now: Callable[[], datetime]
    longest_delay_seconds: float
    """However late an answer should be, it comes after so many seconds."""
    likely_duplicate_seconds: int
    """VTpass refuses another reference for the same meter and biller within so many seconds; 0 for never."""
    earliest_requery_seconds: int
    """BuyPower refuses a requery within so many seconds of the send; 0 for never."""
    stopping: threading.Event = field(default_factory=threading.Event)

    def answered(self, reply: Reply, whole: Response) -> Response:
        """What becomes of an answer on its way: late, lost, garbled or whole. Tells by hook what is to be told."""
        if reply.entry is not None:
            self.hooks.tell(reply.hook, reply.entry)
        late_seconds = min(reply.delay_seconds, self.longest_delay_seconds)
        if late_seconds and self.stopping.wait(late_seconds):
            return cut()
        match reply.travel:
            case Travel.CUT:
                return cut()
            case Travel.HTML:
                return Response(_PAGE, 500, mimetype="text/html")
            case Travel.WHOLE:
                return whole

    def too_early(self, reference: str) -> Reply | None:
        """The refusal of a requery that comes too soon after the send; None where it does not."""
        entry = self.book.find(reference)
        if entry is None or not self.earliest_requery_seconds:
            return None
        left = entry.received_at + timedelta(seconds=self.earliest_requery_seconds) - self.now()
        if left <= timedelta(0):
            return None
        seconds = -(-left // timedelta(seconds=1))
        return Reply(Pending("asked too early", seconds), code=meters.TOO_EARLY, entry=entry)


def cut() -> Response:
    """Close the connection that is being served without a word. What is returned reaches nobody."""
    connection: socket.socket = request.environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)  # the server closes it, once it finds that it can't write
    return Response()


def as_json(body: Mapping[str, Any] | list[dict[str, Any]], status: int = 200, **headers: str) -> Response:
    """An answer in JSON, its fields in the order in which they are given."""
    return Response(json.dumps(body), status, headers, mimetype="application/json")


def asked() -> dict[str, Any]:
    """The body of the request, as JSON or as a form; empty where it is neither."""
    if request.form:
        return dict(request.form)
    try:
        body = json.loads(request.get_data(), parse_float=Decimal)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def word(value: object) -> str | None:
    """A field that holds a number or a plain word of at most 100 signs."""
    said = reading.text(value)
    return said if said and len(said) <= 100 and said.isascii() and said.isprintable() else None


def amount(value: object) -> Money | None:
    """An amount in naira; None where it is none."""
    try:
        return parse_amount(reading.number(value) or "", CURRENCY) if word(value) else None
    except InvalidAmount:
        return None


def fault_asked() -> Fault | None:
    """The fault that the request asks for in its header. Raises `FaultRefused`."""
    text = request.headers.get(FAULT_HEADER)
    return None if text is None else fault_in(text)


def is_key(key: str | None) -> bool:
    """Whether it is taken for a key."""
    return bool(key) and key != BAD_KEY
