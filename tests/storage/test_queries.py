"""The contract of the Queries port."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from billvend.domain.decisions.commands import Fund, Pay
from billvend.domain.decisions.decider import StoredResult
from billvend.domain.enums import Status, VendType
from billvend.domain.journal.events import StreamKey, event_hash
from billvend.domain.ledger.wallet import Funding, Wallet
from billvend.domain.money import Money
from billvend.domain.outcome import Declined, Deferred, Unknown
from billvend.domain.payment.state import Payment
from billvend.ports.queries import AuditReport, Backlog, Search, TransactionRecord
from tests.storage.harness import METER, NOW, JournalHarness, delivered, open_harness, recorded_statements


def test_empty_ledger_returns_nothing(harness: JournalHarness) -> None:
    assert harness.queries.balance("ada", "NGN") is None
    assert harness.queries.find("t1") is None
    assert harness.queries.search(Search()) == []
    assert harness.queries.backlog(NOW) == Backlog({}, {}, 0, None)
    assert harness.queries.audit() == AuditReport()


@pytest.mark.parametrize("text", ["nul \0", "lone \ud800", "", "%", "'; --", "x" * 100_000], ids=range(6))
def test_impossible_text_finds_nothing(harness: JournalHarness, text: str) -> None:
    harness.add_funds()
    harness.accept_payment()
    assert harness.queries.balance(text, "NGN") is None
    assert harness.queries.balance("ada", text) is None
    assert harness.queries.find(text) is None
    assert harness.queries.find("t0000002", text) is None
    for search in (Search(user_id=text), Search(meter=text), Search(reference=text), Search(key=text)):
        assert harness.queries.search(search) == []


def test_transaction_is_found_by_id(harness: JournalHarness) -> None:
    fund = harness.add_funds(minor=10_000)
    pay = harness.pay(minor=700, key="order-42", vend_type=VendType.POSTPAID)
    harness.execute_one(pay)
    funding = Funding("ada", fund.transaction_id, Money(10_000, "NGN"), "manual", fund.key, NOW)
    payment = Payment(
        "ada", pay.transaction_id, Money(700, "NGN"), METER, "EKEDC", VendType.POSTPAID, None, "order-42",
        Status.PENDING, accepted_at=NOW, updated_at=NOW,
    )  # fmt: skip
    events = harness.events(payment.stream_key)
    assert harness.queries.find(fund.transaction_id) == TransactionRecord(funding, None)
    assert harness.queries.find(pay.transaction_id) == TransactionRecord(payment, NOW, events)
    assert harness.queries.search(Search()) == [
        TransactionRecord(payment, NOW),
        TransactionRecord(funding, None),
    ]
    for command in (fund, pay):
        assert harness.queries.find(command.transaction_id, "ada") is not None
        assert harness.queries.find(command.transaction_id, "ben") is None


def test_held_balance_is_the_sum_of_open_payments(harness: JournalHarness) -> None:
    harness.add_funds(minor=100_000)
    harness.execute(harness.fund("ada", 50_000, currency="KES"), harness.fund("ben", 50_000))
    harness.execute(harness.pay(minor=1, currency="KES"), harness.pay("ben", minor=1))
    _pending = harness.accept_payment(minor=10)
    processing, in_doubt, reversing = (
        harness.accept_payment(minor=200),
        harness.accept_payment(minor=3_000),
        harness.accept_payment(minor=40_000),
    )
    completed, reversed_ = harness.accept_payment(minor=5), harness.accept_payment(minor=5)
    harness.claim_work(processing)
    harness.answer(in_doubt, Unknown("no answer"))
    harness.answer(reversing, Declined("no", about_transaction=True))
    harness.answer(completed, delivered())
    harness.execute_one(harness.cancel(reversed_))
    assert harness.balance() == (100_000 - 43_210 - 5, 43_210)


# --- search -----------------------------------------------------------------------------------------------------------


def ids(harness: JournalHarness, **wanted: object) -> list[str]:
    found = harness.queries.search(Search(**wanted))  # type: ignore[arg-type]
    return [record.transaction.transaction_id for record in found]


def test_search_pages_newest_first(harness: JournalHarness) -> None:
    commands: list[Fund | Pay] = [
        harness.fund(),
        harness.pay(),
        harness.fund(),
        harness.pay(),
        harness.fund(),
        harness.pay(),
    ]
    harness.execute(*commands)
    wanted = [command.transaction_id for command in reversed(commands)]
    assert ids(harness) == wanted
    assert ids(harness, limit=4) == wanted[:4]
    assert ids(harness, limit=4, before=wanted[3]) == wanted[4:]
    assert ids(harness, limit=4, before=wanted[5]) == []
    assert ids(harness, kind="payment", limit=2) == [wanted[0], wanted[2]]
    assert ids(harness, kind="payment", limit=2, before=wanted[2]) == [wanted[4]]
    found = harness.queries.search(Search(limit=2))
    assert [type(record.transaction) for record in found] == [Payment, Funding]


def test_search_by_each_field(harness: JournalHarness) -> None:
    ada, ben = harness.fund("ada", key="fund-1"), harness.fund("ben", key="fund-2")
    one, two = harness.pay("ada", key="order-1", meter="10101010101"), harness.pay("ben", key="order-2")
    harness.execute(ada, ben, one, two)
    keyless = harness.pay("ben", has_caller_key=False, allow_duplicate=True)
    harness.execute_one(keyless)
    reference = harness.claim_work(one).reference
    harness.advance(1)
    harness.answer(two, delivered())
    searches: list[tuple[dict[str, Any], list[Fund | Pay]]] = [
        ({"user_id": "ada"}, [one, ada]),
        ({"user_id": "cleo"}, []),
        ({"kind": "funding"}, [ben, ada]),
        ({"meter": "10101010101"}, [one]),
        ({"reference": reference}, [one]),
        ({"reference": "fund-2"}, [ben]),
        ({"key": "order-2"}, [two]),
        ({"key": "fund-1"}, [ada]),
        ({"key": keyless.key}, []),
        ({"statuses": (Status.PROCESSING,)}, [one]),
        ({"statuses": (Status.COMPLETED,)}, [two, ben, ada]),
        ({"statuses": (Status.PENDING, Status.PROCESSING), "user_id": "ben"}, [keyless]),
        ({"user_id": "ben", "key": "order-1"}, []),
    ]
    for wanted, found in searches:
        assert ids(harness, **wanted) == [command.transaction_id for command in found], wanted


def test_search_by_attempt_reference_finds_payment_once(harness: JournalHarness) -> None:
    harness.add_funds()
    pay = harness.accept_payment()
    reference = harness.claim_work(pay).reference
    assert ids(harness, reference=reference) == [pay.transaction_id]
    assert ids(harness, reference=reference, user_id="ben") == []


def test_page_needs_constant_number_of_statements(harness: JournalHarness) -> None:
    harness.add_funds(minor=1_000_000)
    taken = []
    for size in (1, 200):
        harness.execute(*(harness.pay() for _ in range(size)))
        with recorded_statements(harness.database) as seen:
            assert len(harness.queries.search(Search(kind="payment", limit=size))) == size
        taken.append(len(seen))
    assert taken[0] == taken[1]


# --- events -----------------------------------------------------------------------------------------------------------


def test_stream_events_form_a_hash_chain(harness: JournalHarness) -> None:
    harness.add_funds()
    pay = harness.accept_payment()
    harness.advance(0.000001)
    harness.answer(pay, Deferred("later", retry_after_seconds=7))
    logged = harness.events(StreamKey("ada", pay.transaction_id))
    assert [(event.seq, event.kind) for event in logged] == [
        (1, "PaymentAccepted"),
        (2, "SendStarted"),
        (3, "SendAnswered"),
    ]
    assert [event.at for event in logged] == [NOW, *[NOW + timedelta(microseconds=1)] * 2]
    before = ""
    for event in logged:
        assert event.prev_hash == before
        before = event_hash(
            event.prev_hash, event.key, event.seq, event.at, event.kind, event.command_key, event.data
        )
        assert event.hash == before
    wallet = harness.events(StreamKey("ada", "wallet:NGN"))
    assert [(event.seq, event.kind) for event in wallet] == [(1, "WalletFunded"), (2, "WalletHeld")]


# --- backlog ----------------------------------------------------------------------------------------------------------


def test_backlog_counts_open_payments(harness: JournalHarness) -> None:
    harness.add_funds(minor=100_000)
    harness.execute(harness.fund(minor=100_000, currency="KES"), harness.pay(minor=5, currency="KES"))
    harness.advance(10)
    harness.accept_payment(minor=10)
    harness.accept_payment(minor=20)
    in_doubt, completed = harness.accept_payment(minor=300), harness.accept_payment(minor=4_000)
    harness.answer(in_doubt, Unknown("no answer"))
    harness.answer(completed, delivered())
    now = harness.now
    assert harness.queries.backlog(now) == Backlog(
        payments={Status.PENDING: 3, Status.IN_DOUBT: 1},
        amounts={
            (Status.PENDING, "KES"): Money(5, "KES"),
            (Status.PENDING, "NGN"): Money(30, "NGN"),
            (Status.IN_DOUBT, "NGN"): Money(300, "NGN"),
        },
        due=3,
        oldest_due_at=NOW,
    )
    assert harness.queries.backlog(NOW - timedelta(seconds=1)).due == 0
    assert harness.queries.backlog(now + timedelta(hours=1)).due == 4


# --- before a payment -------------------------------------------------------------------------------------------------


def test_stored_results_show_what_was_done_before(harness: JournalHarness) -> None:
    harness.add_funds(minor=1_000)
    done, new = harness.pay(minor=600, key="order-1"), harness.pay(minor=600, key="order-2")
    other_user = harness.pay("ben", minor=600, key="order-1")
    executed = harness.execute_one(done)
    stored = harness.queries.stored_results([command.command_key for command in (done, new, other_user)])
    assert stored == {done.command_key: StoredResult(done.request_hash, executed.result)}
    with recorded_statements(harness.database) as seen:
        assert harness.queries.stored_results([]) == {}
    assert seen == []


def test_wallet_and_duplicate_of_a_bill(harness: JournalHarness) -> None:
    """The wallet, and when an equal bill was last paid within 30 seconds and not reversed."""
    assert harness.queries.wallet_and_duplicate(harness.pay()) == (None, None)
    harness.add_funds(minor=10_000)
    wallet = Wallet("ada", Money(10_000, "NGN"))
    assert harness.queries.wallet_and_duplicate(harness.pay(minor=600)) == (wallet, None)
    first, second = harness.pay(minor=600), harness.pay(minor=600)
    harness.execute(first, replace(second, at=NOW + timedelta(seconds=10), key="second"))
    for pay, paid_at in [
        (harness.pay(minor=600), NOW + timedelta(seconds=10)),
        (replace(harness.pay(minor=600), at=NOW + timedelta(seconds=39)), NOW + timedelta(seconds=10)),
        (replace(harness.pay(minor=600), at=NOW + timedelta(seconds=40)), None),
        (harness.pay(minor=601), None),
        (replace(harness.pay(minor=600), meter="99999999999"), None),
        (replace(harness.pay(minor=600), biller="IKEDC"), None),
    ]:
        assert harness.queries.wallet_and_duplicate(pay) == (
            replace(wallet, balance=Money(8_800, "NGN")),
            paid_at,
        )
    harness.execute(harness.cancel(first), harness.cancel(second))
    assert harness.queries.wallet_and_duplicate(harness.pay(minor=600))[1] is None


def test_reads_before_a_payment_take_no_locks(url: str) -> None:
    """While another transaction writes a payment of the same wallet, they answer at once from what is committed."""
    with open_harness(url) as harness, open_harness(url, name="u") as other:
        harness.add_funds(minor=1_000)
        with harness.database.write_transaction() as connection:
            wallets = "SELECT * FROM wallets" + ("" if harness.database.is_sqlite else " FOR UPDATE")
            connection.exec_driver_sql(wallets)
            pay = other.pay(minor=600)
            assert other.queries.stored_results([pay.command_key]) == {}
            assert other.queries.wallet_and_duplicate(pay)[0] == Wallet("ada", Money(1_000, "NGN"))
