"""The provider adapter for one BuyPower account."""

from base64 import b32encode
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import date
from hashlib import sha256
from typing import Any, Final, TypeVar
from urllib.parse import quote

from billvend.adapters.providers.billers import DISCO_BY_BILLER
from billvend.adapters.providers.buypower.codes import VEND_TYPES, Endpoint
from billvend.adapters.providers.buypower.response_parser import parse_answer, parse_balance, parse_meter
from billvend.adapters.providers.http_client import Response
from billvend.adapters.providers.http_provider import HttpProvider, naira
from billvend.domain.enums import VendType
from billvend.domain.errors import ConfigurationError
from billvend.domain.meter_lookup import MeterLookupFailed, MeterLookupResult
from billvend.domain.money import Money
from billvend.domain.outcome import Answer, Misconfigured, NotSent, Unknown
from billvend.ports.plugin import ProviderSetup
from billvend.ports.provider import Order

SANDBOX_URL: Final = "https://idev.buypower.ng/v2"
MIN_SECRET_CHARACTERS: Final = 8
"""A shorter key is not hidden: it protects nothing, and hiding it would cut other words."""

_AnyAnswer = TypeVar("_AnyAnswer", bound=Answer | MeterLookupResult | Money)


class BuypowerProvider(HttpProvider):
    """One BuyPower account. Amounts are naira; a phone number is sent with every order.

    `api_url` None is BuyPower's sandbox. Raises `ConfigurationError` without a usable key.
    """

    def __init__(self, setup: ProviderSetup) -> None:
        self._key = _validate_key(setup.api_key)
        super().__init__(
            setup,
            provider="buypower",
            sandbox_url=SANDBOX_URL,
            key_id=self._key,  # it has no public id
            billers=DISCO_BY_BILLER,
            make_reference=make_reference,
        )

    def vend(self, order: Order, may_send: Callable[[], bool]) -> Answer:
        """Buy the electricity, once."""
        phone = self._phone_for(order)
        if not isinstance(phone, str):
            return phone
        content = {
            "orderId": order.reference,
            "meter": order.meter,
            "disco": DISCO_BY_BILLER[order.biller],
            "phone": phone,
            "paymentType": "B2B",
            "vendType": VEND_TYPES[order.vend_type],
            "vertical": "ELECTRICITY",
            "amount": naira(order.amount),
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
            "GET", "/check/meter", params=params, timeout_seconds=self._setup.verify_timeout_seconds
        )
        if isinstance(response, Response):
            return self._redact(parse_meter(response, meter, vend_type))
        return self._redact(MeterLookupFailed(response.reason))

    def fetch_float(self) -> Money | Misconfigured | Unknown:
        """Our balance at BuyPower."""
        response = self._call("GET", "/wallet/balance")
        if isinstance(response, Response):
            return self._redact(parse_balance(response))
        return self._redact(Unknown(response.reason))

    def _call(self, method: str, path: str, **options: Any) -> Response | NotSent | Unknown:
        headers = {"Authorization": f"Bearer {self._key}"}
        return self._http_client.call(method, self._url + path, headers=headers, **options)

    def _answer(self, endpoint: Endpoint, response: Response | NotSent | Unknown, order: Order) -> Answer:
        if not isinstance(response, Response):
            return self._redact(response)
        return self._redact(parse_answer(endpoint, response, order))

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
