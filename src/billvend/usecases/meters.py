"""Verify: ask the provider whose meter it is before any money is held."""

from billvend.domain.decisions.commands import Pay
from billvend.domain.enums import VendType
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
from billvend.domain.meter_lookup import (
    MeterFault,
    MeterFound,
    MeterLookupFailed,
    MeterLookupResult,
    MeterRejected,
)
from billvend.domain.money import Money
from billvend.domain.safe_text import safe_repr
from billvend.ports.provider import Provider
from billvend.usecases.caches import MeterKey
from billvend.usecases.dependencies import Dependencies

_ERRORS: dict[MeterFault, type[BillvendError]] = {
    MeterFault.METER_NOT_FOUND: MeterNotFound,
    MeterFault.METER_CANNOT_VEND: MeterCannotVend,
    MeterFault.WRONG_METER_TYPE: WrongMeterType,
}


def verify_meter(deps: Dependencies, meter: str, biller: str, vend_type: str) -> MeterFound:
    """Whose meter it is, as the first provider says that can be asked.

    Raises `InvalidMeter`, `UnknownBiller`; `MeterNotFound`, `WrongMeterType`, `MeterCannotVend`;
    `ProviderUnavailable` where none can be asked.
    """
    number, kind = parse_meter(meter), parse_vend_type(vend_type)
    answer = query_providers(deps, number, biller, kind)
    if isinstance(answer, MeterFound):
        return answer
    raise error_for(answer)


def query_providers(deps: Dependencies, meter: str, biller: str, vend_type: VendType) -> MeterLookupResult:
    """Ask the providers that sell for this biller, in order, until one knows. Raises `UnknownBiller`."""
    providers = [
        provider for provider in deps.providers.values() if provider.account.supports(biller, vend_type)
    ]
    if not providers:
        reason = f"no configured provider sells {vend_type} electricity for it"
        raise UnknownBiller(
            f"The biller {safe_repr(biller)} is not known: {reason}.", fields={"provider": reason}
        )
    answer: MeterLookupResult = MeterLookupFailed("nobody was asked")
    for provider in providers:
        answer = query_provider(deps, provider, meter, biller, vend_type)
        if not isinstance(answer, MeterLookupFailed):
            return answer
    return answer


def query_provider(
    deps: Dependencies, provider: Provider, meter: str, biller: str, vend_type: VendType
) -> MeterLookupResult:
    """Ask one provider, or remember what it said. Raises nothing."""
    key = _cache_key(provider, meter, biller, vend_type)
    now_seconds = deps.clock.elapsed_seconds()
    if (cached := deps.meter_cache.get(key, now_seconds)) is not None:
        return cached
    try:
        answer = provider.verify(meter, biller, vend_type)
    except Exception as error:  # noqa: BLE001  an adapter's bug is no reason to sell to the wrong meter
        return MeterLookupFailed(f"the adapter failed: {type(error).__name__}")
    if isinstance(answer, MeterFound):
        deps.meter_cache.put(key, now_seconds, answer)
    return answer


def _cache_key(provider: Provider, meter: str, biller: str, vend_type: VendType) -> MeterKey:
    return provider.account.provider, meter, biller, vend_type


def require_meter(
    deps: Dependencies, meter: str, biller: str, vend_type: VendType, amount: Money
) -> MeterFound | None:
    """Refuse a payment for a meter that can't be sold to; returns whose it is, None where nobody was asked.

    Raises as `verify` does, and `BelowMinimum`.
    """
    if not deps.meter_check.is_enabled:
        return None
    answer = query_providers(deps, meter, biller, vend_type)
    if isinstance(answer, MeterLookupFailed) and deps.meter_check.allows_unreachable:
        return None
    if not isinstance(answer, MeterFound):
        raise error_for(answer)
    if (error := amount_error(answer, amount)) is not None:
        raise error
    return answer


def cached_meter(deps: Dependencies, command: Pay) -> MeterFound | None:
    """The meter of a payment, where who would be asked first said lately that it takes that much; None: ask."""
    if not deps.meter_check.is_enabled:
        return None
    providers = (
        provider
        for provider in deps.providers.values()
        if provider.account.supports(command.biller, command.vend_type)
    )
    first = next(providers, None)
    if first is None:
        return None
    key = _cache_key(first, command.meter, command.biller, command.vend_type)
    cached = deps.meter_cache.get(key, deps.clock.elapsed_seconds())
    return cached if cached and amount_error(cached, command.amount) is None else None


def amount_error(meter: MeterFound, amount: Money) -> BillvendError | None:
    """Why the meter itself does not take an amount: `BelowMinimum`, or `InvalidAmount` for too much; None: it does."""
    minimum, maximum = (
        None if minor is None else Money(minor, amount.currency)
        for minor in (meter.minimum_minor, meter.maximum_minor)
    )
    if minimum is not None and amount < minimum:
        return BelowMinimum(
            f"The amount {amount.display} is not accepted: this meter takes {minimum.display} or more. Nothing was held.",
            fields={"amount": f"must be at least {minimum}"},
        )
    if maximum is not None and amount > maximum:
        return InvalidAmount(
            f"The amount {amount.display} is not accepted: this meter takes {maximum.display} at most. Nothing was held.",
            fields={"amount": f"must be at most {maximum}"},
        )
    return None


def error_for(answer: MeterRejected | MeterLookupFailed) -> BillvendError:
    """A verification that does not allow a payment, as an error for people."""
    if isinstance(answer, MeterLookupFailed):
        return ProviderUnavailable(
            f"The electricity company can't be asked about the meter now ({answer.reason}). Nothing was held: try again later."
        )
    return _ERRORS[answer.fault](
        f"The meter is not accepted: {answer.reason}. Nothing was held.",
        fields={"meterNumber": answer.reason},
    )
