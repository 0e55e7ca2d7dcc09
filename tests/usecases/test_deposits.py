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
from billvend.ports.queries import Search
from billvend.testing.fault_server import http_response
from billvend.usecases.deposits import DepositStatus
from billvend.usecases.limits import Limits
from billvend.usecases.start_deposit import DepositResult
from tests.harness import AppHarness, using
from tests.support.paystack import SECRET, FakePaystack, fake_paystack, json_response, signature

EMAIL = "ada@example.com"
INITIAL_NAIRA = 10_000
"""The naira in ada's wallet at first."""


@pytest.fixture
def app_and_paystack() -> Iterator[tuple[AppHarness, FakePaystack]]:
    with fake_paystack() as (paystack, gateway):
        for app in using(AppHarness(gateway=gateway)):
            yield app, paystack


@pytest.fixture
def app(app_and_paystack: tuple[AppHarness, FakePaystack]) -> AppHarness:
    return app_and_paystack[0]


@pytest.fixture
def paystack(app_and_paystack: tuple[AppHarness, FakePaystack]) -> FakePaystack:
    return app_and_paystack[1]


def start_deposit(app: AppHarness, amount: Any = "500.50", **more: Any) -> DepositResult:
    return app.bv.create_deposit("ada", amount, **{"email": EMAIL, **more})


def credited_kobo(app: AppHarness) -> int:
    """What Paystack credited to ada's wallet, in kobo. All of it is there, and the ledger passes an audit."""
    found = [each for each in app.bv.history("ada", limit=100) if isinstance(each, Funding)]
    kobo = sum(each.amount.amount_minor for each in found if each.source == "paystack")
    assert app.bv.balance("ada").available.amount_minor == INITIAL_NAIRA * 100 + kobo
    assert app.bv.audit().ok
    return kobo


def error_response(message: object) -> bytes:
    return json_response({"status": False, "message": message}, "400 Bad Request")


def initialized_response(url: object, reference: str = "of-another") -> bytes:
    return json_response({"status": True, "data": {"authorization_url": url, "reference": reference}})


# --- webhooks that never come -----------------------------------------------------------------------------------------


def test_paid_deposit_is_credited_without_webhook(app: AppHarness, paystack: FakePaystack) -> None:
    paid, unpaid = start_deposit(app), start_deposit(app, "70")
    paystack.mark_paid(paid.reference)
    since = app.bv.poll_deposits()
    assert (credited_kobo(app), paystack.verified_references) == (0, [])  # too early
    app.advance(10 * 60)
    since = app.bv.poll_deposits(since)
    assert (credited_kobo(app), paystack.verified_references) == (50_050, [paid.reference, unpaid.reference])
    since = app.bv.poll_deposits(since)
    assert len(paystack.verified_references) == 2  # not at each check
    app.advance(20 * 60)
    since = app.bv.poll_deposits(since)
    assert paystack.verified_references[2:] == [unpaid.reference]
    app.advance(3 * 24 * 3600)
    since = app.bv.poll_deposits(since)
    assert paystack.verified_references[3:] == [unpaid.reference]  # missed checks are made up for once
    app.advance(30 * 24 * 3600)
    app.bv.poll_deposits(since)
    assert len(paystack.verified_references) == 4
    assert credited_kobo(app) == 50_050


def test_failed_deposit_poll_is_repeated(app: AppHarness, paystack: FakePaystack) -> None:
    deposit = start_deposit(app)
    paystack.mark_paid(deposit.reference)
    since = app.bv.poll_deposits()
    app.advance(10 * 60)
    paystack.verify_response = b""
    with pytest.raises(Unavailable):
        app.bv.poll_deposits(since)
    paystack.verify_response = None
    app.bv.poll_deposits(since)
    assert credited_kobo(app) == 50_050


# --- creating ---------------------------------------------------------------------------------------------------------


def test_deposit_is_initialized_once_with_amount_in_kobo(app: AppHarness, paystack: FakePaystack) -> None:
    deposit = start_deposit(app)
    assert paystack.initialize_requests == [
        {"reference": deposit.reference, "amount": 50_050, "currency": "NGN", "email": EMAIL}
    ]
    assert deposit.authorization_url == f"{paystack.url}/pay/{deposit.reference}"
    assert deposit.replayed is False
    assert credited_kobo(app) == 0


def test_reference_is_stored_before_it_is_sent_to_paystack(app: AppHarness, paystack: FakePaystack) -> None:
    paystack.initialize_response = b""
    with pytest.raises(Unavailable, match="Nothing was charged"):
        start_deposit(app)
    (announced,) = paystack.initialize_requests
    assert app.deps.deposits.get(announced["reference"]) is not None


def test_repeated_key_returns_same_authorization_url(app: AppHarness, paystack: FakePaystack) -> None:
    first = start_deposit(app, key="order-1")
    again = start_deposit(app, "500.50", key="order-1")
    assert (again.reference, again.authorization_url) == (first.reference, first.authorization_url)
    assert again.replayed
    assert len(paystack.initialize_requests) == 1


def test_no_key_or_other_user_creates_another_deposit(app: AppHarness, paystack: FakePaystack) -> None:
    deposits = [
        start_deposit(app),
        start_deposit(app),
        start_deposit(app, key="order-1"),
        app.bv.create_deposit("ben", 500, email=EMAIL, key="order-1"),
    ]
    assert len({deposit.reference for deposit in deposits}) == len(paystack.initialize_requests) == 4


@pytest.mark.parametrize("other", [{"amount": "500.51"}, {"email": "b@example.com"}, {"currency": "KES"}])
def test_key_of_another_deposit_is_rejected(
    app: AppHarness, paystack: FakePaystack, other: dict[str, Any]
) -> None:
    start_deposit(app, key="order-1")
    with pytest.raises(IdempotencyMismatch):
        start_deposit(app, **{"key": "order-1", **other})
    assert len(paystack.initialize_requests) == 1


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
    app: AppHarness, paystack: FakePaystack, wrong: dict[str, Any], error: type[Exception], field: str | None
) -> None:
    with pytest.raises(error) as caught:
        start_deposit(app, **wrong)
    if field is not None:
        assert isinstance(caught.value, BillvendError)
        assert field in caught.value.fields
    assert paystack.initialize_requests == []


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
    app: AppHarness, paystack: FakePaystack, says: bytes, error: type[BillvendError], words: str
) -> None:
    paystack.initialize_response = says
    with pytest.raises(error, match=words) as caught:
        start_deposit(app, key="order-1")
    assert SECRET not in str(caught.value)
    paystack.initialize_response = None
    deposit = start_deposit(app, key="order-1")
    first, second = (announced["reference"] for announced in paystack.initialize_requests)
    assert second == deposit.reference != first  # Paystack may know the first: it is never used again
    assert start_deposit(app, key="order-1").reference == second


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "ftp://x", "https://x\n", "http" * 600, 7, None, ["https://x.example"]]
)
def test_invalid_authorization_url_is_not_returned(
    app: AppHarness, paystack: FakePaystack, url: object
) -> None:
    def start(url: object) -> DepositResult:
        reference = f"bv-id-{int(app.clock.new_id()[3:]) + 1:06}"  # of the next id
        paystack.initialize_response = initialized_response(url, reference)
        return start_deposit(app)

    assert start("https://pay.example/1").authorization_url == "https://pay.example/1"
    with pytest.raises(Unavailable):
        start(url)


def test_abandoned_deposit_is_restarted(app: AppHarness, paystack: FakePaystack) -> None:
    """It stored its deposit, and may or may not have initialised it."""
    first = start_deposit(app, key="order-1")
    with app.database.write_transaction() as connection:
        connection.exec_driver_sql("UPDATE deposits SET authorization_url = NULL")
    with pytest.raises(RequestInProgress, match="still running"):
        start_deposit(app, key="order-1")
    app.clock.sleep(30)
    second = start_deposit(app, key="order-1")
    assert second.reference != first.reference
    assert start_deposit(app, key="order-1").reference == second.reference
    for deposit in (first, second):  # and the one that is paid is credited
        paystack.mark_paid(deposit.reference)
        assert app.bv.check_deposit(deposit.reference).status is DepositStatus.CREDITED
    assert credited_kobo(app) == 2 * 50_050


def test_missing_gateway_setting_is_named() -> None:
    app = AppHarness()
    for call in (
        lambda: start_deposit(app),
        lambda: app.bv.check_deposit("x"),
        lambda: app.bv.handle_gateway_webhook(b"{}", None),
    ):
        with pytest.raises(ConfigurationError, match="PAYSTACK_SECRET_KEY"):
            call()
    app.close()


def test_live_ledger_rejects_test_gateway(app: AppHarness, paystack: FakePaystack) -> None:
    with app.database.write_transaction() as connection:
        connection.exec_driver_sql("INSERT OR REPLACE INTO environment (id, mode) VALUES (1, 'live')")
    app.restart(app.provider)
    with pytest.raises(ConfigurationError, match="live money"):
        start_deposit(app)
    assert paystack.initialize_requests == []


# --- webhooks ---------------------------------------------------------------------------------------------------------


def test_webhook_credits_paid_deposit(app: AppHarness, paystack: FakePaystack) -> None:
    deposit = start_deposit(app)
    paystack.mark_paid(deposit.reference)
    assert app.bv.handle_gateway_webhook(*paystack.webhook(deposit.reference))
    assert credited_kobo(app) == 50_050
    (found,) = app.bv.search(Search(reference=deposit.reference))
    assert isinstance(found.transaction, Funding)
    assert found.transaction.source == "paystack"


def test_five_webhooks_credit_once(app: AppHarness, paystack: FakePaystack) -> None:
    deposit = start_deposit(app)
    paystack.mark_paid(deposit.reference)
    for number in range(5):
        assert app.bv.handle_gateway_webhook(*paystack.webhook(deposit.reference, id=number))
    assert credited_kobo(app) == 50_050
    assert app.bv.check_deposit(deposit.reference).detail == "It was already credited."
    app.bv.fund("ada", "500.50", key=deposit.reference, source="paystack")  # an operator who did it by hand
    assert credited_kobo(app) == 50_050


def test_deposit_credited_by_operator_is_not_credited_again(app: AppHarness, paystack: FakePaystack) -> None:
    deposit = start_deposit(app)
    paystack.mark_paid(deposit.reference)
    app.bv.fund("ada", "500.50", key=deposit.reference, source="paystack")
    assert app.bv.handle_gateway_webhook(*paystack.webhook(deposit.reference))
    assert credited_kobo(app) == 50_050


def test_reference_used_as_key_needs_review(app: AppHarness, paystack: FakePaystack) -> None:
    deposit = start_deposit(app)
    paystack.mark_paid(deposit.reference)
    app.bv.fund("ada", 1, key=deposit.reference)
    assert app.bv.handle_gateway_webhook(*paystack.webhook(deposit.reference))
    (shown,) = app.bv.review().deposits_with_problems
    assert "was used as the key of another funding" in str(shown.problem)


def test_webhook_before_initialize_response_credits(app: AppHarness, paystack: FakePaystack) -> None:
    """Paystack knows the payment, and its webhook arrives, but its answer is lost. What was paid is credited all the same."""
    paystack.initialize_response = b""
    with pytest.raises(Unavailable):
        start_deposit(app)
    (reference,) = paystack.transactions
    paystack.mark_paid(reference)
    assert app.bv.handle_gateway_webhook(*paystack.webhook(reference))
    assert credited_kobo(app) == 50_050


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
    app: AppHarness, paystack: FakePaystack, forge: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    deposit = start_deposit(app)
    paystack.mark_paid(deposit.reference)
    body, _ = paystack.webhook(deposit.reference)
    assert app.bv.handle_gateway_webhook(*forge(body)) is False
    assert (paystack.verified_references, credited_kobo(app)) == ([], 0)
    assert SECRET not in caplog.text


def test_webhook_signature_covers_raw_bytes(app: AppHarness, paystack: FakePaystack) -> None:
    """Spaces, escapes, the order of names, a name given twice: these bytes are accepted as long as they are signed."""
    deposit = start_deposit(app)
    paystack.mark_paid(deposit.reference)
    body = b'\n{ "data" : {"x": "\\u00e9\xc3\xa9", "reference":"no", "reference":"%s"}, "event":1}\n' % (
        deposit.reference.encode()
    )
    assert app.bv.handle_gateway_webhook(body, signature(body))
    assert credited_kobo(app) == 50_050


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
def test_signed_webhook_without_known_reference_is_accepted(
    app: AppHarness, paystack: FakePaystack, body: bytes
) -> None:
    start_deposit(app)
    assert app.bv.handle_gateway_webhook(body, signature(body))
    assert (paystack.verified_references, credited_kobo(app)) == ([], 0)


METADATA = [{"wallet": "w"}, '{"wallet": "w"}', "", 0, None, [], "no json {", {"a": {"b": [None, 1.5]}}, True]


@pytest.mark.parametrize("metadata", METADATA, ids=repr)
def test_metadata_of_any_type_is_ignored(app: AppHarness, paystack: FakePaystack, metadata: object) -> None:
    deposit = start_deposit(app)
    paystack.mark_paid(deposit.reference, metadata=metadata)
    assert app.bv.handle_gateway_webhook(*paystack.webhook(deposit.reference, metadata=metadata))
    assert credited_kobo(app) == 50_050


# --- answers of Paystack to a check -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status", ["abandoned", "failed", "pending", "processing", "queued", "ongoing", "reversed", "new"]
)
def test_webhook_is_verified_and_may_credit_later(
    app: AppHarness, paystack: FakePaystack, status: str
) -> None:
    deposit = start_deposit(app)
    paystack.transactions[deposit.reference]["status"] = status
    assert app.bv.handle_gateway_webhook(*paystack.webhook(deposit.reference, status="success"))
    settled = app.bv.check_deposit(deposit.reference)
    assert (settled.status, settled.detail) == (DepositStatus.NOT_PAID, f"Paystack says: {status}")
    assert credited_kobo(app) == 0
    app.clock.sleep(100_000)
    paystack.mark_paid(deposit.reference)
    assert app.bv.handle_gateway_webhook(*paystack.webhook(deposit.reference))
    assert credited_kobo(app) == 50_050


def test_webhooks_in_any_order_credit_once(app: AppHarness, paystack: FakePaystack) -> None:
    """The webhook of the success first, then that of the failed attempt before it."""
    deposit = start_deposit(app)
    failed = paystack.webhook(deposit.reference, "charge.failed", status="failed")
    paystack.mark_paid(deposit.reference)
    for webhook in (paystack.webhook(deposit.reference), failed):
        assert app.bv.handle_gateway_webhook(*webhook)
    assert credited_kobo(app) == 50_050


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
    app: AppHarness,
    paystack: FakePaystack,
    paid: dict[str, Any],
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    deposit = start_deposit(app)
    paystack.mark_paid(deposit.reference, **paid)
    for _ in range(3):
        assert app.bv.handle_gateway_webhook(*paystack.webhook(deposit.reference))
    assert credited_kobo(app) == 0
    (shown,) = app.bv.review().deposits_with_problems
    assert words in str(shown.problem)
    assert str(shown.problem).endswith("but the deposit is NGN 500.50. The deposit was not credited")
    assert [record.levelname for record in caplog.records if "needs review" in record.message] == ["ERROR"]
    app.bv.acknowledge_deposit(deposit.reference)
    assert app.bv.handle_gateway_webhook(*paystack.webhook(deposit.reference))
    assert app.bv.review().deposits_with_problems == []  # it is the same one
    with pytest.raises(NotInReview):
        app.bv.acknowledge_deposit(deposit.reference)


@pytest.mark.parametrize("amount", [50_050, "50050", 50_050.0], ids=repr)
def test_amount_as_text_or_float_is_the_same_amount(
    app: AppHarness, paystack: FakePaystack, amount: object
) -> None:
    deposit = start_deposit(app)
    paystack.mark_paid(deposit.reference, amount=amount)
    assert app.bv.check_deposit(deposit.reference).status is DepositStatus.CREDITED
    assert credited_kobo(app) == 50_050


def test_solved_deposit_problem_leaves_review(app: AppHarness, paystack: FakePaystack) -> None:
    deposit = start_deposit(app)
    paystack.mark_paid(deposit.reference, amount=1)
    app.bv.check_deposit(deposit.reference)
    paystack.mark_paid(deposit.reference, amount=50_050)
    assert app.bv.check_deposit(deposit.reference).status is DepositStatus.CREDITED
    assert (app.bv.review().deposits_with_problems, credited_kobo(app)) == ([], 50_050)


def test_refund_after_credit_needs_review(app: AppHarness, paystack: FakePaystack) -> None:
    deposit = start_deposit(app)
    paystack.mark_paid(deposit.reference)
    app.bv.check_deposit(deposit.reference)
    paystack.transactions[deposit.reference]["status"] = "reversed"
    body = json.dumps(
        {"event": "refund.processed", "data": {"transaction_reference": deposit.reference}}
    ).encode()
    assert app.bv.handle_gateway_webhook(body, signature(body))
    (shown,) = app.bv.review().deposits_with_problems
    assert shown.problem == "Paystack refunded the money to the customer. The deposit was credited"
    assert credited_kobo(app) == 50_050


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
    app: AppHarness, paystack: FakePaystack, says: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    deposit = start_deposit(app)
    paystack.mark_paid(deposit.reference)
    paystack.verify_response = says
    with pytest.raises(Unavailable, match="Nothing was credited"):
        app.bv.handle_gateway_webhook(*paystack.webhook(deposit.reference))
    assert credited_kobo(app) == 0
    paystack.verify_response = None
    assert app.bv.handle_gateway_webhook(*paystack.webhook(deposit.reference))
    assert credited_kobo(app) == 50_050
    assert SECRET not in caplog.text


def test_webhook_is_retried_when_database_is_down(app: AppHarness, paystack: FakePaystack) -> None:
    deposit = start_deposit(app)
    paystack.mark_paid(deposit.reference)
    rename = "ALTER TABLE {} RENAME TO {}"
    for table in ("deposits", "events"):
        with app.database.write_transaction() as connection:
            connection.exec_driver_sql(rename.format(table, "elsewhere"))
        with pytest.raises(BillvendError):
            app.bv.handle_gateway_webhook(*paystack.webhook(deposit.reference))
        with app.database.write_transaction() as connection:
            connection.exec_driver_sql(rename.format("elsewhere", table))
    assert credited_kobo(app) == 0
    assert app.bv.handle_gateway_webhook(*paystack.webhook(deposit.reference))
    assert credited_kobo(app) == 50_050


def test_paid_deposit_is_credited_even_above_new_limit(app: AppHarness, paystack: FakePaystack) -> None:
    deposit = start_deposit(app)
    paystack.mark_paid(deposit.reference)
    Billvend(replace(app.deps, limits=Limits("1", "10"))).check_deposit(deposit.reference)
    assert credited_kobo(app) == 50_050


def test_unknown_deposit_reference_is_not_found(app: AppHarness, paystack: FakePaystack) -> None:
    for reference in ("unknown-1", "", "a\0b", "\ud800", "x" * 10_000):
        with pytest.raises(ResourceNotFound):
            app.bv.check_deposit(reference)
    assert paystack.verified_references == []


def test_secret_key_is_not_logged(
    app: AppHarness, paystack: FakePaystack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    deposit = start_deposit(app)
    paystack.mark_paid(deposit.reference)
    app.bv.handle_gateway_webhook(*paystack.webhook(deposit.reference))
    app.bv.handle_gateway_webhook(b"{}", "forged")
    assert "Wallet funded" in caplog.text
    assert SECRET not in caplog.text
    assert SECRET not in repr(app.deps.gateway)
