"""Deposits at a gateway, in the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from billvend.adapters.storage.database import make_storable
from billvend.adapters.storage.repository import Repository, storable
from billvend.adapters.storage.tables import deposits, transactions
from billvend.domain.errors import Unavailable
from billvend.domain.money import Money
from billvend.ports.repositories import Deposit

MAX_ADD_TRIES = 3
"""How often a new deposit is tried. Another deposit can take the same key and release it at the same moment."""

_columns = deposits.c
_SAME_NAMES = (
    "user_id", "reference", "key", "source", "email", "authorization_url", "created_at", "problem", "acknowledged_at",
)  # fmt: skip
"""The fields that have the same name and type as their columns."""
_transaction_id = (
    sa.select(transactions.c.transaction_id)
    .where(
        transactions.c.user_id == _columns.user_id,
        transactions.c.source == _columns.source,
        transactions.c.reference == _columns.reference,
    )
    .scalar_subquery()
)
"""The funding that credited a deposit. A unique index allows one."""
_select = sa.select(deposits, _transaction_id.label("transaction_id"))


class SqlDeposits(Repository):
    """See `billvend.ports.repositories.Deposits`."""

    def add(self, deposit: Deposit) -> Deposit:
        """Store a new deposit, unless its key belongs to another one: the unique constraint decides."""
        same_key = sa.and_(_columns.user_id == deposit.user_id, _columns.key == deposit.key)
        for _ in range(MAX_ADD_TRIES):
            if self._insert(deposits, _to_row(deposit)):
                return deposit
            if found := self._deposits(_select.where(same_key)):
                return found[0]
        raise Unavailable("The deposit could not be stored. Nothing was done: try again.")

    def get(self, reference: str) -> Deposit | None:
        """The deposit with this reference."""
        found = self._deposits(_select.where(_columns.reference == make_storable(reference)).limit(1))
        return found[0] if found else None

    def update(self, deposit: Deposit, **changes: str | datetime | None) -> bool:
        """Change fields that still have the values of `deposit`."""
        is_unchanged = (_columns[name].is_not_distinct_from(getattr(deposit, name)) for name in changes)
        is_this_one = (_columns.user_id == deposit.user_id, _columns.reference == deposit.reference)
        update = sa.update(deposits).where(*is_this_one, *is_unchanged).values(**storable(changes))
        return self._change(update) > 0

    def newest(self, limit: int) -> list[Deposit]:
        """The newest deposits."""
        newest_first = (_columns.created_at.desc(), _columns.reference.desc())
        return self._deposits(_select.order_by(*newest_first).limit(limit))

    def unpaid(self, spans: Sequence[tuple[datetime, datetime]]) -> list[Deposit]:
        """Deposits that are not credited; see the port."""
        query = _select.where(
            sa.or_(*(sa.and_(_columns.created_at > after, _columns.created_at <= until) for after, until in spans)),
            _columns.authorization_url.is_not(None),
            _columns.problem.is_(None),
            _transaction_id.is_(None),
        )  # fmt: skip
        return self._deposits(query.order_by(_columns.created_at, _columns.reference))

    def with_problems(self, limit: int) -> list[Deposit]:
        """Deposits whose problem no operator has acknowledged."""
        query = _select.where(_columns.problem.is_not(None), _columns.acknowledged_at.is_(None))
        return self._deposits(query.order_by(_columns.created_at, _columns.reference).limit(limit))

    def _deposits(self, query: sa.Select[Any]) -> list[Deposit]:
        return [_to_deposit(row) for row in self._read(query)]


def _to_row(deposit: Deposit) -> dict[str, Any]:
    return {name: getattr(deposit, name) for name in _SAME_NAMES} | {
        "amount_minor": deposit.amount.amount_minor,
        "currency": deposit.amount.currency,
        "email_may_get_tokens": int(deposit.email_may_get_tokens),
    }


def _to_deposit(row: sa.Row[Any]) -> Deposit:
    return Deposit(
        **{name: getattr(row, name) for name in _SAME_NAMES},
        amount=Money(row.amount_minor, row.currency),
        email_may_get_tokens=bool(row.email_may_get_tokens),
        transaction_id=row.transaction_id,
    )
