"""The reversal policy, as a table. Read it from the top: the first rule that matches decides what happens next.

Money goes back only on proof. An order is sent again only while it is proven that no earlier request was carried out.
In every other case the payment is requeried at growing intervals, and in the end a person decides.
docs/reversal-policy.md is printed from this table.
"""

from datetime import datetime
from typing import NamedTuple

from billvend.domain.enums import Proof, Status
from billvend.domain.payment.state import TERMINAL_STATUSES, Payment
from billvend.domain.policy import actions as do
from billvend.domain.policy import conditions as when
from billvend.domain.policy.actions import Action, reverse, review
from billvend.domain.policy.conditions import Case, always
from billvend.domain.policy.evidence import Evidence
from billvend.domain.policy.policy import Policy
from billvend.domain.policy.steps import Step

ENDED, OPEN = TERMINAL_STATUSES, frozenset(Status) - TERMINAL_STATUSES
PROCESSING, IN_REVIEW = frozenset({Status.PROCESSING}), frozenset({Status.IN_REVIEW})
REVERSING, REVERSED = frozenset({Status.REVERSING}), frozenset({Status.REVERSED})
BEFORE_REVIEW = OPEN - IN_REVIEW
AFTER_DOUBT = frozenset({Status.IN_DOUBT, Status.IN_REVIEW})

ANY = frozenset(Evidence)
NOTHING_SENT, PRIOR_UNCHECKED = frozenset({Evidence.NOTHING_SENT}), frozenset({Evidence.PRIOR_UNCHECKED})
CALL_IN_FLIGHT, DELIVERED = frozenset({Evidence.CALL_IN_FLIGHT}), frozenset({Evidence.DELIVERED})
PROVIDER_REVERSED, DECLINED = frozenset({Evidence.PROVIDER_REVERSED}), frozenset({Evidence.DECLINED})
NOT_SENT, NOT_EXECUTED = frozenset({Evidence.NOT_SENT}), frozenset({Evidence.NOT_EXECUTED})
UNKNOWN, PROVEN_ABSENT = frozenset({Evidence.UNKNOWN}), frozenset({Evidence.PROVEN_ABSENT})
NOT_SOLD = DECLINED | NOT_SENT | NOT_EXECUTED
"""It is proven that nothing was sold."""
NOT_SENT_SO_FAR = NOTHING_SENT | PRIOR_UNCHECKED
UNCLEAR = UNKNOWN | PRIOR_UNCHECKED
"""It may have been sold, under this reference or under one of an earlier day."""


class Rule(NamedTuple):
    """One row of the policy."""

    status: frozenset[Status]
    evidence: frozenset[Evidence]
    condition: when.Condition
    action: Action
    because: str

    def matches(self, case: Case) -> bool:
        """Whether this row applies to the case."""
        return (
            case.payment.status in self.status
            and (self.evidence is ANY or case.evidence in self.evidence)
            and self.condition(case)
        )


# fmt: off
POLICY: tuple[Rule, ...] = (
    Rule(ENDED,         ANY,                          when.requery_was_requested,         do.requery_as_requested,
         "an end may be contradicted: an incident then shows it"),
    Rule(REVERSED,      ANY,                          when.needs_monitoring,              do.monitor,
         "a delivery may still turn up after a reversal without the provider's word"),
    Rule(ENDED,         ANY,                          always,                             do.nothing,
         "the customer's side does not change any more"),

    Rule(OPEN,          DELIVERED,                    always,                             do.complete,
         "value was given: the hold is spent"),
    Rule(PROCESSING,    ANY,                          when.provider_knows_prior_reference, do.put_in_doubt,
         "a ledger that was lost since may have sold it: from here on nothing is sent"),
    Rule(REVERSING,     ANY,                          when.was_decided_without_provider,  do.reverse_as_decided,
         "it rests on no answer that could have changed"),
    Rule(OPEN,          CALL_IN_FLIGHT,               always,                             do.wait_for_lease,
         "another worker may still get the answer"),
    Rule(OPEN,          PROVIDER_REVERSED,            always,                             reverse(Proof.PROVIDER_REVERSED),
         "the provider sold, and took the sale back itself"),

    Rule(PROCESSING,    NOT_SENT | NOT_EXECUTED,      when.may_retry,                     do.retry_send,
         "no send of this reference was executed: the same one can't buy twice"),
    Rule(PROCESSING,    NOT_SOLD,                     when.another_account_sells,         do.start_attempt,
         "it is proven that nothing was sold: another provider may"),
    Rule(OPEN,          DECLINED,                     always,                             reverse(Proof.DECLINED),
         "the provider states that nothing was or will be delivered"),
    Rule(OPEN,          NOT_SENT,                     always,                             reverse(Proof.NOT_SENT),
         "no request ever left"),
    Rule(OPEN,          NOT_EXECUTED,                 always,                             reverse(Proof.NOT_EXECUTED),
         "the provider states that no request was carried out"),

    Rule(REVERSING,     NOT_SENT_SO_FAR,              always,                             reverse(Proof.NOT_SENT),
         "decided again under the lock: still nothing was sent"),
    Rule(REVERSING,     PROVEN_ABSENT,                when.was_decided_on_not_found,      reverse(Proof.NOT_FOUND),
         "decided again under the lock: still not found"),
    Rule(REVERSING,     ANY,                          always,                             review(do.NEW_EVIDENCE),
         "the proof was overtaken before the money went back"),

    Rule(AFTER_DOUBT,   NOTHING_SENT,                 always,                             do.reverse_never_sent,
         "the prior reference is not known to the provider, and nothing else was sent"),
    Rule(OPEN,          NOTHING_SENT,                 when.is_older_than_pending_limit,   do.reverse_never_sent,
         "no request ever left, and the customer has waited for a day"),
    Rule(OPEN,          NOTHING_SENT,                 when.another_account_sells,         do.start_attempt,
         "this is what the customer asked for"),
    Rule(OPEN,          NOTHING_SENT,                 always,                             do.wait_for_account,
         "no account sells it now: one may soon"),

    Rule(PROCESSING,    UNKNOWN | PROVEN_ABSENT,      always,                             do.put_in_doubt,
         "it may have been sold: from here on nothing is sent, only requeried"),
    Rule(OPEN,          PROVEN_ABSENT,                always,                             reverse(Proof.NOT_FOUND),
         "not found twice, late and far apart: no request can still arrive"),
    Rule(IN_REVIEW,     UNCLEAR,                      when.account_is_removed,            do.wait_a_day,
         "only the account that it was sent to knows, and it may come back"),
    Rule(OPEN,          UNCLEAR,                      when.account_is_removed,            do.review_removed_account,
         "only the account that it was sent to knows"),
    Rule(OPEN,          UNCLEAR,                      when.requery_was_requested_sooner,  do.requery_as_requested,
         "there may be news"),
    Rule(BEFORE_REVIEW, UNCLEAR,                      when.disappeared_at_provider,       review(do.DISAPPEARED),
         "a reference that the provider knew can't be absent: something is wrong there"),
    Rule(BEFORE_REVIEW, UNCLEAR,                      when.is_in_doubt_too_long,          do.review_too_long,
         "a person decides; requeries go on"),
    Rule(OPEN,          UNCLEAR,                      always,                             do.requery,
         "never guess: ask"),
)
# fmt: on
"""Status, evidence, condition, action, reason. The last rule of each status and evidence has no condition."""


def next_step(payment: Payment, policy: Policy, now: datetime) -> Step:
    """What happens next with a payment. Times in the step may lie in the future."""
    case = Case(payment, policy, now)
    return next(rule.action(case) for rule in POLICY if rule.matches(case))
