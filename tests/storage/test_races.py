"""Many at once, in threads and in processes: the books decide as if they had come one after the other."""

import random
from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest

from billvend.adapters.storage.database import Database
from billvend.domain.decisions.commands import Command, Executed
from billvend.domain.enums import Proof, Status
from billvend.domain.outcome import Answer, Unknown
from billvend.domain.policy.accounts import Mode
from tests.storage.rivals import at_once, in_processes, pay_and_claim
from tests.storage.till import NOTHING_DELIVERED, Till, all_done, delivered, errors_of, named, open_till


@pytest.fixture
def till(url: str) -> Iterator[Till]:
    with open_till(url) as till:
        yield till


def done_at_once(till: Till, *commands: Command) -> list[str]:
    """What became of commands that were all given at the same time."""
    results = at_once(*((lambda command=command: till.do(command)) for command in commands))
    return named([result for (result,) in results])


def test_a_wallet_that_can_afford_ten_payments_pays_ten(till: Till) -> None:
    till.funded(minor=10 * 1_000)
    outcome = Counter(done_at_once(till, *(till.pay(minor=1_000) for _ in range(20))))
    assert outcome == {"done": 10, "insufficient_funds": 10}
    assert till.balance() == (0, 10_000)
    assert till.audit().ok


def test_as_many_processes_would(url: str, till: Till) -> None:
    """The same through twenty engines that share nothing but the database."""
    till.funded(minor=10 * 1_000)
    databases = [Database(url) for _ in range(20)]
    tills = [Till(database, name=f"p{number:02}-") for number, database in enumerate(databases)]
    results = at_once(*((lambda one=one: one.do(one.pay(minor=1_000))) for one in tills))
    for database in databases:
        database.close()
    assert Counter(named([result for (result,) in results])) == {"done": 10, "insufficient_funds": 10}
    assert till.audit().ok


def test_the_same_key_from_everywhere_pays_once(till: Till) -> None:
    till.funded(minor=100_000)
    pays = [till.pay(minor=1_000, key="order-42") for _ in range(20)]
    results = at_once(*((lambda pay=pay: till.do(pay)) for pay in pays))
    done = all_done([result for (result,) in results])
    assert Counter(result.replayed for result in done) == {False: 1, True: 19}
    assert len({result.result.transaction_id for result in done}) == 1
    assert till.balance() == (99_000, 1_000)
    assert till.audit().ok


def test_a_new_wallet_funded_from_everywhere_holds_the_sum(till: Till) -> None:
    assert set(done_at_once(till, *(till.fund(minor=1 << place) for place in range(20)))) == {"done"}
    assert till.balance() == ((1 << 20) - 1, 0)
    assert till.audit().ok


def test_a_new_wallet_funded_twenty_times_with_one_key_holds_it_once(till: Till) -> None:
    outcome = Counter(done_at_once(till, *(till.fund(minor=7, key="till-1") for _ in range(20))))
    assert outcome == {"done": 1, "replayed": 19}
    assert till.balance() == (7, 0)
    assert till.audit().ok


def test_one_key_for_wallets_in_two_currencies_funds_one_of_them(till: Till) -> None:
    """They lock different rows: the unique key alone stands between them."""
    funds = [till.fund(key="till-1", currency="NGN" if even else "KES") for even in [True, False] * 8]
    outcome = Counter(done_at_once(till, *funds))
    assert outcome == {"done": 1, "replayed": 7, "idempotency_mismatch": 8}
    assert till.rows("SELECT count(*) FROM events") == [(1,)]
    assert till.audit().ok


def test_of_many_claims_one_gets_work(till: Till) -> None:
    till.funded(minor=100_000)
    for _ in range(4):
        pay = till.paid()
        results = at_once(*(partial(till.done, till.claim(pay)) for _ in range(16)))
        assert sum(done.result.provider_call is not None for done in results) == 1
    assert till.rows("SELECT count(*), sum(sends) FROM attempts") == [(4, 4)]
    assert till.audit().ok


def test_a_payment_is_either_cancelled_or_sent(till: Till) -> None:
    till.funded(minor=100_000)
    for _ in range(6):
        pay = till.paid()
        claims = [till.claim(pay) for _ in range(4)]
        cancels = [till.cancel(pay) for _ in range(4)]
        results = at_once(*((lambda command=command: till.do(command)[0]) for command in [*claims, *cancels]))
        working = sum(
            isinstance(result, Executed) and result.result.provider_call is not None for result in results[:4]
        )
        cancelled = named(results[4:]).count("done")
        assert (working, cancelled) in ((1, 0), (0, 1))
        assert till.status(pay) is (Status.PROCESSING if working else Status.REVERSED)
    assert till.audit().ok


def test_a_delivery_and_the_giving_back_at_the_same_time(till: Till) -> None:
    """Whichever is first stands: the money is spent, or it is back and the delivery is our loss. Never both."""
    till.funded(minor=100_000)
    for number in range(6):
        pay = till.paid(minor=1_000)
        work = till.working(pay)
        till.done(till.report(pay, work, NOTHING_DELIVERED))
        report, claims = (
            till.report(pay, work, delivered(f"{number:020}")),
            [till.claim(pay) for _ in range(3)],
        )
        at_once(*((lambda command=command: till.done(command)) for command in [report, *claims]))
        payment = till.payment(pay)
        if payment.status is Status.COMPLETED:
            assert (payment.proof, payment.incidents) == (None, ())
        else:
            assert (payment.proof, len(payment.incidents)) == (Proof.DECLINED, 1)
    (ended,) = till.rows("SELECT count(*) FROM resolutions")
    assert ended == (6,)
    assert till.balance()[1] == 0
    assert till.audit().ok


def test_readers_see_one_state_while_others_write(till: Till) -> None:
    """An audit of many tables agrees, and what left the balance is held, though the two are read one after the other."""
    till.funded(minor=1_000)
    writing = [True]

    def write() -> list[str]:
        try:
            for _ in range(30):
                pay = till.paid(minor=100)
                till.told(pay, NOTHING_DELIVERED)
                till.done(till.claim(pay))
        finally:
            writing.clear()
        return []

    def audit() -> list[str]:
        found: list[str] = []
        while writing:
            found += till.audit().differences
        return found

    def look() -> list[str]:
        found: list[str] = []
        while writing:
            spendable, held = till.balance()
            found += [f"{spendable} + {held}"] * (spendable + held != 1_000)
        return found

    assert at_once(write, audit, look, look) == [[], [], [], []]


def test_sweepers_at_once_point_out_each_payment_once(till: Till) -> None:
    till.funded(minor=1_000_000)
    pays = [till.pay(minor=1) for _ in range(200)]
    all_done(till.do(*pays))

    def sweep() -> list[str]:
        found: list[str] = []
        while due := till.journal.take_due_payments(till.now, 7, 60):
            found += [each.transaction_id for each in due]
        return found

    found = [each for swept in at_once(*[sweep] * 6) for each in swept]
    assert sorted(found) == sorted(pay.transaction_id for pay in pays)


def test_the_first_stamp_stands(till: Till) -> None:
    modes = [Mode.TEST, Mode.LIVE] * 6
    stamped = at_once(
        *((lambda mode=mode: Till(till.database).journal.bind_environment(mode)) for mode in modes)
    )
    assert len(set(stamped)) == 1


def test_new_wallets_opened_in_lists_of_opposite_order(till: Till) -> None:
    """The unique indexes make the lists wait for each other crosswise: the database breaks the knot, nobody sees it."""
    users = [f"user{number}" for number in range(12)]
    lists = [[till.fund(user, 1) for user in users[:: 1 if even else -1]] for even in [True, False] * 4]
    for results in at_once(*((lambda funds=funds: till.do(*funds)) for funds in lists)):
        assert set(named(results)) == {"done"}
    assert [till.balance(user) for user in users] == [(8, 0)] * 12
    assert till.audit().ok


def test_wallets_are_locked_in_one_order_whatever_the_order_of_the_list(till: Till) -> None:
    users = [f"user{number}" for number in range(12)]
    all_done(till.do(*(till.fund(user, 1_000_000) for user in users)))

    def worker(seed: int) -> None:
        dice = random.Random(seed)  # noqa: S311
        for _ in range(6):
            all_done(till.do(*(till.pay(user, 1) for user in dice.sample(users, len(users)))))

    with errors_of(till) as errors:
        at_once(*((lambda seed=seed: worker(seed)) for seed in range(8)))
    assert errors == []  # not even a deadlock that was healed
    assert [till.balance(user)[1] for user in users] == [48] * len(users)


def test_lists_in_any_order_over_the_same_wallets(till: Till) -> None:
    users = [f"user{number}" for number in range(5)]
    all_done(till.do(*(till.fund(user, 1_000_000) for user in users)))
    pays = [till.pay(user, 1_000) for user in users for _ in range(12)]
    all_done(till.do(*pays))
    by_id = {pay.transaction_id: pay for pay in pays}

    def worker(seed: int) -> set[str]:
        dice = random.Random(seed)  # noqa: S311
        answers: list[Answer] = [delivered(cost_minor=990), NOTHING_DELIVERED, Unknown("no answer")]
        seen: set[str] = set()
        for _ in range(6):
            mine: list[Command] = []
            for pay in dice.sample(pays, 8):
                mine += [till.claim(pay), till.fund(pay.user_id, 5), till.pay(pay.user_id, 5)]
                mine += [till.cancel(pay)] * (dice.random() < 0.2)
            dice.shuffle(mine)
            results = till.do(*mine)
            seen.update(named(results))
            reports = [
                till.report(
                    by_id[result.result.transaction_id], result.result.provider_call, dice.choice(answers)
                )
                for result in results
                if isinstance(result, Executed) and result.result.provider_call is not None
            ]
            seen.update(named(till.do(*reports)))
        return seen

    with errors_of(till) as errors:
        seen: set[str] = set().union(*at_once(*((lambda seed=seed: worker(seed)) for seed in range(8))))
    assert seen <= {"done", "already_sent"}
    assert errors == []
    funded = till.rows("SELECT sum(amount_minor) FROM transactions WHERE type = 'funding'")[0][0]
    accounts = till.accounts()
    assert sum(accounts.values()) == funded
    assert accounts["wallet"] == sum(till.balance(user)[0] for user in users)
    found = till.audit()
    assert (found.differences, found.unlisted_differences) == ([], 0)


# --- processes --------------------------------------------------------------------------------------------------------


def test_two_processes_on_the_same_books(url: str, till: Till) -> None:
    till.funded(minor=15 * 1_000)
    told = in_processes(pay_and_claim, url, "p", "q")
    became = Counter(each for paid, _ in told for each in paid)
    assert became == {"done": 15, "replayed": 15, "insufficient_funds": 10}
    assert sum(works for _, works in told) == 15
    assert till.balance() == (0, 15_000)
    assert till.rows("SELECT count(*), sum(sends) FROM attempts") == [(15, 15)]
    assert till.audit().ok
