"""Scenarios that read like a bank statement, run against the pure core.

A line names an action and, after an arrow, its whole result:

    fund ada 1000                           a user, and naira
    pay ada 300 [as bill] [key K] [again] [meter M] [postpaid] [in USD]
    claim [bill] [early]                    a worker asks for what is due; early: after an operator asked for it
    webhook [bill]                          an unverified webhook requests a requery
    resolve delivered 1234, resolve reversed, resolve acknowledged    a person decides
    owner 1234                              from now on the token 1234 belongs to a payment of another user
    send 1 says delivered 1234 cost 290     a worker reports; also `requery 2 says`, `attempt 2 send 1 says`
    next 5 requeries say not found          repeated: wait until due, claim, report
    tick 20s, until due, time 22:59:50      the clock; one that jumps looks the same from here
    provider acme [with ...], forget acme   the configured providers
    balance ada 700, accounts loss -300     balances; `accounts` names every account of ours that is not zero

An answer is: delivered (TOKEN or without a token) [cost N] [meter M] [amount N] [reference R] | declined (this request)
| failed (the transaction) | taken back | not sent | deferred [30s] | misconfigured | unknown | duplicate (unknown, and
it knows our reference) | pending [120s] | not found.

What a line does not name must not happen. A status that is not named has not changed, a call that is not named was
not allowed, and an incident that is not named was not raised.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from billvend.domain.decisions.commands import (
    Cancel,
    Claim,
    Command,
    CommandResult,
    Executed,
    Fund,
    Pay,
    ProviderCall,
    RecordAnswer,
    RequestRequery,
    Resolve,
)
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.enums import OperatorDecision, Status, VendType
from billvend.domain.journal.events import StreamKey
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
from billvend.domain.payment.state import Payment
from billvend.domain.policy.accounts import ProviderAccount
from billvend.domain.policy.policy import Policy
from billvend.domain.policy.timing import JITTER
from tests.domain.model_ledger import NOON, ModelLedger, provider, seconds, verified

UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
METER = "12345678901"
STATUSES = frozenset(Status)


@dataclass(frozen=True)
class Scenario:
    """A scenario with its name, and where to find it."""

    name: str
    file_name: str
    lines: Sequence[tuple[int, str]]


def scenarios(folder: Path) -> Iterator[Scenario]:
    """All scenarios in the files of a folder: `== its name`, then its lines; `#` begins a remark."""
    for path in sorted(folder.glob("*.txt")):
        name, lines = "", list[tuple[int, str]]()
        for number, text in enumerate([*path.read_text().splitlines(), "=="], 1):
            if text.startswith("=="):
                if name:
                    yield Scenario(name, path.name, lines)
                name, lines = text.strip("= "), []
            elif line := text.partition("#")[0].strip():
                lines.append((number, line))


def run_scenario(scenario: Scenario) -> ModelLedger:
    """Run a scenario; raises AssertionError with the line whose result differs."""
    runner = ScenarioRunner()
    for number, line in scenario.lines:
        try:
            runner.run_line(line)
        except AssertionError as error:
            raise AssertionError(f"{scenario.file_name}:{number}: {line}\n{error}") from error
    return runner.ledger


class ScenarioRunner:
    """The ledger, the clock and the providers of one scenario."""

    def __init__(self) -> None:
        self.ledger = ModelLedger()
        self.now = NOON
        self.accounts: dict[str, ProviderAccount] = {"acme": provider("acme")}
        self.user_of: dict[str, str] = {}
        self.payment_id = ""
        """The payment that the lines are about."""
        self.command_count = 0
        self._lines: Mapping[str, Callable[[str], StepResult | None]] = {
            r"fund (.+)": self._fund,
            r"pay (.+)": self._pay,
            r"cancel ?(.*)": self._cancel,
            r"claim ?(.*)": self._claim,
            r"webhook ?(.*)": self._webhook,
            r"resolve (.+)": self._resolve,
            r"owner (\S+)": self._owner,
            r"((?:attempt \d+ )?(?:send|requery) \d+ says .+)": self._record_answer,
            r"next (\d+ requer(?:y|ies) says? .+)": self._next,
            r"tick (\S+)": self._tick,
            r"until due()": self._until_due,
            r"time (\S+)": self._time,
            r"provider (.+)": self._provider,
            r"forget (\S+)": self._remove_provider,
            r"balance (.+)": self._balance,
            r"accounts (.+)": self._accounts,
        }

    def run_line(self, line: str) -> None:
        """Run one line."""
        action, _, expected = (part.strip() for part in line.partition("->"))
        before = self.payment
        for pattern, act in self._lines.items():
            if match := re.fullmatch(pattern, action):
                step = act(match[1])
                break
        else:
            raise ValueError(f"unknown action: {action}")
        phrases = [phrase.strip() for phrase in expected.split(",") if phrase.strip()]
        if step is None:
            assert not phrases, "nothing can be expected of this line"
            return
        step.before = before if before and before.transaction_id == self.payment_id else None
        step.check(phrases)

    @property
    def payment(self) -> Payment | None:
        """The payment that the lines are about, as it is now."""
        return (
            self.ledger.payment(self.user_of[self.payment_id], self.payment_id) if self.payment_id else None
        )

    @property
    def policy(self) -> Policy:
        return Policy(tuple(self.accounts.values()))

    # --- actions ------------------------------------------------------------------------------------------------------

    def _fund(self, words: str) -> "StepResult":
        found = _match(r"(\w+) (\S+)(?: key (\S+))?(?: in (\w+))?", words)
        key = found[3] or self._new_key()
        amount = _money(found[2], found[4] or "NGN")
        return self._do(Fund(found[1], key, f"funding-{key}", self.now, amount, "manual", key))

    def _pay(self, words: str) -> "StepResult":
        found = _match(
            r"(\w+) (\S+)(?: as (\w+))?(?: key (\S+))?( again)?(?: meter (\d+))?(?: at (\w+))?( postpaid)?"
            r"(?: in (\w+))?",
            words,
        )
        user, amount, name, key, again, meter, biller, postpaid, currency = found.groups()
        name = name or "bill"
        step = self._do(
            Pay(
                user,
                key or self._new_key(),
                name,
                self.now,
                key is not None,
                _money(amount, currency or "NGN"),
                meter or METER,
                biller or "EKEDC",
                VendType.POSTPAID if postpaid else VendType.PREPAID,
                allow_duplicate=bool(again),
            )
        )
        if isinstance(step.result, Executed):
            self.payment_id = step.result.result.transaction_id
            self.user_of[self.payment_id] = user
        return self._with_state(step)

    def _cancel(self, name: str) -> "StepResult":
        self._select_payment(name)
        return self._do(Cancel(self.user_of[self.payment_id], self._new_key(), self.payment_id, self.now))

    def _claim(self, words: str) -> "StepResult":
        name, early = words.removesuffix("early").strip(), words.endswith("early")
        self._select_payment(name)
        user = self.user_of[self.payment_id]
        if early:
            self._request_requery("operator")
        return self._do(Claim(user, self._new_key(), self.payment_id, self.now, self.policy))

    def _webhook(self, name: str) -> "StepResult":
        self._select_payment(name)
        return self._request_requery("webhook")

    def _request_requery(self, source: str) -> "StepResult":
        user = self.user_of[self.payment_id]
        return self._do(RequestRequery(user, self._new_key(), self.payment_id, self.now, self.policy, source))

    def _resolve(self, words: str) -> "StepResult":
        verdict, _, token = words.partition(" ")
        verdict = {"reversed": "reverse"}.get(verdict, verdict)
        user = self.user_of[self.payment_id]
        return self._do(
            Resolve(
                user, self._new_key(), self.payment_id, self.now, self.policy,
                "ngozi", OperatorDecision(verdict), "the company was called", token or None,
            )
        )  # fmt: skip

    def _owner(self, token: str) -> None:
        self.ledger.token_owners[token] = StreamKey("zed", "another")

    def _record_answer(self, words: str) -> "StepResult":
        found = _match(r"(?:attempt (\d+) )?(send|requery) (\d+) says (.+)", words)
        payment = self.payment
        assert payment is not None
        attempt = int(found[1] or len(payment.attempts))
        answer = _answer(found[4].replace(f"/{self.payment_id}/", f"/{payment.reference_seed}/"))
        answer = verified(answer, payment, payment.attempt(attempt).reference)
        user, is_requery = payment.user_id, found[2] == "requery"
        return self._do(
            RecordAnswer(
                user, self._new_key(), self.payment_id, self.now, self.policy,
                attempt, int(found[3]), is_requery, answer,
            )
        )  # fmt: skip

    def _next(self, words: str) -> "StepResult":
        found = _match(r"(\d+) requer(?:y|ies) says? (.+)", words)
        step: StepResult | None = None
        for left in reversed(range(int(found[1]))):
            self._until_due("")
            claimed = self._claim("")
            assert claimed.work is not None, f"nothing was due: {claimed}"
            assert claimed.work.is_requery, f"not a requery: {claimed}"
            step = self._record_answer(f"requery {claimed.work.call_number} says {found[2]}")
            assert not left or not step.incidents, f"an incident came early: {step}"
        assert step is not None
        return step

    def _tick(self, words: str) -> None:
        self.now += _span(words)

    def _until_due(self, _: str) -> "StepResult":
        due = self._due()
        assert due is not None, "it is never due"
        step = self._with_state(StepResult(None, after=due - self.now))
        self.now = max(self.now, due)
        return step

    def _time(self, words: str) -> None:
        hours, minutes, seconds_ = (int(part) for part in words.split(":"))
        self.now = self.now.replace(hour=hours, minute=minutes, second=seconds_)

    def _provider(self, words: str) -> None:
        name, _, traits = words.partition(" with ")
        made = provider(name)
        for trait in filter(None, traits.split(" and ")):
            match trait.split():
                case ["references", "that", "last", "a", "day"]:
                    made = replace(made, reference_lasts_a_day=True)
                case ["no", "word", "for", "not", "found"]:
                    made = replace(made, reports_not_found=False)
                case ["account", account]:
                    made = replace(made, account_id=account)
                case ["its", "clock", ahead, "ahead"]:
                    made = replace(made, utc_offset=_span(ahead))
                case ["processing", longest]:
                    made = replace(made, max_processing_seconds=int(_span(longest).total_seconds()))
                case ["whole", currency]:
                    made = replace(made, whole_units_only=True, currency=currency)
                case ["currency", currency]:
                    made = replace(made, currency=currency)
                case ["biller", code]:
                    made = replace(made, billers=provider(billers=[code]).billers)
                case _:
                    raise ValueError(f"no provider is like that: {trait}")
        self.accounts[name] = made

    def _remove_provider(self, name: str) -> None:
        del self.accounts[name]

    def _balance(self, words: str) -> None:
        user, amount, *currency = words.split()
        expected = _money(amount, *currency)
        assert Money(self.ledger.balance(user, expected.currency), expected.currency) == expected

    def _accounts(self, words: str) -> None:
        found = {
            name: _naira(amount)
            for name in {name for _, name, _ in self.ledger.accounts}
            if not name.startswith(("funding:", "wallet")) and (amount := self.ledger.total(name))
        }
        expected = {}
        if words != "nothing":
            expected = {
                name.strip(): str(Decimal(amount))
                for name, _, amount in (entry.strip().rpartition(" ") for entry in words.split(","))
            }
        assert found == expected

    # --- results ------------------------------------------------------------------------------------------------------

    def _do(self, command: Command) -> "StepResult":
        [result] = self.ledger.execute(command)
        return self._with_state(StepResult(result))

    def _with_state(self, step: "StepResult") -> "StepResult":
        return replace(step, payment=self.payment, now=self.now, due=self._due())

    def _due(self) -> datetime | None:
        """When the payment is due, as the last reply or the ledger says."""
        return self.ledger.next_at[self.payment.stream_key] if self.payment else None

    def _select_payment(self, name: str) -> None:
        self.payment_id = name or self.payment_id

    def _new_key(self) -> str:
        self.command_count += 1
        return f"command-{self.command_count}"


@dataclass
class StepResult:
    """The result of a line, to be compared with what the scenario expects."""

    result: CommandOutcome | None
    payment: Payment | None = None
    before: Payment | None = None
    now: datetime = NOON
    due: datetime | None = None
    after: timedelta | None = None

    @property
    def reply(self) -> CommandResult | None:
        return self.result.result if isinstance(self.result, Executed) else None

    @property
    def work(self) -> ProviderCall | None:
        return self.reply.provider_call if self.reply else None

    @property
    def incidents(self) -> list[str]:
        """The incidents that this line raised."""
        known = len(self.before.incidents) if self.before else 0
        raised = self.payment.incidents[known:] if self.payment else ()
        return [f"{incident.kind} {_naira(incident.amount_minor)}" for incident in raised]

    def __str__(self) -> str:
        """A short form, for the message of a scenario that fails."""
        status = self.payment.status if self.payment else "no payment"
        return f"{status}, {self.work or 'no work'}, due {self.due}"

    def check(self, phrases: Sequence[str]) -> None:
        """Compare the result with what the scenario says, and with what it does not say."""
        statuses = [Status(phrase) for phrase in phrases if phrase in STATUSES]
        status = self.payment.status if self.payment else None
        before = self.before.status if self.before else None
        rejected = isinstance(self.result, Exception)
        assert rejected == any(phrase.startswith("refused") for phrase in phrases), repr(self.result)
        replayed = isinstance(self.result, Executed) and self.result.replayed
        assert replayed == ("replayed" in phrases), "replayed" if replayed else "executed"
        if self.payment:
            expected = statuses[0] if statuses else before
            assert status == expected, f"it is {status}, and was {before}"
        incidents = [phrase.removeprefix("incident ") for phrase in phrases if phrase.startswith("incident ")]
        assert self.incidents == incidents
        works = [phrase for phrase in phrases if re.match(r"(attempt \d+ )?(send|requery) \d+", phrase)]
        assert bool(works) == bool(self.work), f"the worker got {self.work}"
        for phrase in phrases:
            self._check(phrase)

    def _check(self, phrase: str) -> None:
        payment, work = self.payment, self.work
        match phrase.split():
            case ["refused", name]:
                assert type(self.result).__name__ == name, repr(self.result)
            case ["attempt", number, *call]:
                assert work is not None
                assert work.attempt == int(number), str(work)
                self._check(" ".join(call))
            case ["send" | "requery" as kind, number, *rest]:
                assert work is not None
                assert ("requery" if work.is_requery else "send", work.call_number) == (kind, int(number)), (
                    str(work)
                )
                assert [work.provider] == (rest[1:] or [work.provider]), str(work)
            case ["within", span]:
                assert work is not None
                assert work.send_before == self.now + _span(span), str(work)
            case ["reference", reference]:
                assert work is not None
                assert payment is not None
                readable = work.reference.replace(payment.reference_seed, payment.transaction_id)
                assert readable == reference, str(work)
            case ["due", "now"]:
                assert self.due is not None
                assert self.due <= self.now, f"due {self.due}"
            case ["due", "in", span]:
                assert self.due is not None
                _check_span(self.due - self.now, span)
            case ["never", "due"]:
                assert self.due is None, f"due {self.due}"
            case ["after", span]:
                assert self.after is not None
                _check_span(self.after, span)
            case ["proof", proof]:
                assert payment is not None
                assert payment.proof == proof, f"the proof is {payment.proof}"
            case ["token", token]:
                assert payment is not None
                assert payment.token == (None if token == "none" else token), f"the token is {payment.token}"
            case ["because", *words]:
                assert payment is not None
                reasons = (payment.review_reason, payment.reversal.reason if payment.reversal else None)
                assert any(reason and " ".join(words) in reason for reason in reasons), str(reasons)
            case ["incident", *_] | ["replayed"]:
                pass  # checked above
            case _:
                assert phrase in STATUSES, f"unknown result: {phrase}"


def _check_span(span: timedelta, expected: str) -> None:
    """The duration named, or at most a tenth more."""
    assert _span(expected) <= span <= _span(expected) * (1 + JITTER), f"{span.total_seconds()} s"


def _answer(words: str) -> Answer:
    match words.split():
        case ["delivered", "without", "a", "token", *rest]:
            return _delivered(None, rest)
        case ["delivered", token, *rest]:
            return _delivered(token, rest)
        case ["declined"]:
            return Declined("this request is refused")
        case ["failed"]:
            return Declined("the transaction failed", about_transaction=True)
        case ["taken", "back"]:
            return Declined("reversed to the wallet", about_transaction=True, provider_reversed=True)
        case ["not", "sent"]:
            return NotSent("connection refused")
        case ["deferred", *span]:
            return Deferred("likely duplicate, ask again", _whole_seconds(span))
        case ["misconfigured"]:
            return Misconfigured("the float is empty")
        case ["unknown"]:
            return Unknown("no answer")
        case ["duplicate"]:
            return Unknown("the reference exists", known_to_provider=True)
        case ["pending", *span]:
            return Pending("at work", _whole_seconds(span))
        case ["not", "found"]:
            return NotFound("no such reference")
    raise ValueError(f"no provider says: {words}")


def _delivered(token: str | None, rest: Sequence[str]) -> Delivered:
    fields = dict(zip(rest[::2], rest[1::2], strict=True))
    cost, amount = fields.pop("cost", None), fields.pop("amount", None)
    delivered = Delivered(
        token,
        cost_minor=_money(cost).amount_minor if cost else None,
        amount_minor=_money(amount).amount_minor if amount else None,
        meter=fields.pop("meter", None),
        reference=fields.pop("reference", None),
    )
    assert not fields, f"no provider says {fields}"
    return delivered


def _money(amount: str, currency: str = "NGN") -> Money:
    return Money(int(Decimal(amount) * 100), currency)


def _naira(amount_minor: int) -> str:
    return f"{(Decimal(amount_minor) / 100).normalize():f}"


def _span(words: str) -> timedelta:
    found = _match(r"(-?\d+)(s|min|h|d)", words)
    return seconds(int(found[1]) * UNITS[found[2]])


def _whole_seconds(words: Sequence[str]) -> int | None:
    return int(_span(words[0]).total_seconds()) if words else None


def _match(pattern: str, words: str) -> re.Match[str]:
    found = re.fullmatch(pattern, words)
    if not found:
        raise ValueError(f"not understood: {words}")
    return found
