"""The reversal policy, cell by cell. The step of each cell was written by hand."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from itertools import product

import pytest

from billvend.domain.enums import Proof, Status, VendType
from billvend.domain.journal.events import PaymentReversed, ReversalDecided
from billvend.domain.money import Money
from billvend.domain.outcome import (
    Answer,
    Declined,
    Deferred,
    Delivered,
    Misconfigured,
    NotFound,
    NotSent,
    Pending,
    Unknown,
)
from billvend.domain.payment.state import Attempt, Payment, Requery, Send
from billvend.domain.policy.conditions import Case, always
from billvend.domain.policy.evidence import Evidence, evidence_of, is_proven_absent, observed_seconds
from billvend.domain.policy.policy import Policy
from billvend.domain.policy.rules import POLICY, next_step
from billvend.domain.policy.steps import (
    CheckPriorReference,
    Complete,
    PutInDoubt,
    RetrySend,
    Reverse,
    Review,
    StartAttempt,
    StartRequery,
    Step,
    Wait,
)
from billvend.domain.policy.timing import scheduled_gap_seconds
from tests.domain import policy_page
from tests.domain.model_ledger import NOON, provider, seconds

MINUTE, HOUR, DAY = 60, 3600, 86400
NOW = NOON

# --- the table --------------------------------------------------------------------------------------------------------

# What is known of the latest attempt:
#   nothing         there is none yet
#   sending         a send is in progress, and its lease has not expired
#   asking          a send is in doubt, and a requery is in progress
#   delivered       it is proven that it was sold
#   taken-back      sold, and reversed by the provider
#   failed          the provider says so of the transaction, after an unknown answer to the send
#   declined        the only send was declined
#   not-sent        no send ever left us
#   deferred        no send was executed, and the last may be repeated
#   misconfigured   no send was executed, and none would be
#   silent          a send is in doubt, and no requery has got an answer yet
#   once            in doubt, not found once
#   absent          in doubt, not found twice, late and far apart
#   known           in doubt, and the provider knows the reference
#   vanished        the provider knew it, and now does not find it
#   contradicted    late, a worker says that it never sent; but the provider knows the reference
#
# account: is the account that it was sent to configured (without an attempt: is the first provider)?
# other: is there another provider that sells?   tries: is a retry left?   valid: may the reference still be sent
# when the next retry is due?   age: has the limit passed (never sent: a day; in doubt: two hours)?
# "-" matches anything. No history leads to a cell whose step is `impossible`.
TABLE = """
status              evidence       account  other  tries  valid  age    step

pending             nothing        here     -      -      -      young  send acme
pending             nothing        gone     other  -      -      young  send backup
pending             nothing        gone     none   -      -      young  wait for the limit
pending             nothing        -        -      -      -      old    reverse not_sent
pending             (any-attempt)  -        -      -      -      -      impossible

processing          nothing        -        -      -      -      -      impossible
processing          sending        -        -      -      -      -      wait for the lease
processing          delivered      -        -      -      -      -      complete
processing          taken-back     -        -      -      -      -      reverse provider_reversed
processing          declined       -        other  -      -      -      send backup
processing          declined       -        none   -      -      -      reverse declined
processing          not-sent       here     -      left   valid  -      send again
processing          not-sent       here     other  left   stale  -      send backup
processing          not-sent       here     none   left   stale  -      reverse not_sent
processing          not-sent       here     other  used   -      -      send backup
processing          not-sent       here     none   used   -      -      reverse not_sent
processing          not-sent       gone     other  -      -      -      send backup
processing          not-sent       gone     none   -      -      -      reverse not_sent
processing          deferred       here     -      left   valid  -      send again
processing          deferred       here     other  left   stale  -      send backup
processing          deferred       here     none   left   stale  -      reverse not_executed
processing          deferred       here     other  used   -      -      send backup
processing          deferred       here     none   used   -      -      reverse not_executed
processing          deferred       gone     other  -      -      -      send backup
processing          deferred       gone     none   -      -      -      reverse not_executed
processing          misconfigured  -        other  -      -      -      send backup
processing          misconfigured  -        none   -      -      -      reverse not_executed
processing          (doubtful)     -        -      -      -      -      impossible

(doubt)             nothing        -        -      -      -      -      impossible
(doubt)             sending        -        -      -      -      -      impossible
(doubt)             asking         -        -      -      -      -      wait for the lease
(doubt)             delivered      -        -      -      -      -      complete
(doubt)             taken-back     -        -      -      -      -      reverse provider_reversed
(doubt)             failed         -        -      -      -      -      reverse declined
(doubt)             declined       -        -      -      -      -      reverse declined
(doubt)             not-sent       -        -      -      -      -      reverse not_sent
(doubt)             deferred       -        -      -      -      -      reverse not_executed
(doubt)             misconfigured  -        -      -      -      -      reverse not_executed
(doubt)             absent         here     -      -      -      -      reverse not_found
in_doubt            (unclear)      here     -      -      -      young  ask
in_doubt            (unclear)      here     -      -      -      old    review
in_doubt            (unclear)      gone     -      -      -      -      review
in_doubt            absent         gone     -      -      -      -      review
in_doubt            vanished       -        -      -      -      -      review
in_review           (unproven)     here     -      -      -      -      ask
in_review           (unproven)     gone     -      -      -      -      wait a day
in_review           absent         gone     -      -      -      -      wait a day

# A reversal is decided, and the money is not back yet: the rules decide once more on all that is known by then. A
# reversal that rests on no attempt (cancelled, or never sent in a day) or on an operator does not change.
(reversing)         asking         -        -      -      -      -      wait for the lease
(reversing)         delivered      -        -      -      -      -      complete
(reversing)         taken-back     -        -      -      -      -      reverse provider_reversed
(reversing)         failed         -        -      -      -      -      reverse declined
(reversing)         declined       -        -      -      -      -      reverse declined
(reversing)         not-sent       -        -      -      -      -      reverse not_sent
(reversing)         deferred       -        -      -      -      -      reverse not_executed
(reversing)         misconfigured  -        -      -      -      -      reverse not_executed
(reversing)         (unproven)     -        -      -      -      -      review
reversing/absent    nothing        -        -      -      -      -      impossible
reversing/absent    sending        -        -      -      -      -      impossible
reversing/absent    absent         here     -      -      -      -      reverse not_found
reversing/absent    absent         gone     -      -      -      -      review
reversing/proven    nothing        -        -      -      -      -      reverse as decided
reversing/proven    sending        -        -      -      -      -      wait for the lease
reversing/proven    absent         -        -      -      -      -      review

completed           -              -        -      -      -      -      rest
reversed/absent     nothing        -        -      -      -      -      impossible
(monitored)         delivered      -        -      -      -      -      rest
(monitored)         (all-the-rest) here     -      -      -      -      watch
(monitored)         (all-the-rest) gone     -      -      -      -      rest
reversed/operator   nothing        -        -      -      -      -      rest
reversed/proven     -              -        -      -      -      -      rest
"""

DIMENSIONS: Sequence[Sequence[str]] = (
    (
        *("pending", "processing", "in_doubt", "in_review", "completed"),
        *("reversing/absent", "reversing/proven", "reversed/absent", "reversed/operator", "reversed/proven"),
    ),
    (
        *("nothing", "sending", "asking", "delivered", "taken-back", "failed", "declined"),
        *("not-sent", "deferred", "misconfigured"),
        *("silent", "once", "absent", "known", "vanished", "contradicted"),
    ),
    ("here", "gone"),
    ("other", "none"),
    ("left", "used"),
    ("valid", "stale"),
    ("young", "old"),
)
DOUBTFUL = {"asking", "failed", "silent", "once", "absent", "known", "vanished", "contradicted"}
GROUPS: Mapping[str, set[str]] = {
    "(doubt)": {"in_doubt", "in_review"},
    "(reversing)": {"reversing/absent", "reversing/proven"},
    "(monitored)": {"reversed/absent", "reversed/operator"},
    "(any-attempt)": set(DIMENSIONS[1]) - {"nothing"},
    "(doubtful)": DOUBTFUL,
    "(unclear)": {"silent", "once", "known", "contradicted"},
    "(unproven)": {"silent", "once", "known", "vanished", "contradicted"},
    "(all-the-rest)": set(DIMENSIONS[1]) - {"nothing", "delivered"},
}

Cell = tuple[str, ...]


def parse_table(table: str) -> list[tuple[Cell, str]]:
    """The rows, each as what it matches and the step that it expects."""
    lines = [line.split(maxsplit=7) for line in table.splitlines() if line and not line.startswith("#")]
    return [(tuple(line[:7]), line[7]) for line in lines[1:]]


ROWS = parse_table(TABLE)


def matches(row: Cell, cell: Cell) -> bool:
    return all(
        want in ("-", have) or have in GROUPS.get(want, ()) for want, have in zip(row, cell, strict=True)
    )


@cache
def expected(cell: Cell) -> str:
    found = [step for row, step in ROWS if matches(row, cell)]
    assert len(found) == 1, f"{cell} is in {len(found)} rows"
    return found[0]


# --- a payment for every cell -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PastRequery:
    """A requery that was answered after so much observed time. Without an answer it was lost."""

    gap_seconds: float
    answer: Answer | None


NOT_FOUND = NotFound("no such reference")
ABSENT = (PastRequery(600, NOT_FOUND), PastRequery(60, NOT_FOUND))
EVIDENCE: Mapping[str, tuple[Answer | None, Sequence[PastRequery]]] = {
    "sending": (None, ()),
    "asking": (Unknown("?"), (PastRequery(20, None),)),
    "delivered": (Unknown("?"), (PastRequery(20, Delivered("1234")),)),
    "taken-back": (Declined("reversed", about_transaction=True, provider_reversed=True), ()),
    "failed": (Unknown("?"), (PastRequery(20, Declined("failed", about_transaction=True)),)),
    "declined": (Declined("refused"), ()),
    "not-sent": (NotSent("refused"), ()),
    "deferred": (Deferred("again"), ()),
    "misconfigured": (Misconfigured("float"), ()),
    "silent": (Unknown("?"), ()),
    "once": (Unknown("?"), (PastRequery(900, NOT_FOUND),)),
    "absent": (Unknown("?"), ABSENT),
    "known": (Unknown("?"), (PastRequery(20, Pending("at work")),)),
    "vanished": (Unknown("?"), (PastRequery(20, Pending("at work")), *ABSENT)),
    "contradicted": (NotSent("too late"), (PastRequery(20, Pending("at work")),)),
}


def sends_of(answer: Answer | None, count: int, last_at: datetime) -> tuple[Send, ...]:
    """A number of sends, all with this answer, the last one answered just now."""
    return tuple(
        Send(
            number=number + 1,
            started_at=(at := last_at - seconds(count - 1 - number)),
            lease_until=at + seconds(60),
            send_before=at + seconds(29),
            answer_by=at + seconds(59),
            answer=answer,
            answered_at=at if answer is not None else None,
        )
        for number in range(count)
    )


def requeries_of(requeries: Sequence[PastRequery], last_at: datetime) -> tuple[Requery, ...]:
    """Requeries whose answers are credited with the gaps before them, the last one answered just now."""
    made: list[Requery] = []
    for number, requery in enumerate(requeries, 1):
        at = last_at - seconds(sum(later.gap_seconds for later in requeries[number:]))
        answered_at = at if requery.answer is not None else None
        credit = requery.gap_seconds if requery.answer is not None else 0.0
        lease = at + seconds(60)
        made.append(
            Requery(
                number, at, lease, requery.gap_seconds, credit, answer=requery.answer, answered_at=answered_at
            )
        )
    return tuple(made)


def attempt_of(evidence: str, *, tries: str = "left", valid: str = "valid") -> Attempt:
    answer, requeries = EVIDENCE[evidence]
    retried = evidence in ("not-sent", "deferred") and tries == "used"
    return Attempt(
        number=1,
        reference="ref-1",
        provider="acme",
        account_id="key-1",
        started_at=NOW - seconds(10),
        valid_until=NOW + seconds(6 if valid == "valid" else 5),  # the first retry is due after 5 s
        sends=sends_of(answer, 4 if retried else 1, NOW),
        requeries=requeries_of(requeries, NOW),
    )


PROOFS: Mapping[str, Sequence[Proof]] = {
    "absent": [Proof.NOT_FOUND],
    "operator": [Proof.OPERATOR],
    "proven": [Proof.DECLINED, Proof.NOT_SENT, Proof.NOT_EXECUTED, Proof.PROVIDER_REVERSED],
}


def payments_of(cell: Cell) -> list[Payment]:
    """A payment in this cell, for every proof on which the cell can be reversed."""
    word, evidence, _, _, tries, valid, age = cell
    status, _, kind = word.partition("/")
    attempts = () if evidence == "nothing" else (attempt_of(evidence, tries=tries, valid=valid),)
    payment = Payment(
        user_id="ada",
        transaction_id="bill",
        amount=Money(30000, "NGN"),
        meter="12345678901",
        biller="EKEDC",
        vend_type=VendType.PREPAID,
        phone=None,
        key=None,
        status=Status(status),
        accepted_at=NOW - seconds(DAY if age == "old" else DAY - 1),
        updated_at=NOW,
        attempts=attempts,
        in_doubt_since=NOW - seconds(2 * HOUR if age == "old" else HOUR) if evidence in DOUBTFUL else None,
    )
    if status == "reversing":
        return [replace(payment, reversal=ReversalDecided(proof, "why", 1)) for proof in PROOFS[kind]]
    if status == "reversed":
        return [
            replace(payment, reversal=PaymentReversed(proof, "why", 30000), ended_at=NOW)
            for proof in PROOFS[kind]
        ]
    return [payment]


def policy_of(cell: Cell) -> Policy:
    here = [provider("acme")] if cell[2] == "here" else []
    other = [provider("backup")] if cell[3] == "other" else []
    return Policy((*here, *other))


def step_name(step: Step, payment: Payment) -> str:
    """The name of a step in the table."""

    match step:
        case Complete():
            return "complete"
        case Reverse(proof):
            decided = payment.status is Status.REVERSING and not payment.attempts
            return "reverse as decided" if decided and proof is payment.proof else f"reverse {proof}"
        case StartAttempt(account):
            return f"send {account.provider}"
        case CheckPriorReference(_, day):
            return f"recall {day}"
        case RetrySend():
            return "send again"
        case StartRequery():
            return "watch" if payment.status is Status.REVERSED else "ask"
        case Review():
            return "review"
        case Wait(at=None):
            return "rest"
        case Wait(at=until) if until == NOW + seconds(DAY):
            return "wait a day"
        case Wait(at=until) if payment.attempts:
            call = payment.attempts[-1].open_call
            return "wait for the lease" if call is not None and until == call.lease_until else f"wait {until}"
        case Wait(at=until):
            limit = payment.accepted_at + seconds(DAY)
            return "wait for the limit" if until == limit else f"wait {until}"
        case PutInDoubt():
            return "put in doubt"


CELLS = list(product(*DIMENSIONS))


def test_policy_table_matches_every_cell_exactly_once() -> None:
    assert len(CELLS) == 10 * 16 * 2**5
    for cell in CELLS:
        expected(cell)


def test_policy_table_has_no_unused_row() -> None:
    assert [row for row, _ in ROWS if not any(matches(row, cell) for cell in CELLS)] == []


@pytest.mark.parametrize("status", DIMENSIONS[0])
@pytest.mark.parametrize("evidence", DIMENSIONS[1])
def test_next_step_equals_the_policy_table(status: str, evidence: str) -> None:
    for cell in CELLS:
        if cell[:2] == (status, evidence) and (step := expected(cell)) != "impossible":
            for payment in payments_of(cell):
                assert step_name(next_step(payment, policy_of(cell), NOW), payment) == step, cell


# --- the page ---------------------------------------------------------------------------------------------------------


def test_policy_page_is_up_to_date() -> None:
    printed = "\n".join(policy_page.render()) + "\n"
    assert policy_page.PAGE.read_text() == printed, "print it again: python -m tests.domain.policy_page"


def test_summary_for_shops_covers_every_step_of_the_rules() -> None:
    assert len(policy_page.SUMMARY) == 8
    covered = {step for _, _, steps in policy_page.SUMMARY for step in steps}
    assert covered == {rule.action.__name__ for rule in POLICY}


@pytest.mark.parametrize("status", Status)
def test_every_status_and_evidence_has_a_rule_without_a_condition(status: Status) -> None:
    for evidence in Evidence:
        matching = [rule for rule in POLICY if status in rule.status and evidence in rule.evidence]
        assert any(rule.condition is always for rule in matching), evidence


def test_every_rule_decides_some_cell() -> None:
    used = set()
    for cell in CELLS:
        for payment in payments_of(cell) if expected(cell) != "impossible" else ():
            case = Case(payment, policy_of(cell), NOW)
            used.add(next(number for number, rule in enumerate(POLICY) if rule.matches(case)))
    elsewhere = {number for number, rule in enumerate(POLICY) if rule.action.__name__ in PLAYED_IN_SCENARIOS}
    assert used | elsewhere == set(range(len(POLICY)))


PLAYED_IN_SCENARIOS = {
    "requery_as_requested",
    "put_in_doubt",
    "reverse_never_sent",
    "reverse_not_sent",
    "start_attempt",
}
"""Steps whose rules need a requery request, a prior reference, or a status that the table calls impossible."""


# --- when -------------------------------------------------------------------------------------------------------------

NO_ANSWER = Unknown("?")


def payment_in_doubt(
    *requeries: PastRequery, since_seconds: float = 0, answer: Answer = NO_ANSWER
) -> Payment:
    payment = payments_of(("in_doubt", "silent", "here", "none", "left", "valid", "young"))[0]
    attempt = replace(
        payment.attempts[0], sends=sends_of(answer, 1, NOW), requeries=requeries_of(requeries, NOW)
    )
    return replace(payment, attempts=(attempt,), in_doubt_since=NOW - seconds(since_seconds))


@pytest.mark.parametrize(
    ("answered", "gap_seconds"),
    [
        ([NotSent("a")], 5),
        ([NotSent("a"), NotSent("b")], 15),
        ([Deferred("a"), NotSent("b"), Deferred("c")], 60),
        ([Deferred("a", 40)], 40),
        ([Deferred("a", 3)], 5),
        ([NotSent("a"), Deferred("b", 10)], 15),
        ([Deferred("a", -7)], 5),
        ([Deferred("a", DAY)], DAY),
        ([Deferred("a", 10**18)], DAY),
    ],
)
def test_resend_waits_for_schedule_and_provider_advice(
    answered: Sequence[Answer], gap_seconds: float
) -> None:
    made = tuple(replace(sends_of(answer, 1, NOW)[0], number=n) for n, answer in enumerate(answered, 1))
    attempt = replace(attempt_of("not-sent"), sends=made, valid_until=None)
    payment = payments_of(("processing", "not-sent", "here", "none", "left", "valid", "young"))[0]
    payment = replace(payment, attempts=(attempt,))
    step = next_step(payment, Policy((provider(),)), NOW)
    assert step == RetrySend(attempt, at=NOW + seconds(gap_seconds))


def test_policy_defaults_equal_the_settings() -> None:
    policy = Policy(())
    assert policy.requery_schedule_seconds == (20, 60, 120, 300, 600, 1200, 2400, 3600)
    assert (policy.not_found_spacing_seconds, policy.review_after_seconds) == (60, 7200)
    assert (policy.pending_limit_seconds, policy.lease_seconds, policy.timeout_seconds) == (86400, 60, 30)


def test_requeries_of_many_payments_are_spread_by_jitter() -> None:
    payment = payment_in_doubt()
    many = [replace(payment, transaction_id=f"bill-{number}") for number in range(100)]
    gaps = {scheduled_gap_seconds(one, one.attempts[0], Policy(())) for one in many}
    assert len(gaps) == 100
    assert max(gaps) - min(gaps) > 1


@pytest.mark.parametrize(
    ("answer", "gap_seconds"),
    [
        (Pending("at work", 45), 45),
        (Deferred("too early", 90), 90),
        (Pending("at work", 10**18), DAY),
        (Pending("at work", 0), None),
        (Pending("at work", -5), None),
        (Pending("at work"), None),
        (NOT_FOUND, None),
    ],
)
def test_provider_advice_overrides_the_requery_schedule(answer: Answer, gap_seconds: float | None) -> None:
    payment = payment_in_doubt(PastRequery(20, answer))
    gap = scheduled_gap_seconds(payment, payment.attempts[0], Policy(()))
    assert gap == gap_seconds if gap_seconds else 60 <= gap <= 66


def test_requery_gap_starts_at_last_answer_or_start_of_lost_call() -> None:
    policy = Policy((provider(),), requery_schedule_seconds=(100,))
    late, early = NOW + seconds(7), NOW - seconds(7)
    for answered_at, mark in [(late, late), (None, early)]:
        attempt = payment_in_doubt(PastRequery(20, Unknown("?"))).attempts[0]
        requery = replace(attempt.requeries[0], started_at=early, lease_until=NOW, answered_at=answered_at)
        requery = requery if answered_at else replace(requery, answer=None)
        payment = replace(payment_in_doubt(), attempts=(replace(attempt, requeries=(requery,)),))
        step = next_step(payment, policy, NOW)
        assert isinstance(step, StartRequery)
        assert step.is_due(mark + seconds(110))
        assert not step.is_due(mark + seconds(99.999))


@pytest.mark.parametrize(
    ("since_seconds", "step"),
    [(0, StartRequery), (7200 - 66, StartRequery), (7200 - 59, Review), (7200, Review), (9000, Review)],
)
def test_review_starts_when_two_hours_end_before_next_requery(since_seconds: float, step: type[Step]) -> None:
    payment = payment_in_doubt(PastRequery(20, Unknown("?")), since_seconds=since_seconds)
    found = next_step(payment, Policy((provider(),)), NOW)
    assert type(found) is step
    if isinstance(found, Review):
        assert found.at == NOW + seconds(7200 - since_seconds)


def test_overdue_requery_is_made_before_review() -> None:
    payment = payment_in_doubt(PastRequery(20, Unknown("?")))
    found = next_step(payment, Policy((provider(),)), NOW + seconds(9000))
    assert isinstance(found, StartRequery)


def test_payment_in_review_without_requery_follows_the_schedule() -> None:
    payment = replace(payment_in_doubt(), status=Status.IN_REVIEW)
    step = next_step(payment, Policy((provider(),)), NOW)
    assert isinstance(step, StartRequery)
    assert step.is_due(NOW + seconds(22))


# --- what proves an attempt -------------------------------------------------------------------------------------------

ANSWER_SIGNS: Mapping[str, Answer | None] = {
    "n": NOT_FOUND,
    "u": Unknown("?"),
    "k": Unknown("exists", known_to_provider=True),
    "p": Pending("at work"),
    "d": Deferred("early"),
    "s": NotSent("refused"),
    "m": Misconfigured("key"),
    "r": Declined("refused"),
    "-": None,
}
"""What a requery was answered. `-`: its worker died. "600n 60u" is "not found" after 600 s, and no answer 60 s later."""
PROOF = """
600n 60n         600n 59n 1n      540n 60n 60n     540n 60n 30n 30n  600u 0n 60n   600n 60u 60n 60n
600n 60d 60n     600n 30d 30n     600n 60n 60d     600n 60- 60n      600n 60n 60-
"""
NO_PROOF = """
600n             599n 60n         600n 59n         540n 59n 60n      600n 60u 60n  600n 60n 60u
600n 60s 60n     600n 60m 60n     600n 60r 60n     600n 60- 59n      600- 60n 60n
600n 30d 29n     599n 60d 60n     600n 59n 60d     540n 60d 60n      600d 60n      600d 60d
600n 60d 60u 60n  600n 60u 60d 60n  20p 600n 60d 60n  20p 600n 60n     20k 600n 60n
"""
HISTORIES = [
    (history, proven)
    for text, proven in ((PROOF, True), (NO_PROOF, False))
    for history in re.split(r"  +|\n", text.strip())
]


@pytest.mark.parametrize(("history", "proven"), [("", False), *HISTORIES])
def test_not_found_is_proof_only_when_repeated_late_and_spaced(history: str, proven: bool) -> None:
    """A deferred requery proves nothing. It is skipped, and does not count as "not found"."""
    requeries = [PastRequery(int(entry[:-1]), ANSWER_SIGNS[entry[-1]]) for entry in history.split()]
    attempt, spacing_seconds = payment_in_doubt(*requeries).attempts[0], Policy(()).not_found_spacing_seconds
    assert is_proven_absent(attempt, provider(), spacing_seconds) is proven
    assert not is_proven_absent(attempt, provider(reports_not_found=False), spacing_seconds)


def test_not_found_proof_uses_processing_limit_and_spacing() -> None:
    attempt = payment_in_doubt(PastRequery(100, NOT_FOUND), PastRequery(10, NOT_FOUND)).attempts[0]
    assert is_proven_absent(attempt, provider(max_processing_seconds=100), 10)
    assert not is_proven_absent(attempt, provider(max_processing_seconds=101), 10)
    assert not is_proven_absent(attempt, provider(max_processing_seconds=100), 11)


def test_not_found_answers_count_in_order_of_requeries() -> None:
    attempt = payment_in_doubt(*ABSENT).attempts[0]
    first, second = attempt.requeries
    swapped = replace(
        attempt,
        requeries=(
            replace(first, answered_at=NOW + seconds(1), credited_seconds=1.0),
            replace(second, answered_at=NOW, credited_seconds=659.0),
        ),
    )
    assert is_proven_absent(attempt, provider(), Policy(()).not_found_spacing_seconds)
    assert not is_proven_absent(swapped, provider(), Policy(()).not_found_spacing_seconds)


@pytest.mark.parametrize(
    ("after_send", "scheduled", "credit"),
    [
        (59 + 20, 20, 20),
        (59 + 19, 20, 19),
        (59 + 500, 20, 20),  # slept through, or the clock jumped
        (59, 20, 0),
        (40, 20, 0),  # a request may still be on its way
        (-500, 20, 0),  # the clock went back
    ],
)
def test_observed_seconds_are_capped_by_schedule_and_clock(
    after_send: int, scheduled: int, credit: int
) -> None:
    attempt = payment_in_doubt().attempts[0]
    now = attempt.sends[0].started_at + seconds(after_send)
    requery = Requery(1, now, now + seconds(60), scheduled)
    assert observed_seconds(replace(attempt, requeries=(requery,)), requery, now) == credit


def test_observed_seconds_start_at_the_last_answer() -> None:
    attempt = payment_in_doubt(PastRequery(600, NO_ANSWER), PastRequery(300, None)).attempts[0]
    assert attempt.requeries[0].answered_at == NOW - seconds(300)
    lost = attempt.requeries[1]
    later = max(NOW, attempt.sends[0].answer_by) + seconds(1)
    sent_before = replace(attempt, sends=sends_of(NO_ANSWER, 1, NOW - seconds(2000)))
    assert observed_seconds(sent_before, lost, NOW) == 300
    assert observed_seconds(sent_before, lost, NOW - seconds(100)) == 200
    assert observed_seconds(attempt, lost, later) == 1


def test_evidence_while_a_call_is_open() -> None:
    sending = attempt_of("sending")
    assert evidence_of(sending, NOW).name == "CALL_IN_FLIGHT"
    # An expired lease counts once a worker has recorded it.
    assert evidence_of(sending, NOW + seconds(3600)).name == "CALL_IN_FLIGHT"
    asking = attempt_of("asking")
    assert evidence_of(asking, NOW + seconds(59)).name == "CALL_IN_FLIGHT"
    assert evidence_of(asking, NOW + seconds(60)).name == "UNKNOWN"


CONCLUSIONS: Sequence[tuple[Sequence[Answer], str]] = [
    ([NotSent("a")], "NOT_SENT"),
    ([NotSent("a"), NotSent("b")], "NOT_SENT"),
    ([NotSent("a"), Deferred("b")], "NOT_EXECUTED"),
    ([Deferred("a"), NotSent("b")], "NOT_EXECUTED"),
    ([NotSent("a"), Misconfigured("b")], "NOT_EXECUTED"),
    ([Deferred("a"), Declined("b")], "DECLINED"),
    ([NotFound("a")], "UNKNOWN"),
    ([NotSent("a"), NotFound("b")], "UNKNOWN"),
    ([Pending("a")], "UNKNOWN"),
    ([NotSent("a"), Unknown("b")], "UNKNOWN"),
    ([Unknown("a"), NotSent("b")], "UNKNOWN"),
    ([Unknown("a"), Misconfigured("b")], "UNKNOWN"),
    ([Unknown("a"), Deferred("b")], "UNKNOWN"),
    ([Unknown("a"), Declined("b")], "UNKNOWN"),
    ([Unknown("a"), Declined("b", about_transaction=True)], "DECLINED"),
    ([Unknown("a"), Declined("b", about_transaction=True, provider_reversed=True)], "PROVIDER_REVERSED"),
    ([Unknown("a"), Delivered("1234")], "DELIVERED"),
    ([Declined("a", about_transaction=True), Delivered("1234")], "DELIVERED"),
    ([Delivered("1234"), Declined("a", about_transaction=True, provider_reversed=True)], "DELIVERED"),
]


@pytest.mark.parametrize(("answers", "conclusion"), CONCLUSIONS)
def test_evidence_needs_an_answer_for_every_send(answers: Sequence[Answer], conclusion: str) -> None:
    made = tuple(replace(sends_of(answer, 1, NOW)[0], number=n) for n, answer in enumerate(answers, 1))
    attempt = replace(attempt_of("silent"), sends=made)
    assert evidence_of(attempt, NOW).name == conclusion


def test_reversal_reason_comes_from_the_proving_answer() -> None:
    policy = Policy((provider(),))
    failed_requery = PastRequery(20, NotSent("our question never left"))
    refused = next_step(payment_in_doubt(failed_requery, answer=Declined("no such meter")), policy, NOW)
    assert isinstance(refused, Reverse)
    assert (refused.proof, refused.reason) == (Proof.DECLINED, "no such meter")
    unsent = next_step(payment_in_doubt(failed_requery, answer=NotSent("too late to send")), policy, NOW)
    assert isinstance(unsent, Reverse)
    assert (unsent.proof, unsent.reason) == (Proof.NOT_SENT, "too late to send")


# --- which account ----------------------------------------------------------------------------------------------------


def test_accounts_are_tried_in_the_order_of_the_settings() -> None:
    first, second, third = (provider(name) for name in ("acme", "backup", "third"))
    payment = payment_in_doubt()
    assert Policy((third, second, first)).next_account(payment) is third
    assert Policy((first, second, third)).next_account(payment) is second
    assert Policy((first, second)).next_account(replace(payment, attempts=())) is first


PRIOR_REFERENCE_ANSWERS: Sequence[tuple[Answer | None, bool]] = [
    (None, False),
    (NOT_FOUND, False),
    (Unknown("no answer"), False),
    (NotSent("refused"), False),
    (Deferred("too early"), False),
    (Misconfigured("key"), False),
    (Declined("your question"), False),
    (Unknown("exists", known_to_provider=True), True),
    (Pending("at work"), True),
    (Declined("failed", about_transaction=True), True),
    (Declined("reversed", about_transaction=True, provider_reversed=True), True),
    (Delivered("1234"), True),
]


@pytest.mark.parametrize(("answer", "made"), PRIOR_REFERENCE_ANSWERS)
def test_prior_reference_known_to_provider_counts_as_tried(answer: Answer | None, made: bool) -> None:
    acme, backup = provider("acme"), provider("backup")
    recalled = replace(attempt_of("silent"), sends=(), requeries=requeries_of([PastRequery(20, answer)], NOW))
    payment = replace(payment_in_doubt(), attempts=(recalled,))
    assert recalled.was_sent is made
    assert payment.reference_number == (2 if made else 1)
    assert Policy((acme,)).next_account(payment) is (None if made else acme)
    assert Policy((acme, backup)).next_account(payment) is (backup if made else acme)


def test_prior_reference_known_once_still_counts_as_tried() -> None:
    asked_twice = requeries_of([PastRequery(20, Pending("at work")), PastRequery(600, NOT_FOUND)], NOW)
    recalled = replace(attempt_of("silent"), sends=(), requeries=asked_twice)
    assert recalled.was_sent
    assert Policy((provider(),)).next_account(replace(payment_in_doubt(), attempts=(recalled,))) is None


def test_requery_goes_to_the_account_of_the_attempt() -> None:
    attempt = attempt_of("silent")
    current, key_2, backup = (
        provider("acme"),
        provider("acme", account="key-2"),
        provider("backup", account="key-1"),
    )
    assert Policy((backup, key_2, current)).account_of(attempt) is current
    assert Policy((backup, key_2)).account_of(attempt) is None
