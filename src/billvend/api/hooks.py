"""Inbound hooks: somebody says that something happened. They need no key, and are hints, never facts."""

from http import HTTPStatus

from flask import Response, request

from billvend.api.answers import answer
from billvend.api.door import Door
from billvend.api.errors import Unauthenticated
from billvend.api.reading import raw_body
from billvend.api.shapes import ReceivedShape


def add_to(door: Door) -> None:
    """Add the calls."""
    bv = door.bv

    @door.post(
        "/hooks/paystack",
        ReceivedShape,
        scope=None,
        refuses={
            HTTPStatus.UNAUTHORIZED: "The signature is not Paystack's: `unauthenticated`.",
            HTTPStatus.SERVICE_UNAVAILABLE: "`unavailable`: send it again later.",
        },
    )
    def paystack() -> Response:
        """Paystack says that money came in.

        Signed over the raw body (`x-paystack-signature`). Nothing is credited before Paystack, asked, confirms it.
        """
        body = raw_body(request)
        if not bv.gateway_hook(body, request.headers.get("X-Paystack-Signature")):
            raise Unauthenticated("The signature does not fit the body. Nothing was done.")
        return answer({"received": True}, "Received.")

    @door.post(
        "/hooks/vtpass",
        ReceivedShape,
        scope=None,
        refuses={HTTPStatus.SERVICE_UNAVAILABLE: "`unavailable`: send it again later."},
    )
    def vtpass() -> Response:
        """VTpass says that a transaction was updated.

        Unsigned, so a hint alone: what it is about is asked about soon.
        """
        bv.hook("vtpass", raw_body(request))
        # VTpass repeats a hook that is not answered so.
        return answer({"received": True}, "Received.", beside={"response": "success"})
