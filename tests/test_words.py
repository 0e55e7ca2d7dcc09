"""The words of docs/glossary.md: what is not written in source, tests and docs, and what to write instead.

`python -m tests.test_words [PATH ...]` lists every place.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
INSTEAD: Final = {
    "anew": "again",
    "anybody": "anyone, or the noun",
    "away": "unavailable, down",
    "books?": "ledger, journal, store, tables",
    "cashier": "the name of the loop",
    "courier": "background sender",
    "curtain": "shutdown",
    "desk": "simulator, operator",
    "doors?": "driver: CLI, API, worker",
    "gates?": "authentication, rate limit, guard",
    "in vain": "without success, failed",
    "keeper": "the noun for what it does",
    "letters?": "hint, message, email",
    "mend(?:s|ed|ing)?": "fix, recover",
    "messenger": "the name of the loop",
    "nobody": "no customer, no worker, none",
    "somebody": "a person, an operator, another worker",
    "someone": "a person, an operator, another worker",
    "stands": "is, has the status",
    "street": "fault proxy",
    "tells?": "report, notify, say which",
    "telling": "report, notification",
    "till": "until; wallet, client",
    "told": "reported, notified, given",
    "towns?": "environment",
    "turned away": "rejected",
    "turns away": "rejects",
    "weather": "fault injector",
    "whoever": "the noun: caller, worker, reader",
    "whomever": "the noun",
}
"""A word as a regular expression, and what to write instead."""
EXCEPTIONS: Final = (
    ("tests/test_words.py", "*", "the list itself"),
    ("docs/glossary.md", "*", "shows each word beside its replacement"),
    (
        "src/billvend/adapters/providers/sandbox/sale.py",
        "street",
        "postal addresses of invented customers",
    ),
    ("*", "--book", "the option of the sandbox that names its file"),
    ("*", "/book", "the path of a call of the sandbox"),
    ("*", "sandbox_book", "the setting SANDBOX_BOOK, whose name users have in their configuration"),
    ("tests/support/*.py", "nobody", "the system user of that name"),
    ("*", "till-7", "the key of a shop's till, an example that users see in the documentation"),
)
"""File, word and the reason why it is needed there."""
TEXTS: Final = ("*.py", "*.md", "*.toml", "*.yml", "*.txt", ".env.example", ".ci/run")
SKIPPED: Final = ("tests/golden/*.txt", "requirements/*", "docs/benchmarks.json")
"""Printed from other files, or not ours."""


def places(*under: str) -> Iterator[str]:
    """Every place with a word that is not used: file, line, word, and what to write instead."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *under]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in sorted(listed.stdout.split()):
        path = ROOT / name
        if not path.is_file() or not any(fnmatch(name, kind) for kind in TEXTS):
            continue
        if any(fnmatch(name, kind) for kind in SKIPPED):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for word, instead in INSTEAD.items():
                for found in re.finditer(rf"(?<![a-z]){word}(?![a-z])", line, re.IGNORECASE):
                    if not is_excepted(name, line, found):
                        yield f"{name}:{number}: {found[0]!r}: write {instead}: {line.strip()[:100]}"


def is_excepted(name: str, line: str, found: re.Match[str]) -> bool:
    """Whether an exception covers this word here: `*`, the word itself, or a longer text around it."""
    for path, text, _reason in EXCEPTIONS:
        if fnmatch(name, path):
            if text == "*" or found[0].lower() == text:
                return True
            at = line.lower().find(text)
            while at >= 0:
                if at <= found.start() and found.end() <= at + len(text):
                    return True
                at = line.lower().find(text, at + 1)
    return False


def test_source_tests_and_docs_use_the_words_of_the_glossary() -> None:
    found = list(places())
    assert not found, "\n".join(found)


def test_exceptions_are_needed() -> None:
    for path, text, reason in EXCEPTIONS:
        assert reason
        assert any(fnmatch(name, path) for name in files_with(text)), (path, text)


def files_with(text: str) -> list[str]:
    search = ["git", "grep", "-il", "-e", "." if text == "*" else text]
    listed = subprocess.run(search, cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.split()


if __name__ == "__main__":
    print("\n".join(places(*sys.argv[1:])))
