"""What a provider's answer to one call tells us, as a closed set.

An adapter translates bytes on the wire into exactly one of these. What it does not recognise is `Unknown`, and so is
everything that happened after the first byte left without a clear answer: the provider may have issued the token.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from billvend.domain.money import MAX_AMOUNT_MINOR


@dataclass(frozen=True, slots=True)
class Delivered:
    """The provider states that the electricity was sold under our reference."""

    token: str | None
    """What the customer types into a prepaid meter, digits only where it is well formed; None for postpaid."""
    units: str | None = None
    """Kilowatt hours, as a decimal string."""
    cost_minor: int | None = None
    """What it cost us, in minor units; None while the provider has not said."""
    receipt: Mapping[str, str] = field(default_factory=dict)
    """What a receipt prints: receiptNumber, tax, netAmount, tariff, kct1, kct2 and the like."""
    provider_reference: str | None = None
    """The provider's own number of the sale."""
    reference: str | None = None
    """Our reference as echoed; None where the answer carries none. The same holds for `meter` and `amount_minor`."""
    meter: str | None = None
    amount_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Declined:
    """The provider states that nothing was or will be delivered."""

    reason: str
    code: str = ""
    about_transaction: bool = False
    """True when the statement is about the transaction under our reference, false when it is about this one request
    (which says nothing of an earlier send of the same reference)."""
    provider_reversed: bool = False
    """True when the provider had sold and then reversed the sale, money back at the provider."""


@dataclass(frozen=True, slots=True)
class NotSent:
    """The request provably never left us: refused connection, DNS, TLS handshake, pool timeout, too late to send."""

    reason: str


@dataclass(frozen=True, slots=True)
class Deferred:
    """Stated as not executed, to be asked again under the same reference. On a requery: the question was turned away, and
    nothing in the refusal shows whether the provider knows our reference; what shows that it does is `Unknown`."""

    reason: str
    retry_after_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """Our credentials, our float or our set-up is at fault: not executed, and no other payment will be either."""

    reason: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may have vended. Never refunded, never sent again: requeried."""

    reason: str
    known_to_provider: bool = False
    """True when the provider showed that it knows our reference, which can then never be "not found"."""


@dataclass(frozen=True, slots=True)
class Pending:
    """On a requery: the provider knows our reference and is still at it."""

    reason: str
    retry_after_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class NotFound:
    """On a requery: the provider knows no such reference. One sighting proves nothing."""

    reason: str


Answer = Delivered | Declined | NotSent | Deferred | Misconfigured | Unknown | Pending | NotFound


def normalise(answer: object) -> Answer:
    """The answer as an adapter ought to give it, whatever it gave: what is not of its kind is left out, or `Unknown`.

    An adapter passes on what a provider wrote. A number where text is due, or a list where a receipt is due, must
    neither lose a token nor get onto the books.
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
            return Unknown(f"the adapter gave a {type(answer).__name__} for an answer")


def _as_text(value: object) -> str | None:
    return None if value is None else str(value)


def _as_texts(value: object) -> dict[str, str]:
    return {str(name): str(item) for name, item in value.items()} if isinstance(value, Mapping) else {}


def _as_int(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def verify_echo(
    answer: Answer, *, reference: str, meter: str, amount_minor: int, needs_token: bool
) -> Answer:
    """The answer, or `Unknown` where a delivery is not provably ours.

    A success that echoes another reference, meter or amount, or a prepaid success without a token, is not trusted:
    whose sale it was is for a requery to tell. A cost that no sale can have is a cost that we do not know.
    """
    if not isinstance(answer, Delivered):
        return answer
    echoes = (
        ("reference", answer.reference, reference),
        ("meter", answer.meter, meter),
        ("amount", answer.amount_minor, amount_minor),
    )
    for what, echoed, ours in echoes:
        if echoed is not None and echoed != ours:
            return Unknown(f"the answer is for another {what}", known_to_provider=what != "reference")
    if needs_token and not answer.token:
        return Unknown("delivered, but without a token", known_to_provider=True)
    is_a_cost = answer.cost_minor is not None and 0 <= answer.cost_minor <= MAX_AMOUNT_MINOR
    return replace(answer, token=answer.token or None, cost_minor=answer.cost_minor if is_a_cost else None)
