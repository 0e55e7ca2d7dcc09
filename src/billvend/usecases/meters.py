"""Verify: ask the provider about a meter before any money is held."""

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
from billvend.domain.ids import parse_meter, parse_vend_type
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
    """The customer of a meter, from the first provider that answers.

    Raises `InvalidMeter`, `UnknownBiller`; `MeterNotFound`, `WrongMeterType`, `MeterCannotVend`;
    `ProviderUnavailable` if no provider answers.
    """
    number, kind = parse_meter(meter), parse_vend_type(vend_type)
    answer = query_providers(deps, number, biller, kind)
    if isinstance(answer, MeterFound):
        return answer
    raise error_for(answer)


def query_providers(deps: Dependencies, meter: str, biller: str, vend_type: VendType) -> MeterLookupResult:
    """Ask the providers that sell for this biller, in order, until one answers. Raises `UnknownBiller`."""
    providers = [
        provider for provider in deps.providers.values() if provider.account.supports(biller, vend_type)
    ]
    if not providers:
        reason = f"no configured provider sells {vend_type} electricity for it"
        raise UnknownBiller(
            f"The biller {safe_repr(biller)} is not known: {reason}.", fields={"provider": reason}
        )
    answer: MeterLookupResult = MeterLookupFailed("no provider was asked")
    for provider in providers:
        answer = query_provider(deps, provider, meter, biller, vend_type)
        if not isinstance(answer, MeterLookupFailed):
            return answer
    return answer


def query_provider(
    deps: Dependencies, provider: Provider, meter: str, biller: str, vend_type: VendType
) -> MeterLookupResult:
    """Ask one provider, or use its cached answer. Raises nothing."""
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
    """Reject a payment for a meter that can't be sold to. Returns the meter's customer; None if no provider answered.

    Raises the errors of `verify_meter`, and `BelowMinimum` or `InvalidAmount`.
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
    """The cached meter of a payment, if the preferred provider recently confirmed it and it takes the amount.

    None: the provider must be asked.
    """
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
    """Why a meter does not take an amount: `BelowMinimum`, or `InvalidAmount` if it is too much. None: it takes it."""
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
    """The error for people when a verification does not allow a payment."""
    if isinstance(answer, MeterLookupFailed):
        return ProviderUnavailable(
            f"The meter can't be checked now ({answer.reason}). Nothing was held: try again later."
        )
    return _ERRORS[answer.fault](
        f"The meter is not accepted: {answer.reason}. Nothing was held.",
        fields={"meterNumber": answer.reason},
    )
