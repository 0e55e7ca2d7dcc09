"""Verify: ask the provider whose meter it is before any money is held."""

from billvend.domain.commands import Pay
from billvend.domain.errors import (
    BelowMinimum,
    BillvendError,
    InvalidAmount,
    MeterCannotVend,
    MeterNotFound,
    ProviderUnavailable,
    UnknownBiller,
    WrongMeterType,
)
from billvend.domain.meter import parse_meter, parse_vend_type
from billvend.domain.money import Money
from billvend.domain.quote import quoted
from billvend.domain.verification import CannotVerify, MeterFault, MeterFound, MeterRefused, Verification
from billvend.domain.words import VendType
from billvend.ports.provider import Provider
from billvend.usecases.memory import MeterKey
from billvend.usecases.parts import Parts

_REFUSALS: dict[MeterFault, type[BillvendError]] = {
    MeterFault.METER_NOT_FOUND: MeterNotFound,
    MeterFault.METER_CANNOT_VEND: MeterCannotVend,
    MeterFault.WRONG_METER_TYPE: WrongMeterType,
}


def verify(parts: Parts, meter: str, biller: str, vend_type: str) -> MeterFound:
    """Whose meter it is, as the first provider says that can be asked.

    Raises `InvalidMeter`, `UnknownBiller`; `MeterNotFound`, `WrongMeterType`, `MeterCannotVend`;
    `ProviderUnavailable` where none can be asked.
    """
    number, kind = parse_meter(meter), parse_vend_type(vend_type)
    said = ask(parts, number, biller, kind)
    if isinstance(said, MeterFound):
        return said
    raise refusal(said)


def ask(parts: Parts, meter: str, biller: str, vend_type: VendType) -> Verification:
    """Ask the providers that sell for this biller, in order, until one knows. Raises `UnknownBiller`."""
    selling = [p for p in parts.providers.values() if p.abilities.sells(biller, vend_type)]
    if not selling:
        reason = f"no configured provider sells {vend_type} electricity for it"
        raise UnknownBiller(
            f"The biller {quoted(biller)} is not known: {reason}.", fields={"provider": reason}
        )
    said: Verification = CannotVerify("nobody was asked")
    for provider in selling:
        said = ask_one(parts, provider, meter, biller, vend_type)
        if not isinstance(said, CannotVerify):
            return said
    return said


def ask_one(parts: Parts, provider: Provider, meter: str, biller: str, vend_type: VendType) -> Verification:
    """Ask one provider, or remember what it said. Raises nothing."""
    key = _key(provider, meter, biller, vend_type)
    now_seconds = parts.clock.elapsed_seconds()
    if (known := parts.meters.recall(key, now_seconds)) is not None:
        return known
    try:
        said = provider.verify(meter, biller, vend_type)
    except Exception as error:  # noqa: BLE001  an adapter's bug is no reason to sell to the wrong meter
        return CannotVerify(f"the adapter failed: {type(error).__name__}")
    if isinstance(said, MeterFound):
        parts.meters.keep(key, now_seconds, said)
    return said


def _key(provider: Provider, meter: str, biller: str, vend_type: VendType) -> MeterKey:
    return provider.abilities.provider, meter, biller, vend_type


def require_meter(
    parts: Parts, meter: str, biller: str, vend_type: VendType, amount: Money
) -> MeterFound | None:
    """Refuse a payment for a meter that can't be sold to; returns whose it is, None where nobody was asked.

    Raises as `verify` does, and `BelowMinimum`.
    """
    if not parts.verification.is_on:
        return None
    said = ask(parts, meter, biller, vend_type)
    if isinstance(said, CannotVerify) and parts.verification.unreachable_is_allowed:
        return None
    if not isinstance(said, MeterFound):
        raise refusal(said)
    if (refused := refused_amount(said, amount)) is not None:
        raise refused
    return said


def remembered_meter(parts: Parts, command: Pay) -> MeterFound | None:
    """The meter of a payment, where who would be asked first said lately that it takes that much; None: ask."""
    if not parts.verification.is_on:
        return None
    selling = (p for p in parts.providers.values() if p.abilities.sells(command.biller, command.vend_type))
    first = next(selling, None)
    if first is None:
        return None
    key = _key(first, command.meter, command.biller, command.vend_type)
    known = parts.meters.recall(key, parts.clock.elapsed_seconds())
    return known if known and refused_amount(known, command.amount) is None else None


def refused_amount(found: MeterFound, amount: Money) -> BillvendError | None:
    """Why the meter itself does not take an amount: `BelowMinimum`, or `InvalidAmount` for too much; None: it does."""
    least, most = (
        None if minor is None else Money(minor, amount.currency)
        for minor in (found.minimum_minor, found.maximum_minor)
    )
    if least is not None and amount < least:
        return BelowMinimum(
            f"The amount {amount.display} is not accepted: this meter takes {least.display} or more. Nothing was held.",
            fields={"amount": f"must be at least {least}"},
        )
    if most is not None and amount > most:
        return InvalidAmount(
            f"The amount {amount.display} is not accepted: this meter takes {most.display} at most. Nothing was held.",
            fields={"amount": f"must be at most {most}"},
        )
    return None


def refusal(said: MeterRefused | CannotVerify) -> BillvendError:
    """A verification that does not allow a payment, as an error for people."""
    if isinstance(said, CannotVerify):
        return ProviderUnavailable(
            f"The electricity company can't be asked about the meter now ({said.why}). Nothing was held: try again later."
        )
    return _REFUSALS[said.fault](
        f"The meter is not accepted: {said.reason}. Nothing was held.", fields={"meterNumber": said.reason}
    )
