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
from tests.support.paystack import SECRET, Paystack, signature, spoken, standing_in
from tests.usecases.shop import Shop, closing

EMAIL = "ada@example.com"
BEFORE = 10_000
"""Naira in ada's wallet at first."""


@pytest.fixture
def counter() -> Iterator[tuple[Shop, Paystack]]:
    with standing_in() as (paystack, gateway):
        for shop in closing(Shop(gateway=gateway)):
            yield shop, paystack


@pytest.fixture
def shop(counter: tuple[Shop, Paystack]) -> Shop:
    return counter[0]


@pytest.fixture
def paystack(counter: tuple[Shop, Paystack]) -> Paystack:
    return counter[1]


def started(shop: Shop, amount: Any = "500.50", **more: Any) -> DepositResult:
    return shop.bv.create_deposit("ada", amount, **{"email": EMAIL, **more})


def credited(shop: Shop) -> int:
    """What came into ada's wallet from Paystack, in kobo; all of it is there, and the books agree."""
    found = [each for each in shop.bv.history("ada", limit=100) if isinstance(each, Funding)]
    kobo = sum(each.amount.amount_minor for each in found if each.source == "paystack")
    assert shop.bv.balance("ada").available.amount_minor == BEFORE * 100 + kobo
    assert shop.bv.audit().ok
    return kobo


def declined(message: object) -> bytes:
    return spoken({"status": False, "message": message}, "400 Bad Request")


def opened(url: object, reference: str = "of-another") -> bytes:
    return spoken({"status": True, "data": {"authorization_url": url, "reference": reference}})


# --- hooks that never come --------------------------------------------------------------------------------------------


def test_what_was_paid_is_credited_though_no_hook_comes(shop: Shop, paystack: Paystack) -> None:
    paid, unpaid = started(shop), started(shop, "70")
    paystack.pays(paid.reference)
    since = shop.bv.poll_deposits()
    assert (credited(shop), paystack.verified) == (0, [])  # too early
    shop.later(10 * 60)
    since = shop.bv.poll_deposits(since)
    assert (credited(shop), paystack.verified) == (50_050, [paid.reference, unpaid.reference])
    since = shop.bv.poll_deposits(since)
    assert len(paystack.verified) == 2  # not at each look
    shop.later(20 * 60)
    since = shop.bv.poll_deposits(since)
    assert paystack.verified[2:] == [unpaid.reference]
    shop.later(3 * 24 * 3600)
    since = shop.bv.poll_deposits(since)
    assert paystack.verified[3:] == [unpaid.reference]  # the looks that were missed are made up for once
    shop.later(30 * 24 * 3600)
    shop.bv.poll_deposits(since)
    assert len(paystack.verified) == 4
    assert credited(shop) == 50_050


def test_a_look_that_failed_is_due_again(shop: Shop, paystack: Paystack) -> None:
    intent = started(shop)
    paystack.pays(intent.reference)
    since = shop.bv.poll_deposits()
    shop.later(10 * 60)
    paystack.verify_says = b""
    with pytest.raises(Unavailable):
        shop.bv.poll_deposits(since)
    paystack.verify_says = None
    shop.bv.poll_deposits(since)
    assert credited(shop) == 50_050


# --- starting ---------------------------------------------------------------------------------------------------------


def test_it_is_announced_once_with_the_sum_in_kobo(shop: Shop, paystack: Paystack) -> None:
    intent = started(shop)
    assert paystack.announced == [
        {"reference": intent.reference, "amount": 50_050, "currency": "NGN", "email": EMAIL}
    ]
    assert intent.authorization_url == f"{paystack.url}/pay/{intent.reference}"
    assert intent.replayed is False
    assert credited(shop) == 0


def test_the_reference_is_on_the_books_before_paystack_hears_of_it(shop: Shop, paystack: Paystack) -> None:
    paystack.initialise_says = b""
    with pytest.raises(Unavailable, match="Nothing was charged"):
        started(shop)
    (announced,) = paystack.announced
    assert shop.parts.deposits.find(announced["reference"]) is not None


def test_the_same_key_gets_the_same_address(shop: Shop, paystack: Paystack) -> None:
    first = started(shop, key="order-1")
    again = started(shop, "500.50", key="order-1")
    assert (again.reference, again.authorization_url) == (first.reference, first.authorization_url)
    assert again.replayed
    assert len(paystack.announced) == 1


def test_without_a_key_or_with_another_user_s_it_is_another_funding(shop: Shop, paystack: Paystack) -> None:
    intents = [
        started(shop),
        started(shop),
        started(shop, key="order-1"),
        shop.bv.create_deposit("ben", 500, email=EMAIL, key="order-1"),
    ]
    assert len({intent.reference for intent in intents}) == len(paystack.announced) == 4


@pytest.mark.parametrize("other", [{"amount": "500.51"}, {"email": "b@example.com"}, {"currency": "KES"}])
def test_the_key_of_another_funding_is_refused(shop: Shop, paystack: Paystack, other: dict[str, Any]) -> None:
    started(shop, key="order-1")
    with pytest.raises(IdempotencyMismatch):
        started(shop, **{"key": "order-1", **other})
    assert len(paystack.announced) == 1


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
def test_what_is_no_funding_is_refused_before_anything_is_done(
    shop: Shop, paystack: Paystack, wrong: dict[str, Any], error: type[Exception], field: str | None
) -> None:
    with pytest.raises(error) as caught:
        started(shop, **wrong)
    if field is not None:
        assert isinstance(caught.value, BillvendError)
        assert field in caught.value.fields
    assert paystack.announced == []


@pytest.mark.parametrize(
    ("says", "error", "words"),
    [
        (declined("Invalid\r\n amount."), ValidationFailed, "does not take this: Invalid amount"),
        (declined(f"no {SECRET}"), ValidationFailed, r"no \*\*\*"),
        (declined(5), ValidationFailed, "no reason"),
        (spoken({"status": False}, "401 Unauthorized"), Unavailable, "refuses our key"),
        (spoken({"status": False}, "429 Too Many"), Unavailable, "429"),
        (http_response(b"<html>", status="502 Bad", kind="text/html"), Unavailable, "502"),
        (http_response(b"", status="200 OK"), Unavailable, "200"),
        (http_response(b"[" * 100_000), Unavailable, "200"),
        (http_response(b"0" * 2_000_000), Unavailable, "larger"),
        (spoken({"status": True, "data": {}}), Unavailable, "without an address"),
        (opened("https://x.example"), Unavailable, "without an address"),
        (b"", Unavailable, "connection"),
    ],
)  # fmt: skip
def test_a_start_that_fails_frees_its_key(
    shop: Shop, paystack: Paystack, says: bytes, error: type[BillvendError], words: str
) -> None:
    paystack.initialise_says = says
    with pytest.raises(error, match=words) as caught:
        started(shop, key="order-1")
    assert SECRET not in str(caught.value)
    paystack.initialise_says = None
    intent = started(shop, key="order-1")
    first, second = (announced["reference"] for announced in paystack.announced)
    assert second == intent.reference != first  # Paystack may know the first: it is never used again
    assert started(shop, key="order-1").reference == second


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "ftp://x", "https://x\n", "http" * 600, 7, None, ["https://x.example"]]
)
def test_nobody_is_sent_to_what_is_no_address(shop: Shop, paystack: Paystack, url: object) -> None:
    def start(url: object) -> DepositResult:
        reference = f"bv-id-{int(shop.clock.new_id()[3:]) + 1:06}"  # of the next id
        paystack.initialise_says = opened(url, reference)
        return started(shop)

    assert start("https://pay.example/1").authorization_url == "https://pay.example/1"
    with pytest.raises(Unavailable):
        start(url)


def test_what_a_process_that_died_left_is_started_anew(shop: Shop, paystack: Paystack) -> None:
    """It committed its intent, and nobody knows whether it announced it."""
    first = started(shop, key="order-1")
    with shop.database.write_transaction() as connection:
        connection.exec_driver_sql("UPDATE deposits SET authorization_url = NULL")
    with pytest.raises(RequestInProgress, match="still at work"):
        started(shop, key="order-1")
    shop.clock.sleep(30)
    second = started(shop, key="order-1")
    assert second.reference != first.reference
    assert started(shop, key="order-1").reference == second.reference
    for intent in (first, second):  # and whichever is paid is credited
        paystack.pays(intent.reference)
        assert shop.bv.check_deposit(intent.reference).status is DepositStatus.CREDITED
    assert credited(shop) == 2 * 50_050


def test_without_a_gateway_it_says_what_is_missing() -> None:
    shop = Shop()
    for call in (
        lambda: started(shop),
        lambda: shop.bv.check_deposit("x"),
        lambda: shop.bv.handle_gateway_webhook(b"{}", None),
    ):
        with pytest.raises(ConfigurationError, match="PAYSTACK_SECRET_KEY"):
            call()
    shop.close()


def test_books_of_real_money_take_no_test_payments(shop: Shop, paystack: Paystack) -> None:
    with shop.database.write_transaction() as connection:
        connection.exec_driver_sql("INSERT INTO environment (id, mode) VALUES (1, 'live')")
    with pytest.raises(ConfigurationError, match="live money"):
        started(shop)
    assert paystack.announced == []


# --- hooks ------------------------------------------------------------------------------------------------------------


def test_what_was_paid_is_credited(shop: Shop, paystack: Paystack) -> None:
    intent = started(shop)
    paystack.pays(intent.reference)
    assert shop.bv.handle_gateway_webhook(*paystack.hook(intent.reference))
    assert credited(shop) == 50_050
    (funding,) = shop.bv.search(Search(reference=intent.reference))
    assert isinstance(funding, Funding)
    assert funding.source == "paystack"


def test_five_hooks_credit_once(shop: Shop, paystack: Paystack) -> None:
    intent = started(shop)
    paystack.pays(intent.reference)
    for number in range(5):
        assert shop.bv.handle_gateway_webhook(*paystack.hook(intent.reference, id=number))
    assert credited(shop) == 50_050
    assert shop.bv.check_deposit(intent.reference).detail == "It had been credited."
    shop.bv.fund("ada", "500.50", key=intent.reference, source="paystack")  # an operator who did it by hand
    assert credited(shop) == 50_050


def test_a_funding_credited_by_hand_is_not_credited_again(shop: Shop, paystack: Paystack) -> None:
    intent = started(shop)
    paystack.pays(intent.reference)
    shop.bv.fund("ada", "500.50", key=intent.reference, source="paystack")
    assert shop.bv.handle_gateway_webhook(*paystack.hook(intent.reference))
    assert credited(shop) == 50_050


def test_a_reference_that_was_taken_for_a_key_is_shown_to_a_person(shop: Shop, paystack: Paystack) -> None:
    intent = started(shop)
    paystack.pays(intent.reference)
    shop.bv.fund("ada", 1, key=intent.reference)
    assert shop.bv.handle_gateway_webhook(*paystack.hook(intent.reference))
    (shown,) = shop.bv.review().deposits_with_problems
    assert "was used as the key of another funding" in str(shown.problem)


def test_the_hook_may_come_before_the_answer(shop: Shop, paystack: Paystack) -> None:
    """Paystack knows of the payment, its hook is here, and its answer is lost: what was paid is credited all the same."""
    paystack.initialise_says = b""
    with pytest.raises(Unavailable):
        started(shop)
    (reference,) = paystack.book
    paystack.pays(reference)
    assert shop.bv.handle_gateway_webhook(*paystack.hook(reference))
    assert credited(shop) == 50_050


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
def test_a_hook_that_is_not_signed_does_nothing(
    shop: Shop, paystack: Paystack, forge: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    intent = started(shop)
    paystack.pays(intent.reference)
    body, _ = paystack.hook(intent.reference)
    assert shop.bv.handle_gateway_webhook(*forge(body)) is False
    assert (paystack.verified, credited(shop)) == ([], 0)
    assert SECRET not in caplog.text


def test_the_bytes_count_not_the_json(shop: Shop, paystack: Paystack) -> None:
    """Blanks, escapes, the order of the names, a name given twice: as long as these bytes are signed, they are read."""
    intent = started(shop)
    paystack.pays(intent.reference)
    body = b'\n{ "data" : {"x": "\\u00e9\xc3\xa9", "reference":"no", "reference":"%s"}, "event":1}\n' % (
        intent.reference.encode()
    )
    assert shop.bv.handle_gateway_webhook(body, signature(body))
    assert credited(shop) == 50_050


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
def test_a_genuine_hook_that_says_nothing_of_ours_is_taken(
    shop: Shop, paystack: Paystack, body: bytes
) -> None:
    started(shop)
    assert shop.bv.handle_gateway_webhook(body, signature(body))
    assert (paystack.verified, credited(shop)) == ([], 0)


METADATA = [{"wallet": "w"}, '{"wallet": "w"}', "", 0, None, [], "no json {", {"a": {"b": [None, 1.5]}}, True]


@pytest.mark.parametrize("metadata", METADATA, ids=repr)
def test_metadata_of_any_form_is_let_be(shop: Shop, paystack: Paystack, metadata: object) -> None:
    intent = started(shop)
    paystack.pays(intent.reference, metadata=metadata)
    assert shop.bv.handle_gateway_webhook(*paystack.hook(intent.reference, metadata=metadata))
    assert credited(shop) == 50_050


# --- what Paystack says when it is asked ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status", ["abandoned", "failed", "pending", "processing", "queued", "ongoing", "reversed", "new"]
)
def test_a_hook_is_not_believed_and_may_be_right_later(shop: Shop, paystack: Paystack, status: str) -> None:
    intent = started(shop)
    paystack.book[intent.reference]["status"] = status
    assert shop.bv.handle_gateway_webhook(*paystack.hook(intent.reference, status="success"))
    settled = shop.bv.check_deposit(intent.reference)
    assert (settled.status, settled.detail) == (DepositStatus.NOT_PAID, f"Paystack says: {status}")
    assert credited(shop) == 0
    shop.clock.sleep(100_000)
    paystack.pays(intent.reference)
    assert shop.bv.handle_gateway_webhook(*paystack.hook(intent.reference))
    assert credited(shop) == 50_050


def test_hooks_in_any_order_come_to_the_same(shop: Shop, paystack: Paystack) -> None:
    """First the one of the success, then the one of the failed try before it."""
    intent = started(shop)
    failed = paystack.hook(intent.reference, "charge.failed", status="failed")
    paystack.pays(intent.reference)
    for hook in (paystack.hook(intent.reference), failed):
        assert shop.bv.handle_gateway_webhook(*hook)
    assert credited(shop) == 50_050


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
def test_what_is_not_what_was_asked_for_is_not_credited_but_shown(
    shop: Shop, paystack: Paystack, paid: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    intent = started(shop)
    paystack.pays(intent.reference, **paid)
    for _ in range(3):
        assert shop.bv.handle_gateway_webhook(*paystack.hook(intent.reference))
    assert credited(shop) == 0
    (shown,) = shop.bv.review().deposits_with_problems
    assert words in str(shown.problem)
    assert str(shown.problem).endswith("NGN 500.50 was asked for; it was not credited")
    assert [record.levelname for record in caplog.records if "needs a person" in record.message] == ["ERROR"]
    shop.bv.acknowledge_deposit(intent.reference)
    assert shop.bv.handle_gateway_webhook(*paystack.hook(intent.reference))
    assert shop.bv.review().deposits_with_problems == []  # it is the same one
    with pytest.raises(NotInReview):
        shop.bv.acknowledge_deposit(intent.reference)


@pytest.mark.parametrize("amount", [50_050, "50050", 50_050.0], ids=repr)
def test_the_same_sum_in_other_spellings_is_the_same(shop: Shop, paystack: Paystack, amount: object) -> None:
    intent = started(shop)
    paystack.pays(intent.reference, amount=amount)
    assert shop.bv.check_deposit(intent.reference).status is DepositStatus.CREDITED
    assert credited(shop) == 50_050


def test_a_problem_that_went_away_is_not_shown_any_more(shop: Shop, paystack: Paystack) -> None:
    intent = started(shop)
    paystack.pays(intent.reference, amount=1)
    shop.bv.check_deposit(intent.reference)
    paystack.pays(intent.reference, amount=50_050)
    assert shop.bv.check_deposit(intent.reference).status is DepositStatus.CREDITED
    assert (shop.bv.review().deposits_with_problems, credited(shop)) == ([], 50_050)


def test_what_paystack_gave_back_after_it_was_credited_is_shown(shop: Shop, paystack: Paystack) -> None:
    intent = started(shop)
    paystack.pays(intent.reference)
    shop.bv.check_deposit(intent.reference)
    paystack.book[intent.reference]["status"] = "reversed"
    body = json.dumps(
        {"event": "refund.processed", "data": {"transaction_reference": intent.reference}}
    ).encode()
    assert shop.bv.handle_gateway_webhook(body, signature(body))
    (shown,) = shop.bv.review().deposits_with_problems
    assert shown.problem == "Paystack gave the money back to the customer; it was credited"
    assert credited(shop) == 50_050


@pytest.mark.parametrize(
    "says",
    [
        b"",
        spoken({"status": False}, "500 Oops"),
        spoken({"status": False}, "429 Slow"),
        spoken({"status": False}, "401 No"),
        http_response(b"<html>", status="404 Not Found", kind="text/html"),
        http_response(b"<html>", kind="text/html"),
        http_response(b""),
        spoken({"status": "true", "data": {"status": "success"}}),
        spoken({"status": True, "data": None}),
        spoken({"status": True, "data": {"status": "success", "reference": "another", "amount": 50_050, "currency": "NGN"}}),
        http_response(b"", status="302 Found", headers=("Location: https://elsewhere.example/",)),
    ],
    ids=lambda says: says[:20].decode("latin-1"),
)  # fmt: skip
def test_while_it_can_not_be_asked_the_hook_is_to_come_again(
    shop: Shop, paystack: Paystack, says: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    intent = started(shop)
    paystack.pays(intent.reference)
    paystack.verify_says = says
    with pytest.raises(Unavailable, match="Nothing was credited"):
        shop.bv.handle_gateway_webhook(*paystack.hook(intent.reference))
    assert credited(shop) == 0
    paystack.verify_says = None
    assert shop.bv.handle_gateway_webhook(*paystack.hook(intent.reference))
    assert credited(shop) == 50_050
    assert SECRET not in caplog.text


def test_with_the_books_away_the_hook_is_to_come_again(shop: Shop, paystack: Paystack) -> None:
    intent = started(shop)
    paystack.pays(intent.reference)
    rename = "ALTER TABLE {} RENAME TO {}"
    for table in ("deposits", "events"):
        with shop.database.write_transaction() as connection:
            connection.exec_driver_sql(rename.format(table, "elsewhere"))
        with pytest.raises(BillvendError):
            shop.bv.handle_gateway_webhook(*paystack.hook(intent.reference))
        with shop.database.write_transaction() as connection:
            connection.exec_driver_sql(rename.format("elsewhere", table))
    assert credited(shop) == 0
    assert shop.bv.handle_gateway_webhook(*paystack.hook(intent.reference))
    assert credited(shop) == 50_050


def test_limits_are_for_what_is_asked_for_not_for_what_is_here(shop: Shop, paystack: Paystack) -> None:
    intent = started(shop)
    paystack.pays(intent.reference)
    Billvend(replace(shop.parts, limits=Limits("1", "10"))).check_deposit(intent.reference)
    assert credited(shop) == 50_050


def test_a_funding_of_nobody_s(shop: Shop, paystack: Paystack) -> None:
    for reference in ("nobody-s", "", "a\0b", "\ud800", "x" * 10_000):
        with pytest.raises(ResourceNotFound):
            shop.bv.check_deposit(reference)
    assert paystack.verified == []


def test_no_key_gets_into_the_log(shop: Shop, paystack: Paystack, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    intent = started(shop)
    paystack.pays(intent.reference)
    shop.bv.handle_gateway_webhook(*paystack.hook(intent.reference))
    shop.bv.handle_gateway_webhook(b"{}", "forged")
    assert "Wallet funded" in caplog.text
    assert SECRET not in caplog.text
    assert SECRET not in repr(shop.parts.gateway)
