"""The simulator takes sends and requeries, and writes the sales store. Only it sells.

It decides the `Answer` and how that is delivered. In process, `provider` delivers it. Over HTTP, the server writes it
in the words of a real provider and delivers it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from billvend.adapters.providers.billers import BILLER_BY_CODE
from billvend.adapters.providers.sandbox.faults import (
    BEHAVIOUR_BY_FAULT,
    MINIMUM,
    Behaviour,
    DeliveryFault,
    Lasting,
    SandboxFault,
    Webhook,
    behaviour_of,
)
from billvend.adapters.providers.sandbox.sale import SaleRecord, SaleStatus, cost_minor_of, customer_of
from billvend.adapters.providers.sandbox.sales_store import SalesStore
from billvend.domain.enums import VendType
from billvend.domain.meter_lookup import (
    MeterFault,
    MeterFound,
    MeterLookupFailed,
    MeterLookupResult,
    MeterRejected,
)
from billvend.domain.money import Money
from billvend.domain.outcome import (
    Answer,
    Declined,
    Deferred,
    Delivered,
    Misconfigured,
    NotFound,
    Pending,
    Unknown,
)
from billvend.ports.provider import Order

PENDING_RETRY_AFTER_SECONDS: Final = 2
"""When to requery a pending sale, as the answers say."""
DEFAULT_FLOAT_MINOR: Final = 1_000_000_000_00
"""Our float if it was not set, in minor units. Sales do not reduce it."""
_LASTING_FAULTS: Final = BEHAVIOUR_BY_FAULT.keys() - {MINIMUM}
"""The faults that also influence requeries."""


@dataclass(frozen=True, slots=True)
class SimulatedReply:
    """The answer to a send or a requery, and how it is delivered."""

    answer: Answer
    delivery_fault: DeliveryFault = DeliveryFault.NONE
    delay_seconds: float = 0.0
    """Until the answer is delivered. Infinite is never within any deadline. A sale happens before the delay."""
    code: str = ""
    """Why, if the answer is no delivery: a code of `Behaviour`. The HTTP dialects translate it."""
    record: SaleRecord | None = None
    """The record after the call. None if the reference never arrived."""
    webhook: Webhook = Webhook.NONE


class Simulator:
    """Thread-safe. It sells in `currency` alone.

    Raises `Unavailable` if the sales store cannot be opened (nothing was sold), and `sqlite3.Error` if it fails later.
    """

    def __init__(self, store: SalesStore, *, currency: str, now: Callable[[], datetime]) -> None:
        self._store = store
        self._currency = currency
        self._now = now

    def send(
        self, order: Order, *, fault: SandboxFault | None = None, duplicate_window_seconds: int = 0
    ) -> SimulatedReply:
        """Process a request to sell. A known reference sells nothing.

        `fault` has priority over planned faults. Nothing is sold if another reference was accepted for the same meter
        and biller within the last `duplicate_window_seconds`.
        """
        with self._store.transaction():
            known = self._store.find(order.reference)
            if known is not None and known.status is not SaleStatus.REFUSED:
                known = replace(known, sends=known.sends + 1)
                self._store.save(known)
                return _duplicate_reply(known)
            since = self._now() - timedelta(seconds=duplicate_window_seconds)
            if duplicate_window_seconds and self._store.has_recent_sale(order.meter, order.biller, since):
                fault = SandboxFault("likely_duplicate")
            fault = fault or self._store.next_fault(reference=order.reference, meter=order.meter)
            behaviour = _behaviour(order.meter, fault)
            record = replace(self._accept(order, behaviour), sends=known.sends + 1 if known else 1)
            if fault is not None:
                record = replace(record, fault=fault.name, fault_requeries=fault.requeries)
            self._store.save(record)
        return _send_reply(
            record, behaviour, retry_after_seconds=duplicate_window_seconds or PENDING_RETRY_AFTER_SECONDS
        )

    def requery(self, reference: str) -> SimulatedReply:
        """What became of a reference. A requery may end a received or pending sale."""
        with self._store.transaction():
            record = self._store.find(reference)
            if record is None:
                return SimulatedReply(NotFound("no such reference"))
            record = replace(record, requeries=record.requeries + 1)
            behaviour = self._recorded_behaviour(record)
            is_open = record.status in (SaleStatus.RECEIVED, SaleStatus.PENDING)
            if is_open and not behaviour.lasts(Lasting.STATUS, record.requeries):
                record = self._with_status(record, behaviour.final_status, behaviour)
            self._store.save(record)
        if behaviour.lasts(Lasting.NO_ANSWER, record.requeries):
            return SimulatedReply(Unknown("no answer"), DeliveryFault.CONNECTION_CLOSED, record=record)
        if behaviour.lasts(Lasting.TOO_EARLY, record.requeries):
            too_early = Pending("asked too early", PENDING_RETRY_AFTER_SECONDS)
            return SimulatedReply(too_early, code="too_early", record=record)
        code = behaviour.answer_code if record.status is SaleStatus.PENDING else record.code
        return SimulatedReply(_answer_for(record, behaviour), code=code, record=record)

    def verify(
        self, meter: str, biller: str, vend_type: VendType, *, fault: SandboxFault | None = None
    ) -> MeterLookupResult:
        """The owner of a meter, and whether it may be sold to. A fault of sends to this meter applies here too."""
        fault = (
            fault
            or self._store.next_fault(meter=meter, for_verification=True)
            or self._store.planned_fault(meter=meter)
        )
        behaviour = _behaviour(meter, fault)
        if behaviour.is_verification_down:
            return MeterLookupFailed("verification is down")
        if biller not in BILLER_BY_CODE:
            return MeterRejected(MeterFault.METER_NOT_FOUND, f"{biller} is not sold here")
        if behaviour.reason_code == "no_such_meter":
            return MeterRejected(MeterFault.METER_NOT_FOUND, behaviour.description)
        if behaviour.reason_code == "cannot_vend":
            return MeterRejected(MeterFault.METER_CANNOT_VEND, behaviour.description)
        if vend_type not in behaviour.vend_types:
            return MeterRejected(MeterFault.WRONG_METER_TYPE, f"the meter is not {vend_type}")
        return MeterFound(*customer_of(meter), minimum_minor=behaviour.minimum_minor)

    def fetch_float(self) -> Money:
        """The rest of our float."""
        remaining_minor = self._store.float_minor()
        return Money(DEFAULT_FLOAT_MINOR if remaining_minor is None else remaining_minor, self._currency)

    def finish_pending(self, reference: str) -> SaleRecord:
        """End a pending sale. Raises `LookupError` if the reference never arrived."""
        with self._store.transaction():
            record = self._store.find(reference)
            if record is None:
                raise LookupError(f"no request with the reference {reference} arrived")
            if record.status is SaleStatus.PENDING:
                behaviour = self._recorded_behaviour(record)
                record = self._with_status(record, behaviour.final_status, behaviour)
                self._store.save(record)
            return record

    def _recorded_behaviour(self, record: SaleRecord) -> Behaviour:
        """A plan for the reference decides, else the fault of the send, else the meter."""
        fault = self._store.planned_fault(reference=record.reference)
        if fault is None and record.fault in _LASTING_FAULTS:
            fault = SandboxFault(record.fault, record.fault_requeries)
        return _behaviour(record.meter, fault)

    def _accept(self, order: Order, behaviour: Behaviour) -> SaleRecord:
        """The record of a new reference, sold or not."""
        amount = order.amount
        record = SaleRecord(
            reference=order.reference,
            meter=order.meter,
            biller=order.biller,
            vend_type=order.vend_type,
            amount_minor=amount.amount_minor,
            currency=amount.currency,
            received_at=self._now(),
            status=SaleStatus.REFUSED,
            code=behaviour.reason_code,
            reason=behaviour.description if behaviour.reason_code else "",
        )
        biller = BILLER_BY_CODE.get(order.biller)
        if biller is None or order.vend_type not in biller.vend_types:
            return replace(record, code="unknown_biller", reason=f"{order.biller} is not sold here")
        if amount.currency != self._currency or amount.amount_minor <= 0:
            return replace(record, code="invalid_amount", reason=f"{amount.display} can't be sold for")
        if behaviour.minimum_minor is not None and amount.amount_minor < behaviour.minimum_minor:
            minimum = Money(behaviour.minimum_minor, self._currency)
            return replace(record, code="below_minimum", reason=f"the minimum is {minimum.display}")
        if order.vend_type not in behaviour.vend_types:
            reason = f"the meter is not {order.vend_type}"
            return replace(record, status=SaleStatus.DECLINED, code="wrong_meter_type", reason=reason)
        if behaviour.status in (SaleStatus.VENDED, SaleStatus.PENDING):
            float_minor = self._store.float_minor()
            if float_minor is not None and float_minor < cost_minor_of(amount.amount_minor):
                return replace(record, code="low_float", reason="our float is too small")
        return self._with_status(record, behaviour.status, behaviour)

    def _with_status(self, record: SaleRecord, status: SaleStatus, behaviour: Behaviour) -> SaleRecord:
        if status is SaleStatus.VENDED:
            return record.sold(self._now(), has_key_change=behaviour.has_key_change)
        return replace(record, status=status)


def _behaviour(meter: str, fault: SandboxFault | None) -> Behaviour:
    own = behaviour_of(meter)
    return own if fault is None else replace(fault.behaviour, vend_types=own.vend_types)


def _duplicate_reply(record: SaleRecord) -> SimulatedReply:
    answer = Unknown("this reference exists already", known_to_provider=True)
    return SimulatedReply(answer, code="duplicate_reference", record=record)


def _send_reply(record: SaleRecord, behaviour: Behaviour, *, retry_after_seconds: int) -> SimulatedReply:
    """The answer to a new reference, true or false."""
    answer, code = _answer_for(record, behaviour), record.code
    if record.status is SaleStatus.REFUSED:
        answer = _rejection(record, retry_after_seconds)
    elif behaviour.answer_code == "duplicate_reference":
        return _duplicate_reply(record)
    elif behaviour.answer_code and record.status is SaleStatus.VENDED:
        answer, code = Unknown(behaviour.description), behaviour.answer_code
    elif record.status is SaleStatus.PENDING:
        code = behaviour.answer_code
    elif isinstance(answer, Delivered) and behaviour.echoed_meter:
        answer = replace(answer, meter=behaviour.echoed_meter)
    has_webhook = record.status in (SaleStatus.VENDED, SaleStatus.PENDING)
    webhook = behaviour.webhook if has_webhook else Webhook.NONE
    return SimulatedReply(answer, behaviour.delivery, behaviour.delay_seconds, code, record, webhook)


def _rejection(record: SaleRecord, retry_after_seconds: int) -> Answer:
    """The answer to a refused request. The reference stays unknown."""
    if record.code in ("low_float", "bad_credentials"):
        return Misconfigured(record.reason, record.code)
    if record.code == "likely_duplicate":
        return Deferred(record.reason, retry_after_seconds)
    return Declined(record.reason, record.code)


def _answer_for(record: SaleRecord, behaviour: Behaviour) -> Answer:
    """The true answer."""
    match record.status:
        case SaleStatus.REFUSED | SaleStatus.RECEIVED:
            return NotFound("no such reference")
        case SaleStatus.PENDING:
            return Pending("pending", retry_after_seconds=PENDING_RETRY_AFTER_SECONDS)
        case SaleStatus.DECLINED:
            return Declined(record.reason, record.code, about_transaction=True)
        case SaleStatus.TAKEN_BACK:
            return Declined(
                "the sale was reversed", "reversed", about_transaction=True, provider_reversed=True
            )
        case SaleStatus.VENDED:
            return Delivered(
                token=None if behaviour.lasts(Lasting.NO_TOKEN, record.requeries) else record.token,
                units=record.units,
                cost_minor=record.cost_minor,
                receipt=record.receipt,
                provider_reference=record.provider_reference,
                reference=record.reference,
                meter=record.meter,
                amount_minor=record.amount_minor,
            )
