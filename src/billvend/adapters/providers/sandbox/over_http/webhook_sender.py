"""Posts webhooks as VTpass does, true or forged. They have no signature, as VTpass's have none."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from threading import Lock, Timer
from typing import Any, Final, TypeAlias

import httpx

from billvend.adapters.providers.sandbox.faults import Webhook
from billvend.adapters.providers.sandbox.sale import SaleRecord, SaleStatus
from billvend.adapters.providers.sandbox.sales_store import SalesStore
from billvend.adapters.providers.sandbox.simulator import Simulator

MAX_DELIVERY_ATTEMPTS: Final = 5
"""VTpass tries five times until the answer is {"response": "success"}."""
TIMEOUT_SECONDS: Final = 5.0
ReadRecord: TypeAlias = Callable[[], SaleRecord]
"""What a webhook says, found out when it is posted. It may change the sale."""

logger = logging.getLogger("billvend.sandbox")


class WebhookSender:
    """Posts webhooks to `url` in the background, `delay_seconds` after the event. Posts none if `url` is None."""

    def __init__(
        self,
        url: str | None,
        *,
        delay_seconds: float,
        simulator: Simulator,
        store: SalesStore,
        body_of: Callable[[SaleRecord], dict[str, Any]],
    ) -> None:
        self._url = url
        self._body_of = body_of
        self._client = httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False) if url else None
        self._delay_seconds = delay_seconds
        self._simulator = simulator
        self._store = store
        self._lock = Lock()
        self._timers: list[Timer] = []
        self._is_closed = False

    def send(self, webhook: Webhook, record: SaleRecord) -> None:
        """Post the webhooks of a sale: now if they come before the answer, else after the delay."""
        match webhook:
            case Webhook.BEFORE_ANSWER:
                self._post(record)
            case Webhook.FIVE_TIMES:
                for _ in range(5):
                    self.schedule(lambda: record)
            case Webhook.FORGED:
                self.schedule(lambda: replace(record, status=SaleStatus.TAKEN_BACK))
            case Webhook.TAKEN_BACK:
                self.schedule(partial(self._store.reverse_sale, record.reference))
            case Webhook.SETTLED:
                self.schedule(partial(self._simulator.finish_pending, record.reference))

    def schedule(self, read_record: ReadRecord, attempts: int = 0) -> None:
        """Post a webhook after the delay, again and again until it is accepted or was tried five times."""
        timer = Timer(self._delay_seconds, self._deliver, (read_record, attempts + 1))
        timer.daemon = True
        with self._lock:
            if not self._is_closed:
                self._timers = [*(other for other in self._timers if other.is_alive()), timer]
                timer.start()

    def close(self) -> None:
        """Stop. Webhooks that are still waiting are dropped."""
        with self._lock:
            self._is_closed = True
        for timer in self._timers:
            timer.cancel()
            timer.join()
        if self._client is not None:
            self._client.close()

    def _deliver(self, read_record: ReadRecord, attempts: int) -> None:
        try:
            record = read_record()
        except Exception:
            logger.exception("A webhook could not be created")
            return
        if not self._post(record) and attempts < MAX_DELIVERY_ATTEMPTS:
            self.schedule(lambda: record, attempts)

    def _post(self, record: SaleRecord) -> bool:
        """Whether the receiver accepted it, or there is no URL."""
        if self._client is None or self._url is None:
            return True
        try:
            answer = self._client.post(self._url, json=self._body_of(record))
            return bool(answer.json() == {"response": "success"})
        except (httpx.HTTPError, ValueError) as error:
            logger.info("A webhook was not accepted: %s", error)
            return False
