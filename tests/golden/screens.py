"""What commands print for people in a pipe, and their error lines. Ids, times, tokens and references are masked."""

import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from billvend.cli import main

BILL = "--biller EKEDC --meter"
SESSION = (
    "balance ada", "history ada", "deposits list", "webhooks list", "webhooks list --failed", "webhooks enable", "review",
    "api-keys", "db current", "db upgrade", "billers", "meter 12345678901 --biller EKEDC", "meter 000000000000 --biller EKEDC",
    "fund ada 5000 --key cash-1", "fund ada 5000 --key cash-1", "fund ada 7.125 --currency KWD",
    f"pay ada 500 {BILL} 12345678901 --key order-1", f"pay ada 500 {BILL} 12345678901 --key order-1",
    f"pay ada 500 {BILL} 12345678901", f"pay ada 9000 {BILL} 1111111111111", f"pay ada 500 {BILL} 600000000001",
    f"pay ada 300 {BILL} 1010101010101 --vend-type postpaid --no-wait", f"pay ada 200 {BILL} 12345678901 --no-wait",
    f"pay ada 700 {BILL} 600000000003 --wait 0.1 --key doubt", "show {last}", "show {0}", "show {1}",
    "cancel {2}", "cancel {1}", "balance ada", "history ada --limit 2", "payments --status reversed",
    "payments --status in_doubt", "find --meter 123", "find", "find --key order-1", "find --key none",
    "pay-many bills.csv", "pay-many bills.csv --batch may --dry-run", "pay-many bills.csv --batch may",
    "pay-many bills.csv --batch may", "pay-many short.csv --batch may --dry-run",
    "resolve {last}", "resolve {last} --reverse", "resolve {last} --reverse --reason lost --operator ngozi",
    "resolve {last} --acknowledge --reason lost --operator ngozi", "show {last} --refresh", "review",
    "resolve {last} --acknowledge --reason settled --operator ngozi", "review",
    "api-keys create --name till-7 --scope pay --scope read", "api-keys list", "api-keys revoke till-7", "api-keys list",
    "api-keys revoke shop-9", "api-keys --json list", "wallet email ada ada@example.com", "wallet email ada ada",
    "webhooks list --channel console --limit 1", "webhooks replay msg_none", "sweep", "sweep", "audit", "db seed",
    "demo --database-url sqlite:///billvend.db", "deposits check none", "nope", "balance", "fund ada -5",
)  # fmt: skip
"""Run in this order in one folder. `{0}` is the first payment of `pay`, `{last}` its last one."""
BILLS = "ada,200,12345678901,EKEDC\nada,9,12345678901,EKEDC\nada,200,1\neve,200,12345678901,EKEDC\n"
MASKS = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "[0-9a-f]", "x"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?", r"\d", "0"),
    (r"at \d\d:\d\d:\d\d UTC", r"\d", "0"),
    (r"\bin \d+ s\b", r"\d+", "0"),
    (r"\b\d{4}(-\d{4}){4}\b|token \d{20}\b|\bR\d{12}\b", r"\d", "0"),
    (r"\bSB[A-Z0-9]{30}\b", r"\w", "X"),
    (r"\bbv_\S+", r".", "x"),
    (r"(?m)(Id: |^)[0-9a-f]{12}(?=  |$)", r"(?<!I)[0-9a-f]", "x"),
    (r"\bmsg_[0-9a-f]{32}", r"[0-9a-f]", "x"),
)
"""A pattern, and what to replace in the text that it finds. The width of the text stays."""


def screens() -> str:
    """The screens of the session, on a new database in this folder."""
    for name, rows in (("bills.csv", BILLS), ("short.csv", "ada,900,12345678901,EKEDC\n" * 9)):
        Path(name).write_text(f"user,amount,meter,biller\n{rows}")
    payments: list[str] = []

    def run(line: str) -> Iterator[str]:
        words = shlex.split(line.format(*payments, last=payments[-1] if payments else ""))
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as errors:
            status = main(words)
        if words[0] == "pay" and (found := re.search(r"Transaction +(\S{36})", out.getvalue())):
            payments.extend({found[1]}.difference(payments))
        yield f"$ billvend {line}"
        for text in (*out.getvalue().splitlines(), *errors.getvalue().splitlines()):
            if not text.startswith('{"timestamp"'):  # a log line
                yield _mask(text)
        if status:
            yield f"(exit {status})"

    return "".join(f"{text}\n" for line in SESSION for text in run(line))


def _mask(text: str) -> str:
    for pattern, part, mask in MASKS:
        text = re.sub(pattern, lambda found, part=part, mask=mask: re.sub(part, mask, found[0]), text)  # type: ignore[misc]
    return text
