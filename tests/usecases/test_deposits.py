"""Deposits, with a fake Paystack on a real socket: what is credited, when, and how often."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from billvend import (
    BillvendError,
    ConfigurationError,
    IdempotencyMismatch,
    ResourceNotFound,
    Unavailable,
    ValidationFailed,
)
from billvend.app import Billvend
from billvend.domain.errors import InvalidAmount, NotInReview, RequestInProgress, UnsupportedCurrency
from billvend.domain.ledger.wallet import Funding
from billvend.ports.gateway import Gateway
from billvend.ports.queries import Search
from billvend.testing.fault_server import http_response
from billvend.usecases.deposits import DepositStatus
from billvend.usecases.limits import Limits
from billvend.usecases.start_deposit import DepositResult
from tests.harness import AppHarness
from tests.support.paystack import SECRET, FakePaystack, fake_paystack, json_response, signature

EMAIL = "ada@example.com"
INITIAL_NAIRA = 10_000
"""The naira in ada's wallet at first."""


class DepositApp(AppHarness):
    """A billvend with a fake Paystack."""

    def __init__(self, paystack: FakePaystack, gateway: Gateway) -> None:
        super().__init__(gateway=gateway)
        self.paystack = paystack

    def start(self, amount: Any = "500.50", **more: Any) -> DepositResult:
        """Start a deposit of ada."""
        return self.bv.create_deposit("ada", amount, **{"email": EMAIL, **more})

    def pay_deposit(self, **fields: Any) -> str:
        """Start a deposit that the customer then pays. Returns its reference. Paystack reports the fields differently."""
        reference = self.start().reference
        self.paystack.mark_paid(reference, **fields)
        return reference

    def receive(self, reference: str, **more: Any) -> None:
        """Receive a webhook of Paystack about a deposit. It is accepted."""
        assert self.bv.handle_gateway_webhook(*self.paystack.webhook(reference, **more))

    def only_problem(self) -> str:
        (deposit,) = self.bv.review().deposits_with_problems
        return str(deposit.problem)

    def credited_kobo(self) -> int:
        """What Paystack credited to ada's wallet, in kobo. All of it is there, and the ledger passes an audit."""
        found = [each for each in self.bv.history("ada", limit=100) if isinstance(each, Funding)]
        kobo = sum(each.amount.amount_minor for each in found if each.source == "paystack")
        assert self.bv.balance("ada").available.amount_minor == INITIAL_NAIRA * 100 + kobo
        assert self.bv.audit().ok
        return kobo


@pytest.fixture
def app() -> Iterator[DepositApp]:
    with fake_paystack() as (paystack, gateway):
        app = DepositApp(paystack, gateway)
        yield app
        assert app.bv.audit().ok
        app.close()


def error_response(message: object) -> bytes:
    return json_response({"status": False, "message": message}, "400 Bad Request")


def initialized_response(url: object, reference: str = "of-another") -> bytes:
    return json_response({"status": True, "data": {"authorization_url": url, "reference": reference}})


# --- webhooks that never come -----------------------------------------------------------------------------------------


def test_paid_deposit_is_credited_without_webhook(app: DepositApp) -> None:
    paid, unpaid = app.start(), app.start("70")
    app.paystack.mark_paid(paid.reference)
    since = app.bv.poll_deposits()
    assert (app.credited_kobo(), app.paystack.verified_references) == (0, [])  # too early
    app.advance(10 * 60)
    since = app.bv.poll_deposits(since)
    assert app.paystack.verified_references == [paid.reference, unpaid.reference]
    assert app.credited_kobo() == 50_050
    since = app.bv.poll_deposits(since)
    assert len(app.paystack.verified_references) == 2  # not at each check
    app.advance(20 * 60)
    since = app.bv.poll_deposits(since)
    assert app.paystack.verified_references[2:] == [unpaid.reference]
    app.advance(3 * 24 * 3600)
    since = app.bv.poll_deposits(since)
    assert app.paystack.verified_references[3:] == [unpaid.reference]  # missed checks are made up for once
    app.advance(30 * 24 * 3600)
    app.bv.poll_deposits(since)
    assert len(app.paystack.verified_references) == 4
    assert app.credited_kobo() == 50_050


def test_failed_deposit_poll_is_repeated(app: DepositApp) -> None:
    app.pay_deposit()
    since = app.bv.poll_deposits()
    app.advance(10 * 60)
    app.paystack.verify_response = b""
    with pytest.raises(Unavailable):
        app.bv.poll_deposits(since)
    app.paystack.verify_response = None
    app.bv.poll_deposits(since)
    assert app.credited_kobo() == 50_050


# --- creating ---------------------------------------------------------------------------------------------------------


def test_deposit_is_initialized_once_with_amount_in_kobo(app: DepositApp) -> None:
    deposit = app.start()
    assert app.paystack.initialize_requests == [
        {"reference": deposit.reference, "amount": 50_050, "currency": "NGN", "email": EMAIL}
    ]
    assert deposit.authorization_url == f"{app.paystack.url}/pay/{deposit.reference}"
    assert deposit.replayed is False
    assert app.credited_kobo() == 0


def test_reference_is_stored_before_it_is_sent_to_paystack(app: DepositApp) -> None:
    app.paystack.initialize_response = b""
    with pytest.raises(Unavailable, match="Nothing was charged"):
        app.start()
    (announced,) = app.paystack.initialize_requests
    assert app.deps.deposits.get(announced["reference"]) is not None


def test_repeated_key_returns_same_authorization_url(app: DepositApp) -> None:
    first = app.start(key="order-1")
    assert app.start("500.50", key="order-1") == replace(first, replayed=True)
    assert len(app.paystack.initialize_requests) == 1


def test_no_key_or_other_user_creates_another_deposit(app: DepositApp) -> None:
    of_ben = app.bv.create_deposit("ben", 500, email=EMAIL, key="order-1")
    deposits = [app.start(), app.start(), app.start(key="order-1"), of_ben]
    assert len({deposit.reference for deposit in deposits}) == len(app.paystack.initialize_requests) == 4


@pytest.mark.parametrize("other", [{"amount": "500.51"}, {"email": "b@example.com"}, {"currency": "KES"}])
def test_key_of_another_deposit_is_rejected(app: DepositApp, other: dict[str, Any]) -> None:
    app.start(key="order-1")
    with pytest.raises(IdempotencyMismatch):
        app.start(**{"key": "order-1", **other})
    assert len(app.paystack.initialize_requests) == 1


@pytest.mark.parametrize(
    ("wrong", "error", "field"),
    [
        ({"amount": 0}, InvalidAmount, "amount"),
        ({"amount": "0.001"}, InvalidAmount, "amount"),
        ({"amount": "1000000.01"}, InvalidAmount, "amount"),
        ({"amount": 0.5}, TypeError, None),
        ({"currency": "KWD", "amount": 500}, UnsupportedCurrency, "currency"),
        ({"currency": "ABC"}, UnsupportedCurrency, "currency"),
        ({"key": " x"}, ValidationFailed, "idempotencyKey"),
        *(
            ({"email": email}, ValidationFailed, "email")
            for email in ("", "ada", "ada@", "@a.b", "a@b", "a b@c.d", "a@b.c\n", "ạ@b.c", "a@b..c", None, 5,
                          "a" * 65 + "@b.c", "a@" + "b" * 253 + ".c", "<a@b.c>", "a@b.c,d@e.f")
        ),
    ],
)  # fmt: skip
def test_invalid_deposit_is_rejected_before_any_call(
    app: DepositApp, wrong: dict[str, Any], error: type[Exception], field: str | None
) -> None:
    with pytest.raises(error) as caught:
        app.start(**wrong)
    if field is not None:
        assert isinstance(caught.value, BillvendError)
        assert field in caught.value.fields
    assert app.paystack.initialize_requests == []


@pytest.mark.parametrize(
    ("says", "error", "words"),
    [
        (error_response("Invalid\r\n amount."), ValidationFailed, "rejects this deposit: Invalid amount"),
        (error_response(f"no {SECRET}"), ValidationFailed, r"no \*\*\*"),
        (error_response(5), ValidationFailed, "no reason"),
        (json_response({"status": False}, "401 Unauthorized"), Unavailable, "rejects our key"),
        (json_response({"status": False}, "429 Too Many"), Unavailable, "429"),
        (http_response(b"<html>", status="502 Bad", kind="text/html"), Unavailable, "502"),
        (http_response(b"", status="200 OK"), Unavailable, "200"),
        (http_response(b"[" * 100_000), Unavailable, "200"),
        (http_response(b"0" * 2_000_000), Unavailable, "larger"),
        (json_response({"status": True, "data": {}}), Unavailable, "without a payment URL"),
        (initialized_response("https://x.example"), Unavailable, "without a payment URL"),
        (b"", Unavailable, "connection"),
    ],
)  # fmt: skip
def test_failed_initialization_releases_the_key(
    app: DepositApp, says: bytes, error: type[BillvendError], words: str
) -> None:
    app.paystack.initialize_response = says
    with pytest.raises(error, match=words) as caught:
        app.start(key="order-1")
    assert SECRET not in str(caught.value)
    app.paystack.initialize_response = None
    deposit = app.start(key="order-1")
    first, second = (announced["reference"] for announced in app.paystack.initialize_requests)
    assert second == deposit.reference != first  # Paystack may know the first: it is never used again
    assert app.start(key="order-1").reference == second


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "ftp://x", "https://x\n", "http" * 600, 7, None, ["https://x.example"]]
)
def test_invalid_authorization_url_is_not_returned(app: DepositApp, url: object) -> None:
    def start(url: object) -> DepositResult:
        reference = f"bv-id-{int(app.clock.new_id()[3:]) + 1:06}"  # of the next id
        app.paystack.initialize_response = initialized_response(url, reference)
        return app.start()

    assert start("https://pay.example/1").authorization_url == "https://pay.example/1"
    with pytest.raises(Unavailable):
        start(url)


def test_abandoned_deposit_is_restarted(app: DepositApp) -> None:
    """It stored its deposit, and may or may not have initialised it."""
    first = app.start(key="order-1")
    app.sql("UPDATE deposits SET authorization_url = NULL")
    with pytest.raises(RequestInProgress, match="still running"):
        app.start(key="order-1")
    app.clock.sleep(30)
    second = app.start(key="order-1")
    assert second.reference != first.reference
    assert app.start(key="order-1").reference == second.reference
    for deposit in (first, second):  # and the one that is paid is credited
        app.paystack.mark_paid(deposit.reference)
        assert app.bv.check_deposit(deposit.reference).status is DepositStatus.CREDITED
    assert app.credited_kobo() == 2 * 50_050


def test_missing_gateway_setting_is_named() -> None:
    app = AppHarness()
    for call in (
        lambda: app.bv.create_deposit("ada", 500, email=EMAIL),
        lambda: app.bv.check_deposit("x"),
        lambda: app.bv.handle_gateway_webhook(b"{}", None),
    ):
        with pytest.raises(ConfigurationError, match="PAYSTACK_SECRET_KEY"):
            call()
    app.close()


def test_live_ledger_rejects_test_gateway(app: DepositApp) -> None:
    app.sql("INSERT OR REPLACE INTO environment (id, mode) VALUES (1, 'live')")
    app.restart(app.provider)
    with pytest.raises(ConfigurationError, match="live money"):
        app.start()
    assert app.paystack.initialize_requests == []


# --- webhooks ---------------------------------------------------------------------------------------------------------


def test_webhook_credits_paid_deposit(app: DepositApp) -> None:
    reference = app.pay_deposit()
    app.receive(reference)
    assert app.credited_kobo() == 50_050
    (found,) = app.bv.search(Search(reference=reference))
    assert isinstance(found.transaction, Funding)
    assert found.transaction.source == "paystack"


@pytest.mark.parametrize("is_operator_first", [True, False])
def test_webhooks_check_and_operator_credit_once(app: DepositApp, is_operator_first: bool) -> None:
    def operator_credits_by_hand() -> None:
        app.bv.fund("ada", "500.50", key=reference, source="paystack")

    reference = app.pay_deposit()
    if is_operator_first:
        operator_credits_by_hand()
    for number in range(5):
        app.receive(reference, id=number)
    assert app.bv.check_deposit(reference).detail == "It was already credited."
    operator_credits_by_hand()
    assert app.credited_kobo() == 50_050


def test_reference_used_as_key_needs_review(app: DepositApp) -> None:
    reference = app.pay_deposit()
    app.bv.fund("ada", 1, key=reference)
    app.receive(reference)
    assert "was used as the key of another funding" in app.only_problem()


def test_webhook_before_initialize_response_credits(app: DepositApp) -> None:
    """Paystack knows the payment, and its webhook arrives, but its answer is lost. What was paid is credited all the same."""
    app.paystack.initialize_response = b""
    with pytest.raises(Unavailable):
        app.start()
    (reference,) = app.paystack.transactions
    app.paystack.mark_paid(reference)
    app.receive(reference)
    assert app.credited_kobo() == 50_050


@pytest.mark.parametrize(
    ("forge", "why"),
    [
        (lambda body: (body, None), "none"),
        (lambda body: (body, ""), "empty"),
        (lambda body: (body, signature(body, "sk_test_other")), "another key"),
        (lambda body: (body, signature(body).upper()), "in capitals"),
        (lambda body: (body, signature(body)[:-1]), "cut off"),
        (lambda body: (body, signature(body) + "0"), "longer"),
        (lambda body: (body, "ü\udc80" * 64), "no hex"),
        (lambda body: (body + b" ", signature(body)), "one more blank"),
        (lambda body: (body.replace(b"50050", b"90050"), signature(body)), "another sum"),
        (lambda body: (json.dumps(json.loads(body), indent=1).encode(), signature(body)), "formatted differently"),
        (lambda body: (json.dumps(json.loads(body), separators=(",", ":")).encode(), signature(body)), "tight"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_webhook_with_invalid_signature_is_ignored(
    app: DepositApp, forge: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    reference = app.pay_deposit()
    body, _ = app.paystack.webhook(reference)
    assert app.bv.handle_gateway_webhook(*forge(body)) is False
    assert (app.paystack.verified_references, app.credited_kobo()) == ([], 0)
    assert SECRET not in caplog.text


def test_webhook_signature_covers_raw_bytes(app: DepositApp) -> None:
    """Spaces, escapes, the order of names, a name given twice: these bytes are accepted as long as they are signed."""
    reference = app.pay_deposit()
    body = b'\n{ "data" : {"x": "\\u00e9\xc3\xa9", "reference":"no", "reference":"%s"}, "event":1}\n' % (
        reference.encode()
    )
    assert app.bv.handle_gateway_webhook(body, signature(body))
    assert app.credited_kobo() == 50_050


@pytest.mark.parametrize(
    "body",
    [
        b"", b"nonsense", b"null", b"[]", b"5", b'"x"', b"{}", b'{"data": null}', b'{"data": []}', b"\xff\xfe\x00",
        b'{"data": {"reference": null}}', b'{"data": {"reference": 5}}', b'{"data": {"reference": {}}}',
        b'{"data": {"reference": "a\\u0000b"}}', b'{"data": {"reference": "\\ud800"}}', b'{"data": {"reference": ""}}',
        b'{"data": {"reference": "' + b"a" * 101 + b'"}}', b'{"data": {"reference": "unknown-1"}}',
        b"[" * 200_000, b'{"data": {"reference": "x", "amount": 1e999999999999999999999}}',
        b'{"data": {"reference": "x", "amount": ' + b"9" * 10_000 + b"}}", b" " * 5_000_000 + b'{"data": {}}',
        b'{"data": {"reference": NaN}}',
    ],
    ids=lambda body: body[:30].decode("latin-1"),
)  # fmt: skip
def test_signed_webhook_without_known_reference_is_accepted(app: DepositApp, body: bytes) -> None:
    app.start()
    assert app.bv.handle_gateway_webhook(body, signature(body))
    assert (app.paystack.verified_references, app.credited_kobo()) == ([], 0)


METADATA = [{"wallet": "w"}, '{"wallet": "w"}', "", 0, None, [], "no json {", {"a": {"b": [None, 1.5]}}, True]


@pytest.mark.parametrize("metadata", METADATA, ids=repr)
def test_metadata_of_any_type_is_ignored(app: DepositApp, metadata: object) -> None:
    reference = app.pay_deposit(metadata=metadata)
    app.receive(reference, metadata=metadata)
    assert app.credited_kobo() == 50_050


# --- answers of Paystack to a check -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status", ["abandoned", "failed", "pending", "processing", "queued", "ongoing", "reversed", "new"]
)
def test_webhook_is_verified_and_may_credit_later(app: DepositApp, status: str) -> None:
    deposit = app.start()
    app.paystack.transactions[deposit.reference]["status"] = status
    app.receive(deposit.reference, status="success")
    settled = app.bv.check_deposit(deposit.reference)
    assert (settled.status, settled.detail) == (DepositStatus.NOT_PAID, f"Paystack says: {status}")
    assert app.credited_kobo() == 0
    app.clock.sleep(100_000)
    app.paystack.mark_paid(deposit.reference)
    app.receive(deposit.reference)
    assert app.credited_kobo() == 50_050


def test_webhook_of_a_failed_attempt_after_the_success_changes_nothing(app: DepositApp) -> None:
    reference = app.pay_deposit()
    app.receive(reference)
    app.receive(reference, event="charge.failed", status="failed")
    assert app.credited_kobo() == 50_050


@pytest.mark.parametrize(
    ("paid", "words"),
    [
        ({"amount": 50_049}, "a payment of NGN 500.49"),
        ({"amount": 5_005_000}, "a payment of NGN 50,050.00"),
        ({"amount": 500.5}, "an unreadable amount"),
        ({"amount": "500.50"}, "an unreadable amount"),
        ({"amount": "50050 "}, "an unreadable amount"),
        ({"amount": -50_050}, "an unreadable amount"),
        ({"amount": 0}, "an unreadable amount"),
        ({"amount": 10**30}, "an unreadable amount"),
        ({"amount": True}, "an unreadable amount"),
        ({"amount": None}, "an unreadable amount"),
        ({"amount": [50_050]}, "an unreadable amount"),
        ({"currency": "GHS"}, "a payment of GHS 500.50"),
        ({"currency": "ngn"}, "a payment of 50050 of 'ngn'"),
        ({"currency": None}, "an unreadable amount"),
        ({"currency": "\x00\ud800"}, "a payment of"),
    ],
)  # fmt: skip
def test_wrong_amount_or_currency_is_not_credited_and_needs_review(
    app: DepositApp,
    paid: dict[str, Any],
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    reference = app.pay_deposit(**paid)
    for _ in range(3):
        app.receive(reference)
    assert app.credited_kobo() == 0
    assert words in app.only_problem()
    assert app.only_problem().endswith("but the deposit is NGN 500.50. The deposit was not credited")
    assert [record.levelname for record in caplog.records if "needs review" in record.message] == ["ERROR"]
    app.bv.acknowledge_deposit(reference)
    app.receive(reference)
    assert app.bv.review().deposits_with_problems == []  # it is the same one
    with pytest.raises(NotInReview):
        app.bv.acknowledge_deposit(reference)


@pytest.mark.parametrize("amount", [50_050, "50050", 50_050.0], ids=repr)
def test_amount_as_text_or_float_is_the_same_amount(app: DepositApp, amount: object) -> None:
    reference = app.pay_deposit(amount=amount)
    assert app.bv.check_deposit(reference).status is DepositStatus.CREDITED
    assert app.credited_kobo() == 50_050


def test_solved_deposit_problem_leaves_review(app: DepositApp) -> None:
    reference = app.pay_deposit(amount=1)
    app.bv.check_deposit(reference)
    app.paystack.mark_paid(reference, amount=50_050)
    assert app.bv.check_deposit(reference).status is DepositStatus.CREDITED
    assert (app.bv.review().deposits_with_problems, app.credited_kobo()) == ([], 50_050)


def test_refund_after_credit_needs_review(app: DepositApp) -> None:
    reference = app.pay_deposit()
    app.bv.check_deposit(reference)
    app.paystack.transactions[reference]["status"] = "reversed"
    body = json.dumps({"event": "refund.processed", "data": {"transaction_reference": reference}}).encode()
    assert app.bv.handle_gateway_webhook(body, signature(body))
    assert app.only_problem() == "Paystack refunded the money to the customer. The deposit was credited"
    assert app.credited_kobo() == 50_050


@pytest.mark.parametrize(
    "says",
    [
        b"",
        json_response({"status": False}, "500 Oops"),
        json_response({"status": False}, "429 Slow"),
        json_response({"status": False}, "401 No"),
        http_response(b"<html>", status="404 Not Found", kind="text/html"),
        http_response(b"<html>", kind="text/html"),
        http_response(b""),
        json_response({"status": "true", "data": {"status": "success"}}),
        json_response({"status": True, "data": None}),
        json_response(
            {"status": True, "data": {"status": "success", "reference": "another", "amount": 50_050, "currency": "NGN"}}
        ),
        http_response(b"", status="302 Found", headers=("Location: https://elsewhere.example/",)),
    ],
    ids=lambda says: says[:20].decode("latin-1"),
)  # fmt: skip
def test_webhook_is_retried_when_verify_fails(
    app: DepositApp, says: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    reference = app.pay_deposit()
    app.paystack.verify_response = says
    with pytest.raises(Unavailable, match="Nothing was credited"):
        app.bv.handle_gateway_webhook(*app.paystack.webhook(reference))
    assert app.credited_kobo() == 0
    app.paystack.verify_response = None
    app.receive(reference)
    assert app.credited_kobo() == 50_050
    assert SECRET not in caplog.text


def test_webhook_is_retried_when_database_is_down(app: DepositApp) -> None:
    reference = app.pay_deposit()
    for table in ("deposits", "events"):
        app.sql(f"ALTER TABLE {table} RENAME TO elsewhere")
        with pytest.raises(BillvendError):
            app.bv.handle_gateway_webhook(*app.paystack.webhook(reference))
        app.sql(f"ALTER TABLE elsewhere RENAME TO {table}")
    assert app.credited_kobo() == 0
    app.receive(reference)
    assert app.credited_kobo() == 50_050


def test_paid_deposit_is_credited_even_above_new_limit(app: DepositApp) -> None:
    reference = app.pay_deposit()
    Billvend(replace(app.deps, limits=Limits("1", "10"))).check_deposit(reference)
    assert app.credited_kobo() == 50_050


def test_unknown_deposit_reference_is_not_found(app: DepositApp) -> None:
    for reference in ("unknown-1", "", "a\0b", "\ud800", "x" * 10_000):
        with pytest.raises(ResourceNotFound):
            app.bv.check_deposit(reference)
    assert app.paystack.verified_references == []


def test_secret_key_is_not_logged(app: DepositApp, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    reference = app.pay_deposit()
    app.bv.handle_gateway_webhook(*app.paystack.webhook(reference))
    app.bv.handle_gateway_webhook(b"{}", "forged")
    assert "Wallet funded" in caplog.text
    assert SECRET not in caplog.text
    assert SECRET not in repr(app.deps.gateway)
