"""Posts webhooks as VTpass does, true or forged. They have no signature, as VTpass's have none."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import httpx

from billvend.adapters.providers.sandbox.meters import WebhookBehaviour
from billvend.adapters.providers.sandbox.over_http import vtpass_responses
from billvend.adapters.providers.sandbox.sale_record import SaleRecord, SaleStatus
from billvend.adapters.providers.sandbox.simulator import Simulator

MAX_DELIVERY_ATTEMPTS: Final = 5
"""VTpass tries five times until the answer is {"response": "success"}."""
TIMEOUT_SECONDS: Final = 5.0

logger = logging.getLogger("billvend.sandbox")


class WebhookSender:
    """Posts webhooks to `url` in a background thread, `delay_seconds` after the event. Posts none if `url` is None."""

    def __init__(self, url: str | None, *, delay_seconds: float, simulator: Simulator) -> None:
        self._url = url
        self._client = httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False) if url else None
        self._delay_seconds = delay_seconds
        self._simulator = simulator
        self._jobs: queue.SimpleQueue[tuple[float, Callable[[], None]] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sandbox-webhooks", daemon=True)
        self._thread.start()

    def send(self, webhook: WebhookBehaviour, record: SaleRecord) -> None:
        """Post the webhooks of a sale: now if they come before the answer, else after the delay."""
        match webhook:
            case WebhookBehaviour.BEFORE_ANSWER:
                self._post(vtpass_responses.webhook_body(record))
            case WebhookBehaviour.FIVE_TIMES:
                for _ in range(5):
                    self._schedule(lambda: self._deliver(vtpass_responses.webhook_body(record)))
            case WebhookBehaviour.FORGED:
                reversed_ = replace(record, status=SaleStatus.TAKEN_BACK)
                self._schedule(lambda: self._deliver(vtpass_responses.webhook_body(reversed_)))
            case WebhookBehaviour.TAKEN_BACK:
                self._schedule(
                    lambda: self._deliver(
                        vtpass_responses.webhook_body(self._simulator.reverse_sale(record.reference))
                    )
                )

            case WebhookBehaviour.SETTLED:
                self._schedule(
                    lambda: self._deliver(
                        vtpass_responses.webhook_body(self._simulator.finish_pending(record.reference))
                    )
                )

    def send_reversal(self, record: SaleRecord) -> None:
        """Post after the delay that a sale was reversed."""
        self._schedule(lambda: self._deliver(vtpass_responses.webhook_body(record)))

    def close(self) -> None:
        """Stop. Webhooks that are still waiting are dropped."""
        self._stopping.set()
        self._jobs.put(None)
        self._thread.join()
        if self._client is not None:
            self._client.close()

    def _schedule(self, job: Callable[[], None]) -> None:
        self._jobs.put((time.monotonic() + self._delay_seconds, job))

    def _run(self) -> None:
        while (planned := self._jobs.get()) is not None:
            due, job = planned
            if self._stopping.wait(max(0.0, due - time.monotonic())):
                return
            try:
                job()
            except Exception:
                logger.exception("A webhook could not be created")

    def _deliver(self, body: dict[str, Any], tries: int = 0) -> None:
        if not self._post(body) and tries + 1 < MAX_DELIVERY_ATTEMPTS:
            self._schedule(lambda: self._deliver(body, tries + 1))

    def _post(self, body: dict[str, Any]) -> bool:
        """Whether the receiver accepted it, or there is no URL."""
        if self._client is None or self._url is None:
            return True
        try:
            answer = self._client.post(self._url, json=body)
            return bool(answer.json() == {"response": "success"})
        except (httpx.HTTPError, ValueError) as error:
            logger.info("A webhook was not accepted: %s", error)
            return False
