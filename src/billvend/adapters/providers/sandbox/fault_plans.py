"""The table of fault plans in the file of the sales store."""

import sqlite3
from typing import Final

from billvend.adapters.providers.sandbox.faults import FaultPlan, PlanScope, SandboxFault

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS fault_plan (
    id INTEGER PRIMARY KEY, scope TEXT NOT NULL, target TEXT NOT NULL, for_verification INTEGER NOT NULL,
    fault TEXT NOT NULL, requeries INTEGER, minimum_minor INTEGER, times_left INTEGER
);
"""
_SELECT: Final = "SELECT id, fault, requeries, minimum_minor, scope, target, times_left FROM fault_plan"
_SELECT_MATCHING: Final = (
    f"{_SELECT} WHERE for_verification = ?"
    " AND ((scope = 'reference' AND target = ?) OR (scope = 'meter' AND target = ?) OR (scope = 'next' AND ?))"
    " ORDER BY CASE scope WHEN 'reference' THEN 1 WHEN 'meter' THEN 2 ELSE 3 END, id LIMIT 1"
)


def add(connection: sqlite3.Connection, plan: FaultPlan) -> None:
    """Store a plan. It replaces the earlier one for the same meter or reference."""
    for_verification = plan.fault.is_for_verification
    if plan.scope is not PlanScope.NEXT:
        same = (plan.scope, plan.target, for_verification)
        connection.execute(
            "DELETE FROM fault_plan WHERE scope = ? AND target = ? AND for_verification = ?", same
        )
    connection.execute(
        "INSERT INTO fault_plan (scope, target, for_verification, fault, requeries, minimum_minor, times_left)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (plan.scope, plan.target, for_verification, plan.fault.name, plan.fault.requeries, plan.fault.minimum_minor,
         plan.times_left),
    )  # fmt: skip


def list_plans(connection: sqlite3.Connection) -> list[FaultPlan]:
    """All plans, the oldest first."""
    return [_to_plan(row) for row in connection.execute(f"{_SELECT} ORDER BY id").fetchall()]


def clear(connection: sqlite3.Connection) -> int:
    """Delete all plans. Returns how many there were."""
    return connection.execute("DELETE FROM fault_plan").rowcount


def find_fault(
    connection: sqlite3.Connection, *, reference: str = "", meter: str = "", for_verification: bool = False
) -> SandboxFault | None:
    """The fault that is planned for a reference, else for a meter. The plan does not change."""
    row = connection.execute(_SELECT_MATCHING, (for_verification, reference, meter, False)).fetchone()
    return None if row is None else _to_plan(row).fault


def consume_fault(
    connection: sqlite3.Connection, *, reference: str = "", meter: str = "", for_verification: bool = False
) -> SandboxFault | None:
    """The fault that strikes now: planned for the reference, else for the meter, else for the next call.

    Counts it, and deletes a plan that has struck often enough.
    """
    row = connection.execute(_SELECT_MATCHING, (for_verification, reference, meter, True)).fetchone()
    if row is None:
        return None
    connection.execute("UPDATE fault_plan SET times_left = times_left - 1 WHERE id = ?", (row[0],))
    connection.execute("DELETE FROM fault_plan WHERE times_left <= 0")
    return _to_plan(row).fault


def _to_plan(row: tuple[int, str, int | None, int | None, str, str, int | None]) -> FaultPlan:
    _, name, requeries, minimum_minor, scope, target, times_left = row
    return FaultPlan(SandboxFault(name, requeries, minimum_minor), PlanScope(scope), target, times_left)
