"""The metrics: exact values of sample payments, the dashboard and the alerts, and several processes together."""

import json
import os
import re
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from billvend import Billvend, ConfigurationError, Unavailable, open_billvend
from billvend.adapters.metrics.metrics_server import serve_metrics
from billvend.adapters.metrics.prometheus import PrometheusMetrics
from billvend.adapters.storage.journal import SqlJournal
from billvend.config import Settings
from billvend.domain.enums import Status
from billvend.domain.notifications import Channel
from billvend.domain.outcome import Declined, Delivered
from billvend.ports.notifier import DeliveryOutcome, DeliveryResult
from billvend.ports.repositories import Message
from billvend.presentation.notifications import notification_for
from tests.api.client import BILL, Client, application, code_of
from tests.harness import METER, NO_ANSWER, OTHER_TOKEN, TOKEN, AppHarness, UnreadQueue, using

DOCS = Path(__file__).parent.parent.parent / "docs"
PATIENCE_SECONDS = 60.0

# --- sample payments --------------------------------------------------------------------------------------------------


class ScriptedNotifier:
    """A channel that returns the result that the test set."""

    endpoint = "one"

    def __init__(self) -> None:
        self.result = DeliveryResult(DeliveryOutcome.DELIVERED, "https://shop.example", "HTTP 200", 200)

    def deliver(self, _message: Message) -> DeliveryResult:
        return self.result

    def close(self) -> None: ...


class MeteredApp(AppHarness):
    """An app with metrics, like an open billvend. Its first funding was before they started."""

    def __init__(self) -> None:
        self.webhook = ScriptedNotifier()
        super().__init__(notifiers={Channel.WEBHOOK: self.webhook})
        self.bv.deliver_notifications()
        self.measures = PrometheusMetrics()
        journal = SqlJournal(
            self.database,
            channels=(Channel.WEBHOOK,),
            render_notification=notification_for,
            metrics=self.measures,
        )
        self.use(journal=journal, metrics=self.measures, queue=UnreadQueue())

    def use(self, **parts: Any) -> None:
        self.deps = replace(self.deps, **parts)
        self.bv = Billvend(self.deps)

    @property
    def client(self) -> Client:
        return Client(application(self.bv, Settings(database_url="sqlite://", rate_limit="0")))

    def value(self, name: str, **labels: str) -> float | None:
        """The value of a sample in GET /metrics; None if it is not exported."""
        values = {
            each.value for each in self.samples() if each.name == f"billvend_{name}" and each.labels == labels
        }
        assert len(values) <= 1
        return values.pop() if values else None

    def samples(self) -> list[Sample]:
        return parse_samples(self.client.get("/metrics").text)


def parse_samples(text: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


@pytest.fixture
def app() -> Iterator[MeteredApp]:
    app = MeteredApp()
    for _ in using(app):
        yield app


def run_sample_payments(app: MeteredApp) -> None:
    """Payments: one completed, one reversed, one completed after a minute in doubt, one in doubt, one pending."""
    app.bv.fund("ada", "1000.50", source="till-7")
    app.bv.fund("ada", 500, source="paystack")
    app.settle(app.pay(500))
    app.provider.send_answer = Declined("no such meter")
    app.pay(700)
    app.clock.sleep(5)
    app.settle_due()
    doubtful = app.payment_in_doubt(800)
    app.clock.sleep(60)
    app.provider.requery_answer = Delivered(OTHER_TOKEN)
    app.settle_due()
    assert app.reload(doubtful).status is Status.COMPLETED
    app.provider.send_answer, app.provider.requery_answer = NO_ANSWER, NO_ANSWER
    app.payment_in_doubt(900)
    app.pay(100)
    app.clock.sleep(7)
    app.bv.refresh_account_status()
    app.bv.sweep()
    app.bv.deliver_notifications()
    app.webhook.result = DeliveryResult(DeliveryOutcome.FAILED, "https://shop.example", "HTTP 500", 500)
    app.bv.fund("ada", 1)
    app.bv.deliver_notifications()
    client = app.client
    assert client.get("/transactions/nothing").status_code == 404
    assert client.post("/bills/pay/batch", {"payments": [{**BILL, "userId": "unknown"}]}).status_code == 207


EXPECTED_SAMPLES = [
    ("payments_accepted_total", {"biller": "EKEDC", "vend_type": "prepaid"}, 5),
    ("payments_accepted_amount_total", {"currency": "NGN"}, 500 + 700 + 800 + 900 + 100),
    ("payments_doubted_total", {"provider": "acme"}, 2),
    ("payments_completed_total", {"provider": "acme"}, 2),
    ("payments_reversed_total", {"proof": "declined"}, 1),
    ("payments_reversed_total", {"proof": "operator"}, 0),
    ("payment_settle_seconds_count", {"status": "completed"}, 2),
    ("payment_settle_seconds_sum", {"status": "completed"}, 60),
    ("payment_settle_seconds_sum", {"status": "reversed"}, 5),
    ("payment_doubt_seconds_count", {"status": "completed"}, 1),
    ("payment_doubt_seconds_sum", {"status": "completed"}, 60),
    ("payment_doubt_seconds_bucket", {"status": "completed", "le": "30.0"}, 0),
    ("payment_doubt_seconds_bucket", {"status": "completed", "le": "60.0"}, 1),
    ("payment_doubt_seconds_count", {"status": "reversed"}, 0),
    ("provider_answers_total", {"provider": "acme", "call": "send", "outcome": "delivered"}, 1),
    ("provider_answers_total", {"provider": "acme", "call": "send", "outcome": "declined"}, 1),
    ("provider_answers_total", {"provider": "acme", "call": "send", "outcome": "unknown"}, 2),
    ("provider_answers_total", {"provider": "acme", "call": "requery", "outcome": "delivered"}, 1),
    ("provider_answer_seconds_count", {"provider": "acme", "call": "send"}, 4),
    ("refusals_total", {"code": "transaction_not_found"}, 1),
    ("refusals_total", {"code": "wallet_not_found"}, 1),
    ("refusals_total", {"code": "internal"}, 0),
    ("fundings_total", {"source": "paystack"}, 1),
    ("fundings_total", {"source": "other"}, 1),
    ("fundings_total", {"source": "till-7"}, None),
    ("fundings_amount_total", {"currency": "NGN"}, 1501.5),
    ("sweeps_total", {}, 1),
    ("sweep_found_total", {}, 1),
    ("sweep_enqueued_total", {}, 1),
    ("notifications_total", {"channel": "webhook", "outcome": "delivered"}, 5),
    ("notifications_total", {"channel": "webhook", "outcome": "failed"}, 1),
    ("notifications_given_up_total", {"channel": "webhook"}, 0),
    ("up", {"part": "database"}, 1),
    ("up", {"part": "queue"}, 1),
    ("queue_depth", {"queue": "payments"}, 5 + 1),
    ("queue_depth", {"queue": "reversals"}, 1),
    ("payments", {"status": "pending"}, 1),
    ("payments", {"status": "in_doubt"}, 1),
    ("payments", {"status": "in_review"}, 0),
    ("payments", {"status": "completed"}, None),
    ("payments_amount", {"status": "in_doubt", "currency": "NGN"}, 900),
    ("payments_amount", {"status": "in_review", "currency": "NGN"}, 0),
    ("payments_due", {}, 1),
    ("oldest_due_seconds", {}, 7),
    ("incidents_open", {}, 0),
    ("provider_selling", {"provider": "acme"}, 1),
    ("provider_in_doubt_amount", {"provider": "acme", "currency": "NGN"}, 900),
    ("provider_float_amount", {"provider": "acme", "currency": "NGN"}, 1_000_000),
    ("providers_unconfigured", {}, 0),
    ("webhook_endpoints_disabled", {}, 0),
]


def test_metrics_of_sample_payments_are_exact(app: MeteredApp) -> None:
    run_sample_payments(app)
    measured = [(name, labels, app.value(name, **labels)) for name, labels, _ in EXPECTED_SAMPLES]
    assert measured == EXPECTED_SAMPLES


def test_metrics_response_is_plain_text(app: MeteredApp) -> None:
    answer = app.client.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text.startswith("# HELP billvend_")
    assert "_created" not in answer.text


def test_labels_contain_no_customer_data(app: MeteredApp) -> None:
    run_sample_payments(app)
    values = {value for sample in app.samples() for value in sample.labels.values()}
    assert not [
        value for value in values if value in ("ada", METER, TOKEN) or value.startswith(("id-", "acme/"))
    ]


def test_open_incidents_are_counted(app: MeteredApp) -> None:
    payment = app.settle(app.pay(500))
    app.provider.requery_answer = Declined("reversed", about_transaction=True, provider_reversed=True)
    app.bv.refresh(payment.transaction_id)
    assert app.incidents(payment)
    assert app.value("incidents_open") == 1
    app.bv.resolve(payment.transaction_id, operator="eve", reason="spoke to them", decision="acknowledged")
    assert app.value("incidents_open") == 0


def test_failed_notifications_and_disabled_endpoints_are_counted(app: MeteredApp) -> None:
    app.webhook.result = DeliveryResult(DeliveryOutcome.REJECTED, "https://shop.example", "HTTP 400", 400)
    app.bv.fund("ada", 1)
    app.bv.deliver_notifications()
    assert app.value("notifications_given_up_total", channel="webhook") == 1
    app.webhook.result = DeliveryResult(DeliveryOutcome.GONE, "https://shop.example", "HTTP 410", 410)
    app.bv.fund("ada", 1)
    app.bv.deliver_notifications()
    assert app.value("webhook_endpoints_disabled") == 1
    assert app.value("notifications_total", channel="webhook", outcome="gone") == 1


def test_suspended_and_unconfigured_providers_are_shown(app: MeteredApp) -> None:
    app.payment_in_doubt(500)
    app.use(limits=replace(app.deps.limits, max_in_doubt_major="100"))
    app.bv.refresh_account_status()
    assert app.value("provider_selling", provider="acme") == 0
    app.use(providers={})
    assert app.value("providers_unconfigured") == 1


def test_batch_size_is_observed(app: MeteredApp) -> None:
    app.pay_many(3)
    assert app.value("batch_commands_bucket", le="2.0") == 0
    assert app.value("batch_commands_bucket", le="5.0") == 1
    assert app.value("batch_commands_sum") == 3


def test_replay_is_counted_once(app: MeteredApp) -> None:
    for _ in range(2):
        app.bv.fund("ada", 5, key="k1")
        app.pay(500, key="k2")
    assert app.value("fundings_total", source="manual") == 1
    assert app.value("payments_accepted_total", biller="EKEDC", vend_type="prepaid") == 1


class UnavailableDependency:
    """A dependency that is down: every call fails."""

    def __getattr__(self, _name: str) -> NoReturn:
        raise Unavailable("It is down.")


def test_unavailable_dependency_is_shown_as_down(app: MeteredApp) -> None:
    app.settle(app.pay(500))
    queue, queries = app.deps.queue, app.deps.queries
    app.use(queue=UnavailableDependency())
    assert (app.value("up", part="queue"), app.value("queue_depth", queue="payments")) == (0, None)
    assert app.value("payments", status="pending") == 0
    app.use(queue=queue, queries=UnavailableDependency())
    assert (app.value("up", part="database"), app.value("up", part="queue")) == (0, 1)
    assert app.value("payments", status="pending") is None
    assert app.value("payments_completed_total", provider="acme") == 1
    app.use(queries=queries)


def test_failing_metrics_do_not_affect_payments(app: MeteredApp, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_given: object, **_labels: object) -> NoReturn:
        raise OSError("No space left on device")

    for family in vars(app.measures).values():
        for method in ("labels", "inc", "observe"):
            if hasattr(family, method):
                monkeypatch.setattr(family, method, full)
    app.bv.fund("ada", 5)
    assert app.settle(app.pay(500)).status is Status.COMPLETED
    assert app.settle(app.payment_in_doubt(500)).status is Status.IN_DOUBT
    app.bv.sweep()
    assert app.bv.deliver_notifications() > 0
    assert app.client.get("/transactions/nothing").status_code == 404
    monkeypatch.undo()
    assert app.value("payments_completed_total", provider="acme") == 0


def test_internal_error_is_counted(app: MeteredApp, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_bv: Billvend) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(Billvend, "billers", broken)
    assert app.client.get("/billers").status_code == 500
    assert app.value("refusals_total", code="internal") == 1


def test_rejection_is_counted_under_its_public_code(app: MeteredApp, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrongly_set(_bv: Billvend) -> NoReturn:
        raise ConfigurationError("DATABASE_URL is wrong.")

    monkeypatch.setattr(Billvend, "billers", wrongly_set)
    for ask, path in ((app.client.get, "/billers"), (app.client.get, "/nowhere")):
        code = code_of(ask(path))
        assert app.value("refusals_total", code=code) == 1, code
    code = code_of(app.client.post("/billers", {}))
    assert (code, app.value("refusals_total", code=code)) == ("method_not_allowed", 1)
    assert app.value("refusals_total", code="unavailable") == 1


def test_counters_start_at_zero(app: MeteredApp) -> None:
    """A counter that appears with its first event hides that event from `rate`."""
    assert app.value("payments_doubted_total", provider="acme") == 0
    assert app.value("payments_completed_total", provider="acme") == 0


# --- dashboard and alerts ---------------------------------------------------------------------------------------------

_SELECTOR = re.compile(r"(?<![\w{])((?:billvend_|up\b)[a-z_]*)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|=)"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on) \(([^)]*)\)")


@pytest.fixture(scope="module")
def exported_samples() -> Iterator[list[Sample]]:
    with ExitStack() as stack:
        app = MeteredApp()
        stack.callback(app.close)
        run_sample_payments(app)
        yield app.samples()


def expressions() -> list[tuple[str, str, str]]:
    """Place, expression, and a text where {{label}} is a label of the result."""
    rules = [
        rule
        for group in yaml.safe_load((DOCS / "alerts.yml").read_text("utf-8"))["groups"]
        for rule in group["rules"]
    ]
    panels = json.loads((DOCS / "grafana-dashboard.json").read_text("utf-8"))["panels"]
    listed = [(rule["alert"], rule["expr"], str(rule["annotations"])) for rule in rules]
    listed += [
        (panel["title"], target["expr"], target["legendFormat"])
        for panel in panels
        for target in panel.get("targets", [])
    ]
    return listed


def matching_samples(samples: list[Sample], name: str, matchers: str) -> list[Sample]:
    conditions = _MATCHER.findall(matchers)
    assert _MATCHER.sub("", matchers).strip(", ") == "", f"not understood: {matchers}"
    return [
        sample
        for sample in samples
        if sample.name == name
        and all(
            label in sample.labels
            and (re.fullmatch(value, sample.labels[label]) if kind == "=~" else sample.labels[label] == value)
            for label, kind, value in conditions
        )
    ]


@pytest.mark.parametrize(("where", "expression", "text"), expressions())
def test_dashboard_and_alert_expressions_match_metrics(
    exported_samples: list[Sample], where: str, expression: str, text: str
) -> None:
    selectors = _SELECTOR.findall(expression)
    assert selectors, where
    labels = {"instance"}
    for name, matchers in selectors:
        if name == "up":  # made by Prometheus
            continue
        matching = matching_samples(exported_samples, name, matchers)
        assert matching, f"{where}: nothing is exported for {name} {matchers}"
        # The other side of an "unless" or an "and" may have fewer labels, so each grouping needs one selector that has them.
        labels |= {label for sample in matching for label in sample.labels}
    groupings = [
        {label.strip() for label in group.split(",") if label.strip()}
        for group in _GROUPING.findall(expression)
    ]
    assert set().union(*groupings) <= labels, where
    used_labels = set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)", text)) - {"value"}
    outer = groupings[0] | {"instance"} if groupings else labels
    assert used_labels <= outer, where


def test_alert_rules_are_complete() -> None:
    groups = yaml.safe_load((DOCS / "alerts.yml").read_text("utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 10
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["action"]


def test_docs_list_every_metric_with_its_labels(exported_samples: list[Sample]) -> None:
    rows = re.findall(
        r"^\| `(billvend_\w+)` \|([^|]*)\|", (DOCS / "metrics.md").read_text("utf-8"), re.MULTILINE
    )
    page = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert len(page) == len(rows)
    exported: dict[str, set[str]] = {}
    for sample in exported_samples:
        is_histogram = sample.name.endswith(("_bucket", "_sum", "_count"))
        name = sample.name.rpartition("_")[0] if is_histogram else sample.name
        exported[name] = exported.get(name, set()) | (set(sample.labels) - {"le"})
    assert page == exported


# --- processes --------------------------------------------------------------------------------------------------------

_PAYING_PROGRAM = textwrap.dedent("""
    import sys
    from billvend import open_billvend

    url, payments = sys.argv[1], int(sys.argv[2])
    with open_billvend(url) as one, open_billvend(url) as other:  # neither may hide the counts of the other
        for number in range(payments):
            bv = (one, other)[number % 2]
            bv.pay("ada", 500, meter="12345678901", biller="EKEDC", allow_duplicate=True)
        print("ready", flush=True)
        sys.stdin.readline()
        print(one.metrics(), end="", flush=True)
""")


def start_paying_process(stack: ExitStack, url: str, payments: int, shared: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", _PAYING_PROGRAM, url, str(payments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(shared)},
        cwd=shared.parent,
    )
    stack.enter_context(process)
    stack.callback(process.kill)
    return process


def test_processes_sum_counters_but_not_gauges(tmp_path: Path) -> None:
    url, shared = f"sqlite:///{tmp_path / 'shop.db'}", tmp_path / "shared"
    shared.mkdir()
    with open_billvend(url) as bv:
        bv.fund("ada", 5000)
    with ExitStack() as stack:
        processes = [start_paying_process(stack, url, payments, shared) for payments in (2, 3)]
        for each in processes:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        texts = [each.communicate("now\n", timeout=PATIENCE_SECONDS)[0] for each in processes]
    for text in texts:
        values = {(sample.name, *sample.labels.values()): sample.value for sample in parse_samples(text)}
        assert values["billvend_payments_accepted_total", "EKEDC", "prepaid"] == 5
        assert values["billvend_payments_accepted_amount_total", "NGN"] == 2500
        assert values["billvend_payments", "pending"] == 5
        assert values["billvend_payments_amount", "NGN", "pending"] == 2500
        assert values["billvend_payments_due",] == 5
        assert values["billvend_up", "database"] == 1
        assert values["billvend_sweeps_total",] == 0
        assert not [sample for sample in parse_samples(text) if "pid" in sample.labels]
    assert {line for line in texts[0].splitlines() if line.startswith("#")} == {
        line for line in texts[1].splitlines() if line.startswith("#")
    }


def test_two_instances_in_one_process_count_separately() -> None:
    one, other = MeteredApp(), MeteredApp()
    one.bv.fund("ada", 5)
    assert one.value("fundings_total", source="manual") == 1
    assert other.value("fundings_total", source="manual") is None
    one.close()
    other.close()


# --- the metrics port of a worker -------------------------------------------------------------------------------------


def get_metrics(port: int | None, path: str = "/metrics") -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_SECONDS, trust_env=False)


def test_metrics_server_listens_on_loopback_until_closed() -> None:
    with serve_metrics(lambda: "billvend_x 1\n", 0) as port:
        answer = get_metrics(port)
        assert (answer.status_code, answer.text) == (200, "billvend_x 1\n")
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert get_metrics(port, "/").status_code == 404
        message = f"METRICS_PORT: nothing can listen on 127.0.0.1:{port}"
        with pytest.raises(ConfigurationError, match=message), serve_metrics(str, port):
            pass
    with pytest.raises(httpx.ConnectError):
        get_metrics(port)


def test_metrics_server_returns_500_on_failure() -> None:
    def broken() -> NoReturn:
        raise ZeroDivisionError

    with serve_metrics(broken, 0) as port:
        assert get_metrics(port).status_code == 500


def test_metrics_server_is_off_without_port() -> None:
    with serve_metrics(str, None) as port:
        assert port is None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_worker_serves_metrics_at_metrics_port(tmp_path: Path) -> None:
    port = free_port()
    environment = {**os.environ, "METRICS_PORT": str(port), "DATABASE_URL": "sqlite:///shop.db"}
    with ExitStack() as stack:
        worker = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "billvend", "worker"],
                env=environment,
                cwd=tmp_path,
                stderr=subprocess.PIPE,
            )
        )
        stack.callback(worker.kill)
        sweeps, give_up_at = 0.0, time.monotonic() + PATIENCE_SECONDS
        while not sweeps:
            assert worker.poll() is None
            assert time.monotonic() < give_up_at
            try:
                samples = parse_samples(get_metrics(port).text)
            except httpx.TransportError:  # it does not listen yet
                time.sleep(0.05)
                continue
            (sweeps,) = (sample.value for sample in samples if sample.name == "billvend_sweeps_total")
        worker.terminate()
        _, errors = worker.communicate(timeout=PATIENCE_SECONDS)
    assert (worker.returncode, b"Traceback" in errors) == (0, False)
