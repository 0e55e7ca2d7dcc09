"""What the accounts at Nigerian providers over HTTP have in common."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from hashlib import sha256
from typing import Final

from billvend.adapters.providers.billers import BILLERS
from billvend.adapters.providers.http_client import HttpClient, host_and_port, is_test_endpoint
from billvend.domain.money import Money
from billvend.domain.outcome import Declined, NotSent
from billvend.domain.policy.accounts import Mode, ProviderAccount
from billvend.ports.plugin import ProviderSetup
from billvend.ports.provider import Order, Provider

CURRENCY: Final = "NGN"


class HttpProvider(Provider):
    """One account. A subclass translates orders into requests, and responses into answers.

    `billers` has the provider's name for each electricity company, by our code. `key_id` distinguishes the keys of one
    host; 32 bits of its hash are in the account's id, and do not reveal it. `min_processing_seconds` is the shortest time
    after which a received request counts as dead: the setting can only lengthen it.
    """

    def __init__(
        self,
        setup: ProviderSetup,
        *,
        provider: str,
        sandbox_url: str,
        key_id: str,
        billers: Mapping[str, str],
        make_reference: Callable[[str, int, date], str],
        reference_lasts_a_day: bool = False,
        min_processing_seconds: int = 0,
    ) -> None:
        self._setup = setup
        self._url = (setup.api_url or sandbox_url).rstrip("/")
        self._http_client = HttpClient(timeout_seconds=setup.timeout_seconds)
        self._account = ProviderAccount(
            provider=provider,
            account_id=f"{host_and_port(self._url)}#{sha256(key_id.encode()).hexdigest()[:8]}",
            mode=Mode.TEST if is_test_endpoint(self._url, sandbox_url) else Mode.LIVE,
            billers=tuple(biller for biller in BILLERS if biller.code in billers),
            currency=CURRENCY,
            make_reference=make_reference,
            utc_offset=timedelta(hours=1),  # Africa/Lagos, which has no summer time
            reference_lasts_a_day=reference_lasts_a_day,
            needs_phone=setup.phone is None,
            max_processing_seconds=max(min_processing_seconds, setup.max_processing_seconds),
        )

    @property
    def account(self) -> ProviderAccount:
        """What the account declares about itself."""
        return self._account

    def close(self) -> None:
        """Close the connections."""
        self._http_client.close()

    def _phone_for(self, order: Order) -> str | NotSent | Declined:
        """The phone number to send with an order, or why the order is not sent at all."""
        name = self._account.provider
        if not (
            self._account.supports(order.biller, order.vend_type)
            and self._account.accepts_amount(order.amount)
        ):
            return NotSent(f"{name} does not sell {order.amount.currency} {order.vend_type} {order.biller}")
        return (
            order.phone
            or self._setup.phone
            or Declined(f"{name} wants a phone number with every order: set BILL_PROVIDER_PHONE", "no_phone")
        )


def naira(amount: Money) -> int | str:
    """An amount in naira for JSON: a number if it is whole, else text. A JSON number would be a binary float."""
    return str(amount) if amount.amount_minor % 100 else amount.amount_minor // 100
