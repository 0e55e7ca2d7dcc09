"""The scheduler: virtual time, and whose turn it is.

Tasks are threads that pass one baton around. Exactly one of them runs, until it sleeps or parks. The agenda alone
decides who is next, and the seed decides the agenda, so a seed replays exactly. No thread really waits.
"""

import threading
from collections.abc import Callable
from hashlib import sha256
from heapq import heappop, heappush
from itertools import count
from random import Random


class Shutdown(BaseException):
    """The simulation is over. Raised in a task's last sleep."""


class Task:
    """One thread of the simulation, which runs only while it holds the baton."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.turn = threading.Lock()
        """Held, except while the baton is passed."""
        self.turn.acquire()
        self.thread = threading.current_thread()


class Scheduler:
    """The scheduler of a simulation. The thread that makes it is the director: a task too, and the only one that gets
    failures."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)  # noqa: S311  a seed that replays is the point
        self.seconds = 0.0
        """Virtual time since the beginning."""
        self.failure: BaseException | None = None
        self._main = self.current = Task("main")
        """The task that holds the baton."""
        self._events: list[tuple[float, int, Task | Callable[[], None]]] = []
        self._serial = count()
        self._tasks: list[Task] = []
        self._closing = False
        self._trace = sha256()

    @property
    def trace(self) -> str:
        """A hash over all turns and all trace entries."""
        return self._trace.hexdigest()

    def record(self, what: str) -> None:
        """Add an entry to the trace."""
        self._trace.update(f"{self.seconds!r} {what}\n".encode())

    # --- for tasks ----------------------------------------------------------------------------------------------------

    def sleep(self, seconds: float) -> None:
        """Let other tasks run meanwhile."""
        self._schedule(seconds, self.current)
        self._yield_turn()

    def park(self) -> None:
        """Sleep until another task wakes this one."""
        self._yield_turn()

    def wake(self, task: Task, after_seconds: float = 0.0) -> None:
        """Wake a parked task."""
        self._schedule(after_seconds, task)

    def at(self, after_seconds: float, act: Callable[[], None]) -> None:
        """Call a function later, outside any task. It may not sleep."""
        self._schedule(after_seconds, act)

    # --- for the director ---------------------------------------------------------------------------------------------

    def spawn(self, name: str, work: Callable[[], None]) -> None:
        """A new task, whose turn comes at once."""
        task = Task(name)
        task.thread = threading.Thread(target=self._run, args=(task, work), name=name, daemon=True)
        self._tasks.append(task)
        task.thread.start()
        self._schedule(0.0, task)

    def close(self) -> None:
        """End all tasks, one after the other."""
        self._closing = True
        for task in self._tasks:
            task.turn.release()
            task.thread.join()

    # --- the baton ----------------------------------------------------------------------------------------------------

    def _run(self, task: Task, work: Callable[[], None]) -> None:
        task.turn.acquire()
        try:
            if not self._closing:
                work()
        except Shutdown:
            return
        except BaseException as failure:  # noqa: BLE001  whatever it was, the director reports it
            self.failure = self.failure or failure
        if not self._closing:
            self._switch_to(self._next())

    def _schedule(self, after_seconds: float, what: Task | Callable[[], None]) -> None:
        heappush(self._events, (self.seconds + max(after_seconds, 0.0), next(self._serial), what))

    def _yield_turn(self) -> None:
        if self._closing:
            raise Shutdown
        me, following = self.current, self._next()
        if following is not me:
            self._switch_to(following)
            me.turn.acquire()
        if self._closing:
            raise Shutdown
        if self.failure is not None and me is self._main:
            raise self.failure

    def _switch_to(self, following: Task) -> None:
        self.current = following
        following.turn.release()

    def _next(self) -> Task:
        """The next task. Functions that are due before are called on the way."""
        while self.failure is None:
            self.seconds, _, what = heappop(self._events)
            if isinstance(what, Task):
                self.record(what.name)
                return what
            try:
                what()
            except BaseException as failure:  # noqa: BLE001  as above
                self.failure = failure
        return self._main
