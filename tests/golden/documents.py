"""The output of commands with `--json`, and the documents of payments, which the API returns too."""

import json
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from billvend.adapters.storage.rows import event_row
from billvend.cli import main
from billvend.domain.journal.events import StoredEvent
from billvend.ports.queries import RawEvent
from billvend.presentation.operator_models import ReviewResponse
from billvend.presentation.transaction_models import TransactionDetailResponse
from billvend.usecases.review import ReviewList
from tests.domain.model_ledger import ModelLedger
from tests.domain.scenario import run_scenario, scenarios

COMMANDS = (
    "balance ada", "history ada", "find --meter 12345678901", "payments", "billers", "meter 12345678901 --biller EKEDC",
    "review", "sweep", "health", "audit", "db upgrade", "db current", "api-keys list", "webhooks list", "deposits list",
)  # fmt: skip
"""Commands that read what the other commands stored."""
FAILING_COMMANDS = ("balance eve", "fund ada 0")


def documents() -> str:
    """The members of the output of each command, with their JSON types, on a new database in this folder."""
    Path("bills.csv").write_text(
        "user,amount,meter,biller\nada,200,12345678901,EKEDC\nada,9,12345678901,EKEDC\n"
    )
    bill = "pay ada 500 --biller EKEDC --meter"
    funded = _run_json("fund ada 5000")
    payments = [
        _run_json(f"{bill} {meter}") for meter in ("12345678901", "600000000001", "600000000003 --no-wait")
    ]
    pending = _run_json(f"{bill} 12345678902 --no-wait")
    cancelled = _run_json(f"cancel {pending['transactionId']}")
    details = [_run_json(f"show {printed['transactionId']}") for printed in (funded, *payments, cancelled)]
    api_key = _run_json("api-keys create --name shop --scope pay")
    prints = {
        "fund": [funded],
        "pay": [*payments, pending],
        "cancel": [cancelled],
        "pay-many": [_run_json("pay-many bills.csv --batch may")],
        "show": details,
        "api-keys create": [api_key],
        **{command: [_run_json(command)] for command in (*COMMANDS, *FAILING_COMMANDS)},
        "api-keys revoke": [_run_json(f"api-keys revoke {api_key['keyId']}")],
    }
    return "\n".join("".join(_describe_members(command, printed)) for command, printed in prints.items())


def _run_json(command: str) -> Any:
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()):
        main([*command.split(), "--json"])
    printed = json.loads(out.getvalue())
    assert ("error" in printed) == (command in FAILING_COMMANDS), printed
    return printed


def _describe_members(command: str, printed: list[Any]) -> Iterator[str]:
    members: dict[str, set[str]] = {}
    for document in printed:
        _collect_members(document, "", members)
    yield f"$ billvend {command} --json\n"
    yield from (f"{path}: {' | '.join(sorted(kinds))}\n" for path, kinds in sorted(members.items()) if path)


def _collect_members(value: Any, path: str, members: dict[str, set[str]]) -> None:
    kind = {dict: "object", list: "array", type(None): "null"}.get(type(value), type(value).__name__)
    members.setdefault(path, set()).add(kind)
    entries = (
        value.items() if kind == "object" else [("[]", item) for item in value] if kind == "array" else ()
    )
    for name, item in entries:
        _collect_members(item, f"{path}.{name}".lstrip(".").replace(".[]", "[]"), members)


def lifecycles() -> Iterator[tuple[str, ModelLedger]]:
    """The lifecycles of payments from the scenario files, each with its name."""
    yield from (
        (lifecycle.name, run_scenario(lifecycle))
        for lifecycle in scenarios(Path(__file__).parent / "lifecycles")
    )


def views() -> str:
    """The document of each payment of the lifecycles with its attempts and events, and its entry in the review."""

    def lines() -> Iterator[object]:
        for name, ledger in lifecycles():
            for key, (payment, _) in ledger.payments.items():
                read_back = [_as_read_back(recorded) for recorded in ledger.streams[key]]
                document = TransactionDetailResponse.with_events(payment, read_back).to_json()
                attempts, events = document.pop("attempts"), document.pop("events")
                yield from (name, document, *attempts, *events)
                in_review = [payment] if payment.review_reason else []
                with_incidents = [payment] if payment.open_incidents else []
                for shown in ReviewResponse.of(ReviewList(in_review, with_incidents, [])).to_json().values():
                    yield from shown

    return "".join(
        f"{line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)}\n" for line in lines()
    )


def _as_read_back(recorded: StoredEvent) -> RawEvent:
    """The event as the database returns it. Without its hash, which is in events.txt."""
    kind = event_row(recorded)["type"]
    key, seq, at, _, command_key, data, prev_hash, _ = recorded
    return RawEvent(key, seq, kind, at, command_key, data, prev_hash, "-")
