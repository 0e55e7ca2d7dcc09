"""Which provider a payment is sent to, and which one is requeried."""

from collections.abc import Iterator

import pytest

from billvend import Money, Status
from billvend.domain.enums import Proof
from billvend.domain.errors import ProviderUnavailable
from billvend.domain.outcome import (
    Answer,
    Declined,
    Deferred,
    Delivered,
    Misconfigured,
    NotFound,
    NotSent,
    Pending,
)
from billvend.usecases.limits import Limits
from tests.harness import NO_ANSWER, TOKEN, AppHarness, FakeProvider, using

EMPTY_FLOAT = Misconfigured("the float is empty", "018")
NOT_FOUND = NotFound("no such reference")


@pytest.fixture
def app() -> Iterator[AppHarness]:
    """Two providers; `app.provider` is the preferred one."""
    second = FakeProvider("backup")
    app = AppHarness(FakeProvider("acme"), second)
    yield from using(app)


def second(app: AppHarness) -> FakeProvider:
    (_, provider) = app.deps.providers.values()
    assert isinstance(provider, FakeProvider)
    return provider


@pytest.mark.parametrize(
    "answer",
    [
        Declined("not this one"), Declined("it failed", about_transaction=True), NotSent("rejected"),
        Deferred("later"), EMPTY_FLOAT,
    ],
    ids=["declined", "failed", "not sent", "deferred", "misconfigured"],
)  # fmt: skip
def test_second_provider_is_tried_after_proven_failure(app: AppHarness, answer: Answer) -> None:
    app.provider.send_answer = answer
    payment = app.pay()
    app.settle_due()
    for _ in range(6):
        app.advance(100)
    ended = app.reload(payment)
    assert (ended.status, ended.token) == (Status.COMPLETED, TOKEN)
    assert [attempt.provider for attempt in ended.attempts] == ["acme", "backup"]
    assert len(set(app.provider.references + second(app).references)) == 2
    assert second(app).count("vend") == 1


@pytest.mark.parametrize(
    "then", [NO_ANSWER, NOT_FOUND, Pending("at work")], ids=["unknown", "not found", "pending"]
)
def test_second_provider_is_not_tried_while_first_is_in_doubt(app: AppHarness, then: Answer) -> None:
    app.provider.send_answer, app.provider.requery_answer = NO_ANSWER, then
    payment = app.pay()
    for _ in range(50):
        app.advance(240)
    assert second(app).calls == []
    assert app.provider.count("vend") == 1
    assert app.reload(payment).status is (Status.REVERSED if then is NOT_FOUND else Status.IN_REVIEW)


def test_failure_after_doubt_reverses_without_second_provider(app: AppHarness) -> None:
    app.provider.send_answer, app.provider.requery_answer = (
        NO_ANSWER,
        Declined("it failed", about_transaction=True),
    )
    payment = app.pay()
    app.settle_due()
    app.advance(25)
    assert app.reload(payment).proof is Proof.DECLINED
    assert second(app).calls == []


def test_decline_by_all_providers_reverses(app: AppHarness) -> None:
    app.provider.send_answer = second(app).send_answer = Declined("not this one")
    payment = app.pay()
    app.settle_due()
    assert app.reload(payment).proof is Proof.DECLINED
    assert app.balance == (10_000, 0)


def test_requery_goes_only_to_the_provider_that_got_the_send(app: AppHarness) -> None:
    app.provider.send_answer, second(app).send_answer = Declined("not this one"), NO_ANSWER
    payment = app.pay()
    app.settle_due()
    second(app).requery_answer = Delivered(TOKEN)
    app.advance(25)
    assert app.reload(payment).token == TOKEN
    assert app.provider.calls == ["vend"]
    assert second(app).calls == ["vend", "requery"]


def test_second_provider_is_used_while_first_is_suspended() -> None:
    app = AppHarness(
        FakeProvider("acme"),
        FakeProvider("backup"),
        limits=Limits("100", "1000000", max_in_doubt_major="1000"),
    )
    app.payment_in_doubt(1_100)
    app.bv.refresh_account_status()
    app.provider.send_answer = Delivered(TOKEN)
    payment = app.settle(app.pay())
    assert [attempt.provider for attempt in payment.attempts] == ["backup"]
    second(app).send_answer = EMPTY_FLOAT
    app.settle(app.pay())
    with pytest.raises(ProviderUnavailable):
        app.pay()
    app.provider.requery_answer = Delivered(TOKEN)
    app.advance(25)
    app.bv.refresh_account_status()
    last = app.settle(app.pay())
    assert [attempt.provider for attempt in last.attempts] == ["acme"]
    app.close()


# --- keys and URLs that change ----------------------------------------------------------------------------------------


@pytest.fixture
def single_provider() -> Iterator[AppHarness]:
    yield from using(AppHarness())


@pytest.mark.parametrize("says", [NOT_FOUND, Delivered(TOKEN), Declined("it failed", about_transaction=True)])
def test_changed_account_does_not_reverse_payments_in_doubt(
    single_provider: AppHarness, says: Answer
) -> None:
    payment = single_provider.payment_in_doubt()
    changed = FakeProvider(account="key-2")
    changed.requery_answer = says
    single_provider.restart(changed)
    for _ in range(30):
        single_provider.advance(7_200)
    waiting = single_provider.bv.review().payments_in_review
    assert [found.transaction_id for found in waiting] == [payment.transaction_id]
    assert "acme account key-1" in (waiting[0].review_reason or "")
    assert changed.calls == []
    assert single_provider.balance == (9_500, 500)


def test_not_found_reversal_is_withdrawn_when_account_changes(single_provider: AppHarness) -> None:
    payment = single_provider.payment_in_doubt()
    single_provider.provider.requery_answer = NOT_FOUND
    while single_provider.reload(payment).status is not Status.REVERSING:
        single_provider.advance_until_due(payment)
        single_provider.settle(payment)
    single_provider.restart(FakeProvider(account="key-2"))
    single_provider.advance(1)
    assert single_provider.reload(payment).status is Status.IN_REVIEW
    assert single_provider.balance == (9_500, 500)


def test_restored_account_is_requeried(single_provider: AppHarness) -> None:
    payment = single_provider.payment_in_doubt()
    old, new = single_provider.provider, FakeProvider(account="key-2")
    single_provider.restart(new)
    single_provider.advance(60)
    assert single_provider.reload(payment).status is Status.IN_REVIEW
    old.requery_answer = Delivered(TOKEN)
    single_provider.restart(new, old)
    single_provider.bv.refresh(payment.transaction_id)
    assert single_provider.reload(payment).token == TOKEN
    assert new.calls == []


def test_requery_request_for_removed_account_does_not_block_other_attempts(app: AppHarness) -> None:
    """A payment has one unresolved attempt. Its requery must not depend on the earlier ones."""
    app.provider.send_answer, second(app).send_answer = Declined("not this one"), NO_ANSWER
    payment = app.pay()
    app.settle_due()
    left = second(app)
    app.receive_webhook(payment, attempt=0)
    app.restart(left)
    left.requery_answer = Delivered(TOKEN)
    app.bv.refresh(payment.transaction_id)
    assert app.reload(payment).token == TOKEN


def test_changed_account_sells_at_once(single_provider: AppHarness) -> None:
    single_provider.payment_in_doubt()
    single_provider.restart(FakeProvider(account="key-2"))
    assert single_provider.settle(single_provider.pay()).status is Status.COMPLETED
    assert single_provider.bv.balance("ada").held == Money(50_000, "NGN")


def test_unanswered_prior_reference_at_removed_account_goes_to_review() -> None:
    """A lost journal may have sent it there: a person must decide."""
    backup = FakeProvider("backup")
    app = AppHarness(FakeProvider("acme", reference_lasts_a_day=True), backup)
    app.clock.sleep(11.9 * 3600)
    (payment,) = app.pay_many()
    app.advance(3600)
    assert app.provider.calls == ["requery"]
    app.restart(backup)
    app.advance(3600)
    assert backup.count("vend") == 0
    assert app.balance == (9_500, 500)
    assert app.reload(payment).status is Status.IN_REVIEW
    assert "acme account key-1" in (app.reload(payment).review_reason or "")
    assert app.bv.health().checks["provider"].details["unconfigured"] == ["acme account key-1"]
    app.close()


def test_unanswered_prior_reference_goes_to_review() -> None:
    """Review comes within about two hours, with nothing sent to any provider. Requeries are daily from then on."""
    acme, backup = FakeProvider("acme", reference_lasts_a_day=True), FakeProvider("backup")
    app = AppHarness(acme, backup)
    app.clock.sleep(11.9 * 3600)
    (payment,) = app.pay_many()
    app.clock.sleep(3600)
    for _ in range(30):
        app.advance(300)
    assert [found.transaction_id for found in app.bv.review().payments_in_review] == [payment.transaction_id]
    assert "in doubt for too long" in (app.reload(payment).review_reason or "")
    assert {*acme.calls, *backup.calls} <= {"requery", "float"}
    assert app.balance == (9_500, 500)
    requeries = acme.count("requery")
    for _ in range(12):
        app.advance(4 * 3600)
    assert acme.count("requery") == requeries + 2
    acme.requery_answer = NOT_FOUND
    for _ in range(7):
        app.advance(4 * 3600)
    assert app.reload(payment).proof is Proof.NOT_SENT
    assert app.balance == (10_000, 0)
    assert acme.count("vend") == backup.count("vend") == 0
    assert app.bv.audit().ok
    app.close()


def test_prior_reference_that_failed_moves_to_second_provider() -> None:
    acme, backup = FakeProvider("acme", reference_lasts_a_day=True), FakeProvider("backup")
    app = AppHarness(acme, backup)
    app.clock.sleep(11.9 * 3600)
    (payment,) = app.pay_many()
    acme.requery_answer = Declined("it failed", about_transaction=True)
    app.advance(3600)
    assert [attempt.provider for attempt in app.reload(payment).attempts] == ["acme", "backup"]
    assert (acme.count("vend"), backup.count("vend")) == (0, 1)
    assert app.reload(payment).status is Status.COMPLETED
    app.close()


def test_prior_reference_not_found_is_sent_by_first_provider() -> None:
    acme, backup = FakeProvider("acme", reference_lasts_a_day=True), FakeProvider("backup")
    app = AppHarness(acme, backup)
    app.clock.sleep(11.9 * 3600)
    (payment,) = app.pay_many()
    acme.requery_answer = NOT_FOUND
    app.advance(3600)
    assert [attempt.provider for attempt in app.reload(payment).attempts] == ["acme", "acme"]
    assert (acme.count("vend"), backup.count("vend")) == (1, 0)
    assert app.reload(payment).status is Status.COMPLETED
    app.close()
