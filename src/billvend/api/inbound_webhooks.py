"""Inbound webhooks of providers and gateways. They need no key, and nothing that they say is taken for a fact."""

from http import HTTPStatus

from flask import Response, request

from billvend.api.parsing import read_body
from billvend.api.responses import WebhookReceivedResponse, success_response
from billvend.api.routing import ApiRouter
from billvend.presentation.errors import Unauthenticated


def add_routes(router: ApiRouter) -> None:
    """Add the calls."""
    bv = router.bv

    @router.call(
        "POST /hooks/paystack",
        WebhookReceivedResponse,
        scope=None,
        errors={
            HTTPStatus.UNAUTHORIZED: "The signature is not Paystack's: `unauthenticated`.",
            HTTPStatus.SERVICE_UNAVAILABLE: "`unavailable`: send it again later.",
        },
    )
    def paystack() -> Response:
        """Webhook of Paystack: a deposit was paid.

        Signed over the raw body (`x-paystack-signature`). The wallet is credited only after billvend asked Paystack itself.
        """
        body = read_body(request)
        if not bv.handle_gateway_webhook(body, request.headers.get("X-Paystack-Signature")):
            raise Unauthenticated("The signature does not match the body. Nothing was done.")
        return success_response(WebhookReceivedResponse(received=True), "Received.")

    @router.call(
        "POST /hooks/vtpass",
        WebhookReceivedResponse,
        scope=None,
        errors={HTTPStatus.SERVICE_UNAVAILABLE: "`unavailable`: send it again later."},
    )
    def vtpass() -> Response:
        """Webhook of VTpass: a transaction was updated.

        Unsigned, so it is only a request to requery the transaction soon.
        """
        bv.handle_provider_webhook("vtpass", read_body(request))
        # VTpass repeats a webhook until it gets this response.
        return success_response(
            WebhookReceivedResponse(received=True), "Received.", extra_members={"response": "success"}
        )
