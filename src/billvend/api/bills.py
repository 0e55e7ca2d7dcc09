"""Calls about bills: pay one or many, ask about a meter, list who can be paid."""

from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Response, request, url_for

from billvend.api.answers import answer, code_of, error_document
from billvend.api.bodies import BatchBody, BatchEntry, KeyHeader, PayBody, VerifyBody
from billvend.api.door import Door, about
from billvend.api.errors import status_of
from billvend.api.reading import idempotency_key
from billvend.api.repeats import accepted_document, replay_headers
from billvend.api.shapes import AcceptedShape, BatchShape, BillersShape, MeterShape
from billvend.domain.access import Scope
from billvend.domain.errors import BillvendError, ValidationFailed
from billvend.usecases.pay import Bill, Paid
from billvend.views import Document, biller_document, meter_document

PAY_REFUSALS = {
    HTTPStatus.PAYMENT_REQUIRED: "`insufficient_funds`: nothing was held.",
    HTTPStatus.NOT_FOUND: "`wallet_not_found`.",
    HTTPStatus.CONFLICT: "`likely_duplicate` (pass it with `allowDuplicate`), or `request_in_progress` with `Retry-After`.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "`validation_failed` with `fields`, `invalid_amount`, `invalid_meter`, `unknown_biller`, "
    "`idempotency_mismatch`, `meter_not_found`, `meter_cannot_vend`, `wrong_meter_type`, `below_minimum`: nothing was held.",
    HTTPStatus.SERVICE_UNAVAILABLE: "`unavailable` or `provider_unavailable`: nothing was held. `outcome_unknown`: repeat it "
    "with the `idempotencyKey` that the answer names.",
}


def add_to(door: Door) -> None:
    """Add the calls."""
    bv = door.bv

    @door.post("/bills/pay", AcceptedShape, scope=Scope.PAY, status=HTTPStatus.ACCEPTED, refuses=PAY_REFUSALS)
    def pay(header: KeyHeader, body: PayBody) -> Response:
        """Pay an electricity bill.

        The money is held when this answers, and spent or given back exactly once. Follow the payment at `Location`.
        """
        key = idempotency_key(request)
        about(userId=body.user_id)
        with door.alone("pay", body.user_id, key):
            paid = bv.accept(_bill(body, key))
        about(transactionId=paid.payment.transaction_id)
        location = url_for(".transaction", transactionId=paid.payment.transaction_id)
        return answer(
            accepted_document(paid.payment, bv.now()),
            "The payment is accepted, and its money reserved.",
            HTTPStatus.ACCEPTED,
            headers={"Location": location, **replay_headers(paid.replayed)},
        )

    @door.post(
        "/bills/pay/batch",
        BatchShape,
        scope=Scope.PAY,
        status=HTTPStatus.MULTI_STATUS,
        refuses={HTTPStatus.CONFLICT: "`request_in_progress` with `Retry-After`."},
    )
    def pay_many(header: KeyHeader, body: BatchBody) -> Response:
        """Pay many bills.

        Each is judged alone, and one refusal stops nothing. With a key, or keys of the entries' own, a repeat does only
        what is missing. Meters are asked about by the worker, before anything is sent.
        """
        key = idempotency_key(request)
        with door.alone("batch", "", key):
            read = [_entry(door, entry, key, place) for place, entry in enumerate(body.payments)]
            results = iter(bv.pay_many([found for found in read if isinstance(found, Bill)]))
            made = [next(results) if isinstance(found, Bill) else found for found in read]
        replayed = sum(isinstance(found, Paid) and found.replayed for found in made)
        refusals = [found for found in made if isinstance(found, BillvendError)]
        for refusal in refusals:
            bv.count_refusal(code_of(refusal))
        data: Document = {
            "accepted": len(made) - replayed - len(refusals),
            "replayed": replayed,
            "refused": len(refusals),
            "results": [_result(found, bv.now()) for found in made],
        }
        message = f"{data['accepted']} accepted, {replayed} were before, {len(refusals)} refused."
        headers = replay_headers(replayed == len(made))
        return answer(data, message, HTTPStatus.MULTI_STATUS, headers=headers)

    @door.post(
        "/bills/verify",
        MeterShape,
        scope=Scope.PAY,
        refuses={
            HTTPStatus.UNPROCESSABLE_ENTITY: "`validation_failed`, `invalid_meter`, `unknown_biller`, `meter_not_found`, "
            "`meter_cannot_vend`, `wrong_meter_type`.",
            HTTPStatus.SERVICE_UNAVAILABLE: "`provider_unavailable`: the electricity company can't be asked now.",
        },
    )
    def verify(body: VerifyBody) -> Response:
        """Whose meter is it.

        Asks the provider. Sells nothing, and holds nothing.
        """
        found = bv.meter(body.meter_number, biller=body.provider, vend_type=body.vend_type)
        data = meter_document(found, body.meter_number, body.provider, body.vend_type, bv.currency)
        return answer(data, "The meter is known.")

    @door.get("/billers", BillersShape, scope=Scope.READ)
    def billers() -> Response:
        """Who can be paid."""
        return answer({"items": [biller_document(biller) for biller in bv.billers()]}, "These can be paid.")


def _bill(body: PayBody, key: str | None) -> Bill:
    return Bill(
        body.user_id, body.amount, body.meter_number, body.provider, body.vend_type, body.phone, key,
        body.allow_duplicate,
    )  # fmt: skip


def _entry(door: Door, entry: Any, key: str | None, place: int) -> Bill | BillvendError:
    """One entry as a bill, or why it is none. Its place makes its key, where it has none of its own."""
    try:
        if not isinstance(entry, dict):
            raise ValidationFailed(
                "The entry is not accepted: it must be a JSON object. Nothing was done.",
                fields={f"payments.{place}": "must be a JSON object"},
            )
        body = door.read(BatchEntry, entry)
    except BillvendError as refusal:
        return refusal
    own = body.idempotency_key
    return _bill(body, own if own is not None or key is None else f"{key}/{place}")


def _result(found: Paid | BillvendError, now: datetime) -> Document:
    if isinstance(found, BillvendError):
        return {
            "status": status_of(found).value,
            "success": False,
            "replayed": False,
            "data": None,
            "error": error_document(found),
        }
    return {
        "status": HTTPStatus.ACCEPTED.value,
        "success": True,
        "replayed": found.replayed,
        "data": accepted_document(found.payment, now),
        "error": None,
    }
