"""Metrics for Prometheus: counters and histograms in this process, or in files that several processes share.

With PROMETHEUS_MULTIPROC_DIR in the environment, each process counts in files in that directory, and the process that
is scraped adds them all up. The variable must be set before this module is first imported, and the directory must be
empty when the first process starts. Gauges are not in these files: the process that is scraped reads them from the
database.

Labels have few values: never a user, a meter or a reference. docs/metrics.md says what each metric is for.
"""

import logging
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final, assert_never

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.values import MutexValue, ValueClass

from billvend.domain.decisions.commands import Fund
from billvend.domain.enums import Proof, Status
from billvend.domain.errors import BillvendError
from billvend.domain.journal.events import (
    Event,
    PaymentAccepted,
    PaymentCompleted,
    PaymentPutInDoubt,
    PaymentReversed,
)
from billvend.domain.money import Money
from billvend.domain.notifications import Channel
from billvend.domain.payment.state import TERMINAL_STATUSES, Payment
from billvend.ports.notifier import DeliveryOutcome
from billvend.ports.telemetry import (
    BatchCommitted,
    CommandCommitted,
    DeliveryAttempted,
    Gauge,
    Observation,
    ProviderAnswered,
    ProvidersConfigured,
    RequestRejected,
    Swept,
)

CALL_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60)
SETTLE_SECONDS: Final = (0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
BATCH_SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
KNOWN_SOURCES: Final = frozenset({"manual", "paystack"})
"""Callers may name any source of a funding. Other sources count as `other`."""

logger = logging.getLogger("billvend.metrics")


def prometheus_metrics() -> "PrometheusMetrics":
    """New metrics, or the one instance of this process if processes share files: two would overwrite each other."""
    return _process_metrics() if _is_shared() else PrometheusMetrics()


def _is_shared() -> bool:
    """Whether values are in files. prometheus_client decides this when it is first imported."""
    return ValueClass is not MutexValue


@cache
def _process_metrics() -> "PrometheusMetrics":
    return PrometheusMetrics()


class PrometheusMetrics:
    """`billvend.ports.telemetry.Metrics`, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._accepted = self._counter(
            "payments_accepted", "Payments whose money was held.", "biller", "vend_type"
        )
        self._accepted_amount = self._counter(
            "payments_accepted_amount", "Money that was held for payments, in major units.", "currency"
        )
        self._put_in_doubt = self._counter("payments_doubted", "Payments that were put in doubt.", "provider")
        self._completed = self._counter("payments_completed", "Payments that were completed.", "provider")
        self._reversed = self._counter("payments_reversed", "Payments that were reversed.", "proof")
        self._settle_seconds = self._histogram(
            "payment_settle_seconds", "From acceptance to the end of a payment.", SETTLE_SECONDS, "status"
        )
        self._doubt_seconds = self._histogram(
            "payment_doubt_seconds", "From the first doubt to the end.", SETTLE_SECONDS, "status"
        )
        self._rejections = self._counter("refusals", "Rejected requests and batch entries.", "code")
        self._answers = self._counter(
            "provider_answers", "Calls to providers, by their outcome.", "provider", "call", "outcome"
        )
        self._answer_seconds = self._histogram(
            "provider_answer_seconds", "How long calls to providers took.", CALL_SECONDS, "provider", "call"
        )
        self._fundings = self._counter("fundings", "Fundings of wallets.", "source")
        self._funded_amount = self._counter("fundings_amount", "Sum of fundings, in major units.", "currency")
        self._sweeps = self._counter("sweeps", "Searches for due work that the queue lost.")
        self._sweep_found = self._counter("sweep_found", "Due payments that sweeps found.")
        self._sweep_enqueued = self._counter("sweep_enqueued", "Those of them that the queue accepted.")
        self._batch = self._histogram("batch_commands", "Commands in one transaction.", BATCH_SIZES)
        self._notifications = self._counter(
            "notifications", "Delivery attempts of notifications, by their outcome.", "channel", "outcome"
        )
        self._given_up = self._counter("notifications_given_up", "Notifications given up.", "channel")
        self._initialise_counters()

    def _initialise_counters(self) -> None:
        """Show counters before they count: Prometheus sees no increase from a missing series to 1."""
        for proof in Proof:
            self._reversed.labels(proof=proof.value)
        for status in TERMINAL_STATUSES:
            self._settle_seconds.labels(status=status.value)
            self._doubt_seconds.labels(status=status.value)
        for channel in Channel:
            self._given_up.labels(channel=channel.value)
            for outcome in DeliveryOutcome:
                self._notifications.labels(channel=channel.value, outcome=outcome.value)
        self._rejections.labels(code=BillvendError.code)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"billvend_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"billvend_{name}", text, labels, buckets=buckets, registry=self._registry)

    # --- counters and histograms --------------------------------------------------------------------------------------

    def observe(self, observation: Observation) -> None:
        """See the port. A payment must not fail because of a full disk or an odd value."""
        try:
            self._observe(observation)
        except Exception as error:  # noqa: BLE001  see above
            logger.warning("A metric could not be recorded: %s: %s", type(error).__name__, error)

    def _observe(self, observation: Observation) -> None:
        match observation:
            case CommandCommitted(command, executed):
                if isinstance(command, Fund) and executed.events:
                    self._count_funding(command)
                for event in executed.events:
                    if executed.payment is not None:
                        self._count_event(event, executed.payment)
            case BatchCommitted(size):
                self._batch.observe(size)
            case ProviderAnswered(provider, answer, seconds, is_requery):
                call = "requery" if is_requery else "send"
                outcome = _snake_case(type(answer).__name__)
                self._answers.labels(provider=provider, call=call, outcome=outcome).inc()
                self._answer_seconds.labels(provider=provider, call=call).observe(seconds)
            case Swept(due, enqueued):
                self._sweeps.inc()
                self._sweep_found.inc(due)
                self._sweep_enqueued.inc(enqueued)
            case DeliveryAttempted(channel, result, is_given_up):
                self._notifications.labels(channel=channel.value, outcome=result.value).inc()
                if is_given_up:
                    self._given_up.labels(channel=channel.value).inc()
            case RequestRejected(code):
                self._rejections.labels(code=code).inc()
            case ProvidersConfigured(providers):
                for provider in providers:
                    self._put_in_doubt.labels(provider=provider)
                    self._completed.labels(provider=provider)
            case _:
                assert_never(observation)

    def _count_funding(self, command: Fund) -> None:
        source = command.source if command.source in KNOWN_SOURCES else "other"
        self._fundings.labels(source=source).inc()
        self._funded_amount.labels(currency=command.amount.currency).inc(float(command.amount.major))

    def _count_event(self, event: Event, payment: Payment) -> None:
        match event:
            case PaymentAccepted(minor, currency, biller=biller, vend_type=vend_type):
                self._accepted.labels(biller, vend_type.value).inc()
                self._accepted_amount.labels(currency).inc(float(Money(minor, currency).major))
            case PaymentPutInDoubt():
                self._put_in_doubt.labels(provider=payment.attempts[-1].provider).inc()
            case PaymentCompleted(provider=provider):
                self._completed.labels(provider=provider).inc()
                self._time_end(payment, Status.COMPLETED)
            case PaymentReversed(proof):
                self._reversed.labels(proof=proof.value).inc()
                self._time_end(payment, Status.REVERSED)

    def _time_end(self, payment: Payment, status: Status) -> None:
        for since, histogram in (
            (payment.accepted_at, self._settle_seconds),
            (payment.in_doubt_since, self._doubt_seconds),
        ):
            if since is not None and payment.ended_at is not None:
                histogram.labels(status=status.value).observe((payment.ended_at - since).total_seconds())

    # --- as text ------------------------------------------------------------------------------------------------------

    def exposition(self, gauges: Sequence[Gauge]) -> str:
        """See the port. Raises `ValueError` if the directory that processes share is missing."""
        families = [*self._collect_counters(), *(_gauge_family(gauge) for gauge in gauges)]
        return generate_latest(_CollectedFamilies(families)).decode()

    def _collect_counters(self) -> list[Metric]:
        registry = self._registry
        if _is_shared():
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the package does not type it
        families = sorted(registry.collect(), key=lambda family: family.name)
        for family in families:  # only one process knows when a counter was created, and no reader needs it
            family.samples = [each for each in family.samples if each.name != f"{family.name}_created"]
        return families


class _CollectedFamilies(Collector):
    """Metric families that are collected already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _gauge_family(gauge: Gauge) -> Metric:
    family = GaugeMetricFamily(f"billvend_{gauge.name}", gauge.text, labels=gauge.labels)
    for labels, value in gauge.values:
        family.add_metric(labels, value)
    return family


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
