"""Calls about wallets: fund, balance."""

from http import HTTPStatus

from flask import Response, g

from billvend.api.request_hooks import add_log_context
from billvend.api.requests import BalanceQuery, DepositRequest, FundRequest, IdempotencyKeyHeader, UserPath
from billvend.api.responses import success_response
from billvend.api.routing import ApiRouter
from billvend.domain.api_keys import Scope
from billvend.ports.queries import Search
from billvend.presentation.models import DepositResponse, FundResponse
from billvend.presentation.transaction_models import BalanceResponse

RECENT_TRANSACTIONS = 10
"""Transactions that are shown with a balance."""
FUND_ERRORS = {
    HTTPStatus.CONFLICT: "`request_in_progress` with `Retry-After`.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "`validation_failed` with `fields`, `invalid_amount`, `unsupported_currency`, "
    "`idempotency_mismatch`: nothing was added.",
    HTTPStatus.SERVICE_UNAVAILABLE: "`unavailable`: nothing was added. `outcome_unknown`: repeat it with the "
    "`idempotencyKey` that the answer names.",
}


def add_routes(router: ApiRouter) -> None:
    """Add the calls."""
    bv = router.bv

    @router.call(
        "POST /wallet/fund", FundResponse, scope=Scope.FUND, status=HTTPStatus.CREATED, errors=FUND_ERRORS
    )
    def fund(header: IdempotencyKeyHeader, body: FundRequest) -> Response:
        """Add money to a wallet.

        Creates the wallet if it is new. A request repeated with the same key adds the money once.
        """
        key = header.idempotency_key
        with router.keyed_lock.acquire("fund", body.user_id, key):
            result = bv.fund(body.user_id, body.amount, currency=body.currency, key=key)
        add_log_context(userId=result.user_id, transactionId=result.transaction_id)
        data = FundResponse.model_validate(result)
        message = f"Added {result.amount.display} to the wallet."
        return success_response(data, message, HTTPStatus.CREATED, replayed=result.replayed)

    @router.call(
        "POST /wallet/fund/intent",
        DepositResponse,
        scope=Scope.FUND,
        status=HTTPStatus.CREATED,
        errors=FUND_ERRORS,
    )
    def create_deposit(header: IdempotencyKeyHeader, body: DepositRequest) -> Response:
        """Create a deposit by Paystack.

        Send the payer to `authorizationUrl`. The wallet is credited once Paystack confirms it. Then `email` gets the
        receipt. It gets the tokens of later payments if the wallet has no address yet, and the key has the scope `read` too.
        """
        key = header.idempotency_key
        with router.keyed_lock.acquire("intent", body.user_id, key):
            deposit = bv.create_deposit(
                body.user_id,
                body.amount,
                email=body.email,
                currency=body.currency,
                key=key,
                email_may_get_tokens=g.billvend_key is None or Scope.READ in g.billvend_key.scopes,
            )
        add_log_context(userId=body.user_id, reference=deposit.reference)
        data = DepositResponse.model_validate(deposit)
        message = f"Send the payer to the address. {deposit.amount.display} is added when it is paid."
        return success_response(data, message, HTTPStatus.CREATED, replayed=deposit.replayed)

    @router.call(
        "GET /wallet/balance/<billvend_user:userId>",
        BalanceResponse,
        scope=Scope.READ,
        errors={
            HTTPStatus.NOT_FOUND: "`wallet_not_found`.",
            HTTPStatus.UNPROCESSABLE_ENTITY: "`validation_failed`, `unsupported_currency`.",
        },
    )
    def balance(path: UserPath, query: BalanceQuery) -> Response:
        """Get the balance of a wallet.

        The available and held amounts, and the latest transactions.
        """
        add_log_context(userId=path.user_id)
        wallet = bv.balance(path.user_id, currency=query.currency)
        criteria = Search(user_id=path.user_id, currency=wallet.available.currency, limit=RECENT_TRANSACTIONS)
        return success_response(
            BalanceResponse.of(wallet, bv.search(criteria)), f"{wallet.available.display} is available."
        )
