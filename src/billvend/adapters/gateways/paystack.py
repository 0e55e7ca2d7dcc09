"""Paystack as our gateway: the calls and inbound webhooks of one account.

Amounts are whole numbers of a hundredth of the currency (kobo), which is our minor unit too. So nothing is converted or
rounded. Only status, reference, amount and currency are read from Paystack's answers. Other fields vary: `metadata`
comes as an object, as JSON in a string, as "" and as 0.
"""

import hmac
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

from billvend.adapters.providers.http_body import parse_json
from billvend.adapters.providers.http_client import MAX_BODY_BYTES, HttpClient, Response, is_test_endpoint
from billvend.adapters.providers.parse import to_mapping
from billvend.domain.errors import ConfigurationError
from billvend.domain.money import Money
from billvend.domain.outcome import Misconfigured, Unknown
from billvend.domain.policy.accounts import Mode
from billvend.domain.safe_text import single_line
from billvend.ports.gateway import (
    DepositPaid,
    DepositRejected,
    DepositUnpaid,
    GatewayFailure,
    GatewayInfo,
)

API_URL: Final = "https://api.paystack.co"
TIMEOUT_SECONDS: Final = 10.0
"""The deadline of a call. We call Paystack while it waits for our answer to its webhook, for 30 s at most."""
PAYSTACK_CURRENCIES: Final = ("NGN", "GHS", "KES", "USD", "ZAR")
"""The currencies that Paystack accepts and that have two decimals. Of XOF it expects hundredths, which do not exist."""
MAX_AMOUNT_MINOR: Final = 10**15
"""A larger amount cannot have been paid."""
MAX_URL_CHARACTERS: Final = 2_000
MAX_TEXT_CHARACTERS: Final = 150

_REFERENCE = re.compile(r"[A-Za-z0-9.=-]{1,100}")
"""The characters that Paystack accepts in a reference."""


class PaystackGateway:
    """See `billvend.ports.gateway.Gateway`. `timeout_seconds` is the deadline of a call, body included.

    The prefix of the key says whether it is for live or test money. Any other key is live, unless the API URL is on this
    machine. Raises `ConfigurationError` for a key that no header can carry.
    """

    def __init__(
        self, *, secret_key: str, api_url: str = API_URL, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        if not (secret_key.isascii() and secret_key.isprintable() and " " not in secret_key):
            raise ConfigurationError("PAYSTACK_SECRET_KEY must be printable ASCII without blanks.")
        self._key = secret_key
        self._url = api_url.rstrip("/")
        self._http_client = HttpClient(timeout_seconds=timeout_seconds)
        is_test = secret_key.startswith("sk_test_") or is_test_endpoint(self._url, "")
        is_live = secret_key.startswith("sk_live_") or not is_test
        mode = Mode.LIVE if is_live else Mode.TEST
        self.info = GatewayInfo("paystack", mode, PAYSTACK_CURRENCIES, timeout_seconds)

    def initialise(self, reference: str, amount: Money, email: str) -> str | DepositRejected | GatewayFailure:
        """Create a payment at Paystack. The answer has the URL where the customer pays."""
        content = {
            "reference": reference,
            "amount": amount.amount_minor,
            "currency": amount.currency,
            "email": email,
        }
        answer = self._call("POST", "/transaction/initialize", content)
        if not isinstance(answer, Response):
            return answer
        data = _success_data(answer)
        if data is None and answer.status in (400, 422) and answer.is_json_object:
            return DepositRejected(self._safe_text(answer.body.get("message")))
        if data is None:
            return Unknown(answer.summary)
        url = self._payment_url(data.get("authorization_url"))
        if data.get("reference") != reference or url is None:
            return Unknown(f"{answer.summary}, without a payment URL for our reference")
        return url

    def verify(self, reference: str) -> DepositPaid | DepositUnpaid | GatewayFailure:
        """Ask Paystack for the outcome of a payment."""
        answer = self._call("GET", f"/transaction/verify/{quote(reference, safe='')}")
        if not isinstance(answer, Response):
            return answer
        data = _success_data(answer)
        if (
            data is None
            and answer.status in (400, 404)
            and answer.is_json_object
            and not answer.body.get("status")
        ):
            return DepositUnpaid("unknown to Paystack")
        if data is None:
            return Unknown(answer.summary)
        if data.get("reference") != reference:
            return Unknown(f"{answer.summary}, about another payment")
        match data.get("status"):
            case "success":
                currency = data.get("currency")
                return DepositPaid(
                    _to_minor(data.get("amount")), currency if isinstance(currency, str) else None
                )
            case str(status) if status:
                return DepositUnpaid(self._safe_text(status), is_refunded=status == "reversed")
            case _:
                return Unknown(f"{answer.summary}, without a status")

    def parse_webhook(self, body: bytes, signature: str | None) -> Sequence[str] | None:
        """The reference of the payment that a webhook is about. A refund names the refunded payment.

        The signature is the HMAC-SHA512 of the body with our secret key, in lower-case hex digits.
        """
        expected = hmac.new(self._key.encode(), body, "sha512").hexdigest()
        if not hmac.compare_digest(expected.encode(), (signature or "").encode(errors="replace")):
            return None
        webhook = parse_json(body) if len(body) <= MAX_BODY_BYTES else None
        data = to_mapping(to_mapping(webhook).get("data"))
        named = (data.get("transaction_reference"), data.get("reference"))
        return [each for each in named if isinstance(each, str) and _REFERENCE.fullmatch(each)][:1]

    def close(self) -> None:
        """Close the connections."""
        self._http_client.close()

    def _call(self, method: str, path: str, content: object = None) -> Response | GatewayFailure:
        headers = {"Authorization": f"Bearer {self._key}"}
        answer = self._http_client.call(method, self._url + path, headers=headers, content=content)
        if not isinstance(answer, Response):
            return Unknown(answer.reason)
        if answer.status in (401, 403):
            return Misconfigured(f"it rejects our key ({answer.summary})")
        return answer

    def _payment_url(self, url: object) -> str | None:
        """The URL, if a customer may be sent there. None if not."""
        schemes = ("https://", "http://") if self._url.startswith("http://") else ("https://",)
        if not isinstance(url, str) or len(url) > MAX_URL_CHARACTERS or not url.startswith(schemes):
            return None
        return url if url.isascii() and url.isprintable() else None

    def _safe_text(self, value: object) -> str:
        """Paystack's text as it may be shown: one line, without our key."""
        text = value.replace(self._key, "***") if isinstance(value, str) else ""
        line = " ".join(single_line(text).split())
        return line[:MAX_TEXT_CHARACTERS].rstrip(".") or "no reason was given"


def _success_data(answer: Response) -> Mapping[str, Any] | None:
    """The data of a successful answer. None if the answer is not a success."""
    if answer.status not in (200, 201) or not answer.is_json_object or answer.body.get("status") is not True:
        return None
    return to_mapping(answer.body.get("data"))


def _to_minor(value: object) -> int | None:
    """An amount in minor units. None for anything but a whole number of them, as a number or in digits."""
    match value:
        case bool():
            return None
        case int():
            minor = value
        case Decimal() if (
            value.is_finite() and abs(value.adjusted()) < 20 and value == value.to_integral_value()
        ):
            minor = int(value)
        case str() if re.fullmatch("[0-9]{1,16}", value):
            minor = int(value)
        case _:
            return None
    return minor if 0 < minor <= MAX_AMOUNT_MINOR else None
