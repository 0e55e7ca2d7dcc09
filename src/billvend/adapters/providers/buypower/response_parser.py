"""Parse answers of BuyPower. Pure functions that take any JSON and never raise."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Decimal
from typing import Any, Final

from billvend.adapters.providers.buypower.codes import (
    VEND_TYPES,
    AnswerKind,
    Endpoint,
    classify,
    find_meter_fault,
)
from billvend.adapters.providers.http_client import Response
from billvend.adapters.providers.http_provider import CURRENCY
from billvend.adapters.providers.parse import (
    first_text,
    to_mapping,
    to_minor,
    to_number,
    to_text,
    to_valid_token,
)
from billvend.domain.enums import VendType
from billvend.domain.meter_lookup import (
    MeterFault,
    MeterFound,
    MeterLookupFailed,
    MeterLookupResult,
    MeterRejected,
)
from billvend.domain.money import MAX_AMOUNT_MINOR, Money
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

DEFAULT_REQUERY_DELAY_SECONDS: Final = 120
"""Until the next requery of a sale in progress, if BuyPower names no time."""
DEFAULT_RETRY_AFTER_SECONDS: Final = 60
"""Until the next request after too many, if BuyPower names no time."""
MAX_WAIT_SECONDS: Final = 3600
"""The upper limit of the times that BuyPower names."""
MAX_REASON_CHARACTERS: Final = 200
"""A longer message is cut to this."""
MAX_CODE_CHARACTERS: Final = 20
"""A longer `responseCode` is cut to this. Real ones have three."""

RECEIPT_FIELDS: Final = {
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
"""The fields of a receipt: BuyPower's name, then ours."""
PARCEL_FIELDS: Final = {"KCT1": "kct1", "KCT2": "kct2", "BONUS": "bonusToken"}
"""The tokens that may come with the one that was paid for: BuyPower's name, then ours."""


def is_readable(response: Response) -> bool:
    """Whether to read an answer at all. BuyPower's rule: an answer that is not declared as JSON does not count."""
    content_type = response.headers.get("content-type", "json").partition(";")[0].strip().lower()
    return response.is_json_object and content_type.endswith("json")


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """The parts of an answer, which BuyPower puts in different places."""

    status: int
    """The HTTP status."""
    code: str | None
    """`responseCode`. If there are two that differ, both in one text, which matches no row."""
    message: str
    outer: Mapping[str, Any]
    """The content of `result` if there is one, else the whole answer."""
    data: Mapping[str, Any]
    """The content of `data`: the sale."""
    references: frozenset[str]
    """The references that the answer names."""

    @property
    def label(self) -> str:
        """Status and code: `400/203`."""
        return f"{self.status}/{self.code[:MAX_CODE_CHARACTERS]}" if self.code else str(self.status)

    @property
    def summary(self) -> str:
        """The message with status and code, for a reason."""
        return f"{self.message} (HTTP {self.label})" if self.message else f"HTTP {self.label}"


def parse_body(response: Response) -> ParsedAnswer:
    """Find the parts. A requery wraps them in `result`, a vend does not. "In progress" may be in `data`."""
    body = to_mapping(response.body)
    result = to_mapping(body.get("result"))
    outer = result or body
    data = to_mapping(outer.get("data"))
    codes = {code for level in (body, result) if (code := to_text(level.get("responseCode")))}
    if not codes and (inner_code := to_text(data.get("responseCode"))):
        codes = {inner_code}
    messages = (first_text(level, "message") for level in (outer, body, data))
    return ParsedAnswer(
        status=response.status,
        code=" and ".join(sorted(codes)) or None,
        message=next(filter(None, messages), "")[:MAX_REASON_CHARACTERS],
        outer=outer,
        data=data,
        references=frozenset(
            order for level in (body, result, data) if (order := to_text(level.get("orderId")))
        ),
    )


def parse_answer(endpoint: Endpoint, response: Response, order: Order) -> Answer:
    """What an answer to a vend or a requery says. The core checks that it is about our order, and complete."""
    if not is_readable(response):
        return Unknown(f"the answer is not JSON ({response.summary})")
    parsed = parse_body(response)
    echoed = next(iter(parsed.references - {order.reference} or parsed.references), None)
    return replace(_classified(endpoint, response, parsed, order.vend_type), reference=echoed)


def _classified(endpoint: Endpoint, response: Response, parsed: ParsedAnswer, vend_type: VendType) -> Answer:
    is_requery = endpoint is Endpoint.REQUERY
    match classify(endpoint, parsed.status, parsed.code, parsed.message):
        case AnswerKind.DELIVERED:
            return _parse_delivery(parsed, vend_type)
        case AnswerKind.DECLINED:
            # A requery is about the sale. A refused vend is about that one request.
            return Declined(parsed.message or parsed.summary, parsed.label, about_transaction=is_requery)
        case AnswerKind.MISCONFIGURED:
            return Misconfigured(parsed.message or parsed.summary, parsed.label)
        case AnswerKind.RATE_LIMITED:
            advice = response.headers.get("retry-after")
            return Deferred(parsed.summary, parse_wait_seconds(advice, DEFAULT_RETRY_AFTER_SECONDS))
        case AnswerKind.IN_PROGRESS if is_requery:
            return Pending(parsed.summary, _parse_delay_seconds(parsed))
        case AnswerKind.IN_PROGRESS | AnswerKind.ACKNOWLEDGED:
            return Unknown(parsed.summary, known_to_provider=True)
        case AnswerKind.NOT_FOUND:
            return NotFound(parsed.summary)
        case _:
            return Unknown(parsed.summary)


def _parse_delivery(parsed: ParsedAnswer, vend_type: VendType) -> Delivered | Unknown:
    """The sale, or `Unknown` if a part of the answer contradicts it."""
    inner_code = to_text(parsed.data.get("responseCode"))
    contradicts = parsed.outer.get("status") not in (None, True) or parsed.outer.get("error") not in (
        None,
        False,
    )
    if contradicts or inner_code not in (None, "100"):
        return Unknown(f"a success that contradicts itself: {parsed.summary}", known_to_provider=True)
    parcels = dict(_parse_parcels(parsed.data))
    token = to_valid_token(parsed.data.get("token")) or parcels.get("TOKEN")
    if token is None and vend_type is VendType.POSTPAID and inner_code is None:
        # Postpaid has no token, so the inner code must prove the sale.
        return Unknown(f"a success without a sale: {parsed.summary}", known_to_provider=True)
    receipt = {
        ours: value for theirs, ours in RECEIPT_FIELDS.items() if (value := to_text(parsed.data.get(theirs)))
    }
    receipt |= {ours: parcels[theirs] for theirs, ours in PARCEL_FIELDS.items() if theirs in parcels}
    return Delivered(
        token=token,
        units=to_number(parsed.data.get("units")),
        # `totalAmountPaid` is what the customer pays, as `vendAmount` is. No field says what BuyPower takes from our
        # float after commission.
        cost_minor=None,
        receipt=receipt,
        provider_reference=to_text(parsed.data.get("vendRef")),
        meter=first_text(parsed.data, "meterNo", "meter"),
        amount_minor=to_minor(parsed.data.get("vendAmount"), CURRENCY),
    )


def _parse_parcels(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The kind and the token of each parcel. Of two of a kind, the last one counts."""
    listed = data.get("parcels")
    for parcel in map(to_mapping, listed if isinstance(listed, list) else []):
        kind, content = to_text(parcel.get("type")), to_valid_token(parcel.get("content"))
        if kind and content:
            yield kind.upper(), content


def _parse_delay_seconds(parsed: ParsedAnswer) -> int:
    """How long BuyPower asks us to wait, in seconds: the first of a list of delays."""
    delays = parsed.outer.get("delay", parsed.data.get("delay"))
    return parse_wait_seconds(
        delays[0] if isinstance(delays, list) and delays else delays, DEFAULT_REQUERY_DELAY_SECONDS
    )


def parse_wait_seconds(advice: object, default_seconds: int) -> int:
    """A time that BuyPower names, in whole seconds, limited to 1 to 3600. The default if it is not a plain number."""
    plain = to_text(advice) or ""
    if not (plain.isascii() and plain.isdigit()):
        return default_seconds
    return max(1, min(int(plain), MAX_WAIT_SECONDS))


def parse_meter(response: Response, meter: str, vend_type: VendType) -> MeterLookupResult:
    """What a meter check says. A rejection is believed only if its words are about the meter."""
    if not is_readable(response):
        return MeterLookupFailed(f"the answer is not JSON ({response.summary})")
    parsed = parse_body(response)
    name = to_text(parsed.outer.get("name"))
    is_found = (
        (parsed.status, parsed.code) == (200, "100") and parsed.outer.get("error") in (None, False) and name
    )
    if not is_found or name is None:
        fault = find_meter_fault(parsed.status, parsed.message)
        return MeterRejected(fault, parsed.message) if fault else MeterLookupFailed(parsed.summary)
    if to_text(parsed.outer.get("meterNo")) not in (None, meter):
        return MeterLookupFailed("the answer is for another meter")
    kind = to_text(parsed.outer.get("vendType"))
    if kind is not None and kind.upper() != VEND_TYPES[vend_type]:
        return MeterRejected(MeterFault.WRONG_METER_TYPE, f"the meter is {kind.lower()}")
    return MeterFound(
        customer_name=name,
        address=to_text(parsed.outer.get("address")) or "",
        minimum_minor=_parse_limit(parsed.outer.get("minVendAmount")),
        maximum_minor=_parse_limit(parsed.outer.get("maxVendAmount")),
    )


def _parse_limit(value: object) -> int | None:
    return to_minor(value, CURRENCY) or None  # 0 means no limit


def parse_balance(response: Response) -> Money | Misconfigured | Unknown:
    """Our balance, rounded down to a kobo. It may be negative."""
    if not is_readable(response):
        return Unknown(f"the answer is not JSON ({response.summary})")
    parsed = parse_body(response)
    if parsed.status in (401, 403):
        return Misconfigured(parsed.summary, parsed.label)
    balance = to_number(parsed.outer.get("balance")) if parsed.status == 200 else None
    if balance is None:
        return Unknown(f"no balance: {parsed.summary}")
    balance_minor = int((Decimal(balance) * 100).to_integral_value(ROUND_FLOOR))
    if abs(balance_minor) > MAX_AMOUNT_MINOR:
        return Unknown("a balance that no account has")
    return Money(balance_minor, CURRENCY)
