"""Group commit: together in one transaction, each with its own result, and nobody waits for nothing."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billvend.adapters.storage import group_commit
from billvend.adapters.storage.group_commit import GroupCommit
from billvend.domain.decisions.commands import Cancel, Command, Executed, Fund, Pay
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.errors import Unavailable
from billvend.domain.journal.events import StreamKey
from billvend.ports.journal import Journal
from tests.storage.till import Till, named, open_till
from tests.support.waiting import PATIENCE_SECONDS, eventually


class Slow:
    """A journal that notes each list that it is given, and does nothing with it before it is let."""

    def __init__(self, till: Till) -> None:
        self._journal = till.journal
        self.lists: list[list[Command]] = []
        self.began = threading.Semaphore(0)
        self.may_go_on = threading.Semaphore(0)
        self.breaks: list[BaseException] = []
        """What the next lists raise instead."""

    def execute(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        self.lists.append(list(commands))
        self.began.release()
        assert self.may_go_on.acquire(timeout=PATIENCE_SECONDS)
        if self.breaks:
            raise self.breaks.pop(0)
        return self._journal.execute(commands)

    def free(self) -> None:
        """From now on it does all at once."""
        self.may_go_on.release(1_000_000)


class Counter:
    """Callers in threads, queued up one after the other in a known order."""

    def __init__(
        self, till: Till, *, max_batch_commands: int = 500, max_waiting_commands: int = 5_000
    ) -> None:
        self.slow = Slow(till)
        self.committer = GroupCommit(
            cast(Journal, self.slow),
            max_batch_commands=max_batch_commands,
            max_waiting_commands=max_waiting_commands,
        )
        self._pool = ThreadPoolExecutor(32)

    def ask(self, *commands: Command) -> "Future[list[CommandOutcome]]":
        """Ask in a thread; returns once it leads or waits."""
        queued, lists = self._queued(), len(self.slow.lists)
        future = self._pool.submit(self.committer.execute, commands)
        eventually(lambda: self._queued() > queued or len(self.slow.lists) > lists or future.done())
        return future

    def _queued(self) -> int:
        return len(self.committer._queue)

    def __enter__(self) -> "Counter":
        return self

    def __exit__(self, *_: object) -> None:
        self.slow.free()
        self._pool.shutdown()


def test_one_caller_waits_for_nobody(till: Till) -> None:
    alone = GroupCommit(till.journal)
    assert named(alone.execute([till.fund()])) == ["done"]
    assert alone.execute([]) == []


def test_who_comes_while_somebody_commits_is_committed_together(till: Till) -> None:
    with Counter(till) as counter:
        first = counter.ask(till.fund("ada"))
        funds = [till.fund(f"user-{n}", minor=n) for n in range(1, 6)]
        others = [counter.ask(fund) for fund in funds]
        counter.slow.free()
        assert first.result(PATIENCE_SECONDS)
        balances = [
            cast(Executed, other.result(PATIENCE_SECONDS)[0]).result.balance_minor for other in others
        ]
    assert [len(commands) for commands in counter.slow.lists] == [1, 5]
    assert balances == [1, 2, 3, 4, 5]
    assert till.audit().ok


def test_each_gets_its_own_results_and_refusals(till: Till) -> None:
    till.funded("ada", 1_000)
    with Counter(till) as counter:
        counter.ask(till.fund("eve"))
        good = counter.ask(till.pay("ada", 400), till.pay("ada", 300, meter="22345678901"))
        poor = counter.ask(till.pay("ada", 400, meter="32345678901"))
        nobody = counter.ask(till.pay("nobody"), till.fund("nobody", 5))
        counter.slow.free()
        assert named(good.result(PATIENCE_SECONDS)) == ["done", "done"]
        assert named(poor.result(PATIENCE_SECONDS)) == ["insufficient_funds"]
        assert named(nobody.result(PATIENCE_SECONDS)) == ["wallet_not_found", "done"]
    assert len(counter.slow.lists) == 2
    assert till.balance("ada") == (300, 700)


def test_a_list_has_its_bound(till: Till) -> None:
    with Counter(till, max_batch_commands=4) as counter:
        counter.ask(till.fund())
        long = counter.ask(*(till.fund(minor=1) for _ in range(9)))
        short = [counter.ask(till.fund(minor=1), till.fund(minor=1)) for _ in range(3)]
        counter.slow.free()
        for future in (long, *short):
            future.result(PATIENCE_SECONDS)
    assert [len(commands) for commands in counter.slow.lists] == [1, 9, 4, 2]


def test_with_too_many_waiting_more_are_refused_and_nothing_is_held(till: Till) -> None:
    with Counter(till, max_waiting_commands=3) as counter:
        counter.ask(till.fund())
        waiting = counter.ask(till.fund(minor=1), till.fund(minor=1))
        with pytest.raises(Unavailable, match="Nothing was done"):
            counter.committer.execute([till.fund("eve"), till.fund("eve")])
        last = counter.ask(till.fund(minor=1))
        counter.slow.free()
        for future in (waiting, last):
            assert named(future.result(PATIENCE_SECONDS))[0] == "done"
        assert named(counter.committer.execute([till.fund("eve", 7)])) == ["done"]
    assert till.balance("eve") == (7, 0)


def test_when_the_database_is_away_all_are_told_so_and_the_next_are_not(till: Till) -> None:
    with Counter(till) as counter:
        first = counter.ask(till.fund())
        both = [counter.ask(till.fund()) for _ in range(2)]
        counter.slow.breaks = [Unavailable("away"), Unavailable("away")]
        counter.slow.free()
        for future in (first, *both):
            assert isinstance(future.exception(PATIENCE_SECONDS), Unavailable)
        assert named(counter.committer.execute([till.fund()])) == ["done"]


def test_a_leader_that_is_torn_away_leaves_nobody_behind(till: Till) -> None:
    """Ctrl-C hits whoever commits: the others ask for themselves."""
    with Counter(till) as counter:
        first = counter.ask(till.fund(minor=1))
        both = [counter.ask(till.fund(minor=1)) for _ in range(2)]
        counter.slow.may_go_on.release()
        first.result(PATIENCE_SECONDS)
        late = counter.ask(till.fund(minor=1))
        counter.slow.breaks = [KeyboardInterrupt()]
        counter.slow.free()
        ends = [future.exception(PATIENCE_SECONDS) for future in both]
        assert [type(end) for end in ends] == [KeyboardInterrupt, type(None)]
        assert named(late.result(PATIENCE_SECONDS)) == ["done"]
    assert till.balance() == (3, 0)


class _Torn:
    """As much of a lock as is used."""

    def __init__(self) -> None:
        self._released = threading.Event()

    def release(self) -> None:
        self._released.set()

    def acquire(self) -> bool:
        self._released.wait()
        raise KeyboardInterrupt


def test_a_caller_that_is_torn_away_while_it_waits_leads_nobody(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was just told to lead: then the next one does."""
    request = group_commit._Request
    with Counter(till) as counter:
        first = counter.ask(till.fund(minor=1))
        with monkeypatch.context() as patched:
            patched.setattr(group_commit, "_Request", lambda commands: request(commands, cast(Any, _Torn())))
            torn = counter.ask(till.fund(minor=10))
        last = counter.ask(till.fund(minor=100))
        counter.slow.free()
        first.result(PATIENCE_SECONDS)
        assert last.result(PATIENCE_SECONDS)
        assert isinstance(torn.exception(PATIENCE_SECONDS), KeyboardInterrupt)
        assert named(counter.committer.execute([till.fund(minor=1_000)])) == ["done"]
    assert till.balance() == (1_101, 0)


# --- any interleaving -------------------------------------------------------------------------------------------------

USERS, KEYS = ["ada", "ben"], ["k1", "k2", "k3"]
ASKED = st.one_of(
    st.tuples(st.just("fund"), st.sampled_from(USERS), st.sampled_from(KEYS), st.integers(1, 3)),
    st.tuples(st.just("pay"), st.sampled_from(USERS), st.sampled_from(KEYS), st.integers(1, 4)),
    st.tuples(st.just("cancel"), st.sampled_from(USERS), st.sampled_from(KEYS), st.integers(0, 5)),
)
CALLERS = st.lists(st.lists(st.lists(ASKED, min_size=1, max_size=3), max_size=4), min_size=2, max_size=5)


def _command(till: Till, asked: tuple[str, str, str, int], number: int) -> Command:
    kind, user, key, size = asked
    name = f"{user}-{kind}-{number}"
    match kind:
        case "fund":
            return Fund(user, key, name, till.now, till.fund(minor=size).amount, "manual", key)
        case "pay":
            pay = till.pay(user, size, key, again=True)
            return Pay(user, key, True, name, till.now, pay.amount, pay.meter, "EKEDC", pay.vend_type)
        case _:
            return Cancel(user, key, f"{user}-pay-{size}", till.now)


def _told(results: Sequence[CommandOutcome]) -> list[Any]:
    return [
        (result.result, result.replayed) if isinstance(result, Executed) else (type(result), str(result))
        for result in results
    ]


@settings(max_examples=20, deadline=None)
@given(callers=CALLERS)
def test_results_are_those_of_some_order_one_at_a_time(
    callers: list[list[list[tuple[str, str, str, int]]]],
) -> None:
    """The order in which the journal got them: played again alone on new books, each gets the same."""
    with open_till("sqlite://") as together, open_till("sqlite://") as alone:
        slow = Slow(together)
        slow.free()
        shared = GroupCommit(cast(Journal, slow))
        numbers = iter(range(1_000))
        turns = [
            [[_command(together, one, next(numbers)) for one in turn] for turn in turns] for turns in callers
        ]
        got: dict[int, Any] = {}

        def ask(turns: list[list[Command]]) -> None:
            for turn in turns:
                for command, told in zip(turn, _told(shared.execute(turn)), strict=True):
                    got[id(command)] = told

        with ThreadPoolExecutor(len(turns)) as pool:
            list(pool.map(ask, turns))
        order = [command for commands in slow.lists for command in commands]
        one_at_a_time = [_told(alone.journal.execute([command]))[0] for command in order]
        assert [got[id(command)] for command in order] == one_at_a_time
        assert together.audit().ok
        streams = {StreamKey("ada", "wallet:NGN"), StreamKey("ben", "wallet:NGN")}
        assert [together.books.events(stream) for stream in streams] == [
            alone.books.events(stream) for stream in streams
        ]
