"""Calls about bills: pay one or many, look up a meter, list the billers."""

from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Response, url_for

from billvend.api.parsing import validate
from billvend.api.request_hooks import add_log_context
from billvend.api.requests import (
    BatchEntryRequest,
    BatchRequest,
    IdempotencyKeyHeader,
    PayRequest,
    VerifyRequest,
)
from billvend.api.responses import (
    BatchEntryResponse,
    BatchResponse,
    ErrorDetail,
    public_code,
    success_response,
)
from billvend.api.routing import ApiRouter
from billvend.domain.api_keys import Scope
from billvend.domain.errors import BillvendError, ValidationFailed
from billvend.presentation.errors import http_status
from billvend.presentation.models import BillerResponse, BillersResponse, MeterResponse
from billvend.presentation.transaction_models import PayResponse
from billvend.usecases.pay import Bill, PaymentResult

PAY_ERRORS = {
    HTTPStatus.PAYMENT_REQUIRED: "`insufficient_funds`: nothing was held.",
    HTTPStatus.NOT_FOUND: "`wallet_not_found`.",
    HTTPStatus.CONFLICT: "`likely_duplicate` (pass it with `allowDuplicate`), or `request_in_progress` with `Retry-After`.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "`validation_failed` with `fields`, `invalid_amount`, `invalid_meter`, `unknown_biller`, "
    "`idempotency_mismatch`, `meter_not_found`, `meter_cannot_vend`, `wrong_meter_type`, `below_minimum`: nothing was held.",
    HTTPStatus.SERVICE_UNAVAILABLE: "`unavailable` or `provider_unavailable`: nothing was held. `outcome_unknown`: repeat it "
    "with the `idempotencyKey` that the answer names.",
}


def add_routes(router: ApiRouter) -> None:
    """Add the calls."""
    bv = router.bv

    @router.call(
        "POST /bills/pay", PayResponse, scope=Scope.PAY, status=HTTPStatus.ACCEPTED, errors=PAY_ERRORS
    )
    def pay(header: IdempotencyKeyHeader, body: PayRequest) -> Response:
        """Pay an electricity bill.

        The money is held before this returns, and captured or released exactly once. Follow the payment at `Location`.
        """
        key = header.idempotency_key
        add_log_context(userId=body.user_id)
        with router.keyed_lock.acquire("pay", body.user_id, key):
            result = bv.accept(body.to_bill(key))
        add_log_context(transactionId=result.payment.transaction_id)
        location = url_for(".transaction", transactionId=result.payment.transaction_id)
        return success_response(
            PayResponse.of(result.payment, bv.now()),
            "The payment is accepted. Its money is held.",
            HTTPStatus.ACCEPTED,
            replayed=result.replayed,
            location=location,
        )

    @router.call(
        "POST /bills/pay/batch",
        BatchResponse,
        scope=Scope.PAY,
        status=HTTPStatus.MULTI_STATUS,
        errors={HTTPStatus.CONFLICT: "`request_in_progress` with `Retry-After`."},
    )
    def pay_many(header: IdempotencyKeyHeader, body: BatchRequest) -> Response:
        """Pay many bills.

        Entries are independent: a rejected entry does not stop the others. With a key, or with keys of the entries, a
        repeat processes only missing entries. The worker checks the meters before it sends anything.
        """
        key = header.idempotency_key
        with router.keyed_lock.acquire("batch", "", key):
            entries = [_parse_entry(router, entry, key, index) for index, entry in enumerate(body.payments)]
            payments = iter(bv.pay_many([item for item in entries if isinstance(item, Bill)]))
            results = [next(payments) if isinstance(item, Bill) else item for item in entries]
        replayed = sum(isinstance(item, PaymentResult) and item.replayed for item in results)
        rejections = [item for item in results if isinstance(item, BillvendError)]
        for rejection in rejections:
            bv.count_rejection(public_code(rejection))
        data = BatchResponse(
            accepted=len(results) - replayed - len(rejections),
            replayed=replayed,
            refused=len(rejections),
            results=[_batch_result(item, bv.now()) for item in results],
        )
        message = f"{data.accepted} accepted, {replayed} already processed, {len(rejections)} rejected."
        return success_response(data, message, HTTPStatus.MULTI_STATUS, replayed=replayed == len(results))

    @router.call(
        "POST /bills/verify",
        MeterResponse,
        scope=Scope.PAY,
        errors={
            HTTPStatus.UNPROCESSABLE_ENTITY: "`validation_failed`, `invalid_meter`, `unknown_biller`, `meter_not_found`, "
            "`meter_cannot_vend`, `wrong_meter_type`.",
            HTTPStatus.SERVICE_UNAVAILABLE: "`provider_unavailable`: the provider cannot be asked now.",
        },
    )
    def verify(body: VerifyRequest) -> Response:
        """Look up a meter.

        Asks the provider. Nothing is bought or held.
        """
        details = bv.meter(body.meter_number, biller=body.biller, vend_type=body.vend_type)
        data = MeterResponse.of(details, body.meter_number, body.biller, body.vend_type, bv.currency)
        return success_response(data, "The meter is known.")

    @router.call("GET /billers", BillersResponse, scope=Scope.READ)
    def billers() -> Response:
        """List the billers."""
        data = BillersResponse(items=[BillerResponse.model_validate(biller) for biller in bv.billers()])
        return success_response(data, f"{len(data.items)} billers.")


def _parse_entry(router: ApiRouter, entry: Any, key: str | None, index: int) -> Bill | BillvendError:
    """One entry as a bill, or its error. Without its own key, its position makes its key."""
    try:
        if not isinstance(entry, dict):
            raise ValidationFailed(
                "The entry is invalid: it must be a JSON object. Nothing was done.",
                fields={f"payments.{index}": "must be a JSON object"},
            )
        body = validate(BatchEntryRequest, entry, strict=router.strict)
    except BillvendError as error:
        return error
    own_key = body.idempotency_key
    return body.to_bill(own_key if own_key is not None or key is None else f"{key}/{index}")


def _batch_result(result: PaymentResult | BillvendError, now: datetime) -> BatchEntryResponse:
    if isinstance(result, BillvendError):
        return BatchEntryResponse(
            status=http_status(result), success=False, replayed=False, data=None, error=ErrorDetail.of(result)
        )
    return BatchEntryResponse(
        status=HTTPStatus.ACCEPTED,
        success=True,
        replayed=result.replayed,
        data=PayResponse.of(result.payment, now),
        error=None,
    )
