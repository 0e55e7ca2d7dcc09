"""Calls about transactions: one, or a user's."""

from contextlib import suppress
from http import HTTPStatus

from flask import Response

from billvend.api.request_hooks import add_log_context
from billvend.api.requests import TransactionPath, TransactionsQuery, UserPath
from billvend.api.responses import success_response
from billvend.api.routing import ApiRouter
from billvend.domain.api_keys import Scope
from billvend.domain.errors import DependencyError
from billvend.domain.ids import parse_user_id
from billvend.domain.payment.state import Payment
from billvend.ports.queries import Search
from billvend.presentation.transaction_models import (
    TransactionDetailResponse,
    TransactionResponse,
    TransactionsResponse,
)


def add_routes(router: ApiRouter) -> None:
    """Add the calls."""
    bv = router.bv

    @router.call(
        "GET /transactions/<transactionId>",
        TransactionDetailResponse,
        scope=Scope.READ,
        errors={HTTPStatus.NOT_FOUND: "`transaction_not_found`."},
    )
    def transaction(path: TransactionPath) -> Response:
        """Get a transaction.

        With its attempts and events. For a payment in doubt this also requests an earlier requery, at most once an interval.
        """
        add_log_context(transactionId=path.transaction_id)
        record = bv.record(path.transaction_id)
        payment = record.transaction
        if not isinstance(payment, Payment):
            return success_response(TransactionDetailResponse.of(payment), "The wallet was funded.")
        with suppress(DependencyError):  # a hint, and no more
            bv.request_requery(payment)
        data = TransactionDetailResponse.with_events(payment, record.events, record.next_check_at)
        return success_response(data, str(data.message))

    @router.call(
        "GET /transactions/user/<billvend_user:userId>",
        TransactionsResponse,
        scope=Scope.READ,
        errors={
            HTTPStatus.UNPROCESSABLE_ENTITY: "`validation_failed`: an unknown query, or one out of its bounds."
        },
    )
    def transactions(path: UserPath, query: TransactionsQuery) -> Response:
        """List a user's transactions, newest first.

        Send `nextCursor` as `cursor` to get the next page. null: there is none.
        """
        add_log_context(userId=path.user_id)
        records = bv.search(
            Search(
                user_id=parse_user_id(path.user_id),
                statuses=(query.status,) if query.status else (),
                kind=query.type,
                before=query.cursor,
                limit=query.limit + 1,
            )
        )
        page = records[: query.limit]
        data = TransactionsResponse(
            items=[TransactionResponse.of(record.transaction, record.next_check_at) for record in page],
            next_cursor=page[-1].transaction.transaction_id if len(records) > query.limit else None,
        )
        return success_response(data, f"{len(page)} transactions.")
