"""The conformance suite for adapters. Correct adapters pass. Each faulty adapter fails the test for its fault.

The example of docs/adapters.md is one of the correct adapters. It runs unchanged.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from billvend.adapters.providers.buypower.provider import BuypowerProvider
from billvend.adapters.providers.http_client import HttpClient, Response
from billvend.adapters.providers.parse import to_mapping, to_text, to_token
from billvend.adapters.providers.vtpass.provider import VtpassProvider
from billvend.config import PLUGIN_GROUP
from billvend.domain.enums import VendType
from billvend.domain.meter_lookup import MeterFound, MeterLookupFailed, MeterLookupResult
from billvend.domain.money import Money
from billvend.domain.outcome import Answer, Declined, Delivered, Misconfigured, NotFound, NotSent, Unknown
from billvend.domain.policy.accounts import Biller, Mode, ProviderAccount
from billvend.ports.plugin import ProviderSetup
from billvend.ports.provider import Order, Provider
from billvend.testing import FAULTS, ProviderConformance
from tests.provider import buypower_answers, vtpass_answers

pytestmark = pytest.mark.long

PAGE = Path(__file__).parents[2] / "docs" / "adapters.md"


# --- a small correct adapter ------------------------------------------------------------------------------------------


class Toy:
    """A provider that answers every call with {"state", "id", "meter", "kobo", "token"}."""

    def __init__(self, setup: ProviderSetup) -> None:
        self.setup = setup
        self.wire = HttpClient(timeout_seconds=setup.timeout_seconds)
        self.url = str(setup.api_url)
        self.headers = {"Authorization": f"Bearer {setup.api_key}"}

    @property
    def account(self) -> ProviderAccount:
        account = sha256(f"{self.url} {self.setup.api_key}".encode()).hexdigest()[:8]
        return ProviderAccount(
            provider=self.setup.name,
            account_id=account,
            mode=Mode.TEST,
            billers=(Biller("EKEDC", "Eko"),),
            currency="NGN",
            make_reference=self.make_reference,
            max_processing_seconds=self.setup.max_processing_seconds,
        )

    def make_reference(self, seed: str, attempt: int, day: date) -> str:
        return sha256(f"{seed}|{attempt}".encode()).hexdigest()

    def vend(self, order: Order, may_send: Callable[[], bool]) -> Answer:
        return self.read(self.call("vend", order, may_send))

    def requery(self, order: Order) -> Answer:
        return self.read(self.call("requery", order))

    def verify(self, meter: str, biller: str, vend_type: VendType) -> MeterLookupResult:
        response = self.call("verify")
        return MeterFound(name) if (name := self.text_in(response, "name")) else MeterLookupFailed("no name")

    def fetch_float(self) -> Money | Misconfigured | Unknown:
        kobo = self.text_in(self.call("float"), "kobo")
        return Money(int(kobo), "NGN") if kobo else Unknown("no balance")

    def parse_references(self, hook: bytes) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        self.wire.close()

    def call(
        self, path: str, order: Order | None = None, may_send: Callable[[], bool] = lambda: True
    ) -> Response | NotSent | Unknown:
        sale = {"id": order.reference, "meter": order.meter} if order else {}
        return self.wire.call(
            "POST", f"{self.url}/{path}", headers=self.headers, content=sale, may_send=may_send
        )

    def read(self, response: Response | NotSent | Unknown) -> Answer:
        if not isinstance(response, Response):
            return response
        fields = to_mapping(response.body)
        if response.status == 200 and fields.get("state") == "sold":
            return Delivered(to_token(fields.get("token")), reference=to_text(fields.get("id")))
        return Unknown(response.summary)

    def text_in(self, response: Response | NotSent | Unknown, name: str) -> str | None:
        return to_text(to_mapping(response.body).get(name)) if isinstance(response, Response) else None


class ToySuite(ProviderConformance):
    name = "toy"
    toy: type[Toy] = Toy

    def open_provider(self, setup: ProviderSetup) -> Provider:
        return self.toy(setup)

    def delivery_body(self, order: Order, token: str) -> bytes:
        return json.dumps({"state": "sold", "id": order.reference, "token": token}).encode()


class TestToy(ToySuite):
    """The suite on a correct adapter."""


# --- faulty adapters --------------------------------------------------------------------------------------------------


class Retries(Toy):
    def call(
        self, path: str, order: Order | None = None, may_send: Callable[[], bool] = lambda: True
    ) -> Response | NotSent | Unknown:
        first = super().call(path, order, may_send)
        return super().call(path, order, may_send) if isinstance(first, Unknown) else first


class IgnoresSendGuard(Toy):
    def vend(self, order: Order, may_send: Callable[[], bool]) -> Answer:
        return self.read(self.call("vend", order))


class ChecksGuardTooEarly(Toy):
    def vend(self, order: Order, may_send: Callable[[], bool]) -> Answer:
        return self.read(self.call("vend", order)) if may_send() else NotSent("too late")


class DeclinesOn500(Toy):
    def read(self, response: Response | NotSent | Unknown) -> Answer:
        if isinstance(response, Response) and response.status == 500:
            return Declined("the server failed", about_transaction=True)
        return super().read(response)


class TreatsUnknownAsNotFound(Toy):
    def requery(self, order: Order) -> Answer:
        answer = super().requery(order)
        return NotFound("nothing there") if isinstance(answer, Unknown) else answer


class TreatsTimeoutAsNotSent(Toy):
    def vend(self, order: Order, may_send: Callable[[], bool]) -> Answer:
        answer = super().vend(order, may_send)
        return (
            NotSent(answer.reason)
            if isinstance(answer, Unknown) and "no whole answer" in answer.reason
            else answer
        )


class Raises(Toy):
    def read(self, response: Response | NotSent | Unknown) -> Answer:
        if isinstance(response, Response) and not isinstance(response.body, Mapping):
            raise TypeError("no object")
        return super().read(response)


class RaisesOnStrangeTokens(Toy):
    def read(self, response: Response | NotSent | Unknown) -> Answer:
        if isinstance(response, Response) and response.is_json_object:
            "".join(response.body.get("token", ""))
        return super().read(response)


class GuessesMeters(Toy):
    def verify(self, meter: str, biller: str, vend_type: VendType) -> MeterLookupResult:
        self.call("verify")
        return MeterFound("ADA OBI")


class PlainHttpx(Toy):
    """An adapter on a default httpx client: it follows redirects, and its timeout is for each read, not in all."""

    def call(
        self, path: str, order: Order | None = None, may_send: Callable[[], bool] = lambda: True
    ) -> Response | NotSent | Unknown:
        if not may_send():
            return NotSent("too late")
        sale = {"id": order.reference} if order else {}
        try:
            with httpx.Client(timeout=self.setup.timeout_seconds, follow_redirects=True) as client:
                answer = client.post(f"{self.url}/{path}", headers=self.headers, json=sale)
        except httpx.ConnectError as error:
            return NotSent(str(error))
        except httpx.HTTPError as error:
            return Unknown(type(error).__name__)
        try:
            return Response(answer.status_code, answer.json())
        except (ValueError, ArithmeticError, RecursionError):
            return Response(answer.status_code, None)


class IgnoresReference(Toy):
    def read(self, response: Response | NotSent | Unknown) -> Answer:
        answer = super().read(response)
        return replace(answer, reference=None) if isinstance(answer, Delivered) else answer


class LosesDelivery(Toy):
    def read(self, response: Response | NotSent | Unknown) -> Answer:
        answer = super().read(response)
        return Unknown("sold?") if isinstance(answer, Delivered) else answer


class LeaksKeyInAnswer(Toy):
    def read(self, response: Response | NotSent | Unknown) -> Answer:
        answer = super().read(response)
        return Unknown(str(response.raw_body)) if isinstance(response, Response) else answer


class SharesAnswers(Toy):
    """One thread gets the answer of another."""

    order: Order | None = None

    def vend(self, order: Order, may_send: Callable[[], bool]) -> Answer:
        self.order = self.order or order
        return self.read(self.call("vend", self.order, may_send))


class RandomReferences(Toy):
    drawn = 0

    def make_reference(self, seed: str, attempt: int, day: date) -> str:
        RandomReferences.drawn += 1
        return f"R{RandomReferences.drawn}"


class SameReferenceForAttempts(Toy):
    def make_reference(self, seed: str, attempt: int, day: date) -> str:
        return sha256(seed.encode()).hexdigest()


class ShortensProcessingTime(Toy):
    @property
    def account(self) -> ProviderAccount:
        return replace(super().account, max_processing_seconds=10)


class LeaksKeyInAccount(Toy):
    @property
    def account(self) -> ProviderAccount:
        return replace(super().account, account_id=f"{self.url}#{self.setup.api_key}")


class SameIdForAccounts(Toy):
    @property
    def account(self) -> ProviderAccount:
        return replace(super().account, account_id="toy")


class LeavesConnectionsOpen(Toy):
    closings = 0

    def close(self) -> None:
        self.closings += 1
        if self.closings > 2:  # in the end, after the check of the suite
            super().close()


class ClosesOnce(Toy):
    closed = False

    def close(self) -> None:
        super().close()
        if self.closed:
            raise RuntimeError("closed")
        self.closed = True


class TrustsWebhooks(Toy):
    def parse_references(self, hook: bytes) -> tuple[str, ...]:
        return (hook.decode("latin-1"),)


FAULTY_ADAPTERS: dict[type[Toy], tuple[str, str, str]] = {
    Retries: ("vend_returns_unknown_after_fault", "reset", "vend took 2 requests"),
    IgnoresSendGuard: ("vend_sends_nothing_when_may_send_is_false", "", "but it sent"),
    ChecksGuardTooEarly: ("vend_sends_nothing_when_may_send_expires_during_connect", "", "but it sent"),
    DeclinesOn500: ("vend_returns_unknown_after_fault", "HTML 500", "answered Declined"),
    TreatsUnknownAsNotFound: ("requery_verify_and_float_return_unknown_after_fault", "empty 200", "requery answered NotFound"),
    TreatsTimeoutAsNotSent: ("vend_returns_unknown_after_fault", "stalled", "answered NotSent"),
    Raises: ("unexpected_body_returns_unknown", "", "vend raised TypeError"),
    RaisesOnStrangeTokens: (
        "corrupt_delivery_is_never_not_sent_or_not_found", "", "vend raised TypeError"),
    GuessesMeters: ("requery_verify_and_float_return_unknown_after_fault", "HTML 500", "verify answered MeterFound"),
    PlainHttpx: ("redirects_are_not_followed", "", "vend followed a 301"),
    IgnoresReference: ("foreign_reference_is_rejected", "", "is Delivered"),
    LosesDelivery: ("delivery_is_recognised", "", "a delivery is Unknown"),
    LeaksKeyInAnswer: ("answers_contain_no_secret", "", "repeats the API key"),
    SharesAnswers: ("concurrent_vends_get_their_own_answers", "", "not what was sold to it"),
    RandomReferences: ("references_are_deterministic_short_and_unique", "", "another reference"),
    SameReferenceForAttempts: ("references_are_deterministic_short_and_unique", "", "share a reference"),
    ShortensProcessingTime: ("provider_account_is_complete_and_stable", "", "shorter than the setting"),
    LeaksKeyInAccount: ("account_fingerprint_is_unique_and_hides_keys", "", "repeats the API key"),
    SameIdForAccounts: (
        "account_fingerprint_is_unique_and_hides_keys", "", "two hosts have one fingerprint"),
    LeavesConnectionsOpen: ("close_is_idempotent_and_frees_connections", "", "is open after close"),
    ClosesOnce: ("close_is_idempotent_and_frees_connections", "", "close raised RuntimeError"),
    TrustsWebhooks: ("unknown_webhook_yields_no_references", "", "it found"),
}  # fmt: skip
"""A faulty adapter: the test that fails, the fault parameter of that test, and a part of its message."""


@pytest.mark.parametrize("wrong", FAULTY_ADAPTERS, ids=lambda wrong: wrong.__name__)
def test_faulty_adapter_fails_the_named_check(wrong: type[Toy]) -> None:
    check, fault, reason = FAULTY_ADAPTERS[wrong]
    assert reason in str(failure_of(wrong, check, fault))


def test_plain_httpx_adapter_fails_on_slow_body() -> None:
    assert "its deadline is 0.4 s in all" in str(
        failure_of(PlainHttpx, "vend_returns_unknown_after_fault", "dripping body")
    )


def failure_of(wrong: type[Toy], check: str, fault: str) -> AssertionError | None:
    """The error with which a test of the suite fails on this adapter; None if it passes."""
    suite = ToySuite()
    suite.toy = wrong
    suite.slack_seconds = 1.0
    faults = [each for each in FAULTS if each.name == fault]
    try:
        getattr(suite, f"test_{check}")(*faults)
    except AssertionError as error:
        return error
    return None


# --- our adapters -----------------------------------------------------------------------------------------------------


class TestVtpass(ProviderConformance):
    name = "vtpass"

    def open_provider(self, setup: ProviderSetup) -> Provider:
        return VtpassProvider(setup)

    def delivery_body(self, order: Order, token: str) -> bytes:
        naira = str(order.amount.major)
        transaction = vtpass_answers.transaction(unique_element=order.meter, amount=naira)
        sale_fields = {
            "requestId": order.reference,
            "amount": naira,
            "content": {"transactions": transaction},
        }
        words = f"Token : {token}"
        return json.dumps(vtpass_answers.delivered(**sale_fields, token=words, purchased_code=words)).encode()


class TestBuypower(ProviderConformance):
    name = "buypower"

    def open_provider(self, setup: ProviderSetup) -> Provider:
        return BuypowerProvider(setup)

    def delivery_body(self, order: Order, token: str) -> bytes:
        return buypower_answers.encoded(buypower_answers.success(**self.sale(order, token)))

    def requery_delivery_body(self, order: Order, token: str) -> bytes:
        return buypower_answers.encoded(buypower_answers.requery_success(**self.sale(order, token)))

    def sale(self, order: Order, token: str) -> dict[str, object]:
        naira = str(order.amount.major)
        parcels = [{"type": "TOKEN", "content": token}]
        sale_fields = {"orderId": order.reference, "token": token, "parcels": parcels}
        return {**sale_fields, "vendAmount": naira, "totalAmountPaid": naira}


# --- the documentation ------------------------------------------------------------------------------------------------


def example() -> type[ProviderConformance]:
    """The test class of docs/adapters.md, on the adapter of the same page."""
    adapter, suite = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    package = ModuleType("acme_billvend")
    names: dict[str, type[ProviderConformance]] = {}
    sys.modules[package.__name__] = package
    try:
        exec(compile(adapter, "docs/adapters.md", "exec"), vars(package))  # noqa: S102  our own page
        exec(compile(suite, "docs/adapters.md", "exec"), names)  # noqa: S102  as above
    finally:
        del sys.modules[package.__name__]
    return names["TestAcme"]


TestAcme = example()


def test_docs_name_the_entry_point_group() -> None:
    assert f'[project.entry-points."{PLUGIN_GROUP}"]\nacme = "acme_billvend:open_acme"\n' in PAGE.read_text()
