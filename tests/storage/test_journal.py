"""The contract of the Journal port: what every journal does with commands, alone and in lists."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from billvend.adapters.storage.tables import transactions
from billvend.domain.decisions.commands import Claim, Command, Executed, Fund, Pay, ProviderCall, RecordAnswer
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.enums import Proof, Status
from billvend.domain.errors import (
    BillvendError,
    IdempotencyMismatch,
    InsufficientFunds,
    LikelyDuplicate,
    TransactionNotFound,
    WalletNotFound,
)
from billvend.domain.journal.events import PaymentReversed
from billvend.domain.money import Money
from billvend.domain.outcome import Answer, Declined, NotFound, NotSent, Unknown
from billvend.domain.policy.accounts import Mode
from billvend.ports.journal import DuePayment
from tests.storage.harness import (
    NOTHING_DELIVERED,
    NOW,
    TOKEN,
    JournalHarness,
    delivered,
    expect_executed,
    recorded_statements,
    result_codes,
)

# --- one command ------------------------------------------------------------------------------------------------------


def test_funding_creates_the_wallet_and_adds_to_it(harness: JournalHarness) -> None:
    first = harness.execute_one(harness.fund(minor=300))
    second = harness.execute_one(harness.fund(minor=45))
    assert (first.result.status, first.result.balance_minor, first.replayed) == (Status.COMPLETED, 300, False)
    assert second.result.balance_minor == 345
    assert harness.balance() == (345, 0)
    assert harness.accounts() == {"wallet": 345}
    assert harness.audit().ok


def test_wallets_are_separate_by_user_and_currency(harness: JournalHarness) -> None:
    harness.execute(harness.fund("ada", 1), harness.fund("ada", 2, currency="KES"), harness.fund("ben", 4))
    balances = [harness.balance(*wallet) for wallet in (("ada", "NGN"), ("ada", "KES"), ("ben", "NGN"))]
    assert balances == [(1, 0), (2, 0), (4, 0)]
    assert result_codes(harness.execute(harness.pay("ben", 1, currency="KES"))) == ["wallet_not_found"]
    assert harness.queries.balance("ben", "KES") is None
    assert harness.audit().wallets == 3


@pytest.mark.parametrize(("has_caller_key", "stored"), [(True, "order-42"), (False, None)])
def test_payment_holds_its_amount(harness: JournalHarness, has_caller_key: bool, stored: str | None) -> None:
    harness.add_funds(minor=10_000)
    pay = harness.pay(minor=1_500, key="order-42", has_caller_key=has_caller_key)
    done = harness.execute_one(pay)
    assert (done.result.transaction_id, done.result.balance_minor) == (pay.transaction_id, 8_500)
    assert (done.result.status, done.result.next_at) == (Status.PENDING, NOW)
    assert done.payment == harness.payment(pay)
    assert harness.payment(pay).key == stored
    assert harness.balance() == (8_500, 1_500)


def _declined(harness: JournalHarness, pay: Pay) -> None:
    harness.answer(pay, NOTHING_DELIVERED)


def _reversed(harness: JournalHarness, pay: Pay) -> None:
    harness.answer(pay, NOTHING_DELIVERED)
    harness.execute_one(harness.claim(pay))


def _delivered_after_reversal(harness: JournalHarness, pay: Pay) -> None:
    work = harness.claim_work(pay)
    harness.execute_one(harness.report(pay, work, NOTHING_DELIVERED))
    harness.execute_one(harness.claim(pay))
    harness.execute_one(harness.report(pay, work, delivered(cost_minor=970)))


def _requeried_after_the_worker_died(harness: JournalHarness, pay: Pay) -> None:
    sent = harness.claim_work(pay)
    harness.advance(61)
    requery = harness.claim_work(pay)
    assert harness.status(pay) is Status.IN_DOUBT
    assert (requery.is_requery, requery.reference, requery.send_before) == (True, sent.reference, None)
    harness.execute_one(harness.report(pay, requery, delivered()))


def _never_found(harness: JournalHarness, pay: Pay) -> None:
    reply = harness.answer(pay, Unknown("no answer"))
    while reply.status is Status.IN_DOUBT:
        assert reply.next_at is not None
        harness.now = reply.next_at
        reply = harness.answer(pay, NotFound("no such reference"))
    released = harness.execute_one(harness.claim(pay)).result
    ((answers,),) = harness.rows("SELECT answers FROM attempts")
    assert answers.startswith("send 1: Unknown; requery 1: NotFound; requery 2")
    assert released.next_at == harness.now + timedelta(hours=1)  # the payment is still watched
    due = DuePayment("ada", pay.transaction_id, Status.REVERSED)
    assert harness.journal.take_due_payments(released.next_at, 10, 60) == [due]


SOLD = {"wallet": 9_000, "provider:sandbox": 1_000}
STORIES: dict[str, tuple[Callable[[JournalHarness, Pay], object], Status, dict[str, int], str | None]] = {
    # What happens to a payment of 1,000 from 10,000, its status then, the balances of our accounts, and its proof.
    "claimed": (JournalHarness.claim_work, Status.PROCESSING, {"wallet": 9_000, "in_flight": 1_000}, None),
    "delivered": (
        lambda harness, pay: harness.answer(pay, delivered(cost_minor=980)),
        Status.COMPLETED,
        {"wallet": 9_000, "provider:sandbox": 980, "commission:sandbox": 20},
        None,
    ),
    "declined": (_declined, Status.REVERSING, {"wallet": 9_000, "in_flight": 1_000}, "declined"),
    "reversed": (_reversed, Status.REVERSED, {"wallet": 10_000}, "declined"),
    "delivered after the reversal": (
        _delivered_after_reversal,
        Status.REVERSED,
        {"wallet": 10_000, "provider:sandbox": 970},  # our loss
        "declined",
    ),
    "cancelled": (
        lambda harness, pay: harness.execute_one(harness.cancel(pay)),
        Status.REVERSED,
        {"wallet": 10_000},
        "not_sent",
    ),
    "the worker died": (_requeried_after_the_worker_died, Status.COMPLETED, SOLD, None),
    "never found": (_never_found, Status.REVERSED, {"wallet": 10_000}, "not_found"),
}


@pytest.mark.parametrize("story", STORIES)
def test_what_happens_to_a_payment_is_stored(harness: JournalHarness, story: str) -> None:
    happens, status, accounts, proof = STORIES[story]
    harness.add_funds(minor=10_000)
    pay = harness.accept_payment(minor=1_000)
    happens(harness, pay)
    payment = harness.payment(pay)
    assert (payment.status, payment.proof) == (status, proof and Proof(proof))
    assert harness.balance() == (accounts["wallet"], accounts.get("in_flight", 0))
    assert harness.accounts() == accounts
    ends = {"completed": [("completed", None)], "reversed": [("reversed", proof)]}
    assert harness.rows("SELECT kind, proof FROM resolutions") == ends.get(status, [])
    assert harness.audit().ok


def test_token_is_stored_with_the_payment(harness: JournalHarness) -> None:
    harness.add_funds()
    pay = harness.accept_payment()
    reply = harness.answer(pay, delivered())
    assert (reply.status, reply.next_at, harness.payment(pay).token) == (Status.COMPLETED, None, TOKEN)
    assert harness.rows(
        "SELECT token, units, provider, next_check_at FROM transactions WHERE type = 'payment'"
    ) == [(TOKEN, "12.5", "sandbox", None)]


def test_reference_is_stored_before_send_and_sent_again(harness: JournalHarness) -> None:
    harness.add_funds()
    pay = harness.accept_payment()
    first = harness.claim_work(pay)
    assert (first.attempt, first.call_number, first.is_requery, first.provider) == (1, 1, False, "sandbox")
    assert first.send_before == NOW + timedelta(seconds=29)
    assert harness.rows("SELECT attempt, reference, sends FROM attempts") == [(1, first.reference, 1)]
    reply = harness.execute_one(harness.report(pay, first, NotSent("rejected"))).result
    assert (reply.status, reply.next_at) == (Status.PROCESSING, NOW + timedelta(seconds=5))
    assert harness.execute_one(harness.claim(pay)).result.provider_call is None
    harness.advance(5)
    second = harness.claim_work(pay)
    assert (second.call_number, second.reference) == (2, first.reference)
    assert harness.rows("SELECT attempt, reference, sends FROM attempts") == [(1, first.reference, 2)]


def test_claimed_payment_cannot_be_cancelled(harness: JournalHarness) -> None:
    harness.add_funds()
    pay = harness.accept_payment()
    harness.claim_work(pay)
    before = harness.all_rows()
    assert result_codes(harness.execute(harness.cancel(pay))) == ["already_sent"]
    assert harness.all_rows() == before


def test_empty_batch_returns_nothing(harness: JournalHarness) -> None:
    assert harness.execute() == []


# --- rejections -------------------------------------------------------------------------------------------------------


def test_rejections_write_nothing(harness: JournalHarness) -> None:
    harness.add_funds(minor=1_000)
    pay = harness.accept_payment(minor=400, meter="11111111111")
    unknown = replace(pay, transaction_id="unknown-payment")
    before = harness.all_rows()
    rejected: list[tuple[Command, type[BillvendError]]] = [
        (harness.pay(minor=601), InsufficientFunds),
        (harness.pay("ben"), WalletNotFound),
        (harness.pay(currency="KES"), WalletNotFound),
        (harness.pay(minor=400, meter="11111111111", has_caller_key=False), LikelyDuplicate),
        (harness.cancel(unknown), TransactionNotFound),
        (harness.claim(unknown), TransactionNotFound),
        (harness.claim(replace(pay, user_id="ben")), TransactionNotFound),
        (replace(pay, amount=Money(1, "NGN")), IdempotencyMismatch),
    ]
    alone = [harness.execute(command)[0] for command, _ in rejected]
    together = harness.execute(*(command for command, _ in rejected))
    for results in (alone, together):
        assert [type(result) for result in results] == [kind for _, kind in rejected]
    assert harness.all_rows() == before


def test_rejected_command_does_not_affect_others_in_batch(harness: JournalHarness) -> None:
    harness.add_funds(minor=1_000)
    results = harness.execute(
        harness.pay(minor=700, key="a"),
        harness.pay(minor=700, key="b"),
        harness.pay("unknown", key="c"),
        harness.pay(minor=300, key="d"),
        harness.pay(minor=1, key="e"),
        harness.fund(minor=50, key="f"),
        harness.pay(minor=50, key="g"),
    )
    assert result_codes(results) == [
        *("done", "insufficient_funds", "wallet_not_found", "done", "insufficient_funds", "done", "done"),
    ]
    balances = [result.result.balance_minor for result in results if isinstance(result, Executed)]
    assert balances == [300, 0, 50, 0]
    assert harness.balance() == (0, 1_050)
    assert harness.audit().ok


def test_rejection_is_not_stored(harness: JournalHarness) -> None:
    harness.add_funds(minor=10)
    pay = harness.pay(minor=100, key="order-42")
    assert result_codes(harness.execute(pay)) == ["insufficient_funds"]
    harness.add_funds(minor=90)
    assert result_codes(harness.execute(pay)) == ["done"]


def test_same_bill_without_key_is_a_likely_duplicate(harness: JournalHarness) -> None:
    harness.add_funds()
    clicked = harness.pay(minor=100, has_caller_key=False)
    harness.execute_one(clicked)
    harness.advance(29)
    twins = [
        harness.pay(minor=100, has_caller_key=False),
        harness.pay(minor=100, has_caller_key=False, allow_duplicate=True),
        harness.pay(minor=100, has_caller_key=True),
        harness.pay(minor=101, has_caller_key=False),
        harness.pay(minor=100, has_caller_key=False, meter="99999999999"),
    ]
    assert result_codes(harness.execute(*twins)) == ["likely_duplicate", "done", "done", "done", "done"]
    harness.advance(30)
    assert result_codes(harness.execute(harness.pay(minor=100, has_caller_key=False))) == ["done"]


def test_reversed_payment_is_no_duplicate(harness: JournalHarness) -> None:
    harness.add_funds()
    clicked = harness.pay(minor=100, has_caller_key=False)
    harness.execute_one(clicked)
    harness.execute_one(harness.cancel(clicked))
    assert result_codes(harness.execute(harness.pay(minor=100, has_caller_key=False))) == ["done"]


def test_likely_duplicate_in_one_batch_is_rejected(harness: JournalHarness) -> None:
    harness.add_funds()
    assert result_codes(
        harness.execute(harness.pay(has_caller_key=False), harness.pay(has_caller_key=False))
    ) == ["done", "likely_duplicate"]


# --- repeats ----------------------------------------------------------------------------------------------------------


def _a_fund(harness: JournalHarness) -> Command:
    return harness.fund(key="same")


def _a_pay(harness: JournalHarness) -> Command:
    return harness.pay(key="same")


def _a_cancel(harness: JournalHarness) -> Command:
    return harness.cancel(harness.accept_payment(), key="same")


def _a_claim(harness: JournalHarness) -> Command:
    return harness.claim(harness.accept_payment(), key="same")


def _a_release(harness: JournalHarness) -> Command:
    pay = harness.accept_payment()
    harness.answer(pay, NOTHING_DELIVERED)
    return harness.claim(pay, key="same")


def _a_report(harness: JournalHarness) -> Command:
    pay = harness.accept_payment()
    return harness.report(pay, harness.claim_work(pay), delivered(), key="same")


ONE_OF_EACH = pytest.mark.parametrize(
    "made", [_a_fund, _a_pay, _a_cancel, _a_claim, _a_release, _a_report], ids=lambda made: made.__name__[3:]
)


@ONE_OF_EACH
def test_repeated_command_is_replayed(
    harness: JournalHarness, made: Callable[[JournalHarness], Command]
) -> None:
    harness.add_funds()
    command = made(harness)
    first = harness.execute_one(command)
    after = harness.all_rows()
    harness.advance(3_600)
    for repeated in (command, replace(command, at=harness.now)):
        again = harness.execute_one(repeated)
        assert (again.replayed, first.replayed) == (True, False)
        assert again.result == first.result
        assert again.payment is None
    assert harness.all_rows() == after
    assert harness.audit().ok


@ONE_OF_EACH
def test_repeated_command_in_one_batch_is_replayed(
    harness: JournalHarness, made: Callable[[JournalHarness], Command]
) -> None:
    harness.add_funds()
    command = made(harness)
    first, again = expect_executed(harness.execute(command, command))
    assert (first.replayed, again.replayed) == (False, True)
    assert first.result == again.result
    assert harness.audit().ok


@ONE_OF_EACH
def test_key_of_another_request_is_rejected(
    harness: JournalHarness, made: Callable[[JournalHarness], Command]
) -> None:
    harness.add_funds()
    command = made(harness)
    other = harness.accept_payment()
    harness.execute_one(command)
    before = harness.all_rows()
    changed: Command
    if isinstance(command, Fund | Pay):
        changed = replace(command, amount=Money(7, "NGN"))
    else:
        changed = replace(command, transaction_id=other.transaction_id)
    assert result_codes(harness.execute(changed)) == ["idempotency_mismatch"]
    assert harness.all_rows() == before


def test_repeated_key_with_new_id_returns_first_transaction(harness: JournalHarness) -> None:
    harness.add_funds()
    first, again = harness.pay(key="order-42"), harness.pay(key="order-42")
    assert first.transaction_id != again.transaction_id
    results = expect_executed([*harness.execute(first), *harness.execute(again)])
    assert [done.result.transaction_id for done in results] == [first.transaction_id] * 2
    assert harness.queries.find(again.transaction_id) is None


def test_key_is_unique_per_user_and_operation(harness: JournalHarness) -> None:
    results = harness.execute(
        harness.fund("ada", key="1"), harness.fund("ben", key="1"), harness.pay("ada", key="1")
    )
    assert result_codes(results) == ["done", "done", "done"]


def test_key_is_shared_by_all_wallets_of_a_user(harness: JournalHarness) -> None:
    harness.execute(harness.fund(key="1"), harness.fund(currency="KES", key="2"))
    assert result_codes(harness.execute(harness.fund(currency="KES", key="1"))) == ["idempotency_mismatch"]
    assert result_codes(harness.execute(harness.pay(key="3"), harness.pay(currency="KES", key="3"))) == [
        "done",
        "idempotency_mismatch",
    ]


def test_late_answer_is_recorded_only_if_delivered(harness: JournalHarness) -> None:
    harness.add_funds()
    pay = harness.accept_payment()
    work = harness.claim_work(pay)
    harness.execute_one(harness.report(pay, work, Unknown("no answer")))
    before = harness.rows("SELECT count(*) FROM events")
    harness.execute_one(harness.report(pay, work, NotSent("rejected")))
    assert harness.rows("SELECT count(*) FROM events") == before
    harness.execute_one(harness.report(pay, work, delivered()))
    assert harness.status(pay) is Status.COMPLETED
    assert harness.audit().ok


# --- lists ------------------------------------------------------------------------------------------------------------


def test_payment_lifecycle_in_one_batch(harness: JournalHarness) -> None:
    fund, pay, doomed = harness.fund(minor=1_000), harness.pay(minor=600), harness.pay(minor=400)
    first_send = ProviderCall(1, 1, False, "", "sandbox", "here")
    commands: list[Command] = [
        *(fund, pay, doomed),
        *(
            harness.claim(pay),
            harness.report(pay, first_send, delivered()),
            harness.claim(pay),
            harness.cancel(pay),
        ),
        *(harness.cancel(doomed), harness.claim(doomed)),
    ]
    results = harness.execute(*commands)
    assert result_codes(results) == [*["done"] * 6, "already_sent", "done", "done"]
    statuses = [result.result.status.value for result in results if isinstance(result, Executed)]
    assert statuses == [
        *("completed", "pending", "pending"),
        *("processing", "completed", "completed", "reversed", "reversed"),
    ]
    assert harness.balance() == (400, 0)
    assert harness.audit().ok


def test_reversal_in_one_batch(harness: JournalHarness) -> None:
    harness.add_funds(minor=1_000)
    pay = harness.accept_payment(minor=600)
    work = harness.claim_work(pay)
    results = harness.execute(harness.report(pay, work, NOTHING_DELIVERED), harness.claim(pay))
    assert result_codes(results) == ["done", "done"]
    assert harness.status(pay) is Status.REVERSED
    assert harness.balance() == (1_000, 0)
    assert harness.audit().ok


def test_results_are_in_command_order(harness: JournalHarness) -> None:
    users = ["zoe", "ada", "mia", "ada", "zoe"]
    funds = [harness.fund(user, minor) for minor, user in enumerate(users, 1)]
    done = expect_executed(harness.execute(*funds))
    assert [result.result.transaction_id for result in done] == [command.transaction_id for command in funds]
    assert [result.result.balance_minor for result in done] == [1, 2, 3, 6, 6]


def _funds(harness: JournalHarness, size: int) -> list[Command]:
    return [harness.fund(f"user{number % 100}") for number in range(size)]


def _pays(harness: JournalHarness, size: int) -> list[Command]:
    harness.execute(*(harness.fund(f"user{number}", 100_000) for number in range(100)))
    return [
        harness.pay(f"user{number % 100}", 1, has_caller_key=False, meter=f"9{harness.new_id()}")
        for number in range(size)
    ]


def _pays_of_one(harness: JournalHarness, size: int) -> list[Command]:
    harness.add_funds(minor=size * 1_000)
    return [harness.pay() for _ in range(size)]


def _orders(harness: JournalHarness, size: int) -> list[Pay]:
    pays = [command for command in _pays(harness, size) if isinstance(command, Pay)]
    expect_executed(harness.execute(*pays))
    return pays


def _claims(harness: JournalHarness, size: int) -> list[Command]:
    return [harness.claim(pay) for pay in _orders(harness, size)]


def _repeats(harness: JournalHarness, size: int) -> list[Command]:
    return [*_orders(harness, size)]


def _claims_of_leased(harness: JournalHarness, size: int) -> list[Command]:
    pays = _orders(harness, size)
    expect_executed(harness.execute(*map(harness.claim, pays)))
    return [harness.claim(pay) for pay in pays]


def _reports(harness: JournalHarness, size: int, answer: Answer = NOTHING_DELIVERED) -> list[Command]:
    pays = _orders(harness, size)
    claimed = expect_executed(harness.execute(*map(harness.claim, pays)))
    pairs = zip(pays, claimed, strict=True)
    return [
        harness.report(pay, done.result.provider_call, answer)
        for pay, done in pairs
        if done.result.provider_call
    ]


def _deliveries(harness: JournalHarness, size: int) -> list[Command]:
    return _reports(harness, size, delivered())


def _releases(harness: JournalHarness, size: int) -> list[Command]:
    reports = _reports(harness, size)
    expect_executed(harness.execute(*reports))
    return [
        Claim(report.user_id, harness.new_id(), report.transaction_id, harness.now, harness.policy)
        for report in reports
        if isinstance(report, RecordAnswer)
    ]


def _mixed_commands(harness: JournalHarness, size: int) -> list[Command]:
    of_each = size // 4 + 1
    rest = [*_funds(harness, of_each), *_claims(harness, of_each), *_deliveries(harness, of_each)]
    return [*rest, *(harness.pay("user0", 1) for _ in range(max(1, size - 3 * of_each)))]


BATCHES = (
    _funds, _pays, _pays_of_one, _repeats, _claims, _claims_of_leased, _reports, _deliveries, _releases, _mixed_commands,
)  # fmt: skip


@pytest.mark.parametrize("made", BATCHES, ids=lambda made: made.__name__[1:])
def test_batch_needs_constant_number_of_statements(
    harness: JournalHarness, made: Callable[[JournalHarness, int], list[Command]]
) -> None:
    taken: list[int] = []
    for size in (1, 10, 100):
        commands = made(harness, size)
        with recorded_statements(harness.database) as seen:
            expect_executed(harness.execute(*commands))
        taken.append(len(seen))
    assert taken == [taken[0]] * 3
    assert taken[0] <= 16
    assert harness.audit().ok


# --- commands that break a transaction --------------------------------------------------------------------------------


def _taken_reference(harness: JournalHarness) -> Command:
    """A database constraint rejects it."""
    harness.execute_one(harness.fund(source="paystack", reference="once"))
    return harness.fund(source="paystack", reference="once")


def _too_much(harness: JournalHarness) -> Command:
    """No column can hold the balance."""
    return harness.fund("rich", 2**63)


def _unreadable_name(harness: JournalHarness) -> Command:
    """No database can store such a text."""
    return harness.fund("lone \ud800 surrogate")


def _unknown_call(harness: JournalHarness) -> Command:
    """The rules raise an internal error."""
    pay = harness.accept_payment()
    harness.claim_work(pay)
    return harness.report(pay, ProviderCall(1, 7, False, "", "sandbox", "here"), delivered())


@pytest.mark.parametrize(
    "made",
    [_taken_reference, _too_much, _unreadable_name, _unknown_call],
    ids=lambda made: made.__name__[1:],
)
def test_poisoned_command_fails_alone(
    harness: JournalHarness, made: Callable[[JournalHarness], Command]
) -> None:
    harness.add_funds(minor=10_000)
    poison = made(harness)
    before = harness.balance()[0]
    alone = harness.execute(poison)
    together = harness.execute(
        harness.fund(minor=1), poison, harness.fund(minor=10), poison, harness.fund(minor=100)
    )
    assert result_codes(together) == ["done", error_code(alone), "done", error_code(alone), "done"]
    assert harness.balance()[0] == before + 111
    assert harness.audit().ok


def error_code(alone: list[CommandOutcome]) -> str:
    (result,) = alone
    assert isinstance(result, BillvendError)
    assert "\n" not in str(result)
    return result.code


AWKWARD = ["nul \0 inside", "lone \ud800 surrogate", "😀 ﷽ \u202e", "', \" \\ % :x ?", " \n\t ", "x" * 20_000]


@pytest.mark.parametrize("text", AWKWARD, ids=range(len(AWKWARD)))
def test_odd_provider_text_is_stored(harness: JournalHarness, text: str) -> None:
    harness.add_funds()
    sold, declined = harness.accept_payment(), harness.accept_payment()
    harness.answer(
        sold, replace(delivered(token=text), units=text, receipt={text: text}, provider_reference=text)
    )
    harness.answer(declined, Declined(text, code=text, about_transaction=True))
    harness.execute_one(harness.claim(declined))
    assert harness.payment(sold).token == text
    assert harness.payment(declined).reversal == PaymentReversed(Proof.DECLINED, text, 1_000)
    assert harness.audit().ok


NAMES = [
    "Zoe",
    "ada",
    "zoe",
    "Émile",
    "émile",
    "ﬀ",
    "ａ",
    "😀",
    "ﬀ0",
    "a",
    "a ",
    "a:b",
    "a\u0301",
    "á",
    "%",
    "_",
    "'",
    "\\",
]


def test_user_ids_of_any_script_are_distinct(harness: JournalHarness) -> None:
    funds = [harness.fund(name, 1 << place, key=name) for place, name in enumerate(NAMES)]
    expect_executed(harness.execute(*funds))
    expect_executed(
        harness.execute(*(harness.pay(name, 1 << place, key=name) for place, name in enumerate(NAMES)))
    )
    assert [harness.balance(name) for name in NAMES] == [(0, 1 << place) for place in range(len(NAMES))]
    assert result_codes(harness.execute(*funds)) == ["replayed"] * len(NAMES)
    found = harness.audit()
    assert (found.differences, found.wallets, found.payments) == ([], len(NAMES), len(NAMES))


# --- what is due ------------------------------------------------------------------------------------------------------


def _take(
    harness: JournalHarness, limit: int = 10, *, after: float = 0, quiet: float = 60
) -> dict[str, Status]:
    """The due payments after so many seconds, in their order."""
    due = harness.journal.take_due_payments(harness.now + timedelta(seconds=after), limit, quiet)
    assert {found.user_id for found in due} <= {"ada"}
    return {found.transaction_id: found.status for found in due}


def test_due_payment_is_returned_once_per_quiet_period(harness: JournalHarness) -> None:
    harness.add_funds()
    pay = harness.accept_payment()
    pending = {pay.transaction_id: Status.PENDING}
    assert [_take(harness, after=seconds) for seconds in (0, 0, 59, 60)] == [pending, {}, {}, pending]
    assert harness.audit().ok


def test_released_payment_is_returned_at_once(harness: JournalHarness) -> None:
    harness.add_funds()
    first, second = harness.accept_payment(), harness.accept_payment()
    due = harness.journal.take_due_payments(harness.now, 10, 60)
    harness.journal.release_due([])
    harness.journal.release_due([found for found in due if found.transaction_id == second.transaction_id])
    assert _take(harness) == {second.transaction_id: Status.PENDING}
    assert first.transaction_id in _take(harness, after=60)


def test_payment_not_due_is_not_returned(harness: JournalHarness) -> None:
    harness.add_funds()
    waiting, working, done, cancelled = (harness.accept_payment() for _ in range(4))
    harness.claim_work(working)
    harness.answer(done, delivered())
    harness.execute_one(harness.cancel(cancelled))
    pending = {waiting.transaction_id: Status.PENDING}
    assert [_take(harness, after=seconds) for seconds in (0, 59)] == [pending, {}]
    assert _take(harness, after=60) == pending | {working.transaction_id: Status.PROCESSING}


def test_recorded_answer_makes_payment_due_at_once(harness: JournalHarness) -> None:
    harness.add_funds()
    pay = harness.accept_payment()
    _take(harness, quiet=3_600)
    assert harness.answer(pay, NOTHING_DELIVERED).next_at == harness.now
    assert _take(harness, quiet=3_600) == {pay.transaction_id: Status.REVERSING}


def test_due_payments_are_oldest_first_and_limited(harness: JournalHarness) -> None:
    harness.add_funds(minor=1_000_000)
    ids: list[str] = []
    for _ in range(7):
        ids.append(harness.accept_payment().transaction_id)
        harness.advance(1)
    assert [list(_take(harness, 3)) for _ in range(4)] == [ids[:3], ids[3:6], ids[6:], []]


def _without(name: str, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    place = [column.name for column in transactions.columns].index(name)
    return [(*row[:place], *row[place + 1 :]) for row in rows]


def _due_of(harness: JournalHarness, pay: Pay) -> datetime | None:
    table = transactions.c
    with harness.database.read_transaction() as connection:
        due: datetime | None = connection.scalar(
            sa.select(table.next_check_at).where(table.transaction_id == pay.transaction_id)
        )
    return due


def test_claim_without_work_only_postpones_the_next_check(harness: JournalHarness) -> None:
    """A claim of a payment that is leased, not due or ended, whatever its row says."""
    harness.add_funds()
    leased, doubtful, ended, other = (harness.accept_payment() for _ in range(4))
    harness.claim_work(leased)
    doubt_until = harness.answer(doubtful, Unknown("no answer")).next_at
    harness.answer(ended, delivered())
    for wrong in ("created_at", "NULL"):
        harness.run(f"UPDATE transactions SET next_check_at = {wrong} WHERE type = 'payment'")
        harness.journal.take_due_payments(
            harness.now, 10, 60
        )  # where a row says that it is due, a hint was queued
        other_due = _due_of(harness, other)
        before = harness.all_rows()
        replies = [harness.execute_one(harness.claim(pay)).result for pay in (leased, doubtful, ended)]
        assert [reply.provider_call for reply in replies] == [None, None, None]
        assert [_due_of(harness, pay) for pay in (leased, doubtful, ended, other)] == [
            NOW + timedelta(seconds=60),
            doubt_until,
            None,
            other_due,
        ]
        after = harness.all_rows()
        rows, rows_before = after.pop("transactions"), before.pop("transactions")
        assert sorted(_without("next_check_at", rows), key=repr) == sorted(
            _without("next_check_at", rows_before), key=repr
        )
        assert after == before
    assert harness.audit().ok


def test_postponed_payment_is_not_written_again(harness: JournalHarness) -> None:
    harness.add_funds()
    pay = harness.accept_payment()
    harness.claim_work(pay)
    before = harness.all_rows()
    harness.execute_one(harness.claim(pay))
    assert harness.all_rows() == before


def test_take_due_needs_two_statements_for_any_number(harness: JournalHarness) -> None:
    taken: list[int] = []
    for size in (1, 500):
        expect_executed(harness.execute(*_pays(harness, size)))
        with recorded_statements(harness.database) as seen:
            assert len(harness.journal.take_due_payments(harness.now, 1_000, 60)) == size
        taken.append(len([statement for statement in seen if not statement.startswith("BEGIN")]))
    assert taken == [2, 2]


# --- the environment --------------------------------------------------------------------------------------------------


def test_ledger_environment_is_set_once(harness: JournalHarness) -> None:
    other = JournalHarness(harness.database).journal
    assert (harness.journal.mode(), other.mode()) == (None, None)
    assert harness.journal.bind_environment(Mode.TEST) is Mode.TEST
    assert (harness.journal.mode(), other.mode()) == (Mode.TEST, Mode.TEST)
    assert harness.journal.bind_environment(Mode.LIVE) is Mode.TEST
    assert JournalHarness(harness.database).journal.bind_environment(Mode.LIVE) is Mode.TEST
