"""The sandbox's own calls: its book, the faults that are to strike, the float, and taking sales back. No key needed."""

from dataclasses import replace
from typing import Any, Final

from flask import Blueprint, Response, request

from billvend.adapters.provider.sandbox.entry import Entry
from billvend.adapters.provider.sandbox.faults import FAULTS, Fault, FaultRefused, Plan, Scope
from billvend.adapters.provider.sandbox.over_http.counter import (
    CURRENCY,
    Counter,
    amount,
    as_json,
    asked,
    word,
)
from billvend.domain.codec import instant
from billvend.domain.money import Money

MOST_TIMES: Final = 1_000_000


class BadControl(ValueError):
    """A control call that makes no sense. The message is one line for people."""


def control(counter: Counter) -> Blueprint:
    """Everything below `/_sandbox`."""
    calls = Blueprint("control", __name__)

    @calls.errorhandler(BadControl)
    @calls.errorhandler(FaultRefused)
    def refused(error: ValueError) -> Response:
        return as_json({"error": str(error)}, 400)

    @calls.get("/book")
    def book() -> Response:
        wanted = {name: request.args[name] for name in ("reference", "meter") if name in request.args}
        entries = (_shown(entry) for entry in counter.book.every())
        return as_json([entry for entry in entries if all(entry[name] == wanted[name] for name in wanted)])

    @calls.get("/faults")
    def faults() -> Response:
        plans = [_plan_shown(plan) for plan in counter.book.plans()]
        return as_json(
            {"plans": plans, "faults": {name: behaviour.told for name, behaviour in FAULTS.items()}}
        )

    @calls.post("/faults")
    def plan() -> Response:
        plan = _plan(_fields("fault", "requeries", "naira", "times", *Scope))
        counter.book.plan(plan)
        return as_json(_plan_shown(plan), 201)

    @calls.delete("/faults")
    def clear() -> Response:
        return as_json({"cleared": counter.book.clear_plans()})

    @calls.post("/float")
    def set_float() -> Response:
        fields = _fields("naira")
        if "naira" not in fields:
            raise BadControl("naira must be given: an amount, 0, or null for a float without end")
        left = fields["naira"]
        counter.book.set_float(None if left is None else 0 if word(left) == "0" else _amount(left))
        return as_json({"balance": str(counter.desk.ask_float())})

    @calls.post("/take-back")
    def take_back() -> Response:
        reference = word(_fields("reference").get("reference"))
        if reference is None:
            raise BadControl("reference must be given")
        try:
            entry = counter.desk.take_back(reference)
        except LookupError as error:
            return as_json({"error": str(error)}, 404)
        counter.hooks.taken_back(entry)
        return as_json(_shown(entry))

    return calls


def _fields(*names: str) -> dict[str, Any]:
    fields = asked()
    if strangers := sorted(fields.keys() - set(names)):
        raise BadControl(f"{strangers[0]!a} is no field of this call; there are {', '.join(names)}")
    return fields


def _plan(fields: dict[str, Any]) -> Plan:
    scopes = [scope for scope in Scope if scope in fields]
    if len(scopes) != 1:
        raise BadControl("give one of meter, reference and next")
    (scope,) = scopes
    least = None if fields.get("naira") is None else _amount(fields["naira"])
    fault = Fault(word(fields.get("fault")) or "", _count(fields, "requeries"), least)
    times = _count(fields, "times")
    if scope is Scope.NEXT:
        if times is not None:
            raise BadControl("next says how often already: leave times out")
        return Plan(fault, scope, times_left=_count(fields, "next") or 1)
    target = word(fields[scope])
    if target is None:
        raise BadControl(f"{scope} must be a plain word")
    return Plan(fault, scope, target, times)


def _count(fields: dict[str, Any], name: str) -> int | None:
    given = fields.get(name)
    if given is None:
        return None
    text = word(given) or ""
    if not (text.isdigit() and len(text) <= 7 and 1 <= int(text) <= MOST_TIMES):
        raise BadControl(f"{name} must be a whole number from 1 to {MOST_TIMES}")
    return int(text)


def _amount(given: object) -> int:
    found = amount(given)
    if found is None:
        raise BadControl("naira must be an amount such as 1000 or 999.50")
    return found.amount_minor


def _plan_shown(plan: Plan) -> dict[str, Any]:
    least = plan.fault.minimum_minor
    return {
        "fault": plan.fault.name,
        "scope": plan.scope,
        "target": plan.target,
        "requeries": plan.fault.requeries,
        "naira": None if least is None else str(Money(least, CURRENCY)),
        "timesLeft": plan.times_left,
    }


def _shown(entry: Entry) -> dict[str, Any]:
    cost = None if entry.cost_minor is None else str(replace(entry, amount_minor=entry.cost_minor).amount)
    return {
        "reference": entry.reference,
        "status": entry.status,
        "timesVended": entry.vends,
        "meter": entry.meter,
        "biller": entry.biller,
        "vendType": entry.vend_type,
        "amount": str(entry.amount),
        "cost": cost,
        "currency": entry.currency,
        "token": entry.token,
        "units": entry.units,
        "receipt": dict(entry.receipt),
        "providerReference": entry.provider_reference,
        "sends": entry.sends,
        "requeries": entry.requeries,
        "fault": entry.fault,
        "code": entry.code,
        "reason": entry.reason,
        "receivedAt": instant(entry.received_at),
        "vendedAt": None if entry.vended_at is None else instant(entry.vended_at),
    }
