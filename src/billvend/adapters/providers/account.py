"""What accounts at providers in Nigeria share: their currency, their companies, the form of an amount."""

from collections.abc import Callable, Container
from datetime import date, timedelta
from hashlib import sha256
from typing import Final

from billvend.adapters.providers.billers import BILLERS
from billvend.adapters.providers.http_client import host_and_port, is_test_endpoint
from billvend.domain.money import Money
from billvend.domain.policy.accounts import Mode, ProviderAccount
from billvend.ports.plugin import ProviderSetup

CURRENCY: Final = "NGN"


def build_account(
    setup: ProviderSetup,
    *,
    provider: str,
    url: str,
    sandbox_url: str,
    key_id: str,
    billers: Container[str],
    make_reference: Callable[[str, int, date], str],
    min_processing_seconds: int = 0,
    reference_lasts_a_day: bool = False,
) -> ProviderAccount:
    """What the account of a provider declares about itself. `billers` has the codes of the companies that it sells for.

    `key_id` identifies the account at the provider. 32 bits of its hash distinguish keys and reveal none.
    """
    return ProviderAccount(
        provider=provider,
        account_id=f"{host_and_port(url)}#{sha256(key_id.encode()).hexdigest()[:8]}",
        mode=Mode.TEST if is_test_endpoint(url, sandbox_url) else Mode.LIVE,
        billers=tuple(biller for biller in BILLERS if biller.code in billers),
        currency=CURRENCY,
        make_reference=make_reference,
        utc_offset=timedelta(hours=1),  # Africa/Lagos, which has no summer time
        reference_lasts_a_day=reference_lasts_a_day,
        needs_phone=setup.phone is None,
        max_processing_seconds=max(min_processing_seconds, setup.max_processing_seconds),
    )


def to_naira(amount: Money) -> int | str:
    """An amount in naira for JSON: a number if it is whole, else text. A JSON number would be a binary float."""
    naira, kobo = divmod(amount.amount_minor, 100)
    return str(amount) if kobo else naira
