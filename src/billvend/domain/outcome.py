"""The answers of a provider to one call, as a closed set.

An adapter translates bytes on the wire into exactly one of these. An answer that it does not recognise is `Unknown`. So
is every call without a clear answer whose first byte had left: the provider may have issued the token.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, get_args

from billvend.domain.money import MAX_AMOUNT_MINOR


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """What an answer of any kind repeats of our order. An adapter passes it on unchecked; None if it is not repeated.

    `verify_answer` compares it with the order.
    """

    reference: str | None = None
    meter: str | None = None
    biller: str | None = None
    """The code of the electricity company, as `Order.biller` has it."""
    amount_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Delivered(Echo):
    """The provider states that the electricity was sold under our reference."""

    token: str | None
    """What the customer types into a prepaid meter: digits only, if it is well formed. None for postpaid."""
    units: str | None = None
    """Kilowatt hours, as a decimal string."""
    cost_minor: int | None = None
    """What it cost us, in minor units. None while the provider has not stated it."""
    receipt: Mapping[str, str] = field(default_factory=dict)
    """What a receipt prints: receiptNumber, tax, netAmount, tariff, kct1, kct2 and the like."""
    provider_reference: str | None = None
    """The provider's own number of the sale."""


@dataclass(frozen=True, slots=True)
class Declined(Echo):
    """The provider states that nothing was or will be delivered."""

    reason: str
    code: str = ""
    about_transaction: bool = False
    """True when the statement is about the transaction under our reference. False when it is about this one request:
    then it says nothing about an earlier send of the same reference."""
    provider_reversed: bool = False
    """True when the provider sold, then reversed the sale: our money is back at the provider."""


@dataclass(frozen=True, slots=True)
class NotSent(Echo):
    """It is proven that the request never left us: refused connection, DNS, TLS handshake, pool timeout, too late to send."""

    reason: str


@dataclass(frozen=True, slots=True)
class Deferred(Echo):
    """The provider states that it did not execute the request, and that the same reference may be sent again.

    To a requery: the provider rejected the requery, and the rejection does not show whether it knows our reference. A
    rejection that shows that it does is `Unknown`.
    """

    reason: str
    retry_after_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Misconfigured(Echo):
    """Not executed, because of our credentials, our float or our set-up. No other payment will be executed either."""

    reason: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Unknown(Echo):
    """It may have sold. The payment is requeried. It is never refunded and never sent again on this answer."""

    reason: str
    known_to_provider: bool = False
    """True when the provider showed that it knows our reference. It can then never count as "not found"."""


@dataclass(frozen=True, slots=True)
class Pending(Echo):
    """To a requery: the provider knows our reference and is still processing it."""

    reason: str
    retry_after_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class NotFound(Echo):
    """To a requery: the provider does not know the reference. One such answer proves nothing."""

    reason: str


Answer = Delivered | Declined | NotSent | Deferred | Misconfigured | Unknown | Pending | NotFound


def verify_answer(
    answer: object, *, reference: str, meter: str, biller: str, amount_minor: int, needs_token: bool
) -> Answer:
    """An adapter's answer, if it is about our order and complete. Else `Unknown`: a requery finds out whose sale it was.

    This is the only place where an answer is compared with the order. An answer that repeats another reference, meter,
    biller or amount is not trusted, whatever it states; nor is a prepaid delivery without a token. Fields of a wrong type
    are converted or left out: a number in place of a text must neither lose a token nor get into the journal. A cost
    outside the possible range counts as not known.
    """
    kind = next((kind for kind in get_args(Answer) if isinstance(answer, kind)), None)
    if kind is None:
        return Unknown(f"the adapter returned a {type(answer).__name__} instead of an answer")
    values = {each.name: _CONVERTERS[each.type](getattr(answer, each.name)) for each in fields(kind)}
    verified: Answer = kind(**values)
    order = {"reference": reference, "meter": meter, "biller": biller, "amount_minor": amount_minor}
    for name, ours in order.items():
        if values[name] is not None and values[name] != ours:
            is_known = name != "reference" and (isinstance(verified, Delivered) or knows_reference(verified))
            what = name.removesuffix("_minor")
            return Unknown(f"the answer is for another {what}", known_to_provider=is_known)
    if not isinstance(verified, Delivered):
        return verified
    if needs_token and not verified.token:
        return Unknown("delivered, but without a token", known_to_provider=True)
    has_cost = verified.cost_minor is not None and 0 <= verified.cost_minor <= MAX_AMOUNT_MINOR
    return replace(
        verified, token=verified.token or None, cost_minor=verified.cost_minor if has_cost else None
    )


def knows_reference(answer: Answer) -> bool:
    """Whether an answer shows that the provider knows the reference."""
    return isinstance(answer, Pending) or (isinstance(answer, Unknown) and answer.known_to_provider)


def _as_text(value: object) -> str | None:
    return None if value is None else str(value)


def _as_texts(value: object) -> dict[str, str]:
    return {str(name): str(item) for name, item in value.items()} if isinstance(value, Mapping) else {}


def _as_int(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


_CONVERTERS: Mapping[Any, Callable[[object], object]] = {
    str: str,
    str | None: _as_text,
    int | None: _as_int,
    bool: lambda value: value is True,
    Mapping[str, str]: _as_texts,
}
"""By the type of a field: how a foreign value becomes one of that type."""
