"""What scenarios can't tell: lists of commands in one transaction, keys, and commands about what is not there."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from billvend.domain.decisions.commands import (
    Cancel,
    Claim,
    Command,
    CommandKey,
    Executed,
    Fund,
    Pay,
    ProviderCall,
    RecordAnswer,
    command_key,
)
from billvend.domain.decisions.decider import CommandOutcome, Snapshot, WriteSet, decide
from billvend.domain.decisions.handlers import needs_wallet
from billvend.domain.enums import Proof, Status, VendType
from billvend.domain.errors import (
    AlreadySent,
    BillvendError,
    IdempotencyMismatch,
    InsufficientFunds,
    InvalidTransition,
    LikelyDuplicate,
    TransactionNotFound,
    WalletNotFound,
)
from billvend.domain.journal.events import PaymentAccepted, StreamKey
from billvend.domain.money import Money
from billvend.domain.outcome import Answer, Declined, Delivered, NotSent, Unknown
from billvend.domain.policy.policy import Policy
from tests.domain.books import NOON, Books, provider, seconds

POLICY = Policy((provider(),))


def fund(kobo: int = 100000, *, user: str = "ada", key: str = "till-1") -> Fund:
    return Fund(user, key, f"funding-{key}", NOON, Money(kobo, "NGN"), "manual", key)


def pay(name: str = "bill", kobo: int = 30000, *, user: str = "ada", key: str | None = None) -> Pay:
    return Pay(
        user, key or name, key is not None, name, NOON, Money(kobo, "NGN"), "12345678901", "EKEDC",
        VendType.PREPAID,
    )  # fmt: skip


def cancel(name: str = "bill", *, user: str = "ada", key: str = "cancel-1") -> Cancel:
    return Cancel(user, key, name, NOON)


def claim(name: str = "bill", *, user: str = "ada", key: str = "claim-1", at: datetime = NOON) -> Claim:
    return Claim(user, key, name, at, POLICY)


def report(
    answer: Answer,
    *,
    name: str = "bill",
    user: str = "ada",
    key: str = "report-1",
    attempt: int = 1,
    call: int = 1,
    is_requery: bool = False,
) -> RecordAnswer:
    return RecordAnswer(user, key, name, NOON, POLICY, attempt, call, is_requery, answer)


def books_with(*commands: Command) -> Books:
    books = Books()
    for command in commands:
        done(books.execute(command)[0])
    return books


def done(result: CommandOutcome) -> Executed:
    assert isinstance(result, Executed), repr(result)
    return result


def kinds(results: Sequence[CommandOutcome]) -> list[type]:
    return [type(result) for result in results]


# --- lists ------------------------------------------------------------------------------------------------------------


def test_each_command_of_a_list_sees_what_the_ones_before_it_did() -> None:
    together, alone = Books(), Books()
    commands: Sequence[Command] = (
        *(fund(), pay(), claim(), report(Delivered("1234", cost_minor=29000))),
        *(pay("second", kobo=70000), cancel("second"), fund(500, key="till-2")),
    )
    found = together.execute(*commands)
    one_by_one = [alone.execute(command)[0] for command in commands]
    assert found == one_by_one
    assert vars(together) == vars(alone)
    assert together.balance("ada") == 70500


def test_two_payments_that_only_one_can_have() -> None:
    books = books_with(fund(50000))
    found = books.execute(pay("first", key="a"), pay("second", key="b"), pay("third", 20000, key="c"))
    assert kinds(found) == [Executed, InsufficientFunds, Executed]
    assert books.balance("ada") == 0


def test_a_refused_command_leaves_no_trace_and_disturbs_nobody() -> None:
    books = books_with(fund())
    before = books.copy()
    found = books.execute(
        pay("dear", 10**9), cancel("nowhere"), pay("bob's", user="bob"), fund(99, key="till-1")
    )
    assert kinds(found) == [InsufficientFunds, TransactionNotFound, WalletNotFound, IdempotencyMismatch]
    assert vars(books) == vars(before)
    found = books.execute(pay("dear", 10**9), pay(), cancel("nowhere"), claim())
    assert kinds(found) == [InsufficientFunds, Executed, TransactionNotFound, Executed]


def test_a_bug_in_one_command_disturbs_nobody() -> None:
    books = books_with(fund(), pay(), claim())
    found = books.execute(report(NotSent("late"), call=7), fund(500, key="till-2"))
    assert kinds(found) == [InvalidTransition, Executed]
    assert books.balance("ada") == 70500


def test_the_same_key_twice_in_one_list_is_done_once() -> None:
    books = books_with(fund())
    first, again, other = books.execute(
        pay(key="order-1"), pay("second", key="order-1"), pay("third", 100, key="order-1")
    )
    assert not done(first).replayed
    assert (done(again).replayed, done(again).result) == (True, done(first).result)
    assert isinstance(other, IdempotencyMismatch)
    assert books.balance("ada") == 70000


def test_a_double_click_is_seen_within_one_list() -> None:
    books = books_with(fund())
    found = books.execute(pay("first"), pay("second"), pay("other", 20000))
    assert kinds(found) == [Executed, LikelyDuplicate, Executed]


def test_money_is_not_given_back_without_the_wallet_under_lock() -> None:
    """A journal locks the wallet for a claim on what it read as `reversing`; here it becomes so only in the list."""
    books = books_with(fund(), pay(), claim())
    told, claimed = books.execute(report(Declined("no")), claim(key="claim-2"))
    assert done(told).result.status is Status.REVERSING
    assert done(claimed).result.status is Status.REVERSING
    assert done(claimed).result.next_at == NOON
    assert books.balance("ada") == 70000
    released = done(books.execute(claim(key="claim-3"))[0]).result
    assert (released.status, released.balance_minor) == (Status.REVERSED, 100000)


def test_only_what_may_give_money_back_needs_the_wallet() -> None:
    books = books_with(fund(), pay())
    pending = books.payment("ada", "bill")
    reversing = replace(pending, status=Status.REVERSING)
    assert needs_wallet(pending, cancel())
    assert needs_wallet(reversing, claim())
    assert not needs_wallet(pending, claim())
    assert not needs_wallet(reversing, report(NotSent("late")))


# --- what is not there ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [cancel, claim, lambda **given: report(Delivered("1"), **given)])
def test_a_payment_that_is_not_there_or_somebody_else_s(make: Callable[..., Command]) -> None:
    books = books_with(fund(), pay())
    before = books.copy()
    for command in (make(name="nowhere"), make(user="bob"), make(name="funding-till-1")):
        assert kinds(books.execute(command)) == [TransactionNotFound]
    assert vars(books) == vars(before)


@pytest.mark.parametrize("number", [-1, 0, 2, 10**9])
@pytest.mark.parametrize("field", ["attempt", "call"])
@pytest.mark.parametrize("is_requery", [True, False])
def test_a_report_on_a_call_that_was_never_made(number: int, field: str, is_requery: bool) -> None:
    books = books_with(
        fund(), pay(), claim(), report(Unknown("?")), claim(key="claim-2", at=NOON + seconds(30))
    )
    before = books.copy()
    late = report(Delivered("1234"), key="late", is_requery=is_requery)
    command = replace(late, attempt=number) if field == "attempt" else replace(late, call_number=number)
    assert kinds(books.execute(command)) == [InvalidTransition]
    assert vars(books) == vars(before)


def test_money_can_not_go_back_to_a_wallet_that_is_not_there() -> None:
    books = books_with(fund(), pay())
    known = books.payments[StreamKey("ada", "bill")]
    changes, results = decide(Snapshot(payments={StreamKey("ada", "bill"): known}), [cancel()])
    assert kinds(results) == [WalletNotFound]
    assert changes == WriteSet()


# --- keys and replies -------------------------------------------------------------------------------------------------


def test_a_claim_that_is_repeated_gets_the_same_work_and_starts_nothing() -> None:
    books = books_with(fund(), pay())
    first = done(books.execute(claim())[0])
    again = done(books.execute(claim(at=NOON + seconds(5)))[0])
    assert (again.replayed, again.result) == (True, first.result)
    seed = books.payment("ada", "bill").reference_seed
    assert first.result.provider_call == ProviderCall(
        1, 1, False, f"acme/{seed}/1/2026-11-22", "acme", "key-1", NOON + seconds(29), verify_meter=True
    )
    assert len(books.payment("ada", "bill").attempt(1).sends) == 1


def test_another_claimant_gets_nothing_while_the_lease_runs() -> None:
    books = books_with(fund(), pay(), claim())
    other = done(books.execute(claim(key="claim-2"))[0])
    assert (other.replayed, other.result.provider_call, other.result.next_at) == (
        False,
        None,
        NOON + seconds(60),
    )


def test_what_changed_nothing_is_not_remembered() -> None:
    books = books_with(fund(), pay(), claim())
    changes, results = decide(books.snapshot([claim(key="claim-2")]), [claim(key="claim-2")])
    assert kinds(results) == [Executed]
    waits = {StreamKey("ada", "bill"): NOON + seconds(60)}
    assert changes == WriteSet(next_at=dict(waits)), "nothing but when to look again"


def test_a_lease_no_longer_than_the_call_leaves_no_time_to_dawdle() -> None:
    short = replace(POLICY, lease_seconds=20, timeout_seconds=30)
    books = books_with(fund(), pay())
    work = done(books.execute(replace(claim(), policy=short))[0]).result.provider_call
    assert work is not None
    assert work.send_before == NOON
    send = books.payment("ada", "bill").attempt(1).send(1)
    assert (send.send_before, send.answer_by, send.lease_until) == (
        *(NOON, NOON + seconds(30), NOON + seconds(20)),
    )


def test_the_reply_says_how_things_stand() -> None:
    books = Books()
    assert done(books.execute(fund())[0]).result.balance_minor == 100000
    accepted = done(books.execute(pay())[0])
    assert (accepted.result.balance_minor, accepted.result.next_at) == (70000, NOON)
    assert accepted.payment == books.payment("ada", "bill")
    cancelled = done(books.execute(cancel())[0]).result
    assert (cancelled.status, cancelled.balance_minor) == (Status.REVERSED, 100000)
    assert (cancelled.next_at, cancelled.proof) == (None, Proof.NOT_SENT)


@pytest.mark.parametrize("key", ["order-1", None])
def test_only_a_key_that_the_caller_gave_is_kept_with_the_payment(key: str | None) -> None:
    books = books_with(fund(), pay(key=key))
    accepted = books.streams[StreamKey("ada", "bill")][0]
    assert isinstance(accepted.event, PaymentAccepted)
    assert (accepted.event.key, accepted.command_key) == (key, key or "bill")


@pytest.mark.parametrize(
    ("command", "same", "others"),
    [
        (
            fund(),
            {"user_id": "bob", "key": "k", "transaction_id": "t", "at": NOON + seconds(1)},
            {"amount": Money(100000, "KES"), "source": "paystack", "reference": "r"},
        ),
        (fund(), {}, {"amount": Money(99999, "NGN")}),
        (
            pay(),
            {"user_id": "bob", "key": "k", "transaction_id": "t", "at": NOON, "allow_duplicate": True},
            {"meter": "12345678902", "biller": "IKEDC", "vend_type": VendType.POSTPAID, "phone": "0800"},
        ),
        (pay(), {"has_caller_key": True}, {"amount": Money(30001, "NGN")}),
        (cancel(), {"user_id": "bob", "key": "k", "at": NOON + seconds(1)}, {"transaction_id": "t"}),
        (claim(), {"policy": Policy(())}, {"transaction_id": "t"}),
        (
            report(NotSent("a")),
            {"policy": Policy(()), "answer": NotSent("b")},
            {"transaction_id": "t", "attempt": 2, "call_number": 2, "is_requery": True},
        ),
    ],
)
def test_a_request_is_what_was_asked_for_whoever_asks_and_whenever(
    command: Command, same: dict[str, object], others: dict[str, object]
) -> None:
    for field, value in same.items():
        assert replace(command, **{field: value}).request_hash == command.request_hash  # type: ignore[arg-type]
    hashes = {replace(command, **{field: value}).request_hash for field, value in others.items()}  # type: ignore[arg-type]
    assert len(hashes | {command.request_hash}) == 1 + len(others)


def test_a_command_is_known_by_its_user_its_operation_and_its_key() -> None:
    commands: Sequence[Command] = (fund(key="k"), pay(key="k"), cancel(key="k"), claim(key="k"))
    assert [command_key(command) for command in commands] == [
        CommandKey("ada", operation, "k") for operation in ("fund", "pay", "cancel", "claim")
    ]
    assert command_key(report(NotSent("a"), key="k")) == CommandKey("ada", "record_answer", "k")


@pytest.mark.parametrize(
    ("history", "why"),
    [
        ([], "it may have reached the provider"),
        ([Unknown("?")], "it may have reached the provider"),
        ([Declined("no")], "it is reversing"),
        ([Delivered("1234")], "it is completed"),
    ],
)
def test_why_it_is_too_late_to_cancel(history: Sequence[Answer], why: str) -> None:
    books = books_with(fund(), pay(), claim(), *(report(answer) for answer in history))
    [refused] = books.execute(cancel())
    assert isinstance(refused, AlreadySent)
    assert refused.message == f"The payment can't be cancelled: {why}. Nothing was changed."


def test_every_refusal_says_what_was_done_with_the_money() -> None:
    books = books_with(fund(), pay(key="order-1"), claim())
    refused: Sequence[Command] = (
        *(pay("second"), pay("third", 10**9), pay("x", user="bob"), pay("x", 1, key="order-1"), cancel()),
    )
    for result in books.execute(*refused):
        assert isinstance(result, BillvendError)
        assert re.search("[Nn]othing was (held|done|changed)", result.message)
