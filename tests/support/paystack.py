"""A fake Paystack on a real socket: a store of transactions, the two calls, and webhooks with real signatures."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from billvend.adapters.gateways.paystack import PaystackGateway
from billvend.testing.fault_server import Connection, FaultServer, http_response

SECRET = "sk_test_0f1e2d3c4b5a"


def signature(body: bytes, secret: str = SECRET) -> str:
    """The value of the header `x-paystack-signature`."""
    return hmac.new(secret.encode(), body, hashlib.sha512).hexdigest()


def json_response(document: object, status: str = "200 OK") -> bytes:
    """An answer of Paystack, as bytes on the wire."""
    return http_response(json.dumps(document).encode(), status=status)


class FakePaystack:
    """The fake Paystack: what it stores, and how it behaves. Use `fake_paystack`."""

    def __init__(self) -> None:
        self.transactions: dict[str, dict[str, Any]] = {}
        """The initialised transactions, by reference, as `verify` returns them."""
        self.initialize_response: bytes | None = None
        """The whole response to each `initialize`, instead of the usual one; b"" resets the connection."""
        self.verify_response: bytes | None = None
        """The same for `verify`."""
        self.initialize_requests: list[dict[str, Any]] = []
        self.verified_references: list[str] = []
        self.may_respond = threading.Event()
        """An `initialize` is answered only while this is set, as it is at first."""
        self.may_respond.set()
        self.initialize_received = threading.Event()
        self.url = ""

    def handle(self, talk: Connection) -> None:
        head, _, body = talk.request.partition(b"\r\n\r\n")
        method, path = head.split(b"\r\n")[0].decode().split()[:2]
        if f"authorization: bearer {SECRET}" not in head.decode().lower():
            return talk.send(json_response({"status": False, "message": "Invalid key"}, "401 Unauthorized"))
        if method == "POST":
            return self._respond(talk, self._initialize(json.loads(body)), self.initialize_response)
        reference = path.rpartition("/")[2]
        self.verified_references.append(reference)
        return self._respond(talk, self._verify(reference), self.verify_response)

    def _respond(self, talk: Connection, usual: bytes, instead: bytes | None) -> None:
        if instead == b"":
            talk.reset()
        else:
            talk.send(usual if instead is None else instead)

    def _initialize(self, asked: dict[str, Any]) -> bytes:
        self.initialize_requests.append(asked)
        reference = asked["reference"]
        if reference in self.transactions:
            return json_response(
                {"status": False, "message": "Duplicate Transaction Reference"}, "400 Bad Request"
            )
        self.transactions[reference] = {
            "id": len(self.transactions) + 1,
            "domain": "test",
            "status": "abandoned",
            "reference": reference,
            "amount": asked["amount"],
            "currency": asked["currency"],
            "metadata": "",
            "fees": None,
        }
        self.initialize_received.set()
        self.may_respond.wait(10)
        url = f"{self.url}/pay/{reference}"
        return json_response(
            {"status": True, "message": "ok", "data": {"authorization_url": url, "reference": reference}}
        )

    def _verify(self, reference: str) -> bytes:
        if reference not in self.transactions:
            return json_response(
                {"status": False, "message": "Transaction reference not found"}, "400 Bad Request"
            )
        return json_response({"status": True, "message": "ok", "data": self.transactions[reference]})

    # --- actions ------------------------------------------------------------------------------------------------------

    def mark_paid(self, reference: str, **more: Any) -> None:
        """The customer pays; `more` are fields that `verify` returns differently from then on."""
        self.transactions[reference] |= {"status": "success", "fees": 7_500, **more}

    def webhook(self, reference: str, event: str = "charge.success", **more: Any) -> tuple[bytes, str]:
        """The body of a webhook with its signature."""
        known = self.transactions.get(reference, {"reference": reference, "status": "success"})
        body = json.dumps({"event": event, "data": {**known, **more}}).encode()
        return body, signature(body)


@contextmanager
def fake_paystack() -> Iterator[tuple[FakePaystack, PaystackGateway]]:
    """A fake Paystack, and a gateway that talks to it."""
    paystack = FakePaystack()
    with FaultServer(paystack.handle) as server:
        paystack.url = server.url
        gateway = PaystackGateway(secret_key=SECRET, api_url=server.url, timeout_seconds=5)
        try:
            yield paystack, gateway
        finally:
            paystack.may_respond.set()
            gateway.close()
