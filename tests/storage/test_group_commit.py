"""Group commit: many callers in one transaction, each with its own result, and no needless wait."""

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
from tests.storage.harness import JournalHarness, open_harness, result_codes
from tests.support.waiting import TIMEOUT_SECONDS, eventually

pytestmark = pytest.mark.long


class BlockingCommit:
    """A journal's commits. It records each list of commands, and holds it until the test releases it."""

    def __init__(self, harness: JournalHarness) -> None:
        self._journal = harness.journal
        self.batches: list[list[Command]] = []
        self.started = threading.Semaphore(0)
        self.may_continue = threading.Semaphore(0)
        self.errors: list[BaseException] = []
        """What the next lists raise."""

    def __call__(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        self.batches.append(list(commands))
        self.started.release()
        assert self.may_continue.acquire(timeout=TIMEOUT_SECONDS)
        if self.errors:
            raise self.errors.pop(0)
        return self._journal.commit(commands)

    def unblock(self) -> None:
        """From now on, execute everything at once."""
        self.may_continue.release(1_000_000)


class CommitCallers:
    """Callers in threads, queued in a known order."""

    def __init__(
        self, harness: JournalHarness, *, max_batch_commands: int = 500, max_waiting_commands: int = 5_000
    ) -> None:
        self.commit = BlockingCommit(harness)
        self.group_commit = GroupCommit(
            self.commit,
            max_batch_commands=max_batch_commands,
            max_waiting_commands=max_waiting_commands,
        )
        self._pool = ThreadPoolExecutor(32)

    def submit(self, *commands: Command) -> "Future[list[CommandOutcome]]":
        """Submit in a thread; returns once the caller leads or waits."""
        queued, lists = self._queued(), len(self.commit.batches)
        future = self._pool.submit(self.group_commit.execute, commands)
        eventually(lambda: self._queued() > queued or len(self.commit.batches) > lists or future.done())
        return future

    def _queued(self) -> int:
        return len(self.group_commit._queue)

    def __enter__(self) -> "CommitCallers":
        return self

    def __exit__(self, *_: object) -> None:
        self.commit.unblock()
        self._pool.shutdown()


def test_single_caller_commits_immediately(harness: JournalHarness) -> None:
    alone = GroupCommit(harness.journal.commit)
    assert result_codes(alone.execute([harness.fund()])) == ["done"]
    assert alone.execute([]) == []


def test_callers_during_a_commit_are_committed_together(harness: JournalHarness) -> None:
    with CommitCallers(harness) as callers:
        first = callers.submit(harness.fund("ada"))
        funds = [harness.fund(f"user-{n}", minor=n) for n in range(1, 6)]
        others = [callers.submit(fund) for fund in funds]
        callers.commit.unblock()
        assert first.result(TIMEOUT_SECONDS)
        balances = [cast(Executed, other.result(TIMEOUT_SECONDS)[0]).result.balance_minor for other in others]
    assert [len(commands) for commands in callers.commit.batches] == [1, 5]
    assert balances == [1, 2, 3, 4, 5]
    assert harness.audit().ok


def test_each_caller_gets_its_own_results(harness: JournalHarness) -> None:
    harness.add_funds("ada", 1_000)
    with CommitCallers(harness) as callers:
        callers.submit(harness.fund("eve"))
        good = callers.submit(harness.pay("ada", 400), harness.pay("ada", 300, meter="22345678901"))
        poor = callers.submit(harness.pay("ada", 400, meter="32345678901"))
        unknown = callers.submit(harness.pay("unknown"), harness.fund("unknown", 5))
        callers.commit.unblock()
        assert result_codes(good.result(TIMEOUT_SECONDS)) == ["done", "done"]
        assert result_codes(poor.result(TIMEOUT_SECONDS)) == ["insufficient_funds"]
        assert result_codes(unknown.result(TIMEOUT_SECONDS)) == ["wallet_not_found", "done"]
    assert len(callers.commit.batches) == 2
    assert harness.balance("ada") == (300, 700)


def test_group_size_is_limited(harness: JournalHarness) -> None:
    with CommitCallers(harness, max_batch_commands=4) as callers:
        callers.submit(harness.fund())
        long = callers.submit(*(harness.fund(minor=1) for _ in range(9)))
        short = [callers.submit(harness.fund(minor=1), harness.fund(minor=1)) for _ in range(3)]
        callers.commit.unblock()
        for future in (long, *short):
            future.result(TIMEOUT_SECONDS)
    assert [len(commands) for commands in callers.commit.batches] == [1, 9, 4, 2]


def test_full_queue_rejects_further_commands(harness: JournalHarness) -> None:
    with CommitCallers(harness, max_waiting_commands=3) as callers:
        callers.submit(harness.fund())
        waiting = callers.submit(harness.fund(minor=1), harness.fund(minor=1))
        with pytest.raises(Unavailable, match="Nothing was done"):
            callers.group_commit.execute([harness.fund("eve"), harness.fund("eve")])
        last = callers.submit(harness.fund(minor=1))
        callers.commit.unblock()
        for future in (waiting, last):
            assert result_codes(future.result(TIMEOUT_SECONDS))[0] == "done"
        assert result_codes(callers.group_commit.execute([harness.fund("eve", 7)])) == ["done"]
    assert harness.balance("eve") == (7, 0)


def test_database_error_reaches_every_caller_of_the_group(harness: JournalHarness) -> None:
    with CommitCallers(harness) as callers:
        first = callers.submit(harness.fund())
        both = [callers.submit(harness.fund()) for _ in range(2)]
        callers.commit.errors = [Unavailable("down"), Unavailable("down")]
        callers.commit.unblock()
        for future in (first, *both):
            assert isinstance(future.exception(TIMEOUT_SECONDS), Unavailable)
        assert result_codes(callers.group_commit.execute([harness.fund()])) == ["done"]


def test_interrupted_leader_hands_over_queue(harness: JournalHarness) -> None:
    """Ctrl-C hits the caller that commits: the others submit again by themselves."""
    with CommitCallers(harness) as callers:
        first = callers.submit(harness.fund(minor=1))
        both = [callers.submit(harness.fund(minor=1)) for _ in range(2)]
        callers.commit.may_continue.release()
        first.result(TIMEOUT_SECONDS)
        late = callers.submit(harness.fund(minor=1))
        callers.commit.errors = [KeyboardInterrupt()]
        callers.commit.unblock()
        ends = [future.exception(TIMEOUT_SECONDS) for future in both]
        assert [type(end) for end in ends] == [KeyboardInterrupt, type(None)]
        assert result_codes(late.result(TIMEOUT_SECONDS)) == ["done"]
    assert harness.balance() == (3, 0)


class _InterruptedLock:
    """As much of a lock as group commit uses."""

    def __init__(self) -> None:
        self._released = threading.Event()

    def release(self) -> None:
        self._released.set()

    def acquire(self) -> bool:
        self._released.wait()
        raise KeyboardInterrupt


def test_interrupted_waiting_caller_hands_over_leadership(
    harness: JournalHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller was just chosen to lead: then the next one leads."""
    request = group_commit._Request
    with CommitCallers(harness) as callers:
        first = callers.submit(harness.fund(minor=1))
        with monkeypatch.context() as patched:
            patched.setattr(
                group_commit, "_Request", lambda commands: request(commands, cast(Any, _InterruptedLock()))
            )
            torn = callers.submit(harness.fund(minor=10))
        last = callers.submit(harness.fund(minor=100))
        callers.commit.unblock()
        first.result(TIMEOUT_SECONDS)
        assert last.result(TIMEOUT_SECONDS)
        assert isinstance(torn.exception(TIMEOUT_SECONDS), KeyboardInterrupt)
        assert result_codes(callers.group_commit.execute([harness.fund(minor=1_000)])) == ["done"]
    assert harness.balance() == (1_101, 0)


# --- any interleaving -------------------------------------------------------------------------------------------------

USERS, KEYS = ["ada", "ben"], ["k1", "k2", "k3"]
COMMANDS = st.one_of(
    st.tuples(st.just("fund"), st.sampled_from(USERS), st.sampled_from(KEYS), st.integers(1, 3)),
    st.tuples(st.just("pay"), st.sampled_from(USERS), st.sampled_from(KEYS), st.integers(1, 4)),
    st.tuples(st.just("cancel"), st.sampled_from(USERS), st.sampled_from(KEYS), st.integers(0, 5)),
)
CALLERS = st.lists(st.lists(st.lists(COMMANDS, min_size=1, max_size=3), max_size=4), min_size=2, max_size=5)


def _command(harness: JournalHarness, fields: tuple[str, str, str, int], number: int) -> Command:
    kind, user, key, size = fields
    name = f"{user}-{kind}-{number}"
    match kind:
        case "fund":
            return Fund(user, key, name, harness.now, harness.fund(minor=size).amount, "manual", key)
        case "pay":
            pay = harness.pay(user, size, key, allow_duplicate=True)
            return Pay(user, key, name, harness.now, True, pay.amount, pay.meter, "EKEDC", pay.vend_type)
        case _:
            return Cancel(user, key, f"{user}-pay-{size}", harness.now)


def _comparable(results: Sequence[CommandOutcome]) -> list[Any]:
    return [
        (result.result, result.replayed) if isinstance(result, Executed) else (type(result), str(result))
        for result in results
    ]


@settings(max_examples=12, deadline=None)
@given(callers=CALLERS)
def test_concurrent_results_equal_some_serial_order(
    callers: list[list[list[tuple[str, str, str, int]]]],
) -> None:
    """The order in which the journal got them. Each command alone, on a new database, gets the same result."""
    with open_harness("sqlite://") as together, open_harness("sqlite://") as alone:
        slow = BlockingCommit(together)
        slow.unblock()
        shared = GroupCommit(slow)
        numbers = iter(range(1_000))
        turns = [
            [[_command(together, one, next(numbers)) for one in turn] for turn in turns] for turns in callers
        ]
        results: dict[int, Any] = {}

        def submit(turns: list[list[Command]]) -> None:
            for turn in turns:
                for command, result in zip(turn, _comparable(shared.execute(turn)), strict=True):
                    results[id(command)] = result

        with ThreadPoolExecutor(len(turns)) as pool:
            list(pool.map(submit, turns))
        order = [command for commands in slow.batches for command in commands]
        one_at_a_time = [_comparable(alone.journal.execute([command]))[0] for command in order]
        assert [results[id(command)] for command in order] == one_at_a_time
        assert together.audit().ok
        streams = {StreamKey("ada", "wallet:NGN"), StreamKey("ben", "wallet:NGN")}
        assert [together.events(stream) for stream in streams] == [alone.events(stream) for stream in streams]
