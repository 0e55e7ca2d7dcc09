"""The stage: virtual time, and whose turn it is.

Actors are threads that hand one baton round: exactly one of them runs, until it sleeps or parks. Who is next is a matter
of the agenda alone, and the agenda of the seed, so that a seed replays exactly. Nobody really waits.
"""

import threading
from collections.abc import Callable
from hashlib import sha256
from heapq import heappop, heappush
from itertools import count
from random import Random


class Curtain(BaseException):
    """The play is over: what an actor feels in its last sleep."""


class Actor:
    """One thread of the play, which runs only while it holds the baton."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.turn = threading.Lock()
        """Held, except for the moment in which the baton is handed over."""
        self.turn.acquire()
        self.thread = threading.current_thread()


class Stage:
    """Where it all happens. Whoever makes it is the director: an actor too, who alone hears of failures."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)  # noqa: S311  a seed that replays is the point
        self.seconds = 0.0
        """Virtual time since the beginning."""
        self.failure: BaseException | None = None
        self._director = self.on = Actor("director")
        """`on`: who holds the baton."""
        self._agenda: list[tuple[float, int, Actor | Callable[[], None]]] = []
        self._serial = count()
        self._cast: list[Actor] = []
        self._closing = False
        self._trace = sha256()

    @property
    def trace(self) -> str:
        """A hash over whose turn it was when, and over all that was noted."""
        return self._trace.hexdigest()

    def note(self, what: str) -> None:
        """Make something part of the trace."""
        self._trace.update(f"{self.seconds!r} {what}\n".encode())

    # --- for actors ---------------------------------------------------------------------------------------------------

    def pause(self, seconds: float) -> None:
        """Let others play meanwhile."""
        self._put(seconds, self.on)
        self._give_way()

    def park(self) -> None:
        """Leave the stage until somebody wakes this actor."""
        self._give_way()

    def wake(self, actor: Actor, after_seconds: float = 0.0) -> None:
        """Let a parked actor go on."""
        self._put(after_seconds, actor)

    def at(self, after_seconds: float, act: Callable[[], None]) -> None:
        """Have something done later, by nobody in particular. It may not sleep."""
        self._put(after_seconds, act)

    # --- for the director ---------------------------------------------------------------------------------------------

    def enter(self, name: str, play: Callable[[], None]) -> None:
        """A new actor, whose turn comes at once."""
        actor = Actor(name)
        actor.thread = threading.Thread(target=self._perform, args=(actor, play), name=name, daemon=True)
        self._cast.append(actor)
        actor.thread.start()
        self._put(0.0, actor)

    def close(self) -> None:
        """Send everybody home, one after the other."""
        self._closing = True
        for actor in self._cast:
            actor.turn.release()
            actor.thread.join()

    # --- the baton ----------------------------------------------------------------------------------------------------

    def _perform(self, actor: Actor, play: Callable[[], None]) -> None:
        actor.turn.acquire()
        try:
            if not self._closing:
                play()
        except Curtain:
            return
        except BaseException as failure:  # noqa: BLE001  whatever it was, the director tells
            self.failure = self.failure or failure
        if not self._closing:
            self._hand_on(self._next())

    def _put(self, after_seconds: float, what: Actor | Callable[[], None]) -> None:
        heappush(self._agenda, (self.seconds + max(after_seconds, 0.0), next(self._serial), what))

    def _give_way(self) -> None:
        if self._closing:
            raise Curtain
        me, following = self.on, self._next()
        if following is not me:
            self._hand_on(following)
            me.turn.acquire()
        if self._closing:
            raise Curtain
        if self.failure is not None and me is self._director:
            raise self.failure

    def _hand_on(self, following: Actor) -> None:
        self.on = following
        following.turn.release()

    def _next(self) -> Actor:
        """Who is next; what is nobody's in particular is done on the way."""
        while self.failure is None:
            self.seconds, _, what = heappop(self._agenda)
            if isinstance(what, Actor):
                self.note(what.name)
                return what
            try:
                what()
            except BaseException as failure:  # noqa: BLE001  as above
                self.failure = failure
        return self._director
