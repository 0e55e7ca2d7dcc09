"""The metrics: what is counted in a story, what the files for watchers ask for, and several processes together."""

import json
import os
import re
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
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
from billvend.adapters.storage.group_commit import GroupCommit
from billvend.config import Settings
from billvend.domain.enums import Status
from billvend.domain.notifications import Channel
from billvend.domain.outcome import Declined, Delivered
from billvend.ports.notifier import DeliveryOutcome, DeliveryResult
from billvend.ports.outbox import Message
from billvend.ports.queue import Hint, QueueName
from tests.api.client import BILL, Client, application, code_of
from tests.usecases.shop import ANOTHER, METER, SILENCE, TOKEN, Shop, closing

DOCS = Path(__file__).parent.parent.parent / "docs"
PATIENCE_SECONDS = 60.0

# --- a story ----------------------------------------------------------------------------------------------------------


class Outside:
    """A channel whose other side says what the test wrote down."""

    endpoint = "one"

    def __init__(self) -> None:
        self.says = DeliveryResult(DeliveryOutcome.DELIVERED, "https://shop.example", "HTTP 200", 200)

    def deliver(self, _message: Message) -> DeliveryResult:
        return self.says

    def close(self) -> None: ...


class Full:
    """A queue that takes all hints; nobody reads them."""

    backend = "test"

    def __init__(self) -> None:
        self.hints = dict.fromkeys(QueueName, 0)

    def enqueue(self, queue: QueueName, hints: Sequence[Hint]) -> int:
        self.hints[queue] += len(hints)
        return len(hints)

    def enqueue_nowait(self, queue: QueueName, hints: Sequence[Hint]) -> None:
        self.enqueue(queue, hints)

    def depth(self) -> dict[QueueName, int]:
        return self.hints

    def consume(self, *_given: object, **_named: object) -> NoReturn:
        raise AssertionError("nobody reads here")

    def close(self) -> None: ...


class Watched(Shop):
    """A shop whose doings are counted, as an open billvend's are. Its first funding was before that."""

    def __init__(self) -> None:
        self.webhook = Outside()
        super().__init__(notifiers={Channel.WEBHOOK: self.webhook})
        self.bv.deliver_notifications()
        self.measures = PrometheusMetrics()
        journal = GroupCommit(self.parts.journal, measures=self.measures)
        self.use(journal=journal, metrics=self.measures, queue=Full())

    def use(self, **parts: Any) -> None:
        self.parts = replace(self.parts, **parts)
        self.bv = Billvend(self.parts)

    @property
    def client(self) -> Client:
        return Client(application(self.bv, Settings(database_url="sqlite://", rate_limit="0")))

    def value(self, name: str, **labels: str) -> float | None:
        """What GET /metrics says of a figure; None where it is not there."""
        found = {
            each.value for each in self.samples() if each.name == f"billvend_{name}" and each.labels == labels
        }
        assert len(found) <= 1
        return found.pop() if found else None

    def samples(self) -> list[Sample]:
        return parsed(self.client.get("/metrics").text)


def parsed(text: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


@pytest.fixture
def shop() -> Iterator[Watched]:
    shop = Watched()
    for _ in closing(shop):
        yield shop


def tell_the_story(shop: Watched) -> None:
    """One payment completed, one reversed, one completed after a minute of doubt, one in doubt, one that waits."""
    shop.bv.fund("ada", "1000.50", source="till-7")
    shop.bv.fund("ada", 500, source="paystack")
    shop.settled(shop.pay(500))
    shop.company.sells = Declined("no such meter")
    shop.pay(700)
    shop.clock.sleep(5)
    shop.work()
    doubtful = shop.in_doubt(800)
    shop.clock.sleep(60)
    shop.company.tells = Delivered(ANOTHER)
    shop.work()
    assert shop.now(doubtful).status is Status.COMPLETED
    shop.company.sells, shop.company.tells = SILENCE, SILENCE
    shop.in_doubt(900)
    shop.pay(100)
    shop.clock.sleep(7)
    shop.bv.refresh_account_status()
    shop.bv.sweep()
    shop.bv.deliver_notifications()
    shop.webhook.says = DeliveryResult(DeliveryOutcome.FAILED, "https://shop.example", "HTTP 500", 500)
    shop.bv.fund("ada", 1)
    shop.bv.deliver_notifications()
    client = shop.client
    assert client.get("/transactions/nothing").status_code == 404
    assert client.post("/bills/pay/batch", {"payments": [{**BILL, "userId": "nobody"}]}).status_code == 207


TOLD = [
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


def test_what_a_story_is_told_as(shop: Watched) -> None:
    tell_the_story(shop)
    found = [(name, labels, shop.value(name, **labels)) for name, labels, _ in TOLD]
    assert found == TOLD


def test_it_is_text_and_no_envelope(shop: Watched) -> None:
    answer = shop.client.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text.startswith("# HELP billvend_")
    assert "_created" not in answer.text


def test_no_label_names_a_user_a_meter_or_a_transaction(shop: Watched) -> None:
    tell_the_story(shop)
    values = {value for sample in shop.samples() for value in sample.labels.values()}
    assert not [
        value for value in values if value in ("ada", METER, TOKEN) or value.startswith(("id-", "acme/"))
    ]


def test_what_needs_a_person_is_shown(shop: Watched) -> None:
    payment = shop.settled(shop.pay(500))
    shop.company.tells = Declined("reversed", about_transaction=True, provider_reversed=True)
    shop.bv.refresh(payment.transaction_id)
    assert shop.incidents(payment)
    assert shop.value("incidents_open") == 1
    shop.bv.resolve(payment.transaction_id, operator="eve", reason="spoke to them", decision="acknowledged")
    assert shop.value("incidents_open") == 0


def test_what_is_given_up_and_who_wants_no_more(shop: Watched) -> None:
    shop.webhook.says = DeliveryResult(DeliveryOutcome.REJECTED, "https://shop.example", "HTTP 400", 400)
    shop.bv.fund("ada", 1)
    shop.bv.deliver_notifications()
    assert shop.value("notifications_given_up_total", channel="webhook") == 1
    shop.webhook.says = DeliveryResult(DeliveryOutcome.GONE, "https://shop.example", "HTTP 410", 410)
    shop.bv.fund("ada", 1)
    shop.bv.deliver_notifications()
    assert shop.value("webhook_endpoints_disabled") == 1
    assert shop.value("notifications_total", channel="webhook", outcome="gone") == 1


def test_a_provider_that_does_not_sell_and_one_that_is_gone(shop: Watched) -> None:
    shop.in_doubt(500)
    shop.use(limits=replace(shop.parts.limits, max_in_doubt_major="100"))
    shop.bv.refresh_account_status()
    assert shop.value("provider_selling", provider="acme") == 0
    shop.use(providers={})
    assert shop.value("providers_unconfigured") == 1


def test_a_batch_is_counted_by_its_size(shop: Watched) -> None:
    shop.pay_many(3)
    assert shop.value("batch_commands_bucket", le="2.0") == 0
    assert shop.value("batch_commands_bucket", le="5.0") == 1
    assert shop.value("batch_commands_sum") == 3


def test_a_replay_counts_once(shop: Watched) -> None:
    for _ in range(2):
        shop.bv.fund("ada", 5, key="k1")
        shop.pay(500, key="k2")
    assert shop.value("fundings_total", source="manual") == 1
    assert shop.value("payments_accepted_total", biller="EKEDC", vend_type="prepaid") == 1


class Away:
    """A part that is away, whatever it is asked."""

    def __getattr__(self, _name: str) -> NoReturn:
        raise Unavailable("It is away.")


def test_what_is_away_is_told(shop: Watched) -> None:
    shop.settled(shop.pay(500))
    queue, books = shop.parts.queue, shop.parts.queries
    shop.use(queue=Away())
    assert (shop.value("up", part="queue"), shop.value("queue_depth", queue="payments")) == (0, None)
    assert shop.value("payments", status="pending") == 0
    shop.use(queue=queue, queries=Away())
    assert (shop.value("up", part="database"), shop.value("up", part="queue")) == (0, 1)
    assert shop.value("payments", status="pending") is None
    assert shop.value("payments_completed_total", provider="acme") == 1
    shop.use(queries=books)


def test_no_money_hangs_on_a_figure(shop: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_given: object, **_labels: object) -> NoReturn:
        raise OSError("No space left on device")

    for family in vars(shop.measures).values():
        for method in ("labels", "inc", "observe"):
            if hasattr(family, method):
                monkeypatch.setattr(family, method, full)
    shop.bv.fund("ada", 5)
    assert shop.settled(shop.pay(500)).status is Status.COMPLETED
    assert shop.settled(shop.in_doubt(500)).status is Status.IN_DOUBT
    shop.bv.sweep()
    assert shop.bv.deliver_notifications() > 0
    assert shop.client.get("/transactions/nothing").status_code == 404
    monkeypatch.undo()
    assert shop.value("payments_completed_total", provider="acme") == 0


def test_a_bug_is_counted(shop: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_bv: Billvend) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(Billvend, "billers", broken)
    assert shop.client.get("/billers").status_code == 500
    assert shop.value("refusals_total", code="internal") == 1


def test_a_refusal_is_counted_under_the_code_that_is_told(
    shop: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrongly_set(_bv: Billvend) -> NoReturn:
        raise ConfigurationError("DATABASE_URL is wrong.")

    monkeypatch.setattr(Billvend, "billers", wrongly_set)
    for ask, path in ((shop.client.get, "/billers"), (shop.client.get, "/nowhere")):
        code = code_of(ask(path))
        assert shop.value("refusals_total", code=code) == 1, code
    code = code_of(shop.client.post("/billers", {}))
    assert (code, shop.value("refusals_total", code=code)) == ("method_not_allowed", 1)
    assert shop.value("refusals_total", code="unavailable") == 1


def test_what_has_not_happened_yet_is_told_as_0(shop: Watched) -> None:
    """A rate over a figure that appears with its first event misses that event."""
    assert shop.value("payments_doubted_total", provider="acme") == 0
    assert shop.value("payments_completed_total", provider="acme") == 0


# --- the files for watchers -------------------------------------------------------------------------------------------

_SELECTOR = re.compile(r"(?<![\w{])((?:billvend_|up\b)[a-z_]*)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|=)"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on) \(([^)]*)\)")


@pytest.fixture(scope="module")
def exported() -> Iterator[list[Sample]]:
    with ExitStack() as stack:
        shop = Watched()
        stack.callback(shop.close)
        tell_the_story(shop)
        yield shop.samples()


def expressions() -> list[tuple[str, str, str]]:
    """Where an expression stands, itself, and a text in which {{label}} stands for a label of its result."""
    rules = [
        rule
        for group in yaml.safe_load((DOCS / "alerts.yml").read_text("utf-8"))["groups"]
        for rule in group["rules"]
    ]
    panels = json.loads((DOCS / "grafana-dashboard.json").read_text("utf-8"))["panels"]
    found = [(rule["alert"], rule["expr"], str(rule["annotations"])) for rule in rules]
    found += [
        (panel["title"], target["expr"], target["legendFormat"])
        for panel in panels
        for target in panel.get("targets", [])
    ]
    return found


def matched(samples: list[Sample], name: str, matchers: str) -> list[Sample]:
    wanted = _MATCHER.findall(matchers)
    assert _MATCHER.sub("", matchers).strip(", ") == "", f"not understood: {matchers}"
    return [
        sample
        for sample in samples
        if sample.name == name
        and all(
            label in sample.labels
            and (re.fullmatch(value, sample.labels[label]) if kind == "=~" else sample.labels[label] == value)
            for label, kind, value in wanted
        )
    ]


@pytest.mark.parametrize(("where", "expression", "text"), expressions())
def test_what_the_dashboard_and_the_alerts_ask_for_is_there(
    exported: list[Sample], where: str, expression: str, text: str
) -> None:
    selectors = _SELECTOR.findall(expression)
    assert selectors, where
    labels = {"instance"}
    for name, matchers in selectors:
        if name == "up":  # Prometheus's own
            continue
        found = matched(exported, name, matchers)
        assert found, f"{where}: nothing is exported for {name} {matchers}"
        # The other side of an "unless" or of an "and" may have fewer labels: each grouping is of some selector's.
        labels |= {label for sample in found for label in sample.labels}
    groupings = [
        {label.strip() for label in group.split(",") if label.strip()}
        for group in _GROUPING.findall(expression)
    ]
    assert set().union(*groupings) <= labels, where
    shown = set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)", text)) - {"value"}
    outer = groupings[0] | {"instance"} if groupings else labels
    assert shown <= outer, where


def test_the_alerts_cover_what_may_go_wrong() -> None:
    groups = yaml.safe_load((DOCS / "alerts.yml").read_text("utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 10
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["action"]


def test_every_metric_stands_in_the_page_with_its_labels_and_no_other(exported: list[Sample]) -> None:
    rows = re.findall(
        r"^\| `(billvend_\w+)` \|([^|]*)\|", (DOCS / "metrics.md").read_text("utf-8"), re.MULTILINE
    )
    page = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert len(page) == len(rows)
    found: dict[str, set[str]] = {}
    for sample in exported:
        is_histogram = sample.name.endswith(("_bucket", "_sum", "_count"))
        name = sample.name.rpartition("_")[0] if is_histogram else sample.name
        found[name] = found.get(name, set()) | (set(sample.labels) - {"le"})
    assert page == found


# --- processes --------------------------------------------------------------------------------------------------------

_TILL = textwrap.dedent("""
    import sys
    from billvend import open_billvend

    url, payments = sys.argv[1], int(sys.argv[2])
    with open_billvend(url) as one, open_billvend(url) as other:  # neither may cover what the other counts
        for number in range(payments):
            bv = (one, other)[number % 2]
            bv.pay("ada", 500, meter="12345678901", biller="EKEDC", allow_duplicate=True)
        print("ready", flush=True)
        sys.stdin.readline()
        print(one.metrics(), end="", flush=True)
""")


def till(stack: ExitStack, url: str, payments: int, shared: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", _TILL, url, str(payments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(shared)},
        cwd=shared.parent,
    )
    stack.enter_context(process)
    stack.callback(process.kill)
    return process


def test_processes_add_up_what_they_count_and_not_what_stands_in_the_books(tmp_path: Path) -> None:
    url, shared = f"sqlite:///{tmp_path / 'shop.db'}", tmp_path / "shared"
    shared.mkdir()
    with open_billvend(url) as bv:
        bv.fund("ada", 5000)
    with ExitStack() as stack:
        tills = [till(stack, url, payments, shared) for payments in (2, 3)]
        for each in tills:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        texts = [each.communicate("now\n", timeout=PATIENCE_SECONDS)[0] for each in tills]
    for text in texts:
        told_ = {(sample.name, *sample.labels.values()): sample.value for sample in parsed(text)}
        assert told_["billvend_payments_accepted_total", "EKEDC", "prepaid"] == 5
        assert told_["billvend_payments_accepted_amount_total", "NGN"] == 2500
        assert told_["billvend_payments", "pending"] == 5
        assert told_["billvend_payments_amount", "NGN", "pending"] == 2500
        assert told_["billvend_payments_due",] == 5
        assert told_["billvend_up", "database"] == 1
        assert told_["billvend_sweeps_total",] == 0
        assert not [sample for sample in parsed(text) if "pid" in sample.labels]
    assert {line for line in texts[0].splitlines() if line.startswith("#")} == {
        line for line in texts[1].splitlines() if line.startswith("#")
    }


def test_counts_of_two_in_one_process_are_their_own() -> None:
    one, other = Watched(), Watched()
    one.bv.fund("ada", 5)
    assert one.value("fundings_total", source="manual") == 1
    assert other.value("fundings_total", source="manual") is None
    one.close()
    other.close()


# --- a worker's own port ----------------------------------------------------------------------------------------------


def asked(port: int | None, path: str = "/metrics") -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_SECONDS, trust_env=False)


def test_metrics_are_told_on_loopback_as_long_as_asked() -> None:
    with serve_metrics(lambda: "billvend_x 1\n", 0) as port:
        answer = asked(port)
        assert (answer.status_code, answer.text) == (200, "billvend_x 1\n")
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert asked(port, "/").status_code == 404
        taken = f"METRICS_PORT: nothing can listen on 127.0.0.1:{port}"
        with pytest.raises(ConfigurationError, match=taken), serve_metrics(str, port):
            pass
    with pytest.raises(httpx.ConnectError):
        asked(port)


def test_metrics_that_cannot_be_told_are_no_end() -> None:
    def broken() -> NoReturn:
        raise ZeroDivisionError

    with serve_metrics(broken, 0) as port:
        assert asked(port).status_code == 500


def test_without_a_port_nothing_is_told() -> None:
    with serve_metrics(str, None) as port:
        assert port is None


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_worker_tells_its_metrics_at_metrics_port(tmp_path: Path) -> None:
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
                found = parsed(asked(port).text)
            except httpx.TransportError:  # not yet
                time.sleep(0.05)
                continue
            (sweeps,) = (sample.value for sample in found if sample.name == "billvend_sweeps_total")
        worker.terminate()
        _, errors = worker.communicate(timeout=PATIENCE_SECONDS)
    assert (worker.returncode, b"Traceback" in errors) == (0, False)
