"""Calls about wallets: fund, balance."""

from http import HTTPStatus

from flask import Response, request

from billvend.api.answers import answer
from billvend.api.bodies import BalanceQuery, FundBody, IntentBody, KeyHeader, UserPath
from billvend.api.door import Door, about, may
from billvend.api.reading import idempotency_key
from billvend.api.repeats import replay_headers
from billvend.api.shapes import BalanceShape, FundedShape, IntentShape
from billvend.domain.access import Scope
from billvend.ports.books import Search
from billvend.views import Document, balance_document, funded_document, transaction_document

RECENT = 10
"""Transactions that are shown with a balance."""
FUND_REFUSALS = {
    HTTPStatus.CONFLICT: "`request_in_progress` with `Retry-After`.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "`validation_failed` with `fields`, `invalid_amount`, `unsupported_currency`, "
    "`idempotency_mismatch`: nothing was added.",
    HTTPStatus.SERVICE_UNAVAILABLE: "`unavailable`: nothing was added. `outcome_unknown`: repeat it with the "
    "`idempotencyKey` that the answer names.",
}


def add_to(door: Door) -> None:
    """Add the calls."""
    bv = door.bv

    @door.post(
        "/wallet/fund", FundedShape, scope=Scope.FUND, status=HTTPStatus.CREATED, refuses=FUND_REFUSALS
    )
    def fund(header: KeyHeader, body: FundBody) -> Response:
        """Add money to a wallet.

        Opens the wallet if it is new. With a key it is added once, however often the request is repeated.
        """
        key = idempotency_key(request)
        with door.alone("fund", body.user_id, key):
            funded = bv.fund(body.user_id, body.amount, currency=body.currency, key=key)
        about(userId=funded.user_id, transactionId=funded.transaction_id)
        data = funded_document(funded)
        data.pop("replayed")
        message = f"Added {funded.amount.display} to the wallet."
        return answer(data, message, HTTPStatus.CREATED, headers=replay_headers(funded.replayed))

    @door.post(
        "/wallet/fund/intent", IntentShape, scope=Scope.FUND, status=HTTPStatus.CREATED, refuses=FUND_REFUSALS
    )
    def start_funding(header: KeyHeader, body: IntentBody) -> Response:
        """Start a payment into a wallet by Paystack.

        Send the payer to `authorizationUrl`. The wallet is credited once Paystack confirms it. Then `email` gets the
        receipt. It gets the tokens of later payments if the wallet has no address yet, and the key has the scope `read` too.
        """
        key = idempotency_key(request)
        with door.alone("intent", body.user_id, key):
            intent = bv.start_funding(
                body.user_id,
                body.amount,
                email=body.email,
                currency=body.currency,
                key=key,
                email_may_get_tokens=may(Scope.READ),
            )
        about(userId=body.user_id, reference=intent.reference)
        data: Document = {"reference": intent.reference, "authorizationUrl": intent.authorization_url}
        message = f"Send the payer to the address: {intent.amount.display} will be added when it is paid."
        return answer(data, message, HTTPStatus.CREATED, headers=replay_headers(intent.replayed))

    @door.get(
        "/wallet/balance/<billvend_user:userId>",
        BalanceShape,
        scope=Scope.READ,
        refuses={
            HTTPStatus.NOT_FOUND: "`wallet_not_found`.",
            HTTPStatus.UNPROCESSABLE_ENTITY: "`validation_failed`, `unsupported_currency`.",
        },
    )
    def balance(path: UserPath, query: BalanceQuery) -> Response:
        """What a wallet holds.

        What can be spent, what is reserved for payments under way, and what happened last.
        """
        about(userId=path.user_id)
        wallet = bv.balance(path.user_id, currency=query.currency)
        wanted = Search(user_id=path.user_id, currency=wallet.balance.currency, limit=RECENT)
        recent = [transaction_document(found) for found in bv.search(wanted)]
        return answer(balance_document(wallet, recent), f"{wallet.balance.display} can be spent.")
