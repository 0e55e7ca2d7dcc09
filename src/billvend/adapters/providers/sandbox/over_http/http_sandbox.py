"""What both dialects share: parsing requests, and delivering answers or not."""

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
"""The one key that is rejected. Any other key that is not empty is accepted."""
CURRENCY: Final = "NGN"
MAX_BODY_BYTES: Final = 1024 * 1024
_ERROR_PAGE: Final = (
    "<!doctype html>\n<title>500</title>\n<h1>Something went wrong</h1>\n<p>This is a page for people.</p>\n"
)


@dataclass(frozen=True, slots=True)
class HttpSandbox:
    """What the calls of both dialects use. One for the server, thread-safe."""

    simulator: Simulator
    store: SalesStore
    webhooks: WebhookSender
    now: Callable[[], datetime]
    max_delay_seconds: float
    """The longest delay of an answer. Longer ones are cut to this."""
    duplicate_window_seconds: int
    """How long VTpass refuses another reference for the same meter and biller. 0 is never."""
    min_requery_age_seconds: int
    """How long after the send BuyPower refuses a requery. 0 is never."""
    stopping: threading.Event = field(default_factory=threading.Event)

    def deliver(self, reply: SimulatedReply, response: Response) -> Response:
        """Deliver an answer: whole, late, lost or replaced by an error page. Also starts its webhooks."""
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
        """The refusal of a requery that is too early. None if it is not."""
        record = self.store.find(reference)
        if record is None or not self.min_requery_age_seconds:
            return None
        remaining = record.received_at + timedelta(seconds=self.min_requery_age_seconds) - self.now()
        if remaining <= timedelta(0):
            return None
        seconds = -(-remaining // timedelta(seconds=1))
        return SimulatedReply(Pending("asked too early", seconds), code=meters.TOO_EARLY, record=record)


def close_connection() -> Response:
    """Close the client's connection without an answer. The returned response is never sent."""
    connection: socket.socket = request.environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)  # the server closes it when it cannot write
    return Response()


def json_response(
    body: Mapping[str, Any] | list[dict[str, Any]], status: int = 200, **headers: str
) -> Response:
    """An answer in JSON. The order of its fields is kept."""
    return Response(json.dumps(body), status, headers, mimetype="application/json")


def parse_request() -> dict[str, Any]:
    """The body of the request, from JSON or a form. Empty if it is neither."""
    if request.form:
        return dict(request.form)
    try:
        body = json.loads(request.get_data(), parse_float=Decimal)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def parse_text(value: object) -> str | None:
    """A field with a number or printable ASCII text of at most 100 characters, else None."""
    text = parse.to_text(value)
    return text if text and len(text) <= 100 and text.isascii() and text.isprintable() else None


def parse_naira(value: object) -> Money | None:
    """An amount in naira; None if it is not an amount."""
    try:
        return parse_amount(parse.to_number(value) or "", CURRENCY) if parse_text(value) else None
    except InvalidAmount:
        return None


def requested_fault() -> SandboxFault | None:
    """The fault in the header of the request. Raises `InvalidFault`."""
    text = request.headers.get(FAULT_HEADER)
    return None if text is None else parse_fault(text)


def is_accepted_key(key: str | None) -> bool:
    """Whether the key is accepted."""
    return bool(key) and key != BAD_KEY
