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

from billvend.adapters.providers import parse
from billvend.adapters.providers.sandbox import meters
from billvend.adapters.providers.sandbox.faults import SandboxFault, parse_fault
from billvend.adapters.providers.sandbox.meters import DeliveryFault
from billvend.adapters.providers.sandbox.over_http.webhook_sender import WebhookSender
from billvend.adapters.providers.sandbox.sales_store import SalesStore
from billvend.adapters.providers.sandbox.simulator import SimulatedReply, Simulator
from billvend.domain.errors import InvalidAmount
from billvend.domain.money import Money, parse_amount
from billvend.domain.outcome import Pending

FAULT_HEADER: Final = "X-Sandbox-Fault"
BAD_KEY: Final = "bad"
"""The one key that is refused; any other that is not empty is taken."""
CURRENCY: Final = "NGN"
MAX_BODY_BYTES: Final = 1024 * 1024
_ERROR_PAGE: Final = (
    "<!doctype html>\n<title>500</title>\n<h1>Something went wrong</h1>\n<p>This is a page for people.</p>\n"
)


@dataclass(frozen=True, slots=True)
class HttpSandbox:
    """Where requests come in. One for the whole server; safe in any number of threads."""

    simulator: Simulator
    store: SalesStore
    webhooks: WebhookSender
    now: Callable[[], datetime]
    max_delay_seconds: float
    """However late an answer should be, it comes after so many seconds."""
    duplicate_window_seconds: int
    """VTpass refuses another reference for the same meter and biller within so many seconds; 0 for never."""
    min_requery_age_seconds: int
    """BuyPower refuses a requery within so many seconds of the send; 0 for never."""
    stopping: threading.Event = field(default_factory=threading.Event)

    def deliver(self, reply: SimulatedReply, response: Response) -> Response:
        """What becomes of an answer on its way: late, lost, garbled or whole. Tells by hook what is to be told."""
        if reply.record is not None:
            self.webhooks.send(reply.webhook, reply.record)
        delay_seconds = min(reply.delay_seconds, self.max_delay_seconds)
        if delay_seconds and self.stopping.wait(delay_seconds):
            return close_connection()
        match reply.delivery_fault:
            case DeliveryFault.CONNECTION_CLOSED:
                return close_connection()
            case DeliveryFault.HTML_ERROR:
                return Response(_ERROR_PAGE, 500, mimetype="text/html")
            case DeliveryFault.NONE:
                return response

    def early_requery_reply(self, reference: str) -> SimulatedReply | None:
        """The refusal of a requery that comes too soon after the send; None where it does not."""
        record = self.store.find(reference)
        if record is None or not self.min_requery_age_seconds:
            return None
        remaining = record.received_at + timedelta(seconds=self.min_requery_age_seconds) - self.now()
        if remaining <= timedelta(0):
            return None
        seconds = -(-remaining // timedelta(seconds=1))
        return SimulatedReply(Pending("asked too early", seconds), code=meters.TOO_EARLY, record=record)


def close_connection() -> Response:
    """Close the connection that is being served without a word. What is returned reaches nobody."""
    connection: socket.socket = request.environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)  # the server closes it, once it finds that it can't write
    return Response()


def json_response(
    body: Mapping[str, Any] | list[dict[str, Any]], status: int = 200, **headers: str
) -> Response:
    """An answer in JSON, its fields in the order in which they are given."""
    return Response(json.dumps(body), status, headers, mimetype="application/json")


def parse_request() -> dict[str, Any]:
    """The body of the request, as JSON or as a form; empty where it is neither."""
    if request.form:
        return dict(request.form)
    try:
        body = json.loads(request.get_data(), parse_float=Decimal)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def parse_text(value: object) -> str | None:
    """A field that holds a number or a plain word of at most 100 signs."""
    text = parse.to_text(value)
    return text if text and len(text) <= 100 and text.isascii() and text.isprintable() else None


def parse_naira(value: object) -> Money | None:
    """An amount in naira; None where it is none."""
    try:
        return parse_amount(parse.to_number(value) or "", CURRENCY) if parse_text(value) else None
    except InvalidAmount:
        return None


def requested_fault() -> SandboxFault | None:
    """The fault that the request asks for in its header. Raises `InvalidFault`."""
    text = request.headers.get(FAULT_HEADER)
    return None if text is None else parse_fault(text)


def is_accepted_key(key: str | None) -> bool:
    """Whether it is taken for a key."""
    return bool(key) and key != BAD_KEY
