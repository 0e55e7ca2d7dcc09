"""Hooks: what VTpass posts to us of its own accord, truly or not. They carry no signature, there as here."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import httpx

from billvend.adapters.provider.sandbox.desk import Desk
from billvend.adapters.provider.sandbox.entry import Entry, EntryStatus
from billvend.adapters.provider.sandbox.meters import Hook
from billvend.adapters.provider.sandbox.over_http import vtpass_answers

MOST_TRIES: Final = 5
"""VTpass tries five times to get the answer {"response": "success"}."""
TIMEOUT_SECONDS: Final = 5.0

logger = logging.getLogger("billvend.sandbox")


class Hooks:
    """Posts hooks to `url` (nowhere, where it is None), from a thread of its own, `delay_seconds` after the occasion."""

    def __init__(self, url: str | None, *, delay_seconds: float, desk: Desk) -> None:
        self._url = url
        self._client = httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False) if url else None
        self._delay_seconds = delay_seconds
        self._desk = desk
        self._errands: queue.SimpleQueue[tuple[float, Callable[[], None]] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sandbox-hooks", daemon=True)
        self._thread.start()

    def tell(self, hook: Hook, entry: Entry) -> None:
        """Do what a sale asks for: now, where the hook is to come before the answer, else soon."""
        match hook:
            case Hook.BEFORE_ANSWER:
                self._post(vtpass_answers.hook(entry))
            case Hook.FIVE_TIMES:
                for _ in range(5):
                    self._later(lambda: self._deliver(vtpass_answers.hook(entry)))
            case Hook.FORGED:
                reversed_ = replace(entry, status=EntryStatus.TAKEN_BACK)
                self._later(lambda: self._deliver(vtpass_answers.hook(reversed_)))
            case Hook.TAKEN_BACK:
                self._later(lambda: self._deliver(vtpass_answers.hook(self._desk.take_back(entry.reference))))

            case Hook.SETTLED:
                self._later(lambda: self._deliver(vtpass_answers.hook(self._desk.settle(entry.reference))))

    def taken_back(self, entry: Entry) -> None:
        """Tell soon that a sale was reversed."""
        self._later(lambda: self._deliver(vtpass_answers.hook(entry)))

    def close(self) -> None:
        """Stop; what is not told yet is not told any more."""
        self._stopping.set()
        self._errands.put(None)
        self._thread.join()
        if self._client is not None:
            self._client.close()

    def _later(self, errand: Callable[[], None]) -> None:
        self._errands.put((time.monotonic() + self._delay_seconds, errand))

    def _run(self) -> None:
        while (planned := self._errands.get()) is not None:
            due, errand = planned
            if self._stopping.wait(max(0.0, due - time.monotonic())):
                return
            try:
                errand()
            except Exception:
                logger.exception("A hook could not be made")

    def _deliver(self, body: dict[str, Any], tried: int = 0) -> None:
        if not self._post(body) and tried + 1 < MOST_TRIES:
            self._later(lambda: self._deliver(body, tried + 1))

    def _post(self, body: dict[str, Any]) -> bool:
        """Whether it was taken, or there is nobody to tell."""
        if self._client is None or self._url is None:
            return True
        try:
            answer = self._client.post(self._url, json=body)
            return bool(answer.json() == {"response": "success"})
        except (httpx.HTTPError, ValueError) as error:
            logger.info("A hook was not taken: %s", error)
            return False
