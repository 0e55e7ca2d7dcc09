"""Inbound hooks: somebody says that something happened. They need no key, and are hints, never facts."""

from http import HTTPStatus

from flask import Response, request

from billvend.api.errors import Unauthenticated
from billvend.api.parsing import read_body
from billvend.api.responses import success_response
from billvend.api.routing import ApiRouter
from billvend.api.schemas import WebhookReceivedResponse


def add_routes(router: ApiRouter) -> None:
    """Add the calls."""
    bv = router.bv

    @router.post(
        "/hooks/paystack",
        WebhookReceivedResponse,
        scope=None,
        errors={
            HTTPStatus.UNAUTHORIZED: "The signature is not Paystack's: `unauthenticated`.",
            HTTPStatus.SERVICE_UNAVAILABLE: "`unavailable`: send it again later.",
        },
    )
    def paystack() -> Response:
        """Paystack says that money came in.

        Signed over the raw body (`x-paystack-signature`). Nothing is credited before Paystack, asked, confirms it.
        """
        body = read_body(request)
        if not bv.handle_gateway_webhook(body, request.headers.get("X-Paystack-Signature")):
            raise Unauthenticated("The signature does not fit the body. Nothing was done.")
        return success_response({"received": True}, "Received.")

    @router.post(
        "/hooks/vtpass",
        WebhookReceivedResponse,
        scope=None,
        errors={HTTPStatus.SERVICE_UNAVAILABLE: "`unavailable`: send it again later."},
    )
    def vtpass() -> Response:
        """VTpass says that a transaction was updated.

        Unsigned, so a hint alone: what it is about is asked about soon.
        """
        bv.handle_provider_webhook("vtpass", read_body(request))
        # VTpass repeats a hook that is not answered so.
        return success_response({"received": True}, "Received.", extra_members={"response": "success"})
