"""The provider adapter for one BuyPower account."""

import logging
from base64 import b32encode
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import date, timedelta
from hashlib import sha256, sha512
from hmac import compare_digest
from typing import Any, Final, TypeVar
from urllib.parse import quote

from billvend.adapters.providers.billers import BILLERS
from billvend.adapters.providers.buypower.codes import DISCO_BY_BILLER, VEND_TYPES, Endpoint
from billvend.adapters.providers.buypower.response_parser import (
    CURRENCY,
    is_readable,
    parse_answer,
    parse_balance,
    parse_meter,
)
from billvend.adapters.providers.http_client import (
    VERIFY_TIMEOUT_SECONDS,
    HttpClient,
    Response,
    host_and_port,
    is_test_endpoint,
)
from billvend.adapters.providers.parse import is_sts_token
from billvend.domain.enums import VendType
from billvend.domain.errors import ConfigurationError
from billvend.domain.meter_lookup import MeterLookupFailed, MeterLookupResult
from billvend.domain.money import Money
from billvend.domain.outcome import Answer, Declined, Delivered, Misconfigured, NotSent, Unknown
from billvend.domain.policy.accounts import Mode, ProviderAccount
from billvend.ports.plugin import ProviderSetup
from billvend.ports.provider import Order

SANDBOX_URL: Final = "https://idev.buypower.ng/v2"
SIGNATURE_HEADER: Final = "x-buypower-signature"
MIN_SECRET_CHARACTERS: Final = 8
"""A shorter key is not hidden: it protects nothing, and hiding it would cut other words."""

logger = logging.getLogger("billvend.buypower")

_AnyAnswer = TypeVar("_AnyAnswer", bound=Answer | MeterLookupResult | Money)


def open_buypower(setup: ProviderSetup) -> "BuypowerProvider":
    """Open the account of the settings. Raises `ConfigurationError`."""
    return BuypowerProvider(
        api_url=setup.api_url,
        api_key=setup.api_key,
        timeout_seconds=setup.timeout_seconds,
        verify_timeout_seconds=setup.verify_timeout_seconds,
        phone=setup.phone,
        max_processing_seconds=setup.max_processing_seconds,
    )


class BuypowerProvider:
    """One BuyPower account. Amounts are naira; a phone number is sent with every order.

    `api_url` None is BuyPower's sandbox. `phone` is sent if an order has none. `max_processing_seconds` is the longest
    time after which a received request may still take effect. Raises `ConfigurationError` without a usable key.
    """

    def __init__(
        self,
        *,
        api_url: str | None,
        api_key: str | None,
        timeout_seconds: float,
        verify_timeout_seconds: float = VERIFY_TIMEOUT_SECONDS,
        phone: str | None = None,
        max_processing_seconds: int = 600,
    ) -> None:
        self._key = _validate_key(api_key)
        self._url = (api_url or SANDBOX_URL).rstrip("/")
        self._phone = phone
        self._http_client = HttpClient(timeout_seconds=timeout_seconds)
        self._verify_timeout_seconds = verify_timeout_seconds
        self._account = ProviderAccount(
            provider="buypower",
            # The key has no public id. 32 bits of its hash distinguish keys and do not reveal them.
            account_id=f"{host_and_port(self._url)}#{sha256(self._key.encode()).hexdigest()[:8]}",
            mode=Mode.TEST if is_test_endpoint(self._url, SANDBOX_URL) else Mode.LIVE,
            billers=tuple(biller for biller in BILLERS if biller.code in DISCO_BY_BILLER),
            currency=CURRENCY,
            make_reference=make_reference,
            utc_offset=timedelta(hours=1),  # Africa/Lagos, which has no summer time
            max_processing_seconds=max_processing_seconds,
            needs_phone=phone is None,
        )

    @property
    def account(self) -> ProviderAccount:
        """What the account declares about itself."""
        return self._account

    def vend(self, order: Order, may_send: Callable[[], bool]) -> Answer:
        """Buy the electricity, once."""
        disco = DISCO_BY_BILLER.get(order.biller)
        if disco is None or order.amount.currency != CURRENCY:
            return NotSent(f"BuyPower does not sell {order.biller} for {order.amount.currency}")
        phone = order.phone or self._phone
        if not phone:
            return Declined(
                "BuyPower wants a phone number with every order: set BILL_PROVIDER_PHONE", "no_phone"
            )
        content = {
            "orderId": order.reference,
            "meter": order.meter,
            "disco": disco,
            "phone": phone,
            "paymentType": "B2B",
            "vendType": VEND_TYPES[order.vend_type],
            "vertical": "ELECTRICITY",
            "amount": _naira(order.amount),
        }
        response = self._call("POST", "/vend", params={"strict": "0"}, content=content, may_send=may_send)
        return self._answer(Endpoint.VEND, response, order)

    def requery(self, order: Order) -> Answer:
        """Ask BuyPower what became of our reference."""
        response = self._call("GET", f"/transaction/{quote(order.reference, safe='')}")
        return self._answer(Endpoint.REQUERY, response, order)

    def verify(self, meter: str, biller: str, vend_type: VendType) -> MeterLookupResult:
        """Ask BuyPower who owns a meter, and whether it may be sold to."""
        if biller not in DISCO_BY_BILLER:
            return MeterLookupFailed(f"BuyPower does not sell {biller}")
        params = {
            "meter": meter,
            "disco": DISCO_BY_BILLER[biller],
            "vendType": VEND_TYPES[vend_type],
            "vertical": "ELECTRICITY",
            "orderId": "false",
        }
        response = self._call(
            "GET", "/check/meter", params=params, timeout_seconds=self._verify_timeout_seconds
        )
        if not isinstance(response, Response):
            return self._redact(MeterLookupFailed(response.reason))
        return self._redact(parse_meter(response, meter, vend_type))

    def fetch_float(self) -> Money | Misconfigured | Unknown:
        """Our balance at BuyPower."""
        response = self._call("GET", "/wallet/balance")
        if not isinstance(response, Response):
            return self._redact(Unknown(response.reason))
        return self._redact(parse_balance(response))

    def discos(self) -> dict[str, bool]:
        """Which electricity companies BuyPower can sell for at the moment, by its own names. Empty if there is no
        readable answer."""
        response = self._call("GET", "/discos/status")
        if not isinstance(response, Response) or response.status != 200 or not is_readable(response):
            return {}
        return {name: up for name, up in response.body.items() if isinstance(up, bool)}

    def parse_references(self, hook: bytes) -> tuple[str, ...]:
        """None: we know of no webhook of BuyPower about sales."""
        return ()

    def close(self) -> None:
        """Close the connections."""
        self._http_client.close()

    def _call(self, method: str, path: str, **options: Any) -> Response | NotSent | Unknown:
        headers = {"Authorization": f"Bearer {self._key}"}
        response = self._http_client.call(method, self._url + path, headers=headers, **options)
        if isinstance(response, Response) and not self._has_valid_signature(response):
            # Only one source describes the signature. Until it is confirmed, a wrong signature is only logged.
            logger.warning(
                "The signature of a BuyPower answer is wrong",
                extra={"context": {"httpStatus": response.status}},
            )
        return response

    def _has_valid_signature(self, response: Response) -> bool:
        """Whether the signature is correct or missing."""
        signature = response.headers.get(SIGNATURE_HEADER)
        expected = sha512(response.raw_body + self._key.encode()).hexdigest()
        return signature is None or compare_digest(signature.strip().lower().encode(), expected.encode())

    def _answer(self, endpoint: Endpoint, response: Response | NotSent | Unknown, order: Order) -> Answer:
        if not isinstance(response, Response):
            return self._redact(response)
        answer = parse_answer(endpoint, response, order)
        if isinstance(answer, Delivered) and answer.token and not is_sts_token(answer.token):
            logger.warning(
                "A BuyPower token is malformed",
                extra={"context": {"reference": order.reference}},
            )
        return self._redact(answer)

    def _redact(self, answer: _AnyAnswer) -> _AnyAnswer:
        """The answer with our key hidden, in case that BuyPower or an error message quotes it."""
        if len(self._key) < MIN_SECRET_CHARACTERS:
            return answer
        return replace(
            answer, **{f.name: self._redact_value(getattr(answer, f.name)) for f in fields(answer)}
        )

    def _redact_value(self, value: Any) -> Any:
        if type(value) is str and not value.isdigit():  # a StrEnum is our own text, and digits are a token
            return value.replace(self._key, "***")
        if isinstance(value, Mapping):
            return {name: self._redact_value(item) for name, item in value.items()}
        return value


def make_reference(seed: str, attempt: int, day: date) -> str:
    """The reference of an attempt, BuyPower's `orderId`: "BV" and 120 bits of a hash. It has 26 characters.

    It does not depend on the day, because an `orderId` stays valid for ever. A ledger that is restored from a backup
    derives the same one on any later day, and finds what was bought under it.
    """
    digest = sha256(f"{seed}|{attempt}".encode()).digest()
    return "BV" + b32encode(digest[:15]).decode()


def _validate_key(key: str | None) -> str:
    if not key:
        raise ConfigurationError(
            "The setting BILL_PROVIDER_API_KEY (or BUYPOWER_API_KEY) is required: BuyPower needs a key for every request."
        )
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigurationError(
            "The setting BILL_PROVIDER_API_KEY (or BUYPOWER_API_KEY) must be printable ASCII without blanks."
        )
    return key


def _naira(amount: Money) -> int | str:
    """An amount in naira for JSON: a number if it is whole, else text, which keeps the kobo exact."""
    naira, kobo = divmod(amount.amount_minor, 100)
    return str(amount) if kobo else naira
