"""The sandbox's desk: takes sends and requeries, and keeps the book. The only place that sells.

It states an `Answer` and how that answer should travel. What the caller gets to see of it is for whoever stands in
front: in process `provider`, over the wire a server that puts the same statements into a provider's own words.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from billvend.adapters.provider.billers import BY_CODE
from billvend.adapters.provider.sandbox import meters
from billvend.adapters.provider.sandbox.book import Book, Page
from billvend.adapters.provider.sandbox.customer import customer_of
from billvend.adapters.provider.sandbox.entry import Entry, EntryStatus
from billvend.adapters.provider.sandbox.faults import FAULTS, MINIMUM, Fault
from billvend.adapters.provider.sandbox.meters import Behaviour, Hook, Travel, behaviour_of
from billvend.adapters.provider.sandbox.sale import key_change_of, sale_of
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
from billvend.domain.verification import CannotVerify, MeterFault, MeterFound, MeterRefused, Verification
from billvend.domain.words import VendType
from billvend.ports.provider import Order

RETRY_AFTER_SECONDS: Final = 2
"""The sandbox's advice on when to ask again about what is pending."""
FLOAT_MINOR: Final = 1_000_000_000_00
"""Our float where nobody set one, in minor units: more than anybody practises with, and selling leaves it as it is."""
_LASTING: Final = FAULTS.keys() - {MINIMUM}
"""The faults that have a say in requeries too."""
_AT_FAULT: Final = frozenset({meters.LOW_FLOAT, meters.BAD_CREDENTIALS})


@dataclass(frozen=True, slots=True)
class Reply:
    """What the desk states about a send or a requery, and how that travels."""

    answer: Answer
    travel: Travel = Travel.WHOLE
    delay_seconds: float = 0.0
    """Until it sets out; infinite for never within any deadline. What was sold is sold before."""
    code: str = ""
    """The answer's reason, in a word of `meters`, for who puts it into a provider's own words."""
    entry: Entry | None = None
    """What the book shows by now; None where nothing came in under the reference."""
    hook: Hook = Hook.NONE


class Desk:
    """Serves any number of threads. `behaves` tells how a meter behaves; `currency` is the only one it takes.

    Raises `Unavailable` where the book can't be opened (nothing was done) and `sqlite3.Error` where it fails later.
    """

    def __init__(
        self,
        book: Book,
        *,
        currency: str,
        now: Callable[[], datetime],
        behaves: Callable[[str], Behaviour] = behaviour_of,
    ) -> None:
        self._book = book
        self._account = book.account
        self._currency = currency
        self._now = now
        self._behaves = behaves

    def send(self, order: Order, *, fault: Fault | None = None, likely_duplicate_seconds: int = 0) -> Reply:
        """Take a request to sell. A reference that is known already sells nothing.

        A `fault` given here strikes before any that is planned. Where another reference was taken for the same meter
        and biller within the last `likely_duplicate_seconds`, nothing is sold.
        """
        with self._book.page(order.reference) as page:
            known = page.entry
            if known is not None and known.status is not EntryStatus.REFUSED:
                page.entry = known = replace(known, sends=known.sends + 1)
                return _exists_already(known)
            since = self._now() - timedelta(seconds=likely_duplicate_seconds)
            if likely_duplicate_seconds and page.has_like(order.meter, order.biller, since):
                fault = Fault("likely_duplicate")
            fault = fault or page.strike(order.meter)
            behaviour = self._behaviour(order.meter, fault)
            entry = self._taken(order, behaviour, page)
            if fault is not None:
                entry = replace(entry, fault=fault.name, fault_requeries=fault.requeries)
            page.entry = entry = replace(entry, sends=known.sends + 1 if known else 1)
        return _sent(entry, behaviour, retry_after_seconds=likely_duplicate_seconds or RETRY_AFTER_SECONDS)

    def requery(self, reference: str) -> Reply:
        """What became of a reference. What is under way may come to its end by being asked about."""
        with self._book.page(reference) as page:
            if page.entry is None:
                return Reply(NotFound("no such reference"))
            entry = replace(page.entry, requeries=page.entry.requeries + 1)
            behaviour = self._behaviour_of(entry, page)
            under_way = entry.status in (EntryStatus.RECEIVED, EntryStatus.PENDING)
            if under_way and entry.requeries >= behaviour.turns_at:
                entry = self._turned(entry, behaviour.turns_into, behaviour)
            page.entry = entry
        if entry.requeries < behaviour.heard_from:
            return Reply(Unknown("no answer"), Travel.CUT, entry=entry)
        if entry.requeries < behaviour.allowed_from:
            return Reply(Pending("asked too early", RETRY_AFTER_SECONDS), code=meters.TOO_EARLY, entry=entry)
        code = behaviour.says if entry.status is EntryStatus.PENDING else entry.code
        return Reply(_stated(entry, behaviour), code=code, entry=entry)

    def verify(
        self, meter: str, biller: str, vend_type: VendType, *, fault: Fault | None = None
    ) -> Verification:
        """Whose meter it is, and whether it is sold to."""
        behaviour = self._behaviour(meter, fault or self._book.strike_at_verification(meter))
        if behaviour.cannot_verify:
            return CannotVerify("verification is down")
        if biller not in BY_CODE:
            return MeterRefused(MeterFault.METER_NOT_FOUND, f"{biller} is not sold here")
        if behaviour.code == meters.NO_SUCH_METER:
            return MeterRefused(MeterFault.METER_NOT_FOUND, behaviour.told)
        if behaviour.code == meters.CANNOT_VEND:
            return MeterRefused(MeterFault.METER_CANNOT_VEND, behaviour.told)
        if vend_type not in behaviour.vend_types:
            return MeterRefused(MeterFault.WRONG_METER_TYPE, f"the meter is not {vend_type}")
        return MeterFound(*customer_of(meter), minimum_minor=behaviour.minimum_minor)

    def ask_float(self) -> Money:
        """What is left to sell for."""
        left_minor = self._book.float_minor()
        return Money(FLOAT_MINOR if left_minor is None else left_minor, self._currency)

    def take_back(self, reference: str) -> Entry:
        """Reverse a sale. Raises `LookupError` where nothing was sold."""
        self._book.take_back(reference)
        entry = self._book.find(reference)
        assert entry is not None  # noqa: S101  it was there, and entries stay
        return entry

    def settle(self, reference: str) -> Entry:
        """Bring what is pending to its end. Raises `LookupError` where nothing came in under the reference."""
        with self._book.page(reference) as page:
            if page.entry is None:
                raise LookupError(f"nothing came in under {reference}")
            if page.entry.status is EntryStatus.PENDING:
                behaviour = self._behaviour_of(page.entry, page)
                page.entry = self._turned(page.entry, behaviour.turns_into, behaviour)
            return page.entry

    def _behaviour_of(self, entry: Entry, page: Page) -> Behaviour:
        struck = Fault(entry.fault, entry.fault_requeries) if entry.fault in _LASTING else None
        return self._behaviour(entry.meter, page.planned() or struck)

    def _behaviour(self, meter: str, fault: Fault | None) -> Behaviour:
        own = self._behaves(meter)
        return own if fault is None else replace(fault.behaviour, vend_types=own.vend_types)

    def _taken(self, order: Order, behaviour: Behaviour, page: Page) -> Entry:
        entry = Entry(
            reference=order.reference,
            account=self._account,
            meter=order.meter,
            biller=order.biller,
            vend_type=order.vend_type,
            amount_minor=order.amount.amount_minor,
            currency=order.amount.currency,
            received_at=self._now(),
            status=EntryStatus.REFUSED,
            code=behaviour.code,
            reason=behaviour.told if behaviour.code else "",
        )
        biller = BY_CODE.get(order.biller)
        if biller is None or order.vend_type not in biller.vend_types:
            return replace(entry, code="unknown_biller", reason=f"{order.biller} is not sold here")
        if order.amount.currency != self._currency or order.amount.amount_minor <= 0:
            return replace(entry, code="invalid_amount", reason=f"{order.amount.display} can't be sold for")
        if behaviour.minimum_minor is not None and order.amount.amount_minor < behaviour.minimum_minor:
            least = Money(behaviour.minimum_minor, self._currency)
            return replace(entry, code=meters.BELOW_MINIMUM, reason=f"the minimum is {least.display}")
        if order.vend_type not in behaviour.vend_types:
            reason = f"the meter is not {order.vend_type}"
            return replace(entry, status=EntryStatus.DECLINED, code=meters.WRONG_METER_TYPE, reason=reason)
        if behaviour.on_send in (EntryStatus.VENDED, EntryStatus.PENDING):
            left_minor = page.float_minor()
            if left_minor is not None and left_minor < sale_of("", order.amount, order.vend_type).cost_minor:
                return replace(entry, code=meters.LOW_FLOAT, reason="our float is too small")
        return self._turned(entry, behaviour.on_send, behaviour)

    def _turned(self, entry: Entry, status: EntryStatus, behaviour: Behaviour) -> Entry:
        if status is not EntryStatus.VENDED:
            return replace(entry, status=status)
        sale = sale_of(entry.reference, entry.amount, entry.vend_type)
        if behaviour.changes_key and sale.token:
            sale = replace(sale, receipt={**sale.receipt, **key_change_of(entry.reference)})
        return replace(entry, status=status, vends=entry.vends + 1, vended_at=self._now(), **asdict(sale))


def _exists_already(entry: Entry) -> Reply:
    answer = Unknown("this reference exists already", acknowledged=True)
    return Reply(answer, code=meters.DUPLICATE_REFERENCE, entry=entry)


def _sent(entry: Entry, behaviour: Behaviour, *, retry_after_seconds: int) -> Reply:
    """What is stated to a send that was taken, truly or not."""
    answer, code = _stated(entry, behaviour), entry.code
    if entry.status is EntryStatus.REFUSED:
        answer = _refusal(entry, retry_after_seconds)
    elif behaviour.says == meters.DUPLICATE_REFERENCE:
        return _exists_already(entry)
    elif behaviour.says and entry.status is EntryStatus.VENDED:
        answer, code = Unknown(behaviour.told), behaviour.says
    elif entry.status is EntryStatus.PENDING:
        code = behaviour.says
    elif isinstance(answer, Delivered) and behaviour.echoed_meter:
        answer = replace(answer, meter=behaviour.echoed_meter)
    is_told = entry.status in (EntryStatus.VENDED, EntryStatus.PENDING)
    hook = behaviour.hook if is_told else Hook.NONE
    return Reply(answer, behaviour.travel, behaviour.delay_seconds, code, entry, hook)


def _refusal(entry: Entry, retry_after_seconds: int) -> Answer:
    """What is stated of a request that left no trace."""
    if entry.code in _AT_FAULT:
        return Misconfigured(entry.reason, entry.code)
    if entry.code == meters.LIKELY_DUPLICATE:
        return Deferred(entry.reason, retry_after_seconds)
    return Declined(entry.reason, entry.code)


def _stated(entry: Entry, behaviour: Behaviour) -> Answer:
    match entry.status:
        case EntryStatus.REFUSED | EntryStatus.RECEIVED:
            return NotFound("no such reference")
        case EntryStatus.PENDING:
            return Pending("pending", retry_after_seconds=RETRY_AFTER_SECONDS)
        case EntryStatus.DECLINED:
            return Declined(entry.reason, entry.code, about_transaction=True)
        case EntryStatus.TAKEN_BACK:
            return Declined("taken back", "reversed", about_transaction=True, taken_back=True)
        case EntryStatus.VENDED:
            return Delivered(
                token=entry.token if entry.requeries >= behaviour.token_from else None,
                units=entry.units,
                cost_minor=entry.cost_minor,
                receipt=entry.receipt,
                provider_reference=entry.provider_reference,
                reference=entry.reference,
                meter=entry.meter,
                amount_minor=entry.amount_minor,
            )
