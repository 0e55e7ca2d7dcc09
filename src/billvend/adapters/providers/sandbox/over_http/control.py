"""The sandbox's own calls: list sales, plan faults, set the float, reverse sales. They need no key."""

from typing import Any, Final

from flask import Blueprint, Response, request

from billvend.adapters.providers.sandbox.faults import BEHAVIOUR_BY_FAULT, FaultPlan, PlanScope, SandboxFault
from billvend.adapters.providers.sandbox.over_http.http_sandbox import (
    CURRENCY,
    HttpSandbox,
    json_response,
    parse_naira,
    parse_request,
    parse_text,
)
from billvend.adapters.providers.sandbox.sale import SaleRecord
from billvend.domain.journal.codec import format_timestamp
from billvend.domain.money import Money

MAX_TIMES: Final = 1_000_000


class InvalidControlRequest(ValueError):
    """An invalid control request. The message is one line for people."""


def control(sandbox: HttpSandbox) -> Blueprint:
    """Everything below `/_sandbox`."""
    calls = Blueprint("control", __name__)

    @calls.errorhandler(InvalidControlRequest)
    def invalid_request(error: InvalidControlRequest) -> Response:
        return json_response({"error": str(error)}, 400)

    @calls.get("/book")
    def list_records() -> Response:
        filters = {name: request.args[name] for name in ("reference", "meter") if name in request.args}
        records = (_record_json(record) for record in sandbox.store.records())
        return json_response(
            [record for record in records if all(record[name] == filters[name] for name in filters)]
        )

    @calls.get("/faults")
    def list_faults() -> Response:
        plans = [_plan_json(plan) for plan in sandbox.store.list_plans()]
        faults = {name: behaviour.description for name, behaviour in BEHAVIOUR_BY_FAULT.items()}
        return json_response({"plans": plans, "faults": faults})

    @calls.post("/faults")
    def add_plan() -> Response:
        plan = _parse_plan(_request_fields("fault", "requeries", "naira", "times", *PlanScope))
        sandbox.store.add_plan(plan)
        return json_response(_plan_json(plan), 201)

    @calls.delete("/faults")
    def clear() -> Response:
        return json_response({"cleared": sandbox.store.clear_plans()})

    @calls.post("/float")
    def set_float() -> Response:
        fields = _request_fields("naira")
        if "naira" not in fields:
            raise InvalidControlRequest("naira is required: an amount, 0, or null for a float without limit")
        is_zero = parse_text(fields["naira"]) == "0"
        sandbox.store.set_float_minor(0 if is_zero else _parse_naira_minor(fields))
        return json_response({"balance": str(sandbox.simulator.fetch_float())})

    @calls.post("/take-back")
    def reverse_sale() -> Response:
        reference = parse_text(_request_fields("reference").get("reference"))
        if reference is None:
            raise InvalidControlRequest("reference is required")
        try:
            record = sandbox.store.reverse_sale(reference)
        except LookupError as error:
            return json_response({"error": str(error)}, 404)
        sandbox.webhooks.schedule(lambda: record)
        return json_response(_record_json(record))

    return calls


def _request_fields(*names: str) -> dict[str, Any]:
    fields = parse_request()
    if unknown := sorted(fields.keys() - set(names)):
        raise InvalidControlRequest(
            f"{unknown[0]!a} is not a field of this call. The fields are: {', '.join(names)}"
        )
    return fields


def _parse_plan(fields: dict[str, Any]) -> FaultPlan:
    scopes = [scope for scope in PlanScope if scope in fields]
    if len(scopes) != 1:
        raise InvalidControlRequest("exactly one of meter, reference and next is required")
    (scope,) = scopes
    fault = SandboxFault(
        parse_text(fields.get("fault")) or "", _parse_count(fields, "requeries"), _parse_naira_minor(fields)
    )
    times = _parse_count(fields, "times")
    if scope is PlanScope.NEXT:
        if times is not None:
            raise InvalidControlRequest("leave times out: next already says how often")
        return FaultPlan(fault, scope, times_left=_parse_count(fields, "next") or 1)
    target = parse_text(fields[scope])
    if target is None:
        raise InvalidControlRequest(f"{scope} must be 1 to 100 printable ASCII characters")
    return FaultPlan(fault, scope, target, times)


def _parse_count(fields: dict[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    text = parse_text(value) or ""
    if not (text.isdigit() and len(text) <= 7 and 1 <= int(text) <= MAX_TIMES):
        raise InvalidControlRequest(f"{name} must be a whole number from 1 to {MAX_TIMES}")
    return int(text)


def _parse_naira_minor(fields: dict[str, Any]) -> int | None:
    value = fields.get("naira")
    amount = parse_naira(value)
    if value is not None and amount is None:
        raise InvalidControlRequest("naira must be an amount such as 1000 or 999.50")
    return None if amount is None else amount.amount_minor


def _plan_json(plan: FaultPlan) -> dict[str, Any]:
    return {
        "fault": plan.fault.name,
        "scope": plan.scope,
        "target": plan.target,
        "requeries": plan.fault.requeries,
        "naira": _naira(plan.fault.minimum_minor),
        "timesLeft": plan.times_left,
    }


def _record_json(record: SaleRecord) -> dict[str, Any]:
    return {
        "reference": record.reference,
        "status": record.status,
        "timesVended": record.vends,
        "meter": record.meter,
        "biller": record.biller,
        "vendType": record.vend_type,
        "amount": str(record.amount),
        "cost": _naira(record.cost_minor),
        "currency": record.currency,
        "token": record.token,
        "units": record.units,
        "receipt": dict(record.receipt),
        "providerReference": record.provider_reference,
        "sends": record.sends,
        "requeries": record.requeries,
        "fault": record.fault,
        "code": record.code,
        "reason": record.reason,
        "receivedAt": format_timestamp(record.received_at),
        "vendedAt": None if record.vended_at is None else format_timestamp(record.vended_at),
    }


def _naira(amount_minor: int | None) -> str | None:
    return None if amount_minor is None else str(Money(amount_minor, CURRENCY))
