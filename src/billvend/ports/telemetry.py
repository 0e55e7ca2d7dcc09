"""The metrics port: observations of what this process does, for monitoring.

They are made on the money path, often before a provider's answer is stored. So `observe` may not raise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from billvend.domain.decisions.commands import Command, Executed
from billvend.domain.notifications import Channel
from billvend.domain.outcome import Answer
from billvend.ports.notifier import DeliveryOutcome

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The HTTP content type of an exposition."""


class CommandCommitted(NamedTuple):
    """A command was committed. `executed.events` are what it changed."""

    command: Command
    executed: Executed


class BatchCommitted(NamedTuple):
    """One transaction committed this many commands."""

    size: int


class ProviderAnswered(NamedTuple):
    """A call to a provider gave this answer after this many seconds."""

    provider: str
    answer: Answer
    seconds: float
    is_requery: bool


class Swept(NamedTuple):
    """A sweep found `due` payments, and put hints for `enqueued` of them into the queue."""

    due: int
    enqueued: int


class DeliveryAttempted(NamedTuple):
    """A delivery attempt had this outcome. `is_given_up`: it was the last attempt, and it failed."""

    channel: Channel
    outcome: DeliveryOutcome
    is_given_up: bool


class RequestRejected(NamedTuple):
    """The API rejected a request with this stable code."""

    code: str


class ProvidersConfigured(NamedTuple):
    """These providers are configured. Their counters are shown before they count."""

    providers: Sequence[str]


Observation = (
    CommandCommitted
    | BatchCommitted
    | ProviderAnswered
    | Swept
    | DeliveryAttempted
    | RequestRejected
    | ProvidersConfigured
)


@dataclass(frozen=True, slots=True)
class Gauge:
    """A figure of the current state, with a value for each combination of its labels."""

    name: str
    text: str
    labels: Sequence[str]
    values: Sequence[tuple[Sequence[str], float]]
    """Each with the values of its labels, in their order."""


class Metrics(Protocol):
    """Counts what this process does. Used from any thread."""

    def observe(self, observation: Observation) -> None:
        """Count an observation. Never raises."""

    def exposition(self, gauges: Sequence[Gauge]) -> str:
        """All counters and the gauges as text for Prometheus, format 0.0.4. May raise."""
        ...
