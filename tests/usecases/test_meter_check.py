"""Meter checks: made before any money is held, and in bulk before anything is sent."""

from collections.abc import Iterator
from typing import NoReturn

import pytest

from billvend import (
    Bill,
    BillvendError,
    IdempotencyMismatch,
    InsufficientFunds,
    InvalidAmount,
    InvalidMeter,
    Money,
    Status,
)
from billvend.adapters.storage.queries import SqlQueries
from billvend.domain.enums import Proof
from billvend.domain.errors import (
    BelowMinimum,
    LikelyDuplicate,
    MeterCannotVend,
    MeterNotFound,
    ProviderUnavailable,
    UnknownBiller,
    WalletNotFound,
    WrongMeterType,
)
from billvend.domain.meter_lookup import (
    MeterFault,
    MeterFound,
    MeterLookupFailed,
    MeterLookupResult,
    MeterRejected,
)
from billvend.domain.outcome import Delivered
from billvend.usecases.meter_cache import METER_CACHE_SECONDS
from billvend.usecases.meters import MeterCheck
from tests.harness import METER, TOKEN, AppHarness, FakeProvider, using

CHECK_METERS = MeterCheck(is_enabled=True)
OTHER_METER = "10987654321"
LOOKUP_FAILED = MeterLookupFailed("no answer in 5 s")
REJECTIONS: list[tuple[MeterLookupResult, type[BillvendError]]] = [
    (MeterRejected(MeterFault.METER_NOT_FOUND, "no such meter"), MeterNotFound),
    (MeterRejected(MeterFault.WRONG_METER_TYPE, "it is postpaid"), WrongMeterType),
    (MeterRejected(MeterFault.METER_CANNOT_VEND, "it is blocked"), MeterCannotVend),
    (MeterFound("Ada Obi", minimum_minor=50_001), BelowMinimum),
    (LOOKUP_FAILED, ProviderUnavailable),
]
KINDS = [kind.__name__ for _, kind in REJECTIONS]


@pytest.fixture
def app() -> Iterator[AppHarness]:
    yield from using(AppHarness(verification=CHECK_METERS))


def accept(app: AppHarness, amount: int = 500, meter: str = METER, key: str | None = None) -> str:
    return app.bv.accept(Bill("ada", amount, meter, "EKEDC", key=key)).payment.transaction_id


# --- before the hold --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lookup_result", "kind"), REJECTIONS, ids=KINDS)
def test_rejected_meter_holds_nothing(
    app: AppHarness, lookup_result: MeterLookupResult, kind: type[BillvendError]
) -> None:
    app.provider.meter_answer = lookup_result
    with pytest.raises(kind) as error:
        app.pay(500)
    assert "Nothing was held" in error.value.message
    assert app.balance == (10_000, 0)
    assert app.bv.payments() == []
    assert app.provider.calls == ["verify"]


def test_minimum_amount_of_meter_is_accepted(app: AppHarness) -> None:
    app.provider.meter_answer = MeterFound("Ada Obi", minimum_minor=50_000)
    assert app.settle(app.pay(500)).token == TOKEN


def test_amount_above_meter_maximum_is_rejected(app: AppHarness) -> None:
    app.provider.meter_answer = MeterFound("Ada Obi", minimum_minor=50_000, maximum_minor=50_000)
    assert app.settle(app.pay(500)).token == TOKEN
    with pytest.raises(InvalidAmount, match=r"NGN 500\.00 at most\. Nothing was held") as error:
        app.pay(501)
    assert error.value.fields == {"amount": "must be at most 500.00"}
    assert app.balance == (9_500, 0)


def test_accepted_payment_returns_meter_owner(app: AppHarness) -> None:
    paid = app.bv.accept(Bill("ada", 500, METER, "EKEDC"))
    assert paid.meter == MeterFound("Ada Obi")
    assert paid.payment.verified
    app.settle(paid.payment)
    assert app.provider.calls == ["verify", "vend"]  # and the worker does not check again


def test_meter_lookup_returns_owner_or_error(app: AppHarness) -> None:
    assert app.bv.meter(METER, biller="EKEDC").customer_name == "Ada Obi"
    with pytest.raises(InvalidMeter):
        app.bv.meter("12", biller="EKEDC")
    with pytest.raises(UnknownBiller):
        app.bv.meter(METER, biller="UNKNOWN")
    assert app.provider.calls == ["verify"]
    for lookup_result, kind in REJECTIONS:
        app.provider.meter_answer = lookup_result
        if kind is not BelowMinimum:
            with pytest.raises(kind):
                app.bv.meter(OTHER_METER, biller="EKEDC")


def test_order_of_rejections_before_provider_call(app: AppHarness) -> None:
    """Each request is also invalid in every later respect. The provider is asked last, and only for a valid request."""
    app.provider.meter_answer = REJECTIONS[0][0]
    for kind, bill in [
        (InvalidMeter, Bill("bob", "0", "12", "UNKNOWN")),
        (InvalidAmount, Bill("bob", "0", METER, "UNKNOWN")),
        (UnknownBiller, Bill("bob", "99999", METER, "UNKNOWN")),
        (WalletNotFound, Bill("bob", "99999", METER, "EKEDC")),
        (InsufficientFunds, Bill("ada", "99999", METER, "EKEDC")),
    ]:
        with pytest.raises(kind):
            app.bv.accept(bill)
    assert app.provider.calls == []
    with pytest.raises(MeterNotFound):
        accept(app)
    assert app.balance == (10_000, 0)


def test_key_of_another_request_is_rejected_before_funds(app: AppHarness) -> None:
    accept(app, 9_000, key="order-1")
    verify_count = app.provider.count("verify")
    with pytest.raises(IdempotencyMismatch):
        accept(app, 99_999, OTHER_METER, key="order-1")
    assert app.provider.count("verify") == verify_count


def test_likely_duplicate_is_rejected_before_funds_and_lookup(app: AppHarness) -> None:
    accept(app, 6_000)
    app.provider.meter_answer = LOOKUP_FAILED
    with pytest.raises(LikelyDuplicate):
        accept(app, 6_000)
    assert app.provider.count("verify") == 1


@pytest.mark.parametrize("lookup_result", [lookup_result for lookup_result, _ in REJECTIONS], ids=KINDS)
def test_replay_makes_no_lookup_and_returns_first_reply(
    app: AppHarness, lookup_result: MeterLookupResult
) -> None:
    first = accept(app, 500, key="order-1")
    app.provider.meter_answer = lookup_result
    app.clock.sleep(METER_CACHE_SECONDS + 1)
    assert accept(app, 500, key="order-1") == first
    assert app.provider.count("verify") == 1
    assert app.balance == (9_500, 500)


def test_funds_are_checked_again_at_hold(app: AppHarness) -> None:
    spent: list[object] = []

    def spend() -> None:
        app.provider.during_verify = lambda: None
        spent.append(app.pay(9_800, meter=OTHER_METER))

    app.provider.during_verify = spend
    with pytest.raises(InsufficientFunds):
        accept(app, 500)
    assert len(spent) == 1
    assert app.balance == (200, 9_800)


def test_same_key_during_lookup_pays_once(app: AppHarness) -> None:
    def again() -> None:
        app.provider.during_verify = lambda: None
        accept(app, 500, key="order-1")

    app.provider.during_verify = again
    accept(app, 500, key="order-1")
    assert len(app.bv.payments()) == 1
    assert app.balance == (9_500, 500)


@pytest.mark.parametrize("lookup_result", [lookup_result for lookup_result, _ in REJECTIONS], ids=KINDS)
def test_concurrent_acceptance_wins_over_rejection(app: AppHarness, lookup_result: MeterLookupResult) -> None:
    """The same request twice at once: if the first is accepted, the second must not get a rejection."""
    first: list[str] = []

    def again() -> None:
        app.provider.during_verify = lambda: None
        first.append(accept(app, 500, key="order-1"))
        app.provider.meter_answer = lookup_result

    app.provider.during_verify = again
    paid = app.bv.accept(Bill("ada", 500, METER, "EKEDC", key="order-1"))
    assert [paid.payment.transaction_id] == first
    assert (paid.replayed, paid.meter) == (True, None)
    assert app.provider.calls == ["verify", "verify"]
    assert app.balance == (9_500, 500)


def test_key_of_another_request_during_lookup_is_rejected(app: AppHarness) -> None:
    def another() -> None:
        app.provider.during_verify = lambda: None
        accept(app, 700, key="order-1")
        app.provider.meter_answer = LOOKUP_FAILED

    app.provider.during_verify = another
    with pytest.raises(IdempotencyMismatch):
        accept(app, 500, key="order-1")
    assert app.balance == (9_300, 700)


# --- cached answers ---------------------------------------------------------------------------------------------------


def test_found_meter_is_cached_for_ten_minutes(app: AppHarness) -> None:
    accept(app, 500, key="one")
    app.clock.sleep(599)
    accept(app, 500, key="two")
    assert app.provider.count("verify") == 1
    app.clock.sleep(1)
    accept(app, 500, key="three")
    assert app.provider.count("verify") == 2


def test_cached_meter_needs_no_precheck(app: AppHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    accept(app, 500, key="one")

    def stored_results(_queries: SqlQueries, _keys: object) -> NoReturn:
        raise AssertionError("no look-up is needed: the decision alone rejects")

    monkeypatch.setattr(SqlQueries, "stored_results", stored_results)
    paid = app.bv.accept(Bill("ada", 500, METER, "EKEDC", key="two"))
    again = app.bv.accept(Bill("ada", 500, METER, "EKEDC", key="two"))
    assert (paid.replayed, paid.meter, paid.payment.verified) == (False, MeterFound("Ada Obi"), True)
    assert (again.replayed, again.meter, again.payment) == (True, None, paid.payment)
    for kind, bill in [
        (IdempotencyMismatch, Bill("ada", 501, METER, "EKEDC", key="two")),
        (InsufficientFunds, Bill("ada", 9_001, METER, "EKEDC")),
        (LikelyDuplicate, Bill("ada", 500, METER, "EKEDC")),
    ]:
        with pytest.raises(kind):
            app.bv.accept(bill)
    assert app.balance == (9_000, 1_000)


def test_cache_is_per_meter_and_vend_type(app: AppHarness) -> None:
    app.pay(500)
    app.pay(500, meter=OTHER_METER)
    app.pay(500, vend_type="postpaid")
    assert app.provider.count("verify") == 3


def test_cached_meter_keeps_its_minimum_amount(app: AppHarness) -> None:
    app.provider.meter_answer = MeterFound("Ada Obi", minimum_minor=60_000)
    app.pay(600)
    with pytest.raises(BelowMinimum):
        app.pay(599)
    assert app.provider.count("verify") == 1


@pytest.mark.parametrize(
    "lookup_result", [lookup_result for lookup_result, kind in REJECTIONS if kind is not BelowMinimum]
)
def test_negative_lookup_is_not_cached(app: AppHarness, lookup_result: MeterLookupResult) -> None:
    app.provider.meter_answer = lookup_result
    with pytest.raises(BillvendError):
        app.pay(500)
    app.provider.meter_answer = MeterFound("Ada Obi")
    app.pay(500)
    assert app.provider.count("verify") == 2


# --- when no provider can be asked ------------------------------------------------------------------------------------


def test_adapter_error_counts_as_provider_unavailable(app: AppHarness) -> None:
    def broken() -> None:
        raise KeyError("name")

    app.provider.during_verify = broken
    with pytest.raises(ProviderUnavailable):
        app.pay(500)
    assert app.balance == (10_000, 0)


def test_lookup_tries_next_provider_when_first_is_unavailable() -> None:
    first, second = FakeProvider("acme"), FakeProvider("backup")
    app = AppHarness(first, second, verification=CHECK_METERS)
    first.meter_answer, second.meter_answer = LOOKUP_FAILED, MeterFound("Ada at backup")
    assert app.bv.meter(METER, biller="EKEDC").customer_name == "Ada at backup"
    first.meter_answer = REJECTIONS[0][0]
    with pytest.raises(MeterNotFound):
        app.bv.meter(METER, biller="EKEDC")
    app.close()


def test_unverified_payment_is_accepted_when_setting_allows() -> None:
    app = AppHarness(verification=MeterCheck(is_enabled=True, allows_unreachable=True))
    app.provider.meter_answer = LOOKUP_FAILED
    payment = app.pay(500)
    assert not payment.verified
    assert app.settle(payment).status is Status.COMPLETED
    app.provider.meter_answer = REJECTIONS[0][0]  # allowed only if the meter could not be checked
    with pytest.raises(MeterNotFound):
        app.pay(500)
    app.close()


def test_disabled_meter_check_makes_no_lookup() -> None:
    app = AppHarness(verification=MeterCheck(is_enabled=False))
    app.provider.meter_answer = REJECTIONS[0][0]
    assert app.settle(app.pay(500)).status is Status.COMPLETED
    assert app.settle(app.pay_many()[0]).status is Status.COMPLETED
    assert app.provider.count("verify") == 0
    app.close()


# --- in bulk ----------------------------------------------------------------------------------------------------------


def test_bulk_payment_is_verified_by_worker_before_send(app: AppHarness) -> None:
    (payment,) = app.pay_many()
    assert app.provider.calls == []
    assert not payment.verified
    assert app.settle(payment).token == TOKEN
    assert app.provider.calls == ["verify", "vend"]


@pytest.mark.parametrize(("lookup_result", "kind"), REJECTIONS[:4], ids=KINDS[:4])
def test_bulk_rejected_meter_is_reversed_without_send(
    app: AppHarness, lookup_result: MeterLookupResult, kind: type[BillvendError]
) -> None:
    app.provider.meter_answer = lookup_result
    (payment,) = app.pay_many()
    assert app.balance == (9_500, 500)
    app.settle_due()
    ended = app.reload(payment)
    assert (ended.status, ended.proof) == (Status.REVERSED, Proof.DECLINED)
    assert app.balance == (10_000, 0)
    assert app.provider.count("vend") == app.provider.count("requery") == 0


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (MeterFound("Ada Obi", minimum_minor=50_001), "the amount must be at least 500.01"),
        (MeterFound("Ada Obi", maximum_minor=49_999), "the amount must be at most 499.99"),
    ],
)
def test_bulk_payment_outside_meter_limits_is_reversed(
    app: AppHarness, found: MeterFound, reason: str
) -> None:
    app.provider.meter_answer = found
    (payment,) = app.pay_many()
    app.settle_due()
    ended = app.reload(payment)
    assert ended.proof is Proof.DECLINED
    assert ended.reversal is not None
    assert ended.reversal.reason == reason
    assert app.provider.count("vend") == 0
    app.provider.meter_answer = MeterFound("Ada Obi", minimum_minor=50_000, maximum_minor=50_000)
    app.clock.sleep(METER_CACHE_SECONDS)
    (payment,) = app.pay_many()
    app.settle_due()
    assert app.reload(payment).token == TOKEN


def test_bulk_rejection_tries_next_provider() -> None:
    first, second = FakeProvider("acme"), FakeProvider("backup")
    app = AppHarness(first, second, verification=CHECK_METERS)
    first.meter_answer = REJECTIONS[0][0]
    second.send_answer = Delivered(TOKEN)
    (payment,) = app.pay_many()
    app.settle_due()
    assert app.reload(payment).token == TOKEN
    assert (first.calls, second.calls) == (["verify"], ["verify", "vend"])
    app.close()


def test_bulk_payment_that_cannot_be_verified_is_reversed(app: AppHarness) -> None:
    """Rejected where it is paid alone; in bulk retried, and then reversed."""
    app.provider.meter_answer = LOOKUP_FAILED
    (payment,) = app.pay_many()
    app.settle_due()
    for _ in range(6):
        app.advance(100)
    ended = app.reload(payment)
    assert app.provider.count("vend") == 0
    assert (ended.status, ended.proof) == (Status.REVERSED, Proof.NOT_SENT)
    assert app.balance == (10_000, 0)


def test_bulk_payment_is_sold_when_lookup_recovers(app: AppHarness) -> None:
    app.provider.meter_answer = LOOKUP_FAILED
    (payment,) = app.pay_many()
    app.settle_due()
    assert app.balance == (9_500, 500)
    app.provider.meter_answer = MeterFound("Ada Obi")
    app.advance(5)
    assert app.reload(payment).token == TOKEN
    assert app.provider.calls == ["verify", "verify", "vend"]


def test_unverified_meter_is_verified_by_worker() -> None:
    app = AppHarness(verification=MeterCheck(is_enabled=True, allows_unreachable=True))
    app.provider.meter_answer = LOOKUP_FAILED
    payment = app.pay(500)
    app.provider.meter_answer = MeterRejected(MeterFault.METER_CANNOT_VEND, "it is blocked")
    app.settle_due()
    assert app.reload(payment).proof is Proof.DECLINED
    assert app.provider.count("vend") == 0
    assert Money(1_000_000, "NGN") == app.bv.balance("ada").available
    app.close()
