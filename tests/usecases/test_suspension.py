"""Sales are suspended when too much money is at risk or nothing can be sold, until that clears."""

from collections.abc import Iterator

import pytest

from billvend import BillvendError, Money, Payment, Status
from billvend.domain.enums import Proof
from billvend.domain.errors import ProviderUnavailable
from billvend.domain.outcome import Delivered, Misconfigured, NotFound, NotSent, Unknown
from billvend.usecases.limits import Limits
from tests.harness import TOKEN, AppHarness, FakeProvider, using

EMPTY_FLOAT = Misconfigured("the float is empty", "018")
NOT_FOUND = NotFound("no such reference")
MAX_NOT_FOUND = 4
"""So many attempts not found are too many here."""


def limits(*, in_doubt: str = "0", float_: str = "0", most_not_found: int = 0) -> Limits:
    return Limits("100", "1000000", in_doubt, float_, most_not_found)


def naira(amount: int) -> Money:
    return Money(amount * 100, "NGN")


def suspended_reason(app: AppHarness) -> str:
    """Why sales are suspended, as the health check says."""
    return str(app.bv.health().checks["provider"].details["suspended"])


def assert_payment_rejected(app: AppHarness) -> str:
    """Payments are rejected, and nothing is held. Returns why sales are suspended."""
    before = (app.balance, len(app.bv.payments()))
    with pytest.raises(ProviderUnavailable, match="Nothing was held"):
        app.pay()
    assert (app.balance, len(app.bv.payments())) == before
    return suspended_reason(app)


def refresh_later(app: AppHarness, seconds: float = 61) -> None:
    """A worker refreshes a minute later."""
    app.clock.sleep(seconds)
    app.bv.refresh_account_status()


def refresh_with_floats(app: AppHarness, *answers: Money | Unknown | Misconfigured) -> None:
    """Refresh so often, each time with another answer about our float."""
    for answer in answers:
        app.provider.float_answer = answer
        refresh_later(app)


def assert_sells(app: AppHarness, sells: bool) -> None:
    if sells:
        app.pay()
    else:
        assert_payment_rejected(app)


# --- naira in doubt ---------------------------------------------------------------------------------------------------


@pytest.fixture
def doubt_limited() -> Iterator[AppHarness]:
    """At most a thousand naira may be in doubt."""
    yield from using(AppHarness(limits=limits(in_doubt="1000")))


def test_account_over_in_doubt_limit_is_suspended_until_it_clears(doubt_limited: AppHarness) -> None:
    doubtful = [doubt_limited.payment_in_doubt(500) for _ in range(2)]
    refresh_later(doubt_limited)
    doubtful.append(doubt_limited.payment_in_doubt(100))  # a thousand is not more than a thousand
    refresh_later(doubt_limited)
    assert_payment_rejected(doubt_limited)
    (waiting,) = doubt_limited.pay_many()
    doubt_limited.advance(1)
    assert doubt_limited.reload(waiting).status is Status.PENDING
    doubt_limited.provider.send_answer = doubt_limited.provider.requery_answer = Delivered(TOKEN)
    doubt_limited.bv.refresh(doubtful[0].transaction_id)
    refresh_later(doubt_limited)
    doubt_limited.settle_due()
    assert doubt_limited.reload(waiting).status is Status.COMPLETED
    assert doubt_limited.settle(doubt_limited.pay()).status is Status.COMPLETED


def test_payment_in_review_counts_as_in_doubt(doubt_limited: AppHarness) -> None:
    payment = doubt_limited.payment_in_review(1_100)
    assert payment.status is Status.IN_REVIEW
    refresh_later(doubt_limited)
    assert_payment_rejected(doubt_limited)
    doubt_limited.bv.resolve(payment.transaction_id, operator="ngozi", reason="by phone", token=TOKEN)
    refresh_later(doubt_limited)
    doubt_limited.pay()


def test_suspended_account_resumes_on_next_payment(doubt_limited: AppHarness) -> None:
    """In an embedded library there may be no worker that checks."""
    payment = doubt_limited.payment_in_doubt(1_100)
    refresh_later(doubt_limited)
    assert_payment_rejected(doubt_limited)
    doubt_limited.provider.requery_answer = Delivered(TOKEN)
    doubt_limited.bv.refresh(payment.transaction_id)
    doubt_limited.pay()


# --- float ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def float_limited() -> Iterator[AppHarness]:
    """Our float must be at least a thousand naira."""
    yield from using(AppHarness(limits=limits(float_="1000")))


@pytest.mark.parametrize(
    ("answers", "sells"),
    [
        ([naira(1_000)], True),
        ([Money(99_999, "NGN")], False),
        ([Money(99_999, "NGN"), naira(5_000)], True),
        ([Unknown("no such call")], True),
        ([naira(10), Unknown("no answer")], False),
    ],
    ids=["enough", "too low", "topped up", "unknown", "unknown after too low"],
)
def test_known_low_float_suspends_until_topped_up(
    float_limited: AppHarness, answers: list[Money | Unknown], sells: bool
) -> None:
    refresh_with_floats(float_limited, *answers)
    assert_sells(float_limited, sells)


def test_float_is_polled_once_a_minute(float_limited: AppHarness) -> None:
    for _ in range(7):
        refresh_later(float_limited, 10)
    assert float_limited.provider.count("float") == 2


def test_failing_poll_affects_only_its_account() -> None:
    class Broken(FakeProvider):
        def fetch_float(self) -> Money:
            raise KeyError("balance")

    second = FakeProvider("backup")
    second.float_answer = naira(10)
    app = AppHarness(Broken("acme"), second, limits=limits(float_="1000"))
    refresh_later(app)
    assert "backup" in suspended_reason(app)
    app.pay()
    app.close()


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.fixture
def app() -> Iterator[AppHarness]:
    yield from using(AppHarness())


def test_misconfigured_answer_suspends_the_account_at_once(app: AppHarness) -> None:
    app.provider.send_answer = EMPTY_FLOAT
    first, second = app.pay(), app.pay()
    app.settle(first)
    assert_payment_rejected(app)
    assert app.settle(second).status is Status.PENDING  # nothing of it was sent, and it waits
    assert app.provider.count("vend") == 1
    app.settle_due()
    assert app.reload(first).proof is Proof.NOT_EXECUTED


@pytest.mark.parametrize(
    ("answers", "sells"),
    [
        ([EMPTY_FLOAT], False),
        ([EMPTY_FLOAT, naira(5_000)], True),
        ([Unknown("no answer")], False),
        ([Money(0, "NGN")], False),
        ([Money(0, "NGN"), naira(5_000)], True),
    ],
    ids=["still at fault", "topped up later", "no answer", "empty", "topped up"],
)
def test_account_at_fault_resumes_when_its_float_is_known_again(
    app: AppHarness, answers: list[Money | Unknown | Misconfigured], sells: bool
) -> None:
    refresh_later(app)  # what was known before the fault proves nothing
    app.provider.send_answer = EMPTY_FLOAT
    app.settle(app.pay())
    (waiting,) = app.pay_many()
    app.settle_due()
    app.provider.send_answer = Delivered(TOKEN)
    refresh_with_floats(app, *answers)
    assert_sells(app, sells)
    app.settle_due()
    assert (app.reload(waiting).status is Status.COMPLETED) is sells


def test_account_without_float_call_is_retried_after_a_while(app: AppHarness) -> None:
    app.provider.send_answer, app.provider.float_answer = EMPTY_FLOAT, Unknown("no such call")
    app.settle(app.pay())
    for _ in range(60):
        refresh_later(app)
    app.provider.send_answer = Delivered(TOKEN)
    assert app.settle(app.pay()).status is Status.COMPLETED


def test_rejected_credentials_suspend_the_account(app: AppHarness) -> None:
    app.provider.float_answer = Misconfigured("the key is not accepted")
    refresh_later(app)
    assert_payment_rejected(app)
    assert app.provider.count("vend") == 0


# --- not found --------------------------------------------------------------------------------------------------------


@pytest.fixture
def not_found_limited() -> Iterator[AppHarness]:
    """Four orders that are not found are too many."""
    yield from using(AppHarness(limits=limits(most_not_found=MAX_NOT_FOUND)))


def not_found_payments(app: AppHarness, number: int) -> list[Payment]:
    """So many orders without an answer, which are not found on their first requery."""
    app.provider.requery_answer = NOT_FOUND
    payments = [app.payment_in_doubt(100) for _ in range(number)]
    app.advance(22)
    return payments


@pytest.mark.parametrize(
    ("delivered", "not_found", "sells"),
    [(0, MAX_NOT_FOUND, False), (0, MAX_NOT_FOUND - 1, True), (MAX_NOT_FOUND, MAX_NOT_FOUND, True)],
    ids=["too many", "few", "half of the orders"],
)
def test_too_many_not_found_suspend_the_account(
    not_found_limited: AppHarness, delivered: int, not_found: int, sells: bool
) -> None:
    for _ in range(delivered):
        not_found_limited.settle(not_found_limited.pay())
    not_found_payments(not_found_limited, not_found)
    refresh_later(not_found_limited, 1)
    assert_sells(not_found_limited, sells)


def test_order_found_later_does_not_count_as_not_found(not_found_limited: AppHarness) -> None:
    not_found_payments(not_found_limited, MAX_NOT_FOUND)
    not_found_limited.provider.requery_answer = Delivered(TOKEN)
    not_found_limited.advance(70)
    refresh_later(not_found_limited, 1)
    not_found_limited.pay()


def test_account_resumes_when_orders_are_found(not_found_limited: AppHarness) -> None:
    not_found_payments(not_found_limited, MAX_NOT_FOUND)
    refresh_later(not_found_limited, 1)
    assert_payment_rejected(not_found_limited)
    not_found_limited.provider.requery_answer = not_found_limited.provider.send_answer = Delivered(TOKEN)
    not_found_limited.advance(70)
    refresh_later(not_found_limited, 1)
    assert not_found_limited.settle(not_found_limited.pay()).status is Status.COMPLETED


def test_too_many_not_found_reverse_nothing() -> None:
    """It may be the wrong account. Then the proof looks the same and is worth nothing, so a person must decide."""
    app = AppHarness(limits=limits(most_not_found=MAX_NOT_FOUND))
    payments = not_found_payments(app, MAX_NOT_FOUND)
    for _ in range(60):  # the sweeper, for an hour
        app.bv.refresh_account_status()
        app.advance(60)
    assert {app.reload(payment).status for payment in payments} <= {Status.IN_DOUBT, Status.IN_REVIEW}
    app.close()


def test_single_not_found_is_reversed(not_found_limited: AppHarness) -> None:
    (payment,) = not_found_payments(not_found_limited, 1)
    for _ in range(60):
        not_found_limited.bv.refresh_account_status()
        not_found_limited.advance(60)
    assert not_found_limited.reload(payment).proof is Proof.NOT_FOUND
    assert not_found_limited.balance == (10_000, 0)


def test_not_found_of_prior_references_does_not_suspend() -> None:
    """A payment that waited over midnight is requeried under the old day's reference. It is right that it is not found."""
    app = AppHarness(FakeProvider(reference_lasts_a_day=True), limits=limits(most_not_found=MAX_NOT_FOUND))
    app.clock.sleep(11.9 * 3600)
    payments = app.pay_many(MAX_NOT_FOUND + 1)
    app.provider.requery_answer = NOT_FOUND
    app.clock.sleep(3600)
    for payment in payments:
        app.settle(payment)
    assert app.provider.count("requery") == MAX_NOT_FOUND + 1
    app.bv.refresh_account_status()
    app.settle_due()
    assert {app.reload(payment).status for payment in payments} == {Status.COMPLETED}
    app.close()


def test_bulk_payment_waits_while_suspended_after_prior_reference_check() -> None:
    app = AppHarness(FakeProvider(reference_lasts_a_day=True))
    app.clock.sleep(11.9 * 3600)
    (payment,) = app.pay_many()
    app.provider.requery_answer, app.provider.float_answer = NOT_FOUND, EMPTY_FLOAT
    refresh_later(app, 3600)
    app.settle_due()
    assert not app.reload(payment).has_ended
    assert app.balance == (9_500, 500)
    app.provider.float_answer = naira(5_000)
    refresh_later(app)
    app.settle_due()
    assert app.reload(payment).token == TOKEN
    app.close()


# --- turned off -------------------------------------------------------------------------------------------------------


def test_no_limits_never_suspend(app: AppHarness) -> None:
    not_found_payments(app, 30)
    app.provider.float_answer = Money(0, "NGN")
    refresh_later(app)
    app.pay()


# --- health and metrics -----------------------------------------------------------------------------------------------


def test_health_shows_suspended_account(app: AppHarness) -> None:
    assert app.bv.health().status == "ok"
    app.provider.send_answer = EMPTY_FLOAT
    app.settle(app.pay())
    degraded = app.bv.health()
    assert degraded.status == "degraded"
    assert "the float is empty" in suspended_reason(app)
    app.provider.float_answer = naira(5_000)
    refresh_later(app)
    healthy = app.bv.health()
    assert healthy.status == "ok"
    assert healthy.checks["provider"].details["float"] == {"acme": "5000.00"}


def test_health_names_removed_accounts_with_payments_in_doubt(app: AppHarness) -> None:
    old, new = app.provider, FakeProvider(account="key-2")
    payment = app.payment_in_doubt()
    app.payment_in_doubt()
    assert "unconfigured" not in app.bv.health().checks["provider"].details
    app.restart(new)
    for _ in range(2):  # in doubt, and then in review
        degraded = app.bv.health()
        assert degraded.status == "degraded"
        assert degraded.checks["provider"].status == "down"
        assert degraded.checks["provider"].details["unconfigured"] == ["acme account key-1"]
        app.advance(60)
    assert app.reload(payment).status is Status.IN_REVIEW
    old.requery_answer = Delivered(TOKEN)
    app.restart(new, old)
    assert "unconfigured" not in app.bv.health().checks["provider"].details
    app.advance(86400)
    app.restart(new)  # nothing waits for the old account any more
    healthy = app.bv.health()
    assert healthy.status == "ok"
    assert "unconfigured" not in healthy.checks["provider"].details


def test_removed_account_without_exposure_is_ignored(app: AppHarness) -> None:
    app.settle(app.pay())
    app.pay_many()
    app.restart(FakeProvider(account="key-2"))
    assert app.bv.health().status == "ok"


def test_other_process_sees_suspension_within_seconds(app: AppHarness) -> None:
    """Every process follows the status in the database."""
    mine = app.bv
    mine.backlog()
    app.restart(app.provider)
    app.pay()
    app.provider.send_answer = app.provider.float_answer = EMPTY_FLOAT
    app.settle_due()
    app.bv = mine
    app.clock.sleep(2)
    assert_payment_rejected(app)


def test_last_known_suspension_applies_when_database_is_down(app: AppHarness) -> None:
    app.provider.send_answer = NotSent("rejected")
    app.provider.float_answer = EMPTY_FLOAT
    refresh_later(app)
    assert_payment_rejected(app)
    app.clock.sleep(100)
    with pytest.raises(BillvendError):
        app.pay()
