"""Fundings that were announced to a gateway, in the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from billvend.adapters.storage.database import Database, failing_plainly, storable
from billvend.adapters.storage.tables import funding_intents, transactions
from billvend.domain.errors import Unavailable
from billvend.domain.money import Money
from billvend.ports.intents import Intent

KEEP_TRIES = 3
"""How often a new intent is tried whose key was given to another one, and freed again, in the same moment."""

_table = funding_intents.c


class SqlIntents:
    """See `billvend.ports.intents.Intents`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, intent: Intent) -> Intent:
        """Keep a new intent, unless its key stands for one already: the unique constraint decides."""
        for _ in range(KEEP_TRIES):
            if self._is_kept(intent):
                return intent
            found = self._one(sa.and_(_table.user_id == intent.user_id, _table.key == intent.key))
            if found is not None:
                return found
        raise Unavailable("The funding could not be written down. Nothing was done: try again.")

    def _is_kept(self, intent: Intent) -> bool:
        with failing_plainly():
            try:
                with self._database.writing() as connection:
                    self._database.insert(connection, funding_intents, [_row(intent)])
            except IntegrityError:
                return False
        return True

    def find(self, reference: str) -> Intent | None:
        """The intent with this reference."""
        if storable(reference) != reference:
            return None
        return self._one(_table.reference == reference)

    def _one(self, condition: sa.ColumnElement[bool]) -> Intent | None:
        with failing_plainly(), self._database.reading() as connection:
            row = connection.execute(sa.select(funding_intents).where(condition).limit(1)).one_or_none()
        return None if row is None else _intent(row)

    def note_url(self, intent: Intent, authorization_url: str) -> bool:
        """Keep where the customer pays."""
        same_key = _table.key.is_not_distinct_from(intent.key)
        return self._update(intent, same_key, authorization_url=storable(authorization_url))

    def free_key(self, intent: Intent) -> None:
        """Let the key stand for another intent, unless this one can be paid."""
        self._update(intent, _table.authorization_url.is_(None), key=None)

    def note_problem(self, intent: Intent, problem: str | None) -> bool:
        """Keep what a person has to see."""
        told = None if problem is None else storable(problem)
        return self._update(intent, _table.problem.is_distinct_from(told), problem=told, seen_at=None)

    def note_seen(self, intent: Intent, at: datetime) -> None:
        """Somebody has seen to the problem."""
        self._update(intent, _table.problem.is_not(None), seen_at=at)

    def unpaid(self, spans: Sequence[tuple[datetime, datetime]]) -> list[Intent]:
        """Those of which no money has come."""
        funding = transactions.c
        came = sa.exists().where(
            funding.user_id == _table.user_id,
            funding.source == _table.source,
            funding.reference == _table.reference,
        )
        announced = [sa.and_(_table.created_at > after, _table.created_at <= until) for after, until in spans]
        query = (
            sa.select(funding_intents)
            .where(sa.or_(*announced), _table.authorization_url.is_not(None), _table.problem.is_(None), ~came)
            .order_by(_table.created_at, _table.reference)
        )
        with failing_plainly(), self._database.reading() as connection:
            return [_intent(row) for row in connection.execute(query)]

    def with_problems(self, limit: int) -> list[Intent]:
        """Those with a problem that nobody has seen to."""
        query = (
            sa.select(funding_intents)
            .where(_table.problem.is_not(None), _table.seen_at.is_(None))
            .order_by(_table.created_at, _table.reference)
            .limit(limit)
        )
        with failing_plainly(), self._database.reading() as connection:
            return [_intent(row) for row in connection.execute(query)]

    def _update(self, intent: Intent, condition: sa.ColumnElement[bool], **values: object) -> bool:
        """Change the row of an intent where the condition holds; whether it did."""
        update = (
            sa.update(funding_intents)
            .where(_table.user_id == intent.user_id, _table.reference == intent.reference, condition)
            .values(**values)
        )
        with failing_plainly(), self._database.writing() as connection:
            return connection.execute(update).rowcount > 0


def _row(intent: Intent) -> dict[str, Any]:
    return {
        "user_id": intent.user_id,
        "reference": intent.reference,
        "key": intent.key,
        "source": intent.source,
        "amount_minor": intent.amount.amount_minor,
        "currency": intent.amount.currency,
        "email": intent.email,
        "authorization_url": intent.authorization_url,
        "created_at": intent.created_at,
        "problem": intent.problem,
        "seen_at": intent.seen_at,
        "email_may_get_tokens": int(intent.email_may_get_tokens),
    }


def _intent(row: sa.Row[Any]) -> Intent:
    return Intent(
        user_id=row.user_id,
        reference=row.reference,
        key=row.key,
        source=row.source,
        amount=Money(row.amount_minor, row.currency),
        email=row.email,
        created_at=row.created_at,
        authorization_url=row.authorization_url,
        problem=row.problem,
        seen_at=row.seen_at,
        email_may_get_tokens=bool(row.email_may_get_tokens),
    )
