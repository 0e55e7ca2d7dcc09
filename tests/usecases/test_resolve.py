"""A person decides while the provider gives no answer. A later answer that contradicts the decision is shown as an
incident."""

from collections.abc import Callable, Iterator
from itertools import product

import pytest

from billvend import Payment, Status, TransactionNotFound, ValidationFailed
from billvend.domain.enums import OperatorDecision, Proof
from billvend.domain.errors import Conflict, NotInReview
from billvend.domain.journal.events import OperatorDecided, ReversalDecided
from billvend.domain.outcome import Answer, Declined, Delivered, NotFound, NotSent, Pending
from tests.harness import NO_ANSWER, OTHER_TOKEN, TOKEN, AppHarness, using

FAILED = Declined("it failed", about_transaction=True)
DAY = 86_400


@pytest.fixture
def app() -> Iterator[AppHarness]:
    yield from using(AppHarness())


def decide(app: AppHarness, payment: Payment, decision: str, token: str | None = None) -> Payment:
    """Ngozi decides, after a call."""
    return app.bv.resolve(
        payment.transaction_id, operator="ngozi", reason="EKEDC says so", token=token, decision=decision
    )


def complete(app: AppHarness, payment: Payment, token: str | None = TOKEN) -> Payment:
    return decide(app, payment, "delivered", token)


def reverse(app: AppHarness, payment: Payment) -> Payment:
    return decide(app, payment, "reverse")


def acknowledge(app: AppHarness, payment: Payment) -> Payment:
    return decide(app, payment, "acknowledged")


def answer_after_webhook(app: AppHarness, payment: Payment, answer: Answer) -> Payment:
    """The provider gives this answer when a webhook causes a requery."""
    app.provider.requery_answer = answer
    app.receive_webhook(payment)
    app.advance(100)
    return app.reload(payment)


# --- review -----------------------------------------------------------------------------------------------------------


def test_review_is_empty_at_first(app: AppHarness) -> None:
    app.payment_in_doubt()
    assert (app.bv.review().payments_in_review, app.bv.review().payments_with_incidents) == ([], [])


def test_review_lists_payments_with_evidence_oldest_first(app: AppHarness) -> None:
    app.provider.requery_answer = Pending("at work")
    first = app.payment_in_review(300)
    second = app.payment_in_review(400)
    waiting = app.bv.review().payments_in_review
    assert [found.transaction_id for found in waiting] == [first.transaction_id, second.transaction_id]
    assert waiting[0].review_reason == "it has been in doubt for too long"
    answers = waiting[0].attempts[0].answers
    assert answers[0] == NO_ANSWER
    assert set(answers[1:]) == {Pending("at work")}
    assert app.balance == (9_300, 700)


@pytest.mark.parametrize(
    ("answer", "token", "proof", "balance"),
    [(Delivered(TOKEN), TOKEN, None, (9_500, 0)), (FAILED, None, Proof.DECLINED, (10_000, 0))],
)
def test_payment_in_review_is_requeried_daily_until_answered(
    app: AppHarness, answer: Answer, token: str | None, proof: Proof | None, balance: tuple[int, int]
) -> None:
    payment = app.payment_in_review()
    requeries = app.provider.count("requery")
    for day in range(1, 4):
        assert DAY * 0.9 < app.advance_until_due(payment) <= DAY
        app.settle_due()
        assert app.provider.count("requery") == requeries + day
    app.provider.requery_answer = answer
    app.advance_until_due(payment)
    app.settle_due()
    assert (app.reload(payment).token, app.reload(payment).proof) == (token, proof)
    assert app.bv.review().payments_in_review == []
    assert app.balance == balance


# --- decisions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["in doubt", "in review"])
def test_operator_completes_payment_with_token(app: AppHarness, state: str) -> None:
    payment = app.payment_in_doubt() if state == "in doubt" else app.payment_in_review()
    done = complete(app, payment)
    assert (done.status, done.token) == (Status.COMPLETED, TOKEN)
    assert app.reload(payment) == done
    assert app.balance == (9_500, 0)
    assert app.account_total("provider:acme") == 500
    decided = OperatorDecided("ngozi", OperatorDecision.DELIVERED, "EKEDC says so")
    assert decided in app.events(payment)
    assert app.seconds_until_due(payment) is None


@pytest.mark.parametrize("state", ["in doubt", "in review"])
def test_operator_reverses_payment_on_own_proof(app: AppHarness, state: str) -> None:
    payment = app.payment_in_doubt() if state == "in doubt" else app.payment_in_review()
    done = reverse(app, payment)
    assert (done.status, done.proof) == (Status.REVERSED, Proof.OPERATOR)
    assert app.balance == (10_000, 0)
    assert OperatorDecided("ngozi", OperatorDecision.REVERSE, "EKEDC says so") in app.events(payment)
    (decided,) = [event for event in app.events(payment) if isinstance(event, ReversalDecided)]
    assert "ngozi" in decided.reason
    assert "EKEDC says so" in decided.reason


@pytest.mark.parametrize("typed", ["1234 5678 9012 3456 7890", "1234-5678-9012-3456-7890", f" {TOKEN} "])
def test_token_may_be_entered_in_groups(app: AppHarness, typed: str) -> None:
    assert complete(app, app.payment_in_doubt(), typed).token == TOKEN


@pytest.mark.parametrize(
    "typed",
    ["", "1234", TOKEN[:-1], TOKEN + "1", "1234567890123456789O", "١" * 20, None, "12345678901234567890\n1"],
)
def test_invalid_token_is_rejected(app: AppHarness, typed: str | None) -> None:
    payment = app.payment_in_doubt()
    with pytest.raises(ValidationFailed) as error:
        complete(app, payment, typed)
    assert "token" in error.value.fields
    assert app.reload(payment) == payment


def test_postpaid_payment_is_completed_without_token(app: AppHarness) -> None:
    payment = app.payment_in_doubt(vend_type="postpaid")
    assert complete(app, payment, None).status is Status.COMPLETED


@pytest.mark.parametrize(
    ("field", "value"),
    [*product(("operator", "reason"), ("", "   ", "x" * 501, "a\nb", "\0")), ("decision", "maybe")],
)
def test_invalid_words_are_rejected(app: AppHarness, field: str, value: str) -> None:
    payment = app.payment_in_doubt()
    words = {"operator": "ngozi", "reason": "by phone"} | {field: value}
    with pytest.raises(ValidationFailed) as error:
        app.bv.resolve(payment.transaction_id, token=TOKEN, **words)
    assert list(error.value.fields) == [field]
    assert app.reload(payment) == payment


# --- decisions that are rejected --------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["pending", "to be sent again", "completed", "reversed", "reversing"])
@pytest.mark.parametrize("verdict", list(OperatorDecision))
def test_resolve_of_payment_not_in_doubt_is_rejected(
    app: AppHarness, state: str, verdict: OperatorDecision
) -> None:
    sent: dict[str, Answer] = {"completed": Delivered(TOKEN), "to be sent again": NotSent("rejected")}
    app.provider.send_answer = sent.get(state, FAILED)
    payment = app.pay()
    if state == "reversed":
        app.settle_due()
    elif state != "pending":
        app.settle(payment)
    before = app.reload(payment)
    with pytest.raises(NotInReview) as error:
        app.bv.resolve(
            payment.transaction_id, operator="ngozi", reason="by phone", decision=verdict, token=OTHER_TOKEN
        )
    assert isinstance(error.value, Conflict)  # exit status 5
    assert app.reload(payment) == before


def test_resolve_of_unknown_payment_is_not_found(app: AppHarness) -> None:
    funding = app.bv.history("ada")[-1].transaction_id
    for unknown in ("id-999999", funding):
        with pytest.raises(TransactionNotFound):
            app.bv.resolve(unknown, operator="ngozi", reason="by phone", token=TOKEN)


Decide = Callable[[AppHarness, Payment], Payment]


@pytest.mark.parametrize("first", [complete, reverse])
@pytest.mark.parametrize("second", [complete, reverse])
def test_second_decision_is_rejected(app: AppHarness, first: Decide, second: Decide) -> None:
    payment = app.payment_in_doubt()
    done = first(app, payment)
    with pytest.raises(NotInReview):
        second(app, payment)
    assert app.reload(payment) == done


@pytest.mark.parametrize("decide", [complete, reverse])
@pytest.mark.parametrize("answer", [Delivered(TOKEN), FAILED, NotFound("no such reference"), NO_ANSWER])
def test_decision_during_requery_is_kept(app: AppHarness, decide: Decide, answer: Answer) -> None:
    """The answer comes to a payment that has ended. It stays as the person decided, and the balances add up."""
    payment = app.payment_in_doubt()
    app.provider.requery_answer = answer
    app.provider.during_requery = lambda: decide(app, payment)
    app.advance_until_due(payment)
    app.settle(payment)
    ended = app.reload(payment)
    assert ended.status is (Status.COMPLETED if decide is complete else Status.REVERSED)
    contradicted = {Delivered: decide is reverse, Declined: decide is complete}.get(type(answer), False)
    assert bool(ended.incidents) == contradicted
    assert app.balance == ((9_500, 0) if decide is complete else (10_000, 0))


# --- later answers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "incidents", "totals"),
    [
        (Delivered(TOKEN), [], {"provider:acme": 500}),
        (Delivered(TOKEN, cost_minor=49_000), [], {"provider:acme": 490, "commission:acme": 10}),
        (Delivered(TOKEN, cost_minor=50_700), [], {"provider:acme": 507, "expense:acme": -7}),
        (Delivered(OTHER_TOKEN, cost_minor=49_000), [("another_token", 0)], {}),
        (FAILED, [("taken_back", 500)], {"recovered": 500}),
    ],
)
def test_answer_after_operator_completion_counts_once(
    app: AppHarness, answer: Answer, incidents: list[tuple[str, int]], totals: dict[str, int]
) -> None:
    """A cost is booked, and a contradiction is one incident. The payment stays as the person decided."""
    payment = complete(app, app.payment_in_doubt())
    for _ in range(2):
        after = answer_after_webhook(app, payment, answer)
        assert (after.status, after.token) == (Status.COMPLETED, TOKEN)
        assert app.incidents(payment) == incidents
        assert {name: app.account_total(name) for name in totals} == totals
    found = app.reload(payment).incidents
    assert all(OTHER_TOKEN in each.detail for each in found if each.kind == "another_token")
    assert app.balance == (9_500, 0)


def test_payment_reversed_by_operator_is_monitored(app: AppHarness) -> None:
    payment = reverse(app, app.payment_in_doubt())
    requeries = app.provider.count("requery")
    waits = []
    while (due_in := app.seconds_until_due(payment)) is not None:
        waits.append(round(due_in / 3600))
        app.advance(due_in)
    assert waits == [1, 5, 18, 48]
    assert app.provider.count("requery") == requeries + 4


def test_delivery_after_operator_reversal_is_one_loss(app: AppHarness) -> None:
    payment = reverse(app, app.payment_in_doubt())
    app.provider.requery_answer = Delivered(TOKEN, cost_minor=49_000)
    app.advance(3_600)
    for _ in range(2):
        answer_after_webhook(app, payment, Delivered(TOKEN, cost_minor=49_000))
    assert app.incidents(payment) == [("delivered_after_reversal", 490)]
    assert (app.account_total("loss"), app.account_total("provider:acme")) == (-490, 490)
    assert app.balance == (10_000, 0)
    assert app.reload(payment).status is Status.REVERSED


# --- incidents --------------------------------------------------------------------------------------------------------


def test_incident_needs_review_until_acknowledged(app: AppHarness) -> None:
    payment = complete(app, app.payment_in_doubt())
    with pytest.raises(NotInReview):
        acknowledge(app, payment)
    answer_after_webhook(app, payment, Delivered(OTHER_TOKEN))
    assert [found.transaction_id for found in app.bv.review().payments_with_incidents] == [
        payment.transaction_id
    ]
    acknowledge(app, payment)
    assert app.bv.review().payments_with_incidents == []
    assert app.incidents(payment) == [("another_token", 0)]  # acknowledged, but not forgotten
    with pytest.raises(NotInReview):
        acknowledge(app, payment)
    answer_after_webhook(app, payment, Delivered("33333333333333333333"))
    (open_,) = app.bv.review().payments_with_incidents
    assert len(open_.open_incidents) == 1
    assert OperatorDecided("ngozi", OperatorDecision.ACKNOWLEDGED, "EKEDC says so") in app.events(payment)


def test_token_of_another_payment_is_an_incident(app: AppHarness) -> None:
    app.settle(app.pay())
    first = app.bv.payments()[0]
    second = complete(app, app.payment_in_doubt())
    assert (second.status, second.token) == (Status.COMPLETED, TOKEN)
    assert app.incidents(second) == [("token_of_another", 0)]
    assert first.transaction_id in app.reload(second).incidents[0].detail
    assert app.incidents(first) == []
    app.provider.send_answer = Delivered(TOKEN)
    third = app.settle(app.pay())
    assert app.incidents(third) == [("token_of_another", 0)]
