"""Meters: ask a provider about a meter, before any money is held or sent."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

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
from billvend.domain.outcome import Answer, Declined, NotSent
from billvend.domain.payment.state import Payment
from billvend.domain.safe_text import safe_repr
from billvend.ports.clock import Clock
from billvend.ports.provider import Provider
from billvend.usecases.meter_cache import MeterCache

_ERRORS: dict[MeterFault, type[BillvendError]] = {
    MeterFault.METER_NOT_FOUND: MeterNotFound,
    MeterFault.METER_CANNOT_VEND: MeterCannotVend,
    MeterFault.WRONG_METER_TYPE: WrongMeterType,
}


@dataclass(frozen=True, slots=True)
class MeterCheck:
    """Whether a meter is checked with a provider before money is held."""

    is_enabled: bool = False
    allows_unreachable: bool = False
    """True accepts a payment if no provider answers about its meter."""


@dataclass(frozen=True, slots=True)
class Meters:
    """Asks the providers about meters, and caches those that were found."""

    providers: Mapping[tuple[str, str], Provider]
    """By (provider, account), in order of preference."""
    clock: Clock
    check: MeterCheck = field(default_factory=MeterCheck)
    cache: MeterCache = field(default_factory=MeterCache)

    def lookup(self, meter: str, biller: str, vend_type: str) -> MeterFound:
        """The customer of a meter, from the first provider that answers.

        Raises `InvalidMeter`, `UnknownBiller`; `MeterNotFound`, `WrongMeterType`, `MeterCannotVend`;
        `ProviderUnavailable` if no provider answers.
        """
        answer = self._query_all(parse_meter(meter), biller, parse_vend_type(vend_type))
        if isinstance(answer, MeterFound):
            return answer
        raise _error_for(answer)

    def require(self, command: Pay) -> MeterFound | None:
        """Reject a payment for a meter that can't be sold to. Returns the meter's customer; None if no provider answered.

        Raises the errors of `lookup`, and `BelowMinimum` or `InvalidAmount`.
        """
        if not self.check.is_enabled:
            return None
        answer = self._query_all(command.meter, command.biller, command.vend_type)
        if isinstance(answer, MeterLookupFailed) and self.check.allows_unreachable:
            return None
        if not isinstance(answer, MeterFound):
            raise _error_for(answer)
        if (error := _amount_error(answer, command.amount)) is not None:
            raise error
        return answer

    def cached(self, command: Pay) -> MeterFound | None:
        """The cached meter of a payment, if the preferred provider recently confirmed it and it takes the amount.

        None: the provider must be asked.
        """
        first = next(self._sellers(command.biller, command.vend_type), None)
        if not self.check.is_enabled or first is None:
            return None
        key = (first.account.provider, command.meter, command.biller, command.vend_type)
        cached = self.cache.get(key, self.clock.elapsed_seconds())
        return cached if cached and _amount_error(cached, command.amount) is None else None

    def rejection(self, provider: Provider, payment: Payment) -> Answer | None:
        """Why nothing is sent to a meter that was accepted in bulk, without a check; None if the payment may be sent.

        Nothing was sent under the reference yet. So this answer to the send is proof.
        """
        if not self.check.is_enabled:
            return None
        match self._query(provider, payment.meter, payment.biller, payment.vend_type):
            case MeterRejected(fault, reason):
                return Declined(reason, fault.value)
            case MeterFound() as meter if (error := _amount_error(meter, payment.amount)) is not None:
                return Declined(f"the amount {error.fields['amount']}", error.code)
            case MeterLookupFailed(reason) if not self.check.allows_unreachable:
                return NotSent(f"the meter could not be checked: {reason}")
            case _:
                return None

    def _sellers(self, biller: str, vend_type: VendType) -> Iterator[Provider]:
        return (
            provider for provider in self.providers.values() if provider.account.supports(biller, vend_type)
        )

    def _query_all(self, meter: str, biller: str, vend_type: VendType) -> MeterLookupResult:
        """Ask the providers that sell for this biller, in order, until one answers. Raises `UnknownBiller`."""
        answer: MeterLookupResult | None = None
        for provider in self._sellers(biller, vend_type):
            answer = self._query(provider, meter, biller, vend_type)
            if not isinstance(answer, MeterLookupFailed):
                break
        if answer is None:
            reason = f"no configured provider sells {vend_type} electricity for it"
            raise UnknownBiller(
                f"The biller {safe_repr(biller)} is not known: {reason}.", fields={"provider": reason}
            )
        return answer

    def _query(self, provider: Provider, meter: str, biller: str, vend_type: VendType) -> MeterLookupResult:
        """Ask one provider, or use its cached answer. Raises nothing."""
        key = (provider.account.provider, meter, biller, vend_type)
        now_seconds = self.clock.elapsed_seconds()
        if (cached := self.cache.get(key, now_seconds)) is not None:
            return cached
        try:
            answer = provider.verify(meter, biller, vend_type)
        except Exception as error:  # noqa: BLE001  an adapter's bug is no reason to sell to the wrong meter
            return MeterLookupFailed(f"the adapter failed: {type(error).__name__}")
        if isinstance(answer, MeterFound):
            self.cache.put(key, now_seconds, answer)
        return answer


def _amount_error(meter: MeterFound, amount: Money) -> BillvendError | None:
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


def _error_for(answer: MeterRejected | MeterLookupFailed) -> BillvendError:
    """The error for people when a look-up does not allow a payment."""
    if isinstance(answer, MeterLookupFailed):
        return ProviderUnavailable(
            f"The meter can't be checked now ({answer.reason}). Nothing was held: try again later."
        )
    return _ERRORS[answer.fault](
        f"The meter is not accepted: {answer.reason}. Nothing was held.",
        fields={"meterNumber": answer.reason},
    )
