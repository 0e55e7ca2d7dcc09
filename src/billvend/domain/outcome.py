"""The answers of a provider to one call, as a closed set.

An adapter translates bytes on the wire into exactly one of these. An answer that it does not recognise is `Unknown`. So
is every call without a clear answer whose first byte had left: the provider may have issued the token.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from billvend.domain.money import MAX_AMOUNT_MINOR


@dataclass(frozen=True, slots=True)
class Delivered:
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
    reference: str | None = None
    """Our reference as the answer repeats it; None if it does not. The same applies to `meter` and `amount_minor`."""
    meter: str | None = None
    amount_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Declined:
    """The provider states that nothing was or will be delivered."""

    reason: str
    code: str = ""
    about_transaction: bool = False
    """True when the statement is about the transaction under our reference. False when it is about this one request:
    then it says nothing about an earlier send of the same reference."""
    provider_reversed: bool = False
    """True when the provider sold, then reversed the sale: our money is back at the provider."""


@dataclass(frozen=True, slots=True)
class NotSent:
    """It is proven that the request never left us: refused connection, DNS, TLS handshake, pool timeout, too late to send."""

    reason: str


@dataclass(frozen=True, slots=True)
class Deferred:
    """The provider states that it did not execute the request, and that the same reference may be sent again.

    To a requery: the provider rejected the requery, and the rejection does not show whether it knows our reference. A
    rejection that shows that it does is `Unknown`.
    """

    reason: str
    retry_after_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """Not executed, because of our credentials, our float or our set-up. No other payment will be executed either."""

    reason: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may have sold. The payment is requeried. It is never refunded and never sent again on this answer."""

    reason: str
    known_to_provider: bool = False
    """True when the provider showed that it knows our reference. It can then never count as "not found"."""


@dataclass(frozen=True, slots=True)
class Pending:
    """To a requery: the provider knows our reference and is still processing it."""

    reason: str
    retry_after_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class NotFound:
    """To a requery: the provider does not know the reference. One such answer proves nothing."""

    reason: str


Answer = Delivered | Declined | NotSent | Deferred | Misconfigured | Unknown | Pending | NotFound


def normalise(answer: object) -> Answer:
    """Normalise an adapter's answer: fields of the wrong type are converted or dropped, any other object is `Unknown`.

    An adapter passes on what a provider wrote. A number instead of a text, or a list instead of a receipt, must neither
    lose a token nor get into the journal.
    """
    match answer:
        case Delivered():
            return Delivered(
                token=_as_text(answer.token),
                units=_as_text(answer.units),
                cost_minor=_as_int(answer.cost_minor),
                receipt=_as_texts(answer.receipt),
                provider_reference=_as_text(answer.provider_reference),
                reference=_as_text(answer.reference),
                meter=_as_text(answer.meter),
                amount_minor=_as_int(answer.amount_minor),
            )
        case Declined():
            about_transaction, provider_reversed = (
                answer.about_transaction is True,
                answer.provider_reversed is True,
            )
            return Declined(str(answer.reason), str(answer.code), about_transaction, provider_reversed)
        case NotSent() | NotFound():
            return type(answer)(str(answer.reason))
        case Deferred() | Pending():
            return type(answer)(str(answer.reason), _as_int(answer.retry_after_seconds))
        case Misconfigured():
            return Misconfigured(str(answer.reason), str(answer.code))
        case Unknown():
            return Unknown(str(answer.reason), answer.known_to_provider is True)
        case _:
            return Unknown(f"the adapter returned a {type(answer).__name__} instead of an answer")


def _as_text(value: object) -> str | None:
    return None if value is None else str(value)


def _as_texts(value: object) -> dict[str, str]:
    return {str(name): str(item) for name, item in value.items()} if isinstance(value, Mapping) else {}


def _as_int(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def verify_echo(
    answer: Answer, *, reference: str, meter: str, amount_minor: int, needs_token: bool
) -> Answer:
    """The answer, or `Unknown` if a delivery is not proven to be ours.

    A success that repeats another reference, meter or amount is not trusted, nor is a prepaid success without a token.
    A requery finds out whose sale it was. A cost outside the possible range counts as not known.
    """
    if not isinstance(answer, Delivered):
        return answer
    echoes = (
        ("reference", answer.reference, reference),
        ("meter", answer.meter, meter),
        ("amount", answer.amount_minor, amount_minor),
    )
    for what, echoed, expected in echoes:
        if echoed is not None and echoed != expected:
            return Unknown(f"the answer is for another {what}", known_to_provider=what != "reference")
    if needs_token and not answer.token:
        return Unknown("delivered, but without a token", known_to_provider=True)
    is_a_cost = answer.cost_minor is not None and 0 <= answer.cost_minor <= MAX_AMOUNT_MINOR
    return replace(answer, token=answer.token or None, cost_minor=answer.cost_minor if is_a_cost else None)
