"""Calls about transactions: one, or a user's."""

from contextlib import suppress
from http import HTTPStatus

from flask import Response

from billvend.api.answers import answer
from billvend.api.bodies import PageQuery, TransactionPath, UserPath
from billvend.api.door import Door, about
from billvend.api.shapes import PageShape, WholeTransactionShape
from billvend.domain.access import Scope
from billvend.domain.errors import Unreachable
from billvend.domain.names import parse_user_id
from billvend.domain.payment import Payment
from billvend.ports.books import Search
from billvend.views import Document, payment_document, transaction_document


def add_to(door: Door) -> None:
    """Add the calls."""
    bv = door.bv

    @door.get(
        "/transactions/<transactionId>",
        WholeTransactionShape,
        scope=Scope.READ,
        refuses={HTTPStatus.NOT_FOUND: "`transaction_not_found`."},
    )
    def transaction(path: TransactionPath) -> Response:
        """How a transaction stands.

        With its attempts and events. While a payment is in doubt, looking at it brings the next question to the provider
        forward, at most once an interval.
        """
        about(transactionId=path.transaction_id)
        found = bv.transaction(path.transaction_id)
        if not isinstance(found, Payment):
            return answer(transaction_document(found), "The wallet was funded.")
        with suppress(Unreachable):  # a hint, and no more
            bv.nudge(path.transaction_id)
        data: Document = payment_document(found, bv.events(found), bv.next_look_at(found))
        return answer(data, str(data["message"]))

    @door.get(
        "/transactions/user/<billvend_user:userId>",
        PageShape,
        scope=Scope.READ,
        refuses={
            HTTPStatus.UNPROCESSABLE_ENTITY: "`validation_failed`: a query that is not known or out of its bounds."
        },
    )
    def transactions(path: UserPath, query: PageQuery) -> Response:
        """A user's transactions, newest first.

        Give `nextCursor` back as `cursor` for the page that follows; null: there is none.
        """
        about(userId=path.user_id)
        found = bv.search(
            Search(
                user_id=parse_user_id(path.user_id),
                statuses=(query.status,) if query.status else (),
                kind=query.type,
                before=query.cursor,
                limit=query.limit + 1,
            )
        )
        page = found[: query.limit]
        data: Document = {
            "items": [
                transaction_document(each, bv.next_look_at(each) if isinstance(each, Payment) else None)
                for each in page
            ],
            "nextCursor": page[-1].transaction_id if len(found) > query.limit else None,
        }
        return answer(data, f"{len(page)} transactions.")
