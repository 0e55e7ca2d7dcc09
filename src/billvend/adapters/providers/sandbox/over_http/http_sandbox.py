"""What the calls of both dialects use, and the delivery of answers."""

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from flask import Response, request

from billvend.adapters.providers.sandbox.faults import DeliveryFault
from billvend.adapters.providers.sandbox.over_http.webhook_sender import WebhookSender
from billvend.adapters.providers.sandbox.sales_store import SalesStore
from billvend.adapters.providers.sandbox.simulator import SimulatedReply, Simulator

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
