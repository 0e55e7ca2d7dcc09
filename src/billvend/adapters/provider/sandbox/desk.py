"""The sandbox's desk: takes sends and requeries, and keeps the book. The only place that sells.

It states an `Answer` and how that answer should travel. What the caller gets to see of it is for whoever stands in
front: in process `provider`, over the wire a server that puts the same statements into a provider's own words.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Final

from billvend.adapters.provider.billers import BY_CODE
from billvend.adapters.provider.sandbox.book import Book
from billvend.adapters.provider.sandbox.entry import Entry, EntryStatus
from billvend.adapters.provider.sandbox.meters import (
    LOW_FLOAT,
    WRONG_METER_TYPE,
    Behaviour,
    Travel,
    behaviour_of,
)
from billvend.adapters.provider.sandbox.sale import sale_of
from billvend.domain.outcome import Answer, Declined, Delivered, Misconfigured, NotFound, Pending, Unknown
from billvend.ports.provider import Order

RETRY_AFTER_SECONDS: Final = 2
"""The sandbox's advice on when to ask again about what is pending."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the desk states about a send, and how that travels."""

    answer: Answer
    travel: Travel = Travel.WHOLE
    delay_seconds: float = 0.0
    """Until it sets out; infinite for never within any deadline. What was sold is sold before."""


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

    def send(self, order: Order) -> Reply:
        """Take a request to sell. A reference that is known already sells nothing."""
        behaviour = self._behaves(order.meter)
        with self._book.page(order.reference) as page:
            known = page.entry
            if known is not None and known.status is not EntryStatus.REFUSED:
                page.entry = replace(known, sends=known.sends + 1)
                return Reply(Unknown("this reference exists already", acknowledged=True))
            entry = self._taken(order, behaviour)
            page.entry = entry = replace(entry, sends=known.sends + 1 if known else 1)
        answer = _stated(entry, behaviour)
        if entry.status is EntryStatus.REFUSED:
            refusal = Misconfigured if entry.code == LOW_FLOAT else Declined
            answer = refusal(entry.reason, entry.code)
        if isinstance(answer, Delivered) and behaviour.echoed_meter:
            answer = replace(answer, meter=behaviour.echoed_meter)
        return Reply(answer, behaviour.travel, behaviour.delay_seconds)

    def requery(self, reference: str) -> Answer:
        """What became of a reference. What is under way may come to its end by being asked about."""
        with self._book.page(reference) as page:
            if page.entry is None:
                return NotFound("no such reference")
            entry = replace(page.entry, requeries=page.entry.requeries + 1)
            behaviour = self._behaves(entry.meter)
            under_way = entry.status in (EntryStatus.RECEIVED, EntryStatus.PENDING)
            if under_way and entry.requeries >= behaviour.turns_at:
                entry = self._turned(entry, behaviour.turns_into)
            page.entry = entry
        return _stated(entry, behaviour)

    def _taken(self, order: Order, behaviour: Behaviour) -> Entry:
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
        if order.vend_type not in behaviour.vend_types:
            reason = f"the meter is not {order.vend_type}"
            return replace(entry, status=EntryStatus.DECLINED, code=WRONG_METER_TYPE, reason=reason)
        return self._turned(entry, behaviour.on_send)

    def _turned(self, entry: Entry, status: EntryStatus) -> Entry:
        if status is not EntryStatus.VENDED:
            return replace(entry, status=status)
        sale = sale_of(entry.reference, entry.amount, entry.vend_type)
        return replace(entry, status=status, vends=entry.vends + 1, vended_at=self._now(), **asdict(sale))


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
