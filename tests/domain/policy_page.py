"""Prints docs/reversal-policy.md from the rules of the reversal policy: `python -m tests.domain.policy_page`."""

from collections.abc import Iterator, Set
from pathlib import Path
from typing import Final

from billvend.domain.enums import Status
from billvend.domain.payment.transitions import TRANSITIONS
from billvend.domain.policy.evidence import Evidence
from billvend.domain.policy.rules import ANY, BEFORE_REVIEW, ENDED, NOT_SOLD, OPEN, POLICY, UNCLEAR, Rule

PAGE: Final = Path(__file__).parents[2] / "docs" / "reversal-policy.md"
SUMMARY: Final = (
    ("The provider sold. A token is there.", "It is spent.", ("complete",)),
    (
        "The provider refused the order.",
        "Another provider is tried. Without one it goes back at once.",
        ("start_attempt", "reverse_declined"),
    ),
    (
        "The order was provably not carried out: no connection, or the provider says so.",
        ("The order is sent again after 5, 15 and 60 s, then to another provider. Without one it goes back."),
        ("retry_send", "reverse_not_sent", "reverse_not_executed"),
    ),
    (
        "No answer came, or no clear one.",
        (
            "It stays held. The provider is asked at growing intervals. It never goes back because time"
            " has passed."
        ),
        ("wait_for_lease", "put_in_doubt", "requery", "requery_as_requested", "wait_a_day"),
    ),
    (
        "The provider does not know the order: twice in a row, late and far enough apart.",
        "It goes back. The order is checked for three more days.",
        ("reverse_not_found", "monitor"),
    ),
    (
        ("Two hours without a clear answer, a contradiction, or an account that is no longer configured."),
        (
            "It stays held until a person decides. The provider is still asked every day, and a clear "
            "answer decides."
        ),
        ("review", "review_too_long", "review_removed_account", "reverse_as_decided"),
    ),
    (
        "No provider sells at present.",
        "It stays held for up to a day, then goes back. Until then the payment can be cancelled.",
        ("wait_for_account", "reverse_never_sent"),
    ),
    (
        "The provider reversed the sale itself.",
        "It goes back. After a completed sale an operator decides.",
        ("reverse_provider_reversed", "nothing"),
    ),
)
"""What happened, what becomes of the held money, and the steps of the rules that this row covers."""
HEAD: Final = """# The reversal policy

What billvend does next with a payment. The rules are a table in the code, `src/billvend/domain/policy/rules.py`: the first
rule that matches decides. This page is printed from it with `python -m tests.domain.policy_page`.

Money goes back on six proofs alone, and never because time has passed: `declined`, `not_sent`, `not_executed`, `not_found`,
`provider_reversed`, `operator`. The proof is stored with the reversal.

## When do I get my money back?

| what happened | what becomes of the money |
| --- | --- |
"""
RULES: Final = """
## The rules

*Status* is where the payment is. *Evidence* is what is proven of its latest attempt (below). A reversal is decided first, and
made under the lock of the wallet, where the rules decide once more.

| | status | evidence | condition | step | why |
| --- | --- | --- | --- | --- | --- |
"""
EVIDENCE: Final = """
## The evidence

An answer about the *transaction* speaks for the reference. An answer to a *send* speaks for that send alone: it proves the
reference only if every other send of it is proven too.

| evidence | means |
| --- | --- |
"""
STATES: Final = """
## The states

```mermaid
stateDiagram-v2
    [*] --> pending
"""


def label(statuses: Set[Status]) -> str:
    """A set of statuses in a word or two."""
    names = {
        frozenset(OPEN): "open",
        frozenset(ENDED): "ended",
        frozenset(BEFORE_REVIEW): "open, not in review",
    }
    return names.get(frozenset(statuses)) or ", ".join(sorted(status.value for status in statuses))


def evidence_label(evidence: Set[Evidence]) -> str:
    """A set of evidence in a word or two."""
    names = {
        frozenset(ANY): "any",
        frozenset(UNCLEAR): "unknown, prior unchecked",
        frozenset(NOT_SOLD): "declined, not sent, not executed",
    }
    return names.get(frozenset(evidence)) or ", ".join(
        each.name.lower().replace("_", " ") for each in Evidence if each in evidence
    )


def words(name: str) -> str:
    """A function's name as words."""
    return "" if name == "always" else name.replace("_", " ")


def row(number: int, rule: Rule) -> str:
    """A rule as a row of the page."""
    cells = (
        str(number), label(rule.status), evidence_label(rule.evidence),
        words(rule.condition.__name__), words(rule.action.__name__), rule.because,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def render() -> Iterator[str]:
    """The page, line by line."""
    yield HEAD + "\n".join(f"| {situation} | {money} |" for situation, money, _ in SUMMARY)
    yield RULES + "\n".join(row(number, rule) for number, rule in enumerate(POLICY, 1))
    yield EVIDENCE + "\n".join(
        f"| {each.name.lower().replace('_', ' ')} | {each.value} |" for each in Evidence
    )
    arrows = [
        f"    {before.value} --> {after.value}"
        for before in Status
        for after in Status
        if after in TRANSITIONS[before]
    ]
    ends = [f"    {status.value} --> [*]" for status in Status if not TRANSITIONS[status]]
    yield STATES + "\n".join((*arrows, *ends)) + "\n```"


if __name__ == "__main__":
    PAGE.write_text("\n".join(render()) + "\n")
