"""Deposits at a gateway, in the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from billvend.adapters.storage.database import Database, make_storable, translate_errors
from billvend.adapters.storage.tables import deposits, transactions
from billvend.domain.errors import Unavailable
from billvend.domain.money import Money
from billvend.ports.deposits import Deposit

MAX_ADD_TRIES = 3
"""How often a new deposit is tried. Another deposit can take the same key and release it at the same moment."""

_columns = deposits.c
_IS_ITS_FUNDING = sa.and_(
    transactions.c.user_id == _columns.user_id,
    transactions.c.source == _columns.source,
    transactions.c.reference == _columns.reference,
)
"""The funding that credited a deposit. A unique index allows one."""


class SqlDeposits:
    """See `billvend.ports.deposits.Deposits`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, deposit: Deposit) -> Deposit:
        """Store a new deposit, unless its key belongs to another one: the unique constraint decides."""
        for _ in range(MAX_ADD_TRIES):
            if self._try_insert(deposit):
                return deposit
            found = self._find_one(sa.and_(_columns.user_id == deposit.user_id, _columns.key == deposit.key))
            if found is not None:
                return found
        raise Unavailable("The deposit could not be stored. Nothing was done: try again.")

    def _try_insert(self, deposit: Deposit) -> bool:
        with translate_errors():
            try:
                with self._database.write_transaction() as connection:
                    self._database.insert(connection, deposits, [_to_row(deposit)])
            except IntegrityError:
                return False
        return True

    def find(self, reference: str) -> Deposit | None:
        """The deposit with this reference."""
        if make_storable(reference) != reference:
            return None
        return self._find_one(_columns.reference == reference)

    def _find_one(self, condition: sa.ColumnElement[bool]) -> Deposit | None:
        with translate_errors(), self._database.read_transaction() as connection:
            row = connection.execute(sa.select(deposits).where(condition).limit(1)).one_or_none()
        return None if row is None else _to_deposit(row)

    def set_authorization_url(self, deposit: Deposit, authorization_url: str) -> bool:
        """Store where the customer pays."""
        same_key = _columns.key.is_not_distinct_from(deposit.key)
        return self._update(deposit, same_key, authorization_url=make_storable(authorization_url))

    def release_key(self, deposit: Deposit) -> None:
        """Free the key for another deposit, unless this one can be paid."""
        self._update(deposit, _columns.authorization_url.is_(None), key=None)

    def set_problem(self, deposit: Deposit, problem: str | None) -> bool:
        """Store a problem for an operator, or that there is none."""
        stored = None if problem is None else make_storable(problem)
        return self._update(
            deposit, _columns.problem.is_distinct_from(stored), problem=stored, acknowledged_at=None
        )

    def acknowledge(self, deposit: Deposit, at: datetime) -> None:
        """Store that an operator has acknowledged the problem."""
        self._update(deposit, _columns.problem.is_not(None), acknowledged_at=at)

    def unpaid(self, spans: Sequence[tuple[datetime, datetime]]) -> list[Deposit]:
        """Deposits that are not credited; see the port."""
        created_in_span = [
            sa.and_(_columns.created_at > after, _columns.created_at <= until) for after, until in spans
        ]
        query = (
            sa.select(deposits)
            .where(
                sa.or_(*created_in_span),
                _columns.authorization_url.is_not(None),
                _columns.problem.is_(None),
                ~sa.exists().where(_IS_ITS_FUNDING),
            )
            .order_by(_columns.created_at, _columns.reference)
        )
        with translate_errors(), self._database.read_transaction() as connection:
            return [_to_deposit(row) for row in connection.execute(query)]

    def newest(self, limit: int) -> list[tuple[Deposit, str | None]]:
        """The newest deposits, each with the transaction that credited it."""
        transaction_id = sa.select(transactions.c.transaction_id).where(_IS_ITS_FUNDING).scalar_subquery()
        query = (
            sa.select(deposits, transaction_id.label("transaction_id"))
            .order_by(_columns.created_at.desc(), _columns.reference.desc())
            .limit(limit)
        )
        with translate_errors(), self._database.read_transaction() as connection:
            return [(_to_deposit(row), row.transaction_id) for row in connection.execute(query)]

    def with_problems(self, limit: int) -> list[Deposit]:
        """Deposits whose problem no operator has acknowledged."""
        query = (
            sa.select(deposits)
            .where(_columns.problem.is_not(None), _columns.acknowledged_at.is_(None))
            .order_by(_columns.created_at, _columns.reference)
            .limit(limit)
        )
        with translate_errors(), self._database.read_transaction() as connection:
            return [_to_deposit(row) for row in connection.execute(query)]

    def _update(self, deposit: Deposit, condition: sa.ColumnElement[bool], **values: object) -> bool:
        """Change the row of a deposit if the condition holds. Returns whether it did."""
        update = (
            sa.update(deposits)
            .where(_columns.user_id == deposit.user_id, _columns.reference == deposit.reference, condition)
            .values(**values)
        )
        with translate_errors(), self._database.write_transaction() as connection:
            return connection.execute(update).rowcount > 0


def _to_row(deposit: Deposit) -> dict[str, Any]:
    return {
        "user_id": deposit.user_id,
        "reference": deposit.reference,
        "key": deposit.key,
        "source": deposit.source,
        "amount_minor": deposit.amount.amount_minor,
        "currency": deposit.amount.currency,
        "email": deposit.email,
        "authorization_url": deposit.authorization_url,
        "created_at": deposit.created_at,
        "problem": deposit.problem,
        "acknowledged_at": deposit.acknowledged_at,
        "email_may_get_tokens": int(deposit.email_may_get_tokens),
    }


def _to_deposit(row: sa.Row[Any]) -> Deposit:
    return Deposit(
        user_id=row.user_id,
        reference=row.reference,
        key=row.key,
        source=row.source,
        amount=Money(row.amount_minor, row.currency),
        email=row.email,
        created_at=row.created_at,
        authorization_url=row.authorization_url,
        problem=row.problem,
        acknowledged_at=row.acknowledged_at,
        email_may_get_tokens=bool(row.email_may_get_tokens),
    )
