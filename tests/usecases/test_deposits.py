"""Funding from outside, with Paystack's part played on a real socket: what is credited, when, and how often."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from billvend import (
    Billvend,
    BillvendError,
    ConfigurationError,
    IdempotencyMismatch,
    ResourceNotFound,
    Unavailable,
    ValidationFailed,
)
from billvend.domain.errors import InvalidAmount, NotInReview, RequestInProgress, UnsupportedCurrency
from billvend.domain.ledger.wallet import Funding
from billvend.ports.queries import Search
from billvend.testing.fault_server import http_response
from billvend.usecases.dependencies import Limits
from billvend.usecases.deposits import DepositResult, DepositStatus
from tests.support.paystack import SECRET, FakePaystack, fake_paystack, json_response, signature
from tests.usecases.harness import AppHarness, using

EMAIL = "ada@example.com"
INITIAL_NAIRA = 10_000
"""Naira in ada's wallet at first."""


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
    """What came into ada's wallet from Paystack, in kobo; all of it is there, and the books agree."""
    found = [each for each in app.bv.history("ada", limit=100) if isinstance(each, Funding)]
    kobo = sum(each.amount.amount_minor for each in found if each.source == "paystack")
    assert app.bv.balance("ada").available.amount_minor == INITIAL_NAIRA * 100 + kobo
    assert app.bv.audit().ok
    return kobo


def error_response(message: object) -> bytes:
    return json_response({"status": False, "message": message}, "400 Bad Request")


def initialized_response(url: object, reference: str = "of-another") -> bytes:
    return json_response({"status": True, "data": {"authorization_url": url, "reference": reference}})


# --- hooks that never come --------------------------------------------------------------------------------------------


def test_paid_deposit_is_credited_without_webhook(app: AppHarness, paystack: FakePaystack) -> None:
    paid, unpaid = start_deposit(app), start_deposit(app, "70")
    paystack.mark_paid(paid.reference)
    since = app.bv.poll_deposits()
    assert (credited_kobo(app), paystack.verified_references) == (0, [])  # too early
    app.advance(10 * 60)
    since = app.bv.poll_deposits(since)
    assert (credited_kobo(app), paystack.verified_references) == (50_050, [paid.reference, unpaid.reference])
    since = app.bv.poll_deposits(since)
    assert len(paystack.verified_references) == 2  # not at each look
    app.advance(20 * 60)
    since = app.bv.poll_deposits(since)
    assert paystack.verified_references[2:] == [unpaid.reference]
    app.advance(3 * 24 * 3600)
    since = app.bv.poll_deposits(since)
    assert paystack.verified_references[3:] == [
        unpaid.reference
    ]  # the looks that were missed are made up for once
    app.advance(30 * 24 * 3600)
    app.bv.poll_deposits(since)
    assert len(paystack.verified_references) == 4
    assert credited_kobo(app) == 50_050


def test_failed_deposit_poll_is_repeated(app: AppHarness, paystack: FakePaystack) -> None:
    intent = start_deposit(app)
    paystack.mark_paid(intent.reference)
    since = app.bv.poll_deposits()
    app.advance(10 * 60)
    paystack.verify_response = b""
    with pytest.raises(Unavailable):
        app.bv.poll_deposits(since)
    paystack.verify_response = None
    app.bv.poll_deposits(since)
    assert credited_kobo(app) == 50_050


# --- starting ---------------------------------------------------------------------------------------------------------


def test_deposit_is_initialized_once_with_amount_in_kobo(app: AppHarness, paystack: FakePaystack) -> None:
    intent = start_deposit(app)
    assert paystack.initialize_requests == [
        {"reference": intent.reference, "amount": 50_050, "currency": "NGN", "email": EMAIL}
    ]
    assert intent.authorization_url == f"{paystack.url}/pay/{intent.reference}"
    assert intent.replayed is False
    assert credited_kobo(app) == 0


def test_reference_is_stored_before_it_is_sent_to_paystack(app: AppHarness, paystack: FakePaystack) -> None:
    paystack.initialize_response = b""
    with pytest.raises(Unavailable, match="Nothing was charged"):
        start_deposit(app)
    (announced,) = paystack.initialize_requests
    assert app.deps.deposits.find(announced["reference"]) is not None


def test_repeated_key_returns_same_authorization_url(app: AppHarness, paystack: FakePaystack) -> None:
    first = start_deposit(app, key="order-1")
    again = start_deposit(app, "500.50", key="order-1")
    assert (again.reference, again.authorization_url) == (first.reference, first.authorization_url)
    assert again.replayed
    assert len(paystack.initialize_requests) == 1


def test_no_key_or_other_user_creates_another_deposit(app: AppHarness, paystack: FakePaystack) -> None:
    intents = [
        start_deposit(app),
        start_deposit(app),
        start_deposit(app, key="order-1"),
        app.bv.create_deposit("ben", 500, email=EMAIL, key="order-1"),
    ]
    assert len({intent.reference for intent in intents}) == len(paystack.initialize_requests) == 4


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
        ({"currency": "XOF", "amount": 500}, UnsupportedCurrency, "currency"),
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
        (error_response("Invalid\r\n amount."), ValidationFailed, "does not take this: Invalid amount"),
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
    intent = start_deposit(app, key="order-1")
    first, second = (announced["reference"] for announced in paystack.initialize_requests)
    assert second == intent.reference != first  # Paystack may know the first: it is never used again
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
    """It committed its intent, and nobody knows whether it announced it."""
    first = start_deposit(app, key="order-1")
    with app.database.write_transaction() as connection:
        connection.exec_driver_sql("UPDATE deposits SET authorization_url = NULL")
    with pytest.raises(RequestInProgress, match="still at work"):
        start_deposit(app, key="order-1")
    app.clock.sleep(30)
    second = start_deposit(app, key="order-1")
    assert second.reference != first.reference
    assert start_deposit(app, key="order-1").reference == second.reference
    for intent in (first, second):  # and whichever is paid is credited
        paystack.mark_paid(intent.reference)
        assert app.bv.check_deposit(intent.reference).status is DepositStatus.CREDITED
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
        connection.exec_driver_sql("INSERT INTO environment (id, mode) VALUES (1, 'live')")
    with pytest.raises(ConfigurationError, match="live money"):
        start_deposit(app)
    assert paystack.initialize_requests == []


# --- hooks ------------------------------------------------------------------------------------------------------------


def test_webhook_credits_paid_deposit(app: AppHarness, paystack: FakePaystack) -> None:
    intent = start_deposit(app)
    paystack.mark_paid(intent.reference)
    assert app.bv.handle_gateway_webhook(*paystack.webhook(intent.reference))
    assert credited_kobo(app) == 50_050
    (funding,) = app.bv.search(Search(reference=intent.reference))
    assert isinstance(funding, Funding)
    assert funding.source == "paystack"


def test_five_webhooks_credit_once(app: AppHarness, paystack: FakePaystack) -> None:
    intent = start_deposit(app)
    paystack.mark_paid(intent.reference)
    for number in range(5):
        assert app.bv.handle_gateway_webhook(*paystack.webhook(intent.reference, id=number))
    assert credited_kobo(app) == 50_050
    assert app.bv.check_deposit(intent.reference).detail == "It had been credited."
    app.bv.fund("ada", "500.50", key=intent.reference, source="paystack")  # an operator who did it by hand
    assert credited_kobo(app) == 50_050


def test_deposit_credited_by_operator_is_not_credited_again(app: AppHarness, paystack: FakePaystack) -> None:
    intent = start_deposit(app)
    paystack.mark_paid(intent.reference)
    app.bv.fund("ada", "500.50", key=intent.reference, source="paystack")
    assert app.bv.handle_gateway_webhook(*paystack.webhook(intent.reference))
    assert credited_kobo(app) == 50_050


def test_reference_used_as_key_needs_review(app: AppHarness, paystack: FakePaystack) -> None:
    intent = start_deposit(app)
    paystack.mark_paid(intent.reference)
    app.bv.fund("ada", 1, key=intent.reference)
    assert app.bv.handle_gateway_webhook(*paystack.webhook(intent.reference))
    (shown,) = app.bv.review().deposits_with_problems
    assert "was used as the key of another funding" in str(shown.problem)


def test_webhook_before_initialize_response_credits(app: AppHarness, paystack: FakePaystack) -> None:
    """Paystack knows of the payment, its hook is here, and its answer is lost: what was paid is credited all the same."""
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
        (lambda body: (json.dumps(json.loads(body), indent=1).encode(), signature(body)), "written anew"),
        (lambda body: (json.dumps(json.loads(body), separators=(",", ":")).encode(), signature(body)), "tight"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_webhook_with_invalid_signature_is_ignored(
    app: AppHarness, paystack: FakePaystack, forge: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    intent = start_deposit(app)
    paystack.mark_paid(intent.reference)
    body, _ = paystack.webhook(intent.reference)
    assert app.bv.handle_gateway_webhook(*forge(body)) is False
    assert (paystack.verified_references, credited_kobo(app)) == ([], 0)
    assert SECRET not in caplog.text


def test_webhook_signature_covers_raw_bytes(app: AppHarness, paystack: FakePaystack) -> None:
    """Blanks, escapes, the order of the names, a name given twice: as long as these bytes are signed, they are read."""
    intent = start_deposit(app)
    paystack.mark_paid(intent.reference)
    body = b'\n{ "data" : {"x": "\\u00e9\xc3\xa9", "reference":"no", "reference":"%s"}, "event":1}\n' % (
        intent.reference.encode()
    )
    assert app.bv.handle_gateway_webhook(body, signature(body))
    assert credited_kobo(app) == 50_050


@pytest.mark.parametrize(
    "body",
    [
        b"", b"nonsense", b"null", b"[]", b"5", b'"x"', b"{}", b'{"data": null}', b'{"data": []}', b"\xff\xfe\x00",
        b'{"data": {"reference": null}}', b'{"data": {"reference": 5}}', b'{"data": {"reference": {}}}',
        b'{"data": {"reference": "a\\u0000b"}}', b'{"data": {"reference": "\\ud800"}}', b'{"data": {"reference": ""}}',
        b'{"data": {"reference": "' + b"a" * 101 + b'"}}', b'{"data": {"reference": "nobody-s"}}',
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
    intent = start_deposit(app)
    paystack.mark_paid(intent.reference, metadata=metadata)
    assert app.bv.handle_gateway_webhook(*paystack.webhook(intent.reference, metadata=metadata))
    assert credited_kobo(app) == 50_050


# --- what Paystack says when it is asked ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status", ["abandoned", "failed", "pending", "processing", "queued", "ongoing", "reversed", "new"]
)
def test_webhook_is_verified_and_may_credit_later(
    app: AppHarness, paystack: FakePaystack, status: str
) -> None:
    intent = start_deposit(app)
    paystack.transactions[intent.reference]["status"] = status
    assert app.bv.handle_gateway_webhook(*paystack.webhook(intent.reference, status="success"))
    settled = app.bv.check_deposit(intent.reference)
    assert (settled.status, settled.detail) == (DepositStatus.NOT_PAID, f"Paystack says: {status}")
    assert credited_kobo(app) == 0
    app.clock.sleep(100_000)
    paystack.mark_paid(intent.reference)
    assert app.bv.handle_gateway_webhook(*paystack.webhook(intent.reference))
    assert credited_kobo(app) == 50_050


def test_webhooks_in_any_order_credit_once(app: AppHarness, paystack: FakePaystack) -> None:
    """First the one of the success, then the one of the failed try before it."""
    intent = start_deposit(app)
    failed = paystack.webhook(intent.reference, "charge.failed", status="failed")
    paystack.mark_paid(intent.reference)
    for hook in (paystack.webhook(intent.reference), failed):
        assert app.bv.handle_gateway_webhook(*hook)
    assert credited_kobo(app) == 50_050


@pytest.mark.parametrize(
    ("paid", "words"),
    [
        ({"amount": 50_049}, "NGN 500.49 was paid"),
        ({"amount": 5_005_000}, "NGN 50,050.00 was paid"),
        ({"amount": 500.5}, "a sum that can't be read was paid"),
        ({"amount": "500.50"}, "can't be read"),
        ({"amount": "50050 "}, "can't be read"),
        ({"amount": -50_050}, "can't be read"),
        ({"amount": 0}, "can't be read"),
        ({"amount": 10**30}, "can't be read"),
        ({"amount": True}, "can't be read"),
        ({"amount": None}, "can't be read"),
        ({"amount": [50_050]}, "can't be read"),
        ({"currency": "GHS"}, "GHS 500.50 was paid"),
        ({"currency": "ngn"}, "50050 of 'ngn' was paid"),
        ({"currency": None}, "can't be read"),
        ({"currency": "\x00\ud800"}, "was paid"),
    ],
)  # fmt: skip
def test_wrong_amount_or_currency_is_not_credited_and_needs_review(
    app: AppHarness,
    paystack: FakePaystack,
    paid: dict[str, Any],
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    intent = start_deposit(app)
    paystack.mark_paid(intent.reference, **paid)
    for _ in range(3):
        assert app.bv.handle_gateway_webhook(*paystack.webhook(intent.reference))
    assert credited_kobo(app) == 0
    (shown,) = app.bv.review().deposits_with_problems
    assert words in str(shown.problem)
    assert str(shown.problem).endswith("NGN 500.50 was asked for; it was not credited")
    assert [record.levelname for record in caplog.records if "needs a person" in record.message] == ["ERROR"]
    app.bv.acknowledge_deposit(intent.reference)
    assert app.bv.handle_gateway_webhook(*paystack.webhook(intent.reference))
    assert app.bv.review().deposits_with_problems == []  # it is the same one
    with pytest.raises(NotInReview):
        app.bv.acknowledge_deposit(intent.reference)


@pytest.mark.parametrize("amount", [50_050, "50050", 50_050.0], ids=repr)
def test_amount_as_text_or_float_is_the_same_amount(
    app: AppHarness, paystack: FakePaystack, amount: object
) -> None:
    intent = start_deposit(app)
    paystack.mark_paid(intent.reference, amount=amount)
    assert app.bv.check_deposit(intent.reference).status is DepositStatus.CREDITED
    assert credited_kobo(app) == 50_050


def test_solved_deposit_problem_leaves_review(app: AppHarness, paystack: FakePaystack) -> None:
    intent = start_deposit(app)
    paystack.mark_paid(intent.reference, amount=1)
    app.bv.check_deposit(intent.reference)
    paystack.mark_paid(intent.reference, amount=50_050)
    assert app.bv.check_deposit(intent.reference).status is DepositStatus.CREDITED
    assert (app.bv.review().deposits_with_problems, credited_kobo(app)) == ([], 50_050)


def test_refund_after_credit_needs_review(app: AppHarness, paystack: FakePaystack) -> None:
    intent = start_deposit(app)
    paystack.mark_paid(intent.reference)
    app.bv.check_deposit(intent.reference)
    paystack.transactions[intent.reference]["status"] = "reversed"
    body = json.dumps(
        {"event": "refund.processed", "data": {"transaction_reference": intent.reference}}
    ).encode()
    assert app.bv.handle_gateway_webhook(body, signature(body))
    (shown,) = app.bv.review().deposits_with_problems
    assert shown.problem == "Paystack gave the money back to the customer; it was credited"
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
    intent = start_deposit(app)
    paystack.mark_paid(intent.reference)
    paystack.verify_response = says
    with pytest.raises(Unavailable, match="Nothing was credited"):
        app.bv.handle_gateway_webhook(*paystack.webhook(intent.reference))
    assert credited_kobo(app) == 0
    paystack.verify_response = None
    assert app.bv.handle_gateway_webhook(*paystack.webhook(intent.reference))
    assert credited_kobo(app) == 50_050
    assert SECRET not in caplog.text


def test_webhook_is_retried_when_database_is_down(app: AppHarness, paystack: FakePaystack) -> None:
    intent = start_deposit(app)
    paystack.mark_paid(intent.reference)
    rename = "ALTER TABLE {} RENAME TO {}"
    for table in ("deposits", "events"):
        with app.database.write_transaction() as connection:
            connection.exec_driver_sql(rename.format(table, "elsewhere"))
        with pytest.raises(BillvendError):
            app.bv.handle_gateway_webhook(*paystack.webhook(intent.reference))
        with app.database.write_transaction() as connection:
            connection.exec_driver_sql(rename.format("elsewhere", table))
    assert credited_kobo(app) == 0
    assert app.bv.handle_gateway_webhook(*paystack.webhook(intent.reference))
    assert credited_kobo(app) == 50_050


def test_paid_deposit_is_credited_even_above_new_limit(app: AppHarness, paystack: FakePaystack) -> None:
    intent = start_deposit(app)
    paystack.mark_paid(intent.reference)
    Billvend(replace(app.deps, limits=Limits("1", "10"))).check_deposit(intent.reference)
    assert credited_kobo(app) == 50_050


def test_unknown_deposit_reference_is_not_found(app: AppHarness, paystack: FakePaystack) -> None:
    for reference in ("nobody-s", "", "a\0b", "\ud800", "x" * 10_000):
        with pytest.raises(ResourceNotFound):
            app.bv.check_deposit(reference)
    assert paystack.verified_references == []


def test_secret_key_is_not_logged(
    app: AppHarness, paystack: FakePaystack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    intent = start_deposit(app)
    paystack.mark_paid(intent.reference)
    app.bv.handle_gateway_webhook(*paystack.webhook(intent.reference))
    app.bv.handle_gateway_webhook(b"{}", "forged")
    assert "Wallet funded" in caplog.text
    assert SECRET not in caplog.text
    assert SECRET not in repr(app.deps.gateway)
