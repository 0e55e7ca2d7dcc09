"""What all calls share: reading requests, and delivering answers or not."""

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final

from flask import Response, request

from billvend.adapters.providers import parse
from billvend.adapters.providers.sandbox.faults import DeliveryFault, SandboxFault, parse_fault
from billvend.adapters.providers.sandbox.over_http.webhook_sender import WebhookSender
from billvend.adapters.providers.sandbox.sales_store import SalesStore
from billvend.adapters.providers.sandbox.simulator import SimulatedReply, Simulator
from billvend.domain.errors import InvalidAmount
from billvend.domain.money import Money, parse_amount

FAULT_HEADER: Final = "X-Sandbox-Fault"
BAD_KEY: Final = "bad"
"""The one key that is rejected. Any other key that is not empty is accepted."""
CURRENCY: Final = "NGN"
LAGOS: Final = timezone(timedelta(hours=1))
"""Africa/Lagos has no summer time."""
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
            return _close_connection()
        match reply.delivery_fault:
            case DeliveryFault.CONNECTION_CLOSED:
                return _close_connection()
            case DeliveryFault.HTML_ERROR:
                return Response(_ERROR_PAGE, 500, mimetype="text/html")
            case DeliveryFault.NONE:
                return response


def _close_connection() -> Response:
    """Close the client's connection without an answer. The returned response is never sent."""
    connection: socket.socket = request.environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)  # the server closes it when it cannot write
    return Response()


def json_response(body: object, status: int = 200, **headers: str) -> Response:
    """An answer in JSON. The order of its fields is kept."""
    return Response(json.dumps(body), status, headers, mimetype="application/json")


def naira_number(amount_minor: int) -> int | float:
    """A number of naira for JSON. It may be a float, because the sandbox never calculates with it."""
    whole, kobo = divmod(amount_minor, 100)
    return amount_minor / 100 if kobo else whole


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
