"""An answer of BuyPower that arrived, as one of ours. Pure functions: any JSON of any shape, and nothing is raised."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Any, Final

from billvend.adapters.provider.buypower.codes import VEND_TYPES, Endpoint, Verdict, classify, fault_of
from billvend.adapters.provider.reading import first_text, issued_token, mapping, minor, number, text
from billvend.adapters.provider.wire import Response
from billvend.domain.money import LARGEST_MINOR, Money
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

CURRENCY: Final = "NGN"

DELAY_SECONDS: Final = 120
"""Until the next requery of what is in progress, where BuyPower names no time."""
RETRY_AFTER_SECONDS: Final = 60
"""Until the next request after too many, where BuyPower names no time."""
LONGEST_WAIT_SECONDS: Final = 3600
"""The most of such advice that is taken."""
LONGEST_REASON: Final = 200
"""Characters that are kept of a message."""
LONGEST_CODE: Final = 20
"""Characters that are shown of a `responseCode`, which has three."""

RECEIPT: Final = {
    "receiptNo": "receiptNumber",
    "amountGenerated": "netAmount",
    "tax": "tax",
    "tariff": "tariff",
    "tariffIndex": "tariffIndex",
    "debtAmount": "debtAmount",
    "debtRemaining": "debtRemaining",
    "charges": "charges",
    "freeUnits": "freeUnits",
    "vendTime": "vendTime",
}
"""What a receipt prints: its name at BuyPower, and ours."""
PARCELS: Final = {"KCT1": "kct1", "KCT2": "kct2", "BONUS": "bonusToken"}
"""The tokens that may come along with the one that was paid for."""


def is_readable(response: Response) -> bool:
    """Whether it may be considered at all: BuyPower's rule is that what is not declared as JSON is no answer of its."""
    kind = response.headers.get("content-type", "json").partition(";")[0].strip().lower()
    return response.is_json_object and kind.endswith("json")


@dataclass(frozen=True, slots=True)
class Said:
    """What an answer says, wherever in it that stands."""

    status: int
    """Of HTTP."""
    code: str | None
    """`responseCode`; where two of them differ, both, which is the code of nothing."""
    message: str
    outer: Mapping[str, Any]
    """The whole answer, or what is wrapped in `result`."""
    data: Mapping[str, Any]
    """What it says of the sale."""
    orders: frozenset[str]
    """The references that it names."""

    @property
    def name(self) -> str:
        """The statement's place in the tables: `400/203`."""
        return f"{self.status}/{self.code[:LONGEST_CODE]}" if self.code else str(self.status)

    @property
    def told(self) -> str:
        """In words: the message, and where it stands."""
        return f"{self.message} (HTTP {self.name})" if self.message else f"HTTP {self.name}"


def said_in(response: Response) -> Said:
    """What a readable answer says. A requery wraps in `result` what a vend gives bare; "in progress" may lie in `data`."""
    body = mapping(response.body)
    result = mapping(body.get("result"))
    outer = result or body
    data = mapping(outer.get("data"))
    codes = {code for level in (body, result) if (code := text(level.get("responseCode")))}
    if not codes and (within := text(data.get("responseCode"))):
        codes = {within}
    messages = (first_text(level, "message") for level in (outer, body, data))
    return Said(
        status=response.status,
        code=" and ".join(sorted(codes)) or None,
        message=next(filter(None, messages), "")[:LONGEST_REASON],
        outer=outer,
        data=data,
        orders=frozenset(order for level in (body, result, data) if (order := text(level.get("orderId")))),
    )


def answer_in(endpoint: Endpoint, response: Response, order: Order) -> Answer:
    """What a whole answer to a vend or a requery tells us of our order."""
    if not is_readable(response):
        return Unknown(f"the answer is not JSON ({response.told})")
    said = said_in(response)
    if said.orders - {order.reference}:
        return Unknown("the answer is for another reference")
    is_requery = endpoint is Endpoint.REQUERY
    match classify(endpoint, said.status, said.code, said.message):
        case Verdict.DELIVERED:
            return _delivered(said, order)
        case Verdict.DECLINED:
            # A requery speaks of the sale; a vend that is refused, of that one request.
            return Declined(said.message or said.told, said.name, about_transaction=is_requery)
        case Verdict.MISCONFIGURED:
            return Misconfigured(said.message or said.told, said.name)
        case Verdict.TOO_OFTEN:
            return Deferred(said.told, wait_seconds(response.headers.get("retry-after"), RETRY_AFTER_SECONDS))
        case Verdict.IN_PROGRESS if is_requery:
            return Pending(said.told, _delay_seconds(said))
        case Verdict.IN_PROGRESS | Verdict.ACKNOWLEDGED:
            return Unknown(said.told, acknowledged=True)
        case Verdict.NOT_FOUND:
            return NotFound(said.told)
        case _:
            return Unknown(said.told)


def _delivered(said: Said, order: Order) -> Delivered | Unknown:
    """The sale, where the whole answer agrees that it is one."""
    within = text(said.data.get("responseCode"))
    contradicts = said.outer.get("status") not in (None, True) or said.outer.get("error") not in (None, False)
    if contradicts or within not in (None, "100"):
        return Unknown(f"a success that contradicts itself: {said.told}", acknowledged=True)
    parcels = dict(_parcels(said.data))
    bought = issued_token(said.data.get("token")) or parcels.get("TOKEN")
    if bought is None and order.vend_type is VendType.PREPAID:
        return Unknown("delivered, but without a token", acknowledged=True)
    if bought is None and within is None:  # postpaid: there has to be a sale in it all the same
        return Unknown(f"a success without a sale: {said.told}", acknowledged=True)
    receipt = {ours: value for theirs, ours in RECEIPT.items() if (value := text(said.data.get(theirs)))}
    receipt |= {ours: parcels[theirs] for theirs, ours in PARCELS.items() if theirs in parcels}
    return Delivered(
        token=bought,
        units=number(said.data.get("units")),
        # `totalAmountPaid` is what the customer pays, the same as `vendAmount`; what our wallet there is charged after
        # commission is in no field.
        cost_minor=None,
        receipt=receipt,
        provider_reference=text(said.data.get("vendRef")),
        reference=text(said.data.get("orderId")),
        meter=first_text(said.data, "meterNo", "meter"),
        amount_minor=minor(said.data.get("vendAmount"), CURRENCY),
    )


def _parcels(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The tokens of a sale by their kind; of two of a kind, the last one."""
    listed = data.get("parcels")
    for parcel in map(mapping, listed if isinstance(listed, list) else []):
        kind, content = text(parcel.get("type")), issued_token(parcel.get("content"))
        if kind and content:
            yield kind.upper(), content


def _delay_seconds(said: Said) -> int:
    """BuyPower's advice: the first of a list of delays."""
    delays = said.outer.get("delay", said.data.get("delay"))
    return wait_seconds(delays[0] if isinstance(delays, list) and delays else delays, DELAY_SECONDS)


def wait_seconds(advice: object, otherwise: int) -> int:
    """Advice in whole seconds, from 1 to an hour; what is no plain number counts for none."""
    plain = text(advice) or ""
    if not (plain.isascii() and plain.isdigit()):
        return otherwise
    return max(1, min(int(plain), LONGEST_WAIT_SECONDS))


def meter_in(response: Response, meter: str, vend_type: VendType) -> Verification:
    """What a meter check tells us. A refusal is believed only where its words are about the meter."""
    if not is_readable(response):
        return CannotVerify(f"the answer is not JSON ({response.told})")
    said = said_in(response)
    name = text(said.outer.get("name"))
    is_found = (said.status, said.code) == (200, "100") and said.outer.get("error") in (None, False) and name
    if not is_found or name is None:
        fault = fault_of(said.status, said.message)
        return MeterRefused(fault, said.message) if fault else CannotVerify(said.told)
    if text(said.outer.get("meterNo")) not in (None, meter):
        return CannotVerify("the answer is for another meter")
    kind = text(said.outer.get("vendType"))
    if kind is not None and kind.upper() != VEND_TYPES[vend_type]:
        return MeterRefused(MeterFault.WRONG_METER_TYPE, f"the meter is {kind.lower()}")
    return MeterFound(
        customer_name=name,
        address=text(said.outer.get("address")) or "",
        minimum_minor=_limit(said.outer.get("minVendAmount")),
        maximum_minor=_limit(said.outer.get("maxVendAmount")),
    )


def _limit(value: object) -> int | None:
    return minor(value, CURRENCY) or None  # a limit of 0 is none


def float_in(response: Response) -> Money | Misconfigured | Unknown:
    """Our balance, whatever is less than a kobo left out; below zero where BuyPower says so."""
    if not is_readable(response):
        return Unknown(f"the answer is not JSON ({response.told})")
    said = said_in(response)
    if said.status in (401, 403):
        return Misconfigured(said.told, said.name)
    balance = number(said.outer.get("balance")) if said.status == 200 else None
    if balance is None:
        return Unknown(f"no balance: {said.told}")
    balance_minor = int((Decimal(balance) * 100).to_integral_value(ROUND_FLOOR))
    if abs(balance_minor) > LARGEST_MINOR:
        return Unknown("a balance that no account has")
    return Money(balance_minor, CURRENCY)
