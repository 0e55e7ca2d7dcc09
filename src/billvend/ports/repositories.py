"""The repositories: small tables beside the journal. No balance depends on them.

Every method raises `Unavailable` when the database is unavailable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from billvend.domain.api_keys import ApiKey
from billvend.domain.money import Money
from billvend.domain.notifications import Channel

# --- provider accounts ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """The known status of one provider account."""

    provider: str
    account_id: str
    suspended_reason: str | None = None
    """Why sales there are suspended, in words for people; None: it sells."""
    suspended_at: datetime | None = None
    not_found_ignored: bool = False
    """True after too many "not found" answers. While it is true, "not found" reverses no payment."""
    float_minor: int | None = None
    """Our last known balance there; None if it is unknown."""
    float_checked_at: datetime | None = None
    """When the balance was last requested, also without an answer."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """The open risk at one account, as the database shows it."""

    provider: str
    account_id: str
    in_doubt_minor: int
    """Money in doubt or in review there, in minor units of the account's currency."""
    recent_attempts: int
    """Attempts started since the given time."""
    recent_not_found: int
    """Those of them whose latest answer is "not found"."""


class AccountStatuses(Protocol):
    """The status of each provider account, shared by all processes. Losing it costs one more check, never money."""

    def all(self) -> Mapping[tuple[str, str], AccountStatus]:
        """All stored statuses, by provider and account."""

    def save(self, status: AccountStatus) -> None:
        """Replace the status of one account."""


# --- API keys ---------------------------------------------------------------------------------------------------------


class ApiKeys(Protocol):
    """The keys of the HTTP API. No key is ever deleted."""

    def add(self, key: ApiKey) -> bool:
        """Store a new key. Returns False, and does nothing, if an active key has the same name."""

    def get(self, key_id: str) -> ApiKey | None:
        """The key with this id, active or revoked."""

    def all(self) -> list[ApiKey]:
        """Every key, also revoked ones, in the order of creation."""

    def revoke(self, key_id: str, at: datetime) -> None:
        """Revoke a key. A key that is already revoked does not change."""

    def record_use(self, key_id: str, at: datetime) -> None:
        """Record that the key was used at `at`. A time before the stored one changes nothing."""


# --- deposits ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Deposit:
    """A payment that a customer is going to make at the gateway."""

    user_id: str
    reference: str
    """Our reference at the gateway. It is never used twice."""
    key: str | None
    """The caller's idempotency key, while it belongs to this deposit."""
    source: str
    """The gateway."""
    amount: Money
    email: str
    created_at: datetime
    authorization_url: str | None = None
    """Where the customer pays; None until the gateway has returned it."""
    problem: str | None = None
    """What a person must check, such as a paid amount that differs from the deposit."""
    acknowledged_at: datetime | None = None
    """When a person acknowledged the problem."""
    email_may_get_tokens: bool = False
    """Whether tokens may be mailed to `email` after the deposit is credited. True if the caller may read tokens anyway."""
    transaction_id: str | None = None
    """The funding that credited it, by the ledger; None if it is not credited."""


class Deposits(Protocol):
    """The deposits at a gateway."""

    def add(self, deposit: Deposit) -> Deposit:
        """Store a new deposit, unless its key belongs to an earlier one. Returns the stored deposit with that key."""

    def get(self, reference: str) -> Deposit | None:
        """The deposit with this reference, of any user."""

    def update(self, deposit: Deposit, **changes: str | datetime | None) -> bool:
        """Change these fields, if all of them still have the values that they have in `deposit`.

        Returns False, and changes nothing, if one of them was changed meanwhile. Fields: `key`, `authorization_url`,
        `problem`, `acknowledged_at`.
        """

    def newest(self, limit: int) -> list[Deposit]:
        """The newest deposits of all users, newest first."""

    def unpaid(self, spans: Sequence[tuple[datetime, datetime]]) -> list[Deposit]:
        """Unpaid deposits that were created in one of the spans (after its start, up to its end).

        The oldest first. Deposits without a payment URL, and deposits that wait for a person, are left out.
        """

    def with_problems(self, limit: int) -> list[Deposit]:
        """Deposits with a problem that no person has acknowledged. The oldest first."""


# --- notifications ----------------------------------------------------------------------------------------------------


class FinalStatus(StrEnum):
    """The final status of a message. A replay clears it."""

    DELIVERED = "delivered"
    GAVE_UP = "gave_up"
    """Ten attempts failed, or the receiver rejected it permanently."""
    SKIPPED = "skipped"
    """There was no address to send it to."""


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One delivery attempt, as logged."""

    at: datetime
    target: str
    http_status: int | None
    latency_ms: int
    detail: str
    number: int = 0
    """1, 2, 3 ... within the message. A replay does not reset it. The outbox assigns it."""


@dataclass(frozen=True, slots=True)
class Message:
    """A notification for one channel."""

    message_id: str
    """The same in every delivery attempt."""
    user_id: str
    channel: Channel
    transaction_id: str
    kind: str
    data: str
    """JSON, as written with the event; see `billvend.presentation.notifications`."""
    at: datetime
    """When the event happened."""
    attempt_count: int = 0
    """Delivery attempts since it was written or replayed."""
    next_at: datetime | None = None
    """When it is due; None when it has ended. While it is leased, the end of the lease."""
    lease_until: datetime | None = None
    """Set while a worker delivers it."""
    final_status: FinalStatus | None = None
    ended_at: datetime | None = None
    attempts: tuple[DeliveryAttempt, ...] = ()
    """Its delivery attempts, in order. Only `Outbox.history` reads them."""

    @property
    def status(self) -> str:
        """`waiting` for its next attempt, `trying`, or its end: `delivered`, `gave_up`, `skipped`."""
        return self.final_status or ("waiting" if self.lease_until is None else "trying")


@dataclass(frozen=True, slots=True)
class DisabledEndpoint:
    """An endpoint that refused further messages. Nothing is sent there."""

    endpoint: str
    target: str
    """Safe to show."""
    disabled_at: datetime
    reason: str


class Outbox(Protocol):
    """The notification messages, their delivery attempts, and where they go.

    The journal writes a message in the same transaction as its event, so that neither exists without the other. The
    message is then delivered at least once. A worker leases it before it delivers. If the worker dies, the lease expires
    and another worker takes the message.
    """

    def take(
        self,
        channel: Channel,
        now: datetime,
        *,
        limit: int,
        lease_seconds: float,
        message_id: str | None = None,
    ) -> list[Message]:
        """Lease at most `limit` due messages of a channel, the oldest first; with `message_id`, that one alone.

        No other worker gets them before the lease expires.
        """

    def record_attempt(
        self,
        message: Message,
        attempt: DeliveryAttempt,
        *,
        next_at: datetime | None,
        final_status: FinalStatus | None,
    ) -> None:
        """Log a delivery attempt of a leased message, and store when it is due again or its final status.

        The attempt is always logged. If the lease has expired, only a successful delivery changes the message.
        """

    def history(
        self,
        *,
        limit: int,
        channel: Channel | None = None,
        failed: bool = False,
        message_id: str | None = None,
    ) -> list[Message]:
        """Messages with their delivery attempts, the newest first.

        `failed`: only those with a failed attempt that were not delivered.
        """

    def replay(self, message_id: str, now: datetime) -> bool:
        """Make a message due now, with no attempts counted. Returns False if it does not exist."""

    def disable(self, endpoint: DisabledEndpoint) -> None:
        """Stop sending to an endpoint."""

    def enable_all(self) -> int:
        """Send again to every endpoint. Returns how many were disabled."""

    def disabled(self) -> list[DisabledEndpoint]:
        """The disabled endpoints, the first one first."""

    def email_of(self, user_id: str, transaction_id: str) -> str | None:
        """The address for mail about a transaction, which is that of the user's wallets; None if there is none.

        If the wallets have no address, the receipt of a deposit goes to the deposit's own address.
        """

    def set_email(self, user_id: str, email: str, at: datetime, *, replace: bool) -> None:
        """Set the e-mail address of a user's wallets. Without `replace` an address that they have stays."""
