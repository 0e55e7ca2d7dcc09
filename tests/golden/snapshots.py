"""The public interface of billvend and its stored data as texts. Each function makes one file in this folder.

The files are for diffs: they show what a change of the code changes for users and for stored data.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, redirect_stdout
from dataclasses import replace
from http import HTTPStatus
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Any

import psycopg
from prometheus_client.parser import text_string_to_metric_families
from typer.main import get_command

from billvend.adapters.storage.rows import event_row, outbox_message_rows
from billvend.cli import app, main
from billvend.config import SECRET_NAMES, SETTING_NAMES, Settings
from billvend.domain.errors import BillvendError
from billvend.domain.journal import codec
from billvend.domain.journal.events import PaymentCompleted, StoredEvent
from billvend.domain.notifications import Channel
from billvend.domain.payment.state import Payment
from billvend.domain.policy.rules import next_step
from billvend.ports.repositories import DeliveryAttempt, Message
from billvend.presentation.errors import Exit, statuses_of
from billvend.presentation.models import dumps
from billvend.presentation.notifications import notification_for
from billvend.presentation.operator_models import NotificationResponse
from billvend.testing.fault_server import FaultServer, http_response, send_and_keep_open
from tests.domain import test_codec, test_events
from tests.domain.model_ledger import NOON
from tests.domain.test_reversal import CELLS, DIMENSIONS, Cell, payments_of, policy_of, step_name
from tests.golden.documents import documents, lifecycles, views
from tests.golden.screens import screens
from tests.metrics.test_metrics import MeteredApp, run_sample_payments
from tests.notify import test_mail, test_webhook
from tests.notify.smtp_server import run_smtp_server
from tests.test_cli_docs import help_text

HERE = Path(__file__).parent
KEY_CHANGE = {"kct1": "1" * 20, "kct2": "2" * 20, "tax": "34.88", "receiptNumber": "R-1"}


# --- HTTP, the command line, settings ---------------------------------------------------------------------------------


def openapi() -> str:
    """The OpenAPI document without the installed version and the phrases of the HTTP statuses."""
    with closing(MeteredApp()) as app:
        document = app.client.get("/api/openapi.json").get_json()
    document["info"]["version"] = "-"
    text = json.dumps(_sorted(document), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    for status in HTTPStatus:  # the phrases differ between versions of Python
        text = text.replace(f'"description": "{status.phrase}"', '"description": "-"')
    return text


def _sorted(value: Any) -> Any:
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: sorted(item) if name == "required" and isinstance(item, list) else _sorted(item)
        for name, item in value.items()
    }


def cli() -> str:
    """`--help` of every command and every group."""

    def walk(command: Any, *words: str) -> Iterator[str]:
        yield f"$ billvend {' '.join((*words, '--help'))}\n{help_text(*words)}\n"
        for name, each in sorted(getattr(command, "commands", {}).items()):
            yield from walk(each, *words, name)

    return "\n".join(walk(get_command(app)))


def settings() -> str:
    """Each setting with its default and the JSON Schema of its value."""
    schemas = Settings.model_json_schema()["properties"]
    for schema in schemas.values():
        schema.pop("title", None)
        schema.pop("description", None)
    return _lines(
        [
            f"{name} = {json.dumps(schema.pop('default'))}  {json.dumps(schema, sort_keys=True)}"
            for name in SETTING_NAMES
            for schema in [schemas[name.lower()]]
        ]
        + [f"{name}_FILE  the file with {name}" for name in SECRET_NAMES]
    )


def errors() -> str:
    """The exit statuses, and every error with its HTTP status and its exit status."""

    def below(kind: type[BillvendError]) -> Iterator[type[BillvendError]]:
        yield kind
        for each in sorted(kind.__subclasses__(), key=lambda each: each.__name__):
            yield from below(each) if each.__module__.startswith("billvend.") else ()

    exits = [f"exit {status.value} {status.name}" for status in Exit]
    kinds = [
        f"{kind.__name__}({kind.__base__.__name__ if kind.__base__ else ''}): {kind.code}, "
        "HTTP {0.value}, exit {1.value}".format(*statuses_of(kind))
        for kind in below(BillvendError)
    ]
    return _lines([*exits, "", *kinds])


# --- metrics ----------------------------------------------------------------------------------------------------------


def metrics() -> str:
    """Every metric with its labels, and the samples that exist before the first event."""
    with closing(MeteredApp()) as app:
        initial = {family.name: family for family in _families(app)}
        run_sample_payments(app)
        return _lines(line for family in _families(app) for line in _metric(family, initial.get(family.name)))


def _families(app: MeteredApp) -> list[Any]:
    return list(text_string_to_metric_families(app.client.get("/metrics").text))


def _metric(family: Any, initial: Any) -> Iterator[str]:
    yield f"{family.name} ({family.type}): {family.documentation}"
    labels = {sample.name: ", ".join(sample.labels) for sample in family.samples}
    yield from (f"  {name}({names})" for name, names in sorted(labels.items()))
    if bounds := dict.fromkeys(sample.labels["le"] for sample in family.samples if "le" in sample.labels):
        yield f"  le: {', '.join(bounds)}"
    at_start = [sample for sample in initial.samples if "le" not in sample.labels] if initial else []
    yield from sorted(
        f"  at the start: {sample.name}({', '.join(f'{name}={value}' for name, value in sample.labels.items())})"
        for sample in at_start
    )


# --- stored data ------------------------------------------------------------------------------------------------------


def events() -> str:
    """The event streams of the lifecycles and their stored replies. Then an event and a value of each kind."""

    def lines() -> Iterator[str]:
        for name, ledger in lifecycles():
            yield f"== {name}"
            yield from (_event(recorded) for stream in ledger.streams.values() for recorded in stream)
            for (user, operation, key), reply in ledger.stored_replies.items():
                yield f"command {user}/{operation}/{key} {codec.dumps(reply.result)} {reply.request_hash[:16]}"
            yield ""
        yield "== One of each"
        yield from map(_event, test_events.chain(test_events.EVENTS))
        yield from map(codec.dumps, test_codec.VALUES)

    return _lines(lines())


def _event(recorded: StoredEvent) -> str:
    row = event_row(recorded)
    return f"{row['user_id']}/{row['stream']} {row['seq']} {row['type']} {row['data']} {row['hash'][:16]}"


def notifications() -> str:
    """The notifications of the lifecycles: each webhook as posted, each email as received, headers only once.
    Then a webhook in the list of notifications."""
    webhooks, mails = list[str](), list[str]()
    with FaultServer(send_and_keep_open(http_response(b""))) as side, run_smtp_server() as smtp:
        for message in _messages():
            if message.channel is Channel.WEBHOOK:
                with test_webhook.notifier(f"{side.url}/hook", now=lambda at=message.at: at) as notifier:
                    notifier.deliver(message)
                _, headers, body = test_webhook.parse_request(side.requests[-1])
                headers["host"] = "-"
                webhooks.append(f"{_headers(headers) if not webhooks else ''}{body.decode()}\n")
            else:
                test_mail.notifier(smtp.port).deliver(replace(message, user_id=test_mail.ADA))
                mail = smtp.emails[-1]
                headers = {name: str(mail[name]) for name in mail if not name.startswith("X-")}
                subject = f"Subject: {mail['Subject']}\n\n"
                text = "\n".join(str(mail.get_content()).splitlines())
                mails.append(f"{_headers(headers) if not mails else subject}{text}\n")
    attempt = DeliveryAttempt(NOON, "https://shop.example", 200, 7, "HTTP 200", 1)
    listed = NotificationResponse.model_validate(replace(next(iter(_messages())), attempts=(attempt,)))
    return "---\n".join((*webhooks, *mails, dumps(listed) + "\n"))


def _headers(headers: Mapping[str, str]) -> str:
    return _lines(f"{name}: {value}" for name, value in sorted(headers.items())) + "\n"


def _messages() -> Iterable[Message]:
    """The messages of all lifecycles, each text once."""
    messages: dict[tuple[object, ...], Message] = {}
    for recorded, payment in _all_events():
        for row in outbox_message_rows(recorded, payment, (Channel.WEBHOOK, Channel.MAIL), notification_for):
            names = ("message_id", "user_id", "transaction_id", "kind", "data", "at")
            fields: dict[str, Any] = {name: row[name] for name in names}
            message = Message(channel=Channel(row["channel"]), **fields)
            messages.setdefault((message.channel, message.kind, message.data), message)
    return messages.values()


def _all_events() -> Iterator[tuple[StoredEvent, Payment | None]]:
    """Every event of the lifecycles, and a sale with every detail that a provider may return."""
    for name, ledger in lifecycles():
        for key, stream in ledger.streams.items():
            payment, _ = ledger.payments.get(key, (None, None))
            yield from ((recorded, payment) for recorded in stream)
            last_event = stream[-1].event
            if name == "Delivered at once" and isinstance(last_event, PaymentCompleted):
                detailed = replace(last_event, token="3" * 20, units="12.5", receipt=KEY_CHANGE)
                yield stream[-1]._replace(event=detailed), payment


def policy() -> str:
    """The next step for each of the 5,120 cells of the policy. A dash: this dimension does not matter."""

    def rows(status: str, evidence: str) -> Iterator[str]:
        steps = {cell[2:]: _step(cell) for cell in CELLS if cell[:2] == (status, evidence)}
        matters = [
            any(steps[cell] != steps[(*cell[:place], word, *cell[place + 1 :])] for cell in steps for word in words)
            for place, words in enumerate(DIMENSIONS[2:])
        ]  # fmt: skip
        step_by_situation = {
            tuple(word if matter else "-" for word, matter in zip(cell, matters, strict=True)): step
            for cell, step in steps.items()
        }
        yield from (
            f"{status} {evidence} {' '.join(cell)}: {step}" for cell, step in step_by_situation.items()
        )

    return _lines(row for status, evidence in product(*DIMENSIONS[:2]) for row in rows(status, evidence))


def _step(cell: Cell) -> str:
    steps = (step_name(next_step(payment, policy_of(cell), NOON), payment) for payment in payments_of(cell))
    return " or ".join(dict.fromkeys(steps))


# --- tables -----------------------------------------------------------------------------------------------------------


def ddl_sqlite() -> str:
    """The schema that the migrations create on SQLite."""
    _upgrade("sqlite:///tables.db")
    with closing(sqlite3.connect("tables.db")) as connection:
        statements = connection.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type, name"
        )
        return "\n".join(f"{statement.rstrip()};\n" for (statement,) in statements)


def ddl_postgresql(url: str) -> str:
    """The schema that the migrations create on PostgreSQL, from its catalogue."""
    _upgrade(url)
    with psycopg.connect(url) as connection:
        return "".join(
            str(row) + "\n" for (row,) in connection.execute((HERE / "catalogue.sql").read_bytes())
        )


def _upgrade(url: str) -> None:
    with redirect_stdout(StringIO()):
        assert main(["db", "upgrade", "--database-url", url]) == Exit.DONE


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


SNAPSHOTS: Mapping[str, Callable[[], str]] = {
    "openapi.json": openapi,
    "cli.txt": cli,
    "settings.txt": settings,
    "errors.txt": errors,
    "documents.txt": documents,
    "screens.txt": screens,
    "views.txt": views,
    "metrics.txt": metrics,
    "events.txt": events,
    "notifications.txt": notifications,
    "policy.txt": policy,
    "ddl_sqlite.sql": ddl_sqlite,
}
