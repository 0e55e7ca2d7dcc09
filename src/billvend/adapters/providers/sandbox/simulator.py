"""The simulator takes sends and requeries, and writes the sales store. Only it sells.

It decides the `Answer` and how that is delivered. In process, `provider` delivers it. Over HTTP, the server writes it
in the words of a real provider and delivers it.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from billvend.adapters.providers.billers import BILLER_BY_CODE
from billvend.adapters.providers.sandbox import meters
from billvend.adapters.providers.sandbox.customer import customer_of
from billvend.adapters.providers.sandbox.faults import BEHAVIOUR_BY_FAULT, MINIMUM, SandboxFault
from billvend.adapters.providers.sandbox.meters import (
    Behaviour,
    DeliveryFault,
    WebhookBehaviour,
    behaviour_of,
)
from billvend.adapters.providers.sandbox.sale import key_change_of, sale_of
from billvend.adapters.providers.sandbox.sale_record import SaleRecord, SaleStatus
from billvend.adapters.providers.sandbox.sales_store import RecordUpdate, SalesStore
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
_CONFIGURATION_CODES: Final = frozenset({meters.LOW_FLOAT, meters.BAD_CREDENTIALS})


@dataclass(frozen=True, slots=True)
class SimulatedReply:
    """The answer to a send or a requery, and how it is delivered."""

    answer: Answer
    delivery_fault: DeliveryFault = DeliveryFault.NONE
    delay_seconds: float = 0.0
    """Until the answer is delivered. Infinite is never within any deadline. A sale happens before the delay."""
    code: str = ""
    """The reason of the answer, a code of `meters`. The HTTP dialects translate it."""
    record: SaleRecord | None = None
    """The record after the call. None if the reference never arrived."""
    webhook: WebhookBehaviour = WebhookBehaviour.NONE


class Simulator:
    """Thread-safe. `meter_behaviour` says how a meter behaves. It sells in `currency` alone.

    Raises `Unavailable` if the sales store cannot be opened (nothing was sold), and `sqlite3.Error` if it fails later.
    """

    def __init__(
        self,
        store: SalesStore,
        *,
        currency: str,
        now: Callable[[], datetime],
        meter_behaviour: Callable[[str], Behaviour] = behaviour_of,
    ) -> None:
        self._store = store
        self._account = store.account
        self._currency = currency
        self._now = now
        self._meter_behaviour = meter_behaviour

    def send(
        self, order: Order, *, fault: SandboxFault | None = None, duplicate_window_seconds: int = 0
    ) -> SimulatedReply:
        """Process a request to sell. A known reference sells nothing.

        `fault` has priority over planned faults. Nothing is sold if another reference was accepted for the same meter
        and biller within the last `duplicate_window_seconds`.
        """
        with self._store.update(order.reference) as update:
            known = update.record
            if known is not None and known.status is not SaleStatus.REFUSED:
                update.record = known = replace(known, sends=known.sends + 1)
                return _duplicate_reply(known)
            since = self._now() - timedelta(seconds=duplicate_window_seconds)
            if duplicate_window_seconds and update.has_recent_sale(order.meter, order.biller, since):
                fault = SandboxFault("likely_duplicate")
            fault = fault or update.next_fault(order.meter)
            behaviour = self._behaviour(order.meter, fault)
            record = self._accept(order, behaviour, update)
            if fault is not None:
                record = replace(record, fault=fault.name, fault_requeries=fault.requeries)
            update.record = record = replace(record, sends=known.sends + 1 if known else 1)
        return _send_reply(
            record, behaviour, retry_after_seconds=duplicate_window_seconds or PENDING_RETRY_AFTER_SECONDS
        )

    def requery(self, reference: str) -> SimulatedReply:
        """What became of a reference. A requery may end a received or pending sale."""
        with self._store.update(reference) as update:
            if update.record is None:
                return SimulatedReply(NotFound("no such reference"))
            record = replace(update.record, requeries=update.record.requeries + 1)
            behaviour = self._behaviour_of(record, update)
            is_open = record.status in (SaleStatus.RECEIVED, SaleStatus.PENDING)
            if is_open and record.requeries >= behaviour.ends_at_requery:
                record = self._with_status(record, behaviour.final_status, behaviour)
            update.record = record
        if record.requeries < behaviour.answers_from_requery:
            return SimulatedReply(Unknown("no answer"), DeliveryFault.CONNECTION_CLOSED, record=record)
        if record.requeries < behaviour.accepts_from_requery:
            return SimulatedReply(
                Pending("asked too early", PENDING_RETRY_AFTER_SECONDS), code=meters.TOO_EARLY, record=record
            )
        code = behaviour.answer_code if record.status is SaleStatus.PENDING else record.code
        return SimulatedReply(_answer_for(record, behaviour), code=code, record=record)

    def verify(
        self, meter: str, biller: str, vend_type: VendType, *, fault: SandboxFault | None = None
    ) -> MeterLookupResult:
        """The owner of a meter, and whether it may be sold to."""
        behaviour = self._behaviour(meter, fault or self._store.next_verification_fault(meter))
        if behaviour.is_verification_down:
            return MeterLookupFailed("verification is down")
        if biller not in BILLER_BY_CODE:
            return MeterRejected(MeterFault.METER_NOT_FOUND, f"{biller} is not sold here")
        if behaviour.reason_code == meters.NO_SUCH_METER:
            return MeterRejected(MeterFault.METER_NOT_FOUND, behaviour.description)
        if behaviour.reason_code == meters.CANNOT_VEND:
            return MeterRejected(MeterFault.METER_CANNOT_VEND, behaviour.description)
        if vend_type not in behaviour.vend_types:
            return MeterRejected(MeterFault.WRONG_METER_TYPE, f"the meter is not {vend_type}")
        return MeterFound(*customer_of(meter), minimum_minor=behaviour.minimum_minor)

    def fetch_float(self) -> Money:
        """The rest of our float."""
        remaining_minor = self._store.float_minor()
        return Money(DEFAULT_FLOAT_MINOR if remaining_minor is None else remaining_minor, self._currency)

    def reverse_sale(self, reference: str) -> SaleRecord:
        """Reverse a sale. Raises `LookupError` if nothing was sold."""
        self._store.reverse_sale(reference)
        record = self._store.find(reference)
        assert record is not None  # noqa: S101  it existed, and records are never deleted
        return record

    def finish_pending(self, reference: str) -> SaleRecord:
        """End a pending sale. Raises `LookupError` if the reference never arrived."""
        with self._store.update(reference) as update:
            if update.record is None:
                raise LookupError(f"no request with the reference {reference} arrived")
            if update.record.status is SaleStatus.PENDING:
                behaviour = self._behaviour_of(update.record, update)
                update.record = self._with_status(update.record, behaviour.final_status, behaviour)
            return update.record

    def _behaviour_of(self, record: SaleRecord, update: RecordUpdate) -> Behaviour:
        recorded_fault = (
            SandboxFault(record.fault, record.fault_requeries) if record.fault in _LASTING_FAULTS else None
        )
        return self._behaviour(record.meter, update.planned_fault() or recorded_fault)

    def _behaviour(self, meter: str, fault: SandboxFault | None) -> Behaviour:
        own = self._meter_behaviour(meter)
        return own if fault is None else replace(fault.behaviour, vend_types=own.vend_types)

    def _accept(self, order: Order, behaviour: Behaviour, update: RecordUpdate) -> SaleRecord:
        record = SaleRecord(
            reference=order.reference,
            account=self._account,
            meter=order.meter,
            biller=order.biller,
            vend_type=order.vend_type,
            amount_minor=order.amount.amount_minor,
            currency=order.amount.currency,
            received_at=self._now(),
            status=SaleStatus.REFUSED,
            code=behaviour.reason_code,
            reason=behaviour.description if behaviour.reason_code else "",
        )
        biller = BILLER_BY_CODE.get(order.biller)
        if biller is None or order.vend_type not in biller.vend_types:
            return replace(record, code="unknown_biller", reason=f"{order.biller} is not sold here")
        if order.amount.currency != self._currency or order.amount.amount_minor <= 0:
            return replace(record, code="invalid_amount", reason=f"{order.amount.display} can't be sold for")
        if behaviour.minimum_minor is not None and order.amount.amount_minor < behaviour.minimum_minor:
            minimum = Money(behaviour.minimum_minor, self._currency)
            return replace(record, code=meters.BELOW_MINIMUM, reason=f"the minimum is {minimum.display}")
        if order.vend_type not in behaviour.vend_types:
            reason = f"the meter is not {order.vend_type}"
            return replace(record, status=SaleStatus.DECLINED, code=meters.WRONG_METER_TYPE, reason=reason)
        if behaviour.status_after_send in (SaleStatus.VENDED, SaleStatus.PENDING):
            remaining_minor = update.float_minor()
            if (
                remaining_minor is not None
                and remaining_minor < sale_of("", order.amount, order.vend_type).cost_minor
            ):
                return replace(record, code=meters.LOW_FLOAT, reason="our float is too small")
        return self._with_status(record, behaviour.status_after_send, behaviour)

    def _with_status(self, record: SaleRecord, status: SaleStatus, behaviour: Behaviour) -> SaleRecord:
        if status is not SaleStatus.VENDED:
            return replace(record, status=status)
        sale = sale_of(record.reference, record.amount, record.vend_type)
        if behaviour.has_key_change and sale.token:
            sale = replace(sale, receipt={**sale.receipt, **key_change_of(record.reference)})
        return replace(record, status=status, vends=record.vends + 1, vended_at=self._now(), **asdict(sale))


def _duplicate_reply(record: SaleRecord) -> SimulatedReply:
    answer = Unknown("this reference exists already", known_to_provider=True)
    return SimulatedReply(answer, code=meters.DUPLICATE_REFERENCE, record=record)


def _send_reply(record: SaleRecord, behaviour: Behaviour, *, retry_after_seconds: int) -> SimulatedReply:
    """The answer to an accepted send, true or false."""
    answer, code = _answer_for(record, behaviour), record.code
    if record.status is SaleStatus.REFUSED:
        answer = _rejection(record, retry_after_seconds)
    elif behaviour.answer_code == meters.DUPLICATE_REFERENCE:
        return _duplicate_reply(record)
    elif behaviour.answer_code and record.status is SaleStatus.VENDED:
        answer, code = Unknown(behaviour.description), behaviour.answer_code
    elif record.status is SaleStatus.PENDING:
        code = behaviour.answer_code
    elif isinstance(answer, Delivered) and behaviour.echoed_meter:
        answer = replace(answer, meter=behaviour.echoed_meter)
    has_webhook = record.status in (SaleStatus.VENDED, SaleStatus.PENDING)
    webhook = behaviour.webhook if has_webhook else WebhookBehaviour.NONE
    return SimulatedReply(answer, behaviour.delivery_fault, behaviour.delay_seconds, code, record, webhook)


def _rejection(record: SaleRecord, retry_after_seconds: int) -> Answer:
    """The answer to a refused request. The reference stays unknown."""
    if record.code in _CONFIGURATION_CODES:
        return Misconfigured(record.reason, record.code)
    if record.code == meters.LIKELY_DUPLICATE:
        return Deferred(record.reason, retry_after_seconds)
    return Declined(record.reason, record.code)


def _answer_for(record: SaleRecord, behaviour: Behaviour) -> Answer:
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
                token=record.token if record.requeries >= behaviour.token_from_requery else None,
                units=record.units,
                cost_minor=record.cost_minor,
                receipt=record.receipt,
                provider_reference=record.provider_reference,
                reference=record.reference,
                meter=record.meter,
                amount_minor=record.amount_minor,
            )
