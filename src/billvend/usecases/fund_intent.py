"""Fund from outside: a customer pays in at a gateway such as Paystack, and the money is credited once.

    start            announce the payment, and say where the customer pays
    settle_funding   ask the gateway what became of it, and credit what was paid
    take_hook        the gateway says that there is news: a reason to ask, and nothing more
    ask_about_all    ask about those of which nothing was heard, at growing ages: a hook may be lost, or never come

A reference is made and committed before the gateway hears of it, and whoever committed it is the only one who announces
it, once. The gateway's word is believed only in answer to our question, and only if it names the very sum and
currency that was announced. The books take each reference once for ever, however often and in whatever order hooks come.
"""

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from billvend.domain.errors import (
    BadSetting,
    IdempotencyMismatch,
    NotFound,
    NotInReview,
    RequestInProgress,
    Unavailable,
    Unreachable,
    UnsupportedCurrency,
    ValidationFailed,
)
from billvend.domain.money import CURRENCIES, AmountLike, Money
from billvend.domain.names import parse_email, parse_key, parse_user_id
from billvend.domain.quote import quoted
from billvend.domain.wallet import Funding
from billvend.ports.books import Search
from billvend.ports.gateway import (
    Gateway,
    Misconfigured,
    NoAnswer,
    NotPaid,
    Opened,
    Paid,
    Refused,
    TakenBack,
)
from billvend.ports.intents import Intent
from billvend.usecases.fund import credit, read_funding
from billvend.usecases.parts import Parts
from billvend.usecases.settle import check_mode

WAIT_SECONDS = 5.0
"""How long a repeat waits for the first call with its key."""
LOOK_SECONDS = 0.2
ASKED_AT: Final = tuple(
    timedelta(minutes=minutes) for minutes in (10, 30, 2 * 60, 6 * 60, 24 * 60, 3 * 24 * 60)
)
"""The ages at which a funding is asked about of which nothing was heard. After the last one `fund-check` does."""
GRACE_SECONDS = 20.0
"""An intent that cannot be paid so long after its announcement must have been answered was left by a process that died."""

logger = logging.getLogger("billvend.fundings")


@dataclass(frozen=True, slots=True)
class FundingIntent:
    """A funding that the gateway waits for."""

    reference: str
    authorization_url: str
    """Where the customer pays."""
    user_id: str
    amount: Money
    replayed: bool
    """True when the key had been used for this before, and nothing was announced now."""


class FundingState(StrEnum):
    """What became of an announced funding."""

    CREDITED = "credited"
    NOT_PAID = "not_paid"
    """Not yet, or never: an abandoned payment may still succeed."""
    PROBLEM = "problem"
    """What came is not what was announced: a person has to look."""


@dataclass(frozen=True, slots=True)
class SettledFunding:
    """An announced funding after the gateway was asked."""

    intent: Intent
    state: FundingState
    detail: str
    """In words, for people."""
    transaction_id: str | None = None
    """Of the funding, where it was credited now or before."""


# --- start ------------------------------------------------------------------------------------------------------------


def start(
    parts: Parts,
    user_id: str,
    amount: AmountLike,
    *,
    email: str,
    currency: str | None,
    key: str | None,
    email_may_get_tokens: bool,
) -> FundingIntent:
    """Announce a funding. With a `key`, the same request gets the same reference and address each time.

    When it is credited, `email` becomes the address of the user's wallets if they have none and `email_may_get_tokens`.

    Raises `InvalidInput` and its kinds, also where the gateway refuses it; `IdempotencyMismatch`; `BadSetting` without
    a gateway, or with one for the other kind of money; `RequestInProgress`; `Unavailable`: nothing was charged, and it may
    be repeated.
    """
    user_id, money, email = parse_user_id(user_id), read_funding(parts, amount, currency), parse_email(email)
    key = None if key is None else parse_key(key)
    gateway = _gateway(parts)
    if money.currency not in gateway.currencies:
        reason = f"must be one of {', '.join(gateway.currencies)}"
        raise UnsupportedCurrency(
            f"{_called(gateway)} takes no {money.currency}: it {reason}.", fields={"currency": reason}
        )
    check_mode(parts)
    reference = f"bv-{parts.clock.new_id()}"
    wanted = Intent(
        user_id, reference, key, gateway.name, money, email, parts.clock.now(),
        email_may_get_tokens=email_may_get_tokens,
    )  # fmt: skip
    give_up_at = parts.clock.elapsed_seconds() + WAIT_SECONDS
    while (kept := parts.intents.keep(wanted)).reference != reference:
        if (kept.amount, kept.email, kept.source) != (money, email, gateway.name):
            raise IdempotencyMismatch(
                "This key was used before for another funding. That one stands; nothing was done now."
            )
        if kept.authorization_url is not None:
            return _intent(kept, kept.authorization_url, replayed=True)
        if _was_left(parts, gateway, kept):
            parts.intents.free_key(kept)
        elif parts.clock.elapsed_seconds() >= give_up_at:
            raise RequestInProgress(
                "The first call with this key is still at work. Nothing was done now: repeat it in a moment."
            )
        else:
            parts.clock.pause(LOOK_SECONDS)
        wanted = replace(wanted, created_at=parts.clock.now())
    return _announce(parts, gateway, kept)


def _was_left(parts: Parts, gateway: Gateway, intent: Intent) -> bool:
    """Whether nobody can be at work on an intent any more: then nobody was told its address, and nobody can pay."""
    age = abs(parts.clock.now() - intent.created_at)
    return age >= timedelta(seconds=gateway.longest_call_seconds + GRACE_SECONDS)


def _announce(parts: Parts, gateway: Gateway, intent: Intent) -> FundingIntent:
    context = {"context": {"userId": intent.user_id, "reference": intent.reference}}
    opening = gateway.initialise(intent.reference, intent.amount, intent.email)
    if isinstance(opening, Opened) and parts.intents.note_url(intent, opening.authorization_url):
        logger.info("Funding announced", extra=context)
        return _intent(intent, opening.authorization_url, replayed=False)
    # Nobody will hear of an address for this reference, so nobody pays under it: its key may stand for another one.
    parts.intents.free_key(intent)
    match opening:
        case Refused(why):
            raise ValidationFailed(f"{_called(gateway)} does not take this: {why}. Nothing was charged.")
        case Misconfigured(why):
            logger.error("%s can't be used: %s", _called(gateway), why, extra=context)
            raise Unavailable(f"{_called(gateway)} can't be used at present: {why}. Nothing was charged.")
        case NoAnswer(why):
            raise Unavailable(f"{_called(gateway)} does not answer ({why}). Nothing was charged: try again.")
        case Opened():
            raise Unavailable("It took too long to write this down. Nothing was charged: try again.")


def _intent(kept: Intent, authorization_url: str, *, replayed: bool) -> FundingIntent:
    return FundingIntent(kept.reference, authorization_url, kept.user_id, kept.amount, replayed)


# --- settle -----------------------------------------------------------------------------------------------------------


def take_hook(parts: Parts, body: bytes, signature: str | None) -> bool:
    """Take a hook of the gateway; False where it is not the gateway's own, and nothing was done.

    Raises nothing for what it says. Raises `Unavailable`, `OutcomeUnknown` and `BadSetting` where the gateway should say
    it again later.
    """
    gateway = _gateway(parts)
    if not gateway.is_genuine(body, signature):
        logger.warning("A hook that is not signed by %s was turned away", _called(gateway))
        return False
    reference = gateway.reference_in(body)
    if reference is None:  # of something else than money that came in
        return True
    intent = parts.intents.find(reference)
    if intent is None:
        # Signed by the gateway, so money came in at our account there, for something that we did not announce.
        context = {"reference": quoted(reference)}
        logger.warning(
            "A hook of %s is about no funding of ours", _called(gateway), extra={"context": context}
        )
    else:
        _settle(parts, gateway, intent)
    return True


def settle_funding(parts: Parts, reference: str) -> SettledFunding:
    """Ask the gateway what became of a funding, and credit it if it was paid, unless that was done.

    Raises `NotFound` where no funding was announced under this reference; `Unavailable`, `OutcomeUnknown`, `BadSetting`.
    """
    return _settle(parts, _gateway(parts), _announced(parts, reference))


def see_to(parts: Parts, reference: str) -> SettledFunding:
    """Somebody has seen to the problem of a funding: it need not be shown any more.

    Raises `NotFound`; `NotInReview` where it has none, or somebody has seen to it; `Unavailable`.
    """
    intent = _announced(parts, reference)
    if intent.problem is None or intent.seen_at is not None:
        raise NotInReview(f"Nothing waits for a person about the funding {quoted(reference)}.")
    at = parts.clock.now()
    parts.intents.note_seen(intent, at)
    return SettledFunding(replace(intent, seen_at=at), FundingState.PROBLEM, intent.problem)


def ask_about_all(parts: Parts, since: datetime | None) -> datetime:
    """Ask about every funding of which no money has come, and which reached one of the ages after `since`.

    None stands for the longest of them ago. Returns the moment up to which nobody need look again: `since` of the next
    look. Raises `Unavailable`, `OutcomeUnknown`, `BadSetting` where it came to nothing: then the same look is due again.
    """
    now = parts.clock.now()
    if parts.gateway is None:
        return now
    since = max(since or now - ASKED_AT[-1], now - ASKED_AT[-1])
    unpaid = parts.intents.unpaid([(since - age, now - age) for age in ASKED_AT])
    due = [intent for intent in unpaid if intent.source == parts.gateway.name]
    failures: list[Unreachable] = []
    for intent in due:
        try:
            _settle(parts, parts.gateway, intent)
        except Unreachable as error:  # one that can't be asked about is in nobody's way
            failures.append(error)
    if failures and len(failures) == len(due):
        raise failures[0]
    return now


def _settle(parts: Parts, gateway: Gateway, intent: Intent) -> SettledFunding:
    announced = (intent.amount.amount_minor, intent.amount.currency)
    match gateway.verify(intent.reference):
        case Paid(minor, currency) if (minor, currency) == announced:
            return _credited(parts, intent)
        case Paid(minor, currency):
            came = f"{_called(gateway)} says that {_sum(minor, currency)} was paid"
            return _problem(parts, intent, f"{came}, and {intent.amount.display} was asked for")
        case TakenBack() if _booked(parts, intent) is not None:
            return _problem(parts, intent, f"{_called(gateway)} gave the money back to the customer")
        case TakenBack():
            return SettledFunding(intent, FundingState.NOT_PAID, f"{_called(gateway)} says: reversed")
        case NotPaid(status):
            return SettledFunding(intent, FundingState.NOT_PAID, f"{_called(gateway)} says: {status}")
        case Misconfigured(why):
            context = {"userId": intent.user_id, "reference": intent.reference}
            logger.error("%s can't be asked: %s", _called(gateway), why, extra={"context": context})
            raise Unavailable(f"{_called(gateway)} can't be asked: {why}. Nothing was credited: try again.")
        case NoAnswer(why):
            raise Unavailable(f"{_called(gateway)} can't be asked ({why}). Nothing was credited: try again.")


def _credited(parts: Parts, intent: Intent) -> SettledFunding:
    # Not by way of `fund`: its limits are for what is asked for, and this money is here.
    try:
        funded = credit(parts, intent.user_id, intent.amount, intent.source, intent.reference)
    except IdempotencyMismatch:
        return _problem(parts, intent, "its reference was used as the key of another funding")
    if intent.email_may_get_tokens:
        parts.outbox.keep_email(intent.user_id, intent.email, parts.clock.now())
    if intent.problem is not None:
        parts.intents.note_problem(intent, None)
    detail = "It had been credited." if funded.replayed else f"{intent.amount.display} was credited."
    return SettledFunding(intent, FundingState.CREDITED, detail, funded.transaction_id)


def _problem(parts: Parts, intent: Intent, what: str) -> SettledFunding:
    booked = _booked(parts, intent)
    problem = f"{what}; it was {'not ' if booked is None else ''}credited"
    if parts.intents.note_problem(intent, problem):
        context = {"userId": intent.user_id, "reference": intent.reference, "amount": str(intent.amount)}
        logger.error("Funding needs a person: %s", problem, extra={"context": context})
    transaction_id = booked.transaction_id if booked else None
    return SettledFunding(replace(intent, problem=problem), FundingState.PROBLEM, problem, transaction_id)


def _booked(parts: Parts, intent: Intent) -> Funding | None:
    """The funding of an intent, if it was credited."""
    found = parts.books.search(Search(user_id=intent.user_id, kind="funding", reference=intent.reference))
    return next((each for each in found if isinstance(each, Funding) and each.source == intent.source), None)


def _announced(parts: Parts, reference: str) -> Intent:
    intent = parts.intents.find(reference)
    if intent is None:
        raise NotFound(f"No funding was announced under the reference {quoted(reference)}.")
    return intent


def _gateway(parts: Parts) -> Gateway:
    if parts.gateway is None:
        raise BadSetting(
            "Funding by Paystack is not set up here: PAYSTACK_SECRET_KEY is not given. Nothing was done.",
            fields={"PAYSTACK_SECRET_KEY": "is not given"},
        )
    return parts.gateway


def _called(gateway: Gateway) -> str:
    return gateway.name.capitalize()


def _sum(minor: int | None, currency: str | None) -> str:
    if minor is None or currency is None:
        return "a sum that can't be read"
    return Money(minor, currency).display if currency in CURRENCIES else f"{minor} of {quoted(currency)}"
