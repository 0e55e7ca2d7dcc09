"""When a payment is requeried: on its schedule, and sooner on a requery request."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest

from billvend import Payment, Status
from billvend.domain.enums import Proof
from billvend.domain.journal.events import RequeryRequested, RequeryStarted, load_event
from billvend.domain.outcome import Answer, Declined, Deferred, Delivered, NotFound, Pending
from billvend.domain.policy.timing import JITTER
from billvend.ports.provider import Order
from tests.harness import NO_ANSWER, TOKEN, AppHarness, FakeClock, FakeProvider, using

SCHEDULE = (20, 60, 120, 300, 600, 1200)
DECLINED = Declined("not this one")
TAKEN_BACK = Declined("reversed to the wallet", about_transaction=True, provider_reversed=True)


@pytest.fixture
def app() -> Iterator[AppHarness]:
    yield from using(AppHarness())


def requery_count(app: AppHarness) -> int:
    return app.provider.count("requery")


def requery_on_schedule(
    app: AppHarness, payment: Payment, times: int = 1, answer: Answer = NO_ANSWER
) -> None:
    """The next requeries of the payment, which get this answer."""
    app.provider.requery_answer = answer
    for _ in range(times):
        app.advance_until_due(payment)
        app.settle_due()


# --- the schedule -----------------------------------------------------------------------------------------------------


def test_requeries_follow_the_schedule_with_jitter(app: AppHarness) -> None:
    payment = app.payment_in_doubt()
    gaps = []
    for seconds in SCHEDULE:
        gaps.append(app.advance_until_due(payment))
        assert seconds <= gaps[-1] <= seconds * (1 + JITTER)
        app.settle_due()
    assert requery_count(app) == len(SCHEDULE)
    assert [gap for gap, seconds in zip(gaps, SCHEDULE, strict=True) if gap == seconds] == []


def test_requeries_of_many_payments_are_spread(app: AppHarness) -> None:
    assert len({app.seconds_until_due(app.payment_in_doubt(100)) for _ in range(20)}) > 15


def test_no_requery_before_it_is_due(app: AppHarness) -> None:
    payment = app.payment_in_doubt()
    due_in = app.seconds_until_due(payment)
    assert due_in is not None
    app.advance(due_in - 0.001)
    assert requery_count(app) == 0
    app.advance(0.001)
    assert requery_count(app) == 1


def test_requery_schedule_continues_after_restart(app: AppHarness) -> None:
    payment = app.payment_in_doubt()
    requery_on_schedule(app, payment)
    due_in = app.seconds_until_due(payment)
    app.restart(app.provider)
    assert app.seconds_until_due(payment) == due_in
    assert due_in is not None
    app.advance(due_in - 1)
    assert requery_count(app) == 1
    app.provider.requery_answer = Delivered(TOKEN)
    app.advance(1)
    assert app.reload(payment).token == TOKEN


@pytest.mark.parametrize("advice", [5, 300, 7_000])
def test_provider_advice_overrides_schedule(app: AppHarness, advice: int) -> None:
    payment = app.payment_in_doubt()
    requery_on_schedule(app, payment, answer=Pending("in progress", retry_after_seconds=advice))
    assert app.seconds_until_due(payment) == pytest.approx(advice, rel=JITTER)


# --- on demand --------------------------------------------------------------------------------------------------------


def test_refresh_requeries_now_and_settles(app: AppHarness) -> None:
    """However often, and also while an earlier request waits for its time."""
    payment = app.payment_in_doubt()
    for _ in range(3):
        app.bv.refresh(payment.transaction_id)
    assert requery_count(app) == 3
    app.clock.sleep(1)
    assert app.receive_webhook(payment) == 1
    app.provider.requery_answer = Delivered(TOKEN)
    app.bv.refresh(payment.transaction_id)
    assert app.reload(payment).token == TOKEN
    failed = app.payment_in_doubt()
    app.provider.requery_answer = Declined("it failed", about_transaction=True)
    app.bv.refresh(failed.transaction_id)
    assert app.reload(failed).status is Status.REVERSED


def test_refresh_of_unsent_payment_makes_no_call(app: AppHarness) -> None:
    app.bv.refresh(app.pay().transaction_id)
    assert app.provider.calls == []


# --- requests from webhooks -------------------------------------------------------------------------------------------


def request_requery(app: AppHarness, payment: Payment, by: str) -> None:
    app.receive_webhook(payment) if by == "webhook" else app.bv.request_requery(app.reload(payment))


@pytest.mark.parametrize("by", ["webhook", "customer"])
def test_requery_request_brings_the_next_requery_forward(app: AppHarness, by: str) -> None:
    payment = app.payment_in_doubt()
    requery_on_schedule(app, payment, 4)
    app.clock.sleep(100)
    request_requery(app, payment, by)
    assert requery_count(app) == 4  # not inside the request
    app.provider.requery_answer = Delivered(TOKEN)
    app.settle_due()
    assert app.reload(payment).token == TOKEN
    assert requery_count(app) == 5


@pytest.mark.parametrize("by", ["webhook", "customer"])
def test_requery_requests_are_rate_limited(app: AppHarness, by: str) -> None:
    payment = app.payment_in_doubt()
    requery_on_schedule(app, payment, 4)
    for _ in range(40):  # for 200 seconds, which is 20 per interval
        request_requery(app, payment, by)
        app.advance(5)
    assert 8 <= requery_count(app) - 4 <= 11


def scheduled_requery_times(*, requested: bool) -> list[float]:
    """When the schedule requeries a payment within 20 minutes, in seconds from its start."""
    app = AppHarness()
    payment, began = app.payment_in_doubt(), app.clock.at
    for _ in range(120):
        if requested:
            app.bv.request_requery(app.reload(payment))
        app.advance(10)
    requeries = [
        (logged.at - began).total_seconds()
        for logged in app.bv.events(payment)
        if isinstance(event := load_event(logged.kind, logged.data), RequeryStarted) and not event.on_request
    ]
    app.close()
    return requeries


def test_requery_requests_do_not_delay_the_schedule() -> None:
    assert scheduled_requery_times(requested=True) == scheduled_requery_times(requested=False) != []


def test_forged_webhook_causes_only_one_requery(app: AppHarness) -> None:
    payment = app.payment_in_doubt()
    before = app.seconds_until_due(payment)
    app.receive_webhook(payment)
    app.settle_due()
    after = app.reload(payment)
    assert requery_count(app) == 1
    assert (after.status, after.incidents, after.token) == (Status.IN_DOUBT, (), None)
    assert app.seconds_until_due(payment) == before
    assert app.balance == (9_500, 500)


@pytest.mark.parametrize("body", [b"", b"nonsense", b"acme/id-999999/1/2026-11-22"])
def test_webhook_with_unknown_reference_is_ignored(app: AppHarness, body: bytes) -> None:
    app.payment_in_doubt()
    assert app.bv.handle_provider_webhook("acme", body) == 0
    assert app.bv.handle_provider_webhook("unknown", body) == 0
    app.settle_due()
    assert requery_count(app) == 0


def test_webhooks_do_not_speed_up_not_found_reversal(app: AppHarness) -> None:
    """Forged webhooks cause more requeries, but the proof takes as long as it takes without them."""
    payment = app.payment_in_doubt()
    app.provider.requery_answer = NotFound("no such reference")
    for _ in range(55):  # 9 minutes
        app.receive_webhook(payment)
        app.advance(10)
    assert app.reload(payment).status is Status.IN_DOUBT


def test_requery_request_before_send_is_ignored(app: AppHarness) -> None:
    payment = app.pay()
    app.bv.request_requery(app.reload(payment))
    app.settle_due()
    assert app.provider.calls == ["vend"]


def test_requery_request_during_successful_send_makes_no_requery() -> None:
    """Callers query their payments all the time. A completed sale needs no requery."""

    class ProviderWithRequeryRequest(FakeProvider):
        def vend(self, order: Order, may_send: Callable[[], bool]) -> Answer:
            app.bv.request_requery(app.reload(payment))
            return super().vend(order, may_send)

    app = AppHarness(ProviderWithRequeryRequest())
    payment = app.pay()
    app.settle_due()
    assert app.reload(payment).status is Status.COMPLETED
    assert requery_count(app) == 0
    app.close()


@pytest.mark.parametrize("answer", [Pending("in progress", 600), Deferred("too early", 600)])
@pytest.mark.parametrize("by", ["webhook", "customer"])
def test_requery_request_waits_for_provider_retry_after(app: AppHarness, by: str, answer: Answer) -> None:
    payment = app.payment_in_doubt()
    requery_on_schedule(app, payment, answer=answer)
    app.provider.requery_answer = Delivered(TOKEN)
    for _ in range(59):
        request_requery(app, payment, by)
        app.advance(10)
    app.advance(9)
    assert requery_count(app) == 1
    app.advance(1)
    assert app.reload(payment).token == TOKEN


@pytest.mark.parametrize("answer", [Pending("in progress", 600), Deferred("too early", 600)])
def test_operator_refresh_ignores_provider_retry_after(app: AppHarness, answer: Answer) -> None:
    payment = app.payment_in_doubt()
    requery_on_schedule(app, payment, answer=answer)
    app.receive_webhook(payment)  # one that waits
    app.provider.requery_answer = Delivered(TOKEN)
    app.bv.refresh(payment.transaction_id)
    assert app.reload(payment).token == TOKEN


class RateLimitedProvider(FakeProvider):
    """A provider that rejects requeries within a minute of each other, as BuyPower does, and knows no reference."""

    last_asked_at: datetime | None = None
    rejected_requeries = 0

    def requery(self, order: Order) -> Answer:
        before, self.last_asked_at = self.last_asked_at, self.clock.now()
        if before is not None and self.last_asked_at - before < timedelta(seconds=60):
            self.rejected_requeries += 1
            return Deferred("too early", 60)
        return NotFound("no such reference")

    clock: FakeClock


@pytest.mark.parametrize("by", ["webhook", "customer"])
def test_requery_requests_do_not_delay_not_found_reversal(by: str) -> None:
    """Endless requests make the provider reject requeries; that does not undo the proof."""
    touchy = RateLimitedProvider()
    app = AppHarness(touchy)
    touchy.clock = app.clock
    payment = app.payment_in_doubt()
    for _ in range(350):  # shortly before the review
        if app.reload(payment).has_ended:
            break
        request_requery(app, payment, by)
        app.advance(20)
    assert touchy.rejected_requeries > 5
    assert app.reload(payment).proof is Proof.NOT_FOUND
    assert app.balance == (10_000, 0)
    app.close()


@pytest.mark.parametrize("by", ["webhook", "customer", "operator"])
def test_requery_request_for_removed_account_is_not_recorded(app: AppHarness, by: str) -> None:
    """A request that cannot be followed is not recorded: such requests would pile up and block later ones."""
    payment, old = app.payment_in_doubt(), app.provider
    other = FakeProvider(account="key-2")
    app.restart(other)
    for _ in range(3):
        if by == "operator":
            app.bv.refresh(payment.transaction_id)
        else:
            request_requery(app, payment, by)
        app.advance(100)
    assert [event for event in app.events(payment) if isinstance(event, RequeryRequested)] == []
    assert app.reload(payment).requery_request is None
    assert other.calls == []
    old.requery_answer = Delivered(TOKEN)
    app.restart(other, old)
    request_requery(app, payment, "customer")
    app.settle_due()
    assert app.reload(payment).token == TOKEN


# --- requests after the end -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["webhook", "operator"])
@pytest.mark.parametrize(
    ("sent", "answer", "incidents", "totals"),
    [
        (Delivered(TOKEN), Delivered(TOKEN), [], {"provider:acme": 500}),
        (Delivered(TOKEN), NotFound("no such reference"), [], {"provider:acme": 500}),
        (Delivered(TOKEN), Pending("in progress"), [], {"provider:acme": 500}),
        (Delivered(TOKEN), TAKEN_BACK, [("taken_back", 500)], {"recovered": 500}),
        (Delivered(TOKEN, cost_minor=49_000), TAKEN_BACK, [("taken_back", 490)], {"recovered": 490}),
        (Delivered(TOKEN), Delivered(TOKEN, cost_minor=49_000), [], {"provider:acme": 490, "commission:acme": 10}),
        (DECLINED, Delivered(TOKEN), [("delivered_after_reversal", 500)], {"loss": -500, "provider:acme": 500}),
    ],
)  # fmt: skip
def test_requeries_after_the_end_find_each_contradiction_once(
    app: AppHarness,
    by: str,
    sent: Answer,
    answer: Answer,
    incidents: list[tuple[str, int]],
    totals: dict[str, int],
) -> None:
    """The payment and the customer's balance stay as they are. A contradiction is one incident, and a cost is booked once."""
    app.provider.send_answer = sent
    payment = app.pay()
    app.settle_due()
    ended, balance = app.reload(payment), app.balance
    app.provider.requery_answer = answer
    for _ in range(3):
        app.bv.refresh(payment.transaction_id) if by == "operator" else app.receive_webhook(payment)
        app.advance(100)
    after = app.reload(payment)
    assert requery_count(app) == 3
    assert (after.status, after.proof, after.token) == (ended.status, ended.proof, ended.token)
    assert app.incidents(payment) == incidents
    assert {name: app.account_total(name) for name in totals} == totals
    assert app.balance == balance
    assert app.seconds_until_due(payment) is None
    in_review = [found.transaction_id for found in app.bv.review().payments_with_incidents]
    assert in_review == ([payment.transaction_id] if incidents else [])
