"""The provider adapter for one VTpass account."""

from base64 import b32encode, b64encode
from collections.abc import Callable, Mapping
from datetime import date
from hashlib import sha256
from typing import Final

from billvend.adapters.providers.billers import SERVICE_ID_BY_BILLER
from billvend.adapters.providers.http_client import Response
from billvend.adapters.providers.http_provider import HttpProvider, naira
from billvend.adapters.providers.vtpass.codes import SANDBOX_URL
from billvend.adapters.providers.vtpass.response_parser import (
    Endpoint,
    parse_answer,
    parse_balance,
    parse_meter,
    parse_references,
)
from billvend.domain.enums import VendType
from billvend.domain.errors import ConfigurationError
from billvend.domain.meter_lookup import MeterLookupFailed, MeterLookupResult
from billvend.domain.money import Money
from billvend.domain.outcome import Answer, Misconfigured, NotSent, Unknown
from billvend.ports.plugin import ProviderSetup
from billvend.ports.provider import Order

MIN_PROCESSING_SECONDS: Final = 600
"""Our choice, which the setting can only lengthen. VTpass does not say when a delayed request is dead."""


class VtpassProvider(HttpProvider):
    """One account at VTpass, over HTTP.

    With `public_key` it uses API keys: `api_key` and `public_key` to read, `api_key` and `secret_key` to sell and to
    requery. Without it, and with an e-mail address as `api_key`, it logs in with that address and `secret_key` as the
    password. `api_url` None is VTpass's sandbox. `phone` is sent if an order has none, because VTpass requires one.

    Raises `ConfigurationError` if a key is missing or cannot be sent in a header.
    """

    def __init__(self, setup: ProviderSetup) -> None:
        self._read_headers, self._sell_headers, key_id = _build_headers(
            setup.api_key, setup.public_key, setup.secret_key
        )
        super().__init__(
            setup,
            provider="vtpass",
            sandbox_url=SANDBOX_URL,
            key_id=key_id,
            billers=SERVICE_ID_BY_BILLER,
            make_reference=make_reference,
            reference_lasts_a_day=True,
            min_processing_seconds=MIN_PROCESSING_SECONDS,
        )

    def vend(self, order: Order, may_send: Callable[[], bool]) -> Answer:
        """Buy the electricity, once.

        Nothing is sent if VTpass does not sell it, if there is no phone number, or if the reference is not of today.
        VTpass would answer an old reference with 085, and the core would take that for a wrong set-up and stop selling.
        """
        phone = self._phone_for(order)
        if not isinstance(phone, str):
            return phone
        content = {
            "request_id": order.reference,
            "serviceID": SERVICE_ID_BY_BILLER[order.biller],
            "billersCode": order.meter,
            "variation_code": order.vend_type.value,
            "amount": naira(order.amount),
            "phone": phone,
        }
        response = self._post(Endpoint.PAY.value, content, lambda: self._is_valid_today(order) and may_send())
        return parse_answer(Endpoint.PAY, response, order) if isinstance(response, Response) else response

    def requery(self, order: Order) -> Answer:
        """Ask VTpass what became of our reference."""
        response = self._post(Endpoint.REQUERY.value, {"request_id": order.reference})
        if isinstance(response, Response):
            return parse_answer(Endpoint.REQUERY, response, order)
        return Unknown(response.reason)  # also if the question was not sent

    def verify(self, meter: str, biller: str, vend_type: VendType) -> MeterLookupResult:
        """Ask VTpass who owns a meter, and whether it may be sold to."""
        if not self.account.supports(biller, vend_type):
            return MeterLookupFailed(f"VTpass does not sell {vend_type} {biller}")
        content = {"billersCode": meter, "serviceID": SERVICE_ID_BY_BILLER[biller], "type": vend_type.value}
        response = self._post("/merchant-verify", content, timeout_seconds=self._setup.verify_timeout_seconds)
        if isinstance(response, Response):
            return parse_meter(response, vend_type)
        return MeterLookupFailed(response.reason)

    def fetch_float(self) -> Money | Misconfigured | Unknown:
        """Our balance at VTpass."""
        response = self._http_client.call(
            "GET", self._url + "/balance", headers=self._read_headers,
            timeout_seconds=self._setup.verify_timeout_seconds,
        )  # fmt: skip
        return parse_balance(response) if isinstance(response, Response) else Unknown(response.reason)

    def parse_references(self, body: bytes) -> tuple[str, ...]:
        """The reference that a webhook of VTpass names. It has no signature, so anyone may have sent it."""
        return parse_references(body)

    def _post(
        self,
        path: str,
        content: Mapping[str, object],
        may_send: Callable[[], bool] = lambda: True,
        timeout_seconds: float | None = None,
    ) -> Response | NotSent | Unknown:
        return self._http_client.call(
            "POST", self._url + path, headers=self._sell_headers, content=content,
            timeout_seconds=timeout_seconds, may_send=may_send,
        )  # fmt: skip

    def _is_valid_today(self, order: Order) -> bool:
        return order.reference.startswith(_day_digits(self.account.day(self._setup.now())))


def make_reference(seed: str, attempt: int, day: date) -> str:
    """The reference of an attempt: twelve digits of the day and 100 bits of a hash. It has 32 characters.

    VTpass wants YYYYMMDDHHMM in front and checks that the day is today in Lagos. The time of day is always 0000: the
    same input must give the same reference at any time, and midnight is never in the future.
    """
    digest = sha256(f"{seed}|{attempt}".encode()).digest()
    return f"{_day_digits(day)}0000{b32encode(digest).decode()[:20]}"


def _day_digits(day: date) -> str:
    return day.isoformat().replace("-", "")


def _build_headers(
    api_key: str | None, public_key: str | None, secret_key: str | None
) -> tuple[dict[str, str], dict[str, str], str]:
    """The headers for reading and for selling, and the id of the key, which is not secret. Raises `ConfigurationError`."""
    api_key = _require_credential("API_KEY", api_key)
    secret_key = _require_credential("SECRET_KEY", secret_key)
    if not public_key and "@" in api_key:
        login = b64encode(f"{api_key}:{secret_key}".encode()).decode()
        basic = {"Authorization": f"Basic {login}"}
        return basic, basic, api_key
    keys = {
        "API_KEY": api_key,
        "SECRET_KEY": secret_key,
        "PUBLIC_KEY": _require_credential("PUBLIC_KEY", public_key),
    }
    for part, key in keys.items():
        if not (key.isascii() and key.isprintable()):
            raise _invalid_credential(part, "must be printable ASCII for VTpass")
    read_headers = {"api-key": api_key, "public-key": keys["PUBLIC_KEY"]}
    sell_headers = {"api-key": api_key, "secret-key": secret_key}
    return read_headers, sell_headers, keys["PUBLIC_KEY"]


def _require_credential(part: str, value: str | None) -> str:
    if value:
        return value
    raise _invalid_credential(part, "must be given for VTpass")


def _invalid_credential(part: str, reason: str) -> ConfigurationError:
    name = f"BILL_PROVIDER_{part}"
    return ConfigurationError(f"The setting {name} (or VTPASS_{part}) {reason}.", fields={name: reason})
