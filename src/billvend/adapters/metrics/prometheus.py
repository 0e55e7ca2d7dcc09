"""Metrics for Prometheus: counters and histograms in this process, or in files that several processes share.

With PROMETHEUS_MULTIPROC_DIR in the environment, each process counts in files in that directory, and the process that
is scraped adds them all up. The variable must be set before this module is first imported, and the directory must be
empty when the first process starts. Gauges are not in these files: the process that is scraped reads them from the
database.

Labels have few values: never a user, a meter or a reference. docs/metrics.md says what each metric is for.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Concatenate, Final, ParamSpec

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.values import MutexValue, ValueClass

from billvend.domain.enums import Proof
from billvend.domain.errors import BillvendError
from billvend.domain.money import Money
from billvend.domain.notifications import Channel
from billvend.domain.outcome import Answer
from billvend.domain.payment.state import TERMINAL_STATUSES, Payment
from billvend.ports.notifier import DeliveryOutcome
from billvend.ports.telemetry import AccountGauges, BacklogGauges, Gauges

CALL_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60)
SETTLE_SECONDS: Final = (0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
BATCH_SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
KNOWN_SOURCES: Final = frozenset({"manual", "paystack"})
"""Callers may name any source of a funding. Other sources count as `other`."""

logger = logging.getLogger("billvend.metrics")

P = ParamSpec("P")


def prometheus_metrics() -> "PrometheusMetrics":
    """New metrics, or the one instance of this process if processes share files: two would overwrite each other."""
    return _process_metrics() if _is_shared() else PrometheusMetrics()


def _is_shared() -> bool:
    """Whether values are in files. prometheus_client decides this when it is first imported."""
    return ValueClass is not MutexValue


@cache
def _process_metrics() -> "PrometheusMetrics":
    return PrometheusMetrics()


def _never_raises(
    record: "Callable[Concatenate[PrometheusMetrics, P], None]",
) -> "Callable[Concatenate[PrometheusMetrics, P], None]":
    """The method, but it raises nothing: a payment must not fail because of a full disk or an odd value."""

    def guarded(self: "PrometheusMetrics", /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            record(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  see above
            logger.warning("A metric could not be recorded: %s: %s", type(error).__name__, error)

    return guarded


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

    @_never_raises
    def _initialise_provider_counters(self, provider: str) -> None:
        self._put_in_doubt.labels(provider=provider)
        self._completed.labels(provider=provider)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"billvend_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"billvend_{name}", text, labels, buckets=buckets, registry=self._registry)

    # --- counters and histograms --------------------------------------------------------------------------------------

    @_never_raises
    def accepted(self, payment: Payment) -> None:
        """See the port."""
        self._accepted.labels(payment.biller, payment.vend_type.value).inc()
        self._accepted_amount.labels(payment.amount.currency).inc(float(payment.amount.major))

    @_never_raises
    def put_in_doubt(self, payment: Payment) -> None:
        """See the port."""
        self._put_in_doubt.labels(provider=payment.attempts[-1].provider).inc()

    @_never_raises
    def ended(self, payment: Payment) -> None:
        """See the port."""
        if payment.completion is not None:
            provider = payment.attempt(payment.completion.attempt).provider
            self._completed.labels(provider=provider).inc()
        elif payment.proof is not None:
            self._reversed.labels(proof=payment.proof.value).inc()
        if payment.ended_at is None:
            return
        status = payment.status.value
        duration = payment.ended_at - payment.accepted_at
        self._settle_seconds.labels(status=status).observe(duration.total_seconds())
        if payment.in_doubt_since is not None:
            doubt = payment.ended_at - payment.in_doubt_since
            self._doubt_seconds.labels(status=status).observe(doubt.total_seconds())

    @_never_raises
    def rejected(self, code: str) -> None:
        """See the port."""
        self._rejections.labels(code=code).inc()

    @_never_raises
    def answered(self, provider: str, answer: Answer, seconds: float, *, is_requery: bool) -> None:
        """See the port."""
        call = "requery" if is_requery else "send"
        self._answers.labels(provider=provider, call=call, outcome=_outcome_label(answer)).inc()
        self._answer_seconds.labels(provider=provider, call=call).observe(seconds)

    @_never_raises
    def funded(self, source: str, amount: Money) -> None:
        """See the port."""
        self._fundings.labels(source=source if source in KNOWN_SOURCES else "other").inc()
        self._funded_amount.labels(currency=amount.currency).inc(float(amount.major))

    @_never_raises
    def swept(self, due: int, enqueued: int) -> None:
        """See the port."""
        self._sweeps.inc()
        self._sweep_found.inc(due)
        self._sweep_enqueued.inc(enqueued)

    @_never_raises
    def batch(self, size: int) -> None:
        """See the port."""
        self._batch.observe(size)

    @_never_raises
    def delivered(self, channel: Channel, outcome: DeliveryOutcome, *, given_up: bool) -> None:
        """See the port."""
        self._notifications.labels(channel=channel.value, outcome=outcome.value).inc()
        if given_up:
            self._given_up.labels(channel=channel.value).inc()

    # --- as text ------------------------------------------------------------------------------------------------------

    def exposition(self, gauges: Gauges) -> str:
        """See the port. Raises `ValueError` if the directory that processes share is missing."""
        for account in gauges.accounts:
            self._initialise_provider_counters(account.provider)
        return generate_latest(_CollectedFamilies([*self._collect_counters(), *_all_gauges(gauges)])).decode()

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


def _outcome_label(answer: Answer) -> str:
    """The name of an answer in snake case, such as `not_found`."""
    name = type(answer).__name__
    return "".join(
        f"_{character.lower()}" if character.isupper() else character for character in name
    ).removeprefix("_")


# --- gauges -----------------------------------------------------------------------------------------------------------


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"billvend_{name}", text, labels=labels)


def _all_gauges(gauges: Gauges) -> Iterator[Metric]:
    up = _gauge("up", "1 if the dependency answers, 0 if it is down.", "part")
    up.add_metric(["database"], gauges.backlog is not None)
    up.add_metric(["queue"], gauges.depth is not None)
    yield up
    if gauges.backlog is not None:
        yield from _backlog_gauges(gauges.backlog)
        yield from _account_gauges(gauges.accounts)
    if gauges.depth is not None:
        depth = _gauge("queue_depth", "Hints that wait for a worker.", "queue")
        for queue, waiting in gauges.depth.items():
            depth.add_metric([queue.value], waiting)
        yield depth


def _backlog_gauges(backlog: BacklogGauges) -> Iterator[Metric]:
    payments = _gauge("payments", "Payments that have not ended.", "status")
    for status, count in backlog.payments.items():
        payments.add_metric([status.value], count)
    yield payments
    amounts = _gauge("payments_amount", "Money held for them, in major units.", "status", "currency")
    for (status, currency), money in backlog.amounts.items():
        amounts.add_metric([status.value, currency], float(money.major))
    yield amounts
    for name, text, value in (
        ("payments_due", "Payments that wait for a worker now.", backlog.due),
        ("oldest_due_seconds", "How long the oldest of them has waited.", backlog.oldest_due_seconds),
        ("incidents_open", "Payments with open incidents.", backlog.open_incidents),
        ("webhook_endpoints_disabled", "Disabled webhook endpoints.", backlog.disabled_endpoints),
        ("providers_unconfigured", "Unconfigured accounts with payments in doubt.", backlog.unconfigured),
    ):
        gauge = _gauge(name, text)
        gauge.add_metric([], value)
        yield gauge


def _account_gauges(accounts: Iterable[AccountGauges]) -> Iterator[Metric]:
    selling = _gauge("provider_selling", "1 if the provider sells, 0 if it does not.", "provider")
    in_doubt = _gauge(
        "provider_in_doubt_amount",
        "Money in doubt or in review there, in major units.",
        "provider",
        "currency",
    )
    float_ = _gauge(
        "provider_float_amount", "Our float there at the last check, in major units.", "provider", "currency"
    )
    for account in accounts:
        selling.add_metric([account.provider], account.is_selling)
        labels = [account.provider, account.in_doubt.currency]
        in_doubt.add_metric(labels, float(account.in_doubt.major))
        if account.float_ is not None:
            float_.add_metric(labels, float(account.float_.major))
    yield from (selling, in_doubt, float_)
