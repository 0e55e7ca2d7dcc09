"""The plans of faults as they stand in the book's file."""

import sqlite3
from typing import Final

from billvend.adapters.provider.sandbox.faults import Fault, Plan, Scope

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS plan (
    id INTEGER PRIMARY KEY, scope TEXT NOT NULL, target TEXT NOT NULL, about_verification INTEGER NOT NULL,
    fault TEXT NOT NULL, requeries INTEGER, minimum_minor INTEGER, times_left INTEGER
);
"""
_SELECT: Final = "SELECT id, fault, requeries, minimum_minor, scope, target, times_left FROM plan"
_FITTING: Final = (
    f"{_SELECT} WHERE about_verification = ?"
    " AND ((scope = 'reference' AND target = ?) OR (scope = 'meter' AND target = ?) OR (scope = 'next' AND ?))"
    " ORDER BY CASE scope WHEN 'reference' THEN 1 WHEN 'meter' THEN 2 ELSE 3 END, id LIMIT 1"
)


def add(connection: sqlite3.Connection, plan: Plan) -> None:
    """Write a plan down, in place of the one that was made before for the same meter or reference."""
    about = plan.fault.is_about_verification
    if plan.scope is not Scope.NEXT:
        same = (plan.scope, plan.target, about)
        connection.execute("DELETE FROM plan WHERE scope = ? AND target = ? AND about_verification = ?", same)
    connection.execute(
        "INSERT INTO plan (scope, target, about_verification, fault, requeries, minimum_minor, times_left)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (plan.scope, plan.target, about, plan.fault.name, plan.fault.requeries, plan.fault.minimum_minor,
         plan.times_left),
    )  # fmt: skip


def read(connection: sqlite3.Connection) -> list[Plan]:
    """All of them, the oldest first."""
    return [_plan(row) for row in connection.execute(f"{_SELECT} ORDER BY id").fetchall()]


def clear(connection: sqlite3.Connection) -> int:
    """Forget them all; returns how many there were."""
    return connection.execute("DELETE FROM plan").rowcount


def look(
    connection: sqlite3.Connection, *, reference: str = "", meter: str = "", about_verification: bool = False
) -> Fault | None:
    """The fault that is planned for a reference, else for a meter. Leaves the plan as it is."""
    row = connection.execute(_FITTING, (about_verification, reference, meter, False)).fetchone()
    return None if row is None else _plan(row).fault


def strike(
    connection: sqlite3.Connection, *, reference: str = "", meter: str = "", about_verification: bool = False
) -> Fault | None:
    """The fault that strikes now: planned for the reference, else for the meter, else for whatever comes next.

    Counts it, and forgets a plan that has struck as often as it should.
    """
    row = connection.execute(_FITTING, (about_verification, reference, meter, True)).fetchone()
    if row is None:
        return None
    connection.execute("UPDATE plan SET times_left = times_left - 1 WHERE id = ?", (row[0],))
    connection.execute("DELETE FROM plan WHERE times_left <= 0")
    return _plan(row).fault


def _plan(row: tuple[int, str, int | None, int | None, str, str, int | None]) -> Plan:
    _, name, requeries, minimum_minor, scope, target, times_left = row
    return Plan(Fault(name, requeries, minimum_minor), Scope(scope), target, times_left)
