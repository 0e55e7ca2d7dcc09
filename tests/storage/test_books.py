"""The contract of the books port: looking things up."""

from datetime import timedelta
from typing import Any

import pytest

from billvend.domain.decisions.commands import Fund, Pay
from billvend.domain.enums import Status, VendType
from billvend.domain.journal.events import StreamKey, event_hash
from billvend.domain.ledger.wallet import Funding
from billvend.domain.money import Money
from billvend.domain.outcome import Declined, Deferred, Unknown
from billvend.domain.payment.state import Payment
from billvend.ports.queries import Backlog, Search
from tests.storage.till import METER, NOW, Till, delivered, statements


def test_what_is_not_there(till: Till) -> None:
    assert till.books.balance("ada", "NGN") is None
    assert till.books.transaction("t1") is None
    assert till.books.search(Search()) == []
    assert till.books.events(StreamKey("ada", "t1")) == []
    assert till.books.backlog(NOW) == Backlog({}, {}, 0, None)
    assert list(till.books.streams()) == []


@pytest.mark.parametrize("text", ["nul \0", "lone \ud800", "", "%", "'; --", "x" * 100_000], ids=range(6))
def test_what_can_not_be_there(till: Till, text: str) -> None:
    till.funded()
    till.paid()
    assert till.books.balance(text, "NGN") is None
    assert till.books.balance("ada", text) is None
    assert till.books.transaction(text) is None
    assert till.books.transaction("t0000002", text) is None
    assert till.books.events(StreamKey("ada", text)) == []
    for search in (Search(user_id=text), Search(meter=text), Search(reference=text), Search(key=text)):
        assert till.books.search(search) == []


def test_a_transaction_by_its_id(till: Till) -> None:
    fund = till.funded(minor=10_000)
    pay = till.pay(minor=700, key="order-42", vend_type=VendType.POSTPAID)
    till.done(pay)
    assert till.books.transaction(fund.transaction_id) == Funding(
        "ada", fund.transaction_id, Money(10_000, "NGN"), "manual", fund.key, NOW
    )
    assert till.books.transaction(pay.transaction_id) == Payment(
        "ada", pay.transaction_id, Money(700, "NGN"), METER, "EKEDC", VendType.POSTPAID, None, "order-42",
        Status.PENDING, accepted_at=NOW, updated_at=NOW,
    )  # fmt: skip
    for command in (fund, pay):
        assert till.books.transaction(command.transaction_id, "ada") is not None
        assert till.books.transaction(command.transaction_id, "ben") is None


def test_what_is_held_is_what_has_not_ended(till: Till) -> None:
    till.funded(minor=100_000)
    till.do(till.fund("ada", 50_000, currency="KES"), till.fund("ben", 50_000))
    till.do(till.pay(minor=1, currency="KES"), till.pay("ben", minor=1))
    _pending = till.paid(minor=10)
    processing, in_doubt, reversing = till.paid(minor=200), till.paid(minor=3_000), till.paid(minor=40_000)
    completed, reversed_ = till.paid(minor=5), till.paid(minor=5)
    till.working(processing)
    till.told(in_doubt, Unknown("no answer"))
    till.told(reversing, Declined("no", about_transaction=True))
    till.told(completed, delivered())
    till.done(till.cancel(reversed_))
    assert till.balance() == (100_000 - 43_210 - 5, 43_210)


# --- search -----------------------------------------------------------------------------------------------------------


def ids(till: Till, **wanted: object) -> list[str]:
    found = till.books.search(Search(**wanted))  # type: ignore[arg-type]
    return [transaction.transaction_id for transaction in found]


def test_the_newest_come_first_page_by_page(till: Till) -> None:
    commands: list[Fund | Pay] = [till.fund(), till.pay(), till.fund(), till.pay(), till.fund(), till.pay()]
    till.do(*commands)
    wanted = [command.transaction_id for command in reversed(commands)]
    assert ids(till) == wanted
    assert ids(till, limit=4) == wanted[:4]
    assert ids(till, limit=4, before=wanted[3]) == wanted[4:]
    assert ids(till, limit=4, before=wanted[5]) == []
    assert ids(till, kind="payment", limit=2) == [wanted[0], wanted[2]]
    assert ids(till, kind="payment", limit=2, before=wanted[2]) == [wanted[4]]
    found = till.books.search(Search(limit=2))
    assert [type(transaction) for transaction in found] == [Payment, Funding]


def test_search_by_each_of_its_fields(till: Till) -> None:
    ada, ben = till.fund("ada", key="till-1"), till.fund("ben", key="till-2")
    one, two = till.pay("ada", key="order-1", meter="10101010101"), till.pay("ben", key="order-2")
    till.do(ada, ben, one, two)
    keyless = till.pay("ben", given=False, again=True)
    till.done(keyless)
    reference = till.working(one).reference
    till.pass_time(1)
    till.told(two, delivered())
    searches: list[tuple[dict[str, Any], list[Fund | Pay]]] = [
        ({"user_id": "ada"}, [one, ada]),
        ({"user_id": "cleo"}, []),
        ({"kind": "funding"}, [ben, ada]),
        ({"meter": "10101010101"}, [one]),
        ({"reference": reference}, [one]),
        ({"reference": "till-2"}, [ben]),
        ({"key": "order-2"}, [two]),
        ({"key": "till-1"}, [ada]),
        ({"key": keyless.key}, []),
        ({"statuses": (Status.PROCESSING,)}, [one]),
        ({"statuses": (Status.COMPLETED,)}, [two, ben, ada]),
        ({"statuses": (Status.PENDING, Status.PROCESSING), "user_id": "ben"}, [keyless]),
        ({"user_id": "ben", "key": "order-1"}, []),
    ]
    for wanted, found in searches:
        assert ids(till, **wanted) == [command.transaction_id for command in found], wanted


def test_search_by_the_reference_of_any_attempt_finds_its_payment_once(till: Till) -> None:
    till.funded()
    pay = till.paid()
    reference = till.working(pay).reference
    assert ids(till, reference=reference) == [pay.transaction_id]
    assert ids(till, reference=reference, user_id="ben") == []


def test_a_page_takes_the_same_number_of_statements_whatever_is_on_it(till: Till) -> None:
    till.funded(minor=1_000_000)
    taken = []
    for size in (1, 200):
        till.do(*(till.pay() for _ in range(size)))
        with statements(till.database) as seen:
            assert len(till.books.search(Search(kind="payment", limit=size))) == size
        taken.append(len(seen))
    assert taken[0] == taken[1]


# --- events -----------------------------------------------------------------------------------------------------------


def test_the_events_of_a_stream_are_a_chain(till: Till) -> None:
    till.funded()
    pay = till.paid()
    till.pass_time(0.000001)
    till.told(pay, Deferred("later", retry_after_seconds=7))
    logged = till.books.events(StreamKey("ada", pay.transaction_id))
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
    wallet = till.books.events(StreamKey("ada", "wallet:NGN"))
    assert [(event.seq, event.kind) for event in wallet] == [(1, "WalletFunded"), (2, "WalletHeld")]


# --- what waits -------------------------------------------------------------------------------------------------------


def test_the_backlog_counts_what_has_not_ended(till: Till) -> None:
    till.funded(minor=100_000)
    till.do(till.fund(minor=100_000, currency="KES"), till.pay(minor=5, currency="KES"))
    till.pass_time(10)
    till.paid(minor=10)
    till.paid(minor=20)
    in_doubt, completed = till.paid(minor=300), till.paid(minor=4_000)
    till.told(in_doubt, Unknown("no answer"))
    till.told(completed, delivered())
    now = till.now
    assert till.books.backlog(now) == Backlog(
        payments={Status.PENDING: 3, Status.IN_DOUBT: 1},
        amounts={
            (Status.PENDING, "KES"): Money(5, "KES"),
            (Status.PENDING, "NGN"): Money(30, "NGN"),
            (Status.IN_DOUBT, "NGN"): Money(300, "NGN"),
        },
        due=3,
        oldest_due_at=NOW,
    )
    assert till.books.backlog(NOW - timedelta(seconds=1)).due == 0
    assert till.books.backlog(now + timedelta(hours=1)).due == 4
